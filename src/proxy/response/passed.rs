//! Audio, images and files on their way to the client, of which the log knows the size and whether they arrived.

use crate::logs::call::{Failure, Outcome};
use crate::platform::allotment::GrowingAllotment;
use crate::platform::blocks::Collector;
use crate::platform::blocks::pipe;
use crate::platform::js::{self, Watch};
use crate::proxy::copy;
use crate::proxy::exchange::Exchange;
use crate::proxy::response::reader::Reader;
use crate::proxy::response::ways::copying;
use futures_util::future::{OptionFuture, join};
use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStream, Response, WritableStream};

/// Audio, images and files pass untouched; of them the log knows the size and whether they arrived.
pub(super) fn passed(
    stream: ReadableStream,
    client: AbortSignal,
    reader: Reader,
    exchange: Exchange,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Response {
    let length = reader.headers.content_length();
    let keeps = length.is_none() && exchange.cache.is_to_keep();
    let way = match reader.is_plain() {
        // Only a log tells the size.
        true if reader.watch.is_on() || keeps || (length.is_none() && exchange.collect_log) => {
            Way::pumped(stream, length, keeps)
        }
        true => Way::piped(stream, length),
        false if reader.watch.is_on() => Way::watched(&stream),
        false => Way::Untouched(stream),
    };
    let response = match made(&way.body()) {
        Ok(response) => response,
        Err(cause) => return exchange.broken(&cause),
    };
    exchange.later(|exchange| async move {
        let (count, delivered, collected) = way.gone(&reader.watch).await;
        let failure = delivered.err().map(|error| match client.aborted() {
            true => Failure::ClientLeft,
            false => reader.broken(&error),
        });
        let size = count.or(length.filter(|_| failure.is_none() && reader.is_plain()));
        let outcome = Outcome { size, failure, ..reader.outcome };
        let kept = collected
            .as_ref()
            .and_then(|(body, _)| exchange.cache.keep(&reader.headers, &outcome, body, &exchange.runtime));
        join(OptionFuture::from(kept), exchange.log(outcome)).await;
    });
    response
}

/// How a body gets to the client that is not copied.
enum Way {
    /// Moved by hand, which sees every byte; with a branch for the cache.
    Pumped {
        stream: ReadableStream,
        readable: ReadableStream,
        writable: WritableStream,
        copy: Option<Collector>,
    },
    /// Moved by the runtime.
    Piped {
        body: JsValue,
        sent: JsFuture,
    },
    /// A compressed body, which must not be read. Its other branch is, and tells when nothing comes any more.
    Watched {
        body: ReadableStream,
        ours: ReadableStream,
    },
    Untouched(ReadableStream),
}

/// The copy of a compressed body that is read only to see it come runs ahead of the client by so many bytes at most. What
/// comes behind them is not watched.
const MAX_WATCHED: u64 = 4 * 1024 * 1024;

impl Way {
    fn pumped(stream: ReadableStream, length: Option<u64>, keeps: bool) -> Self {
        let (readable, writable) = pipe(length);
        if !keeps {
            return Self::Pumped { stream, readable, writable, copy: None };
        }
        let branches = stream.tee();
        let copy: ReadableStream = branches.get(0).unchecked_into();
        let stream = branches.get(1).unchecked_into();
        Self::Pumped { stream, readable, writable, copy: Some(Collector::new(&copy)) }
    }

    fn piped(stream: ReadableStream, length: Option<u64>) -> Self {
        let (readable, writable) = pipe(length);
        Self::Piped { body: readable.into(), sent: JsFuture::from(stream.pipe_to(&writable)) }
    }

    fn watched(stream: &ReadableStream) -> Self {
        let branches = stream.tee();
        Self::Watched { ours: branches.get(0).unchecked_into(), body: branches.get(1).unchecked_into() }
    }

    fn body(&self) -> JsValue {
        match self {
            Self::Pumped { readable: body, .. } | Self::Watched { body, .. } | Self::Untouched(body) => body.into(),
            Self::Piped { body, .. } => body.clone(),
        }
    }

    /// Waits until the body is gone: how many bytes it had, where they are seen, whether they arrived, and what was collected
    /// for the cache.
    async fn gone(self, watch: &Watch) -> (Option<u64>, Result<(), JsValue>, Option<(ArrayBuffer, GrowingAllotment)>) {
        match self {
            Self::Pumped { stream, writable, copy, .. } => {
                let delivered = async {
                    let (count, delivered) = js::pump(&stream, &writable, watch).await;
                    if let (Err(_), Some(copy)) = (&delivered, &copy) {
                        copy.cancel().await;
                    }
                    (count, delivered)
                };
                let collected = OptionFuture::from(copy.as_ref().map(|copy| copy.collected(crate::cache::MAX_SIZE)));
                let ((count, delivered), collected) = join(delivered, collected).await;
                (Some(count), delivered, collected.flatten())
            }
            Self::Piped { sent, .. } => (None, sent.await.map(drop), None),
            Self::Watched { ours, .. } => {
                let (readable, copied) = copying(&ours);
                let (copied, _) = join(copied, copy::ahead(&readable, (0, None), MAX_WATCHED, watch)).await;
                // That reading ends at the bound is no failure.
                (None, copied.filter(|_| watch.reason().is_some()).map_or(Ok(()), Err), None)
            }
            Self::Untouched(_) => (None, Ok(()), None),
        }
    }
}
