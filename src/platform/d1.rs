//! [`Store`] on D1.

use crate::db::databases::{self, Bound};
use crate::db::store::{Bind, Row, Statement, Store, StoreError};
use crate::platform::bodies::Bodies;
use crate::platform::js;
use crate::platform::time::{pause, within};
use js_sys::{Array, JSON, Promise, Reflect};
use std::cell::Cell;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

/// How long a request waits for what it has to know before it goes on with what it knew, or is refused, in milliseconds.
pub const REQUEST_PATIENCE_MS: u64 = 3_000;

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    type Database;
    #[wasm_bindgen(method, catch)]
    fn prepare(this: &Database, sql: &str) -> Result<Prepared, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn batch(this: &Database, statements: &Array) -> Result<Promise, JsValue>;

    type Prepared;
    #[wasm_bindgen(method, catch, variadic)]
    fn bind(this: &Prepared, values: &Array) -> Result<Prepared, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn all(this: &Prepared) -> Result<Promise, JsValue>;
}

/// A binding such as `DB`. Cheap to make; it holds a handle of the request it was made in.
pub struct D1Store {
    database: Database,
    shard: u32,
    /// A call that takes longer has failed, in milliseconds.
    patience_ms: u64,
    /// Where the bucket is found.
    env: JsValue,
    /// Whether others go first between its statements.
    rests: bool,
    rehearses: Cell<bool>,
}

/// D1 itself ends a statement after 30 s.
const PATIENCE_MS: u64 = 35_000;

// === impl D1Store ===

impl D1Store {
    /// The database with a number; see [`crate::gateways::shards`].
    pub fn new(env: &Env, shard: u32) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str(&databases::binding(shard))).unwrap_or(JsValue::UNDEFINED);
        let (database, env, rehearses) = (binding.unchecked_into(), env.into(), Cell::new(false));
        Self { database, shard, patience_ms: PATIENCE_MS, env, rests: false, rehearses }
    }

    pub fn is_bound(&self) -> bool {
        !self.database.is_undefined()
    }

    /// The same with less patience, for work that can do without an answer or try again.
    pub fn within(self, patience_ms: u64) -> Self {
        Self { patience_ms, ..self }
    }

    /// The same for work that no caller waits for. Where D1 runs in the thread of the Worker, as it does locally, its answers are
    /// always there at once, and the runtime would get to nothing else, such as sending answers, until the work is done.
    pub fn unhurried(self) -> Self {
        Self { rests: true, ..self }
    }

    async fn answer(&self, promise: Promise) -> Result<JsValue, StoreError> {
        let answer = within(self.patience_ms, JsFuture::from(promise)).await;
        if self.rests {
            pause(1).await;
        }
        match answer {
            Some(answer) => answer.map_err(|error| self.failed(&error)),
            None => Err(self.error(format!("D1 did not answer within {} ms", self.patience_ms))),
        }
    }

    fn prepared(&self, statement: &Statement) -> Result<Prepared, StoreError> {
        if !self.is_bound() {
            return Err(databases::unbound(self.shard));
        }
        let prepared = self.database.prepare(&statement.sql).map_err(|error| self.failed(&error))?;
        if statement.binds.is_empty() {
            return Ok(prepared);
        }
        prepared.bind(&statement.binds.iter().map(value).collect()).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &JsValue) -> StoreError {
        self.error(js::message(error))
    }

    /// How large the database is, in bytes, as D1 says.
    pub async fn size(&self) -> Result<u64, StoreError> {
        let promise = self.prepared(&Statement::new("SELECT 1", []))?.all().map_err(|error| self.failed(&error))?;
        Ok(meta(&self.answer(promise).await?, "size_after"))
    }

    /// Where there are several databases, it has to be said which of them failed.
    fn error(&self, cause: String) -> StoreError {
        StoreError(if self.shard == 0 { cause } else { format!("{}: {cause}", databases::binding(self.shard)) })
    }
}

// === impl Bound ===

impl Bound<D1Store> {
    /// [`D1Store::within`] of each.
    pub fn within(self, patience_ms: u64) -> Self {
        self.each(|store| store.within(patience_ms))
    }

    /// [`D1Store::unhurried`] of each.
    pub fn unhurried(self) -> Self {
        self.each(D1Store::unhurried)
    }

    fn each(self, changed: impl Fn(D1Store) -> D1Store) -> Self {
        let others = self.others.into_iter().map(|(shard, store)| (shard, changed(store))).collect();
        Self { first: changed(self.first), others }
    }
}

impl Store for D1Store {
    fn rehearse(&self, is_on: bool) {
        self.rehearses.set(is_on);
    }

    fn is_rehearsal(&self) -> bool {
        self.rehearses.get()
    }

    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        let promise = self.prepared(&statement)?.all().map_err(|error| self.failed(&error))?;
        let answer = self.answer(promise).await?;
        let rows = Reflect::get(&answer, &JsValue::from_str("results")).map_err(|error| self.failed(&error))?;
        // One string across the border costs less than a crossing for each value.
        let text = String::from(JSON::stringify(&rows).map_err(|error| self.failed(&error))?);
        let rows: Vec<Row> =
            serde_json::from_str(&text).map_err(|error| StoreError(format!("the rows cannot be read: {error}")))?;
        Ok((rows, meta(&answer, "rows_read")))
    }

    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        if self.rehearses.get() {
            return Err(StoreError::rehearsed());
        }
        let prepared = Array::new();
        for statement in &statements {
            prepared.push(self.prepared(statement)?.as_ref());
        }
        let answers = self.answer(self.database.batch(&prepared).map_err(|error| self.failed(&error))?).await?;
        Ok(Array::from(&answers).iter().map(|answer| meta(&answer, "changes")).collect())
    }

    async fn object(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Bodies::new(&self.env).object(id).await
    }
}

/// A figure that D1 reports of a statement.
fn meta(answer: &JsValue, name: &str) -> u64 {
    let meta = Reflect::get(answer, &JsValue::from_str("meta"));
    let figure = meta.and_then(|meta| Reflect::get(&meta, &JsValue::from_str(name))).ok();
    figure.and_then(|figure| figure.as_f64()).unwrap_or(0.0) as u64
}

fn value(bind: &Bind) -> JsValue {
    match bind {
        Bind::Null => JsValue::NULL,
        // A 64-bit integer would become a BigInt, which D1 refuses.
        Bind::Int(value) => JsValue::from_f64(*value as f64),
        Bind::Real(value) => JsValue::from_f64(value.get()),
        Bind::Text(value) => JsValue::from_str(value),
    }
}
