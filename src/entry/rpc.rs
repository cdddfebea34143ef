//! What Workers that are bound to this one call by name: `env.TOLLGATE.run(…)`.
//!
//! Every function here becomes a method of the Worker's entrypoint. The operator bound its callers, so none of them
//! needs a token; `clients/workers` is the client for them.

use crate::entry::begin;
use crate::entry::http;
use crate::feedback::attach_worker;
use crate::http::router::{Access, Endpoint, Route};
use crate::logs::part::Lost;
use crate::logs::{crash_worker, writer_worker};
use crate::platform::promise::promise;
use crate::platform::{Carried, Runtime, now, pause};
use crate::proxy::caller::Caller;
use crate::proxy::universal as elements;
use crate::proxy::universal_worker;
use crate::tracing::send_worker as tracing;
use futures_util::future::LocalBoxFuture;
use js_sys::{Date, Error, JSON, Object, Promise, Reflect};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Response};
use worker::Context;

/// How often `settled` looks, in milliseconds.
const SETTLE_LOOK_MS: u64 = 10;

// The runtime hands neither of these to methods called by name.
#[wasm_bindgen(module = "cloudflare:workers")]
extern "C" {
    #[wasm_bindgen(thread_local_v2, js_name = env)]
    static ENV: JsValue;
    #[wasm_bindgen(thread_local_v2, js_name = waitUntil)]
    static WAIT_UNTIL: JsValue;
}

/// `run(data, options)`: a universal request; `data` may also be its JSON. `options` are `{account, gateway: {id, …}, extraHeaders, signal}`.
#[wasm_bindgen]
pub fn run(data: JsValue, options: JsValue) -> Promise {
    promise(Box::pin(async move {
        let runtime = runtime()?;
        let body = data.as_string().map_or_else(|| json(&data), Ok)?;
        let read = elements::run_options(&json(&options)?).map_err(|fault| internal(&fault))?;
        let signal = field(&options, "signal").dyn_into::<AbortSignal>().ok();
        let work = ran(body, read, signal, Rc::clone(&runtime));
        kept(&runtime, Box::pin(work)).await
    }))
}

async fn ran(
    body: String,
    read: elements::RunOptions,
    signal: Option<AbortSignal>,
    runtime: Rc<Runtime>,
) -> Result<JsValue, JsValue> {
    let route = Route {
        endpoint: Endpoint::Universal,
        access: Access::Gateway,
        account: &read.account,
        gateway: &read.gateway,
        provider: "",
        id: "",
        version: "",
        rest: "",
    };
    let mut headers = read.headers;
    headers.0.retain(|(name, _)| name != "accept-encoding");
    headers.0.push(("accept-encoding".to_owned(), "identity".to_owned()));
    let caller = Caller { trusted: true, signal, ..Caller::default() };
    let response: Response = universal_worker::run(&body, &headers, route, &caller, &runtime).await;
    Ok(response.into())
}

/// `getLog(id, {account, gateway})`.
#[wasm_bindgen(js_name = getLog)]
pub fn get_log(id: JsValue, scope: JsValue) -> Promise {
    promise(Box::pin(async move {
        let log = controlled("GET", &id, "logs", &scope, None).await?;
        let created = field(&log, "created_at");
        if created.is_string() {
            Reflect::set(&log, &"created_at".into(), &Date::new(&created))?;
        }
        Ok(log)
    }))
}

/// `patchLog(id, {score, feedback, metadata}, {account, gateway})`.
#[wasm_bindgen(js_name = patchLog)]
pub fn patch_log(id: JsValue, data: JsValue, scope: JsValue) -> Promise {
    promise(Box::pin(
        async move { controlled("PATCH", &id, "logs", &scope, Some(data)).await.map(|_| JsValue::UNDEFINED) },
    ))
}

/// `feedback(id, data, {account, gateway})`: what an end user said of an answer.
#[wasm_bindgen]
pub fn feedback(id: JsValue, data: JsValue, scope: JsValue) -> Promise {
    promise(Box::pin(async move {
        let body = Object::new();
        Reflect::set(&body, &"data".into(), &data)?;
        controlled("POST", &id, "feedback", &scope, Some(body.into())).await
    }))
}

/// `getUrl(provider, {account, gateway, origin})`: where HTTP clients find the gateway. A call by name knows no host, so
/// the origin is the caller's, or the variable `PUBLIC_URL`.
#[wasm_bindgen(js_name = getUrl)]
pub fn get_url(provider: JsValue, scope: JsValue) -> Promise {
    promise(Box::pin(async move {
        let origin =
            field(&scope, "origin").as_string().or_else(|| ENV.with(|env| field(env, "PUBLIC_URL").as_string()));
        let origin = origin.filter(|origin| !origin.is_empty()).unwrap_or_else(|| "https://tollgate".to_owned());
        let (account, gateway) = (segment(&scope, "account")?, segment(&scope, "gateway")?);
        let mut url = format!("{}/v1/{account}/{gateway}/", origin.trim_end_matches('/'));
        if let Some(provider) = provider.as_string().filter(|provider| provider != "universal") {
            url += &provider;
        }
        Ok(url.into())
    }))
}

/// A request of the control plane about one thing in a gateway. Its result, or an error that says what went wrong.
async fn controlled(
    method: &'static str,
    id: &JsValue,
    resource: &str,
    scope: &JsValue,
    data: Option<JsValue>,
) -> Result<JsValue, JsValue> {
    let runtime = runtime()?;
    let account = segment(scope, "account")?;
    let gateway = segment(scope, "gateway")?;
    let id = id.as_string().filter(|id| is_segment(id)).ok_or_else(|| not_found("no log has such an id"))?;
    let body = data.as_ref().map_or(Ok(String::new()), json)?;
    let path = match resource {
        "feedback" => format!("/feedback/{id}?account={account}&gateway={gateway}"),
        _ => format!("/accounts/{account}/ai-gateway/gateways/{gateway}/{resource}/{id}"),
    };
    let kept_runtime = Rc::clone(&runtime);
    let work = async move {
        let reply = http::trusted(method, &path, body.as_bytes(), &runtime).await;
        let answer = JSON::parse(&reply.body)?;
        match reply.status {
            200..=299 => Ok(field(&answer, "result")),
            status => {
                let error = field(&field(&answer, "errors"), "0");
                let message = field(&error, "message").as_string().unwrap_or_else(|| status.to_string());
                Err(if status == 404 { not_found(&message) } else { internal(&message) })
            }
        }
    };
    kept(&kept_runtime, Box::pin(work)).await
}

/// `settled(patience)`: waits until no request is being carried out, at most for the given milliseconds, and then until every
/// log is written or lost. The server that ends the process calls it first. What still is under way then, and thereby ends without its log,
/// is reported like any other loss, and its number returned.
#[wasm_bindgen]
pub fn settled(patience: f64) -> Promise {
    promise(Box::pin(async move {
        let runtime = runtime()?;
        let until = now() + patience.max(0.0) as u64;
        while (Carried::number() > 0 || !crash_worker::underway().is_empty()) && now() < until {
            pause(SETTLE_LOOK_MS).await;
        }
        writer_worker::drain(&runtime, attach_worker::written).await;
        tracing::drain(&runtime).await;
        let left = crash_worker::underway();
        let reason = "the Worker was stopped while the request was under way";
        let lost: Vec<Lost> =
            left.into_iter().map(|id| Lost { id: Some(id), requests: 1, reason: reason.to_owned() }).collect();
        let number = lost.len();
        writer_worker::lose(number as u64);
        writer_worker::say("log_lost", lost, writer_worker::lost().0);
        Ok(JsValue::from_f64(number as f64))
    }))
}

/// The surroundings of a call that was not given any.
pub fn runtime() -> Result<Rc<Runtime>, JsValue> {
    let context = Object::new();
    Reflect::set(&context, &"waitUntil".into(), &WAIT_UNTIL.with(JsValue::clone))?;
    let env = ENV.with(JsValue::clone).unchecked_into();
    Ok(Rc::new(begin::runtime(env, Context::new(context.unchecked_into()))))
}

/// Carries a call to its end, and to its log, although its caller may have left.
async fn kept(runtime: &Runtime, work: LocalBoxFuture<'static, Result<JsValue, JsValue>>) -> Result<JsValue, JsValue> {
    let promise = promise(work);
    let waited = JsFuture::from(promise.clone());
    runtime.beside(async move {
        let _ = waited.await;
    });
    JsFuture::from(promise).await
}

fn field(object: &JsValue, name: &str) -> JsValue {
    let value = object.is_object().then(|| Reflect::get(object, &JsValue::from_str(name)).ok()).flatten();
    value.unwrap_or(JsValue::UNDEFINED)
}

fn json(value: &JsValue) -> Result<String, JsValue> {
    // Undefined has no JSON.
    Ok(JSON::stringify(value)?.as_string().unwrap_or_else(|| "null".to_owned()))
}

/// A part of a path, taken as it is: it must not be able to lead anywhere else.
fn segment(scope: &JsValue, name: &str) -> Result<String, JsValue> {
    let text = field(scope, name).as_string().filter(|text| is_segment(text));
    text.ok_or_else(|| internal(&format!("{name} is missing or no name")))
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '?', '#', '&', '%'])
}

fn not_found(message: &str) -> JsValue {
    named("AiGatewayLogNotFound", message)
}

fn internal(message: &str) -> JsValue {
    named("AiGatewayInternalError", message)
}

fn named(name: &str, message: &str) -> JsValue {
    let error = Error::new(message);
    error.set_name(name);
    error.into()
}
