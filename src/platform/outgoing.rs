//! The request on its way to the provider: the client's own body and headers, less what is between it and us.

use super::blocks::{self, Longer, Upload};
use super::copy::Growing;
use super::job::Job;
use super::js::{self, Answer, Incoming};
use super::{now, within};
use crate::auth::{self, Presented};
use crate::body::{self, Copying};
use crate::headers::Edits;
use crate::model;
use crate::record::RequestType;
use crate::refusal::Refusal;
use crate::retry;
use crate::upstream::Upstream;
use crate::wire;
use js_sys::{Array, ArrayBuffer};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal};

/// A request that can be sent, and sent again.
pub struct Prepared {
    pub url: String,
    pub body: Taken,
    method: String,
    /// The client's headers, and what becomes of them.
    headers: web_sys::Headers,
    edits: String,
}

/// The client's body.
pub enum Taken {
    Nothing,
    /// Goes upstream as it comes, once.
    Stream(JsValue),
    Whole(ArrayBuffer, #[expect(dead_code, reason = "holds the room for as long as the body is kept")] Rc<Growing>),
}

/// Why there is no answer.
pub struct NoAnswer {
    pub cause: String,
    /// How long was waited, in milliseconds, where that was too long.
    pub waited_ms: Option<u64>,
}

/// Longer bodies are not kept for another attempt, in bytes: the memory of an isolate is 128 MB.
pub const MAX_KEPT: u64 = 25 * 1024 * 1024;

/// What a caller is told whose body was to be kept and found no room.
const UNKEPT: &str =
    "the request body was sent once and not kept, for others take the memory: neither retries nor the cache";

impl Prepared {
    pub fn new(asked: &Incoming, url: String, edits: &Edits<'_>, body: Taken) -> Self {
        let headers = asked.request.headers();
        Self { url, body, method: asked.method.clone(), headers, edits: edits.to_json() }
    }

    /// Sends the request and waits for the head of the answer, no longer than `timeout_ms`.
    pub async fn send(&self, timeout_ms: Option<u64>, client: &AbortSignal) -> Result<Answer, NoAnswer> {
        let body = match &self.body {
            Taken::Nothing => &JsValue::UNDEFINED,
            Taken::Stream(stream) => stream,
            Taken::Whole(buffer, _) => buffer.as_ref(),
        };
        let sent = |signal: JsValue| async move {
            // A time limit is for the head alone.
            let wanted = timeout_ms.is_none();
            js::send(&self.url, &self.method, &self.headers, &self.edits, body, &signal, wanted).await
        };
        let failed = |cause: String| NoAnswer { cause, waited_ms: None };
        let Some(timeout_ms) = timeout_ms else {
            return sent(client.into()).await.map_err(failed);
        };
        let stop = AbortController::new().map_err(|error| failed(js::message(&error)))?;
        let either = AbortSignal::any(&Array::of2(client, &stop.signal()));
        match within(timeout_ms, sent(either.into())).await {
            Some(answer) => answer.map_err(failed),
            None => {
                stop.abort();
                let cause = format!("no answer began within {timeout_ms} ms");
                Err(NoAnswer { cause, waited_ms: Some(timeout_ms) })
            }
        }
    }
}

/// The headers that go upstream: the client's own, less what is between it and us.
pub fn headers<'a>(
    asked: &'a Incoming,
    upstream: Upstream<'_>,
    presented: &Presented,
    body: &Taken,
    job: &Job,
) -> Edits<'a> {
    let headers = &asked.headers;
    let mut outgoing = Edits::default();
    for name in headers.not_forwarded().chain(presented.carriers.iter().copied()) {
        outgoing.remove(name);
    }
    if job.call.request_type == RequestType::WebSocket {
        outgoing.set("upgrade", "websocket");
        if let Some(protocols) = headers.get("sec-websocket-protocol") {
            match auth::provider_protocols(protocols) {
                protocols if protocols.is_empty() => outgoing.remove("sec-websocket-protocol"),
                protocols => outgoing.set("sec-websocket-protocol", protocols),
            }
        }
    }
    if matches!(body, Taken::Whole(..)) || job.call.facts.stream || model::asks_for_stream(&job.call.rest) {
        // A compressed answer would have to be unpacked here for the log. And the runtime can only tell that a client left,
        // and pass events on as they come, in a stream it need not unpack.
        outgoing.set("accept-encoding", "identity");
    } else if let Some(accepted) = js::client_accept_encoding(&asked.request) {
        // Without this a provider may compress for a client that cannot unpack.
        let accepted = if accepted.trim().is_empty() { "identity".to_owned() } else { accepted };
        outgoing.set("accept-encoding", accepted);
    }
    if upstream.wants_bearer_as_api_key(&job.call.rest)
        && headers.get("x-api-key").is_none()
        && let Some(key) = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "))
        && !presented.carriers.contains(&"authorization")
    {
        outgoing.set("x-api-key", key);
        outgoing.remove("authorization");
    }
    outgoing
}

/// Why there is no body to send.
pub enum NoBody {
    ClientLeft,
    Refused(Refusal),
}

impl From<Refusal> for NoBody {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
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
/// A body that finds no room in the isolate's memory is sent once, as it comes.
pub async fn taken(asked: &Incoming, keep: Keep, job: &mut Job) -> Result<Taken, NoBody> {
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
    let copying = body::request_copying(headers, job.collect_log);
    let is_kept = keep.wanted || keep.needed;
    let can_be_kept = length.is_none_or(|length| length <= MAX_KEPT);
    if copying == Copying::Nothing && !(is_kept && can_be_kept) {
        return Ok(stream());
    }
    let content_type = headers.get("content-type");
    let mut share = Growing::default();
    let taken = match length {
        Some(length) if share.add(length) => {
            let whole = request.array_buffer().map(JsFuture::from);
            match whole {
                Ok(whole) => whole.await.map(|buffer| Upload::Whole(buffer.unchecked_into(), share)),
                Err(error) => Err(error),
            }
        }
        _ => {
            let bound = match length {
                // There is no room for all of it; its beginning tells the model.
                Some(_) => 0,
                None if is_kept => MAX_KEPT,
                None => crate::record::MAX_BODY as u64,
            };
            let Some(stream) = request.body() else { return Ok(Taken::Nothing) };
            if length.is_some() && keep.needed {
                blocks::drained(&stream).await;
                return Err(Refusal::no_room("a body that has to be signed").into());
            }
            let later = |rest| job.around.context.wait_until(rest);
            match (blocks::upload(stream, bound, length, later).await, length) {
                (Ok(Upload::Longer(stream, begun, _)), Some(_)) => Ok(Upload::Longer(stream, begun, Longer::ThanRoom)),
                (taken, _) => taken,
            }
        }
    };
    let (buffer, share) = match taken.map_err(|error| js::message(&error)) {
        Ok(Upload::Whole(buffer, share)) => (buffer, Rc::new(share)),
        Ok(Upload::Longer(stream, _, Longer::ThanRoom)) if keep.needed => {
            blocks::drained(&stream).await;
            return Err(Refusal::no_room("a body that has to be signed").into());
        }
        Ok(Upload::Longer(stream, begun, why)) => {
            job.call.facts = wire::request::read_request(content_type, &begun);
            if is_kept && why == Longer::ThanRoom {
                job.warn(UNKEPT);
            }
            return Ok(Taken::Stream(stream.into()));
        }
        // The other reason for a body not to arrive is a limit of the runtime, which its message names.
        Err(cause) if !cause.to_ascii_lowercase().contains("limit") => return Err(NoBody::ClientLeft),
        Err(cause) => {
            let description = format!("Tollgate could not take in the request body: {cause}");
            return Err(NoBody::Refused(Refusal::body_too_large(description)));
        }
    };
    let length = buffer.byte_length();
    job.call.request_size = Some(u64::from(length));
    match copying {
        Copying::Nothing => {}
        Copying::Whole if length as usize <= crate::record::MAX_BODY => {
            let bytes = js::bytes(&buffer);
            job.call.facts = wire::request::read_request(content_type, &bytes);
            job.call.body = job.collect_payload.then(|| body::text(bytes));
            job.share = Some(Rc::clone(&share));
        }
        _ => {
            for (from, to) in body::ends(length) {
                let facts = wire::request::read_request(content_type, &js::slice(&buffer, from, to));
                job.call.facts.model = job.call.facts.model.take().or(facts.model);
                job.call.facts.stream |= facts.stream;
                job.call.facts.max_tokens = job.call.facts.max_tokens.or(facts.max_tokens);
            }
        }
    }
    Ok(Taken::Whole(buffer, share))
}
