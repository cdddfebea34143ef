//! What went wrong in other gateways with Gemini.

use super::*;

#[test]
fn case_02_a_call_of_gemini_begins_empty_and_then_has_its_arguments() {
    let events = streamed(
        Format::Messages,
        Format::Gemini,
        &[
            json!({ "responseId": "r", "modelVersion": "gemini-2.5", "candidates": [{ "content": { "parts": [{ "functionCall": { "name": "weather", "args": { "city": "Oslo" } } }] } }] }),
            json!({ "candidates": [{ "content": { "parts": [] }, "finishReason": "STOP" }], "usageMetadata": { "promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3 } }),
        ],
    );
    assert_eq!(of(&events, "content_block_start")[0]["content_block"]["input"], json!({}));
    assert_eq!(of(&events, "content_block_delta")[0]["delta"]["partial_json"], "{\"city\":\"Oslo\"}");
    assert_eq!(of(&events, "message_delta")[0]["delta"]["stop_reason"], "tool_use");
    assert_eq!(of(&events, "message_delta")[0]["usage"]["output_tokens"], 5);
}

#[test]
fn case_07_and_08_geminis_reasons() {
    let call = json!({ "candidates": [{ "content": { "parts": [{ "functionCall": { "name": "f", "args": {} } }] } }] });
    let last = json!({ "candidates": [{ "finishReason": "STOP" }] });
    let events = streamed(Format::Chat, Format::Gemini, &[call, last]);
    assert_eq!(events[events.len() - 2].1.pointer("/choices/0/finish_reason").unwrap(), "tool_calls");
    for (reason, expected) in
        [("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("STOP", "stop"), ("OTHER", "stop")]
    {
        let answer = json!({ "candidates": [{ "content": { "parts": [{ "text": "a" }] }, "finishReason": reason }] });
        assert_eq!(whole(Format::Chat, Format::Gemini, &answer)["choices"][0]["finish_reason"], expected);
    }
    let blocked = whole(Format::Chat, Format::Gemini, &json!({ "promptFeedback": { "blockReason": "SAFETY" } }));
    assert_eq!(blocked["choices"][0]["finish_reason"], "content_filter");
}

#[test]
fn case_10_and_11_results_are_in_the_order_of_the_calls_and_alone() {
    let results = json!([
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "tool", "tool_call_id": "a", "content": "1" },
        { "role": "user", "content": "and?" },
    ]);
    let calls = json!([
        { "id": "a", "type": "function", "function": { "name": "first", "arguments": "{}" } },
        { "id": "b", "type": "function", "function": { "name": "second", "arguments": "{}" } },
    ]);
    let sent = sent(Format::Chat, Format::Gemini, GEMINI, &turn_with_calls(calls, results));
    assert_eq!(
        sent["contents"][2]["parts"],
        json!([
            { "functionResponse": { "name": "first", "response": { "output": "1" } } },
            { "functionResponse": { "name": "second", "response": { "output": "2" } } },
        ])
    );
    assert_eq!(sent["contents"][3], json!({ "role": "user", "parts": [{ "text": "and?" }] }));
}

#[test]
fn case_12_and_13_signatures_of_gemini_come_back_at_their_place() {
    let signature = "c2ln+/==";
    let answer = json!({ "responseId": "r", "candidates": [{ "content": { "parts": [
        { "functionCall": { "name": "weather", "args": {} }, "thoughtSignature": signature },
        { "functionCall": { "name": "weather", "args": {} } },
    ] }, "finishReason": "STOP" }] });
    // A client of chat completions gives the calls back as they came, or without the members that it does not know.
    let got = whole(Format::Chat, Format::Gemini, &answer);
    let calls = got["choices"][0]["message"]["tool_calls"].clone();
    assert_eq!(calls[0]["extra_content"]["google"]["thought_signature"], signature);
    for keeps_all in [true, false] {
        let mut calls = calls.clone();
        if !keeps_all {
            calls[0].as_object_mut().unwrap().remove("extra_content");
        }
        let results: Vec<Value> =
            (0..2).map(|n| json!({ "role": "tool", "tool_call_id": calls[n]["id"], "content": "1" })).collect();
        let sent = sent(Format::Chat, Format::Gemini, GEMINI_3, &turn_with_calls(calls, Value::from(results)));
        let parts = &sent["contents"][1]["parts"];
        assert_eq!(parts[0]["thoughtSignature"], signature, "{keeps_all}");
        assert_eq!(parts[1].get("thoughtSignature"), None);
    }
    // A client of Messages has only the id.
    let got = whole(Format::Messages, Format::Gemini, &answer);
    let id = got["content"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{id}");
    let body = json!({ "model": "m", "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": id, "name": "weather", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "1" }] },
    ] });
    let sent = self::sent(Format::Messages, Format::Gemini, GEMINI_3, &body);
    assert_eq!(sent["contents"][1]["parts"][0]["thoughtSignature"], signature);
    assert_eq!(sent["contents"][2]["parts"][0]["functionResponse"]["name"], "weather");
    // Where the history has none, the first call of a step says so.
    let two = turn_with_calls(json!([made("a", "{}"), made("b", "{}")]), json!([]));
    let sent = self::sent(Format::Chat, Format::Gemini, GEMINI_3, &two);
    assert_eq!(sent["contents"][1]["parts"][0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(sent["contents"][1]["parts"][1].get("thoughtSignature"), None);
}

#[test]
fn case_33_schemas_are_reduced_to_what_gemini_takes() {
    let schema = json!({ "$schema": "x", "type": "object", "additionalProperties": false, "$defs": { "City": { "type": "string", "minLength": 1 } },
        "properties": {
            "city": { "$ref": "#/$defs/City", "description": "where" },
            "unit": { "const": "c" },
            "when": { "type": ["string", "null"], "format": "uuid" },
            "what": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
            "many": { "type": "array" },
            "level": { "enum": [1, 2] },
        }, "required": ["city", "gone"] });
    let body = json!({ "model": "m", "messages": [], "tools": [{ "type": "function", "function": { "name": "f", "parameters": schema } }, { "type": "function", "function": { "name": "g", "parameters": { "type": "object", "properties": {} } } }] });
    let sent = sent(Format::Chat, Format::Gemini, GEMINI, &body);
    let functions = &sent["tools"][0]["functionDeclarations"];
    assert_eq!(
        functions[0]["parameters"],
        json!({ "type": "object", "properties": {
        "city": { "type": "string", "minLength": 1, "description": "where" },
        "unit": { "type": "string", "enum": ["c"] },
        "when": { "type": "string", "nullable": true },
        "what": { "type": "integer", "nullable": true },
        "many": { "type": "array", "items": {} },
        "level": { "type": "string", "enum": ["1", "2"] },
    }, "required": ["city"] })
    );
    assert_eq!(functions[1].get("parameters"), None);
    let circle = json!({ "type": "object", "properties": { "next": { "$ref": "#/$defs/N" } }, "$defs": { "N": { "type": "object", "properties": { "next": { "$ref": "#/$defs/N" } } } } });
    let body = json!({ "model": "m", "messages": [], "tools": [{ "type": "function", "function": { "name": "f", "parameters": circle } }] });
    let translated = translated(Format::Chat, Format::Gemini, GEMINI, &body);
    assert!(translated.notes.dropped.fields().iter().any(|field| field.contains("recursive")));
}

#[test]
fn the_signature_of_a_text_of_gemini_comes_back_at_its_place() {
    let answer = json!({ "responseId": "r", "candidates": [{ "content": { "parts": [{ "text": "yes" }, { "text": "", "thoughtSignature": "c2ln" }] }, "finishReason": "STOP" }] });
    let got = whole(Format::Messages, Format::Gemini, &answer);
    let next = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }, { "role": "assistant", "content": got["content"] }, { "role": "user", "content": "more" }] });
    let sent = sent(Format::Messages, Format::Gemini, GEMINI_3, &next);
    assert_eq!(sent["contents"][1]["parts"], json!([{ "text": "yes", "thoughtSignature": "c2ln" }]));
    // Anthropic does not get what it did not sign.
    let sent = self::sent(Format::Messages, Format::Messages, CLAUDE, &next);
    assert_eq!(sent["messages"][1]["content"], json!([{ "type": "text", "text": "yes" }]));
}

#[test]
fn a_file_in_a_data_url_is_inline_in_either_member() {
    for member in ["file_data", "file_url"] {
        let file = json!({ "type": "input_file", "filename": "data.csv", member: "data:text/csv;base64,YSxi" });
        let body = json!({ "model": "m", "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "hi" }, file] }] });
        let sent = sent(Format::Responses, Format::Converse, CLAUDE, &body);
        let document = &sent["messages"][0]["content"][1]["document"];
        assert_eq!((&document["format"], &document["source"]["bytes"]), (&json!("csv"), &json!("YSxi")), "{member}");
    }
}
