use super::*;
use crate::conversation::part::Shown;
use crate::wire::{self, Framing};
use std::collections::BTreeMap;
use std::path::Path;

const SHOWN: Shown = Shown { text: 20_000, data: 1_000_000 };

fn shown(request: &Value, response: &str) -> Vec<(String, Value)> {
    let request = request.to_string();
    let view = read(Some(&request), Some(response).filter(|text| !text.is_empty()));
    view.turns
        .iter()
        .map(|turn| (turn.role.to_owned(), turn.parts.iter().map(|part| part.show(SHOWN)).collect()))
        .collect()
}

fn kinds(turns: &[(String, Value)]) -> Vec<String> {
    turns
        .iter()
        .map(|(role, parts)| {
            format!(
                "{role}: {}",
                parts
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|part| part["type"].as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            )
        })
        .collect()
}

#[test]
fn openais_chat_with_parallel_calls_and_an_image() {
    let request = json!({ "model": "m", "temperature": 0.5, "tools": [{ "type": "function", "function": { "name": "find", "parameters": {} } }], "messages": [
        { "role": "system", "content": "s" },
        { "role": "user", "content": [{ "type": "text", "text": "see" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] },
        { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "function": { "name": "find", "arguments": "{\"a\":1}" } }, { "id": "c2", "function": { "name": "find", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c1", "content": "one" }, { "role": "tool", "tool_call_id": "c2", "content": "two" },
    ] });
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"Both\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\".\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let turns = shown(&request, stream);
    assert_eq!(
        kinds(&turns),
        [
            "system: text",
            "user: text image",
            "assistant: tool_call tool_call",
            "tool: tool_result",
            "tool: tool_result",
            "assistant: text"
        ]
    );
    assert_eq!(
        turns[1].1[1],
        json!({ "type": "image", "media_type": "image/png", "bytes": 3, "data": "AAAA", "url": null })
    );
    assert_eq!(turns[2].1[0], json!({ "type": "tool_call", "id": "c1", "name": "find", "arguments": "{\"a\":1}" }));
    assert_eq!(turns[3].1[0]["parts"][0]["text"], "one");
    assert_eq!(turns[5].1[0]["text"], "Both.");
    let view = read(Some(&request.to_string()), Some(stream));
    assert_eq!((view.format, view.tools[0]["name"].as_str(), view.warnings.len()), ("openai-chat", Some("find"), 0));
    assert_eq!(view.params, *json!({ "model": "m", "temperature": 0.5 }).as_object().unwrap());
}

#[test]
fn anthropics_thoughts_tools_and_results() {
    let request = json!({ "system": [{ "type": "text", "text": "s" }], "messages": [
        { "role": "user", "content": "q" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm", "signature": "x" }, { "type": "tool_use", "id": "t1", "name": "look", "input": { "a": 1 } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{ "type": "text", "text": "no" }] }] },
        { "role": "user", "content": [{ "type": "image", "source": { "type": "base64", "media_type": "image/jpeg", "data": "AAAA" } }, { "type": "document", "source": { "type": "url", "url": "https://x/y.pdf" } }] },
    ] });
    let stream = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"well\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"yes\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let turns = shown(&request, stream);
    assert_eq!(
        kinds(&turns),
        [
            "system: text",
            "user: text",
            "assistant: thinking tool_call",
            "user: tool_result",
            "user: image document",
            "assistant: thinking text"
        ]
    );
    assert_eq!(turns[2].1[0], json!({ "type": "thinking", "text": "hm", "signed": true }));
    assert_eq!((&turns[3].1[0]["error"], &turns[3].1[0]["id"]), (&json!(true), &json!("t1")));
    assert_eq!((&turns[5].1[0]["text"], &turns[5].1[1]["text"]), (&json!("well"), &json!("yes")));
    assert_eq!(read(Some(&request.to_string()), None).format, "anthropic-messages");
}

#[test]
fn geminis_calls_get_the_ids_of_their_results() {
    let request = json!({ "systemInstruction": { "parts": [{ "text": "s" }] }, "contents": [
        { "role": "user", "parts": [{ "text": "q" }, { "inlineData": { "mimeType": "image/png", "data": "AAAA" } }] },
        { "role": "model", "parts": [{ "functionCall": { "name": "a", "args": {} } }, { "functionCall": { "name": "b", "args": { "x": 1 } } }] },
        { "role": "user", "parts": [{ "functionResponse": { "name": "b", "response": { "r": 2 } } }, { "functionResponse": { "name": "a", "response": { "r": 1 } } }] },
    ] });
    let answer = json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "hm", "thought": true }, { "text": "done" }] } }] });
    let turns = shown(&request, &answer.to_string());
    assert_eq!(
        kinds(&turns),
        [
            "system: text",
            "user: text image",
            "assistant: tool_call tool_call",
            "user: tool_result tool_result",
            "assistant: thinking text"
        ]
    );
    assert_eq!((&turns[2].1[0]["id"], &turns[3].1[1]["id"]), (&json!("call_0"), &json!("call_0")));
    assert_eq!(turns[3].1[0]["parts"][0], json!({ "type": "unknown", "json": { "r": 2 } }));
}

#[test]
fn responses_bedrock_cohere_and_others() {
    let responses = json!({ "instructions": "s", "input": [
        { "role": "user", "content": [{ "type": "input_text", "text": "q" }] },
        { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm" }], "encrypted_content": "x" },
        { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c", "output": "r" },
    ] });
    let answer = json!({ "output": [{ "type": "reasoning", "summary": [] }, { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "a", "annotations": [{ "type": "url_citation", "url": "https://x", "title": "X" }] }, { "type": "refusal", "refusal": "no" }] }] });
    let turns = shown(&responses, &answer.to_string());
    assert_eq!(
        kinds(&turns),
        [
            "system: text",
            "user: text",
            "assistant: thinking tool_call",
            "tool: tool_result",
            "assistant: thinking text citation refusal"
        ]
    );
    assert_eq!((&turns[2].1[0]["text"], &turns[2].1[0]["signed"]), (&json!("hm"), &json!(true)));
    let bedrock = json!({ "messages": [{ "role": "user", "content": [{ "text": "q" }, { "image": { "format": "png", "source": { "bytes": "AAAA" } } }] }, { "role": "assistant", "content": [{ "toolUse": { "toolUseId": "t", "name": "f", "input": {} } }] }, { "role": "user", "content": [{ "toolResult": { "toolUseId": "t", "content": [{ "json": { "a": 1 } }] } }] }] });
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [{ "reasoningContent": { "reasoningText": { "text": "hm", "signature": "s" } } }, { "text": "a" }] } } });
    assert_eq!(
        kinds(&shown(&bedrock, &answer.to_string())),
        ["user: text image", "assistant: tool_call", "user: tool_result", "assistant: thinking text"]
    );
    let cohere = json!({ "message": "q", "preamble": "s" });
    assert_eq!(
        kinds(&shown(&cohere, &json!({ "text": "a" }).to_string())),
        ["system: text", "user: text", "assistant: text"]
    );
    let universal = json!([{ "provider": "openai", "query": { "messages": [{ "role": "user", "content": "q" }] } }, { "query": {} }]);
    let view = read(Some(&universal.to_string()), None);
    assert_eq!((view.format, view.warnings.len(), view.turns.len()), ("universal", 1, 1));
    let embedding =
        shown(&json!({ "input": ["a", "b"] }), &json!({ "data": [{ "embedding": [0.1, 0.2] }] }).to_string());
    assert_eq!(
        (kinds(&embedding), &embedding[2].1[0]["text"]),
        (
            vec!["user: text".to_owned(), "user: text".to_owned(), "assistant: text".to_owned()],
            &json!("[a vector of 2 numbers]")
        )
    );
    let image = shown(&json!({ "prompt": "a cat" }), &json!({ "data": [{ "b64_json": "AAAA" }] }).to_string());
    assert_eq!(kinds(&image), ["user: text", "assistant: image"]);
    assert_eq!(
        kinds(&shown(&json!({ "prompt": "x" }), &json!({ "choices": [{ "text": "a" }, { "text": "b" }] }).to_string()))
            [0],
        "user: text"
    );
}

#[test]
fn several_answers_are_several_turns_and_pieces_of_one_are_one() {
    let two = json!({ "choices": [{ "message": { "content": "a" } }, { "message": { "content": "b" } }] });
    assert_eq!(
        kinds(&shown(&json!({ "prompt": "x" }), &two.to_string())),
        ["user: text", "assistant: text", "assistant: text"]
    );
    let candidate = |text: &str| json!({ "content": { "role": "model", "parts": [{ "text": text }] } });
    let two = json!({ "candidates": [candidate("a"), candidate("b")] });
    assert_eq!(shown(&json!({ "contents": [] }), &two.to_string()).len(), 3);
    let cited = json!({ "content": [
        { "type": "text", "text": "The egg is " },
        { "type": "text", "text": "soft", "citations": [{ "url": "https://x", "title": "X" }] },
        { "type": "text", "text": "." },
        { "type": "tool_use", "id": "t", "name": "f", "input": {} },
        { "type": "text", "text": "Next" },
    ] });
    let turns = shown(&json!({ "messages": [] }), &cited.to_string());
    let answer = turns.last().unwrap();
    assert_eq!(
        (&answer.1[0]["text"], &answer.1[1]["url"], &answer.1[3]["text"]),
        (&json!("The egg is soft."), &json!("https://x"), &json!("Next"))
    );
    // What a user sends in several parts stays so.
    let parts = json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }] });
    assert_eq!(kinds(&shown(&parts, "")), ["user: text text"]);
    let replicate = json!({ "input": { "prompt": "q", "system_prompt": "s", "top_k": 5 } });
    assert_eq!(
        kinds(&shown(&replicate, &json!({ "output": ["Ra", "men"] }).to_string())),
        ["system: text", "user: text", "assistant: text"]
    );
}

#[test]
fn what_has_no_known_shape_is_shown_as_it_is() {
    assert_eq!(kinds(&shown(&json!({ "odd": [1, 2] }), r#"{"also":"odd"}"#)), ["user: unknown", "assistant: unknown"]);
    let view = read(Some("no json"), Some("<html>"));
    assert_eq!((view.turns.len(), view.warnings[0].as_str()), (2, "The request is no JSON"));
    let error = read(None, Some(r#"{"error":{"message":"bad key"}}"#));
    assert_eq!((error.warnings[0].as_str(), error.turns.len()), ("The answer is an error: bad key", 1));
    let cut = read(None, Some("data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n"));
    assert_eq!(cut.warnings, ["The stream ended without a finish"]);
    assert_eq!(read(None, None), View { format: "unknown", ..View::default() });
}

#[test]
fn hostile_content_stays_text_and_addresses_stay_addresses() {
    let nasty = "<img src=x onerror=alert(1)>\u{202e}\u{0}";
    let turns = shown(
        &json!({ "messages": [{ "role": "user", "content": nasty }, { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "javascript:alert(1)" } }, { "type": "image_url", "image_url": { "url": "data:text/html,<script>" } }] }] }),
        "",
    );
    assert_eq!(turns[0].1[0]["text"], nasty);
    assert_eq!((&turns[1].1[0]["url"], &turns[1].1[1]["data"]), (&Value::Null, &Value::Null));
    let long = shown(&json!({ "messages": [{ "role": "user", "content": "x".repeat(30_000) }] }), "");
    assert_eq!((&long[0].1[0]["truncated"], &long[0].1[0]["chars"]), (&json!(true), &json!(30_000)));
    let mut deep = json!("x");
    for _ in 0..60 {
        deep = json!([{ "type": "tool_result", "content": [deep] }]);
    }
    assert!(!shown(&json!({ "messages": [{ "role": "user", "content": deep }] }), "").is_empty());
    let many: Vec<Value> =
        (0..1_000).map(|n| json!({ "role": if n % 2 == 0 { "user" } else { "assistant" }, "content": "x" })).collect();
    assert_eq!(shown(&json!({ "messages": many }), "").len(), 1_000);
}

/// What every provider's fixture says is in its conversation, whole and streamed.
#[test]
fn every_fixture_is_a_conversation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut wrong = Vec::new();
    for provider in std::fs::read_dir(root).unwrap() {
        let folder = provider.unwrap().path();
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: BTreeMap<String, Value> = serde_json::from_str(&expected).unwrap();
        for (file, expected) in &expected {
            let framing = if file.ends_with(".eventstream") { Framing::AwsEventStream } else { Framing::Json };
            let body = wire::stored(framing, std::fs::read(folder.join(file)).unwrap());
            let request = expected.get("request").map(Value::to_string);
            let view = read(request.as_deref(), Some(&body));
            let parts = |answered: bool| {
                view.turns.iter().filter(move |turn| turn.answered == answered).flat_map(|turn| &turn.parts)
            };
            let text = parts(true).filter_map(|part| match part {
                Part::Text(text) | Part::Refusal(text) => Some(text.as_str()),
                _ => None,
            });
            let text = text.collect::<Vec<_>>().join("\n");
            let calls: Vec<String> = parts(true)
                .filter_map(|part| match part {
                    Part::ToolCall { name, arguments, .. } => Some(format!("{name}({arguments})")),
                    _ => None,
                })
                .collect();
            let mut complain = |what: String| wrong.push(format!("{}/{file}: {what}", folder.display()));
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let wanted: Vec<&str> = expected
                .get("calls")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let answer = expected["answer"].as_str();
            if answer.is_some_and(|answer| !words(&text).contains(&words(answer))) {
                complain(format!("said {text:?}, wanted {answer:?}"));
            }
            if calls != wanted {
                complain(format!("called {calls:?}, wanted {wanted:?}"));
            }
            let is_read = answer.is_some() || !wanted.is_empty();
            if is_read && parts(true).any(|part| matches!(part, Part::Unknown(_))) {
                complain(format!("has unknown parts: {:?}", parts(true).collect::<Vec<_>>()));
            }
            if expected.get("question").is_some_and(|question| question != "")
                && parts(false).any(|part| matches!(part, Part::Unknown(_)))
            {
                complain(format!("asks unknown parts: {:?}", parts(false).collect::<Vec<_>>()));
            }
            // What is shown of an answer is never nothing, and nothing encoded is a text.
            if parts(true).next().is_none() {
                complain("shows nothing".to_owned());
            }
            if parts(true)
                .any(|part| matches!(part, Part::Text(text) if text.len() > 300 && !text.contains([' ', '{'])))
            {
                complain("shows encoded data as text".to_owned());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
