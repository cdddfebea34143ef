//! Answers that are looked at before they go on, for what must not leave, or that have placeholders of their request. The row and the
//! cache have what may be kept: placeholders, and never what they stand for.

use crate::dlp::{Check, Examiner, Redactor, Restorer, Screen, Work, is_media, rewritten};
use crate::guardrails::{Phase, Seen, Texts};
use crate::http::headers::Headers;
use crate::http::message_worker;
use crate::http::refusal::Refusal;
use crate::logs::call::{Failure, Outcome};
use crate::platform::allotment::{Allotment, GrowingAllotment};
use crate::platform::js;
use crate::proxy::copy::Copied;
use crate::proxy::exchange::Exchange;
use crate::proxy::guardrails;
use crate::proxy::judges::Judges;
use crate::proxy::request_screening::tell;
use crate::proxy::response::reader::{Broken, DIGESTS, Reader};
use crate::proxy::response::screened_stream;
use crate::proxy::response::translated::{changed, given};
use crate::proxy::response::ways::short;
use crate::proxy::screening::{BLOCKED, Screening};
use crate::proxy::stream_usage_worker;
use crate::wire::eventstream::Frames;
use crate::wire::{self, Framing, body};
use js_sys::{ArrayBuffer, Uint8Array};
use serde::de::IgnoredAny;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::Response;

/// A longer answer that is no stream is not looked at, in bytes.
const MAX_WHOLE: u64 = 12 * 1024 * 1024;

const TOO_LONG: &str = "the answer is too long to be looked at";
const NO_TEXT: &str = "the answer is no text";
const NO_ROOM: &str = "there is no memory to look at the answer";
const BINARY: &str = "What was found cannot be taken out of this binary event stream; ask without a stream.";

/// Whether an answer is looked at. One of the cache was when it came.
pub fn is_wanted(reader: &Reader, exchange: &Exchange) -> bool {
    if exchange.screening.is_none() && exchange.judges.is_none() {
        return false;
    }
    let kind = reader.headers.get("content-type").unwrap_or("");
    let is_looked_at =
        checked(exchange).is_some() || exchange.restores().is_some() || judged(reader, exchange).is_some();
    reader.status != 101 && !is_media(kind) && is_looked_at
}

fn checked(exchange: &Exchange) -> Option<&Rc<Screening>> {
    exchange.screening.as_ref().filter(|screening| !exchange.call.cached && screening.dlp.is_for(Check::Response))
}

/// What asks models about this answer. Errors and embeddings have nothing to judge.
fn judged(reader: &Reader, exchange: &Exchange) -> Option<Rc<Judges>> {
    let is_answer = !exchange.call.cached && reader.status < 300 && exchange.call.kind() != Some("embedding");
    exchange.judges.clone().filter(|judges| is_answer && judges.guardrails.is_for(Phase::Response))
}

pub async fn screened(
    upstream: Response,
    whole: Option<Result<ArrayBuffer, String>>,
    mut reader: Reader,
    mut exchange: Exchange,
) -> Result<Response, Broken> {
    exchange.cache.keeps(reader.status, &reader.headers);
    let kind = reader.headers.get("content-type").unwrap_or("").to_owned();
    let framing = Framing::of(&kind).unwrap_or(Framing::Json);
    let is_stream = reader.status < 300 && matches!(framing, Framing::Sse | Framing::Lines);
    let at_hand = reader.is_at_hand(&exchange);
    // The runtime unpacks a compressed body for its reader.
    reader.headers.0.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    let examiner = checked(&exchange).map(|screening| screening.examiner(exchange.call.dlp.clone()));
    let judges = judged(&reader, &exchange);
    if is_stream
        && !at_hand
        && whole.is_none()
        && let Some(stream) = upstream.body()
    {
        return screened_stream::given(&upstream, stream, reader, exchange, (examiner, judges))
            .map_err(|broken| *broken);
    }
    let taken = reader.whole(&upstream, whole, MAX_WHOLE).await;
    let mut room = GrowingAllotment::default();
    let taken = match taken {
        Ok(Ok(buffer)) if room.add(3 * u64::from(buffer.byte_length())) => Ok(Ok(buffer)),
        Ok(Ok(_)) => Ok(Err(NO_ROOM)),
        Ok(Err(_)) => Ok(Err(TOO_LONG)),
        Err(cause) => Err(cause),
    };
    let buffer = match taken {
        Ok(Ok(buffer)) => buffer,
        // What was asked to be looked at is not given unseen, and what is to be put back cannot be.
        Ok(Err(why)) => {
            exchange.call.dlp.unscanned(Check::Response, why);
            let refusal = Refusal::data_loss(true, format!("Tollgate could not look at it: {why}."));
            return Ok(refused(reader, None, &refusal, exchange).await);
        }
        Err(cause) => return Err((Box::new(exchange), format!("the answer broke off: {cause}"))),
    };
    let bytes = js::bytes(&buffer);
    let framing = framed(framing, &bytes);
    let (kept, examiner) = looked_at(&bytes, framing, &kind, examiner);
    let is_blocked = examiner.as_ref().is_some_and(|(examiner, is_readable)| {
        examiner.is_blocked() || (!is_readable && examiner.dlp.is_strict(Check::Response))
    });
    let mut why = BLOCKED;
    if let Some((mut examiner, is_readable)) = examiner {
        if !is_readable {
            why = if framing == Framing::AwsEventStream { BINARY } else { NO_TEXT };
            examiner.report.unscanned(Check::Response, why);
        }
        exchange.call.dlp = examiner.report;
    }
    tell(&mut exchange);
    let kept = kept.map(|kept| Uint8Array::from(kept.as_slice()).buffer());
    if is_blocked {
        let stored = if why == NO_TEXT || why == BINARY { None } else { Some(kept.unwrap_or(buffer)) };
        return Ok(refused(reader, stored, &Refusal::data_loss(true, why), exchange).await);
    }
    let kept = kept.unwrap_or(buffer);
    if let Some(judges) = judges {
        let (text, content) = Texts::response(&wire::stored(framing, js::bytes(&kept)));
        let seen = Seen { text: &text, content: &content, length: text.chars().count(), is_whole: true };
        let verdict = judges.judged(Phase::Response, &seen, &exchange.runtime).await;
        if let Err(refusal) = guardrails::noted(&judges, Phase::Response, &verdict, &mut exchange) {
            return Ok(refused(reader, Some(kept), &refusal, exchange).await);
        }
    }
    finished(upstream, kept, framing, reader, exchange)
}

/// Leaves of an answer that its client does not get what may be kept. What cannot be looked at is not kept.
pub fn stored(buffer: &mut ArrayBuffer, reader: &Reader, exchange: &mut Exchange) {
    let Some(screening) = checked(exchange).filter(|_| exchange.collect_payload) else { return };
    let examiner = screening.examiner(exchange.call.dlp.clone());
    let kind = reader.headers.get("content-type").unwrap_or("");
    let framing = Framing::of(kind).unwrap_or(Framing::Json);
    let bytes = js::bytes(buffer);
    let (kept, examined) = looked_at(&bytes, framed(framing, &bytes), kind, Some(examiner));
    let Some((examiner, is_readable)) = examined else { return };
    exchange.call.dlp = examiner.report;
    if let Some(kept) = kept {
        *buffer = Uint8Array::from(kept.as_slice()).buffer();
    } else if !is_readable {
        *buffer = ArrayBuffer::new(0);
    }
}

/// What an answer is, whatever its content type says: events under another name would be read as one text, in which a number that comes
/// in parts is none.
fn framed(framing: Framing, bytes: &[u8]) -> Framing {
    if framing != Framing::AwsEventStream && is_events(bytes) { Framing::Sse } else { framing }
}

fn is_events(bytes: &[u8]) -> bool {
    [&b"data:"[..], b"event:", b"id:", b":"].iter().any(|begin| bytes.trim_ascii_start().starts_with(begin))
}

/// What may be kept of a body, if it differs from what came, and whether all of it could be read.
fn looked_at(
    bytes: &[u8],
    framing: Framing,
    kind: &str,
    examiner: Option<Examiner>,
) -> (Option<Vec<u8>>, Option<(Examiner, bool)>) {
    let Some(mut examiner) = examiner else { return (None, None) };
    let mut out = Vec::new();
    match framing {
        Framing::Sse => {
            let mut screen = Screen::default();
            screen.push(bytes, &mut examiner, &mut out);
            screen.end(&mut examiner, &mut out);
            if examiner.is_blocked() {
                out = Vec::new();
            }
            (Some(out), Some((examiner, true)))
        }
        Framing::AwsEventStream => {
            let other = reframed(bytes, &mut examiner);
            seen(other, examiner)
        }
        _ if !kind.is_empty() && !body::is_text(kind) => (None, Some((examiner, false))),
        _ if let Some(spans) = elements(bytes) => {
            let other = respanned(bytes, &spans, &mut examiner);
            seen(other, examiner)
        }
        _ => {
            let read = examiner.read(bytes, None);
            (read.rewritten, Some((examiner, read.is_read)))
        }
    }
}

/// What a stream that was looked at event by event has become. Nothing is kept of one that is blocked.
fn seen(other: Option<Vec<u8>>, examiner: Examiner) -> (Option<Vec<u8>>, Option<(Examiner, bool)>) {
    let is_readable = other.is_some();
    match examiner.is_blocked() {
        true => (Some(Vec::new()), Some((examiner, true))),
        false => (other, Some((examiner, is_readable))),
    }
}

/// Gives an answer that was looked at, with what its placeholders stand for where that is asked.
fn finished(
    upstream: Response,
    kept: ArrayBuffer,
    mut framing: Framing,
    reader: Reader,
    exchange: Exchange,
) -> Result<Response, Broken> {
    let mut edits = exchange.marks(reader.status, &reader.headers);
    for name in ["content-encoding", "content-length"].iter().chain(DIGESTS) {
        edits.remove(*name);
    }
    let mut status = None;
    let mut bytes = js::bytes(&kept);
    if exchange.translation().is_some() {
        let given = given(&exchange, &reader, framing, &bytes);
        changed(&mut edits, given.content_type);
        status = given.status;
        bytes = given.text.into_bytes();
        framing = Framing::Sse;
    } else {
        if stream_usage_worker::is_cut(&exchange, reader.status, &reader.headers) {
            bytes = js::bytes(&stream_usage_worker::cut(&kept));
        }
        let fields = exchange.links().fields(reader.status, &reader.headers);
        if !fields.is_empty()
            && let Some(text) = exchange.links().rewritten(&fields, &bytes)
        {
            bytes = text.into_bytes();
        }
    }
    if reader.status >= 400
        && exchange.call.secrets.has_kept()
        && let Some(masked) = exchange.call.secrets.for_caller().bytes(&bytes)
    {
        bytes = masked;
    }
    if let Some(redactor) = exchange.restores()
        && let Some(restored) = restored(&bytes, framing, redactor)
    {
        bytes = restored;
    }
    let edits = edits.to_json();
    let base = match status {
        None => upstream,
        Some(status) => match js::answer(&JsValue::NULL, status, "", &upstream.headers()) {
            Ok(base) => base,
            Err(cause) => return Err((Box::new(exchange), cause)),
        },
    };
    let body = Uint8Array::from(bytes.as_slice()).buffer();
    let allotment = Allotment::of(u64::from(kept.byte_length())).unwrap_or_default();
    short(Ok(kept), allotment, reader, exchange, |_| js::answered(&base, &body, &edits))
}

/// A binary event stream of which some texts become others. `None` where it is not known which event has become what.
fn reframed(bytes: &[u8], work: &mut dyn Work) -> Option<Vec<u8>> {
    let unwrapped = |payload: &[u8]| line(wire::eventstream::unwrapped(payload).as_deref().unwrap_or(payload));
    let before: Vec<Vec<u8>> = Frames::new(bytes).map(|frame| unwrapped(frame.payload)).collect();
    let changed = changed_events(&before, work)?;
    Some(wire::eventstream::rewritten(bytes, changed.iter().map(Option::as_deref)))
}

/// JSON on one line. A line's end within a text has an escape.
fn line(json: &[u8]) -> Vec<u8> {
    json.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
}

/// What becomes of each of some events, of which a text may be in several. `None` where it is not known which has become what.
fn changed_events(before: &[Vec<u8>], work: &mut dyn Work) -> Option<Vec<Option<Vec<u8>>>> {
    let (mut screen, mut out) = (Screen::default(), Vec::new());
    for event in before {
        screen.push(&[b"data: ", event.as_slice(), b"\n\n"].concat(), work, &mut out);
    }
    screen.end(work, &mut out);
    // Each event has stayed one, in its place.
    let mut after = Vec::with_capacity(before.len());
    let mut rest = out.as_slice();
    while let Some(end) = memchr::memmem::find(rest, b"\n\n") {
        after.push(rest.get(..end)?.strip_prefix(b"data: ")?);
        rest = rest.get(end + 2..)?;
    }
    if after.len() != before.len() {
        return None;
    }
    Some(before.iter().zip(after).map(|(before, after)| (before != after).then(|| after.to_vec())).collect())
}

/// Where the elements are of a stream that is an array, as Gemini's is without `alt=sse`.
/// <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>
fn elements(bytes: &[u8]) -> Option<Vec<(usize, usize)>> {
    let blanks = |from: usize| bytes.get(from..).map_or(0, |rest| rest.len() - rest.trim_ascii_start().len());
    let mut at = blanks(0);
    if bytes.get(at) != Some(&b'[') || memchr::memmem::find(bytes, b"\"candidates\"").is_none() {
        return None;
    }
    let mut all = Vec::new();
    loop {
        at += 1;
        at += blanks(at);
        if bytes.get(at) != Some(&b'{') {
            return None;
        }
        let mut values = serde_json::Deserializer::from_slice(bytes.get(at..)?).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let end = at + values.byte_offset();
        all.push((at, end));
        at = end + blanks(end);
        match bytes.get(at) {
            Some(b',') => {}
            Some(b']') => return Some(all),
            _ => return None,
        }
    }
}

/// An array whose elements are events, of which some texts become others. `None` where it is not known which has become what.
fn respanned(bytes: &[u8], spans: &[(usize, usize)], work: &mut dyn Work) -> Option<Vec<u8>> {
    let before: Vec<Vec<u8>> = spans.iter().filter_map(|(start, end)| bytes.get(*start..*end).map(line)).collect();
    let (mut made, mut copied) = (Vec::with_capacity(bytes.len()), 0);
    for ((start, end), other) in spans.iter().zip(changed_events(&before, work)?) {
        if let Some(other) = other {
            made.extend_from_slice(bytes.get(copied..*start).unwrap_or(&[]));
            made.extend_from_slice(&other);
            copied = *end;
        }
    }
    made.extend_from_slice(bytes.get(copied..).unwrap_or(&[]));
    Some(made)
}

/// A body with what its placeholders stand for.
pub fn restored(bytes: &[u8], framing: Framing, redactor: &Redactor) -> Option<Vec<u8>> {
    if framing == Framing::AwsEventStream {
        return reframed(bytes, &mut Restorer(redactor));
    }
    if let Some(spans) = elements(bytes) {
        return respanned(bytes, &spans, &mut Restorer(redactor));
    }
    if is_events(bytes) {
        let (mut screen, mut out, mut work) = (Screen::default(), Vec::new(), Restorer(redactor));
        screen.push(bytes, &mut work, &mut out);
        screen.end(&mut work, &mut out);
        return Some(out);
    }
    rewritten(bytes, |place| {
        let is_json = matches!(place.text.trim_start().as_bytes().first(), Some(b'{' | b'['));
        redactor.restored(&place.text, is_json && !place.is_plain())
    })
}

/// Refuses to give an answer. Its row says what it used, for it was paid.
async fn refused(reader: Reader, stored: Option<ArrayBuffer>, refusal: &Refusal, mut exchange: Exchange) -> Response {
    tell(&mut exchange);
    let response = message_worker::response(&exchange.reply(refusal));
    let own = Headers(vec![("content-type".to_owned(), "application/json".to_owned())]);
    message_worker::edit(&response.headers(), &exchange.marks(refusal.status, &own));
    let outcome = match stored {
        Some(buffer) => {
            let copied = Copied::of(&buffer, Allotment::default());
            reader.read(copied, exchange.collect_payload).await
        }
        None => Outcome { size: None, ..reader.outcome },
    };
    let failure = Some(Failure::Gateway(refusal.message.to_string()));
    exchange.finish(Outcome { status: Some(refusal.status), failure, ..outcome }, response)
}
