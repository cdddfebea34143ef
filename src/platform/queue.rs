//! The queue that logs may go through: handing them in, and writing what is delivered. See [`crate::log_queue`].

use super::d1::D1Store;
use super::log_writer::PATIENCE_MS;
use super::{Around, background, js, now, within};
use crate::log_queue::{self, Message, Outbox};
use js_sys::{Array, Object, Promise, Reflect};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// How long a delivery may be worked on, in milliseconds. The platform allows minutes; what is left comes again.
const BUDGET_MS: u64 = 60_000;

#[wasm_bindgen]
extern "C" {
    type Producer;
    #[wasm_bindgen(method, catch, js_name = sendBatch)]
    fn send_batch(this: &Producer, messages: &Array) -> Result<Promise, JsValue>;

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

/// The binding `LOG_QUEUE`.
pub struct Queue(Option<Producer>);

// === impl Queue ===

impl Queue {
    pub fn new(env: &JsValue) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str("LOG_QUEUE")).ok().filter(JsValue::is_object);
        Self(binding.map(JsCast::unchecked_into))
    }

    pub fn is_bound(&self) -> bool {
        self.0.is_some()
    }
}

impl Outbox for Queue {
    async fn send(&self, messages: &[String]) -> Result<(), String> {
        let Some(producer) = &self.0 else {
            return Err("the Worker has no queue bound as LOG_QUEUE; see wrangler.toml".to_owned());
        };
        let batch = Array::new();
        for message in messages {
            batch.push(&object(&[("body", message.as_str().into()), ("contentType", "text".into())]));
        }
        let sent = producer.send_batch(&batch).map_err(|error| js::message(&error))?;
        match within(PATIENCE_MS, JsFuture::from(sent)).await {
            Some(sent) => sent.map(drop).map_err(|error| js::message(&error)),
            None => Err(format!("the queue did not answer within {PATIENCE_MS} ms")),
        }
    }
}

/// Writes what a queue delivers. Each message is told on its own whether it is done with, and nothing is thrown: that would
/// bring all of them again.
pub async fn receive(delivery: &Delivery, around: &Around) {
    let until = now() + BUDGET_MS;
    let mut rest = Vec::new();
    for delivered in delivery.messages() {
        let delivered: Delivered = delivered.unchecked_into();
        let attempts = delivered.attempts() as u32;
        match delivered.body().as_string().and_then(|text| Message::read(&text, attempts)) {
            Some(message) => rest.push((delivered, message)),
            None => {
                let id = delivered.id().as_string();
                said(&json!({ "level": "error", "event": "queue_message_unreadable", "message": id }));
                again(&delivered, attempts);
            }
        }
    }
    let queue = Queue::new(&around.env);
    while let Some((_, Message { shard, .. })) = rest.first() {
        let shard = *shard;
        let (these, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, message)| message.shard == shard);
        rest = others;
        let (delivered, messages): (Vec<Delivered>, Vec<Message>) = these.into_iter().unzip();
        let (done, cause) = match database(around, shard) {
            Ok(store) => {
                let result = log_queue::receive(&store, &queue, &messages, now(), || now() > until).await;
                background::settle_now(&store).await;
                result
            }
            Err(cause) => (vec![false; messages.len()], Some(cause)),
        };
        for ((delivered, message), done) in delivered.iter().zip(&messages).zip(&done) {
            if *done { delivered.ack() } else { again(delivered, message.attempts) }
        }
        let failed = done.iter().filter(|done| !**done).count();
        if failed > 0 {
            said(&json!({ "level": "error", "event": "queue_write_failed", "messages": failed, "cause": cause }));
        }
    }
}

fn database(around: &Around, shard: u32) -> Result<D1Store, String> {
    match shard {
        0 => Ok(around.database().within(PATIENCE_MS)),
        _ => Err(format!("there is no database {shard}")),
    }
}

fn again(delivered: &Delivered, attempts: u32) {
    delivered.retry(&object(&[("delaySeconds", log_queue::delay(attempts).into())]));
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // Setting a field of a plain object does not fail.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

fn said(line: &serde_json::Value) {
    worker::console_error!("{line}");
}
