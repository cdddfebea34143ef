//! The answer of an attempt that failed, which the client may get after all.

use crate::http::message_worker::Answer;
use crate::logs::call::Outcome;
use crate::platform::allotment::Allotment;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::js;
use crate::platform::promise::promise;
use crate::platform::{blocks, within};
use crate::proxy::copy::Copied;
use crate::proxy::exchange::Exchange;
use crate::proxy::response::reader::{HELD_PATIENCE_MS, Reader, without_key};
use crate::proxy::response::screened;
use crate::proxy::response::translated;
use crate::wire::Framing;
use futures_util::FutureExt;
use js_sys::{ArrayBuffer, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

/// No more of an error is kept while another attempt is made, in bytes.
const MAX_HELD: u64 = 1024 * 1024;

/// The answer of an attempt that failed. It is taken in at once, because a body that is not read keeps its connection,
/// and only then it is known whether the client gets it after all.
pub struct Held {
    upstream: Response,
    /// The status, or what stands for it where the answer is a stream that begins with an error.
    status: u16,
    reader: Reader,
    /// Ends when there is what is kept of it.
    taken: JsFuture,
    kept: Rc<RefCell<Option<Kept>>>,
}

/// What is kept of an answer.
struct Kept {
    buffer: ArrayBuffer,
    is_whole: bool,
    allotment: GrowingAllotment,
}

impl Held {
    pub fn status(&self) -> u16 {
        self.status
    }

    #[inline(never)]
    pub fn new(upstream: Answer, exchange: &Exchange) -> Self {
        let status = upstream.said_status();
        // No error comes whole with its head.
        let (upstream, reader, _) = Reader::of(upstream, exchange);
        let kept = Rc::new(RefCell::default());
        let (stream, keeping, watch) = (upstream.body(), Rc::clone(&kept), Rc::clone(&reader.watch));
        // A promise is worked on although no future waits for it yet.
        let taken = promise(Box::pin(async move {
            let Some(stream) = stream else {
                let nothing =
                    Kept { buffer: ArrayBuffer::new(0), is_whole: true, allotment: GrowingAllotment::default() };
                keeping.replace(Some(nothing));
                return Ok(JsValue::UNDEFINED);
            };
            let (buffer, is_whole, allotment) = blocks::beginning(&stream, MAX_HELD, &watch).await?;
            keeping.replace(Some(Kept { buffer, is_whole, allotment }));
            Ok(JsValue::UNDEFINED)
        }));
        Self { upstream, status, reader, taken: taken.into(), kept }
    }

    async fn taken(self) -> (Response, Reader, Option<Kept>) {
        // What breaks is noticed by there being nothing.
        if within(HELD_PATIENCE_MS, self.taken).await.is_none() {
            self.reader.watch.stop();
        }
        (self.upstream, self.reader, self.kept.take())
    }

    /// Leaves the row of an answer that the client does not get.
    pub async fn log(self, mut exchange: Exchange) {
        let (_, reader, kept) = self.taken().await;
        let outcome = match kept {
            Some(mut kept) => {
                screened::stored(&mut kept.buffer, &reader, &mut exchange);
                kept.read(reader, &exchange).await
            }
            None => reader.outcome,
        };
        exchange.log(Outcome { superseded: true, ..outcome }).await;
    }

    /// Gives the answer to the client, because no other attempt had a better one.
    pub async fn give(self, mut exchange: Exchange) -> Response {
        let (upstream, reader, Some(kept)) = self.taken().await else {
            return exchange.broken("the answer broke off");
        };
        if !kept.is_whole {
            exchange.warn("the provider's error was longer than is kept of it for another attempt, and ends early");
        }
        if screened::is_wanted(&reader, &exchange) {
            let given = screened::screened(upstream, Some(Ok(kept.buffer)), reader, exchange).boxed_local().await;
            return given.unwrap_or_else(|(exchange, cause)| exchange.broken(&cause));
        }
        let mut edits = exchange.marks(reader.status, &reader.headers);
        // The runtime unpacks a compressed body for its reader.
        edits.remove("content-encoding");
        edits.remove("content-length");
        let buffer = match reader.may_show_key(&exchange) || !kept.is_whole {
            true => without_key(kept.buffer, &exchange, &mut edits),
            false => kept.buffer,
        };
        let kept = Kept { buffer, ..kept };
        let body = match exchange.translation() {
            Some(_) => {
                let framing = reader.form().map_or(Framing::Json, |(framing, _)| framing);
                let given = translated::given(&exchange, &reader, framing, &js::bytes(&kept.buffer));
                translated::changed(&mut edits, given.content_type);
                Uint8Array::from(given.text.as_bytes()).buffer()
            }
            None => kept.buffer.clone(),
        };
        match js::answered(&upstream, &body, &edits.to_json()) {
            Ok(response) => {
                let outcome = kept.read(reader, &exchange).await;
                exchange.finish(outcome, response)
            }
            Err(cause) => exchange.broken(&cause),
        }
    }
}

// === impl Kept ===

impl Kept {
    async fn read(self, reader: Reader, exchange: &Exchange) -> Outcome {
        let Self { buffer, is_whole, allotment } = self;
        let outcome = reader.read(Copied::of(&buffer, Allotment::default()), exchange.collect_payload).await;
        drop(allotment);
        // How long all of it would have been is not known.
        Outcome { size: outcome.size.filter(|_| is_whole), ..outcome }
    }
}
