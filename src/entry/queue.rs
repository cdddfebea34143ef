//! What a queue delivers: logs that other isolates sent.

use crate::base::json::json;
use crate::feedback::attach_worker;
use crate::logs::queue::{self, Message};
use crate::logs::queue_worker::Queue;
use crate::logs::writer_worker;
use crate::platform::{Runtime, console, js, now};
use crate::tracing::parcel::Parcel;
use crate::tracing::send_worker;
use js_sys::{Array, Object};
use std::rc::Rc;
use wasm_bindgen::prelude::*;

/// How long a delivery may be worked on, in milliseconds. The platform allows minutes; what is left comes again.
const BUDGET_MS: u64 = 60_000;

#[wasm_bindgen]
extern "C" {
    /// What the runtime gives to a consumer.
    pub type Delivery;
    #[wasm_bindgen(method, getter)]
    fn messages(this: &Delivery) -> Array;

    type Delivered;
    #[wasm_bindgen(method, getter)]
    fn id(this: &Delivered) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn body(this: &Delivered) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn attempts(this: &Delivered) -> f64;
    #[wasm_bindgen(method)]
    fn ack(this: &Delivered);
    #[wasm_bindgen(method)]
    fn retry(this: &Delivered, options: &Object);
}

/// Writes what a queue delivers. Each message is told on its own whether it is done with, and nothing is thrown: that would
/// bring all of them again.
pub async fn receive(delivery: &Delivery, runtime: &Rc<Runtime>) {
    let until = now() + BUDGET_MS;
    let (mut delivered, mut messages): (Vec<Delivered>, Vec<Message>) = (Vec::new(), Vec::new());
    let (mut traced, mut parcels): (Vec<Delivered>, Vec<(Parcel, u32)>) = (Vec::new(), Vec::new());
    for one in delivery.messages() {
        let one: Delivered = one.unchecked_into();
        let attempts = one.attempts() as u32;
        if let Some(parcel) = one.body().as_string().and_then(|text| Parcel::read(&text)) {
            traced.push(one);
            parcels.push((parcel, attempts));
            continue;
        }
        match one.body().as_string().and_then(|text| Message::read(&text, writer_worker::naming(), attempts)) {
            Some(message) => {
                delivered.push(one);
                messages.push(message);
            }
            None => {
                let id = one.id().as_string().unwrap_or_default();
                said(&json!({ "level": "error", "event": "queue_message_unreadable", "message": id }));
                let text = one.body().as_string().unwrap_or_default();
                match queue::put_strange_aside(&runtime.database(), &id, &text, attempts, now()).await {
                    true => one.ack(),
                    false => again(&one, attempts),
                }
            }
        }
    }
    let queue = Queue::new(&runtime.env);
    let mut cause = None;
    let mut shards: Vec<u32> = Vec::new();
    for Message { shard, .. } in &messages {
        if !shards.contains(shard) {
            shards.push(*shard);
        }
    }
    for shard in shards {
        let store = runtime.database_of(shard).within(writer_worker::PATIENCE_MS);
        let failed = queue::receive(&store, shard, &queue, &mut messages, now(), || now() > until).await;
        cause = failed.or(cause);
        attach_worker::attach_now(&store, runtime).await;
    }
    let mut failed = 0;
    for (one, message) in delivered.iter().zip(&messages) {
        if message.done {
            one.ack();
        } else {
            failed += 1;
            again(one, message.attempts);
        }
    }
    if failed > 0 {
        said(&json!({ "level": "error", "event": "queue_write_failed", "messages": failed, "cause": cause }));
    }
    // Behind the logs, which no destination may hold up.
    if !parcels.is_empty() {
        for (one, again) in traced.iter().zip(send_worker::receive(runtime, &parcels).await) {
            match again {
                None => one.ack(),
                Some(seconds) => one.retry(&js::object(&[("delaySeconds", seconds.into())])),
            }
        }
    }
}

fn again(delivered: &Delivered, attempts: u32) {
    delivered.retry(&js::object(&[("delaySeconds", queue::delay(attempts).into())]));
}

fn said(line: &serde_json::Value) {
    console::error(line);
}
