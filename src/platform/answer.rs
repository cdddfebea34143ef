//! The provider's answer on its way to the client: the same status, headers and bytes, with a copy for the log where the
//! log wants one.

use super::cache;
use super::copy::{self, Copied, Ended, Form};
use super::job::Job;
use super::js::{self, Answer, Collector, FixedLengthStream, IdentityTransformStream};
use super::{unpack, within};
use crate::body::{self, Copying, Packed};
use crate::headers::Headers;
use crate::record::{Failure, Outcome};
use crate::wire::{self, Framing};
use futures_util::future::{OptionFuture, join};
use js_sys::ArrayBuffer;
use std::cell::Cell;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStream, Response, StreamPipeOptions};

/// How long the answer of a failed attempt may take to end, in milliseconds: it is read for the log alone.
const HELD_PATIENCE_MS: u64 = 10_000;

/// A longer answer goes to the client as it comes, in bytes.
const MAX_SHORT: u64 = 1024 * 1024;

/// An answer that could not be given to the client, and why: another attempt may do better.
pub type Broken = (Box<Job>, String);

/// Turns the provider's answer into ours: the same status, headers and bytes, with our headers beside them.
pub async fn give(upstream: Answer, is_head: bool, mut job: Job) -> Result<Response, Broken> {
    let (upstream, reader, whole) = Reader::of(upstream, &job);
    let status = reader.status;
    let edits = job.marks(&reader.headers);
    if status == 101 {
        return match js::upgraded(&upstream, &edits) {
            Ok(response) => Ok(job.finish(reader.outcome, response)),
            Err(cause) => Err((Box::new(job), cause)),
        };
    }
    let edits = edits.to_json();
    let made = |body: &JsValue| js::answered(&upstream, body, &edits);
    if let Some(whole) = whole {
        job.cache.keeps(status, &reader.headers);
        return short(whole, reader, job, made);
    }
    let Some(stream) = upstream.body() else {
        let size = reader.headers.content_length().filter(|_| is_head).map_or(Some(0), |_| None);
        return match made(&JsValue::NULL) {
            Ok(response) => Ok(job.finish(Outcome { size, ..reader.outcome }, response)),
            Err(cause) => Err((Box::new(job), cause)),
        };
    };
    let keeps = job.cache.keeps(status, &reader.headers);
    match body::response_copying(&reader.headers) {
        Copying::Whole if reader.is_short() || reader.is_at_hand(&job) => {
            short(js::whole(&upstream).await, reader, job, made)
        }
        Copying::Whole => Ok(teed(stream, job.client.clone(), reader, job, made)),
        _ if keeps && reader.headers.content_length().is_some() => {
            Ok(teed(stream, job.client.clone(), reader, job, made))
        }
        _ => Ok(passed(stream, job.client.clone(), reader, job, made)),
    }
}

/// The answer of an attempt that failed. It is taken in at once, because a body that nobody reads keeps its connection,
/// and only then it is known whether the client gets it after all.
pub struct Held {
    upstream: Response,
    reader: Reader,
    whole: Option<JsFuture>,
}

impl Held {
    pub fn new(upstream: Answer, job: &Job) -> Self {
        // No error comes whole with its head.
        let (upstream, reader, _) = Reader::of(upstream, job);
        let whole = upstream.array_buffer().ok().map(JsFuture::from);
        Self { upstream, reader, whole }
    }

    async fn taken(self) -> (Response, Reader, Option<ArrayBuffer>) {
        let whole = match self.whole {
            Some(whole) => within(HELD_PATIENCE_MS, whole).await.and_then(Result::ok),
            None => None,
        };
        (self.upstream, self.reader, whole.map(JsCast::unchecked_into))
    }

    /// Leaves the row of an answer that the client does not get.
    pub async fn log(self, job: Job) {
        let (_, reader, whole) = self.taken().await;
        let outcome = match whole {
            Some(buffer) => reader.read(Copied::of(&buffer), job.collect_payload).await,
            None => reader.outcome,
        };
        job.log(Outcome { superseded: true, ..outcome }).await;
    }

    /// Gives the answer to the client, because no other attempt had a better one.
    pub async fn give(self, job: Job) -> Response {
        let (upstream, reader, Some(buffer)) = self.taken().await else {
            return job.broken("the answer broke off");
        };
        let mut edits = job.marks(&reader.headers);
        // Whoever reads a compressed body gets it unpacked.
        edits.remove("content-encoding");
        edits.remove("content-length");
        match js::answered(&upstream, &buffer, &edits.to_json()) {
            Ok(response) => {
                let outcome = reader.read(Copied::of(&buffer), job.collect_payload).await;
                job.finish(outcome, response)
            }
            Err(cause) => job.broken(&cause),
        }
    }
}

/// What is known of an answer before its body.
struct Reader {
    status: u16,
    headers: Headers,
    outcome: Outcome,
    /// The body is somebody's words as a whole, which say nothing of the answer.
    is_words: bool,
}

/// A short answer of known length is taken whole: one native read is cheaper than two streams, and an answer that
/// breaks off becomes an error the client can see instead of half a document.
fn short(
    whole: Result<ArrayBuffer, String>,
    reader: Reader,
    job: Job,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Result<Response, Broken> {
    let whole = whole.map_err(|cause| format!("the answer broke off: {cause}"));
    let (response, buffer) = match whole.and_then(|buffer| Ok((made(&buffer)?, buffer))) {
        Ok(both) => both,
        Err(cause) => return Err((Box::new(job), cause)),
    };
    job.later(|job| async move {
        settle(reader, Copied::of(&buffer), None, job).await;
    });
    Ok(response)
}

/// A stream is split natively. The client's branch goes through a pipe of its own, whose end tells whether the client
/// stayed; the log's branch follows it. A compressed body has no such pipe. Its copy must not be read with `text()` or
/// `arrayBuffer()` directly: the runtime would then fill 128 KiB before either branch gets a byte, and the client would see
/// no stream. Through a pipe there is no such wait.
fn teed(
    stream: ReadableStream,
    client: AbortSignal,
    reader: Reader,
    job: Job,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Response {
    let branches = stream.tee();
    let (ours, theirs): (ReadableStream, ReadableStream) =
        (branches.get(0).unchecked_into(), branches.get(1).unchecked_into());
    let (body, sent) = piped(theirs, &reader.headers);
    let piped = sent.is_none().then(|| copying(&ours));
    let response = match made(&body) {
        Ok(response) => response,
        Err(cause) => return job.broken(&cause),
    };
    let limit = if job.cache.is_to_keep() { crate::cache::MAX_SIZE } else { crate::record::MAX_BODY as u64 };
    let bounds = (limit, reader.form());
    job.later(async move |job| {
        let (copied, ended) = match (sent, piped) {
            (Some(sent), _) => copy::follow(&ours, sent, bounds, || client.aborted()).await,
            (None, Some((readable, copied))) => {
                let (copied, (kept, ended)) = join(copied, copy::ahead(&readable, bounds)).await;
                (kept, ended.or(copied.map(Ended::Broken)))
            }
            (None, None) => return,
        };
        let failure = match ended {
            Some(Ended::ClientLeft) => Some(Failure::ClientLeft),
            Some(Ended::Broken(error)) => {
                Some(Failure::Upstream(format!("the answer broke off: {}", js::message(&error))))
            }
            None => None,
        };
        settle(reader, copied, failure, job).await;
    });
    response
}

/// Puts a pipe behind a stream. When the stream breaks the pipe just ends, so that what had come can be read; the second
/// value tells how it broke.
fn copying(stream: &ReadableStream) -> (ReadableStream, impl Future<Output = Option<JsValue>> + use<>) {
    let pipe = IdentityTransformStream::new();
    let options = StreamPipeOptions::new();
    options.set_prevent_abort(true);
    let writable = pipe.writable();
    let copied = JsFuture::from(stream.pipe_to_with_options(&writable, &options));
    let ended = async move {
        let error = copied.await.err()?;
        let _ = JsFuture::from(writable.close()).await;
        Some(error)
    };
    (pipe.readable(), ended)
}

/// Does with the copy of an answer what it was made for: keeps it in the cache, and leaves the row.
async fn settle(reader: Reader, copy: Copied, failure: Option<Failure>, job: Job) {
    let headers = reader.headers.clone();
    let (copy, packed) = plain(copy, &headers).await;
    let body = if job.cache.is_to_keep() && packed.is_none() { copy.buffer().await } else { None };
    let outcome = Outcome { failure, ..reader.read_plain(copy, packed, job.collect_payload) };
    let kept = body.as_ref().and_then(|body| cache::keep(&job, &headers, &outcome, body));
    join(OptionFuture::from(kept), job.log(outcome)).await;
}

/// Audio, images and files pass untouched; of them the log knows the size and whether they arrived.
fn passed(
    stream: ReadableStream,
    client: AbortSignal,
    reader: Reader,
    job: Job,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Response {
    let length = reader.headers.content_length();
    let plain = reader.headers.get("content-encoding").is_none();
    let count = Cell::new(0);
    // Only a log tells the size.
    let counts = plain && length.is_none() && (job.collect_log || job.cache.is_to_keep());
    let pipe = counts.then(IdentityTransformStream::new);
    let (stream, copy) = match &pipe {
        Some(_) if job.cache.is_to_keep() => {
            let branches = stream.tee();
            let copy: ReadableStream = branches.get(0).unchecked_into();
            (branches.get(1).unchecked_into(), Some(Collector::new(&copy)))
        }
        _ => (stream, None),
    };
    let (body, sent) = match &pipe {
        Some(pipe) => (pipe.readable().into(), None),
        None => piped(stream.clone(), &reader.headers),
    };
    let response = match made(&body) {
        Ok(response) => response,
        Err(cause) => return job.broken(&cause),
    };
    job.later(|job| async move {
        let delivered = async {
            let delivered = match (pipe, sent) {
                (Some(pipe), _) => js::counted(&stream, &pipe.writable(), &count).await,
                (None, Some(sent)) => sent.await.map(|_| ()),
                (None, None) => Ok(()),
            };
            if let (Err(_), Some(copy)) = (&delivered, &copy) {
                copy.cancel().await;
            }
            delivered
        };
        let collected = async {
            match &copy {
                Some(copy) => copy.collected(crate::cache::MAX_SIZE).await,
                None => None,
            }
        };
        let (delivered, collected) = join(delivered, collected).await;
        let failure = delivered.err().map(|error| {
            if client.aborted() {
                Failure::ClientLeft
            } else {
                Failure::Upstream(format!("the answer broke off: {}", js::message(&error)))
            }
        });
        let size = match length {
            Some(length) if plain && failure.is_none() => Some(length),
            None if plain => Some(count.get()),
            _ => None,
        };
        let outcome = Outcome { size, failure, ..reader.outcome };
        let kept = collected.as_ref().and_then(|body| cache::keep(&job, &reader.headers, &outcome, body));
        join(OptionFuture::from(kept), job.log(outcome)).await;
    });
    response
}

/// Puts a native pipe between a stream and the client. The second value resolves when the client has everything, and
/// fails when the client left or the stream broke. A compressed body goes without, because reading would unpack it.
fn piped(stream: ReadableStream, headers: &Headers) -> (JsValue, Option<JsFuture>) {
    if headers.get("content-encoding").is_some() {
        return (stream.into(), None);
    }
    let (readable, writable) = match headers.content_length() {
        Some(length) => {
            let pipe = FixedLengthStream::new(length as f64);
            (pipe.fixed_readable(), pipe.fixed_writable())
        }
        None => {
            let pipe = IdentityTransformStream::new();
            (pipe.readable(), pipe.writable())
        }
    };
    (readable.into(), Some(JsFuture::from(stream.pipe_to(&writable))))
}

// === impl Reader ===

impl Reader {
    fn of(upstream: Answer, job: &Job) -> (Response, Self, Option<Result<ArrayBuffer, String>>) {
        let Answer { response, status, headers, at, whole } = upstream;
        let outcome = Outcome {
            status: Some(status),
            content_type: headers.get("content-type").map(str::to_owned),
            provider_request_id: headers.provider_request_id().map(str::to_owned),
            first_byte: Some(at.saturating_sub(job.arrived)),
            ..Outcome::default()
        };
        let kind = headers.get("content-type").unwrap_or("");
        let is_words = status < 400 && wire::files::is_words(&job.call.rest, kind);
        (response, Self { status, headers, outcome, is_words }, whole)
    }

    fn is_short(&self) -> bool {
        self.headers.get("content-encoding").is_none()
            && Framing::of(self.headers.get("content-type").unwrap_or("")) != Some(Framing::Sse)
            && self.headers.content_length().is_some_and(|length| length <= MAX_SHORT)
    }

    /// What the cache gives out need not be waited for, although it was a stream once.
    fn is_at_hand(&self, job: &Job) -> bool {
        job.call.cached && self.headers.content_length().is_some()
    }

    /// How the answer is to be read, if it may have facts.
    fn form(&self) -> Option<Form> {
        match self.headers.get("content-type") {
            None | Some("") => Some((Framing::Json, self.status)),
            Some(kind) => Framing::of(kind).map(|framing| (framing, self.status)),
        }
    }

    /// Reads what the log wants from the copy of a body.
    async fn read(self, copy: Copied, collect_payload: bool) -> Outcome {
        let (copy, packed) = plain(copy, &self.headers).await;
        self.read_plain(copy, packed, collect_payload)
    }

    /// Reads what the log wants from the copy of a body, unless it is still `packed`.
    fn read_plain(self, mut copy: Copied, packed: Option<Packed>, collect_payload: bool) -> Outcome {
        let content_type = self.headers.get("content-type").unwrap_or("");
        let status = self.status;
        let framing = Framing::of(content_type).unwrap_or(Framing::Json);
        let is_words = self.is_words;
        let read = |bytes: &[u8]| if is_words { wire::Facts::default() } else { wire::read(framing, status, bytes) };
        let mut outcome = Outcome { size: Some(copy.length), ..self.outcome };
        if !content_type.is_empty() && !body::is_text(content_type) {
            return outcome;
        }
        let bytes = copy.bytes(crate::record::MAX_BODY);
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

/// The copy of an answer, unpacked if the runtime did not do so while it was read. Otherwise it says why it is not.
async fn plain(copy: Copied, headers: &Headers) -> (Copied, Option<Packed>) {
    let codings = headers.content_codings();
    let is_binary = headers.get("content-type").and_then(Framing::of) == Some(Framing::AwsEventStream);
    if codings.is_empty() || is_binary {
        return (copy, None);
    }
    match copy.beginning(64) {
        Some(beginning) if body::begins_as_text(&beginning) => (copy, None),
        Some(_) => {
            let Some(buffer) = copy.buffer().await else { return (copy, Some(Packed::Broken)) };
            match unpack::unpacked(&buffer, &codings).await {
                Ok(plain) => (Copied::of(&plain), None),
                Err(packed) => (copy, Some(packed)),
            }
        }
        None => (copy, None),
    }
}
