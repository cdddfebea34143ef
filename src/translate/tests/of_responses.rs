//! What went wrong in other gateways with OpenAI's Responses.

use super::*;

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
