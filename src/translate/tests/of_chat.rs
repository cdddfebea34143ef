//! What went wrong in other gateways with OpenAI's chat completions.

use super::*;

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

#[test]
fn the_model_of_chatgpt_takes_a_temperature() {
    let asked = json!({ "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 9, "temperature": 0.5, "stop_sequences": ["x"] });
    let sent = |model| sent(Format::Messages, Format::Chat, model, &asked);
    assert_eq!(
        (&sent("gpt-5-chat-latest")["temperature"], &sent("gpt-5-mini")["temperature"]),
        (&json!(0.5), &Value::Null)
    );
}
