//! What went wrong in other gateways, each as an input and what is right. The numbers are those of `docs/translation.md`. Tests that are
//! about one format are in its file.

mod of_chat;
mod of_converse;
mod of_gemini;
mod of_messages;
mod of_responses;

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
