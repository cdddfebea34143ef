//! The loops of agents: a client of each format asks, gets calls of tools, sends their results with all that it was given, and goes
//! on until the task ends; each provider holds what it is sent against what it gave.

use super::property_tests::{document, parsed, sent};
use super::*;
use crate::translate::model::{Finish, Opened, Opening, Usage};
use crate::translate::signatures::OPENAI;
use serde_json::{Value, json};

const PROVIDERS: [(Format, &str); 6] = [
    (Format::Chat, "gpt-4o"),
    (Format::Chat, "mistral-large-latest"),
    (Format::Responses, "gpt-5.2-codex"),
    (Format::Messages, "claude-sonnet-4-5"),
    (Format::Gemini, "gemini-3-pro"),
    (Format::Converse, "us.anthropic.claude-sonnet-4-5-v1:0"),
];

fn ordered(value: &Value) -> Json {
    Json::parse(&value.to_string()).unwrap()
}

fn plain(json: &Json) -> Value {
    serde_json::from_str(&json.to_string()).unwrap()
}

/// What a provider answers in a turn: a thought and a call, then two calls at once, then the end.
fn answered(provider: Format, turn: usize) -> Vec<Event> {
    let mut all = vec![Event::Start { id: format!("answer{turn}"), model: "model".to_owned() }];
    let signature = match provider {
        Format::Messages | Format::Converse => Some(format!("U0lH{turn}")),
        Format::Responses => Some(format!("{OPENAI}ENC{turn}")),
        _ => None,
    };
    if let (Some(signature), true) = (signature, turn < 2) {
        let thought = [Event::Open(Opening::Thinking), Event::More("hm".to_owned()), Event::Signature(signature)];
        all.extend(thought);
        all.push(Event::Close);
    }
    let calls: &[&str] = [&["Bash"][..], &["Read", "mcp__files.list"], &[]].get(turn).copied().unwrap();
    if calls.is_empty() {
        all.extend([Event::Open(Opening::Text), Event::More("done".to_owned()), Event::Close]);
    }
    for (n, name) in calls.iter().enumerate() {
        // Google signs the first of the calls that it makes at once.
        let signature = (provider == Format::Gemini && n == 0).then(|| format!("c2ln{turn}+/="));
        let id = format!("call_{turn}_{n}");
        let name = names::Names::default().safe(name);
        all.push(Event::Open(Opening::ToolUse(Opened { id, name, signature, is_custom: false })));
        all.extend([Event::More(format!("{{\"n\":{n}}}")), Event::Close]);
    }
    all.push(Event::Usage(Usage { input: 9, output: 3, ..Usage::default() }));
    let reason = if calls.is_empty() { Finish::Stop } else { Finish::ToolUse };
    all.extend([Event::Finish { reason, stop_sequence: None }, Event::End]);
    all
}

/// The first request of an agent: as Claude Code and Codex make them, and what programs do with the other two.
fn task(caller: Format, stream: bool) -> Value {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "additionalProperties": false, "$schema": "http://json-schema.org/draft-07/schema#" });
    let names = ["Bash", "Read", "mcp__files.list"];
    match caller {
        Format::Messages => {
            json!({ "model": "claude-sonnet-4-5", "max_tokens": 32_000, "stream": stream, "temperature": 1,
            "system": [{ "type": "text", "text": "You are an agent.", "cache_control": { "type": "ephemeral" } }],
            "metadata": { "user_id": format!("user_{}_account__session_{}", "a".repeat(64), "b".repeat(36)) },
            "thinking": { "type": "enabled", "budget_tokens": 31_999 }, "context_management": { "edits": [] },
            "tools": names.map(|name| json!({ "name": name, "description": "d", "input_schema": schema })),
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Do it.", "cache_control": { "type": "ephemeral" } }] }] })
        }
        Format::Responses => {
            json!({ "model": "gpt-5-codex", "instructions": "You are an agent.", "stream": stream, "store": false,
            "include": ["reasoning.encrypted_content"], "reasoning": { "effort": "medium", "summary": "auto" }, "parallel_tool_calls": true,
            "tool_choice": "auto", "prompt_cache_key": "0199", "text": { "verbosity": "low" },
            "tools": of_codex(&names, &schema),
            "input": [{ "type": "message", "role": "developer", "content": [{ "type": "input_text", "text": "Sandbox." }] },
                { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "Do it." }] }] })
        }
        Format::Gemini => json!({ "systemInstruction": { "parts": [{ "text": "You are an agent." }] },
            "generationConfig": { "thinkingConfig": { "includeThoughts": true, "thinkingBudget": 4096 } },
            "tools": [{ "functionDeclarations": names.map(|name| json!({ "name": name, "parametersJsonSchema": schema })) }],
            "contents": [{ "role": "user", "parts": [{ "text": "Do it." }] }] }),
        _ => json!({ "model": "gpt-5", "stream": stream, "reasoning_effort": "medium",
            "tools": names.map(|name| json!({ "type": "function", "function": { "name": name, "parameters": schema } })),
            "messages": [{ "role": "system", "content": "You are an agent." }, { "role": "user", "content": "Do it." }] }),
    }
}

fn of_codex(names: &[&str], schema: &Value) -> Vec<Value> {
    let grammar = json!({ "type": "grammar", "syntax": "lark", "definition": "start: /.*/" });
    let mut all = vec![
        json!({ "type": "web_search" }),
        json!({ "type": "custom", "name": "apply_patch", "description": "d", "format": grammar }),
    ];
    let function = |name| json!({ "type": "function", "name": name, "strict": false, "parameters": schema });
    all.extend(names.iter().map(function));
    all
}

/// A stream as the client's library puts it together.
fn assembled(caller: Format, stream: &str) -> Value {
    let events = parsed(stream);
    match caller {
        Format::Responses => events.last().unwrap().1["response"].clone(),
        Format::Gemini => {
            let parts =
                events.iter().flat_map(|(_, data)| data["candidates"][0]["content"]["parts"].as_array().unwrap());
            json!({ "candidates": [{ "content": { "role": "model", "parts": parts.collect::<Vec<_>>() } }] })
        }
        Format::Messages => {
            let mut blocks: Vec<Value> = Vec::new();
            let mut input = String::new();
            for (name, data) in &events {
                let delta = &data["delta"];
                match name.as_str() {
                    "content_block_start" => blocks.push(data["content_block"].clone()),
                    "content_block_delta" => match delta["type"].as_str().unwrap() {
                        "input_json_delta" => input.push_str(delta["partial_json"].as_str().unwrap()),
                        "signature_delta" => blocks.last_mut().unwrap()["signature"] = delta["signature"].clone(),
                        kind => {
                            let member = kind.trim_end_matches("_delta");
                            let block = &mut blocks.last_mut().unwrap()[member];
                            *block =
                                Value::from(format!("{}{}", block.as_str().unwrap(), delta[member].as_str().unwrap()));
                        }
                    },
                    "content_block_stop" if !input.is_empty() => {
                        blocks.last_mut().unwrap()["input"] =
                            serde_json::from_str(&std::mem::take(&mut input)).unwrap();
                    }
                    _ => {}
                }
            }
            json!({ "content": blocks })
        }
        _ => {
            let (mut message, mut calls) = (json!({ "role": "assistant", "content": "" }), Vec::<Value>::new());
            for delta in events.iter().filter_map(|(_, data)| data.pointer("/choices/0/delta")) {
                if let Some(text) = delta["content"].as_str() {
                    message["content"] = Value::from(format!("{}{text}", message["content"].as_str().unwrap()));
                }
                if let Some(blocks) = delta.get("thinking_blocks") {
                    message["thinking_blocks"] = blocks.clone();
                }
                for call in delta["tool_calls"].as_array().into_iter().flatten() {
                    if call.get("id").is_some() {
                        calls.push(call.clone());
                    } else {
                        let all = &mut calls.last_mut().unwrap()["function"]["arguments"];
                        *all = Value::from(format!(
                            "{}{}",
                            all.as_str().unwrap(),
                            call["function"]["arguments"].as_str().unwrap()
                        ));
                    }
                }
            }
            if !calls.is_empty() {
                message["tool_calls"] = Value::from(calls);
            }
            json!({ "choices": [{ "message": message }] })
        }
    }
}

/// Adds an answer and the results of its calls to the conversation, as the clients of that format do. Returns the calls' names.
fn go_on(caller: Format, request: &mut Value, answer: &Value) -> Vec<String> {
    let mut called = Vec::new();
    let mut name = |value: &Value| called.push(value["name"].as_str().unwrap().to_owned());
    let conversation = match caller {
        Format::Responses => "input",
        Format::Gemini => "contents",
        _ => "messages",
    };
    let all = request[conversation].as_array_mut().unwrap();
    match caller {
        Format::Responses => {
            let items = answer["output"].as_array().unwrap();
            all.extend(items.iter().cloned());
            for item in items.iter().filter(|item| item["type"] == "function_call") {
                name(item);
                all.push(json!({ "type": "function_call_output", "call_id": item["call_id"], "output": "ok" }));
            }
        }
        Format::Gemini => {
            let content = answer["candidates"][0]["content"].clone();
            let mut results = Vec::new();
            for call in content["parts"].as_array().unwrap().iter().filter_map(|part| part.get("functionCall")) {
                name(call);
                results.push(json!({ "functionResponse": { "id": call["id"], "name": call["name"], "response": { "output": "ok" } } }));
            }
            all.extend([content, json!({ "role": "user", "parts": results })]);
        }
        Format::Messages => {
            let mut results = Vec::new();
            for block in answer["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use") {
                name(block);
                results.push(json!({ "type": "tool_result", "tool_use_id": block["id"], "content": "ok" }));
            }
            results.push(json!({ "type": "text", "text": "<system-reminder>go on</system-reminder>" }));
            all.extend([
                json!({ "role": "assistant", "content": answer["content"] }),
                json!({ "role": "user", "content": results }),
            ]);
        }
        _ => {
            let message = answer["choices"][0]["message"].clone();
            let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
            all.push(message);
            for call in &calls {
                name(&call["function"]);
                all.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "ok" }));
            }
        }
    }
    called
}

/// What the provider sees of the turns before: calls and results by their ids in order, and its own signatures at their places.
fn seen(provider: Format, body: &Value) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut calls, mut results, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let blocks = |name: &str, inner: &str| -> Vec<Value> {
        let turns = body[name].as_array().unwrap().iter();
        turns.flat_map(|turn| turn[inner].as_array().cloned().unwrap_or_default()).collect()
    };
    match provider {
        Format::Messages => {
            for block in blocks("messages", "content") {
                match block["type"].as_str().unwrap() {
                    "tool_use" => calls.push(text(&block["id"])),
                    "tool_result" => results.push(text(&block["tool_use_id"])),
                    "thinking" => signatures.push(format!("{} before {}", text(&block["signature"]), calls.len())),
                    _ => {}
                }
            }
        }
        Format::Converse => {
            for block in blocks("messages", "content") {
                if let Some(call) = block.get("toolUse") {
                    calls.push(text(&call["toolUseId"]));
                } else if let Some(result) = block.get("toolResult") {
                    results.push(text(&result["toolUseId"]));
                } else if let Some(thought) = block.pointer("/reasoningContent/reasoningText") {
                    signatures.push(format!("{} before {}", text(&thought["signature"]), calls.len()));
                }
            }
        }
        Format::Responses => {
            for item in body["input"].as_array().unwrap() {
                match item["type"].as_str().unwrap() {
                    "function_call" => calls.push(text(&item["call_id"])),
                    "function_call_output" => results.push(text(&item["call_id"])),
                    "reasoning" => {
                        signatures.push(format!("{} before {}", text(&item["encrypted_content"]), calls.len()))
                    }
                    _ => {}
                }
            }
        }
        Format::Gemini => {
            for part in blocks("contents", "parts") {
                if let Some(call) = part.get("functionCall") {
                    if let Some(signature) = part.get("thoughtSignature") {
                        signatures.push(format!("{} before {}", text(signature), calls.len()));
                    }
                    calls.push(text(&call["name"]));
                } else if let Some(result) = part.get("functionResponse") {
                    results.push(text(&result["name"]));
                }
            }
        }
        Format::Chat => {
            for message in body["messages"].as_array().unwrap() {
                calls.extend(message["tool_calls"].as_array().into_iter().flatten().map(|call| text(&call["id"])));
                results.extend(message.get("tool_call_id").map(text));
            }
        }
    }
    (calls, results, signatures)
}

/// The provider's own signatures after so many turns, each before the call that it stands before.
fn given(provider: Format, turn: usize) -> Vec<String> {
    let sign = |n: usize| match provider {
        Format::Messages | Format::Converse => format!("U0lH{n}"),
        Format::Responses => format!("ENC{n}"),
        _ => format!("c2ln{n}+/="),
    };
    let turns = if provider == Format::Chat { 0 } else { turn };
    (0..turns).map(|n| format!("{} before {n}", sign(n))).collect()
}

#[test]
fn agents_of_every_format_end_their_task_with_the_models_of_every_other() {
    for (provider, model) in PROVIDERS {
        for caller in [Format::Chat, Format::Responses, Format::Messages, Format::Gemini] {
            for stream in [true, false] {
                let at = format!("{caller:?} to {provider:?} ({model}), stream: {stream}");
                let mut asked = task(caller, stream);
                let mut called = Vec::new();
                for turn in 0..3 {
                    let own = ordered(&asked);
                    let translated =
                        request(caller, provider, &own, "m", stream, model).unwrap_or_else(|no| panic!("{at}: {no:?}"));
                    let (calls, results, signatures) = seen(provider, &plain(&translated.body));
                    assert_eq!(calls.len(), [0, 1, 3][turn], "{at}: {:#}", plain(&translated.body));
                    assert_eq!(calls, results, "{at}");
                    assert_eq!(signatures, given(provider, turn), "{at}: {:#}", plain(&translated.body));
                    let mut back = Return::new(caller, provider, &translated, &own, &format!("log{turn}"), model, 7);
                    let events = answered(provider, turn);
                    let answer = if stream {
                        let mut out = String::new();
                        for (name, data) in sent(provider, &events) {
                            back.event(&name, &data, &mut out);
                        }
                        back.end(&mut out);
                        assembled(caller, &out)
                    } else {
                        plain(&back.whole(&document(provider, &events)))
                    };
                    called.extend(go_on(caller, &mut asked, &answer));
                }
                assert_eq!(called, ["Bash", "Read", "mcp__files.list"], "{at}");
            }
        }
    }
}
