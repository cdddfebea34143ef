//! Requests that ask how many tokens another one has, and their answers.

use crate::members;
use crate::translate::Format;
use crate::translate::json::Json;

/// What OpenAI's count takes of a request.
const OF_RESPONSES: &[&str] =
    &["model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls"];
const OF_MESSAGES: &[&str] = &["model", "messages", "system", "tools", "tool_choice", "thinking"];
const OF_CONVERSE: &[&str] = &["messages", "system", "toolConfig"];
const OF_GEMINI: &[&str] = &["contents", "systemInstruction", "tools", "toolConfig"];

/// The body of a count for what a provider would be asked. `is_wrapped` is true for Gemini's own API, which Vertex AI's is not quite.
pub fn body(to: Format, model: &str, asked: &Json, is_wrapped: bool) -> Option<Json> {
    let only = |names: &[&str]| {
        let members = asked.members().into_iter().flatten().filter(|(name, _)| names.contains(&name.as_str()));
        Json::Object(members.cloned().collect())
    };
    Some(match to {
        Format::Responses => only(OF_RESPONSES),
        Format::Messages => only(OF_MESSAGES),
        Format::Gemini if is_wrapped => {
            members! { "generateContentRequest": only(OF_GEMINI).with("model", format!("models/{model}")) }
        }
        Format::Gemini => only(OF_GEMINI),
        Format::Converse => members! { "input": members! { "converse": only(OF_CONVERSE) } },
        Format::Chat => return None,
    })
}

/// The answer of a count in the caller's format; `None` where it has no number.
pub fn answer(from: Format, answer: &Json) -> Option<Json> {
    let count = ["input_tokens", "totalTokens", "inputTokens"].iter().find_map(|name| answer.count(name))?;
    Some(match from {
        Format::Gemini => members! { "totalTokens": count },
        _ => members! { "input_tokens": count },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::request;

    #[test]
    fn a_count_is_asked_in_each_providers_words() {
        let asked = Json::parse(
            r#"{"model":"m","system":"Be brief.","messages":[{"role":"user","content":"hi"}],"tools":[{"name":"t","input_schema":{"type":"object"}}],"temperature":1}"#,
        );
        for (to, wanted) in [
            (Format::Responses, &["model", "input", "instructions", "tools"][..]),
            (Format::Gemini, &["contents", "systemInstruction", "tools"]),
            (Format::Converse, &["messages", "system", "toolConfig"]),
        ] {
            let translated = request(Format::Messages, to, asked.as_ref().unwrap(), "m", false, "m").unwrap();
            let counted = body(to, "m", &translated.body, false).unwrap();
            let inner = counted.at(&["input", "converse"]).unwrap_or(&counted);
            let mut names: Vec<&str> = inner.members().unwrap().iter().map(|(name, _)| name.as_str()).collect();
            let mut wanted = wanted.to_vec();
            names.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(names, wanted, "{to:?}");
        }
        assert_eq!(body(Format::Chat, "m", &Json::object(), false), None);
        let wrapped = body(Format::Gemini, "m", &members! { "contents": Vec::<Json>::new() }, true).unwrap();
        assert_eq!(wrapped.at(&["generateContentRequest", "model"]).and_then(Json::as_str), Some("models/m"));
    }

    #[test]
    fn a_number_is_told_in_the_callers_words() {
        for text in [
            r#"{"object":"response.input_tokens","input_tokens":11}"#,
            r#"{"totalTokens":11}"#,
            r#"{"inputTokens":11}"#,
        ] {
            let own = Json::parse(text).unwrap();
            assert_eq!(answer(Format::Messages, &own).unwrap().to_string(), r#"{"input_tokens":11}"#);
            assert_eq!(answer(Format::Gemini, &own).unwrap().to_string(), r#"{"totalTokens":11}"#);
        }
        assert_eq!(answer(Format::Messages, &Json::object()), None);
    }
}
