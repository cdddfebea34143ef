//! Which events of a stream are worth reading. A stream has thousands of events, and all but a few only bring a piece of
//! text. Nothing is understood here: what an event that is picked out says is read where its format says it. A model that
//! writes such names costs a moment, and nothing else.

/// Whether an event can say anything about its answer: token counts, an end, an error. In one pass.
pub fn is_telling(data: &[u8]) -> bool {
    memchr::memchr_iter(b'"', data).filter_map(|at| member(data.get(at + 1..)?)).any(|(name, value)| {
        let begins = |with: &[&[u8]]| with.iter().any(|with| name.starts_with(with));
        let ends = |with: &[&[u8]]| with.iter().any(|with| name.ends_with(with));
        match value {
            [b'{', ..] => {
                begins(&[b"usage", b"x_groq", b"meta", b"metrics", b"error", b"incomplete_details", b"groundingMeta"])
                    || ends(&[b"Metrics", b"_error"])
            }
            [b'"', value @ ..] => {
                ends(&[b"finish_reason", b"finishReason", b"stop_reason", b"stopReason", b"completionReason"])
                    || begins(&[b"err"])
                    || (matches!(name, b"type" | b"object" | b"event_type") && is_error(value))
            }
            [b'n', ..] | [] => false,
            _ => begins(&[b"error"]),
        }
    })
}

/// Whether a kind of event is one of those that report an error.
fn is_error(kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b'"').next().unwrap_or(kind);
    kind.ends_with(b"error") || kind.ends_with(b"failed")
}

/// The name of the member that begins with a name, and its value with what follows. Inside a text the quotes are escaped, so
/// what merely looks like a member there is not taken for one.
fn member(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_' && *byte != b'-')?;
    let (name, rest) = text.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start().strip_prefix(b":")?;
    Some((name, rest.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_can_say_something_is_told_from_text() {
        let event = br#"{"id":"a","model":"m","choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],"usage":null}"#;
        assert!(!is_telling(event));
        for member in [
            r#""usage" : {"prompt_tokens":9}"#,
            r#""usageMetadata":{}"#,
            r#""x_groq":{"usage":1}"#,
            r#""meta":{"billed_units":{}}"#,
            r#""metrics":{"input_token_count":1}"#,
            r#""amazon-bedrock-invocationMetrics":{"inputTokenCount":1}"#,
            r#""choices":[{"finish_reason":"stop"}]"#,
            r#""native_finish_reason":"stop""#,
            r#""finishReason": "STOP""#,
            r#""delta":{"stop_reason":"end_turn"}"#,
            r#""stopReason":"end_turn""#,
            r#""completionReason":"FINISH""#,
            r#""incomplete_details":{"reason":"max_output_tokens"}"#,
            r#""error":{"message":"no"}"#,
            r#""error":"no""#,
            r#""errors":[1]"#,
            r#""last_error":{"code":"x"}"#,
            r#""type" : "error","code":1"#,
            r#""type":"response.failed""#,
            r#""type":"conversation.response.error""#,
            r#""object":"error""#,
        ] {
            assert!(is_telling(format!("{{{member}}}").as_bytes()), "{member}");
            let quoted = format!("{{\"text\":{}}}", Value::from(member));
            assert!(!is_telling(quoted.as_bytes()), "{quoted}");
        }
        for quiet in [
            r#"{"choices":[{"finish_reason":null}],"usage":null,"error":null}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"error"}}"#,
        ] {
            assert!(!is_telling(quiet.as_bytes()), "{quiet}");
        }
    }
}
