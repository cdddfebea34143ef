//! The runtime's objects as plain values, with as few crossings between wasm and JavaScript as possible.

use super::copy::Growing;
use super::{Around, Carried, blocks, console};
use crate::api::log_export::Export;
use crate::base::patience::Patience;
use crate::http::envelope::Reply;
use crate::http::headers::{Edits, Headers};
use crate::http::response_headers;
use js_sys::{Array, ArrayBuffer, Function, JSON, Object, Promise, Reflect, Uint8Array};
use std::rc::Rc;
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
    fn request_head(request: &Request) -> String;
    #[wasm_bindgen(js_name = answerHead)]
    fn answer_head(answer: &Response) -> String;
    #[wasm_bindgen(js_name = send, catch)]
    fn send_edited(
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
    type Timer;
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
    fn edit_headers(headers: &web_sys::Headers, edits: &str) -> web_sys::Headers;
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

/// A request, and what it says before its body.
pub struct Incoming {
    pub request: Request,
    pub method: String,
    pub url: String,
    pub headers: Headers,
}

impl Incoming {
    pub fn new(request: Request) -> Self {
        let (method, url, headers) = serde_json::from_str(&request_head(&request)).unwrap_or_default();
        Self { request, method, url, headers }
    }
}

/// An answer, and what it says before its body.
pub struct Answer {
    pub response: Response,
    pub status: u16,
    pub headers: Headers,
    /// When it was there.
    pub at: u64,
    /// All of it, where it has been waited for, or why it did not come.
    pub whole: Option<Result<ArrayBuffer, String>>,
    pub watch: Watch,
}

/// What ends a provider's answer that comes to a stop. It watches for as long as it is kept; an answer of the cache, or
/// one that may take any time, has none.
#[derive(Default)]
pub struct Watch {
    timer: Option<Timer>,
    idle_ms: u64,
}

impl Answer {
    pub fn new(response: Response) -> Self {
        let head = answer_head(&response);
        Self::with_head(response, &head)
    }

    fn with_head(response: Response, head: &str) -> Self {
        let (status, headers, at) = serde_json::from_str(head).unwrap_or_default();
        Self { response, status, headers, at, whole: None, watch: Watch::default() }
    }

    fn read(parts: &Array, idle_ms: u64) -> Result<Self, JsValue> {
        let response = parts.get(0).dyn_into();
        let response =
            response.map_err(|_| JsValue::from_str("the runtime answered with something that is no response"))?;
        let answer = Self::with_head(response, &parts.get(1).as_string().unwrap_or_default());
        let whole = match parts.length() {
            4 => Some(Ok(parts.get(3).unchecked_into())),
            5 => Some(Err(message(&parts.get(4)))),
            _ => None,
        };
        // One that has been waited for is watched no more.
        let watch = Some(parts.get(2)).filter(|watch| whole.is_none() && watch.is_object());
        let watch = Watch { timer: watch.map(JsCast::unchecked_into), idle_ms };
        Ok(Self { whole, watch, ..answer })
    }
}

/// Sends a request with the headers of another one, which are changed first. A short answer is waited for.
pub async fn send(
    url: &str,
    method: &str,
    headers: &web_sys::Headers,
    edits: &str,
    body: &JsValue,
    client: &AbortSignal,
    patience: Patience,
) -> Result<Answer, JsValue> {
    let Patience { first_byte_ms, is_of_gateway, idle_ms } = patience;
    let (first_byte, idle) = (first_byte_ms as f64, idle_ms as f64);
    let promise = send_edited(url, method, headers, edits, body, client, first_byte, is_of_gateway, idle);
    let parts = JsFuture::from(promise?).await?;
    Answer::read(parts.unchecked_ref(), idle_ms)
}

/// All of an answer, or why it did not come. `length` is 0 where it is not known.
pub fn whole(answer: &Response, length: u64, watch: &Watch) -> JsFuture {
    JsFuture::from(take(answer, length as f64, &watch.as_js()))
}

/// An answer with another body: a stream, a buffer or nothing.
pub fn answered(answer: &Response, body: &JsValue, edits: &str) -> Result<Response, String> {
    answer_edited(answer, body, edits).map_err(|error| message(&error))
}

pub fn edit(headers: &web_sys::Headers, edits: &Edits<'_>) {
    edit_headers(headers, &edits.to_json());
}

/// All headers in two crossings, instead of one or more for each of them.
pub fn headers(headers: &web_sys::Headers) -> Headers {
    let text = Object::from_entries(headers).and_then(|object| JSON::stringify(&object));
    text.ok().and_then(|text| serde_json::from_str(&String::from(text)).ok()).unwrap_or_default()
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
/// the number is wanted nor anybody has to notice that nothing comes any more.
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

/// Gathers the chunks of a stream without looking at them.
pub struct Collector(ReadableStreamDefaultReader);

impl Collector {
    pub fn new(stream: &ReadableStream) -> Self {
        Self(stream.get_reader().unchecked_into())
    }

    /// The whole stream, with the room it takes; `None` if it broke, or if it is longer than `limit` bytes or than there is room,
    /// beyond which it is not read.
    pub async fn collected(&self, limit: u64) -> Option<(ArrayBuffer, Growing)> {
        let mut chunks = Vec::new();
        let mut length = 0;
        let mut share = Growing::default();
        while let Some(chunk) = chunk(&self.0).await.ok()? {
            let more = u64::from(chunk.byte_length());
            length += more;
            if length > limit || !share.add(more) {
                self.cancel().await;
                return None;
            }
            chunks.push(chunk);
        }
        blocks::buffer(&chunks).await.ok().map(|buffer| (buffer, share))
    }

    pub async fn cancel(&self) {
        let _ = JsFuture::from(self.0.cancel()).await;
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

/// The headers of an answer of our own.
pub fn own_headers(reply: &Reply) -> Result<web_sys::Headers, String> {
    made_headers(reply.content_type, &reply.headers)
}

fn made_headers(content_type: &str, others: &[(&'static str, String)]) -> Result<web_sys::Headers, String> {
    let mut edits = Edits::default();
    if !content_type.is_empty() {
        edits.set("content-type", content_type);
    }
    for (name, value) in response_headers::own() {
        edits.set(name, value);
    }
    for (name, value) in others {
        edits.set(*name, value.as_str());
    }
    let headers = web_sys::Headers::new().map_err(|error| message(&error))?;
    edit(&headers, &edits);
    Ok(headers)
}

/// An answer of our own.
pub fn response(reply: &Reply) -> Response {
    let init = ResponseInit::new();
    init.set_status(reply.status);
    if let Ok(headers) = own_headers(reply) {
        init.set_headers(&headers);
    }
    // A status of 204 takes no body, and an empty one is one.
    let body = Some(reply.body.as_str()).filter(|_| reply.status != 204);
    Response::new_with_opt_str_and_init(body, &init).unwrap_or_else(|_| Response::error())
}

/// An export as a file that is written while it is read. When the database fails, the file breaks off visibly.
pub fn exported(mut export: Export, shard: u32, around: Rc<Around>) -> Response {
    let pipe = IdentityTransformStream::new();
    let init = ResponseInit::new();
    if let Ok(headers) = made_headers(export.content_type(), &export.headers()) {
        init.set_headers(&headers);
    }
    let response = Response::new_with_opt_readable_stream_and_init(Some(&pipe.readable()), &init);
    let kept = Rc::clone(&around);
    let carried = Carried::begin();
    kept.context.wait_until(async move {
        let _carried = carried;
        let Ok(writer) = pipe.writable().get_writer() else { return };
        let store = around.database_of(shard);
        loop {
            match export.next(&store).await {
                Ok(Some(piece)) => {
                    let bytes = Uint8Array::from(piece.as_bytes());
                    if JsFuture::from(writer.write_with_chunk(&bytes)).await.is_err() {
                        // The reader left.
                        return;
                    }
                }
                Ok(None) => {
                    let _ = JsFuture::from(writer.close()).await;
                    return;
                }
                Err(error) => {
                    let line = serde_json::json!({ "level": "error", "event": "export_failed", "cause": error.0 });
                    console::error(&line);
                    let _ = JsFuture::from(writer.abort_with_reason(&JsValue::from_str("the database failed"))).await;
                    return;
                }
            }
        }
    });
    response.unwrap_or_else(|_| Response::error())
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

/// Hands a WebSocket that the provider accepted to our client; the runtime passes the frames on.
pub fn upgraded(upstream: &Response, edits: &Edits<'_>) -> Result<Response, String> {
    let made = || {
        let headers = web_sys::Headers::new_with_headers(&upstream.headers())?;
        edit(&headers, edits);
        switched(&Reflect::get(upstream, &JsValue::from_str("webSocket"))?, &headers)
    };
    made().map_err(|error: JsValue| message(&error))
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
    let read = JsFuture::from(promise).await?;
    if Reflect::get(&read, &JsValue::from_str("done"))?.is_truthy() {
        return Ok(None);
    }
    Ok(Some(Reflect::get(&read, &JsValue::from_str("value"))?.unchecked_into()))
}
