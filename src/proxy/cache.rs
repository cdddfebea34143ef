//! Kept answers: in the KV namespace that is bound as `CACHE`, or else in the data centre's own cache.
//!
//! The cache is no reason to fail. If it does not answer, the provider is asked, and one line says so.

use crate::cache::flight::{self, Flight, Next};
use crate::cache::key::{self, Body, KeyInput};
use crate::cache::{self, Policy, canonical};
use crate::http::headers::Headers;
use crate::http::message_worker;
use crate::logs::call::Outcome;
use crate::platform::allotment::Allotment;
use crate::platform::{Runtime, console, js, now, pause, within};
use crate::proxy::request_body::Taken;
use crate::wire::{Framing, complete};
use js_sys::{ArrayBuffer, JSON, Object, Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Response};

/// How long a request waits for the cache, in milliseconds.
const PATIENCE_MS: u64 = 1_000;

/// How long an answer may take to be kept, in milliseconds. Only background work waits for it, which the platform
/// ends after 30 s.
const KEEP_PATIENCE_MS: u64 = 10_000;

/// An answer of up to so many bytes is taken out whole before it is called one: until then a failing cache can be hidden
/// from the client.
const WHOLE: u64 = 1024 * 1024;

/// In the part of a stream that tells whether it is complete, bytes.
const END: u32 = 64 * 1024;

/// A cache that thinks of web pages would not keep a 201, so the status is beside the answer.
const STATUS: &str = "cf-aig-status";

/// KV takes so many bytes of metadata, in which an answer's headers are kept.
const MAX_METADATA: usize = 1_024;

#[wasm_bindgen]
extern "C" {
    type Storage;
    #[wasm_bindgen(method, catch)]
    fn open(this: &Storage, name: &str) -> Result<Promise, JsValue>;

    type Opened;
    #[wasm_bindgen(method, catch, js_name = match)]
    fn find(this: &Opened, url: &str) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn put(this: &Opened, url: &str, answer: &Response) -> Result<Promise, JsValue>;

    type Kv;
    #[wasm_bindgen(method, catch, js_name = getWithMetadata)]
    fn get_with_metadata(this: &Kv, key: &str, kind: &str) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = put)]
    fn put_kv(this: &Kv, key: &str, value: &ArrayBuffer, options: &JsValue) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = digest, catch)]
    fn web_digest(algorithm: &str, data: &ArrayBuffer) -> Result<Promise, JsValue>;
}

thread_local! {
    static FLIGHT: RefCell<Flight> = RefCell::new(Flight::default());
}

/// What the cache has to do with one request.
#[derive(Clone, Default)]
pub struct Cache {
    policy: Option<Policy>,
    /// What the client is told: `HIT` or `MISS`.
    pub status: Option<&'static str>,
    miss: Option<Rc<Miss>>,
}

/// A question without an answer so far.
struct Miss {
    key: String,
    ttl: u64,
    /// True when requests with the same question may wait for this one.
    leads: Cell<bool>,
}

enum Store {
    Kv(Kv),
    DataCentre,
}

// === impl Cache ===

impl Cache {
    pub fn new(policy: Option<Policy>) -> Self {
        Self { policy, ..Self::default() }
    }

    /// True when the request's body will be needed, to look for its answer.
    pub fn is_on(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether an answer that has been found fit is waited for.
    pub fn is_to_keep(&self) -> bool {
        self.miss.is_some()
    }

    /// Whether an answer is to be kept, as far as its head tells. If not, other requests wait for it no longer.
    pub fn keeps(&mut self, status: u16, headers: &Headers) -> bool {
        if !cache::may_keep(status, headers) {
            self.miss = None;
        }
        self.miss.is_some()
    }

    /// Looks for the answer to a request. It is not looked for any longer than `client` waits.
    pub async fn look_up(
        &mut self,
        asked: &KeyInput<'_>,
        body: &Taken,
        client: &AbortSignal,
        runtime: &Runtime,
    ) -> Option<Response> {
        let Policy { ttl, skip, .. } = *self.policy.as_ref()?;
        if skip {
            self.status = Some("MISS");
            return None;
        }
        let key = key_of(asked, body).await?;
        self.status = Some("MISS");
        let mut waited = false;
        let leads = loop {
            let looked_at = now();
            match within(PATIENCE_MS, read(runtime, &key)).await {
                Some(Ok(Some(answer))) => {
                    self.status = Some("HIT");
                    return Some(answer);
                }
                Some(Ok(None)) => {}
                // What is not read is not written, either: that would be the second line about the same trouble.
                Some(Err(error)) => {
                    tell("cache_unreadable", &js::message(&error));
                    return None;
                }
                None => {
                    tell("cache_unreadable", &format!("no answer within {PATIENCE_MS} ms"));
                    return None;
                }
            }
            match FLIGHT.with_borrow_mut(|flight| flight.next(&key, looked_at, now())) {
                Next::Ask => break true,
                Next::LookAgain => {}
                // A client that wants a stream wants its first words soon, not its last.
                Next::Wait if asked.stream || waited => break false,
                Next::Wait => {
                    let until = now() + flight::PATIENCE_MS;
                    while now() < until && !client.aborted() && FLIGHT.with_borrow(|flight| flight.has(&key)) {
                        pause(flight::LOOK_MS).await;
                    }
                    // If there is still no answer, all that waited ask for themselves.
                    waited = true;
                }
            }
        };
        self.miss = Some(Rc::new(Miss { key, ttl, leads: Cell::new(leads) }));
        None
    }

    /// An answer of the cache that turned out to be unusable counts as none.
    pub fn mistaken(&mut self, cause: &str) {
        tell("cache_unreadable", cause);
        self.status = Some("MISS");
    }

    /// Keeps an answer that came to its end, if it did.
    pub fn keep<'a>(
        &self,
        headers: &'a Headers,
        outcome: &Outcome,
        body: &'a ArrayBuffer,
        runtime: &Rc<Runtime>,
    ) -> Option<impl Future<Output = ()> + use<'a>> {
        let miss = Rc::clone(self.miss.as_ref()?);
        let status = outcome.status?;
        let short = u64::from(body.byte_length()) <= cache::MAX_SIZE;
        if outcome.failure.is_some() || !short || !is_complete(headers, outcome, body) {
            miss.release();
            return None;
        }
        let runtime = Rc::clone(runtime);
        Some(async move {
            match within(KEEP_PATIENCE_MS, write(&runtime, &miss, status, headers, body)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => tell("cache_unwritable", &js::message(&error)),
                None => tell("cache_unwritable", &format!("no answer within {KEEP_PATIENCE_MS} ms")),
            }
            miss.release();
        })
    }
}

fn is_complete(headers: &Headers, outcome: &Outcome, body: &ArrayBuffer) -> bool {
    let length = body.byte_length();
    let Some(framing) = headers.get("content-type").and_then(Framing::of) else { return true };
    if framing == Framing::Sse && length > END {
        let end = js::slice(body, length - END, length);
        // From the first whole line on.
        let line = end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        return complete::is_complete(framing, end.get(line..).unwrap_or_default(), &outcome.facts);
    }
    if length as usize > crate::wire::body::MAX_BODY {
        return framing == Framing::Json;
    }
    complete::is_complete(framing, &js::bytes(body), &outcome.facts)
}

async fn key_of(asked: &KeyInput<'_>, body: &Taken) -> Option<String> {
    let buffer = match body {
        Taken::Nothing => return Some(key::key(asked, &Body::Whole(&[]))),
        Taken::Whole(buffer, _) => buffer,
        Taken::Stream(_) => return None,
    };
    let length = buffer.byte_length();
    if u64::from(length) > cache::MAX_SIZE {
        return None;
    }
    if length as usize <= canonical::MAX_BODY {
        return Some(key::key(asked, &Body::Whole(&js::bytes(buffer))));
    }
    let digest = JsFuture::from(web_digest("SHA-256", buffer).ok()?).await.ok()?;
    Some(key::key(asked, &Body::Digest(&js::bytes(digest.unchecked_ref()))))
}

async fn read(runtime: &Runtime, key: &str) -> Result<Option<Response>, JsValue> {
    let found = match Store::of(runtime) {
        Store::Kv(kv) => {
            let found = JsFuture::from(kv.get_with_metadata(key, "stream")?).await?;
            let value = field(&found, "value")?;
            if value.is_null() {
                return Ok(None);
            }
            let kept = field(&found, "metadata")?;
            let headers = web_sys::Headers::new_with_record_from_str_to_str(kept.unchecked_ref())?;
            js::answer(&value, 200, "", &headers).map_err(|cause| JsValue::from_str(&cause))?
        }
        Store::DataCentre => {
            let found = JsFuture::from(opened().await?.find(&url(key))?).await?;
            if found.is_undefined() {
                return Ok(None);
            }
            found.unchecked_into()
        }
    };
    let headers = web_sys::Headers::new_with_headers(&found.headers())?;
    let all = message_worker::headers(&headers);
    let status = all.get(STATUS).and_then(|status| status.parse().ok()).unwrap_or(200);
    for (name, _) in all.0.iter().filter(|(name, _)| !cache::is_replayed(name)) {
        headers.delete(name)?;
    }
    let body: JsValue = match all.content_length() {
        Some(length) if length <= WHOLE && Allotment::of(length).is_some() => {
            JsFuture::from(found.array_buffer()?).await?
        }
        _ => found.body().into(),
    };
    let text = if status == 200 { "OK" } else { "" };
    let answer = js::answer(&body, status, text, &headers);
    answer.map(Some).map_err(|cause| JsValue::from_str(&cause))
}

async fn write(
    runtime: &Runtime,
    miss: &Miss,
    status: u16,
    headers: &Headers,
    body: &ArrayBuffer,
) -> Result<JsValue, JsValue> {
    let kept = headers.0.iter().filter(|(name, _)| cache::is_replayed(name) && name != "content-length");
    match Store::of(runtime) {
        Store::Kv(kv) => {
            // What comes first is what a client cannot do without.
            let own = [(STATUS, status.to_string()), ("content-length", body.byte_length().to_string())];
            let own = own.map(|(name, value)| (name.to_owned(), value));
            let kind = headers.0.iter().filter(|(name, _)| name == "content-type");
            let mut left = MAX_METADATA - 2;
            let metadata = Object::new();
            for (name, value) in own.iter().chain(kind).chain(kept) {
                // Each character may be escaped.
                let size = name.len() + 2 * value.len() + 6;
                if size <= left {
                    left -= size;
                    Reflect::set(&metadata, &JsValue::from_str(name), &JsValue::from_str(value))?;
                }
            }
            let options = JSON::parse(&format!("{{\"expirationTtl\":{}}}", miss.ttl))?;
            Reflect::set(&options, &JsValue::from_str("metadata"), &metadata)?;
            JsFuture::from(kv.put_kv(&miss.key, body, &options)?).await
        }
        Store::DataCentre => {
            let carried = web_sys::Headers::new()?;
            for (name, value) in kept {
                carried.append(name, value)?;
            }
            carried.set(STATUS, &status.to_string())?;
            carried.set("cache-control", &format!("max-age={}", miss.ttl))?;
            let answer = js::answer(body, 200, "", &carried).map_err(|cause| JsValue::from_str(&cause))?;
            JsFuture::from(opened().await?.put(&url(&miss.key), &answer)?).await
        }
    }
}

/// A cache of our own, apart from what `fetch` keeps.
async fn opened() -> Result<Opened, JsValue> {
    let caches: Storage = field(&js_sys::global(), "caches")?.unchecked_into();
    Ok(JsFuture::from(caches.open("tollgate")?).await?.unchecked_into())
}

/// Keys of a cache are URLs; this one leads nowhere.
fn url(key: &str) -> String {
    format!("https://tollgate.internal/{key}")
}

fn field(object: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    Reflect::get(object, &JsValue::from_str(name))
}

fn tell(event: &str, cause: &str) {
    console::error(&crate::base::json::json!({ "level": "error", "event": event, "cause": cause }));
}

// === impl Store ===

impl Store {
    fn of(runtime: &Runtime) -> Self {
        match field(&runtime.env, "CACHE") {
            Ok(binding) if binding.is_object() => Self::Kv(binding.unchecked_into()),
            _ => Self::DataCentre,
        }
    }
}

// === impl Miss ===

impl Miss {
    fn release(&self) {
        if self.leads.replace(false) {
            FLIGHT.with_borrow_mut(|flight| flight.done(&self.key, now()));
        }
    }
}

impl Drop for Miss {
    fn drop(&mut self) {
        self.release();
    }
}
