//! The bucket that long bodies go to; see [`crate::logs::bodies`].

use crate::db::bucket::{AT_ONCE, Bucket, PREFIX};
use crate::db::store::StoreError;
use crate::platform::js;
use crate::platform::time::within;
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// A call that takes longer has failed, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

#[wasm_bindgen]
extern "C" {
    type Binding;
    #[wasm_bindgen(method, catch)]
    fn put(this: &Binding, key: &str, value: &Uint8Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn get(this: &Binding, key: &str, options: &Object) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn delete(this: &Binding, keys: &Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn list(this: &Binding, options: &Object) -> Result<Promise, JsValue>;

    pub type Stored;
    #[wasm_bindgen(method, getter)]
    pub fn body(this: &Stored) -> JsValue;
    #[wasm_bindgen(method, js_name = arrayBuffer)]
    fn array_buffer(this: &Stored) -> Promise;
}

/// The binding `BODIES`.
pub struct Bodies(Option<Binding>);

/// Puts an object into a bucket that has no more to it than that.
pub async fn put_into(env: &JsValue, binding: &str, name: &str, object: &Uint8Array) -> Result<(), StoreError> {
    let bound = Reflect::get(env, &JsValue::from_str(binding)).ok().filter(JsValue::is_object);
    let missing =
        || StoreError(format!("no R2 bucket is bound as {binding}, and no endpoint is set; see docs/logpush.md"));
    let bucket: Binding = bound.ok_or_else(missing)?.unchecked_into();
    answer(bucket.put(name, object)).await.map(drop)
}

// === impl Bodies ===

impl Bodies {
    pub fn new(env: &JsValue) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str("BODIES")).ok().filter(JsValue::is_object);
        Self(binding.map(JsCast::unchecked_into))
    }

    pub fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    fn binding(&self) -> Result<&Binding, StoreError> {
        let missing = "the bodies of older logs are in an R2 bucket that is not bound as BODIES; see wrangler.toml";
        self.0.as_ref().ok_or_else(|| StoreError(missing.to_owned()))
    }

    pub async fn put(&self, id: &str, object: &Uint8Array) -> Result<(), StoreError> {
        answer(self.binding()?.put(&key(id), object)).await.map(drop)
    }

    /// The whole object.
    pub async fn object(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(stored) = self.get(id, &Object::new()).await? else { return Ok(None) };
        let buffer = answer(Ok(stored.array_buffer())).await?;
        Ok(Some(js::bytes(&buffer.unchecked_into())))
    }

    pub async fn get(&self, id: &str, options: &Object) -> Result<Option<Stored>, StoreError> {
        let found = answer(self.binding()?.get(&key(id), options)).await?;
        Ok(found.is_object().then(|| found.unchecked_into()))
    }
}

impl Bucket for Bodies {
    async fn remove(&self, ids: &[String]) -> Result<(), StoreError> {
        let keys: Array = ids.iter().map(|id| JsValue::from(key(id))).collect();
        answer(self.binding()?.delete(&keys)).await.map(drop)
    }

    async fn after(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let options = js::object(&[
            ("prefix", PREFIX.into()),
            ("startAfter", key(id).into()),
            ("limit", (AT_ONCE as u32).into()),
        ]);
        let found = answer(self.binding()?.list(&options)).await?;
        let objects = Array::from(&js::field(&found, "objects"));
        let keys = objects.iter().filter_map(|object| js::field(&object, "key").as_string());
        Ok(keys.filter_map(|key| key.strip_prefix(PREFIX).map(str::to_owned)).collect())
    }
}

/// The texts of an object, one behind the other.
pub fn joined(parts: [Option<String>; 2]) -> Uint8Array {
    let length = parts.iter().flatten().map(|part| part.len() as u32).sum();
    let whole = Uint8Array::new_with_length(length);
    let mut at = 0;
    for part in parts.iter().flatten() {
        let end = at + part.len() as u32;
        whole.subarray(at, end).copy_from(part.as_bytes());
        at = end;
    }
    whole
}

/// The id of a log has no slash; what else has one is named in full.
fn key(id: &str) -> String {
    if id.contains('/') { id.to_owned() } else { format!("{PREFIX}{id}") }
}

async fn answer(promise: Result<Promise, JsValue>) -> Result<JsValue, StoreError> {
    let failed = |error: JsValue| StoreError(format!("R2: {}", js::message(&error)));
    match within(PATIENCE_MS, JsFuture::from(promise.map_err(failed)?)).await {
        Some(answer) => answer.map_err(failed),
        None => Err(StoreError(format!("R2 did not answer within {PATIENCE_MS} ms"))),
    }
}
