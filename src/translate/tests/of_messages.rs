//! What went wrong in other gateways with Anthropic's Messages.

use super::*;

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
    let model =
        |format: Format| if format == Format::Messages { old } else { "anthropic.claude-3-5-haiku-20241022-v1:0" };
    for (choice, messages, converse, tools) in [
        (
            json!("none"),
            json!({ "type": "tool", "name": "json_tool" }),
            json!({ "tool": { "name": "json_tool" } }),
            None,
        ),
        (json!("required"), json!({ "type": "any" }), json!({ "any": {} }), Some(1)),
        (
            json!({ "type": "function", "function": { "name": "weather" } }),
            json!({ "type": "tool", "name": "weather" }),
            json!({ "tool": { "name": "weather" } }),
            Some(1),
        ),
    ] {
        body["tool_choice"] = choice.clone();
        let mut told = sent(Format::Chat, Format::Messages, model(Format::Messages), &body);
        if let Some(choice) = told["tool_choice"].as_object_mut() {
            choice.remove("disable_parallel_tool_use");
        }
        assert_eq!(told["tool_choice"], messages, "{choice}");
        let other = sent(Format::Chat, Format::Converse, model(Format::Converse), &body);
        assert_eq!(other["toolConfig"]["toolChoice"], converse, "{choice}");
        if let Some(count) = tools {
            assert_eq!(told["tools"].as_array().map(Vec::len), Some(count), "{choice}");
            assert_eq!(other["toolConfig"]["tools"].as_array().map(Vec::len), Some(count), "{choice}");
        }
    }
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
