//! What a provider's own endpoint for OpenAI's clients ignores or refuses although its own language can say it. A chat completion that
//! asks for such a thing is translated, and any other goes to that endpoint as it is.

use crate::translate::json::Json;

/// A thing that a chat completion may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    /// A member of the request with a value.
    Member(&'static str),
    /// A form of the answer beside text.
    Form,
    /// A part of a message, by its type.
    Part(&'static str),
    /// A mark of a message, of a part or of a tool.
    Mark(&'static str),
    /// A tool whose calls are to fit its schema.
    Strict,
}

use Thing::{Form, Mark, Member, Part, Strict};

/// Anthropic's documentation names them as ignored (<https://platform.claude.com/docs/en/api/openai-sdk>); Google answers that it knows
/// no such name. Sorted.
const BEYOND: &[(&str, &[Thing])] = &[
    (
        "anthropic",
        &[Form, Member("reasoning_effort"), Part("file"), Mark("cache_control"), Mark("thinking_blocks"), Strict],
    ),
    (
        "google-ai-studio",
        &[
            Member("frequency_penalty"),
            Member("presence_penalty"),
            Member("seed"),
            Part("file"),
            Mark("thinking_blocks"),
        ],
    ),
];

/// Whether a request asks a provider for more than its own endpoint for OpenAI's clients does.
pub fn asks(slug: &str, body: &str) -> bool {
    let Some((_, things)) = BEYOND.iter().find(|(known, _)| *known == slug) else { return false };
    // Most requests have none of the words, and need not be read.
    if !things.iter().any(|thing| body.contains(thing.word())) {
        return false;
    }
    Json::parse(body).is_some_and(|body| things.iter().any(|thing| thing.is_in(&body)))
}

// === impl Thing ===

impl Thing {
    /// A word that a body with the thing has.
    fn word(self) -> &'static str {
        match self {
            Form => "response_format",
            Strict => "strict",
            Member(word) | Part(word) | Mark(word) => word,
        }
    }

    fn is_in(self, body: &Json) -> bool {
        let (messages, tools) = (body.list("messages"), body.list("tools"));
        let parts = || messages.iter().flat_map(|message| message.list("content"));
        match self {
            Member(name) => body.get(name).is_some(),
            Form => body.at(&["response_format", "type"]).and_then(Json::as_str).is_some_and(|kind| kind != "text"),
            Part(kind) => parts().any(|part| part.text("type") == Some(kind)),
            Mark(name) => messages.iter().chain(parts()).chain(tools).any(|marked| marked.get(name).is_some()),
            Strict => tools.iter().filter_map(|tool| tool.get("function")).any(|own| own.flag("strict") == Some(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_asks_decides() {
        let anthropic = [
            (r#"{"messages":[{"role":"user","content":"strict response_format cache_control"}]}"#, false),
            (r#"{"reasoning_effort":null,"response_format":{"type":"text"},"messages":[]}"#, false),
            (r#"{"reasoning_effort":"low","messages":[]}"#, true),
            (r#"{"response_format":{"type":"json_schema","json_schema":{}},"messages":[]}"#, true),
            (r#"{"messages":[{"content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}"#, true),
            (r#"{"messages":[{"content":[{"type":"file","file":{}}]}]}"#, true),
            (r#"{"messages":[{"role":"assistant","content":"x","thinking_blocks":[]}]}"#, true),
            (r#"{"messages":[],"tools":[{"type":"function","function":{"name":"a","strict":false}}]}"#, false),
            (r#"{"messages":[],"tools":[{"type":"function","function":{"name":"a","strict":true}}]}"#, true),
            (r#"{"seed":5,"messages":[]}"#, false),
        ];
        for (body, wanted) in anthropic {
            assert_eq!(asks("anthropic", body), wanted, "{body}");
            assert!(!asks("groq", body), "{body}");
        }
        for (body, wanted) in [
            (r#"{"seed":5,"messages":[]}"#, true),
            (r#"{"frequency_penalty":0,"messages":[]}"#, true),
            (r#"{"reasoning_effort":"low","messages":[]}"#, false),
        ] {
            assert_eq!(asks("google-ai-studio", body), wanted, "{body}");
        }
    }
}
