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

    /// How many bytes follow the frames that were read.
    pub fn left(&self) -> usize {
        self.rest.len()
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

/// The complete frames of a body, some of them with another payload, with the checksums that it needs.
pub fn rewritten<'a>(body: &[u8], payloads: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
    let (mut made, mut rest) = (Vec::with_capacity(body.len()), body);
    for payload in payloads {
        let Some((frame, behind)) = length(rest).and_then(|length| rest.split_at_checked(length)) else { break };
        rest = behind;
        let other = payload.and_then(|payload| with_payload(frame, payload));
        made.extend_from_slice(other.as_deref().unwrap_or(frame));
    }
    made
}

fn with_payload(frame: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let headers = number(frame.get(4..)?)?;
    let (headers, before) = frame.get(PRELUDE..frame.len().checked_sub(CHECKSUM)?)?.split_at_checked(headers)?;
    let wrapped = unwrapped(before).and_then(|_| {
        let mut chunk: Value = serde_json::from_slice(before).ok()?;
        *chunk.get_mut("bytes")? = STANDARD.encode(payload).into();
        Some(chunk.to_string().into_bytes())
    });
    let payload = wrapped.as_deref().unwrap_or(payload);
    let length = u32::try_from(PRELUDE + headers.len() + payload.len() + CHECKSUM).ok()?;
    let mut made = length.to_be_bytes().to_vec();
    made.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    made.extend_from_slice(&checksum(&made).to_be_bytes());
    made.extend_from_slice(headers);
    made.extend_from_slice(payload);
    made.extend_from_slice(&checksum(&made).to_be_bytes());
    Some(made)
}

/// CRC-32, as frames have it (that of gzip).
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1));
        }
    }
    !sum
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
pub mod tests;
