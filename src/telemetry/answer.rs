//! What a destination says to spans that it was sent. <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has them, but for so many that it would not have, and why.
    Taken { rejected: u64, why: String },
    /// It may take them later: after so many milliseconds, where it says so.
    Busy(Option<u64>),
    /// It is never going to take them.
    Refused,
}

/// Reasons lose their end, in characters.
const MAX_WHY: usize = 300;

/// No destination is waited for longer, in seconds.
const MAX_WAIT: u64 = 3_600;

// === impl Answer ===

impl Answer {
    pub fn of(status: u16, retry_after: Option<&str>, is_protobuf: bool, body: &[u8]) -> Self {
        match status {
            200..=299 => {
                let (rejected, why) = if is_protobuf { in_protobuf(body) } else { in_json(body) }.unwrap_or_default();
                Self::Taken { rejected, why: why.chars().take(MAX_WHY).collect() }
            }
            429 | 502..=504 => {
                let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
                Self::Busy(seconds.map(|seconds| seconds.min(MAX_WAIT) * 1_000))
            }
            _ => Self::Refused,
        }
    }
}

/// `{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "…"}}`
fn in_json(body: &[u8]) -> Option<(u64, String)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let partial = answer.get("partialSuccess")?;
    let rejected = partial.get("rejectedSpans");
    // Numbers of 64 bits are texts, and some write numbers all the same.
    let rejected = rejected.and_then(|number| number.as_u64().or_else(|| number.as_str()?.parse().ok()));
    let why = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some((rejected.unwrap_or(0), why.to_owned()))
}

fn in_protobuf(body: &[u8]) -> Option<(u64, String)> {
    let partial = field(body, 1)?;
    let (mut rejected, mut why) = (0, String::new());
    let mut rest = partial;
    while let Some((number, content)) = next(&mut rest) {
        match (number, content) {
            (1, Content::Number(number)) => rejected = number,
            (2, Content::Bytes(text)) => why = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    // A negative one makes no sense.
    Some((if rejected > i64::MAX as u64 { 0 } else { rejected }, why))
}

enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while let Some((number, content)) = next(&mut message) {
        if let (true, Content::Bytes(bytes)) = (number == wanted, content) {
            return Some(bytes);
        }
    }
    None
}

/// The next field of a protobuf message; `None` at its end, and where it is none.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Content<'a>)> {
    let tag = varint(rest)?;
    let content = match tag & 7 {
        0 => Content::Number(varint(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Content::Bytes(bytes)
        }
        kind => {
            let (_, after) = rest.split_at_checked(match kind {
                1 => 8,
                5 => 4,
                _ => return None,
            })?;
            *rest = after;
            Content::Number(0)
        }
    };
    Some((tag >> 3, content))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << (7 * shift);
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_the_standard_names_is_tried_again() {
        let busy = |status| matches!(Answer::of(status, None, false, b""), Answer::Busy(None));
        assert_eq!((100..600).filter(|status| busy(*status)).collect::<Vec<u16>>(), [429, 502, 503, 504]);
        assert_eq!(Answer::of(503, Some(" 7 "), true, b""), Answer::Busy(Some(7_000)));
        assert_eq!(Answer::of(503, Some("99999999"), true, b""), Answer::Busy(Some(3_600_000)));
        assert_eq!(Answer::of(429, Some("soon"), true, b""), Answer::Busy(None));
        for status in [301, 400, 401, 413, 415, 500] {
            assert_eq!(Answer::of(status, Some("1"), false, b""), Answer::Refused, "{status}");
        }
    }

    #[test]
    fn what_was_not_taken_is_told_in_both_encodings() {
        let taken = |rejected, why: &str| Answer::Taken { rejected, why: why.to_owned() };
        for (body, wanted) in [
            ("", taken(0, "")),
            ("{}", taken(0, "")),
            (r#"{"partialSuccess":{}}"#, taken(0, "")),
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, taken(3, "too old")),
            (r#"{"partialSuccess":{"rejectedSpans":3}}"#, taken(3, "")),
            ("<html>", taken(0, "")),
        ] {
            assert_eq!(Answer::of(200, None, false, body.as_bytes()), wanted, "{body}");
        }
        assert_eq!(Answer::of(200, None, true, b"\x0a\x09\x08\xac\x02\x12\x04late"), taken(300, "late"));
        assert_eq!(Answer::of(200, None, true, b""), taken(0, ""));
        assert_eq!(Answer::of(200, None, true, b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), taken(0, ""));
    }

    proptest! {
        #[test]
        fn no_answer_does_harm(status in 100_u16..600, is_protobuf in any::<bool>(), body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Answer::of(status, None, is_protobuf, &body);
        }
    }
}
