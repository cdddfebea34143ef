//! The request on its way to the provider: the client's own body and headers, less what is between it and us.

use crate::auth::presented::{self, Presented};
use crate::base::patience::Patience;
use crate::config::isolate_worker::config;
use crate::http::headers::{Edits, Headers};
use crate::http::message_worker;
use crate::http::message_worker::Answer;
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::response_headers;
use crate::logs::call::RequestType;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::blocks::{self, LAST_BLOCK, Longer, Upload};
use crate::platform::js;
use crate::platform::{now, within};
use crate::providers::fault::Fault;
use crate::providers::model;
use crate::providers::upstream::Upstream;
use crate::proxy::exchange::Exchange;
use crate::proxy::request_body::{Changed, Taken};
use crate::proxy::retry;
use crate::wire;
use crate::wire::body::{self, Copying};
use crate::wire::request::RequestFacts;
use crate::wire::unpack_worker;
use futures_util::FutureExt;
use js_sys::ArrayBuffer;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

/// A request that can be sent, and sent again.
pub struct Prepared {
    pub url: String,
    pub body: Taken,
    method: String,
    /// The client's headers, and what becomes of them.
    headers: web_sys::Headers,
    edits: String,
    /// How the body differs from the client's.
    pub changed: Option<Changed>,
    /// The ids of the stored keys that it was made ready with, where several share the requests.
    pub keys: Vec<String>,
    /// Whether another one may be tried where the provider turns the last one away.
    pub has_next_key: bool,
}

/// Why there is no answer.
pub struct NoAnswer {
    pub cause: String,
    /// How long was waited, in milliseconds, where that was too long.
    pub waited_ms: Option<u64>,
}

/// Longer bodies are not kept for another attempt, in bytes: the memory of an isolate is 128 MB.
pub const MAX_KEPT: u64 = 25 * 1024 * 1024;

/// How long a client that is refused may take to send the rest of a body that is not kept, in milliseconds.
const DISCARD_PATIENCE_MS: u64 = 30_000;

/// What a caller is told whose body was to be kept and found no room.
const UNKEPT: &str =
    "the request body was sent once and not kept, for others take the memory: neither retries nor the cache";

impl Prepared {
    /// One that has no credential yet.
    pub fn new(asked: &Incoming, body: Taken, changed: Option<Changed>) -> Self {
        Self {
            url: String::new(),
            body,
            method: asked.method.clone(),
            headers: asked.request.headers(),
            edits: String::new(),
            changed,
            keys: Vec::new(),
            has_next_key: false,
        }
    }

    pub fn address(&mut self, url: String, edits: &Edits<'_>) {
        self.url = url;
        self.edits = edits.to_json();
    }

    /// Whether it can be sent once more.
    pub fn is_kept(&self) -> bool {
        !matches!(self.body, Taken::Stream(_))
    }

    /// Reads a body to its end that is not sent: an answer before that would cost the client its connection.
    pub async fn discard(&self) {
        let Taken::Stream(stream) = &self.body else { return };
        let _ = within(DISCARD_PATIENCE_MS, blocks::drained(stream.unchecked_ref())).boxed_local().await;
    }

    /// Sends the request and waits for the head of the answer, and for all of a short one, no longer than it may take.
    pub async fn send(&self, patience: Patience, client: &AbortSignal) -> Result<Answer, NoAnswer> {
        let body = match &self.body {
            Taken::Nothing => &JsValue::UNDEFINED,
            Taken::Stream(stream) => stream,
            Taken::Whole(buffer, _) => buffer.as_ref(),
        };
        let sent =
            message_worker::send(&self.url, &self.method, &self.headers, &self.edits, body, client, patience).await;
        sent.map_err(|error| {
            let waited = js::field(&error, "waited").as_f64().map(|waited| waited as u64);
            // What the gateway itself chose is long enough, however short it is.
            let waited_ms = waited.map(|waited| if patience.is_of_gateway { u64::MAX } else { waited });
            NoAnswer { cause: js::message(&error), waited_ms }
        })
    }
}

/// The headers that go upstream: the client's own, less what is between it and us.
pub fn headers<'a>(
    asked: &'a Incoming,
    upstream: Upstream<'_>,
    presented: &'a Presented,
    body: &Taken,
    exchange: &Exchange,
) -> Edits<'a> {
    let headers = &asked.headers;
    let mut outgoing = Edits::default();
    for name in headers.not_forwarded(exchange.passes_cookies) {
        outgoing.remove(name);
    }
    for name in &presented.carriers {
        outgoing.remove(name.clone());
    }
    let ours = |text: &str| config(&exchange.runtime).holds_token(text);
    if let Some(cookies) = headers.get("cookie").filter(|_| exchange.passes_cookies) {
        match response_headers::sent_cookies(cookies, ours) {
            Some(kept) if kept == cookies => {}
            Some(kept) => outgoing.set("cookie", kept),
            None => outgoing.remove("cookie"),
        }
    }
    if exchange.call.request_type == RequestType::WebSocket {
        outgoing.set("upgrade", "websocket");
    }
    if let Some(protocols) = headers.get("sec-websocket-protocol") {
        match presented::provider_protocols(protocols, ours) {
            protocols if protocols.is_empty() => outgoing.remove("sec-websocket-protocol"),
            protocols => outgoing.set("sec-websocket-protocol", protocols),
        }
    }
    if matches!(body, Taken::Whole(..)) || exchange.call.facts.stream || model::asks_for_stream(&exchange.call.rest) {
        // A compressed answer would have to be unpacked here for the log. And the runtime can only tell that a client left,
        // and pass events on as they come, in a stream it need not unpack.
        outgoing.set("accept-encoding", "identity");
    } else if let Some(accepted) = js::client_accept_encoding(&asked.request) {
        // Without this a provider may compress for a client that cannot unpack.
        let accepted = if accepted.trim().is_empty() { "identity".to_owned() } else { accepted };
        outgoing.set("accept-encoding", accepted);
    }
    if upstream.wants_bearer_as_api_key(&exchange.call.rest)
        && headers.get("x-api-key").is_none()
        && let Some(key) = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "))
        && !presented.carries("authorization")
    {
        outgoing.set("x-api-key", key);
        outgoing.remove("authorization");
    }
    outgoing
}

/// Why a request is not sent.
pub enum Unsent {
    ClientLeft,
    Refused(Refusal),
}

impl From<Refusal> for Unsent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Unsent {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault.into())
    }
}

/// How long the provider wants to be left alone, in milliseconds.
pub fn retry_after(upstream: &Answer) -> Option<u64> {
    retry::retry_after(&upstream.headers, now())
}

/// What a body is kept for beside the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// It may be sent more than once, or is looked for in the cache; it can be sent without.
    pub wanted: bool,
    /// Without all of it the request cannot be signed.
    pub needed: bool,
}

/// Takes the client's body. What the log wants to know is read from a copy; the bytes that go upstream are the client's.
/// `by_model` asks for its model before it is sent. A body that finds no room in the isolate's memory is sent once, as it comes.
pub async fn taken(asked: &Incoming, keep: Keep, by_model: bool, exchange: &mut Exchange) -> Result<Taken, Unsent> {
    let Incoming { request, headers, .. } = asked;
    if matches!(asked.method.as_str(), "GET" | "HEAD") {
        return Ok(Taken::Nothing);
    }
    let length = headers.content_length();
    // Looking for the stream makes one.
    if length.is_none_or(|length| length == 0) && request.body().is_none() {
        return Ok(Taken::Nothing);
    }
    let stream = || Taken::Stream(request.body().into());
    let copying = body::request_copying(headers, exchange.collect_log, by_model);
    let is_kept = keep.wanted || keep.needed;
    let can_be_kept = length.is_none_or(|length| length <= MAX_KEPT);
    if copying == Copying::Nothing && !(is_kept && can_be_kept) {
        exchange.call.facts = unread(headers, wire::request::TOO_LONG);
        return Ok(stream());
    }
    let content_type = headers.get("content-type");
    let mut allotment = GrowingAllotment::default();
    let taken = match length {
        Some(length) if allotment.add(length) => {
            let whole = request.array_buffer().map(JsFuture::from);
            match whole {
                Ok(whole) => whole.await.map(|buffer| Upload::Whole(buffer.unchecked_into(), allotment)),
                Err(error) => Err(error),
            }
        }
        _ => {
            let bound = match (length, copying) {
                // There is no room for all of it; its beginning may tell the model.
                (Some(_), _) => 0,
                (None, Copying::Facts) => body::MAX_READ,
                (None, _) if is_kept => MAX_KEPT,
                (None, _) => crate::wire::body::MAX_BODY as u64,
            };
            let Some(stream) = request.body() else { return Ok(Taken::Nothing) };
            if length.is_some() && keep.needed {
                blocks::drained(&stream).boxed_local().await;
                return Err(Refusal::no_room("a body that has to be signed").into());
            }
            let later = |rest| exchange.runtime.beside(rest);
            match (blocks::upload(stream, bound, length, later).boxed_local().await, length) {
                (Ok(Upload::Longer(stream, begun, _)), Some(_)) => Ok(Upload::Longer(stream, begun, Longer::ThanRoom)),
                (taken, _) => taken,
            }
        }
    };
    let (buffer, allotment) = match taken.map_err(|error| js::message(&error)) {
        Ok(Upload::Whole(buffer, allotment)) => (buffer, Rc::new(allotment)),
        Ok(Upload::Longer(stream, _, Longer::ThanRoom)) if keep.needed => {
            blocks::drained(&stream).boxed_local().await;
            return Err(Refusal::no_room("a body that has to be signed").into());
        }
        Ok(Upload::Longer(stream, begun, why)) => {
            let reason = match why {
                Longer::ThanBound => wire::request::TOO_LONG,
                Longer::ThanRoom => wire::request::NO_ROOM,
            };
            exchange.call.facts = match headers.content_codings().is_empty() {
                true => RequestFacts { unread: Some(reason), ..wire::request::read_beginning(content_type, &begun) },
                false => unread(headers, reason),
            };
            if is_kept && why == Longer::ThanRoom {
                exchange.warn(UNKEPT);
            }
            return Ok(Taken::Stream(stream.into()));
        }
        // The other reason for a body not to arrive is a limit of the runtime, which its message names.
        Err(cause) if !cause.to_ascii_lowercase().contains("limit") => return Err(Unsent::ClientLeft),
        Err(cause) => {
            let description = format!("Tollgate could not take in the request body: {cause}");
            return Err(Unsent::Refused(Refusal::body_too_large(description)));
        }
    };
    exchange.call.request_size = Some(u64::from(buffer.byte_length()));
    read(&buffer, &allotment, copying, headers, exchange).await;
    Ok(Taken::Whole(buffer, allotment))
}

/// What is known of a body that is not looked at. Audio and images name no model, and are not looked at for one.
fn unread(headers: &Headers, why: &'static str) -> RequestFacts {
    let content_type = headers.get("content-type").unwrap_or("application/json").to_ascii_lowercase();
    let is_media = ["audio/", "image/", "video/"].iter().any(|kind| content_type.starts_with(kind));
    if is_media { RequestFacts::default() } else { wire::request::unread(why) }
}

/// Reads what the log and the limits want to know of a body that was taken in.
async fn read(
    buffer: &ArrayBuffer,
    allotment: &Rc<GrowingAllotment>,
    copying: Copying,
    headers: &Headers,
    exchange: &mut Exchange,
) {
    if matches!(copying, Copying::Nothing | Copying::Size) {
        exchange.call.facts = unread(headers, wire::request::TOO_LONG);
        return;
    }
    let content_type = headers.get("content-type");
    let codings = headers.content_codings();
    let collects = copying == Copying::Whole && exchange.collect_payload;
    let (plain, allotment) = if codings.is_empty() {
        (Ok(buffer.clone()), Some(Rc::clone(allotment)))
    } else {
        let plain = unpack_worker::unpacked(buffer, &codings).boxed_local().await;
        let mut allotment = GrowingAllotment::default();
        let fits = plain.as_ref().is_ok_and(|plain| allotment.add(u64::from(plain.byte_length())));
        (plain, fits.then(|| Rc::new(allotment)))
    };
    let plain = match plain {
        Ok(plain) => plain,
        Err(packed) => {
            // A provider that does not look at the encoding reads it as it is.
            exchange.call.facts = facts(buffer, content_type);
            exchange.call.facts.unread = Some(packed.of_request());
            return;
        }
    };
    if !collects || allotment.is_none() || plain.byte_length() as usize > crate::wire::body::MAX_BODY {
        exchange.call.facts = facts(&plain, content_type);
        return;
    }
    let bytes = js::bytes(&plain);
    exchange.call.facts = wire::request::read_request(content_type, &bytes);
    exchange.call.body = Some(body::text(bytes));
    exchange.allotment = allotment;
}

fn facts(buffer: &ArrayBuffer, content_type: Option<&str>) -> RequestFacts {
    let length = buffer.byte_length();
    if length <= LAST_BLOCK {
        return wire::request::read_request(content_type, &js::bytes(buffer));
    }
    let mut scanner = wire::request::Scanner::new(content_type);
    for from in (0..length).step_by(LAST_BLOCK as usize) {
        scanner.push(&js::slice(buffer, from, length.min(from.saturating_add(LAST_BLOCK))));
    }
    scanner.finish()
}
