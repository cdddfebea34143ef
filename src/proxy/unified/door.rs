//! The addresses of the unified API, and which format each of them speaks.

use crate::http::query::{self, Query};
use crate::translate::Format;

/// The segment of a path in a provider's place, for all formats. `compat` is the older one, for chat completions alone.
pub const AI: &str = "ai";

/// What is asked at an address of the unified API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    pub format: Format,
    pub work: Work,
    /// The model, where the path names it.
    pub model: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Answer,
    /// A path that asks for a stream by itself.
    Stream,
    /// The same without `alt=sse`: Google then gives an array.
    Array,
    /// How many tokens a request has.
    Count,
}

// === impl Door ===

impl Door {
    /// The same, as the query asks for it.
    pub fn asked(self, query: &str) -> Self {
        let is_array =
            self.work == Work::Stream && Query::parse(query.trim_start_matches('?')).get("alt") != Some("sse");
        Self { work: if is_array { Work::Array } else { self.work }, ..self }
    }

    /// True for a path that asks for a stream by itself.
    pub fn streams(&self) -> bool {
        matches!(self.work, Work::Stream | Work::Array)
    }
}

/// What is below `compat`. Cloudflare's documentation writes the path in the singular, too; and clients send the version twice or not
/// at all.
pub fn of_compat(path: &str) -> Option<Door> {
    let path = path.trim_start_matches("v1/");
    matches!(path, "chat/completions" | "chat/completion").then_some(CHAT)
}

const CHAT: Door = Door { format: Format::Chat, work: Work::Answer, model: None };

/// What is below `ai`.
pub fn of_ai(path: &str) -> Option<Door> {
    let path = path.trim_end_matches('/');
    if let Some(below) =
        ["v1beta/models/", "v1/models/", "v1alpha/models/"].iter().find_map(|start| path.strip_prefix(start))
    {
        return of_gemini(below);
    }
    let door = |format, work| Some(Door { format, work, model: None });
    // Clients whose base URL has the version send it twice.
    match path.trim_start_matches("v1/") {
        "chat/completions" => door(Format::Chat, Work::Answer),
        "responses" => door(Format::Responses, Work::Answer),
        "messages" => door(Format::Messages, Work::Answer),
        "messages/count_tokens" => door(Format::Messages, Work::Count),
        _ => None,
    }
}

/// `{model}:{verb}`, where the model may have slashes and colons of its own.
fn of_gemini(path: &str) -> Option<Door> {
    let path = query::understood(path);
    let (model, verb) = path.rsplit_once(':')?;
    let work = match verb {
        "generateContent" => Work::Answer,
        "streamGenerateContent" => Work::Stream,
        "countTokens" => Work::Count,
        _ => return None,
    };
    (!model.is_empty()).then(|| Door { format: Format::Gemini, work, model: Some(model.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_format() {
        for (path, format, work, model) in [
            ("v1/chat/completions", Format::Chat, Work::Answer, None),
            ("chat/completions/", Format::Chat, Work::Answer, None),
            ("v1/v1/messages", Format::Messages, Work::Answer, None),
            ("v1/messages/count_tokens", Format::Messages, Work::Count, None),
            ("v1/responses", Format::Responses, Work::Answer, None),
            ("v1beta/models/openai/gpt-5:generateContent", Format::Gemini, Work::Answer, Some("openai/gpt-5")),
            (
                "v1beta/models/aws-bedrock/us-east-1/a.b-v1:0:streamGenerateContent",
                Format::Gemini,
                Work::Stream,
                Some("aws-bedrock/us-east-1/a.b-v1:0"),
            ),
            ("v1beta/models/openai%2Fgpt-5%3AcountTokens", Format::Gemini, Work::Count, Some("openai/gpt-5")),
        ] {
            let wanted = Door { format, work, model: model.map(str::to_owned) };
            assert_eq!(of_ai(path), Some(wanted), "{path}");
        }
        for path in [
            "",
            "v1/models",
            "v1/models/gpt-5",
            "v1/embeddings",
            "v1beta/models/:generateContent",
            "v1/responses/resp_1",
        ] {
            assert_eq!(of_ai(path), None, "{path}");
        }
        let stream = |query| of_ai("v1beta/models/openai/gpt-5:streamGenerateContent").unwrap().asked(query).work;
        for query in ["?alt=sse", "?key=k&alt=sse"] {
            assert_eq!(stream(query), Work::Stream, "{query}");
        }
        for query in ["", "?alt=json", "?key=k"] {
            assert_eq!(stream(query), Work::Array, "{query}");
        }
        assert_eq!(of_ai("v1/messages").unwrap().asked("").work, Work::Answer);
        assert_eq!((of_compat("v1/v1/chat/completion"), of_compat("v1/messages")), (Some(CHAT), None));
    }
}
