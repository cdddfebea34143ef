//! How much of a body is copied for the log, and as what it is kept.

use crate::http::headers::Headers;
use crate::wire::facts::{Framing, Usage};

/// What the log takes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    Nothing,
    /// The size alone, which no header tells.
    Size,
    /// What it says of itself, read in pieces.
    Facts,
    Whole,
}

/// Why a packed body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    Unknown,
    TooLong,
    Broken,
}

/// Bodies up to this many bytes are copied for the log, in either direction.
pub const MAX_BODY: usize = 10 * 1024 * 1024;

/// Up to this length bodies are read for the model that they name, in bytes: as much as providers take.
pub const MAX_READ: u64 = 32 * 1024 * 1024;

/// Whatever a body is in, so much of it is unpacked, in bytes.
const MIN_UNPACKED: usize = 1024 * 1024;

/// So many times as long as it came may a body become. Text has a tenth of that.
const MAX_RATIO: usize = 200;

/// `sized` tells that the size of the body is to be known, `by_model` that there are limits which ask for the model.
pub fn request_copying(headers: &Headers, sized: bool, by_model: bool) -> Copying {
    let length = headers.content_length();
    let is_up_to = |most: u64| length.is_none_or(|length| length <= most);
    let content_type = headers.get("content-type").unwrap_or("application/json").trim();
    let is_form = content_type.get(..19).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data"));
    if !is_form && is_text(content_type) && is_up_to(MAX_BODY as u64) {
        Copying::Whole
    } else if (is_form || by_model) && is_up_to(MAX_READ) {
        Copying::Facts
    } else if sized && length.is_none() {
        Copying::Size
    } else {
        Copying::Nothing
    }
}

/// How long a body may become when it is unpacked, in bytes.
pub fn unpacked_limit(packed: usize) -> usize {
    packed.saturating_mul(MAX_RATIO).clamp(MIN_UNPACKED, MAX_BODY)
}

pub fn response_copying(headers: &Headers) -> Copying {
    let short = headers.content_length().is_none_or(|length| length <= MAX_BODY as u64);
    let content_type = headers.get("content-type");
    let text = content_type.is_none_or(is_text);
    // What may have counts is read whatever its length.
    let counts = content_type.is_some_and(|kind| Framing::of(kind).is_some());
    if counts || (short && text) { Copying::Whole } else { Copying::Nothing }
}

pub fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    Framing::of(&kind).is_some()
        || kind.starts_with("text/")
        || kind.ends_with("+xml")
        || matches!(&*kind, "application/xml" | "application/x-www-form-urlencoded" | "application/javascript")
}

/// A body as the database keeps it. Bytes that are no UTF-8 are replaced: a row must stay readable.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Whether a body is text as far as its beginning tells, and not something packed.
pub fn begins_as_text(beginning: &[u8]) -> bool {
    let beginning = beginning.get(..64).unwrap_or(beginning);
    let is_utf8 = match std::str::from_utf8(beginning) {
        Ok(_) => true,
        // The last character may be cut in two.
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !beginning.iter().any(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x1e))
}

/// Bedrock counts tokens in headers where the model's own answer does not.
pub fn with_headers(usage: Usage, headers: &Headers) -> Usage {
    if usage.tokens_in.is_some() || usage.tokens_out.is_some() {
        return usage;
    }
    let counted = crate::wire::usage::from_headers(|name| headers.get(name));
    if counted.tokens_in.is_none() && counted.tokens_out.is_none() { usage } else { counted }
}

// === impl Packed ===

impl Packed {
    pub fn of_request(self) -> &'static str {
        match self {
            Self::Unknown => {
                "the body has a content-encoding that Tollgate does not know; it knows gzip, deflate, br and zstd"
            }
            Self::TooLong => "the compressed body becomes too long when it is unpacked: send it as it is",
            Self::Broken => "the body is not packed as its content-encoding says",
        }
    }

    pub fn of_answer(self) -> &'static str {
        match self {
            Self::Unknown => "the answer has a content-encoding that Tollgate does not know",
            Self::TooLong => "the compressed answer becomes too long when it is unpacked",
            Self::Broken => "the answer is not packed as its content-encoding says",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn only_text_of_bounded_length_is_copied() {
        for (kind, length, wanted) in [
            ("application/json", "12", Copying::Whole),
            ("text/event-stream; charset=utf-8", "12", Copying::Whole),
            ("application/json", "10485761", Copying::Whole),
            ("text/html", "10485761", Copying::Nothing),
            ("audio/mpeg", "12", Copying::Nothing),
            ("image/png", "12", Copying::Nothing),
        ] {
            assert_eq!(
                response_copying(&headers(&[("content-type", kind), ("content-length", length)])),
                wanted,
                "{kind}"
            );
        }
        for (kind, length, by_model, wanted) in [
            ("application/json", Some("12"), false, Copying::Whole),
            ("text/plain", None, false, Copying::Whole),
            ("application/json", Some("10485761"), false, Copying::Nothing),
            ("application/json", Some("27262976"), true, Copying::Facts),
            ("application/json", Some("33554433"), true, Copying::Nothing),
            ("Multipart/Form-Data; boundary=x", None, false, Copying::Facts),
            ("multipart/form-data; boundary=x", Some("26214400"), false, Copying::Facts),
            ("audio/wav", Some("9"), false, Copying::Nothing),
            ("audio/wav", None, false, Copying::Size),
            ("application/octet-stream", Some("9"), true, Copying::Facts),
        ] {
            let mut pairs = vec![("content-type", kind)];
            pairs.extend(length.map(|length| ("content-length", length)));
            assert_eq!(request_copying(&headers(&pairs), true, by_model), wanted, "{kind} {length:?} {by_model}");
        }
        assert_eq!(request_copying(&headers(&[("content-type", "audio/wav")]), false, false), Copying::Nothing);
    }

    #[test]
    fn what_is_packed_is_told_from_text() {
        for text in ["{\"a\":1}", "data: x\n\n", "", "\u{1e}{}", &"é".repeat(100), &format!("a{}", "é".repeat(100))] {
            assert!(begins_as_text(text.as_bytes()), "{text}");
        }
        for packed in [&b"\x1f\x8b\x08\0"[..], b"\x28\xb5\x2f\xfd", b"\x78\x9c\xab\x56", b"\x0b\x03\x80{"] {
            assert!(!begins_as_text(packed), "{packed:?}");
        }
    }

    #[test]
    fn what_is_unpacked_is_bounded_by_what_came() {
        for (packed, wanted) in [(10, MIN_UNPACKED), (10_000, 2_000_000), (1_000_000, MAX_BODY)] {
            assert_eq!(unpacked_limit(packed), wanted);
        }
    }

    #[test]
    fn what_is_no_utf8_is_kept_as_far_as_it_is() {
        assert_eq!(text(vec![b'a', 0xff, b'b']), "a\u{fffd}b");
    }
}
