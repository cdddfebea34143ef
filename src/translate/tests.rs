//! What went wrong in other gateways, each as an input and what is right. The numbers are those of `docs/translation.md`.

use super::*;
use serde_json::{Value, json};

const CLAUDE: &str = "claude-sonnet-4-5";
const NEW_CLAUDE: &str = "claude-opus-5";
const GEMINI: &str = "gemini-2.5-pro";
const GEMINI_3: &str = "gemini-3-pro";

pub(super) fn ordered(value: &Value) -> Json {
    Json::parse(&value.to_string()).unwrap()
}

pub(super) fn plain(json: &Json) -> Value {
    serde_json::from_str(&json.to_string()).unwrap()
}

pub(super) fn translated(from: Format, to: Format, model: &str, body: &Value) -> Translated {
    request(from, to, &ordered(body), "m", true, model).unwrap()
}

pub(super) fn sent(from: Format, to: Format, model: &str, body: &Value) -> Value {
    plain(&translated(from, to, model, body).body)
}

fn refused(from: Format, to: Format, model: &str, body: &Value) -> String {
    request(from, to, &ordered(body), "m", true, model).unwrap_err().field.clone()
}

fn back(caller: Format, provider: Format, asked: &Value) -> Return {
    let translated = translated(caller, provider, CLAUDE, asked);
    Return::new(caller, provider, &translated, &ordered(asked), "msg_1", "m", 7)
}

fn asked(caller: Format) -> Value {
    match caller {
        Format::Responses => json!({ "model": "m", "stream": true, "input": "hi" }),
        Format::Gemini => json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }),
        _ => json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] }),
    }
}

/// What the client gets of a stream: the events' names or types, and their data.
fn streamed_for(mut back: Return, events: &[(&str, Value)]) -> Vec<(String, Value)> {
    let mut out = String::new();
    for (name, data) in events {
        back.event(name, &ordered(data), &mut out);
    }
    back.end(&mut out);
    read(&out)
}

fn read(stream: &str) -> Vec<(String, Value)> {
    let events = stream.split("\n\n").filter(|event| !event.is_empty());
    events
        .map(|event| {
            let name = event.lines().find_map(|line| line.strip_prefix("event: ")).unwrap_or("").to_owned();
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            (name, serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
        })
        .collect()
}

pub(super) fn streamed(caller: Format, provider: Format, events: &[Value]) -> Vec<(String, Value)> {
    let events: Vec<(&str, Value)> = events.iter().map(|event| ("", event.clone())).collect();
    streamed_for(back(caller, provider, &asked(caller)), &events)
}

pub(super) fn whole(caller: Format, provider: Format, answer: &Value) -> Value {
    plain(&back(caller, provider, &asked(caller)).whole(&ordered(answer)))
}

fn chunk(delta: Value, finish: Option<&str>) -> Value {
    json!({ "id": "chatcmpl-1", "model": "gpt-5", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

fn chat_call(index: u64, id: &str, name: &str, arguments: &str) -> Value {
    json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }] })
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// The data of the events with a name.
fn of<'a>(events: &'a [(String, Value)], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|(own, _)| own == name).map(|(_, data)| data).collect()
}

fn start(usage: Value) -> Value {
    json!({ "type": "message_start", "message": { "id": "msg_1", "model": CLAUDE, "usage": usage } })
}

fn block(index: u64, block: Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u64, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn ending(reason: &str, usage: Value) -> [Value; 2] {
    [
        json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ]
}

fn deltas(events: &[(String, Value)]) -> Vec<&Value> {
    events.iter().filter_map(|(_, data)| data.pointer("/choices/0/delta")).collect()
}

const TOOL: fn() -> Value = || json!({ "type": "function", "function": { "name": "weather", "description": "d", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } });

fn turn_with_calls(calls: Value, results: Value) -> Value {
    let mut messages = vec![
        json!({ "role": "user", "content": "hi" }),
        json!({ "role": "assistant", "content": "", "tool_calls": calls }),
    ];
    messages.extend(results.as_array().unwrap().iter().cloned());
    json!({ "model": "m", "messages": messages, "tools": [TOOL()] })
}

fn made(id: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": arguments } })
}

#[test]
fn formats_have_names() {
    for word in ["chat", "responses", "messages", "gemini", "converse"] {
        assert_eq!(Format::parse(word).map(Format::name), Some(word));
    }
    assert_eq!(Format::parse("grpc"), None);
    assert!(model::Dropped::default().is_empty());
}

#[test]
fn case_01_arguments_that_come_only_when_they_are_done() {
    let events = streamed(
        Format::Messages,
        Format::Responses,
        &[
            json!({ "type": "response.created", "response": { "id": "resp_1", "model": "gpt-5" } }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "" } }),
            json!({ "type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{\"city\":\"Oslo\"}" }),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": { "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{\"city\":\"Oslo\"}" } }),
            json!({ "type": "response.completed", "response": { "id": "resp_1", "status": "completed", "usage": { "input_tokens": 5, "output_tokens": 2 } } }),
        ],
    );
    let pieces = of(&events, "content_block_delta");
    assert_eq!(pieces.len(), 1, "{events:#?}");
    assert_eq!(pieces[0]["delta"]["partial_json"], "{\"city\":\"Oslo\"}");
    assert_eq!(of(&events, "message_delta")[0]["delta"]["stop_reason"], "tool_use");
}

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
fn case_03_blocks_of_bedrock_follow_one_another() {
    let mut events = vec![("messageStart", json!({ "role": "assistant" }))];
    events.push(("contentBlockDelta", json!({ "contentBlockIndex": 0, "delta": { "text": "Looking" } })));
    events.push(("contentBlockStop", json!({ "contentBlockIndex": 0 })));
    for n in 1..=2 {
        events.push(("contentBlockStart", json!({ "contentBlockIndex": n, "start": { "toolUse": { "toolUseId": format!("t{n}"), "name": "weather" } } })));
        events.push((
            "contentBlockDelta",
            json!({ "contentBlockIndex": n, "delta": { "toolUse": { "input": "{\"city\":1}" } } }),
        ));
        events.push(("contentBlockStop", json!({ "contentBlockIndex": n })));
    }
    events.push(("messageStop", json!({ "stopReason": "tool_use" })));
    events.push(("metadata", json!({ "usage": { "inputTokens": 3, "outputTokens": 4 } })));
    let got = streamed_for(back(Format::Messages, Format::Converse, &asked(Format::Messages)), &events);
    let one = ["content_block_start", "content_block_delta", "content_block_stop"];
    let expected: Vec<&str> = ["message_start"]
        .iter()
        .chain(one.iter())
        .chain(one.iter())
        .chain(one.iter())
        .chain(&["message_delta", "message_stop"])
        .copied()
        .collect();
    assert_eq!(names(&got), expected);
    let starts = of(&got, "content_block_start");
    assert_eq!(starts.iter().map(|start| start["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(of(&got, "message_delta")[0]["usage"]["input_tokens"], 3);
}

#[test]
fn case_04_and_05_and_47_and_48_calls_are_counted_without_the_text() {
    let [last, end] = ending("tool_use", json!({ "output_tokens": 9 }));
    let events = streamed(
        Format::Chat,
        Format::Messages,
        &[
            start(json!({ "input_tokens": 7 })),
            block(0, json!({ "type": "text", "text": "" })),
            delta(0, json!({ "type": "text_delta", "text": "Hm" })),
            stop(0),
            block(1, json!({ "type": "tool_use", "id": "t1", "name": "weather", "input": {} })),
            delta(1, json!({ "type": "input_json_delta", "partial_json": "{}" })),
            stop(1),
            block(2, json!({ "type": "tool_use", "id": "t2", "name": "weather", "input": {} })),
            stop(2),
            last,
            end,
        ],
    );
    let deltas = deltas(&events);
    assert_eq!(deltas[0]["role"], "assistant");
    let calls: Vec<&Value> = deltas.iter().filter_map(|delta| delta.pointer("/tool_calls/0")).collect();
    assert_eq!(calls.iter().map(|call| call["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 0, 1, 1]);
    // A call without arguments has an empty object.
    assert_eq!(calls[3]["function"]["arguments"], "{}");
    assert_eq!(events.last().unwrap().1, "[DONE]");
    assert_eq!(events[events.len() - 2].1.pointer("/choices/0/finish_reason").unwrap(), "tool_calls");
}

#[test]
fn case_06_text_and_a_call_end_as_a_call() {
    for finish in ["tool_calls", "stop"] {
        let events = streamed(
            Format::Messages,
            Format::Chat,
            &[
                chunk(json!({ "role": "assistant", "content": "Hm" }), None),
                chunk(chat_call(0, "call_1", "weather", "{\"city\""), None),
                chunk(chat_call(0, "", "", ":1}"), None),
                chunk(json!({}), Some(finish)),
            ],
        );
        assert_eq!(of(&events, "message_delta")[0]["delta"]["stop_reason"], "tool_use", "{finish}");
        let pieces = of(&events, "content_block_delta");
        assert_eq!(pieces[1]["delta"]["partial_json"], "{\"city\"");
        assert_eq!(pieces[2]["delta"]["partial_json"], ":1}");
    }
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
fn case_09_results_of_tools_are_results_for_bedrock() {
    let body =
        turn_with_calls(json!([made("c1", "{}")]), json!([{ "role": "tool", "tool_call_id": "c1", "content": "12" }]));
    let sent = sent(Format::Chat, Format::Converse, CLAUDE, &body);
    assert_eq!(
        sent["messages"][2]["content"],
        json!([{ "toolResult": { "toolUseId": "c1", "content": [{ "text": "12" }] } }])
    );
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
fn case_14_signed_thoughts_come_first_and_unsigned_ones_switch_thinking_off() {
    let mut body =
        turn_with_calls(json!([made("c1", "{}")]), json!([{ "role": "tool", "tool_call_id": "c1", "content": "1" }]));
    body["reasoning_effort"] = "medium".into();
    let without = translated(Format::Chat, Format::Messages, CLAUDE, &body);
    assert_eq!(without.body.get("thinking"), None);
    assert!(without.notes.dropped.fields().iter().any(|field| field == "thinking"));
    body["messages"][1]["thinking_blocks"] = json!([{ "type": "thinking", "thinking": "hm", "signature": "s" }]);
    let with = sent(Format::Chat, Format::Messages, CLAUDE, &body);
    assert_eq!(with["messages"][1]["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "s" }));
    assert_eq!(with["thinking"], json!({ "type": "enabled", "budget_tokens": 2048 }));
}

#[test]
fn case_15_a_turn_of_unsigned_thoughts_is_left_out() {
    let body = json!({ "model": "m", "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": null, "reasoning_content": "hm" },
        { "role": "user", "content": "go on" },
    ] });
    let sent = sent(Format::Chat, Format::Converse, CLAUDE, &body);
    assert_eq!(sent["messages"], json!([{ "role": "user", "content": [{ "text": "hi" }, { "text": "go on" }] }]));
}

#[test]
fn case_16_thoughts_and_text_begin_one_message() {
    let events = streamed(
        Format::Messages,
        Format::Chat,
        &[
            chunk(json!({ "role": "assistant", "content": "" }), None),
            chunk(json!({ "reasoning_content": "hm" }), None),
            chunk(json!({ "content": "yes" }), None),
            chunk(json!({}), Some("stop")),
        ],
    );
    assert_eq!(of(&events, "message_start").len(), 1);
    let kinds: Vec<&Value> =
        of(&events, "content_block_start").iter().map(|start| &start["content_block"]["type"]).collect();
    assert_eq!(kinds, ["thinking", "text"]);
}

#[test]
fn case_17_thoughts_of_responses_are_asked_for_and_read() {
    let body = json!({ "model": "m", "max_tokens": 9000, "thinking": { "type": "enabled", "budget_tokens": 4096 }, "messages": [{ "role": "user", "content": "hi" }] });
    let sent = sent(Format::Messages, Format::Responses, "gpt-5", &body);
    assert_eq!(sent["reasoning"], json!({ "effort": "high", "summary": "auto" }));
    assert_eq!((&sent["include"], &sent["store"]), (&json!(["reasoning.encrypted_content"]), &json!(false)));
    let answer = json!({ "id": "resp_1", "model": "gpt-5", "status": "completed", "output": [
        { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm" }], "encrypted_content": "E" },
        { "type": "message", "content": [{ "type": "output_text", "text": "yes" }] },
    ] });
    let got = whole(Format::Messages, Format::Responses, &answer);
    assert_eq!(got["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "openai:E" }));
    // OpenAI gets back what it gave, and another provider does not get it.
    let next = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }, { "role": "assistant", "content": got["content"] }] });
    let sent = self::sent(Format::Messages, Format::Responses, "gpt-5", &next);
    assert_eq!(sent["input"][1]["encrypted_content"], "E");
    let sent = self::sent(Format::Messages, Format::Converse, CLAUDE, &next);
    assert_eq!(sent["messages"][1]["content"], json!([{ "text": "yes" }]));
}

#[test]
fn case_18_to_20_tokens_are_counted_once() {
    let events = streamed(
        Format::Messages,
        Format::Chat,
        &[
            chunk(json!({ "content": "a" }), Some("stop")),
            json!({ "id": "c", "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": { "cached_tokens": 80 } } }),
        ],
    );
    let usage = &of(&events, "message_delta")[0]["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]),
        (&json!(20), &json!(80), &json!(5))
    );

    let [last, end] =
        ending("end_turn", json!({ "input_tokens": 7, "cache_read_input_tokens": 10_000, "output_tokens": 5 }));
    let stream = [
        start(json!({ "input_tokens": 7, "cache_read_input_tokens": 10_000, "output_tokens": 1 })),
        block(0, json!({ "type": "text", "text": "" })),
        delta(0, json!({ "type": "text_delta", "text": "a" })),
        stop(0),
        last,
        end,
    ];
    let with_usage =
        json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true }, "messages": [] });
    let events: Vec<(&str, Value)> = stream.iter().map(|event| ("", event.clone())).collect();
    let got = streamed_for(back(Format::Chat, Format::Messages, &with_usage), &events);
    let usage = &got[got.len() - 2].1["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["prompt_tokens_details"]["cached_tokens"]),
        (&json!(10_007), &json!(10_000))
    );
    assert_eq!(usage["completion_tokens"], 5);
    // Who did not ask gets none.
    let without = streamed(Format::Chat, Format::Messages, &stream);
    assert!(without.iter().all(|(_, data)| data.get("usage").is_none()));
}

#[test]
fn case_21_to_23_images_reach_the_model() {
    let url = "data:image/png;base64,AAAA";
    let body = turn_with_calls(
        json!([made("c1", "{}")]),
        json!([{ "role": "tool", "tool_call_id": "c1", "content": [{ "type": "image_url", "image_url": { "url": url } }] }]),
    );
    let sent_to = |format, model| sent(Format::Chat, format, model, &body).to_string();
    assert!(
        sent_to(Format::Messages, CLAUDE)
            .contains(r#""source":{"data":"AAAA","media_type":"image/png","type":"base64"}"#)
    );
    assert!(sent_to(Format::Converse, CLAUDE).contains(r#""image":{"format":"png","source":{"bytes":"AAAA"}}"#));
    assert!(
        sent_to(Format::Responses, "gpt-5")
            .contains(r#""output":[{"image_url":"data:image/png;base64,AAAA","type":"input_image"}]"#)
    );
    let body = json!({ "model": "m", "messages": [
        { "role": "user", "content": [{ "type": "image", "source": { "type": "base64", "media_type": "image/jpg", "data": "AAAA" } }] },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "BBBB" } }] }] },
    ] });
    let chat = sent(Format::Messages, Format::Chat, "gpt-4o", &body);
    assert_eq!(chat["messages"][0]["content"][0]["image_url"]["url"], "data:image/jpeg;base64,AAAA");
    assert_eq!(chat["messages"][2], json!({ "role": "tool", "tool_call_id": "t", "content": "[image]" }));
    assert_eq!(chat["messages"][3]["content"][0]["image_url"]["url"], "data:image/png;base64,BBBB");
    let gemini = sent(Format::Messages, Format::Gemini, GEMINI, &body);
    assert!(gemini["contents"].to_string().contains(r#"{"inlineData":{"data":"BBBB","mimeType":"image/png"}}"#));
}

#[test]
fn case_24_to_26_empty_text_and_wrong_arguments_are_what_providers_take() {
    for (arguments, input) in [
        ("", json!({})),
        ("  ", json!({})),
        ("{\"a\":1}", json!({ "a": 1 })),
        ("[1]", json!({ "arguments": "[1]" })),
        ("{\"a", json!({ "arguments": "{\"a" })),
    ] {
        let body = turn_with_calls(json!([made("c1", arguments)]), json!([]));
        let sent = sent(Format::Chat, Format::Messages, CLAUDE, &body);
        assert_eq!(
            sent["messages"][1]["content"],
            json!([{ "type": "tool_use", "id": "c1", "name": "weather", "input": input }])
        );
        let sent = self::sent(Format::Chat, Format::Converse, CLAUDE, &body);
        assert_eq!(sent["messages"][1]["content"][0]["toolUse"]["input"], input);
    }
}

#[test]
fn case_27_a_call_that_is_cut_off_stays_cut_off() {
    let events = streamed(
        Format::Messages,
        Format::Chat,
        &[chunk(chat_call(0, "call_1", "weather", "{\"loc"), None), chunk(json!({}), Some("length"))],
    );
    assert_eq!(of(&events, "content_block_delta")[0]["delta"]["partial_json"], "{\"loc");
    assert_eq!(of(&events, "message_delta")[0]["delta"]["stop_reason"], "max_tokens");
}

#[test]
fn case_28_to_30_tools_as_bedrock_takes_them() {
    let long = format!("mcp.{}", "a".repeat(76));
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "tools": [{ "type": "function", "function": { "name": long, "description": "" } }] });
    let translated = translated(Format::Chat, Format::Converse, CLAUDE, &body);
    let spec = plain(&translated.body)["toolConfig"]["tools"][0]["toolSpec"].clone();
    let safe = spec["name"].as_str().unwrap().to_owned();
    assert!(safe.len() <= 64 && !safe.contains('.') && spec.get("description").is_none());
    assert_eq!(spec["inputSchema"]["json"], json!({ "type": "object", "properties": {} }));
    let answer = json!({ "output": { "message": { "content": [{ "toolUse": { "toolUseId": "t", "name": safe, "input": {} } }] } }, "stopReason": "tool_use" });
    let back = Return::new(Format::Chat, Format::Converse, &translated, &ordered(&body), "i", "m", 1);
    assert_eq!(
        plain(&back.whole(&ordered(&answer)))["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        long.as_str()
    );
    body =
        turn_with_calls(json!([made("c1", "{}")]), json!([{ "role": "tool", "tool_call_id": "c1", "content": "1" }]));
    body.as_object_mut().unwrap().remove("tools");
    assert_eq!(sent(Format::Chat, Format::Converse, CLAUDE, &body)["toolConfig"]["tools"].as_array().unwrap().len(), 1);
}

#[test]
fn case_31_and_32_marks_for_the_cache_follow_what_they_mark() {
    let mark = json!({ "type": "ephemeral", "ttl": "1h" });
    let body = json!({ "model": "m", "max_tokens": 10,
        "system": [{ "type": "text", "text": "s", "cache_control": { "type": "ephemeral" } }],
        "tools": [{ "name": "f", "input_schema": { "type": "object" }, "cache_control": mark }],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "hi", "cache_control": mark }] },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "1", "cache_control": mark }] },
        ] });
    let sent = sent(Format::Messages, Format::Converse, CLAUDE, &body);
    let point = json!({ "cachePoint": { "type": "default", "ttl": "1h" } });
    assert_eq!(sent["system"][1], json!({ "cachePoint": { "type": "default" } }));
    assert_eq!(sent["toolConfig"]["tools"][1], point);
    assert_eq!(sent["messages"][0]["content"][1], point);
    assert_eq!(sent["messages"][2]["content"][1], point);
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
fn case_34_and_35_a_schema_as_a_tool() {
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": { "type": "object", "properties": { "x": { "type": "integer" } } } } });
    let old = "claude-3-5-haiku";
    let mut body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }], "response_format": schema });
    let alone = translated(Format::Chat, Format::Messages, old, &body);
    assert_eq!(
        plain(&alone.body)["tool_choice"],
        json!({ "type": "tool", "name": "json_tool", "disable_parallel_tool_use": true })
    );
    body["tools"] = json!([TOOL()]);
    let both = translated(Format::Chat, Format::Messages, old, &body);
    assert_eq!(plain(&both.body)["tool_choice"]["type"], "any");
    let of_tool = |name: &str| json!({ "id": "m", "content": [{ "type": "tool_use", "id": "t", "name": name, "input": { "x": 1 } }], "stop_reason": "tool_use" });
    let answered = |name: &str| {
        let back = Return::new(Format::Chat, Format::Messages, &both, &ordered(&body), "i", "m", 1);
        plain(&back.whole(&ordered(&of_tool(name))))["choices"][0].clone()
    };
    let as_text = answered("json_tool");
    assert_eq!((&as_text["message"]["content"], &as_text["finish_reason"]), (&json!("{\"x\":1}"), &json!("stop")));
    assert_eq!(answered("weather")["finish_reason"], "tool_calls");
    let [last, end] = ending("tool_use", json!({ "output_tokens": 1 }));
    let events: Vec<(&str, Value)> = [
        start(json!({})),
        block(0, json!({ "type": "tool_use", "id": "t", "name": "json_tool", "input": {} })),
        delta(0, json!({ "type": "input_json_delta", "partial_json": "{\"x\":" })),
        delta(0, json!({ "type": "input_json_delta", "partial_json": "1}" })),
        stop(0),
        last,
        end,
    ]
    .into_iter()
    .map(|event| ("", event))
    .collect();
    let got = streamed_for(Return::new(Format::Chat, Format::Messages, &alone, &ordered(&body), "i", "m", 1), &events);
    let text: String = deltas(&got).iter().filter_map(|delta| delta["content"].as_str()).collect();
    assert_eq!(text, "{\"x\":1}");
    // Newer models take the schema itself.
    let new = sent(Format::Chat, Format::Messages, CLAUDE, &body);
    assert_eq!(new["output_config"]["format"]["schema"]["additionalProperties"], false);
}

#[test]
fn case_36_and_37_items_of_responses() {
    let answer = json!({ "id": "resp_1", "status": "completed", "output": [
        { "type": "message", "content": [{ "type": "output_text", "text": "Hm" }] },
        { "type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}" },
    ] });
    let got = whole(Format::Chat, Format::Responses, &answer);
    assert_eq!(got["choices"][0]["message"]["content"], "Hm");
    assert_eq!(got["choices"][0]["message"]["tool_calls"][0]["id"], "c1");
    assert_eq!(got["choices"][0]["finish_reason"], "tool_calls");
    let [last, end] = ending("tool_use", json!({ "output_tokens": 1 }));
    let events = streamed(
        Format::Responses,
        Format::Messages,
        &[
            start(json!({ "input_tokens": 1 })),
            block(0, json!({ "type": "tool_use", "id": "t1", "name": "weather", "input": {} })),
            delta(0, json!({ "type": "input_json_delta", "partial_json": "{\"city\":\"Oslo\"}" })),
            stop(0),
            last,
            end,
        ],
    );
    assert!(!events.iter().any(|(_, data)| data.pointer("/item/type") == Some(&json!("message"))), "{events:#?}");
    let numbers: Vec<u64> = events.iter().map(|(_, data)| data["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let done = of(&events, "response.output_item.done")[0];
    assert_eq!(done["item"]["arguments"], "{\"city\":\"Oslo\"}");
    let last = of(&events, "response.completed")[0];
    assert_eq!(last["response"]["output"][0], done["item"]);
}

#[test]
fn case_38_and_39_errors_in_a_stream_are_no_clean_end() {
    let overloaded = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let events = streamed(Format::Chat, Format::Messages, &[start(json!({})), overloaded]);
    let last = &events.last().unwrap().1;
    assert_eq!(last["error"]["message"], "Overloaded");
    let failed =
        json!({ "type": "response.failed", "response": { "error": { "code": "server_error", "message": "no" } } });
    let events = streamed(
        Format::Messages,
        Format::Responses,
        &[json!({ "type": "response.created", "response": { "id": "r" } }), failed],
    );
    assert_eq!(names(&events), ["message_start", "error"]);
    // So does a stream that breaks off.
    let events = streamed(Format::Messages, Format::Chat, &[chunk(json!({ "content": "a" }), None)]);
    assert_eq!(*names(&events).last().unwrap(), "error");
}

#[test]
fn case_42_and_43_errors_have_the_callers_form() {
    let failure = failure::of_body(429, r#"{"error":{"message":"slow down","code":429}}"#);
    assert_eq!(
        plain(&failure::messages(&failure)),
        json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow down" } })
    );
    assert_eq!(failure::of_body(502, "<html>bad</html>").message, "<html>bad</html>");
    assert_eq!(failure::of_body(400, r#"[{"error":{"message":"m","status":"INVALID_ARGUMENT"}}]"#).message, "m");
    let got = whole(Format::Chat, Format::Converse, &json!({ "message": "no such model" }));
    assert_eq!(got["error"]["message"], "no such model");
}

#[test]
fn case_44_to_46_tools_and_thinking_as_anthropic_takes_them() {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "tools": [TOOL()], "tool_choice": "none", "max_tokens": 2000, "reasoning_effort": "high" });
    let sent = sent(Format::Chat, Format::Messages, CLAUDE, &body);
    assert_eq!(
        sent["tools"],
        json!([{ "name": "weather", "description": "d", "input_schema": { "type": "object", "properties": { "city": { "type": "string" } } } }])
    );
    assert_eq!(sent["tool_choice"], json!({ "type": "none" }));
    assert_eq!(sent["thinking"]["budget_tokens"], 1999);
    body["tool_choice"] = json!("required");
    let forced = translated(Format::Chat, Format::Messages, CLAUDE, &body);
    assert_eq!(forced.body.get("thinking"), None);
    body["temperature"] = json!(1.5);
    let new = translated(Format::Chat, Format::Messages, NEW_CLAUDE, &body);
    assert_eq!(new.body.get("temperature"), None);
    assert!(new.notes.dropped.fields().contains(&"temperature".to_owned()));
}

#[test]
fn case_49_an_error_of_bedrock_has_the_form_of_messages() {
    let told = failure::of_body(400, r#"{"message":"The model does not count tokens."}"#);
    let expected = json!({ "type": "invalid_request_error", "message": "The model does not count tokens." });
    assert_eq!(plain(&error(Format::Messages, &told))["error"], expected);
}

#[test]
fn instructions_keep_their_place_where_the_format_has_one() {
    let body = json!({ "model": "m", "messages": [
        { "role": "system", "content": "first" }, { "role": "user", "content": "a" },
        { "role": "developer", "content": "later" }, { "role": "user", "content": "b" }] });
    let responses = sent(Format::Chat, Format::Responses, "gpt-5", &body);
    assert_eq!(responses["instructions"], "first");
    assert_eq!(responses["input"][1]["role"], "developer");
    let messages = translated(Format::Chat, Format::Messages, CLAUDE, &body);
    assert_eq!(plain(&messages.body)["system"][1]["text"], "later");
    assert_eq!(plain(&messages.body)["messages"].as_array().unwrap().len(), 1);
    assert_eq!(messages.notes.dropped.fields(), ["the place of a system message behind others"]);
}

#[test]
fn what_openais_and_mistrals_models_refuse_is_not_sent_to_them() {
    let id = "user_".repeat(40);
    let body = json!({ "model": "m", "max_tokens": 200_000, "temperature": 0.5, "metadata": { "user_id": id }, "thinking": { "type": "enabled", "budget_tokens": 31_999 },
        "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "tool_use", "id": "toolu_01", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_01", "content": "1" }] }] });
    let to_gpt = sent(Format::Messages, Format::Responses, "gpt-5", &body);
    assert_eq!((to_gpt.get("temperature"), &to_gpt["max_output_tokens"]), (None, &json!(128_000)));
    assert_eq!(to_gpt["reasoning"]["effort"], "high");
    assert_eq!(to_gpt["user"].as_str().unwrap().len(), 64);
    let old = translated(Format::Messages, Format::Chat, "gpt-4o", &body);
    assert_eq!(old.body.get("reasoning_effort"), None);
    assert!(old.notes.dropped.fields().contains(&"thinking".to_owned()));
    let mistral = sent(Format::Messages, Format::Chat, "mistral-large-latest", &body);
    let call = mistral["messages"][1]["tool_calls"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((call.len(), &mistral["messages"][2]["tool_call_id"]), (9, &json!(call)));
    assert_eq!((mistral.get("user"), mistral.get("stream_options")), (None, None));
    let kimi = sent(Format::Messages, Format::Chat, "kimi-k2", &body);
    assert_eq!(kimi["messages"][1]["reasoning_content"], "hm");
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
fn a_search_that_an_agent_offers_beside_its_own_tools_is_left_out() {
    let mut body = json!({ "model": "m", "input": "hi", "tools": [{ "type": "web_search" }, { "type": "function", "name": "f" }] });
    let translated = translated(Format::Responses, Format::Messages, CLAUDE, &body);
    assert_eq!(translated.notes.dropped.fields(), ["tools (web_search)"]);
    body["tools"] = json!([{ "type": "web_search" }]);
    assert_eq!(refused(Format::Responses, Format::Messages, CLAUDE, &body), "tools (web_search)");
    body["tools"] = json!([]);
    body["previous_response_id"] = "resp_1".into();
    assert_eq!(refused(Format::Responses, Format::Messages, CLAUDE, &body), "previous_response_id");
}

#[test]
fn case_50_a_second_answer_in_a_stream_is_an_error() {
    let mut second = start(json!({}));
    second["message"]["id"] = "msg_2".into();
    let [last, end] = ending("end_turn", json!({}));
    let events = streamed(Format::Chat, Format::Messages, &[start(json!({})), second, last.clone(), end.clone()]);
    assert!(events.last().unwrap().1["error"]["message"].as_str().unwrap().contains("second answer"));
    // Some servers say the same twice.
    let events = streamed(Format::Chat, Format::Messages, &[start(json!({})), start(json!({})), last, end]);
    assert_eq!(events.last().unwrap().1, "[DONE]");
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let chat = |member: &str, value: Value| {
        let mut body = json!({ "model": "m", "messages": [] });
        body[member] = value;
        refused(Format::Chat, Format::Messages, CLAUDE, &body)
    };
    assert_eq!(chat("n", json!(2)), "n");
    assert_eq!(chat("logprobs", json!(true)), "logprobs");
    assert_eq!(chat("modalities", json!(["text", "audio"])), "modalities");
    assert_eq!(chat("tools", json!([{ "type": "web_search" }])), "tools (web_search)");
    let audio = json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }] }] });
    assert_eq!(refused(Format::Chat, Format::Messages, CLAUDE, &audio), "messages[0]");
    let url = json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } }] }] });
    assert_eq!(refused(Format::Chat, Format::Gemini, GEMINI, &url), "messages[0]");
    assert_eq!(
        refused(Format::Responses, Format::Chat, "m", &json!({ "model": "m", "input": [], "background": true })),
        "background"
    );
    assert_eq!(
        refused(Format::Messages, Format::Chat, "m", &json!({ "model": "m", "messages": [], "mcp_servers": [{}] })),
        "mcp_servers"
    );
}

#[test]
fn calls_that_come_interleaved_are_told_apart() {
    let events = streamed(
        Format::Messages,
        Format::Chat,
        &[
            chunk(chat_call(0, "a", "weather", "{\"ci"), None),
            chunk(chat_call(1, "b", "weather", "{\"city\":2"), None),
            chunk(chat_call(0, "", "", "ty\":1}"), None),
            chunk(chat_call(1, "", "", "}"), None),
            chunk(json!({}), Some("tool_calls")),
        ],
    );
    let mut all = Vec::new();
    for (name, data) in &events {
        match name.as_str() {
            "content_block_start" => all.push(String::new()),
            "content_block_delta" => all.last_mut().unwrap().push_str(data["delta"]["partial_json"].as_str().unwrap()),
            _ => {}
        }
    }
    assert_eq!(all, ["{\"city\":1}", "{\"city\":2}"]);
}

#[test]
fn free_text_is_wrapped_for_others_and_comes_back_bare() {
    let body =
        json!({ "model": "m", "stream": true, "input": "hi", "tools": [{ "type": "custom", "name": "apply_patch" }] });
    let translated = translated(Format::Responses, Format::Messages, CLAUDE, &body);
    assert_eq!(
        plain(&translated.body)["tools"][0]["input_schema"]["properties"],
        json!({ "input": { "type": "string" } })
    );
    let back = Return::new(Format::Responses, Format::Messages, &translated, &ordered(&body), "i", "m", 1);
    let answer = json!({ "id": "m1", "content": [{ "type": "tool_use", "id": "t", "name": "apply_patch", "input": { "input": "*** Begin" } }], "stop_reason": "tool_use" });
    let item = plain(&back.whole(&ordered(&answer)))["output"][0].clone();
    assert_eq!((&item["type"], &item["input"]), (&json!("custom_tool_call"), &json!("*** Begin")));
}

#[test]
fn tools_that_may_not_be_called_are_not_offered() {
    let tool =
        |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } });
    let named = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let mode = json!({ "mode": "auto", "tools": [named("tool_one"), named("tool_three")] });
    let allowed = json!({
        "model": "m", "messages": [{ "role": "user", "content": "hi" }],
        "tools": [tool("tool_one"), tool("tool_two"), tool("tool_three")],
        "tool_choice": { "type": "allowed_tools", "allowed_tools": mode },
    });
    for to in [Format::Chat, Format::Responses, Format::Messages, Format::Gemini, Format::Converse] {
        let sent = sent(Format::Chat, to, "m", &allowed).to_string();
        let offered = ["tool_one", "tool_two", "tool_three"].map(|name| sent.contains(name));
        assert_eq!(offered, [true, false, true], "{to:?}: {sent}");
    }
}

/// Parts of an answer that no other format has are left out, and the caller is told: in a header, or in a comment of the stream.
#[test]
fn what_is_left_out_of_an_answer_is_said() {
    let wholes = [
        (
            Format::Messages,
            json!({ "id": "m", "content": [{ "type": "server_tool_use", "id": "s", "name": "web_search", "input": { "q": 1 } },
                { "type": "web_search_tool_result", "content": [] },
                { "type": "text", "text": "Ramen.", "citations": [{ "type": "x" }] }], "stop_reason": "end_turn" }),
            "server_tool_use,web_search_tool_result,citations",
        ),
        (
            Format::Gemini,
            json!({ "candidates": [{ "content": { "parts": [{ "inlineData": { "mimeType": "image/png", "data": "AA" } }, { "text": "Ramen." }] },
                "urlContextMetadata": { "x": 1 }, "finishReason": "STOP" }, { "index": 1 }] }),
            "candidates,inlineData,urlContextMetadata",
        ),
        (
            Format::Chat,
            json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": "Ramen.", "annotations": [{}], "images": [{}] }, "finish_reason": "stop" },
                { "index": 1, "message": { "content": "Soup." } }] }),
            "choices,images,annotations",
        ),
        (
            Format::Responses,
            json!({ "id": "r", "status": "completed", "output": [{ "type": "web_search_call" },
                { "type": "message", "content": [{ "type": "output_text", "text": "Ramen.", "annotations": [{}] }] }] }),
            "web_search_call,annotations",
        ),
        (
            Format::Converse,
            json!({ "output": { "message": { "content": [{ "image": {} }, { "citationsContent": { "content": [{ "text": "Ramen." }], "citations": [{}] } }] } }, "stopReason": "end_turn" }),
            "image,citations",
        ),
    ];
    for (provider, whole, names) in wholes {
        let caller = if provider == Format::Chat { Format::Messages } else { Format::Chat };
        let (answer, status, dropped) = back(caller, provider, &asked(caller)).answered(&ordered(&whole));
        let text = answer.to_string();
        assert!(status.is_none() && text.contains("Ramen.") && !text.contains("Soup"), "{provider:?}: {text}");
        assert_eq!(dropped, format!("left out of the answer: {names}"), "{provider:?}");
        let mut stream = String::new();
        back(caller, provider, &asked(caller)).whole_as_stream(&ordered(&whole), &mut stream);
        assert!(
            stream.contains(&format!(": cf-aig-warning left out of the answer: {names}\n\n")),
            "{provider:?}: {stream}"
        );
    }
    // Names are a provider's own words.
    let odd = json!({ "content": [{ "type": "a\r\nx: y\u{e9}" }], "stop_reason": "end_turn" });
    let (_, _, dropped) = back(Format::Chat, Format::Messages, &asked(Format::Chat)).answered(&ordered(&odd));
    assert_eq!(dropped, "left out of the answer: ax:y");
    let plain = json!({ "content": [{ "type": "text", "text": "Ramen." }], "stop_reason": "end_turn" });
    assert_eq!(back(Format::Chat, Format::Messages, &asked(Format::Chat)).answered(&ordered(&plain)).2, "");
}

#[test]
fn a_model_that_decides_how_much_it_thinks_does_so_in_short_answers_too() {
    let body = |thinking: Value| json!({ "model": "m", "max_tokens": 900, "thinking": thinking, "messages": [{ "role": "user", "content": "hi" }] });
    let (adaptive, budget) = (json!({ "type": "adaptive" }), json!({ "type": "enabled", "budget_tokens": 2048 }));
    let on_bedrock = |model, thinking: &Value| {
        let translated = translated(Format::Messages, Format::Converse, model, &body(thinking.clone()));
        let more = translated.body.get("additionalModelRequestFields").map(plain);
        (more, translated.notes.dropped.fields().join(","))
    };
    let new = "us.anthropic.claude-opus-4-6-v1";
    assert_eq!(on_bedrock(new, &adaptive), (Some(json!({ "thinking": adaptive })), String::new()));
    let medium = json!({ "thinking": adaptive, "output_config": { "effort": "medium" } });
    assert_eq!(on_bedrock(new, &budget), (Some(medium), String::new()));
    // An effort alone asks no model of Anthropic's to think.
    let mut alone = body(json!(null));
    alone["output_config"] = json!({ "effort": "high" });
    alone["temperature"] = json!(0.5);
    let sent = sent(Format::Messages, Format::Converse, new, &alone);
    assert_eq!(sent["additionalModelRequestFields"], json!({ "output_config": { "effort": "high" } }));
    assert_eq!(sent["inferenceConfig"]["temperature"], 0.5);
    // A budget has to fit into the answer.
    assert_eq!(on_bedrock("anthropic.claude-sonnet-4-5-20250929-v1:0", &budget), (None, "thinking".to_owned()));
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

#[test]
fn an_effort_is_a_word_that_the_model_knows() {
    for (model, effort, wanted) in [
        ("claude-opus-4-6", "xhigh", "high"),
        ("claude-sonnet-4.6", "xhigh", "high"),
        ("claude-opus-4-6", "max", "max"),
        ("claude-opus-4-7", "xhigh", "xhigh"),
        ("claude-opus-4-7", "minimal", "low"),
    ] {
        let body =
            json!({ "model": "m", "reasoning_effort": effort, "messages": [{ "role": "user", "content": "hi" }] });
        assert_eq!(
            sent(Format::Chat, Format::Messages, model, &body)["output_config"]["effort"],
            wanted,
            "{model} {effort}"
        );
        let more = &sent(Format::Chat, Format::Converse, &format!("us.anthropic.{model}-v1"), &body)["additionalModelRequestFields"];
        assert_eq!(more["output_config"]["effort"], wanted, "{model} {effort} on Bedrock");
    }
}
