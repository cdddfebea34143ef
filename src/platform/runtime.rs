//! What the runtime gives to each call: its bindings, and a way to go on behind the answer.

use crate::base::join_all::{Work, join_all};
use crate::db::databases::{self, Bound};
use crate::platform::d1::D1Store;
use crate::platform::js;
use crate::platform::promise;
use js_sys::Reflect;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::Response;
use worker::{Context, Env};

/// What a request finds around it.
pub struct Runtime {
    pub env: Env,
    pub context: Context,
    /// What is to be done when the answer has been given; `None` when nothing is going to do it.
    rest: RefCell<Option<Vec<Work<'static>>>>,
}

thread_local! {
    /// How many requests are being answered, or have something left to do behind the answer.
    static CARRIED: Cell<usize> = const { Cell::new(0) };
    /// The numbers of the databases that are bound beside the first.
    static SHARDS: OnceCell<Vec<u32>> = const { OnceCell::new() };
}

impl Runtime {
    pub fn new(env: Env, context: Context) -> Self {
        Self { env, context, rest: RefCell::default() }
    }

    /// Answers a request and does what it leaves to be done afterwards, all of it as background work of one piece: a
    /// request is carried to its end, and logged, although its client may have left.
    pub async fn carry_out(self: Rc<Self>, answering: impl Future<Output = Response>) -> Response {
        let release = js::hold();
        let carried = Carried::begin();
        self.rest.replace(Some(Vec::new()));
        let answer = answering.await;
        let rest = self.rest.take().unwrap_or_default();
        wasm_bindgen_futures::spawn_local(async move {
            join_all(rest).await;
            drop(carried);
            let _ = release.call0(&JsValue::UNDEFINED);
        });
        answer
    }

    /// Does work behind the answer.
    pub fn later(&self, work: impl Future<Output = ()> + 'static) {
        match self.rest.borrow_mut().as_mut() {
            Some(rest) => rest.push(Box::pin(work)),
            None => self.beside(work),
        }
    }

    /// Does work that the runtime waits for, although the answer may have been given long before.
    pub fn beside(&self, work: impl Future<Output = ()> + 'static) {
        promise::beside(&self.context, Box::pin(work));
    }

    /// The first database.
    pub fn database(&self) -> D1Store {
        self.database_of(0)
    }

    /// The database with a gateway's logs.
    pub fn database_of(&self, shard: u32) -> D1Store {
        D1Store::new(&self.env, shard)
    }

    /// All that are bound.
    pub fn databases(&self) -> Bound<D1Store> {
        let others = self.shards().into_iter().map(|shard| (shard, self.database_of(shard))).collect();
        Bound { first: self.database(), others }
    }

    /// The numbers of the databases beside the first. Like variables, bindings do not change within an isolate.
    fn shards(&self) -> Vec<u32> {
        let bound = || (1..=databases::MAX_SHARD).filter(|shard| self.database_of(*shard).is_bound()).collect();
        SHARDS.with(|cell| cell.get_or_init(bound).clone())
    }
}

/// A request that is being carried out.
pub struct Carried(());

impl Carried {
    pub fn begin() -> Self {
        CARRIED.with(|carried| carried.set(carried.get() + 1));
        Self(())
    }

    pub fn number() -> usize {
        CARRIED.with(Cell::get)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        CARRIED.with(|carried| carried.set(carried.get().saturating_sub(1)));
    }
}

pub fn variable(env: &JsValue, name: &str) -> Option<String> {
    Reflect::get(env, &JsValue::from_str(name)).ok()?.as_string()
}
