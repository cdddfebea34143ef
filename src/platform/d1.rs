//! [`Store`] on D1.

use super::bodies::Bodies;
use super::{js, within};
use crate::store::{Bind, Row, Statement, Store, StoreError};
use js_sys::{Array, JSON, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

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

/// The binding `DB`. Cheap to make; it holds a handle of the request it was made in.
pub struct D1Store {
    database: Database,
    /// A call that takes longer has failed, in milliseconds.
    patience_ms: u64,
    /// Where the bucket is found.
    env: JsValue,
}

/// D1 itself ends a statement after 30 s.
const PATIENCE_MS: u64 = 35_000;

// === impl D1Store ===

impl D1Store {
    pub fn new(env: &Env) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str("DB")).unwrap_or(JsValue::UNDEFINED);
        Self { database: binding.unchecked_into(), patience_ms: PATIENCE_MS, env: env.into() }
    }

    /// The same with less patience, for whoever can do without an answer or try again.
    pub fn within(self, patience_ms: u64) -> Self {
        Self { patience_ms, ..self }
    }

    async fn answer(&self, promise: Promise) -> Result<JsValue, StoreError> {
        match within(self.patience_ms, JsFuture::from(promise)).await {
            Some(answer) => answer.map_err(failed),
            None => Err(StoreError(format!("D1 did not answer within {} ms", self.patience_ms))),
        }
    }

    fn prepared(&self, statement: &Statement) -> Result<Prepared, StoreError> {
        if self.database.is_undefined() {
            return Err(StoreError("the Worker has no D1 binding named DB; see wrangler.toml".to_owned()));
        }
        let prepared = self.database.prepare(&statement.sql).map_err(failed)?;
        if statement.binds.is_empty() {
            return Ok(prepared);
        }
        prepared.bind(&statement.binds.iter().map(value).collect()).map_err(failed)
    }
}

impl Store for D1Store {
    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        let promise = self.prepared(&statement)?.all().map_err(failed)?;
        let answer = self.answer(promise).await?;
        let rows = Reflect::get(&answer, &JsValue::from_str("results")).map_err(failed)?;
        // One string across the border costs less than a crossing for each value.
        let text = String::from(JSON::stringify(&rows).map_err(failed)?);
        let rows: Vec<Row> =
            serde_json::from_str(&text).map_err(|error| StoreError(format!("the rows cannot be read: {error}")))?;
        Ok((rows, meta(&answer, "rows_read")))
    }

    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        let prepared = Array::new();
        for statement in &statements {
            prepared.push(self.prepared(statement)?.as_ref());
        }
        let answers = self.answer(self.database.batch(&prepared).map_err(failed)?).await?;
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
        Bind::Real(value) => JsValue::from_f64(*value),
        Bind::Text(value) => JsValue::from_str(value),
    }
}

fn failed(error: JsValue) -> StoreError {
    StoreError(js::message(&error))
}
