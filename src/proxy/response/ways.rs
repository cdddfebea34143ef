//! The ways of an answer to the client: from the buffer it was taken into, or through a pipe beside the log's copy.

use crate::http::headers::Headers;
use crate::logs::call::{Failure, Outcome};
use crate::platform::allotment::Allotment;
use crate::platform::blocks;
use crate::platform::js::IdentityTransformStream;
use crate::platform::now;
use crate::proxy::copy::{self, Copied, Ended};
use crate::proxy::exchange::Exchange;
use crate::proxy::response::reader::{Broken, Reader, plain};
use crate::proxy::responses::stored_worker;
use crate::proxy::stream_usage_worker;
use crate::proxy::unified::blocks::Blocks;
use crate::proxy::unified::pump;
use crate::proxy::unified::translation::Translation;

use futures_util::future::{OptionFuture, join, join3};
use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStream, Response, StreamPipeOptions};

/// What a row says of a stream that ended without its last events.
pub const BROKE_OFF: &str = "the answer broke off before it said how it ended";

/// A short answer of known length is taken whole: one native read is cheaper than two streams, and an answer that
/// breaks off becomes an error the client can see instead of half a document.
pub fn short(
    whole: Result<ArrayBuffer, String>,
    allotment: Allotment,
    reader: Reader,
    exchange: Exchange,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Result<Response, Broken> {
    let whole = whole.map_err(|cause| format!("the answer broke off: {cause}"));
    let given = |buffer: &ArrayBuffer| match stream_usage_worker::is_cut(&exchange, reader.status, &reader.headers) {
        true => made(&stream_usage_worker::cut(buffer)),
        false => made(buffer),
    };
    let (response, buffer) = match whole.and_then(|buffer| Ok((given(&buffer)?, buffer))) {
        Ok(both) => both,
        Err(cause) => return Err((Box::new(exchange), cause)),
    };
    exchange.later(|exchange| async move {
        keep_and_log(reader, Copied::of(&buffer, allotment), None, exchange).await;
    });
    Ok(response)
}

/// A stream is split natively. The client's branch goes through a pipe of its own, whose end tells whether the client
/// stayed; the log's branch follows it. A compressed body has no such pipe. Its copy must not be read with `text()` or
/// `arrayBuffer()` directly: the runtime would then fill 128 KiB before either branch gets a byte, and the client would see
/// no stream. Through a pipe there is no such wait.
pub fn teed(
    stream: ReadableStream,
    client: AbortSignal,
    reader: Reader,
    exchange: Exchange,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Response {
    let branches = stream.tee();
    // The runtime moves the first branch more cheaply, and the client's is moved event by event.
    let (theirs, ours): (ReadableStream, ReadableStream) =
        (branches.get(0).unchecked_into(), branches.get(1).unchecked_into());
    let blocks = exchange.translation().zip(reader.form());
    let blocks = blocks.and_then(|(own, form)| own.blocks(&exchange.call.id, now() / 1_000, form));
    let broke_off = blocks.as_ref().map(Blocks::broke_off);
    let (body, sent) = match blocks {
        Some(blocks) => pump::piped(theirs, blocks, exchange.translation().and_then(Translation::elements)),
        None if stream_usage_worker::is_cut(&exchange, reader.status, &reader.headers) => {
            stream_usage_worker::piped(&theirs)
        }
        None => piped(theirs, &reader.headers),
    };
    let piped = sent.is_none().then(|| copying(&ours));
    let response = match made(&body) {
        Ok(response) => response,
        Err(cause) => return exchange.broken(&cause),
    };
    let limit = if exchange.cache.is_to_keep() { crate::cache::MAX_SIZE } else { crate::wire::body::MAX_BODY as u64 };
    let bounds = (limit, reader.form());
    exchange.later(async move |exchange| {
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
            None => broke_off.filter(|broke_off| broke_off.get()).map(|_| Failure::Upstream(BROKE_OFF.to_owned())),
        };
        keep_and_log(reader, copied, failure, exchange).await;
    });
    response
}

/// Puts a pipe behind a stream. When the stream breaks the pipe just ends, so that what had come can be read; the second
/// value tells how it broke.
pub fn copying(stream: &ReadableStream) -> (ReadableStream, impl Future<Output = Option<JsValue>> + use<>) {
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
pub async fn keep_and_log(reader: Reader, copy: Copied, failure: Option<Failure>, exchange: Exchange) {
    let headers = reader.headers.clone();
    let (mut copy, packed) = plain(copy, &headers).await;
    let body = if exchange.cache.is_to_keep() && packed.is_none() { copy.buffer().await } else { None };
    // What is written to the cache takes its room until it is there.
    let allotment = copy.allotment();
    let outcome = Outcome { failure, ..reader.read_plain(copy, packed, exchange.collect_payload) };
    let kept = body.as_ref().and_then(|body| exchange.cache.keep(&headers, &outcome, body, &exchange.runtime));
    let kept = async {
        OptionFuture::from(kept).await;
        drop(allotment);
    };
    let stored = OptionFuture::from(stored_worker::kept(&exchange));
    join3(kept, stored, exchange.log(outcome)).await;
}

/// Puts a native pipe between a stream and the client. The second value resolves when the client has everything, and
/// fails when the client left or the stream broke. A compressed body goes without, because reading would unpack it.
pub fn piped(stream: ReadableStream, headers: &Headers) -> (JsValue, Option<JsFuture>) {
    if headers.get("content-encoding").is_some() {
        return (stream.into(), None);
    }
    let (readable, writable) = blocks::pipe(headers.content_length());
    (readable.into(), Some(JsFuture::from(stream.pipe_to(&writable))))
}
