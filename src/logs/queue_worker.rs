//! The queue that logs may go through: handing them in, and writing what is delivered. See [`crate::logs::queue`].

use crate::logs::queue::Outbox;
use crate::platform::{js, within};
use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// How long sending may take, in milliseconds: it is tried four times, and then there must be time to write instead.
const PATIENCE_MS: u64 = 2_000;

#[wasm_bindgen]
extern "C" {
    type Producer;
    #[wasm_bindgen(method, catch, js_name = sendBatch)]
    fn send_batch(this: &Producer, messages: &Array) -> Result<Promise, JsValue>;
}

/// The binding `LOG_QUEUE`.
pub struct Queue(Option<Producer>);

// === impl Queue ===

impl Queue {
    pub fn new(env: &JsValue) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str("LOG_QUEUE")).ok().filter(JsValue::is_object);
        Self(binding.map(JsCast::unchecked_into))
    }
}

impl Outbox for Queue {
    async fn send(&self, messages: &[String]) -> Result<(), String> {
        let Some(producer) = &self.0 else {
            return Err("the Worker has no queue bound as LOG_QUEUE; see wrangler.toml".to_owned());
        };
        let batch = Array::new();
        for message in messages {
            batch.push(&js::object(&[("body", message.as_str().into()), ("contentType", "text".into())]));
        }
        let sent = producer.send_batch(&batch).map_err(|error| js::message(&error))?;
        match within(PATIENCE_MS, JsFuture::from(sent)).await {
            Some(sent) => sent.map(drop).map_err(|error| js::message(&error)),
            None => Err(format!("the queue did not answer within {PATIENCE_MS} ms")),
        }
    }

    fn is_bound(&self) -> bool {
        self.0.is_some()
    }
}
