//! Requests and answers of the runtime, and their headers, as plain data; and our own replies as answers of the runtime.

use crate::base::patience::Patience;
use crate::http::envelope::Reply;
use crate::http::headers::{Edits, Headers};
use crate::http::response_headers;
use crate::platform::js::{self, Watch, answer_head, message, request_head};
use js_sys::{Array, ArrayBuffer, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Request, Response, ResponseInit};

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
    /// The status that stands for the error with which its stream begins.
    pub failed: Option<u16>,
}

impl Answer {
    pub fn new(response: Response) -> Self {
        let head = answer_head(&response);
        Self::with_head(response, &head)
    }

    fn with_head(response: Response, head: &str) -> Self {
        let (status, headers, at) = serde_json::from_str(head).unwrap_or_default();
        Self { response, status, headers, at, whole: None, watch: Watch::default(), failed: None }
    }

    /// The status, or the one that stands for what it says first.
    pub fn said_status(&self) -> u16 {
        self.failed.unwrap_or(self.status)
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
    let promise = js::send_edited(url, method, headers, edits, body, client, first_byte, is_of_gateway, idle);
    let parts = JsFuture::from(promise?).await?;
    Answer::read(parts.unchecked_ref(), idle_ms)
}

pub fn edit(headers: &web_sys::Headers, edits: &Edits<'_>) {
    js::edit_headers(headers, &edits.to_json());
}

/// All headers in two crossings, instead of one or more for each of them.
pub fn headers(headers: &web_sys::Headers) -> Headers {
    let text = Object::from_entries(headers).and_then(|object| JSON::stringify(&object));
    text.ok().and_then(|text| serde_json::from_str(&String::from(text)).ok()).unwrap_or_default()
}

/// The headers of an answer of our own.
pub fn own_headers(reply: &Reply) -> Result<web_sys::Headers, String> {
    made_headers(reply.content_type, &reply.headers)
}

pub fn made_headers(content_type: &str, others: &[(&'static str, String)]) -> Result<web_sys::Headers, String> {
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

/// Hands a WebSocket that the provider accepted to our client; the runtime passes the frames on.
pub fn upgraded(upstream: &Response, edits: &Edits<'_>) -> Result<Response, String> {
    let made = || switched_as(upstream, &Reflect::get(upstream, &JsValue::from_str("webSocket"))?, edits);
    made().map_err(|error: JsValue| message(&error))
}

/// The answer that turns a connection into a WebSocket, with the headers of the provider's.
pub fn switched_as(upstream: &Response, socket: &JsValue, edits: &Edits<'_>) -> Result<Response, JsValue> {
    let headers = web_sys::Headers::new_with_headers(&upstream.headers())?;
    edit(&headers, edits);
    js::switched(socket, &headers)
}
