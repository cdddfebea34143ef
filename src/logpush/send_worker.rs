//! Sends batches of logs, within a budget: what is left goes on in the next minute.

use crate::base::id;
use crate::base::join_all::{Work, join_all};
use crate::base::json::json;
use crate::config::isolate_worker::config;
use crate::credentials::vault::{Bound, Sealed, Vault};
use crate::credentials::vault_worker::EnvVault;
use crate::db::databases::Databases;
use crate::db::store::{Store, StoreError};
use crate::logpush::batch::{self, Batch, Destination, Due};
use crate::logpush::line::{self, Pushed};
use crate::logs::bodies;
use crate::logs::pieces::read;
use crate::platform::bodies::put_into;
use crate::platform::{Runtime, console, counted, js, now, random, within};
use crate::providers::address;
use crate::providers::resolver_worker;
use crate::providers::upstream::CustomProvider;
use js_sys::{Promise, Uint8Array};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, RequestRedirect};

/// How long batches are begun in one invocation, in milliseconds, and how many: each sends the database some twenty statements.
const BUDGET_MS: u64 = 20_000;
const MOST_BATCHES: u32 = 20;

/// How many are under way at once: each has a batch in memory.
const LANES: usize = 4;

/// An endpoint that takes longer is tried again later, in milliseconds: less than the budget, which others share.
const PATIENCE_MS: u64 = 10_000;

/// The binding of the bucket.
const BUCKET: &str = "LOGPUSH";

#[wasm_bindgen(module = "/src/logpush/pack.js")]
extern "C" {
    type Pack;
    #[wasm_bindgen(constructor)]
    fn new(public_key: Option<&str>) -> Pack;
    #[wasm_bindgen(method)]
    fn add(this: &Pack, fields: &str, metadata: Option<&str>, request: Option<&str>, response: Option<&str>)
    -> Promise;
    #[wasm_bindgen(method)]
    fn end(this: &Pack) -> Promise;
}

/// Pushes what is due, of each database in turn, some gateways at once: an endpoint that hangs keeps a lane for a while, and nothing from
/// the others.
pub async fn everything(runtime: &Rc<Runtime>) {
    let until = now() + BUDGET_MS;
    let left = Cell::new(MOST_BATCHES);
    let is_over = || left.get() == 0 || now() >= until;
    for (_, store) in runtime.databases().all() {
        while !is_over() {
            let due = match batch::due(store, now()).await {
                Ok(due) if due.is_empty() => break,
                Ok(due) => RefCell::new(due.into_iter()),
                Err(error) => {
                    console::failed("logpush_failed", Err(error));
                    break;
                }
            };
            let failed = Cell::new(false);
            let lane = async || {
                while !is_over() && !failed.get() {
                    let Some(gateway) = due.borrow_mut().next() else { break };
                    left.set(left.get() - 1);
                    let pushed = push(runtime, store, &gateway).await;
                    failed.set(failed.get() || pushed.is_err());
                    console::failed("logpush_failed", pushed);
                }
            };
            join_all((0..LANES).map(|_| Box::pin(lane()) as Work<'_>).collect()).await;
            if failed.get() {
                break;
            }
        }
    }
}

/// Pushes a batch of a gateway.
async fn push(runtime: &Rc<Runtime>, store: &impl Store, due: &Due) -> Result<(), StoreError> {
    let name = id::mint(now(), random());
    let Some(batch) = batch::claim(store, due.key, &name, now()).await? else { return Ok(()) };
    match sent(runtime, store, due, &batch).await {
        Ok(logs) => batch::arrived(store, due.key, &batch, logs, now()).await,
        Err(error) => {
            let line = json!({ "level": "error", "event": "logpush_not_delivered", "account": due.account_id, "gateway": due.id, "cause": error });
            console::error(&line);
            counted::add(due.key, "push_failures", String::new(), 1);
            batch::failed(store, due.key, &batch, &error, now()).await
        }
    }
}

/// Sends a batch, and says how many logs it has: those that were removed meanwhile are in none.
async fn sent(runtime: &Rc<Runtime>, store: &impl Store, due: &Due, batch: &Batch) -> Result<u64, String> {
    let stored = |error: StoreError| format!("the database failed: {}", error.0);
    let logs = line::logs(store, due.key, &batch.batch).await.map_err(stored)?;
    if logs.is_empty() {
        return Ok(0);
    }
    if due.public_key.is_none() && due.plain != 1 {
        return Err("the gateway has no logpush_public_key any more, and logpush_plain is off".to_owned());
    }
    let pack = Pack::new(due.public_key.as_deref());
    for these in line::together(&logs) {
        add(&pack, store, due, these).await?;
    }
    let packed: Uint8Array = done(pack.end()).await?.unchecked_into();
    let made = id::minted_at(&batch.batch_id).unwrap_or_default();
    let name = line::object_name(&due.account_id, &due.id, &batch.batch_id, made);
    match batch::destination(&runtime.database(), due.key).await.map_err(stored)? {
        Some(endpoint) => post(runtime, due, &endpoint, (&batch.batch_id, &name), &packed).await?,
        None => put_into(&runtime.env, BUCKET, &name, &packed).await.map_err(|error| error.0)?,
    }
    Ok(logs.len() as u64)
}

async fn add(pack: &Pack, store: &impl Store, due: &Due, logs: &[Pushed]) -> Result<(), String> {
    let stored = |error: StoreError| format!("the database failed: {}", error.0);
    let ids: Vec<&str> = logs.iter().filter(|log| log.brings_bodies()).map(|log| log.id.as_str()).collect();
    let mut rows = if ids.is_empty() { Vec::new() } else { read::rows(store, &ids).await.map_err(stored)?.0 };
    for log in logs {
        let found = rows.iter_mut().find(|row| row.id == log.id).map(std::mem::take).unwrap_or_default();
        let bodies = [found.request, found.response];
        let [request, response] = bodies::whole(store, &log.id, found.stored, bodies).await.map_err(stored)?;
        let fields = log.fields(&due.id).to_string();
        done(pack.add(&fields, log.metadata.as_deref(), request.as_deref(), response.as_deref())).await?;
    }
    Ok(())
}

/// Sends a batch to an endpoint. Only a status from 200 to 299 means that it has arrived.
async fn post(
    runtime: &Rc<Runtime>,
    due: &Due,
    to: &Destination,
    (batch, name): (&str, &str),
    packed: &Uint8Array,
) -> Result<(), String> {
    let config = config(runtime);
    let host = CustomProvider {
        slug: "logpush".to_owned(),
        base_url: to.url.clone(),
        headers: Vec::new(),
        enable: true,
        checked: to.checked == 1,
        version: 0,
        formats: Vec::new(),
    };
    resolver_worker::admit(&host, config.allow_internal_upstreams, &config.dns_over_https_url)
        .await
        .map_err(|_| "its host may not be called: it leads to an internal address, or is not found".to_owned())?;
    let mut headers = vec![
        ("content-type", "application/x-ndjson"),
        ("content-encoding", "gzip"),
        ("user-agent", "Tollgate"),
        ("tollgate-batch-id", batch),
        ("tollgate-object-name", name),
    ];
    let secret = match (&to.secret, &to.key_id) {
        (Some(text), Some(key_id)) => {
            let vault = EnvVault { env: &runtime.env, keys: &config.encryption_keys };
            let sealed = Sealed { text: text.clone(), key_id: key_id.clone() };
            Some(vault.open(&sealed, &bound(&due.account_id, due.key, address::origin_of(&to.url))).await?)
        }
        _ => None,
    };
    headers.extend(secret.as_deref().map(|secret| ("authorization", secret)));
    let called = async {
        let sent = Headers::new().map_err(|error| js::message(&error))?;
        for (name, value) in &headers {
            sent.set(name, value).map_err(|error| js::message(&error))?;
        }
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&sent);
        init.set_body(packed);
        init.set_redirect(RequestRedirect::Manual);
        let answer = js::fetch(&to.url, &init).await?;
        if let Some(body) = answer.body() {
            drop(body.cancel());
        }
        match answer.status() {
            200..=299 => Ok(()),
            status => Err(format!("the endpoint answered with the status {status}")),
        }
    };
    within(PATIENCE_MS, called)
        .await
        .unwrap_or_else(|| Err(format!("the endpoint did not answer within {} s", PATIENCE_MS / 1_000)))
}

async fn done(promise: Promise) -> Result<JsValue, String> {
    JsFuture::from(promise).await.map_err(|error| js::message(&error))
}

/// What the secret of an endpoint is sealed for.
pub fn bound<'a>(account: &'a str, gateway: i64, origin: &'a str) -> Bound<'a> {
    Bound { account, gateway, provider: "logpush", alias: "", upstream: Some(origin) }
}
