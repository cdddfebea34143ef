use super::*;
use crate::wire::{self, Framing};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_format_gives_its_text() {
    for (response, wanted) in [
        (json!({ "choices": [{ "message": { "role": "assistant", "content": "hi" } }] }), "hi"),
        (json!({ "choices": [{ "text": "hi" }] }), "hi"),
        (
            json!({ "output": [{ "type": "reasoning", "content": [] }, { "type": "message", "content": [{ "type": "output_text", "text": "hi" }] }] }),
            "hi",
        ),
        (json!({ "content": [{ "type": "thinking", "thinking": "…" }, { "type": "text", "text": "hi" }] }), "hi"),
        (
            json!({ "candidates": [{ "content": { "parts": [{ "text": "…", "thought": true }, { "text": "hi" }] } }] }),
            "hi",
        ),
        (json!({ "message": { "content": [{ "type": "text", "text": "hi" }] } }), "hi"),
        (json!({ "output": { "message": { "content": [{ "text": "hi" }] } } }), "hi"),
        (json!({ "result": { "response": "hi" }, "success": true }), "hi"),
        (json!([{ "generated_text": "hi" }]), "hi"),
    ] {
        let text = response.to_string();
        assert_eq!(Conversation::read(None, Some(&text)).output(), Some(wanted), "{text}");
    }
    for stream in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"h\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"i\"}}]}\n\ndata: [DONE]\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}\r\n\r\n",
        "data: {\"response\":\"hi\"}\n\n",
        "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"hi\"}}}}\n\n",
    ] {
        assert_eq!(Conversation::read(None, Some(stream)).output(), Some("hi"), "{stream}");
    }
}

#[test]
fn requests_become_chat_messages() {
    let chat = json!([message("system", "be brief"), message("user", "hello")]);
    for request in [
        json!({ "messages": chat }),
        json!({ "system": "be brief", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hello" }] }] }),
        json!({ "instructions": "be brief", "input": "hello" }),
        json!({ "systemInstruction": { "parts": [{ "text": "be brief" }] }, "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] }),
        json!({ "preamble": "be brief", "message": "hello" }),
    ] {
        let read = Conversation::read(Some(&request.to_string()), None);
        assert_eq!(json!(read.messages), chat, "{request}");
        assert_eq!(read.input(), "system: be brief\nuser: hello");
        assert_eq!(read.example(), None);
    }
    let read = Conversation::read(Some(r#"{"prompt":"hello"}"#), Some(r#"{"choices":[{"text":"hi"}]}"#));
    assert_eq!(read.example().unwrap()["messages"], json!([message("user", "hello"), message("assistant", "hi")]));
    assert_eq!(read.input(), "hello");
}

#[test]
fn tool_calls_are_part_of_an_example() {
    let calls = json!([{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
    let response = json!({ "choices": [{ "message": { "content": null, "tool_calls": calls } }] });
    let read = Conversation::read(Some(r#"{"messages":[{"role":"user","content":"x"}]}"#), Some(&response.to_string()));
    assert_eq!(read.example().unwrap()["messages"][1]["tool_calls"], calls);
}

#[test]
fn nothing_comes_from_nonsense() {
    for text in ["", "{}", "[]", "null", "data: x", "<html>", "\"text\""] {
        let read = Conversation::read(Some(text), Some(text));
        assert_eq!((read.output(), read.example()), (None, None), "{text}");
    }
}

/// What every provider's fixture says as text, whole and streamed.
#[test]
fn every_fixture_has_its_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut wrong = Vec::new();
    for provider in std::fs::read_dir(root).unwrap() {
        let folder = provider.unwrap().path();
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: BTreeMap<String, Value> = serde_json::from_str(&expected).unwrap();
        let mut answers = BTreeMap::new();
        for (file, expected) in &expected {
            let kind = file.rsplit_once('.').unwrap();
            let framing = match kind.1 {
                "eventstream" => Framing::AwsEventStream,
                _ => Framing::Json,
            };
            let body = wire::stored(framing, std::fs::read(folder.join(file)).unwrap());
            let request = expected.get("request").map(Value::to_string);
            let read = Conversation::read(request.as_deref(), Some(&body));
            let calls: Vec<Value> = read
                .answer
                .iter()
                .filter_map(|answer| answer.get("tool_calls")?.as_array())
                .flatten()
                .map(|call| {
                    shown(&json!({ "tool_calls": [call] })).trim_matches(['[', ']']).replacen("calls ", "", 1).into()
                })
                .collect();
            let found = json!({ "question": read.input(), "answer": read.output(), "calls": calls });
            let wanted = json!({
                "question": expected.get("question").cloned().unwrap_or_else(|| json!("")),
                "answer": expected["answer"],
                "calls": expected.get("calls").cloned().unwrap_or_else(|| json!([])),
            });
            if found != wanted {
                wrong.push(format!("{}/{file}\n   found {found}\n  wanted {wanted}", folder.display()));
            }
            // An answer and its stream are one message, down to the ids of calls. The first fixtures differ in their words.
            let stem = kind.0.trim_end_matches("-stream").to_owned();
            if ["tools", "cited", "refused", "thought", "reasoned", "responses-tools"].contains(&&*stem) {
                let answer = answers.entry(stem).or_insert_with(|| read.answer.clone());
                assert_eq!(*answer, read.answer, "{}/{file}", folder.display());
                let unanswered = Conversation { answer: None, ..read.clone() };
                assert!(read.example().is_some() && unanswered.example().is_none());
                let offered = read.example().unwrap()["tools"].clone();
                assert_eq!(
                    offered.is_null(),
                    expected["request"]["tools"].is_null() && expected["request"]["toolConfig"].is_null()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn calls_and_results_of_every_format_become_those_of_a_chat() {
    let wanted = json!([
        message("user", "x"),
        { "role": "assistant", "content": null, "tool_calls": [call("call_0", "f", r#"{"a":1}"#), call("call_1", "f", "{}")] },
        { "role": "tool", "tool_call_id": "call_0", "content": "one" },
        { "role": "tool", "tool_call_id": "call_1", "content": "two" },
    ]);
    for request in [
        json!({ "messages": wanted }),
        json!({ "messages": [
            { "role": "user", "content": "x" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm" },
                { "type": "tool_use", "id": "call_0", "name": "f", "input": { "a": 1 } }, { "type": "tool_use", "id": "call_1", "name": "f", "input": {} } ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_0", "content": "one" },
                { "type": "tool_result", "tool_use_id": "call_1", "content": [{ "type": "text", "text": "two" }] } ] },
        ] }),
        json!({ "contents": [
            { "role": "user", "parts": [{ "text": "x" }] },
            { "role": "model", "parts": [{ "text": "hm", "thought": true }, { "functionCall": { "name": "f", "args": { "a": 1 } } }, { "functionCall": { "name": "f", "args": {} } }] },
            { "role": "function", "parts": [
                { "functionResponse": { "name": "f", "response": { "content": "one" } } }, { "functionResponse": { "name": "f", "response": { "content": "two" } } } ] },
        ] }),
        json!({ "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "x" }] },
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm" }] },
            { "type": "function_call", "call_id": "call_0", "name": "f", "arguments": r#"{"a":1}"# },
            { "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "call_0", "output": "one" },
            { "type": "function_call_output", "call_id": "call_1", "output": "two" },
        ] }),
        json!({ "messages": [
            { "role": "user", "content": [{ "text": "x" }] },
            { "role": "assistant", "content": [
                { "reasoningContent": { "reasoningText": { "text": "hm" } } },
                { "toolUse": { "toolUseId": "call_0", "name": "f", "input": { "a": 1 } } }, { "toolUse": { "toolUseId": "call_1", "name": "f", "input": {} } } ] },
            { "role": "user", "content": [
                { "toolResult": { "toolUseId": "call_0", "content": [{ "text": "one" }] } }, { "toolResult": { "toolUseId": "call_1", "content": [{ "text": "two" }] } } ] },
        ] }),
    ] {
        assert_eq!(json!(Conversation::read(Some(&request.to_string()), None).messages), wanted, "{request}");
    }
}

#[test]
fn functions_of_every_format_become_those_of_a_chat() {
    let schema = json!({ "type": "object" });
    let wanted = json!([{ "type": "function", "function": { "name": "f", "description": "d", "parameters": schema } }]);
    for tools in [
        json!({ "tools": wanted }),
        json!({ "tools": [{ "type": "function", "name": "f", "description": "d", "parameters": schema }, { "type": "web_search" }] }),
        json!({ "tools": [{ "name": "f", "description": "d", "input_schema": schema }, { "type": "web_search_20250305", "name": "web_search" }] }),
        json!({ "tools": [{ "functionDeclarations": [{ "name": "f", "description": "d", "parameters": schema }] }, { "googleSearch": {} }] }),
        json!({ "toolConfig": { "tools": [{ "toolSpec": { "name": "f", "description": "d", "inputSchema": { "json": schema } } }] } }),
        json!({ "functions": [{ "name": "f", "description": "d", "parameters": schema }] }),
    ] {
        assert_eq!(json!(Conversation::read(Some(&tools.to_string()), None).tools), wanted, "{tools}");
    }
}

#[test]
fn streams_of_other_formats_are_read() {
    let events = |events: &[&str]| events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
    for (body, wanted) in [
        // A response that was taken up again: what came before the first event is in the last.
        (events(&[r#"{"type":"response.output_text.delta","delta":"i"}"#, r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]}}"#]), "hi"),
        // Several answers to one question: the first is the answer.
        (events(&[r#"{"choices":[{"index":1,"delta":{"content":"no"}}]}"#, r#"{"choices":[{"index":0,"delta":{"content":"hi"}}]}"#]), "hi"),
        (events(&[r#"{"object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"hi","annotations":[]}}]}}"#,
            r#"{"object":"thread.message","role":"assistant","content":[{"type":"text","text":{"value":"hi"}}]}"#]), "hi"),
        (events(&[r#"{"type":"message.output.delta","content":"h"}"#, r#"{"type":"message.output.delta","content":{"type":"text","text":"i"}}"#]), "hi"),
        (events(&[r#"{"event_type":"step.start","index":0,"step":{"type":"thought"}}"#, r#"{"event_type":"step.delta","index":1,"delta":{"type":"text","text":"hi"}}"#]), "hi"),
        (events(&[r#"{"response":"1"}"#, r#"{"response":2}"#]), "12"),
        (events(&[r#"{"type":"transcript.text.delta","delta":"h"}"#, r#"{"type":"transcript.text.done","text":"hi"}"#]), "hi"),
        ("event: output\ndata: h\n\nevent: output\ndata: {\"i\n\nevent: done\ndata: {}\n\n".to_owned(), "h{\"i"),
        // What broke off is left out.
        ("[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"h\"}]}}]}\n,\r\n{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"i\"}]}}]}\n,{\"cand".to_owned(), "hi"),
        ("{\"message\":{\"content\":\"h\"}}\n{\"message\":{\"content\":\"i\"},\"done\":true}\n".to_owned(), "hi"),
    ] {
        assert_eq!(Conversation::read(None, Some(&body)).output(), Some(wanted), "{body}");
    }
}

#[test]
fn whole_answers_of_other_formats_are_read() {
    for (body, wanted) in [
        (
            json!({ "object": "interaction", "outputs": [{ "type": "thought", "summary": [] }, { "type": "text", "text": "hi" }] }),
            "hi",
        ),
        (
            json!({ "object": "interaction", "steps": [{ "type": "model_output", "content": [{ "type": "text", "text": "hi" }] }] }),
            "hi",
        ),
        (
            json!({ "object": "conversation.response", "outputs": [{ "type": "tool.execution" }, { "type": "message.output", "content": "hi" }] }),
            "hi",
        ),
        (json!({ "outputs": [{ "text": "hi", "stop_reason": "stop" }] }), "hi"),
        (
            json!({ "id": "a", "status": "COMPLETED", "created_at": 1, "response": { "object": "chat.completion", "choices": [{ "message": { "content": "hi" } }] } }),
            "hi",
        ),
        (
            json!({ "object": "thread.message", "role": "assistant", "content": [{ "type": "text", "text": { "value": "hi" } }] }),
            "hi",
        ),
        (json!({ "output": ["h", "i"] }), "hi"),
        (json!({ "choices": [{ "message": { "content": null, "refusal": "hi" } }] }), "hi"),
        (json!({ "output": [{ "type": "message", "content": [{ "type": "refusal", "refusal": "hi" }] }] }), "hi"),
        (json!({ "result": { "response": [1] }, "success": true }), "[1]"),
    ] {
        assert_eq!(Conversation::read(None, Some(&body.to_string())).output(), Some(wanted), "{body}");
    }
    let user = json!({ "object": "thread.message", "role": "user", "content": [{ "type": "text", "text": { "value": "hi" } }] });
    assert_eq!(Conversation::read(None, Some(&user.to_string())).output(), None);
}
