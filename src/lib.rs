//! Tollgate, an LLM gateway: the events the runtime calls us with. What happens to a request is in `proxy` for the
//! data plane and in `control` for the control plane; `router` lists every URL.

// A log as it is shown has more members than the macro json! reads with the usual limit.
#![recursion_limit = "256"]

mod alerts;
mod api;
mod auth;
mod base;
mod batches;
mod cache;
mod catalogue;
mod config;
mod conversation;
mod credentials;
mod db;
mod dlp;
mod entry;
mod evaluate;
mod feedback;
mod gateways;
mod guardrails;
mod http;
mod limit;
mod logpush;
mod logs;
mod pattern;
mod platform;
mod policies;
mod pricing;
mod providers;
mod proxy;
mod routes;
mod telemetry;
#[cfg(test)]
mod testing;
mod tracing;
mod translate;
mod wire;

use crate::entry::{begin, cron, rpc};
use crate::platform::promise::promise;
use js_sys::Promise;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::{Context, Env, Result, ScheduleContext, ScheduledEvent, event};

/// Once a minute: what requests have begun and not finished.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, _env: Env, _context: ScheduleContext) {
    // Its own context cannot be turned into that of a request, but the surroundings of any call will do.
    if let Ok(runtime) = rpc::runtime() {
        cron::everything(&runtime).await;
    }
}

/// What a queue delivers. Without the macro, which panics where a handler fails, and with it the types of messages.
#[wasm_bindgen]
pub fn queue(delivery: entry::queue::Delivery, env: JsValue, context: JsValue) -> Promise {
    let runtime = Rc::new(begin::runtime(env.unchecked_into(), Context::new(context.unchecked_into())));
    promise(Box::pin(async move {
        entry::queue::receive(&delivery, &runtime).await;
        Ok(JsValue::UNDEFINED)
    }))
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    let runtime = Rc::new(begin::runtime(env, context));
    Ok(Rc::clone(&runtime).carry_out(entry::http::request(request, &runtime)).await)
}
