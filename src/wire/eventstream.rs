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
    use proptest::prelude::*;

    /// A frame as Amazon would send it, with empty checksums.
    pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in headers {
            head.push(u8::try_from(name.len()).unwrap());
            head.extend(name.as_bytes());
            head.push(STRING);
            head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            head.extend(value.as_bytes());
        }
        let length = u32::try_from(PRELUDE + head.len() + payload.len() + CHECKSUM).unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(u32::try_from(head.len()).unwrap().to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(head);
        frame.extend(payload);
        frame.extend([0; 4]);
        frame
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

    proptest! {
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
