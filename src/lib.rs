//! Tollgate, an LLM gateway: the events the runtime calls us with. What happens to a request is in `proxy` for the
//! data plane and in `control` for the control plane; `router` lists every URL.

// A log as it is shown has more members than the macro json! reads with the usual limit.
#![recursion_limit = "256"]

mod address;
mod answer_headers;
mod api;
mod aside;
mod audit;
mod auth;
mod body;
mod body_object;
mod bounds;
mod breaker;
mod budget;
mod cache;
mod caller;
mod charge;
mod compat;
mod config;
mod control;
mod conversation;
mod costing;
mod credential;
mod envelope;
mod evaluate;
mod filter;
mod google_token;
mod headers;
mod hosts;
mod id;
mod judgement;
mod limit;
mod log_batch;
mod log_queue;
mod mask;
mod memory;
mod metadata;
mod model;
mod number;
mod object;
mod openapi;
mod options;
mod page;
mod params;
mod patience;
mod pattern;
mod platform;
mod price;
mod price_rules;
mod proven;
mod providers;
mod proxy;
mod query;
mod record;
mod refusal;
mod remains;
mod reprice;
mod resolver;
mod retention;
mod retry;
mod rollup;
mod router;
mod scope;
mod shard;
mod sigv4;
mod socket;
mod store;
mod thing;
mod timestamp;
mod together;
mod universal;
mod upstream;
mod vault;
mod whose;
mod wire;
mod wrong_tokens;

use platform::{Around, background, queue, rpc, serve};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::{Context, Env, Result, ScheduleContext, ScheduledEvent, event};

/// Once a minute: what requests have begun and not finished.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, _env: Env, _context: ScheduleContext) {
    // Its own context cannot be turned into that of a request, but the surroundings of any call will do.
    if let Ok(around) = rpc::around() {
        background::everything(&around).await;
    }
}

/// What a queue delivers. Without the macro, which panics where a handler fails, and with it the types of messages.
#[wasm_bindgen]
pub async fn queue(delivery: queue::Delivery, env: JsValue, context: JsValue) {
    let around = Around::new(env.unchecked_into(), Context::new(context.unchecked_into()));
    queue::receive(&delivery, &around).await;
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    let around = Rc::new(Around::new(env, context));
    Ok(Rc::clone(&around).carry_out(serve::request(request, &around)).await)
}
