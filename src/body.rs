//! How much of a body is copied for the log, and as what it is kept.

use crate::headers::Headers;
use crate::record::MAX_BODY;
use crate::wire::{self, Facts, Framing, ToolCalls, Usage};

/// What the log takes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    Nothing,
    /// The model's name, which a form has somewhere near its beginning or its end, and the size, if no header tells it.
    Ends,
    Whole,
}

/// Where a body is too long to copy, this much of its beginning and of its end is looked at, in bytes.
pub const END: u32 = 64 * 1024;

/// `sized` tells that the size of the body is to be known.
pub fn request_copying(headers: &Headers, sized: bool) -> Copying {
    let short = headers.content_length().is_none_or(|length| length <= MAX_BODY as u64);
    let content_type = headers.get("content-type").unwrap_or("application/json");
    if !short || headers.get("content-encoding").is_some() {
        Copying::Nothing
    } else if content_type.starts_with("multipart/form-data") {
        Copying::Ends
    } else if is_text(content_type) {
        Copying::Whole
    } else if sized && headers.content_length().is_none() {
        Copying::Ends
    } else {
        Copying::Nothing
    }
}

pub fn response_copying(headers: &Headers) -> Copying {
    let short = headers.content_length().is_none_or(|length| length <= MAX_BODY as u64);
    let text = headers.get("content-type").is_none_or(is_text);
    if short && text { Copying::Whole } else { Copying::Nothing }
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

/// The ranges of a long body that are looked at: the id and the model of an answer come first, its tokens last.
pub fn ends(length: u32) -> impl Iterator<Item = (u32, u32)> {
    let first = length.min(END);
    let last = length.saturating_sub(END).max(first);
    [(0, first), (last, length)].into_iter().filter(|(from, to)| from < to)
}

/// The facts of a body that was read in parts: what comes later is more recent.
pub fn merged(parts: impl Iterator<Item = Facts>) -> Facts {
    parts.fold(Facts::default(), |all, part| Facts {
        model: part.model.or(all.model),
        response_id: all.response_id.or(part.response_id),
        usage: if part.usage == Usage::default() { all.usage } else { part.usage },
        finish_reason: part.finish_reason.or(all.finish_reason),
        error: part.error.or(all.error),
        service_tier: part.service_tier.or(all.service_tier),
        tool_calls: if part.tool_calls == ToolCalls::default() { all.tool_calls } else { part.tool_calls },
    })
}

/// Bedrock counts tokens in headers where the model's own answer does not.
pub fn with_headers(usage: Usage, headers: &Headers) -> Usage {
    if usage.tokens_in.is_some() || usage.tokens_out.is_some() {
        return usage;
    }
    let counted = wire::usage::from_headers(|name| headers.get(name));
    if counted.tokens_in.is_none() && counted.tokens_out.is_none() { usage } else { counted }
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
            ("application/json", "10485761", Copying::Nothing),
            ("audio/mpeg", "12", Copying::Nothing),
            ("image/png", "12", Copying::Nothing),
        ] {
            assert_eq!(
                response_copying(&headers(&[("content-type", kind), ("content-length", length)])),
                wanted,
                "{kind}"
            );
        }
        assert_eq!(
            request_copying(&headers(&[("content-type", "multipart/form-data; boundary=x")]), false),
            Copying::Ends
        );
        assert_eq!(
            request_copying(&headers(&[("content-type", "audio/wav"), ("content-length", "9")]), true),
            Copying::Nothing
        );
    }

    #[test]
    fn the_ends_of_a_body_do_not_overlap() {
        assert_eq!(ends(0).collect::<Vec<_>>(), []);
        assert_eq!(ends(10).collect::<Vec<_>>(), [(0, 10)]);
        assert_eq!(ends(70_000).collect::<Vec<_>>(), [(0, 65_536), (65_536, 70_000)]);
        assert_eq!(ends(1_000_000).collect::<Vec<_>>(), [(0, 65_536), (934_464, 1_000_000)]);
    }

    #[test]
    fn what_is_no_utf8_is_kept_as_far_as_it_is() {
        assert_eq!(text(vec![b'a', 0xff, b'b']), "a\u{fffd}b");
    }
}
