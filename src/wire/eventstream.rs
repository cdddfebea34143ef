//! Amazon's binary event stream: frames of a length, headers, a payload and checksums, all big-endian.
//! <https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream>
//!
//! Checksums are not verified: TLS has done that, and a frame that makes no sense only costs the log a figure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// One frame: what it says, what kind of event it is, and the name of the exception that it reports, if it does. An
/// exception may have nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    pub payload: &'a [u8],
    pub event: &'a [u8],
    pub exception: Option<&'a [u8]>,
}

/// The complete frames of a body.
pub struct Frames<'a> {
    rest: &'a [u8],
}

/// Length of the frame, length of its headers, checksum of the two.
const PRELUDE: usize = 12;

const CHECKSUM: usize = 4;

/// A frame is at most 16 MB.
const MAX_FRAME: usize = 16 * 1024 * 1024;

/// The header type of strings, the only one that matters here.
const STRING: u8 = 7;

impl<'a> Frames<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Whether nothing follows the frames that were read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let length = number(self.rest)?;
        let headers = number(self.rest.get(4..)?)?;
        if !(PRELUDE + CHECKSUM..=MAX_FRAME).contains(&length) || headers > length - PRELUDE - CHECKSUM {
            return None;
        }
        let (frame, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let (headers, payload) = frame.get(PRELUDE..length - CHECKSUM)?.split_at_checked(headers)?;
        let frame = named(headers);
        Some(Frame { payload, ..frame })
    }
}

/// The length of the frame that begins here, once enough has come to tell.
pub fn length(bytes: &[u8]) -> Option<usize> {
    number(bytes).filter(|length| (PRELUDE + CHECKSUM..=MAX_FRAME).contains(length))
}

/// What a payload says: the model's own JSON, which `InvokeModelWithResponseStream` wraps in base64.
pub fn unwrapped(payload: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        bytes: &'a str,
    }
    let chunk: Chunk<'_> = serde_json::from_slice(payload).ok()?;
    STANDARD.decode(chunk.bytes).ok()
}

fn number(bytes: &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// What the headers of a frame say. An exception is one whose `:message-type` is `exception` or `error`.
fn named(mut headers: &[u8]) -> Frame<'_> {
    let (mut frame, mut failed, mut name) = (Frame::default(), None, None);
    while let Some((header, kind, value, rest)) = header(headers) {
        headers = rest;
        match header {
            _ if kind != STRING => {}
            b":message-type" => failed = Some(value).filter(|value| *value == b"exception" || *value == b"error"),
            b":error-message" => name = Some(value),
            b":exception-type" | b":error-code" => name = name.or(Some(value)),
            b":event-type" => frame.event = value,
            _ => {}
        }
    }
    frame.exception = failed.map(|failed| name.unwrap_or(failed));
    frame
}

/// The frames as text, a JSON document on each line, as a log can keep and show them. A frame says what it is outside of its
/// payload, so the name becomes that of a member around it.
pub fn lines(body: &[u8]) -> String {
    let mut lines = String::new();
    for frame in Frames::new(body) {
        if let Some(payload) = unwrapped(frame.payload) {
            lines.push_str(&String::from_utf8_lossy(&payload));
        } else {
            let name = String::from_utf8_lossy(frame.exception.unwrap_or(frame.event));
            let payload = String::from_utf8_lossy(frame.payload);
            let payload = if payload.trim().is_empty() { "null" } else { payload.trim() };
            lines.push_str(&format!("{{{}:{payload}}}", Value::from(name)));
        }
        lines.push('\n');
    }
    lines
}

/// Name, type and value of the first header, and what follows it.
type Header<'a> = (&'a [u8], u8, &'a [u8], &'a [u8]);

fn header(headers: &[u8]) -> Option<Header<'_>> {
    let (length, rest) = headers.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        9 => (16, rest),
        6 | 7 => {
            let length: [u8; 2] = rest.get(..2)?.try_into().ok()?;
            (usize::from(u16::from_be_bytes(length)), rest.get(2..)?)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, *kind, value, rest))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
    use aws_smithy_types::{DateTime, str_bytes::StrBytes};
    use proptest::prelude::*;

    /// A frame as Amazon sends it.
    pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let header = |(name, value): &(&str, &str)| Header::new((*name).to_owned(), text(value));
        encoded(&Message::new_from_parts(headers.iter().map(header).collect(), payload.to_vec()))
    }

    fn encoded(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_message_to(message, &mut bytes).unwrap();
        bytes
    }

    fn text(value: &str) -> HeaderValue {
        HeaderValue::String(StrBytes::from(value.to_owned()))
    }

    #[test]
    fn frames_are_found_and_exceptions_told_apart() {
        let mut body = frame(&[(":event-type", "chunk"), (":message-type", "event")], b"{\"a\":1}");
        body.extend(frame(&[(":message-type", "exception")], b"{\"message\":\"slow down\"}"));
        body.extend(frame(
            &[(":error-code", "busy"), (":error-message", "try later"), (":message-type", "error")],
            b"",
        ));
        let frames: Vec<_> = Frames::new(&body).collect();
        assert_eq!(
            frames,
            [
                Frame { payload: b"{\"a\":1}", event: b"chunk", exception: None },
                Frame { payload: b"{\"message\":\"slow down\"}", event: b"", exception: Some(b"exception") },
                Frame { payload: b"", event: b"", exception: Some(b"try later") },
            ]
        );
        let lines = "{\"chunk\":{\"a\":1}}\n{\"exception\":{\"message\":\"slow down\"}}\n{\"try later\":null}\n";
        assert_eq!(super::lines(&body), lines);
    }

    #[test]
    fn a_body_cut_at_any_byte_yields_the_frames_before_the_cut() {
        let mut body = Vec::new();
        for payload in ["{}", "{\"text\":\"é😀\"}", "{\"usage\":{}}"] {
            body.extend(frame(&[(":event-type", "x")], payload.as_bytes()));
        }
        let whole: Vec<_> = Frames::new(&body).collect();
        assert_eq!(whole.len(), 3);
        for cut in 0..=body.len() {
            let seen: Vec<_> = Frames::new(&body[..cut]).collect();
            assert_eq!(seen, whole[..seen.len()], "cut at {cut}");
        }
    }

    #[test]
    fn a_wrapped_payload_is_unwrapped() {
        assert_eq!(unwrapped(br#"{"bytes":"eyJhIjoxfQ==","p":"abc"}"#).as_deref(), Some(b"{\"a\":1}".as_slice()));
        assert_eq!(unwrapped(br#"{"usage":{}}"#), None);
        assert_eq!(unwrapped(br#"{"bytes":"***"}"#), None);
    }

    /// A header that says nothing to us, of every type there is.
    fn other_header() -> impl Strategy<Value = Header> {
        let value = prop_oneof![
            any::<bool>().prop_map(HeaderValue::Bool),
            any::<i8>().prop_map(HeaderValue::Byte),
            any::<i16>().prop_map(HeaderValue::Int16),
            any::<i32>().prop_map(HeaderValue::Int32),
            any::<i64>().prop_map(HeaderValue::Int64),
            any::<u128>().prop_map(HeaderValue::Uuid),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| HeaderValue::ByteArray(bytes.into())),
            any::<i32>().prop_map(|second| HeaderValue::Timestamp(DateTime::from_secs(second.into()))),
            "\\PC{0,40}".prop_map(|value| text(&value)),
        ];
        ("[a-z-]{1,40}", value).prop_map(|(name, value)| Header::new(name, value))
    }

    /// A message, and what is to be read of it.
    fn message() -> impl Strategy<Value = (Message, Vec<u8>, String, Option<String>)> {
        let others = || prop::collection::vec(other_header(), 0..4);
        let parts = (
            others(),
            others(),
            "[a-zA-Z]{0,30}",
            prop::option::of("\\PC{0,30}"),
            prop::collection::vec(any::<u8>(), 0..400),
        );
        parts.prop_map(|(before, behind, event, failure, payload)| {
            let mut headers = before;
            headers.push(Header::new(":event-type", text(&event)));
            headers.extend(behind);
            match &failure {
                Some(name) => headers.extend([
                    Header::new(":exception-type", text(name)),
                    Header::new(":message-type", text("exception")),
                ]),
                None => headers.push(Header::new(":message-type", text("event"))),
            }
            (Message::new_from_parts(headers, payload.clone()), payload, event, failure)
        })
    }

    proptest! {
        #[test]
        fn what_amazon_encodes_is_read_up_to_any_cut(all in prop::collection::vec(message(), 1..4), cut in any::<prop::sample::Index>()) {
            let wanted: Vec<Frame<'_>> = all
                .iter()
                .map(|(_, payload, event, failure)| Frame {
                    payload,
                    event: event.as_bytes(),
                    exception: failure.as_ref().map(String::as_bytes),
                })
                .collect();
            let mut ends = vec![0];
            let mut body = Vec::new();
            for (message, ..) in &all {
                let bytes = encoded(message);
                prop_assert_eq!(length(&bytes), Some(bytes.len()));
                body.extend(bytes);
                ends.push(body.len());
            }
            for cut in [cut.index(body.len()), body.len()] {
                let mut frames = Frames::new(&body[..cut]);
                let seen: Vec<Frame<'_>> = frames.by_ref().collect();
                prop_assert_eq!(seen.len(), ends.iter().filter(|end| **end <= cut).count() - 1);
                prop_assert_eq!(&seen[..], &wanted[..seen.len()]);
                prop_assert_eq!(frames.is_at_end(), ends.contains(&cut));
            }
        }

        /// Amazon's reader refuses a frame of which one byte is another; ours reads its payload where the lengths still fit, since a
        /// checksum says nothing that TLS has not said.
        #[test]
        fn a_wrong_checksum_costs_no_frame((message, payload, ..) in message(), wrong in 1u8.., of_prelude in any::<bool>(), at in 0usize..4) {
            let mut body = encoded(&message);
            let whole = body.len();
            let at = if of_prelude { PRELUDE - CHECKSUM } else { whole - CHECKSUM } + at;
            body[at] ^= wrong;
            body.extend(encoded(&message));
            prop_assert!(read_message_from(&mut &body[..whole]).is_err());
            let seen: Vec<&[u8]> = Frames::new(&body).map(|frame| frame.payload).collect();
            prop_assert_eq!(seen, [&payload[..], &payload[..]]);
        }

        #[test]
        fn whatever_amazon_reads_is_read_alike((message, ..) in message(), wrong in any::<u8>(), at in any::<prop::sample::Index>()) {
            let mut body = encoded(&message);
            let at = at.index(body.len());
            body[at] ^= wrong;
            let ours = Frames::new(&body).next();
            if let Ok(theirs) = read_message_from(&mut &body[..]) {
                prop_assert_eq!(ours.map(|frame| frame.payload), Some(&theirs.payload()[..]));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..200), length in 0u32..300, headers in 0u32..300) {
            let _ = Frames::new(&body).count();
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend(headers.to_be_bytes());
            framed.extend(body);
            let _ = Frames::new(&framed).count();
        }
    }
}
