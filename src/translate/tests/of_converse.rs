//! What went wrong in other gateways with Amazon's Converse.

use super::*;

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
fn case_49_an_error_of_bedrock_has_the_form_of_messages() {
    let told = failure::of_body(400, r#"{"message":"The model does not count tokens."}"#);
    let expected = json!({ "type": "invalid_request_error", "message": "The model does not count tokens." });
    assert_eq!(plain(&error(Format::Messages, &told))["error"], expected);
}
