//! An answer under way: its head, and how what was copied of it is read.

use crate::http::headers::{Edits, Headers};
use crate::http::message_worker::Answer;
use crate::logs::call::{Failure, Outcome};
use crate::platform::allotment::Allotment;
use crate::platform::js::{self, Watch};
use crate::platform::{blocks, within};
use crate::proxy::copy::{Copied, Form};
use crate::proxy::exchange::Exchange;
use crate::wire::body::{self, Packed};
use crate::wire::{self, Framing, unpack_worker};

use js_sys::{ArrayBuffer, Uint8Array};
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{ReadableStream, Response};

/// An answer that could not be given to the client, and why: another attempt may do better.
pub type Broken = (Box<Exchange>, String);

/// How long the answer of a failed attempt may take to end, in milliseconds: it is read for the log alone.
pub const HELD_PATIENCE_MS: u64 = 10_000;

/// A longer answer goes to the client as it comes, in bytes.
pub const MAX_SHORT: u64 = 1024 * 1024;

/// What is known of an answer before its body.
pub struct Reader {
    pub status: u16,
    pub headers: Headers,
    pub outcome: Outcome,
    /// The body is a user's or a model's words as a whole, which say nothing of the answer.
    pub is_words: bool,
    pub watch: Rc<Watch>,
}

/// Headers that say which bytes a body has.
pub const DIGESTS: &[&str] = &["content-digest", "content-md5", "digest", "etag", "repr-digest"];

/// The body of an error without the key that the gateway has added to the request.
pub fn without_key(buffer: ArrayBuffer, exchange: &Exchange, edits: &mut Edits<'_>) -> ArrayBuffer {
    match exchange.call.secrets.for_caller().bytes(&js::bytes(&buffer)) {
        None => buffer,
        Some(masked) => {
            DIGESTS.iter().for_each(|digest| edits.remove(*digest));
            Uint8Array::from(masked.as_slice()).buffer()
        }
    }
}

/// The copy of an answer, unpacked if the runtime did not do so while it was read. Otherwise it says why it is not.
pub async fn plain(copy: Copied, headers: &Headers) -> (Copied, Option<Packed>) {
    let codings = headers.content_codings();
    let is_binary = headers.get("content-type").and_then(Framing::of) == Some(Framing::AwsEventStream);
    if codings.is_empty() || is_binary {
        return (copy, None);
    }
    match copy.beginning(64) {
        Some(beginning) if body::begins_as_text(&beginning) => (copy, None),
        Some(_) => {
            let Some(buffer) = copy.buffer().await else { return (copy, Some(Packed::Broken)) };
            match unpack_worker::unpacked(&buffer, &codings).await {
                Ok(plain) => {
                    let allotment = Allotment::of(u64::from(plain.byte_length())).unwrap_or_default();
                    (Copied::of(&plain, allotment), None)
                }
                Err(packed) => (copy, Some(packed)),
            }
        }
        None => (copy, None),
    }
}

// === impl Reader ===

impl Reader {
    pub fn of(upstream: Answer, exchange: &Exchange) -> (Response, Self, Option<Result<ArrayBuffer, String>>) {
        let Answer { response, status, headers, at, whole, watch, .. } = upstream;
        let outcome = Outcome {
            status: Some(status),
            content_type: headers.get("content-type").map(str::to_owned),
            provider_request_id: headers.provider_request_id().map(str::to_owned),
            first_byte: Some(at.saturating_sub(exchange.arrived)),
            ..Outcome::default()
        };
        let kind = headers.get("content-type").unwrap_or("");
        let is_words = status < 400 && wire::files::is_words(&exchange.call.rest, kind);
        (response, Self { status, headers, outcome, is_words, watch: Rc::new(watch) }, whole)
    }

    /// Whether the body comes as it is, and not compressed.
    pub fn is_plain(&self) -> bool {
        self.headers.get("content-encoding").is_none()
    }

    /// How an answer ended that is not whole.
    pub fn broken(&self, error: &JsValue) -> Failure {
        let reason = self.watch.reason();
        Failure::Upstream(format!("the answer broke off: {}", js::message(reason.as_ref().unwrap_or(error))))
    }

    /// Whether the answer may tell its caller a key that it does not know.
    pub fn may_show_key(&self, exchange: &Exchange) -> bool {
        self.status >= 400
            && exchange.call.secrets.has_kept()
            && self.headers.content_length().is_none_or(|length| length <= MAX_SHORT)
    }

    pub fn is_short(&self) -> bool {
        self.is_plain()
            && Framing::of(self.headers.get("content-type").unwrap_or("")) != Some(Framing::Sse)
            && self.headers.content_length().is_some_and(|length| length <= MAX_SHORT)
    }

    /// The answer as a whole, unless it is longer than `most` bytes: then the stream that has all of it. `whole` is what was taken before.
    pub async fn whole(
        &self,
        upstream: &Response,
        whole: Option<Result<ArrayBuffer, String>>,
        most: u64,
    ) -> Result<Result<ArrayBuffer, ReadableStream>, String> {
        let stream = match (whole, upstream.body()) {
            (Some(whole), _) => return whole.map(Ok),
            (None, None) => return Ok(Ok(ArrayBuffer::new(0))),
            (None, Some(stream)) => stream,
        };
        let taken = blocks::short(&stream, most);
        // An error is looked through for its key, and is not waited for without end.
        let taken = match self.status >= 400 {
            true => within(HELD_PATIENCE_MS, taken).await,
            false => Some(taken.await),
        };
        match taken {
            Some(taken) => taken.map_err(|error| js::message(self.watch.reason().as_ref().unwrap_or(&error))),
            None => Err(format!("it was an error, and did not end within {HELD_PATIENCE_MS} ms")),
        }
    }

    /// What the cache gives out need not be waited for, although it was a stream once.
    pub fn is_at_hand(&self, exchange: &Exchange) -> bool {
        exchange.call.cached && self.headers.content_length().is_some()
    }

    /// How the answer is to be read, if it may have facts.
    pub fn form(&self) -> Option<Form> {
        match self.headers.get("content-type") {
            None | Some("") => Some((Framing::Json, self.status)),
            Some(kind) => Framing::of(kind).map(|framing| (framing, self.status)),
        }
    }

    /// Reads what the log wants from the copy of a body.
    pub async fn read(self, copy: Copied, collect_payload: bool) -> Outcome {
        let (copy, packed) = plain(copy, &self.headers).await;
        self.read_plain(copy, packed, collect_payload)
    }

    /// Reads what the log wants from the copy of a body, unless it is still `packed`.
    pub fn read_plain(self, mut copy: Copied, packed: Option<Packed>, collect_payload: bool) -> Outcome {
        let content_type = self.headers.get("content-type").unwrap_or("");
        let status = self.status;
        let framing = Framing::of(content_type).unwrap_or(Framing::Json);
        let is_words = self.is_words;
        let read = |bytes: &[u8]| if is_words { wire::Facts::default() } else { wire::read(framing, status, bytes) };
        let mut outcome = Outcome { size: Some(copy.length), ..self.outcome };
        if !content_type.is_empty() && !body::is_text(content_type) {
            return outcome;
        }
        let bytes = copy.bytes(crate::wire::body::MAX_BODY);
        let is_text = |bytes: &Vec<u8>| framing == Framing::AwsEventStream || body::begins_as_text(bytes);
        match (packed, bytes) {
            (Some(packed), _) => outcome.unread = Some(packed.of_answer()),
            (None, Some(bytes)) if !is_text(&bytes) => {
                outcome.unread = Some("the answer is no text, although it says so")
            }
            (None, Some(bytes)) => {
                outcome.facts = read(&bytes);
                if status >= 400 && !is_words && outcome.facts.error.is_none() {
                    outcome.facts.error = wire::page::sentence(&bytes);
                }
                outcome.body = collect_payload.then(|| wire::stored(framing, bytes));
            }
            (None, None) if is_words => {}
            (None, None) => (outcome.facts, outcome.unread) = copy.facts((framing, status)),
        }
        outcome.facts.usage = body::with_headers(outcome.facts.usage, &self.headers);
        outcome
    }
}
