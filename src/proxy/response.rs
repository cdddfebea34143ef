//! The provider's answer on its way to the client: the same status, headers and bytes, with a copy for the log where the
//! log wants one.

mod held;
mod passed;
mod readdressed;

use crate::credentials::client_signature;
use crate::http::headers::{Edits, Headers};
use crate::http::message_worker::{self, Answer};
use crate::logs::call::{Credential, Failure, Outcome};
use crate::platform::growing::Share;
use crate::platform::js::{self, IdentityTransformStream, Watch};
use crate::platform::{blocks, within};
use crate::proxy::copy::{self, Copied, Ended, Form};
use crate::proxy::exchange::Job;
use crate::proxy::stream_usage_worker;
use crate::proxy::{answer_links, cache};
use crate::wire::body::{self, Copying, Packed};
use crate::wire::{self, Framing, unpack_worker};
pub use held::Held;

use futures_util::future::{OptionFuture, join};
use js_sys::{ArrayBuffer, Uint8Array};
use passed::passed;
use readdressed::readdressed;
use std::rc::Rc;
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
    if job.call.provider == "aws-bedrock"
        && client_signature::is_refused(status, &reader.headers)
        && job.call.credential == Credential::Request
    {
        job.warn(client_signature::REFUSED);
    }
    if !is_head
        && reader.may_show_key(&job)
        && let Some(stream) = upstream.body()
    {
        return masked(&upstream, stream, reader, job).await;
    }
    let fields = if is_head { Vec::new() } else { answer_links::fields(&job, status, &reader.headers) };
    if !fields.is_empty() {
        return readdressed(&upstream, whole, &fields, reader, job).await;
    }
    let mut edits = job.marks(status, &reader.headers);
    if status == 101 {
        return match message_worker::upgraded(&upstream, &edits) {
            Ok(response) => Ok(job.finish(reader.outcome, response)),
            Err(cause) => Err((Box::new(job), cause)),
        };
    }
    if stream_usage_worker::is_cut(&job, status, &reader.headers) {
        edits.remove("content-length");
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
        (Copying::Whole, Some(share)) => {
            let length = reader.headers.content_length().filter(|_| reader.is_plain()).unwrap_or(0);
            let whole = js::whole(&upstream, length, &reader.watch).await;
            let whole = whole.map(JsCast::unchecked_into).map_err(|error| js::message(&error));
            short(whole, share, reader, job, made)
        }
        (Copying::Whole, None) => Ok(teed(stream, job.client.clone(), reader, job, made)),
        _ if keeps && reader.headers.content_length().is_some() => {
            Ok(teed(stream, job.client.clone(), reader, job, made))
        }
        _ => Ok(passed(stream, job.client.clone(), reader, job, made)),
    }
}

/// What is known of an answer before its body.
struct Reader {
    status: u16,
    headers: Headers,
    outcome: Outcome,
    /// The body is somebody's words as a whole, which say nothing of the answer.
    is_words: bool,
    watch: Rc<Watch>,
}

/// An error may tell what the provider was sent, and its caller does not know the key: it is taken whole, and goes on without
/// the key. One that is too long goes on as it comes.
async fn masked(
    upstream: &Response,
    stream: ReadableStream,
    mut reader: Reader,
    mut job: Job,
) -> Result<Response, Broken> {
    // Nobody waits for an error to be kept.
    job.cache.keeps(reader.status, &reader.headers);
    let broken = |job: Job, cause: String| Err((Box::new(job), format!("the answer broke off: {cause}")));
    let taken = match within(HELD_PATIENCE_MS, blocks::short(&stream, MAX_SHORT)).await {
        Some(Ok(taken)) => taken,
        Some(Err(error)) => return broken(job, js::message(&error)),
        None => return broken(job, format!("it was an error, and did not end within {HELD_PATIENCE_MS} ms")),
    };
    // Whoever reads a compressed body gets it unpacked.
    reader.headers.0.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    let mut edits = job.marks(reader.status, &reader.headers);
    edits.remove("content-encoding");
    edits.remove("content-length");
    match taken {
        Ok(buffer) => {
            let buffer = without_key(buffer, &job, &mut edits);
            let edits = edits.to_json();
            let share = Share::of(u64::from(buffer.byte_length())).unwrap_or_default();
            short(Ok(buffer), share, reader, job, |body| js::answered(upstream, body, &edits))
        }
        Err(stream) => {
            let edits = edits.to_json();
            let made = |body: &JsValue| js::answered(upstream, body, &edits);
            let client = job.client.clone();
            Ok(match body::response_copying(&reader.headers) {
                Copying::Whole => teed(stream, client, reader, job, made),
                _ => passed(stream, client, reader, job, made),
            })
        }
    }
}

/// Headers that say which bytes a body has.
const DIGESTS: &[&str] = &["content-digest", "content-md5", "digest", "etag", "repr-digest"];

/// The body of an error without the key that the gateway has added to the request.
fn without_key(buffer: ArrayBuffer, job: &Job, edits: &mut Edits<'_>) -> ArrayBuffer {
    match job.call.secrets.for_caller().bytes(&js::bytes(&buffer)) {
        None => buffer,
        Some(masked) => {
            DIGESTS.iter().for_each(|digest| edits.remove(*digest));
            Uint8Array::from(masked.as_slice()).buffer()
        }
    }
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
    let given = |buffer: &ArrayBuffer| match stream_usage_worker::is_cut(&job, reader.status, &reader.headers) {
        true => made(&stream_usage_worker::cut(buffer)),
        false => made(buffer),
    };
    let (response, buffer) = match whole.and_then(|buffer| Ok((given(&buffer)?, buffer))) {
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
    let (body, sent) = match stream_usage_worker::is_cut(&job, reader.status, &reader.headers) {
        true => stream_usage_worker::piped(&theirs),
        false => piped(theirs, &reader.headers),
    };
    let piped = sent.is_none().then(|| copying(&ours));
    let response = match made(&body) {
        Ok(response) => response,
        Err(cause) => return job.broken(&cause),
    };
    let limit = if job.cache.is_to_keep() { crate::cache::MAX_SIZE } else { crate::wire::body::MAX_BODY as u64 };
    let bounds = (limit, reader.form());
    job.later(async move |job| {
        let (copied, ended) = match (sent, piped) {
            (Some(sent), _) => copy::follow(&ours, sent, bounds, || client.aborted(), &reader.watch).await,
            (None, Some((readable, copied))) => {
                let (copied, (kept, ended)) =
                    join(copied, copy::ahead(&readable, bounds, copy::MAX_AHEAD, &reader.watch)).await;
                (kept, ended.or(copied.map(Ended::Broken)))
            }
            (None, None) => return,
        };
        let failure = match ended {
            Some(Ended::ClientLeft) => Some(Failure::ClientLeft),
            Some(Ended::Broken(error)) => Some(reader.broken(&error)),
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
    let (mut copy, packed) = plain(copy, &headers).await;
    let body = if job.cache.is_to_keep() && packed.is_none() { copy.buffer().await } else { None };
    // What is written to the cache takes its room until it is there.
    let share = copy.share();
    let outcome = Outcome { failure, ..reader.read_plain(copy, packed, job.collect_payload) };
    let kept = body.as_ref().and_then(|body| cache::keep(&job, &headers, &outcome, body));
    let kept = async {
        OptionFuture::from(kept).await;
        drop(share);
    };
    join(kept, job.log(outcome)).await;
}

/// Puts a native pipe between a stream and the client. The second value resolves when the client has everything, and
/// fails when the client left or the stream broke. A compressed body goes without, because reading would unpack it.
fn piped(stream: ReadableStream, headers: &Headers) -> (JsValue, Option<JsFuture>) {
    if headers.get("content-encoding").is_some() {
        return (stream.into(), None);
    }
    let (readable, writable) = blocks::pipe(headers.content_length());
    (readable.into(), Some(JsFuture::from(stream.pipe_to(&writable))))
}

// === impl Reader ===

impl Reader {
    fn of(upstream: Answer, job: &Job) -> (Response, Self, Option<Result<ArrayBuffer, String>>) {
        let Answer { response, status, headers, at, whole, watch } = upstream;
        let outcome = Outcome {
            status: Some(status),
            content_type: headers.get("content-type").map(str::to_owned),
            provider_request_id: headers.provider_request_id().map(str::to_owned),
            first_byte: Some(at.saturating_sub(job.arrived)),
            ..Outcome::default()
        };
        let kind = headers.get("content-type").unwrap_or("");
        let is_words = status < 400 && wire::files::is_words(&job.call.rest, kind);
        (response, Self { status, headers, outcome, is_words, watch: Rc::new(watch) }, whole)
    }

    /// Whether the body comes as it is, and not compressed.
    fn is_plain(&self) -> bool {
        self.headers.get("content-encoding").is_none()
    }

    /// How an answer ended that is not whole.
    fn broken(&self, error: &JsValue) -> Failure {
        let reason = self.watch.reason();
        Failure::Upstream(format!("the answer broke off: {}", js::message(reason.as_ref().unwrap_or(error))))
    }

    /// Whether the answer may tell its caller a key that it does not know.
    fn may_show_key(&self, job: &Job) -> bool {
        self.status >= 400
            && job.call.secrets.has_kept()
            && self.headers.content_length().is_none_or(|length| length <= MAX_SHORT)
    }

    fn is_short(&self) -> bool {
        self.is_plain()
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
            match unpack_worker::unpacked(&buffer, &codings).await {
                Ok(plain) => {
                    let share = Share::of(u64::from(plain.byte_length())).unwrap_or_default();
                    (Copied::of(&plain, share), None)
                }
                Err(packed) => (copy, Some(packed)),
            }
        }
        None => (copy, None),
    }
}
