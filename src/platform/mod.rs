//! The Workers platform: everything that only exists inside the runtime.

pub mod blocks;
pub mod bodies;
pub mod console;
pub mod copy;
pub mod d1;
pub mod js;
pub mod memory;
pub mod resolver;
pub mod turns;
pub mod unpack;
pub mod vault;

use crate::auth::presented;
use crate::base::join_all::{Work, together};
use crate::config::Config;
use crate::db::databases::{self, Bound};
use futures_util::future::{Either, select};
use js_sys::{Date, Function, Promise, Reflect};
use std::cell::{Cell, OnceCell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;
use worker::{Context, Env};

/// What a request finds around it.
pub struct Around {
    pub env: Env,
    pub context: Context,
    pub config: Rc<Config>,
    /// What is to be done when the answer has been given; `None` when nobody is going to.
    rest: RefCell<Option<Vec<Work<'static>>>>,
}

/// So many bytes of randomness are asked for at once.
const RANDOM: usize = 1024;

thread_local! {
    /// How many requests are being answered, or have something left to do behind the answer.
    static CARRIED: Cell<usize> = const { Cell::new(0) };
    static RANDOMNESS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static CONFIG: OnceCell<Rc<Config>> = const { OnceCell::new() };
    /// The numbers of the databases that are bound beside the first.
    static SHARDS: OnceCell<Vec<u32>> = const { OnceCell::new() };
}

impl Around {
    pub fn new(env: Env, context: Context) -> Self {
        // Variables cannot change within an isolate: a new version of them comes with new isolates.
        let config = CONFIG.with(|cell| {
            Rc::clone(cell.get_or_init(|| {
                crate::logs::crash_worker::begin(&env, &context);
                Rc::new(Config::read(|name| variable(&env, name)))
            }))
        });
        Self { env, context, config, rest: RefCell::default() }
    }

    /// Whether a text has a token of ours in it.
    pub fn holds_token(&self, text: &str) -> bool {
        self.config.admin.as_ref().is_ok_and(|admin| presented::holds_token(text, admin))
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
            together(rest).await;
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
    pub fn database(&self) -> d1::D1Store {
        self.database_of(0)
    }

    /// The database with a gateway's logs.
    pub fn database_of(&self, shard: u32) -> d1::D1Store {
        d1::D1Store::new(&self.env, shard)
    }

    /// All that are bound.
    pub fn databases(&self) -> Bound<d1::D1Store> {
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

fn variable(env: &JsValue, name: &str) -> Option<String> {
    Reflect::get(env, &JsValue::from_str(name)).ok()?.as_string()
}

/// Milliseconds since 1970. The runtime's clock stands still between I/O, so this measures waiting, not computing.
pub fn now() -> u64 {
    Date::now() as u64
}

pub async fn pause(milliseconds: u64) {
    Timer::new(milliseconds).await;
}

/// Waits for work, but no longer than some milliseconds.
pub async fn within<T>(milliseconds: u64, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(Timer::new(milliseconds))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A timer that is cleared when nobody waits for it any more. Not worker::Delay: it unwraps the number that setTimeout used
/// to return, which is an object by now.
struct Timer {
    id: Rc<RefCell<JsValue>>,
    elapsed: JsFuture,
}

impl Timer {
    fn new(milliseconds: u64) -> Self {
        let id = Rc::new(RefCell::new(JsValue::UNDEFINED));
        let elapsed = Promise::new(&mut |resolve, _| {
            id.replace(set_timeout(&resolve, milliseconds as f64));
        });
        Self { id, elapsed: JsFuture::from(elapsed) }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        Pin::new(&mut self.elapsed).poll(context).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id.borrow());
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}

/// The random part of an id.
pub fn random() -> u128 {
    RANDOMNESS.with_borrow_mut(|bytes| {
        if bytes.is_empty() {
            bytes.resize(RANDOM, 0);
            // Without randomness ids of one millisecond would collide; crypto.getRandomValues does not fail in the runtime.
            let _ = getrandom::fill(bytes);
        }
        (0..16).fold(0, |number, _| number << 8 | u128::from(bytes.pop().unwrap_or_default()))
    })
}
