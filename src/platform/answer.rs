//! The provider's answer on its way to the client: the same status, headers and bytes, with a copy for the log where the
//! log wants one.

use super::blocks;
use super::cache;
use super::copy::{self, Copied, Ended, Growing, Share};
use super::job::Job;
use super::js::{self, Answer, Collector, FixedLengthStream, IdentityTransformStream};
use super::within;
use crate::body::{self, Copying};
use crate::headers::Headers;
use crate::record::{Failure, Outcome};
use crate::wire;
use futures_util::future::{OptionFuture, join};
use js_sys::ArrayBuffer;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::{AbortSignal, ReadableStream, Response, StreamPipeOptions};

/// How long the answer of a failed attempt may take to end, in milliseconds: it is read for the log alone.
const HELD_PATIENCE_MS: u64 = 10_000;

/// No more of an error is kept while another attempt is made, in bytes.
const MAX_HELD: u64 = 1024 * 1024;

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
        // It is there already, and no longer than what is not counted or little more.
        let share = Share::of(whole.as_ref().map_or(0, |buffer| buffer.byte_length().into()));
        return short(whole, share.unwrap_or_default(), reader, job, made);
    }
    let Some(stream) = upstream.body() else {
        let size = reader.headers.content_length().filter(|_| is_head).map_or(Some(0), |_| None);
        return match made(&JsValue::NULL) {
            Ok(response) => Ok(job.finish(Outcome { size, ..reader.outcome }, response)),
            Err(cause) => Err((Box::new(job), cause)),
        };
    };
    let keeps = job.cache.keeps(status, &reader.headers);
    let taken_whole = reader.is_short() || reader.is_at_hand(&job);
    let room = if taken_whole { Share::of(reader.headers.content_length().unwrap_or(0)) } else { None };
    match (body::response_copying(&reader.headers), room) {
        (Copying::Whole, Some(share)) => short(js::whole(&upstream).await, share, reader, job, made),
        (Copying::Whole, None) => Ok(teed(stream, job.client.clone(), reader, job, made)),
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
    /// Ends when there is what is kept of it.
    taken: JsFuture,
    kept: Rc<RefCell<Option<Kept>>>,
}

/// What is kept of an answer.
struct Kept {
    buffer: ArrayBuffer,
    is_whole: bool,
    share: Growing,
}

impl Held {
    pub fn new(upstream: Answer, job: &Job) -> Self {
        // No error comes whole with its head.
        let (upstream, reader, _) = Reader::of(upstream, job);
        let kept = Rc::new(RefCell::default());
        let (stream, keeping) = (upstream.body(), Rc::clone(&kept));
        // A promise is worked on although nobody waits for it yet.
        let taken = future_to_promise(async move {
            let Some(stream) = stream else {
                let nothing = Kept { buffer: ArrayBuffer::new(0), is_whole: true, share: Growing::default() };
                keeping.replace(Some(nothing));
                return Ok(JsValue::UNDEFINED);
            };
            let (buffer, is_whole, share) = blocks::beginning(&stream, MAX_HELD).await?;
            keeping.replace(Some(Kept { buffer, is_whole, share }));
            Ok(JsValue::UNDEFINED)
        });
        Self { upstream, reader, taken: taken.into(), kept }
    }

    async fn taken(self) -> (Response, Reader, Option<Kept>) {
        // What breaks is noticed by there being nothing.
        let _ = within(HELD_PATIENCE_MS, self.taken).await;
        (self.upstream, self.reader, self.kept.take())
    }

    /// Leaves the row of an answer that the client does not get.
    pub async fn log(self, job: Job) {
        let (_, reader, kept) = self.taken().await;
        let outcome = match kept {
            Some(kept) => kept.read(reader, &job),
            None => reader.outcome,
        };
        job.log(Outcome { superseded: true, ..outcome }).await;
    }

    /// Gives the answer to the client, because no other attempt had a better one.
    pub async fn give(self, mut job: Job) -> Response {
        let (upstream, reader, Some(kept)) = self.taken().await else {
            return job.broken("the answer broke off");
        };
        if !kept.is_whole {
            job.warn("the provider's error was longer than is kept of it for another attempt, and ends early");
        }
        let mut edits = job.marks(&reader.headers);
        // Whoever reads a compressed body gets it unpacked.
        edits.remove("content-encoding");
        edits.remove("content-length");
        match js::answered(&upstream, &kept.buffer, &edits.to_json()) {
            Ok(response) => {
                let outcome = kept.read(reader, &job);
                job.finish(outcome, response)
            }
            Err(cause) => job.broken(&cause),
        }
    }
}

// === impl Kept ===

impl Kept {
    fn read(self, reader: Reader, job: &Job) -> Outcome {
        let Self { buffer, is_whole, share } = self;
        let outcome = reader.read(&Copied::of(&buffer, Share::default()), job.collect_payload);
        drop(share);
        // How long all of it would have been is not known.
        Outcome { size: outcome.size.filter(|_| is_whole), ..outcome }
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
    share: Share,
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
        settle(reader, Copied::of(&buffer, share), None, job).await;
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
    job.later(async move |job| {
        let (copied, ended) = match (sent, piped) {
            (Some(sent), _) => copy::follow(&ours, sent, limit, || client.aborted()).await,
            (None, Some((readable, copied))) => {
                let (copied, (kept, ended)) = join(copied, copy::ahead(&readable, limit)).await;
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
    let outcome = Outcome { failure, ..reader.read(&copy, job.collect_payload) };
    let body = if job.cache.is_to_keep() { copy.buffer().await } else { None };
    // What is written to the cache takes its room until it is there.
    let share = copy.share();
    let kept = body.as_ref().and_then(|body| cache::keep(&job, &headers, &outcome, body));
    let kept = async {
        OptionFuture::from(kept).await;
        drop(share);
    };
    join(kept, job.log(outcome)).await;
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
        let kept = collected.as_ref().and_then(|(body, _)| cache::keep(&job, &reader.headers, &outcome, body));
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
            && wire::Framing::of(self.headers.get("content-type").unwrap_or("")) != Some(wire::Framing::Sse)
            && self.headers.content_length().is_some_and(|length| length <= MAX_SHORT)
    }

    /// What the cache gives out need not be waited for, although it was a stream once.
    fn is_at_hand(&self, job: &Job) -> bool {
        job.call.cached && self.headers.content_length().is_some()
    }

    /// Reads what the log wants from the copy of a body.
    fn read(self, copy: &Copied, collect_payload: bool) -> Outcome {
        let content_type = self.headers.get("content-type").unwrap_or("");
        let status = self.status;
        let framing = wire::Framing::of(content_type).unwrap_or(wire::Framing::Json);
        let read =
            |bytes: &[u8]| if self.is_words { wire::Facts::default() } else { wire::read(framing, status, bytes) };
        let mut outcome = Outcome { size: Some(copy.length), ..self.outcome };
        if !content_type.is_empty() && !body::is_text(content_type) {
            return outcome;
        }
        if let Some(bytes) = copy.bytes(crate::record::MAX_BODY) {
            outcome.facts = read(&bytes);
            outcome.body = collect_payload.then(|| wire::stored(framing, bytes));
        } else if framing == wire::Framing::Sse {
            outcome.facts = body::merged(copy.ends().iter().map(|part| read(part)));
        }
        outcome.facts.usage = body::with_headers(outcome.facts.usage, &self.headers);
        outcome
    }
}
