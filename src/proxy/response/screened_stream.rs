//! A stream that is looked at on its way. What may go on goes on at once; what may still become something waits for what comes next.

use crate::dlp::{Examiner, Redactor, Restorer, Screen};
use crate::guardrails::Phase;
use crate::http::refusal::Refusal;
use crate::logs::call::Failure;
use crate::platform::blocks::{self, block, reader_of};
use crate::platform::{js, now};
use crate::proxy::copy::Copied;
use crate::proxy::exchange::Exchange;
use crate::proxy::judges::Judges;
use crate::proxy::response::judge::Judge;
use crate::proxy::response::reader::{Broken, Reader};
use crate::proxy::response::translated::changed_stream;
use crate::proxy::response::ways::{BROKE_OFF, keep_and_log};
use crate::proxy::screening::BLOCKED;
use crate::proxy::stream_usage_worker;
use crate::proxy::unified::array::Elements;
use crate::proxy::unified::blocks::Blocks;
use crate::proxy::unified::translation::Translation;
use crate::translate::model::Failure as Told;
use crate::translate::{self, Format};
use crate::wire::Framing;
use js_sys::Uint8Array;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, Response, WritableStream};

/// How much is looked at at once, in bytes.
const BLOCK: u32 = 64 * 1024;

/// What a stream passes on its way.
struct Passage {
    examiner: Option<Examiner>,
    judge: Option<Judge>,
    screen: Screen,
    /// What turns it into the caller's format.
    blocks: Option<Blocks>,
    elements: Option<Elements>,
    restoring: Screen,
    /// What may be kept of it.
    copy: Copied,
    /// The format of what came, as far as it is known.
    format: Format,
}

pub fn given(
    upstream: &Response,
    stream: ReadableStream,
    reader: Reader,
    exchange: Exchange,
    (examiner, judges): (Option<Examiner>, Option<Rc<Judges>>),
) -> Result<Response, Box<Broken>> {
    let form = reader.form();
    let blocks = exchange.translation().zip(form);
    let blocks = blocks.and_then(|(own, form)| own.blocks(&exchange.call.id, now() / 1_000, form));
    let is_lines = form.is_some_and(|(framing, _)| framing == Framing::Lines);
    let is_translated = blocks.is_some();
    let elements = exchange.translation().filter(|_| is_translated).and_then(Translation::elements);
    let limit = if exchange.cache.is_to_keep() { crate::cache::MAX_SIZE } else { crate::wire::body::MAX_BODY as u64 };
    let passage = Passage {
        examiner,
        judge: judges.map(|judges| Judge::new(judges, is_lines)),
        screen: Screen::of(is_lines),
        blocks,
        elements,
        restoring: Screen::of(is_lines && !is_translated),
        copy: Copied::new(limit, form),
        format: exchange.unified.as_ref().map_or(Format::Chat, |unified| unified.caller),
    };
    let mut edits = exchange.marks(reader.status, &reader.headers);
    edits.remove("content-encoding");
    edits.remove("content-length");
    if let Some(own) = exchange.translation().filter(|_| is_translated) {
        changed_stream(&mut edits, own);
    }
    let edits = edits.to_json();
    let (readable, writable) = blocks::pipe(None);
    let (readable, cut) = match stream_usage_worker::is_cut(&exchange, reader.status, &reader.headers) {
        true => stream_usage_worker::piped(&readable),
        false => (readable.into(), None),
    };
    let response = match js::answered(upstream, &readable, &edits) {
        Ok(response) => response,
        Err(cause) => return Err(Box::new((Box::new(exchange), cause))),
    };
    exchange.later(async move |mut exchange| {
        let (passage, failure) = passage.moved(stream, writable, &reader, &exchange).await;
        if let Some(cut) = cut {
            let _ = cut.await;
        }
        if let Some(examiner) = passage.examiner {
            exchange.call.dlp = examiner.report;
        }
        if let Some(judge) = passage.judge {
            let row = judge.verdict.row(Phase::Response, exchange.call.guardrails.as_deref());
            exchange.call.guardrails = Some(row);
        }
        keep_and_log(reader, passage.copy, failure, exchange).await;
    });
    Ok(response)
}

// === impl Passage ===

impl Passage {
    /// Moves the stream to its client.
    async fn moved(
        mut self,
        stream: ReadableStream,
        writable: WritableStream,
        reader: &Reader,
        exchange: &Exchange,
    ) -> (Self, Option<Failure>) {
        let made = reader_of(&stream).and_then(|reader| Ok((reader, writable.get_writer()?)));
        let (from, to) = match made {
            Ok(made) => made,
            Err(error) => return (self, Some(reader.broken(&error))),
        };
        let mut out = Vec::new();
        loop {
            let (piece, broken) = match block(&from, 1, BLOCK).await {
                Ok(piece) => (piece, None),
                Err(error) => (None, Some(error)),
            };
            let is_last = piece.is_none();
            if is_last {
                reader.watch.end();
            } else {
                reader.watch.came();
            }
            let kept = self.checked(piece.map(|piece| piece.to_vec()).as_deref());
            let is_blocked = self.examiner.as_ref().is_some_and(Examiner::is_blocked);
            let kept = match (&mut self.judge, is_blocked) {
                // What waits for a verdict does not go on.
                (Some(_), true) => Err(Refusal::data_loss(true, BLOCKED)),
                (Some(judge), false) => judge.pass(&kept, is_last, exchange).await,
                (None, _) => Ok(kept),
            };
            let refusal = match kept {
                Ok(kept) => {
                    self.give(&kept, is_last, exchange.restores(), &mut out);
                    is_blocked.then(|| Refusal::data_loss(true, BLOCKED))
                }
                Err(refusal) => Some(refusal),
            };
            if let Some(refusal) = &refusal {
                reader.watch.end();
                out.extend_from_slice(self.refusal(refusal, exchange).as_bytes());
            }
            if let Some(elements) = &mut self.elements {
                out = elements.next(&String::from_utf8_lossy(&out), is_last || refusal.is_some()).into_bytes();
            }
            let chunk = Uint8Array::from(out.as_slice());
            if !out.is_empty() && JsFuture::from(to.write_with_chunk(&chunk)).await.is_err() {
                // The client has left; the provider is told to stop.
                let _ = JsFuture::from(from.cancel()).await;
                return (self, Some(Failure::ClientLeft));
            }
            out.clear();
            if let Some(refusal) = refusal {
                let _ = JsFuture::from(from.cancel()).await;
                let _ = JsFuture::from(to.close()).await;
                return (self, Some(Failure::Gateway(refusal.message.to_string())));
            }
            if is_last {
                let closed: Result<JsValue, JsValue> = JsFuture::from(to.close()).await;
                let broke_off = self.blocks.as_ref().is_some_and(|blocks| blocks.broke_off().get());
                let failure = match (broken, closed) {
                    (Some(error), _) => Some(reader.broken(&error)),
                    (None, Err(_)) => Some(Failure::ClientLeft),
                    (None, Ok(_)) => broke_off.then(|| Failure::Upstream(BROKE_OFF.to_owned())),
                };
                return (self, failure);
            }
        }
    }

    /// What may be kept of a block, and go on; `None` is the end.
    fn checked(&mut self, block: Option<&[u8]>) -> Vec<u8> {
        let mut kept = Vec::new();
        match (&mut self.examiner, block) {
            (Some(examiner), Some(block)) => self.screen.push(block, examiner, &mut kept),
            (Some(examiner), None) => self.screen.end(examiner, &mut kept),
            (None, block) => kept.extend_from_slice(block.unwrap_or_default()),
        }
        if !kept.is_empty() {
            self.copy.push(Uint8Array::from(kept.as_slice()));
        }
        kept
    }

    /// Adds to `out` what the client gets of what goes on.
    fn give(&mut self, kept: &[u8], is_end: bool, redactor: Option<&Redactor>, out: &mut Vec<u8>) {
        let translated = self.blocks.as_mut().map(|blocks| {
            let mut text = String::new();
            blocks.push(kept, &mut text);
            if is_end {
                blocks.end(&mut text);
            }
            text
        });
        let given = translated.as_deref().map_or(kept, str::as_bytes);
        match redactor {
            Some(redactor) => {
                let mut work = Restorer(redactor);
                self.restoring.push(given, &mut work, out);
                if is_end {
                    self.restoring.end(&mut work, out);
                }
            }
            None => out.extend_from_slice(given),
        }
    }

    /// How a stream ends that may not go on, in the format that its client reads.
    fn refusal(&self, refusal: &Refusal, exchange: &Exchange) -> String {
        let message = format!("{}: {}", refusal.message, refusal.description);
        let format = match exchange.unified {
            Some(_) => self.format,
            None => format_of(&exchange.call.rest),
        };
        let told = Told { status: refusal.status, kind: Some(refusal.code.to_string()), message };
        let body = translate::error(format, &told).to_string();
        match format {
            Format::Messages => format!("event: error\ndata: {body}\n\n"),
            Format::Responses => {
                let code = serde_json::json!({ "type": "error", "code": refusal.code.to_string(), "message": told.message, "param": null });
                format!("event: error\ndata: {code}\n\n")
            }
            _ => format!("data: {body}\n\n"),
        }
    }
}

/// The format of the API at a path.
fn format_of(rest: &str) -> Format {
    let has = |part: &str| rest.contains(part);
    if has("/messages") || has(":streamRawPredict") || has("v1/complete") {
        Format::Messages
    } else if has("streamGenerateContent") {
        Format::Gemini
    } else if rest.trim_end_matches('/').ends_with("responses") {
        Format::Responses
    } else {
        Format::Chat
    }
}
