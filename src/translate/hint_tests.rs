//! Hints and files: marks of how far a prompt is to be kept, files that their names tell, tools where a model then does not think.

use super::request;
use super::tests::{ordered, sent, translated};
use crate::translate::Format::{Chat, Converse, Gemini, Messages, Responses};
use serde_json::{Value, json};

const MARK: &str = "ephemeral";

fn marked() -> Value {
    let mark = json!({ "type": MARK });
    json!({
        "model": "m", "max_tokens": 50,
        "system": [{ "type": "text", "text": "Rules." }, { "type": "text", "text": "More.", "cache_control": mark }],
        "tools": [{ "name": "look", "input_schema": { "type": "object" }, "cache_control": mark }],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Look.", "cache_control": mark }] },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "look", "input": {}, "cache_control": mark }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": "seen", "cache_control": mark }] },
        ],
    })
}

/// Where marks stand in a request.
fn marks(value: &Value, name: &str, path: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(own, value)| {
            if own == name {
                all.push(path.to_owned());
            }
            marks(value, name, &format!("{path}/{own}"), all);
        }),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(n, value)| marks(value, name, &format!("{path}/{n}"), all));
        }
        _ => {}
    }
}

fn places(value: &Value, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    marks(value, name, "", &mut all);
    all
}

#[test]
fn marks_of_anthropics_callers_are_openais_where_a_model_takes_them() {
    let body = sent(Messages, Responses, "gpt-5.6", &marked());
    assert_eq!(
        places(&body, "prompt_cache_breakpoint"),
        ["/input/0/content/1", "/input/1/content/0", "/input/3/output/0"]
    );
    assert_eq!(body.get("instructions"), None);
    assert_eq!(body["input"][0]["role"], "developer");
    assert_eq!(body["input"][0]["content"][0], json!({ "type": "input_text", "text": "Rules." }));
    let mark = json!({ "mode": "explicit" });
    assert_eq!(
        body["input"][3]["output"],
        json!([{ "type": "input_text", "text": "seen", "prompt_cache_breakpoint": mark }])
    );
    let body = sent(Messages, Chat, "openai/gpt-5.6", &marked());
    assert_eq!(
        places(&body, "prompt_cache_breakpoint"),
        ["/messages/0/content/1", "/messages/1/content/0", "/messages/3/content/0"]
    );
    // Earlier models refuse them, and the table says that they go without a word.
    for (to, model) in [(Responses, "gpt-5.5"), (Chat, "gpt-5"), (Chat, "llama-3"), (Gemini, "gemini-3-pro")] {
        let translated = translated(Messages, to, model, &marked());
        assert_eq!(places(&super::tests::plain(&translated.body), "prompt_cache_breakpoint").len(), 0, "{model}");
        assert!(translated.notes.dropped.is_empty(), "{model}: {:?}", translated.notes.dropped.fields());
    }
    let body = sent(Messages, Responses, "gpt-5.5", &marked());
    assert_eq!(body["instructions"], "Rules.\nMore.");
}

#[test]
fn marks_of_openais_callers_are_anthropics() {
    let mark = json!({ "mode": "explicit" });
    let part = |n: usize| json!({ "type": "text", "text": format!("part {n}"), "prompt_cache_breakpoint": mark });
    let parts: Vec<Value> = (0..3).map(part).collect();
    let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": parts }] });
    let body = sent(Chat, Messages, "claude-opus-5", &chat);
    assert_eq!(places(&body, "cache_control").len(), 3);
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], json!({ "type": MARK }));
    // OpenAI takes any number of them, and Anthropic four: the last, which hold the most.
    let parts: Vec<Value> = (0..6).map(part).collect();
    let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": parts }] });
    let six = translated(Chat, Messages, "claude-opus-5", &chat);
    let body = super::tests::plain(&six.body);
    assert_eq!(places(&body, "cache_control"), (2..6).map(|n| format!("/messages/0/content/{n}")).collect::<Vec<_>>());
    assert!(six.notes.dropped.fields().iter().any(|own| own.contains("beyond four")));
    let responses = json!({ "model": "m", "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "x", "prompt_cache_breakpoint": mark }] }] });
    let body = sent(Responses, Converse, "anthropic.claude-opus-5", &responses);
    assert_eq!(body["messages"][0]["content"][1], json!({ "cachePoint": { "type": "default" } }));
}

fn file(name: &str, data: &str) -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "Read." }, { "type": "file", "file": { "filename": name, "file_data": data } },
    ] }] })
}

#[test]
fn the_name_of_a_file_tells_what_it_is() {
    for (name, format) in [
        ("notes.md", "md"),
        ("Data.CSV", "csv"),
        ("a.b.pdf", "pdf"),
        ("page.htm", "html"),
        ("x.docx", "docx"),
        ("old.xls", "xls"),
        ("log.txt", "txt"),
        ("all.json", "txt"),
    ] {
        for data in ["data:application/octet-stream;base64,aGk=", "data:;base64,aGk=", "aGk="] {
            let body = sent(Chat, Converse, "m", &file(name, data));
            let document = &body["messages"][0]["content"][1]["document"];
            assert_eq!((&document["format"], &document["source"]["bytes"]), (&json!(format), &json!("aGk=")), "{name}");
        }
    }
    // What the caller says counts, and a picture is one.
    let body = sent(Chat, Converse, "m", &file("notes.md", "data:application/pdf;base64,aGk="));
    assert_eq!(body["messages"][0]["content"][1]["document"]["format"], "pdf");
    let body = sent(Chat, Converse, "m", &file("a.png", "data:application/octet-stream;base64,aGk="));
    assert_eq!(body["messages"][0]["content"][1]["image"]["format"], "png");
    let body = sent(Chat, Converse, "m", &file("a.log", "data:text/x-log;base64,aGk="));
    assert_eq!(body["messages"][0]["content"][1]["document"]["format"], "txt");
    for name in ["notes", "a.exe", ""] {
        let body = ordered(&file(name, "data:application/octet-stream;base64,aGk="));
        let told = request(Chat, Converse, &body, "m", false, "m").unwrap_err();
        assert!(told.field == "messages[0]" && told.why.contains(".pdf"), "{told:?}");
    }
    // A text of Anthropic's callers has a title.
    let text = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": [
        { "type": "document", "title": "notes.md", "source": { "type": "text", "media_type": "text/plain", "data": "# hi" } },
    ] }] });
    let body = sent(Messages, Converse, "m", &text);
    assert_eq!(body["messages"][0]["content"][0]["document"]["format"], "md");
}

#[test]
fn the_name_tells_other_providers_too() {
    let data = "data:application/octet-stream;base64,aGk=";
    let body = sent(Chat, Gemini, "gemini-3-pro", &file("a.pdf", data));
    assert_eq!(body["contents"][0]["parts"][1]["inlineData"]["mimeType"], "application/pdf");
    let of_claude =
        |name| sent(Chat, Messages, "claude-opus-5", &file(name, data))["messages"][0]["content"][1].clone();
    assert_eq!(of_claude("a.pdf")["source"]["media_type"], "application/pdf");
    let text = json!({ "type": "text", "media_type": "text/plain", "data": "hi" });
    assert_eq!(of_claude("a.md"), json!({ "type": "document", "source": text, "title": "a.md" }));
    assert_eq!(
        (&of_claude("a.png")["type"], &of_claude("a.png")["source"]["media_type"]),
        (&json!("image"), &json!("image/png"))
    );
}

#[test]
fn a_model_that_refuses_tools_while_it_thinks_is_told_not_to() {
    let with_tools = |more: Value| {
        let mut body = json!({ "model": "m", "max_tokens": 50, "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "name": "look", "input_schema": { "type": "object" } }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let thinks = json!({ "thinking": { "type": "enabled", "budget_tokens": 5_000 } });
    for (model, more, effort, dropped) in [
        ("gpt-5.4", thinks.clone(), json!("none"), true),
        ("gpt-5.6-sol", json!({}), json!("none"), false),
        ("gpt-5.2", thinks.clone(), json!("high"), false),
        ("openai/gpt-5.6", thinks.clone(), json!("high"), false),
        ("gpt-4o", json!({}), Value::Null, false),
    ] {
        let translated = translated(Messages, Chat, model, &with_tools(more));
        assert_eq!(super::tests::plain(&translated.body)["reasoning_effort"], effort, "{model}");
        assert_eq!(!translated.notes.dropped.is_empty(), dropped, "{model}");
    }
    // Without tools it may think, and Responses take both.
    let mut body = with_tools(thinks.clone());
    body.as_object_mut().unwrap().remove("tools");
    assert_eq!(sent(Messages, Chat, "gpt-5.4", &body)["reasoning_effort"], "high");
    assert_eq!(sent(Messages, Responses, "gpt-5.4", &with_tools(thinks))["reasoning"]["effort"], "high");
}

#[test]
fn the_item_that_was_cut_off_says_so() {
    let answer = |reason: &str| {
        json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": reason, "stop_sequence": null,
            "content": [{ "type": "text", "text": "I look." }, { "type": "tool_use", "id": "a", "name": "look", "input": {} }],
            "usage": { "input_tokens": 1, "output_tokens": 1 } })
    };
    let stream = |reason: &str| {
        vec![
            json!({ "type": "message_start", "message": { "id": "msg_1", "model": "claude", "usage": { "input_tokens": 1, "output_tokens": 0 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "I look." } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "tool_use", "id": "a", "name": "look", "input": {} } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"a" } }),
            json!({ "type": "content_block_stop", "index": 1 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 1 } }),
            json!({ "type": "message_stop" }),
        ]
    };
    let statuses = |items: &Value| -> Vec<String> {
        items.as_array().unwrap().iter().map(|item| item["status"].as_str().unwrap_or("").to_owned()).collect()
    };
    for (reason, last) in [("max_tokens", "incomplete"), ("refusal", "incomplete"), ("tool_use", "completed")] {
        let whole = super::tests::whole(Responses, Messages, &answer(reason));
        assert_eq!(statuses(&whole["output"]), ["completed", last], "{reason}");
        let events = super::tests::streamed(Responses, Messages, &stream(reason));
        let done = events.iter().filter(|(name, _)| name == "response.output_item.done");
        let done: Value = done.map(|(_, data)| data["item"].clone()).collect();
        assert_eq!(statuses(&done), ["completed", last], "{reason}");
        // What the client puts together is what the response says in the end.
        assert_eq!(events.last().unwrap().1["response"]["output"], done, "{reason}");
    }
}
