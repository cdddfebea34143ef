//! The runtime's objects as plain values, with as few crossings between wasm and JavaScript as possible.

use js_sys::{Array, ArrayBuffer, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, ReadableStream, ReadableStreamDefaultReader, Request, RequestInit, Response, ResponseInit,
    WritableStream,
};

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = requestHead)]
    pub fn request_head(request: &Request) -> String;
    #[wasm_bindgen(js_name = answerHead)]
    pub fn answer_head(answer: &Response) -> String;
    #[wasm_bindgen(js_name = send, catch)]
    pub fn send_edited(
        url: &str,
        method: &str,
        headers: &web_sys::Headers,
        edits: &str,
        body: &JsValue,
        client: &AbortSignal,
        first_byte: f64,
        is_of_gateway: bool,
        idle: f64,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(js_name = taken)]
    fn take(answer: &Response, length: f64, watch: &JsValue) -> Promise;
    #[wasm_bindgen(js_name = pump)]
    fn pump_all(stream: &ReadableStream, writable: &WritableStream, watch: &JsValue) -> Promise;

    /// Ends a call whose answer does not come.
    pub type Timer;
    #[wasm_bindgen(method)]
    fn came(this: &Timer);
    #[wasm_bindgen(method)]
    fn end(this: &Timer);
    #[wasm_bindgen(method)]
    fn stop(this: &Timer);
    #[wasm_bindgen(method, getter)]
    fn reason(this: &Timer) -> JsValue;

    #[wasm_bindgen(js_name = answered, catch)]
    fn answer_edited(answer: &Response, body: &JsValue, edits: &str) -> Result<Response, JsValue>;
    /// Keeps the request going until what is returned is called.
    pub fn hold() -> Function;
    #[wasm_bindgen(js_name = edited)]
    pub fn edit_headers(headers: &web_sys::Headers, edits: &str) -> web_sys::Headers;
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Promise;

    /// The runtime's native pipe. <https://developers.cloudflare.com/workers/runtime-apis/streams/transformstream/>
    pub type IdentityTransformStream;
    #[wasm_bindgen(constructor)]
    pub fn new() -> IdentityTransformStream;
    #[wasm_bindgen(method, getter)]
    pub fn readable(this: &IdentityTransformStream) -> ReadableStream;
    #[wasm_bindgen(method, getter)]
    pub fn writable(this: &IdentityTransformStream) -> WritableStream;

    /// The same for a known number of bytes: the answer keeps its content-length.
    pub type FixedLengthStream;
    #[wasm_bindgen(constructor)]
    pub fn new(length: f64) -> FixedLengthStream;
    #[wasm_bindgen(method, getter, js_name = readable)]
    pub fn fixed_readable(this: &FixedLengthStream) -> ReadableStream;
    #[wasm_bindgen(method, getter, js_name = writable)]
    pub fn fixed_writable(this: &FixedLengthStream) -> WritableStream;
}

/// Sends a request upstream. The error is the runtime's own text.
pub async fn fetch(url: &str, init: &RequestInit) -> Result<Response, String> {
    let answer = JsFuture::from(global_fetch(url, init)).await.map_err(|error| message(&error))?;
    answer.dyn_into().map_err(|_| "the runtime answered with something that is no response".to_owned())
}

/// What ends a provider's answer that comes to a stop. It watches for as long as it is kept; an answer of the cache, or
/// one that may take any time, has none.
#[derive(Default)]
pub struct Watch {
    pub timer: Option<Timer>,
    pub idle_ms: u64,
}

/// All of an answer, or why it did not come. `length` is 0 where it is not known.
pub fn whole(answer: &Response, length: u64, watch: &Watch) -> JsFuture {
    JsFuture::from(take(answer, length as f64, &watch.as_js()))
}

/// An answer with another body: a stream, a buffer or nothing.
pub fn answered(answer: &Response, body: &JsValue, edits: &str) -> Result<Response, String> {
    answer_edited(answer, body, edits).map_err(|error| message(&error))
}

/// What the client itself accepts. Front ends put their own list into `accept-encoding`, and keep the client's here.
pub fn client_accept_encoding(request: &web_sys::Request) -> Option<String> {
    let details = Reflect::get(request, &JsValue::from_str("cf")).ok().filter(JsValue::is_object)?;
    Reflect::get(&details, &JsValue::from_str("clientAcceptEncoding")).ok()?.as_string()
}

/// The text of something that was thrown.
pub fn message(error: &JsValue) -> String {
    let text = Reflect::get(error, &JsValue::from_str("message")).ok().and_then(|text| text.as_string());
    text.or_else(|| error.as_string()).unwrap_or_else(|| "unknown error".to_owned())
}

pub fn bytes(buffer: &ArrayBuffer) -> Vec<u8> {
    Uint8Array::new(buffer).to_vec()
}

/// Part of a buffer, for bodies that are not worth copying as a whole.
pub fn slice(buffer: &ArrayBuffer, from: u32, to: u32) -> Vec<u8> {
    Uint8Array::new(buffer).subarray(from, to).to_vec()
}

/// Moves a stream into a pipe and counts its bytes, without looking at any of them. A native pipe is cheaper where neither
/// the number is wanted nor it has to be noticed that nothing comes any more.
pub async fn pump(stream: &ReadableStream, pipe: &WritableStream, watch: &Watch) -> (u64, Result<(), JsValue>) {
    match JsFuture::from(pump_all(stream, pipe, &watch.as_js())).await {
        Ok(moved) => {
            let moved: Array = moved.unchecked_into();
            let count = moved.get(0).as_f64().unwrap_or(0.0) as u64;
            (count, if moved.length() > 1 { Err(moved.get(1)) } else { Ok(()) })
        }
        Err(error) => (0, Err(error)),
    }
}

// === impl Watch ===

impl Watch {
    pub fn is_on(&self) -> bool {
        self.timer.is_some()
    }

    /// How often to look whether something came, in milliseconds, when `most` is often enough for everything else.
    pub fn look_ms(&self, most: u64) -> u64 {
        if self.is_on() && self.idle_ms > 0 { most.min(self.idle_ms / 4) } else { most }
    }

    /// Notes that something came.
    pub fn came(&self) {
        self.timer.iter().for_each(Timer::came);
    }

    /// Ends the watch: all has come.
    pub fn end(&self) {
        self.timer.iter().for_each(Timer::end);
    }

    /// Ends the call to the provider.
    pub fn stop(&self) {
        self.timer.iter().for_each(Timer::stop);
    }

    /// Why the watch ended the call, if it did.
    pub fn reason(&self) -> Option<JsValue> {
        self.timer.as_ref().map(Timer::reason).filter(|reason| !reason.is_undefined())
    }

    fn as_js(&self) -> JsValue {
        self.timer.as_ref().map_or(JsValue::UNDEFINED, |timer| timer.into())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// A plain object with a few fields.
pub fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // Setting a field of a plain object does not fail.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

/// A field of an object; undefined where it has none.
pub fn field(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// An answer with a body that stays a JavaScript value: a stream, a buffer or nothing.
pub fn answer(body: &JsValue, status: u16, status_text: &str, headers: &web_sys::Headers) -> Result<Response, String> {
    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_name = Response)]
        type AnyResponse;
        #[wasm_bindgen(constructor, catch, js_class = "Response")]
        fn new(body: &JsValue, init: &ResponseInit) -> Result<AnyResponse, JsValue>;
    }
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_status_text(status_text);
    init.set_headers(headers);
    let made = AnyResponse::new(body, &init).map_err(|error| message(&error))?;
    Ok(JsValue::from(made).unchecked_into())
}

/// The answer that turns a connection into a WebSocket.
pub fn switched(socket: &JsValue, headers: &web_sys::Headers) -> Result<Response, JsValue> {
    let init = ResponseInit::new();
    init.set_status(101);
    init.set_headers(headers);
    Reflect::set(&init, &JsValue::from_str("webSocket"), socket)?;
    Response::new_with_opt_str_and_init(None, &init)
}

/// The next chunk of a stream; `None` at its end.
pub async fn chunk(reader: &ReadableStreamDefaultReader) -> Result<Option<Uint8Array>, JsValue> {
    read(reader.read()).await
}

/// What a reader's promise brings; `None` at the end of its stream.
pub async fn read(promise: Promise) -> Result<Option<Uint8Array>, JsValue> {
    Ok(piece(JsFuture::from(promise).await?))
}

/// What a reader has read. A stream of events is read thousands of times, so that the names of members are the import's.
pub fn piece(read: JsValue) -> Option<Uint8Array> {
    #[wasm_bindgen]
    extern "C" {
        type Read;
        #[wasm_bindgen(method, getter)]
        fn done(this: &Read) -> bool;
        #[wasm_bindgen(method, getter)]
        fn value(this: &Read) -> Option<Uint8Array>;
    }
    let read: Read = read.unchecked_into();
    if read.done() { None } else { read.value() }
}
