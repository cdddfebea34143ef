//! The Durable Object of a gateway's limits. All counters of a gateway are in one object, so that a request meets all of its
//! limits in one call and at one moment. Its answers never wait for storage: what changed is stored a moment later, and
//! an object that dies in between forgets that moment.

use crate::base::json::json;
use crate::limit::counter_service::{CounterService, CounterStore, sql};
use crate::limit::ledger::Saved;
use crate::platform::{console, js, now, pause};
use js_sys::{Array, Reflect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

/// How long changes are gathered before they are stored, in milliseconds. A row costs as much whether it was changed once
/// or often.
const GATHER_MS: u64 = 100;

#[wasm_bindgen]
extern "C" {
    type Database;
    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &Database, sql: &str, binds: &Array) -> std::result::Result<Cursor, JsValue>;

    type Cursor;
    #[wasm_bindgen(method, catch, js_name = toArray)]
    fn to_array(this: &Cursor) -> std::result::Result<Array, JsValue>;
}

#[durable_object(fetch)]
pub struct Limiter {
    state: State,
    inner: Rc<Inner>,
}

struct Inner {
    counters: RefCell<CounterService>,
    counter_store: Storage,
    is_storing: Cell<bool>,
}

impl DurableObject for Limiter {
    fn new(state: State, _env: Env) -> Self {
        let counter_store = Storage::new(state.as_raw().as_ref());
        Self {
            state,
            inner: Rc::new(Inner { counters: RefCell::default(), counter_store, is_storing: Cell::new(false) }),
        }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let text = JsFuture::from(request.inner().text()?).await?.as_string().unwrap_or_default();
        let answer = self.inner.counters.borrow_mut().answer(&text, &self.inner.counter_store, now());
        self.store_later();
        Ok(Response::from(answered(&answer)))
    }
}

fn answered(answer: &std::result::Result<String, String>) -> web_sys::Response {
    let (status, body) = match answer {
        Ok(text) => (200, text),
        Err(cause) => (500, cause),
    };
    let init = web_sys::ResponseInit::new();
    init.set_status(status);
    web_sys::Response::new_with_opt_str_and_init(Some(body), &init).unwrap_or_else(|_| web_sys::Response::error())
}

impl Limiter {
    fn store_later(&self) {
        let inner = Rc::clone(&self.inner);
        if !inner.counters.borrow().has_changes() || inner.is_storing.replace(true) {
            return;
        }
        self.state.wait_until(async move {
            pause(GATHER_MS).await;
            inner.is_storing.set(false);
            let stored = inner.counters.borrow_mut().store(&inner.counter_store, now());
            if let Err(cause) = stored {
                console::error(&json!({ "level": "error", "event": "limits_not_stored", "cause": cause }));
            }
        });
    }
}

/// The object's own SQLite. Its calls do not wait, so nothing can come in between.
struct Storage(std::result::Result<Database, String>);

impl Storage {
    fn new(state: &JsValue) -> Self {
        let found = Reflect::get(state, &"storage".into()).and_then(|storage| Reflect::get(&storage, &"sql".into()));
        let made = found.and_then(|database| {
            let database: Database = database.unchecked_into();
            database.exec(sql::CREATE, &Array::new())?;
            Ok(database)
        });
        Self(made.map_err(|error| js::message(&error)))
    }

    fn rows(&self, sql: &str, binds: &[JsValue]) -> std::result::Result<Array, String> {
        let database = self.0.as_ref().map_err(Clone::clone)?;
        let rows = database.exec(sql, &binds.iter().collect()).and_then(|cursor| cursor.to_array());
        rows.map_err(|error| js::message(&error))
    }
}

fn column(row: &JsValue, name: &str) -> Option<String> {
    Reflect::get(row, &name.into()).ok()?.as_string()
}

impl CounterStore for Storage {
    fn load(&self, key: &str) -> std::result::Result<Option<String>, String> {
        let rows = self.rows(sql::LOAD, &[key.into()])?;
        Ok(rows.iter().next().and_then(|row| column(&row, "state")))
    }

    fn list(&self, prefix: &str, now: u64, limit: usize) -> std::result::Result<Vec<(String, String)>, String> {
        let rows = self.rows(sql::LIST, &[prefix.into(), (now as f64).into(), (limit as f64).into()])?;
        Ok(rows.iter().filter_map(|row| Some((column(&row, "key")?, column(&row, "state")?))).collect())
    }

    fn save(&self, saved: &Saved, now: u64) -> std::result::Result<(), String> {
        let binds = [
            saved.key.as_str().into(),
            saved.state.as_str().into(),
            (now as f64).into(),
            (saved.expires_at as f64).into(),
        ];
        self.rows(sql::SAVE, &binds).map(drop)
    }

    fn tidy(&self, now: u64) -> std::result::Result<(), String> {
        self.rows(sql::TIDY, &[(now as f64).into()]).map(drop)
    }

    fn clear(&self) -> std::result::Result<(), String> {
        self.rows(sql::CLEAR, &[]).map(drop)
    }
}
