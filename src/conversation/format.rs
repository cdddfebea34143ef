//! Which provider's form a request has, by what stands in it.

use serde_json::{Map, Value};

pub fn format_of(object: &Map<String, Value>) -> &'static str {
    let has = |name: &str| object.contains_key(name);
    let messages = object.get("messages").and_then(Value::as_array);
    let is_block = |message: &Value, test: fn(&Value) -> bool| {
        message.get("content").and_then(Value::as_array).is_some_and(|all| all.iter().any(test))
    };
    if has("contents") {
        "gemini"
    } else if has("inferenceConfig")
        || messages.is_some_and(|all| {
            all.iter().any(|one| is_block(one, |part| part.get("type").is_none() && part.is_object()))
        })
    {
        "bedrock-converse"
    } else if has("anthropic_version")
        || (messages.is_some() && has("system"))
        || messages.is_some_and(|all| {
            all.iter().any(|one| {
                is_block(one, |part| {
                    part.get("type")
                        .is_some_and(|kind| kind == "tool_use" || kind == "tool_result" || kind == "thinking")
                })
            })
        })
    {
        "anthropic-messages"
    } else if messages.is_some() {
        "openai-chat"
    } else if has("input")
        && (has("instructions")
            || has("previous_response_id")
            || object
                .get("input")
                .is_some_and(|input| input.as_array().is_some_and(|all| all.iter().any(Value::is_object))))
    {
        "openai-responses"
    } else if has("chat_history") || has("message") {
        "cohere-chat"
    } else if has("prompt") {
        "completion"
    } else if has("input") || has("inputText") || has("texts") {
        "input"
    } else {
        "unknown"
    }
}
