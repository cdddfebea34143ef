//! How a stream begins: while another attempt may do better, a client gets nothing of one that fails before it says anything.

use crate::http::headers::Edits;
use crate::http::message_worker::Answer;
use crate::members;
use crate::platform::{blocks, js, now, within};
use crate::proxy::upstream_request::NoAnswer;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::wire::eventstream::Frames;
use crate::wire::sse::Events;
use crate::wire::{self, Framing};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::ReadableStream;

/// What the events at the beginning of a stream say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// No event is whole.
    Nothing,
    /// An answer was opened, and has no word yet.
    Opened,
    Begun,
    /// An error comes first, with the status that stands for it.
    Failed(u16),
}

/// Events that open an answer, or come before it, and have nothing of it.
const OPENING: &[&[u8]] =
    &[b"message_start", b"ping", b"response.created", b"response.queued", b"response.in_progress", b"messageStart"];

/// A stream whose first event does not end has begun, in bytes.
const MOST: usize = 64 * 1024;

/// How long an answer that was opened is held back, in milliseconds: a model may think for minutes before its first word.
const OPENED_MS: u64 = 1_000;

/// The beginning of a stream, as it comes. No event is read twice.
struct Opening {
    framing: Framing,
    /// What has come of the event that has not ended.
    pending: Vec<u8>,
    /// How many bytes have come in all.
    came: usize,
    beginning: Beginning,
}

// === impl Opening ===

impl Opening {
    fn new(framing: Framing) -> Self {
        Self { framing, pending: Vec::new(), came: 0, beginning: Beginning::Nothing }
    }

    /// Whether what came does not say yet how the stream begins.
    fn is_open(&self) -> bool {
        self.came < MOST && matches!(self.beginning, Beginning::Nothing | Beginning::Opened)
    }

    fn push(&mut self, piece: &[u8]) {
        // The end of an event may have come in several pieces.
        let seam = self.pending.len().saturating_sub(LONGEST_END - 1);
        self.pending.extend_from_slice(piece);
        self.came += piece.len();
        let consumed = match self.framing {
            Framing::AwsEventStream => self.frames(),
            _ if self.pending.get(seam..).is_some_and(has_end) => self.events(),
            _ => 0,
        };
        self.pending.drain(..consumed.min(self.pending.len()));
    }

    fn frames(&mut self) -> usize {
        let mut frames = Frames::new(&self.pending);
        let mut begins_at = 0;
        while let Some(frame) = frames.next() {
            let ends_at = self.pending.len() - frames.left();
            let told = || {
                let name = String::from_utf8_lossy(frame.exception.unwrap_or_default());
                members! { "error": members! { "type": &*name } }
            };
            let bytes = self.pending.get(begins_at..ends_at).unwrap_or_default();
            self.beginning = said(self.framing, frame.event, bytes, &told);
            begins_at = ends_at;
            if self.beginning != Beginning::Opened {
                break;
            }
        }
        begins_at
    }

    fn events(&mut self) -> usize {
        // `Events` leaves a byte order mark out of what it counts.
        let bytes = self.pending.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.pending);
        let mut events = Events::new(bytes);
        let mut begins_at = 0;
        while let Some(data) = events.next() {
            let told = || std::str::from_utf8(&data).ok().and_then(Json::parse).unwrap_or_default();
            let event = bytes.get(begins_at..events.consumed()).unwrap_or_default();
            self.beginning = said(self.framing, events.name(), event, &told);
            begins_at = events.consumed();
            if self.beginning != Beginning::Opened {
                break;
            }
        }
        self.pending.len() - bytes.len() + events.consumed()
    }
}

/// The longest end of an event: two line ends, of two bytes each.
const LONGEST_END: usize = 4;

/// Whether an empty line may be among the bytes. `\r\n` is a single line end.
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, b"\n\n" | b"\r\r" | b"\n\r"))
}

/// What one event says. `told` is its JSON, for an error's status.
fn said(framing: Framing, name: &[u8], bytes: &[u8], told: &dyn Fn() -> Json) -> Beginning {
    match wire::read(framing, 200, bytes).error {
        Some(_) => Beginning::Failed(status_of(&told())),
        None if OPENING.contains(&name) => Beginning::Opened,
        None => Beginning::Begun,
    }
}

/// The status that stands for an error within a stream.
fn status_of(event: &Json) -> u16 {
    let told = failure::read(event).or_else(|| failure::read(event.get("response")?));
    told.map_or(500, |failure| failure.status)
}

/// Waits for what a stream says first. A stream that says nothing is no answer. `first_byte_ms` is how long it may take from
/// `asked_at` on, and 0 is for ever.
pub async fn awaited(mut answer: Answer, first_byte_ms: u64, asked_at: u64) -> Result<Answer, NoAnswer> {
    let framing = answer.headers.get("content-type").and_then(Framing::of);
    let framing = framing.filter(|framing| matches!(framing, Framing::Sse | Framing::AwsEventStream));
    let is_read = answer.status < 300 && answer.whole.is_none() && answer.headers.get("content-encoding").is_none();
    let (Some(framing), Some(stream), true) = (framing, answer.response.body(), is_read) else { return Ok(answer) };
    let branches = stream.tee();
    let (ours, theirs): (ReadableStream, ReadableStream) =
        (branches.get(0).unchecked_into(), branches.get(1).unchecked_into());
    let broken = |error: &JsValue| NoAnswer {
        cause: format!("the answer broke off before its first event: {}", js::message(error)),
        waited_ms: None,
    };
    let reader = blocks::reader_of(&ours).map_err(|error| broken(&error))?;
    let mut opening = Opening::new(framing);
    while opening.is_open() {
        let left = first_byte_ms.saturating_sub(now().saturating_sub(asked_at));
        let most_ms = match opening.beginning {
            Beginning::Opened => Some(OPENED_MS),
            _ => (first_byte_ms > 0).then_some(left),
        };
        let next = blocks::block(&reader, 1, blocks::FIRST_BLOCK);
        let next = match most_ms {
            Some(most_ms) => within(most_ms, next).await,
            None => Some(next.await),
        };
        match next {
            Some(Ok(Some(piece))) => {
                answer.watch.came();
                opening.push(&piece.to_vec());
            }
            // What came goes on, and so does what follows.
            None if opening.beginning == Beginning::Opened => break,
            None => {
                answer.watch.stop();
                for cancelled in [reader.cancel(), theirs.cancel()] {
                    let _ = JsFuture::from(cancelled).await;
                }
                let cause = format!("no event of its stream came within {first_byte_ms} ms");
                return Err(NoAnswer { cause, waited_ms: Some(first_byte_ms) });
            }
            Some(Ok(None)) => {
                // The last event of some servers lacks its empty line.
                if framing == Framing::Sse {
                    opening.push(b"\n\n");
                }
                if matches!(opening.beginning, Beginning::Nothing | Beginning::Opened) {
                    let cause = "its stream ended before it said anything".to_owned();
                    return Err(NoAnswer { cause, waited_ms: None });
                }
                break;
            }
            Some(Err(error)) => return Err(broken(answer.watch.reason().as_ref().unwrap_or(&error))),
        }
    }
    let _ = JsFuture::from(reader.cancel()).await;
    if let Beginning::Failed(status) = opening.beginning {
        answer.failed = Some(status);
    }
    let made = js::answered(&answer.response, &theirs, &Edits::default().to_json());
    answer.response = made.map_err(|cause| NoAnswer { cause, waited_ms: None })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Beginning::{Begun, Failed, Nothing, Opened};

    /// What the bytes say, which is the same in pieces of any length.
    fn read(framing: Framing, bytes: &[u8]) -> Beginning {
        let in_pieces_of = |length: usize| {
            let mut opening = Opening::new(framing);
            for piece in bytes.chunks(length) {
                if opening.is_open() {
                    opening.push(piece);
                }
            }
            opening.beginning
        };
        let whole = in_pieces_of(bytes.len().max(1));
        for length in 1..bytes.len() {
            assert_eq!(in_pieces_of(length), whole, "pieces of {length}: {}", String::from_utf8_lossy(bytes));
        }
        whole
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        for end in ["\n", "\r\n", "\r"] {
            let mut opening = Opening::new(Framing::Sse);
            for _ in 0..100 {
                opening.push(format!("event: ping{end}data: {{}}{end}{end}: alive{end}{end}x").as_bytes());
                assert_eq!((opening.beginning, &opening.pending[..]), (Opened, &b"x"[..]));
                opening.push(format!("{end}{end}y").as_bytes());
                assert_eq!(opening.pending, b"y");
                opening.push(format!("{end}{end}").as_bytes());
            }
            // An event that has not ended is looked at where it grows.
            opening.push(format!("data: a{end}data: b{end}").as_bytes());
            assert!(!has_end(&opening.pending[opening.pending.len() - 10..]));
        }
    }

    #[test]
    fn a_stream_says_first_whether_it_fails() {
        let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let start =
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{}}}\n\n";
        let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}}}\n\n";
        let created =
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n";
        for (text, wanted) in [
            ("", Nothing),
            (": keep-alive\n\n", Nothing),
            ("data: {\"choices\"", Nothing),
            ("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n", Begun),
            ("data: {\"error\":{\"message\":\"no\",\"code\":429}}\n\ndata: [DONE]\n\n", Failed(429)),
            ("data: [{\"error\":{\"code\":503,\"message\":\"full\",\"status\":\"UNAVAILABLE\"}}]\n\n", Failed(503)),
            ("event: error\ndata: down\n\n", Failed(500)),
            (overloaded, Failed(529)),
            (start, Opened),
            (&format!("{start}event: ping\ndata: {{\"type\":\"ping\"}}\n\n"), Opened),
            (&format!("{start}{overloaded}"), Failed(529)),
            (&format!("\u{feff}{start}: alive\n\n{overloaded}"), Failed(529)),
            (&format!("{start}event: content_block_start\ndata: {{}}\n\n{overloaded}"), Begun),
            (created, Opened),
            (&format!("{created}{failed}"), Failed(429)),
        ] {
            assert_eq!(read(Framing::Sse, text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn frames_say_so_too() {
        use aws_smithy_eventstream::frame::write_message_to;
        use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
        let frame = |kind: &str, name: &str, payload: &'static str| {
            let header =
                |name: &str, value: &str| Header::new(name.to_owned(), HeaderValue::String(value.to_owned().into()));
            let named = if kind == "event" { ":event-type" } else { ":exception-type" };
            let message = Message::new(payload.as_bytes())
                .add_header(header(":message-type", kind))
                .add_header(header(named, name));
            let mut bytes = Vec::new();
            write_message_to(&message, &mut bytes).unwrap();
            bytes
        };
        let start = frame("event", "messageStart", r#"{"role":"assistant"}"#);
        let throttled = frame("exception", "throttlingException", r#"{"message":"Too many"}"#);
        let word = frame("event", "contentBlockDelta", r#"{"delta":{"text":"a"}}"#);
        for (bytes, wanted) in [
            (start[..20].to_vec(), Nothing),
            (start.clone(), Opened),
            (throttled.clone(), Failed(429)),
            ([&start[..], &throttled].concat(), Failed(429)),
            ([&start[..], &word, &throttled].concat(), Begun),
        ] {
            assert_eq!(read(Framing::AwsEventStream, &bytes), wanted);
        }
    }
}
