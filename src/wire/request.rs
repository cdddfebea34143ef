//! What a request's body says about itself.

use super::document::Found;
use memchr::memmem;

/// What the gateway wants to know of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub model: Option<String>,
    /// True when the caller asked for a stream in the body.
    pub stream: bool,
    /// How long the answer may become.
    pub max_tokens: Option<u64>,
}

/// The longest value of a form's `model` field that is taken for one, in bytes.
const MAX_FIELD: usize = 200;

/// Reads a JSON body, or a part of a form. What cannot be read says nothing.
pub fn read_request(content_type: Option<&str>, body: &[u8]) -> RequestFacts {
    let content_type = content_type.unwrap_or("application/json");
    if let Some(boundary) = boundary(content_type) {
        return RequestFacts {
            model: field(body, boundary, "model"),
            stream: field(body, boundary, "stream").as_deref() == Some("true"),
            max_tokens: None,
        };
    }
    match serde_json::from_slice(body) {
        Ok(Found::Document(document)) => {
            let inner = document.inner.iter().find_map(|inner| inner.max_tokens);
            let max_tokens = document.max_tokens.or(inner);
            RequestFacts { model: document.model.or(document.version), stream: document.stream, max_tokens }
        }
        _ => RequestFacts::default(),
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// The value of a form field. A part begins with the boundary at the start of a line and ends at the next; a file that
/// merely contains the words of a field has neither.
fn field(body: &[u8], boundary: &str, name: &str) -> Option<String> {
    let delimiter = format!("--{boundary}\r\n");
    let starts = memmem::find_iter(body, delimiter.as_bytes());
    starts.filter_map(|start| body.get(start + delimiter.len()..)).find_map(|part| {
        let (headers, content) = split(part, b"\r\n\r\n")?;
        let headers = std::str::from_utf8(headers).ok()?;
        let disposition = headers
            .split("\r\n")
            .find(|line| line.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("content-disposition:")))?;
        let parameters: Vec<&str> = disposition.split(';').map(str::trim).collect();
        let is_field = parameters.contains(&&*format!("name=\"{name}\""))
            && !parameters.iter().any(|parameter| parameter.starts_with("filename"));
        let (value, _) = split(content, b"\r\n--")?;
        let short = is_field && !value.is_empty() && value.len() <= MAX_FIELD;
        short.then(|| String::from_utf8(value.to_vec()).ok()).flatten()
    })
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = memmem::find(text, at)?;
    Some((text.get(..found)?, text.get(found + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(body: &str) -> RequestFacts {
        read_request(Some("application/json; charset=utf-8"), body.as_bytes())
    }

    #[test]
    fn the_model_of_a_json_body_is_found() {
        let facts = json(
            r#"{"messages":[{"role":"user","content":"\"model\":\"x\"","model":"y"}],"model":"gpt-4o","stream":true}"#,
        );
        assert_eq!(facts, RequestFacts { model: Some("gpt-4o".to_owned()), stream: true, max_tokens: None });
        assert_eq!(json(r#"{"model_id":"eleven_v3"}"#).model.as_deref(), Some("eleven_v3"));
        for odd in [
            r#"{"model":5}"#,
            r#"{"model":null}"#,
            r#"["model"]"#,
            "model",
            "",
            r#"{"model":"gpt"#,
            &"[".repeat(10_000),
        ] {
            assert_eq!(json(odd), RequestFacts::default());
        }
    }

    #[test]
    fn the_bound_of_an_answer_is_found_in_every_dialect() {
        for body in [
            r#"{"max_tokens":7}"#,
            r#"{"max_completion_tokens":7,"messages":[{"max_tokens":9}]}"#,
            r#"{"max_output_tokens":7}"#,
            r#"{"generationConfig":{"maxOutputTokens":7}}"#,
            r#"{"inferenceConfig":{"maxTokens":7}}"#,
        ] {
            assert_eq!(json(body).max_tokens, Some(7), "{body}");
        }
        for odd in [r#"{"max_tokens":"7"}"#, r#"{"max_tokens":-1}"#, r#"{"max_tokens":null}"#, "{}"] {
            assert_eq!(json(odd).max_tokens, None, "{odd}");
        }
    }

    #[test]
    fn the_model_of_a_form_is_found_and_a_file_does_not_fool() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nname=\"model\"\r\n\r\nfake\r\n\
            --XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XX\r\ncontent-disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--XX--\r\n";
        for boundary in ["XX", "\"XX\""] {
            let facts = read_request(Some(&format!("multipart/form-data; boundary={boundary}")), body.as_bytes());
            assert_eq!(facts, RequestFacts { model: Some("whisper-1".to_owned()), stream: true, max_tokens: None });
        }
        for cut in 0..body.len() {
            let facts = read_request(Some("multipart/form-data; boundary=XX"), &body.as_bytes()[..cut]);
            assert!(facts.model.is_none_or(|model| model == "whisper-1"));
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..200), kind in "\\PC{0,40}") {
            let _ = read_request(Some(&kind), &body);
            let _ = read_request(Some("multipart/form-data; boundary=a"), &body);
        }
    }
}
