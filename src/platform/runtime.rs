//! What the runtime gives to each call: its bindings, and a way to go on behind the answer.

use crate::base::join_all::{Work, join_all};
use crate::db::databases::{self, Bound};
use crate::platform::d1::D1Store;
use crate::platform::js;
use crate::platform::time::pause;
use js_sys::Reflect;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::thread::LocalKey;
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
    /// How many requests wait for their answers.
    static UNANSWERED: Cell<usize> = const { Cell::new(0) };
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
        let unanswered = Counted::begin(&UNANSWERED);
        let answer = answering.await;
        drop(unanswered);
        let rest = self.rest.take().unwrap_or_default();
        // The runtime sends the answer when nothing is left to do at once, so the rest would come before it. With other requests
        // waiting, the timer costs them more than this client gains.
        let is_alone = UNANSWERED.with(Cell::get) == 0 && !rest.is_empty();
        wasm_bindgen_futures::spawn_local(async move {
            if is_alone {
                pause(0).await;
            }
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
            None => self.context.wait_until(work),
        }
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
pub struct Carried(#[expect(dead_code, reason = "it counts as long as it is there")] Counted);

impl Carried {
    pub fn begin() -> Self {
        Self(Counted::begin(&CARRIED))
    }

    pub fn number() -> usize {
        CARRIED.with(Cell::get)
    }
}

/// One of a number, for as long as it is kept: a client that leaves ends its request without another word.
struct Counted(&'static LocalKey<Cell<usize>>);

impl Counted {
    fn begin(number: &'static LocalKey<Cell<usize>>) -> Self {
        number.set(number.get() + 1);
        Self(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

pub fn variable(env: &JsValue, name: &str) -> Option<String> {
    Reflect::get(env, &JsValue::from_str(name)).ok()?.as_string()
}
