//! What holds for all answers and requests: legal streams, whole or cut off; the same content streamed and not; the same sums of
//! tokens; and no harm from hostile input.

use super::*;
use crate::testing::grammar::Grammar;
use crate::translate::model::{Content, Finish, Opened, Opening, Usage};
use crate::translate::responses::write::Echo;
use proptest::prelude::*;
use serde_json::{Value, json};

const FORMATS: [Format; 5] = [Format::Chat, Format::Responses, Format::Messages, Format::Gemini, Format::Converse];

/// The formats in which clients are answered.
const CALLERS: [Format; 4] = [Format::Chat, Format::Responses, Format::Messages, Format::Gemini];

const MODELS: [&str; 6] =
    ["claude-sonnet-4-5", "claude-opus-5", "gemini-2.5-pro", "gemini-3-pro", "gpt-5", "mistral-large"];

pub type Sent = Vec<(String, Json)>;

/// How many cases a fuzz has: `FUZZ_CASES=1000000 cargo test --release fuzz` looks longer.
fn fuzz_cases() -> u32 {
    std::env::var("FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

fn grammar(format: Format) -> Grammar {
    match format {
        Format::Chat | Format::Converse => Grammar::Chat(Default::default()),
        Format::Responses => Grammar::Responses(Default::default()),
        Format::Messages => Grammar::Messages(Default::default()),
        Format::Gemini => Grammar::Gemini(Default::default()),
    }
}

fn ordered(value: &Value) -> Json {
    Json::parse(&value.to_string()).unwrap()
}

/// A request that asks for all that an answer can have.
fn asked(caller: Format) -> Value {
    let question = json!({ "role": "user", "content": "hi" });
    match caller {
        Format::Responses => {
            json!({ "model": "m", "stream": true, "input": [question], "reasoning": { "effort": "low", "summary": "auto" },
                "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object" } }] })
        }
        Format::Gemini => {
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
                "tools": [{ "functionDeclarations": [{ "name": "f", "parameters": { "type": "OBJECT" } }] }],
                "generationConfig": { "thinkingConfig": { "includeThoughts": true, "thinkingBudget": 2048 } } })
        }
        Format::Messages => {
            json!({ "model": "m", "stream": true, "max_tokens": 9000, "messages": [question], "system": "s",
                "tools": [{ "name": "f", "input_schema": { "type": "object" } }], "thinking": { "type": "adaptive" } })
        }
        Format::Chat => {
            json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true }, "messages": [question],
                "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
                "response_format": { "type": "json_object" }, "reasoning_effort": "low" })
        }
        Format::Converse => json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }],
                "toolConfig": { "tools": [{ "toolSpec": { "name": "f", "inputSchema": { "json": { "type": "object" } } } }] },
                "inferenceConfig": { "maxTokens": 10 } }),
    }
}

pub fn back(caller: Format, provider: Format) -> Return {
    let mut asked = asked(caller);
    asked.as_object_mut().unwrap().remove("response_format");
    let asked = ordered(&asked);
    let translated = request(caller, provider, &asked, "m", true, "claude-sonnet-4-5").unwrap();
    Return::new(caller, provider, &translated, &asked, "log_1", "m", 7)
}

pub fn parsed(stream: &str) -> Vec<(String, Value)> {
    let events = stream.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    events
        .map(|event| {
            let line = |start: &str| event.lines().find_map(|line| line.strip_prefix(start));
            let data = line("data: ").unwrap();
            (line("event: ").unwrap_or("").to_owned(), serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
        })
        .collect()
}

/// What a provider sends in a stream.
pub fn sent(provider: Format, events: &[Event]) -> Sent {
    let mut writer: Box<dyn Writer> = match provider {
        Format::Chat => Box::new(chat::write::ChatWriter::new(7, true, 0)),
        Format::Responses => Box::new(responses::write::ResponsesWriter::new(7, Echo::default())),
        Format::Messages => Box::new(messages::write::MessagesWriter::default()),
        Format::Gemini => Box::new(gemini::write::GeminiWriter::new(true, 0)),
        Format::Converse => return sent_by_bedrock(events),
    };
    let mut out = String::new();
    for event in events {
        writer.event(event, &mut out);
    }
    parsed(&out).iter().filter(|(_, data)| data.is_object()).map(|(name, data)| (name.clone(), ordered(data))).collect()
}

fn bedrock_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::ToolUse => "tool_use",
        Finish::Length => "max_tokens",
        Finish::Refused => "content_filtered",
        _ => "end_turn",
    }
}

fn bedrock_usage(usage: &Usage) -> Value {
    json!({ "inputTokens": usage.input, "outputTokens": usage.output, "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write() })
}

fn sent_by_bedrock(events: &[Event]) -> Sent {
    let (mut all, mut kind, mut used) = (Vec::new(), "", Usage::default());
    let mut send = |name: &str, data: Value| all.push((name.to_owned(), ordered(&data)));
    for event in events {
        match event {
            Event::Start { .. } => send("messageStart", json!({ "role": "assistant" })),
            Event::Open(Opening::ToolUse(call)) => {
                kind = "call";
                send(
                    "contentBlockStart",
                    json!({ "start": { "toolUse": { "toolUseId": call.id, "name": call.name } } }),
                );
            }
            Event::Open(opening) => kind = if *opening == Opening::Thinking { "thought" } else { "text" },
            Event::More(text) => send(
                "contentBlockDelta",
                match kind {
                    "call" => json!({ "delta": { "toolUse": { "input": text } } }),
                    "thought" => json!({ "delta": { "reasoningContent": { "text": text } } }),
                    _ => json!({ "delta": { "text": text } }),
                },
            ),
            Event::Signature(signature) => {
                send("contentBlockDelta", json!({ "delta": { "reasoningContent": { "signature": signature } } }));
            }
            Event::Close => send("contentBlockStop", json!({})),
            Event::Dropped(_) | Event::Citation(_) => {}
            Event::Usage(usage) => used = *usage,
            Event::Finish { reason, .. } => send("messageStop", json!({ "stopReason": bedrock_reason(*reason) })),
            Event::End => send("metadata", json!({ "usage": bedrock_usage(&used) })),
            Event::Error(failure) => send("internalServerException", json!({ "message": failure.message })),
        }
    }
    all
}

/// The same as one document.
pub fn document(provider: Format, events: &[Event]) -> Json {
    let answer = Answer::of(events);
    match provider {
        Format::Chat => chat::write::write(&answer, 7),
        Format::Responses => responses::write::write(&answer, &Echo::default(), 7),
        Format::Messages => messages::write::write(&answer),
        Format::Gemini => gemini::write::write(&answer, true),
        Format::Converse => {
            let blocks = answer.blocks.iter().map(|block| match &block.content {
                Content::Text(text) => json!({ "text": text }),
                Content::Thinking(own) => {
                    json!({ "reasoningContent": { "reasoningText": { "text": own.text, "signature": own.signature } } })
                }
                Content::ToolUse(call) => {
                    let input: Value = serde_json::from_str(&call.arguments).unwrap();
                    json!({ "toolUse": { "toolUseId": call.id, "name": call.name, "input": input } })
                }
                other => panic!("{other:?}"),
            });
            let blocks: Vec<Value> = blocks.collect();
            ordered(&json!({ "output": { "message": { "role": "assistant", "content": blocks } },
                "stopReason": bedrock_reason(answer.finish.unwrap()), "usage": bedrock_usage(&answer.usage) }))
        }
    }
}

fn reader(format: Format) -> Box<dyn Reader> {
    match format {
        Format::Chat => Box::new(chat::read::ChatReader::default()),
        Format::Responses => Box::new(responses::read::ResponsesReader::default()),
        Format::Messages => Box::new(messages::read::MessagesReader::default()),
        Format::Gemini => Box::new(gemini::read::GeminiReader::default()),
        Format::Converse => Box::new(converse::read::ConverseReader::default()),
    }
}

/// What a client makes of an answer: its text, its thoughts, its calls, how it ended, and the tokens of both directions.
#[derive(Debug, PartialEq)]
struct Understood {
    text: String,
    thoughts: String,
    calls: Vec<(String, Value)>,
    finish: Option<Finish>,
    tokens: (u64, u64),
}

fn understood(events: &[Event]) -> Understood {
    let answer = Answer::of(events);
    let mut all = Understood {
        text: String::new(),
        thoughts: String::new(),
        calls: Vec::new(),
        finish: answer.finish,
        tokens: (answer.usage.prompt(), answer.usage.output),
    };
    for block in &answer.blocks {
        match &block.content {
            Content::Text(text) => all.text.push_str(text),
            Content::Thinking(own) => all.thoughts.push_str(&own.text),
            Content::ToolUse(call) => {
                all.calls.push((call.name.clone(), serde_json::from_str(&call.arguments).unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

fn understood_whole(caller: Format, document: &Json) -> Understood {
    let mut events = Vec::new();
    reader(caller).whole(document, &mut events);
    understood(&events)
}

fn understood_streamed(caller: Format, stream: &[(String, Value)]) -> Understood {
    let (mut reader, mut events) = (reader(caller), Vec::new());
    for (name, data) in stream.iter().filter(|(_, data)| data.is_object()) {
        reader.event(name, &ordered(data), &mut events);
    }
    reader.end(&mut events);
    understood(&events)
}

fn pieces() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z \\\\\"\né😀]{1,6}", 1..4)
}

fn arguments() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\😀]{0,5}".prop_map(Value::from)
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,3}", inner, 0..3)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[a-z]{1,4}", value, 0..3)
        .prop_map(|all| Value::Object(all.into_iter().collect()).to_string())
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<String>),
    Thought(Vec<String>, Option<String>),
    Call(String, usize),
}

/// An answer as its events.
pub fn answers() -> impl Strategy<Value = Vec<Event>> {
    let part = prop_oneof![
        pieces().prop_map(Part::Text),
        (pieces(), prop::option::of("[A-Za-z0-9]{4,12}")).prop_map(|(text, signature)| Part::Thought(text, signature)),
        (arguments(), 0usize..20).prop_map(|(text, cut)| Part::Call(text, cut)),
    ];
    let usage = (0u64..5000, 0u64..5000, 0u64..500, 0u64..5000, 0u64..5000);
    (prop::collection::vec(part, 0..5), 0..3, usage).prop_map(|(parts, end, usage)| {
        let mut all = vec![Event::Start { id: "id1".to_owned(), model: "m1".to_owned() }];
        let mut calls = 0;
        for part in parts {
            match part {
                Part::Text(pieces) => {
                    all.push(Event::Open(Opening::Text));
                    all.extend(pieces.into_iter().map(Event::More));
                }
                Part::Thought(pieces, signature) => {
                    all.push(Event::Open(Opening::Thinking));
                    all.extend(pieces.into_iter().map(Event::More));
                    all.extend(signature.map(Event::Signature));
                }
                Part::Call(text, cut) => {
                    calls += 1;
                    let call = Opened { id: format!("c{calls}"), name: "f".to_owned(), ..Opened::default() };
                    all.push(Event::Open(Opening::ToolUse(call)));
                    let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
                    let (first, rest) = text.split_at(at);
                    all.extend(
                        [first, rest]
                            .iter()
                            .filter(|text| !text.is_empty())
                            .map(|text| Event::More((*text).to_owned())),
                    );
                }
            }
            all.push(Event::Close);
        }
        let (input, cache_read, cache_write_5m, output, thought) = usage;
        let usage =
            Usage { input, cache_read, cache_write_5m, cache_write_1h: 0, output, reasoning: thought.min(output) };
        all.push(Event::Usage(usage));
        let reason = match end {
            0 => Finish::Length,
            1 if calls == 0 => Finish::Refused,
            _ if calls > 0 => Finish::ToolUse,
            _ => Finish::Stop,
        };
        all.extend([Event::Finish { reason, stop_sequence: None }, Event::End]);
        all
    })
}

proptest! {
    #[test]
    fn an_answer_says_the_same_streamed_and_not(answer in answers()) {
        for provider in FORMATS {
            for caller in CALLERS.into_iter().filter(|caller| *caller != provider) {
                let whole = back(caller, provider).whole(&document(provider, &answer));
                let (mut back, mut out) = (back(caller, provider), String::new());
                for (name, data) in sent(provider, &answer) {
                    back.event(&name, &data, &mut out);
                }
                back.end(&mut out);
                let streamed = understood_streamed(caller, &parsed(&out));
                prop_assert_eq!(&streamed, &understood_whole(caller, &whole), "{:?} from {:?}", caller, provider);
                let meant = understood(&answer);
                prop_assert_eq!(&streamed.calls, &meant.calls, "{:?} from {:?}", caller, provider);
                prop_assert_eq!(&streamed.text, &meant.text);
                prop_assert_eq!(&streamed.thoughts, &meant.thoughts);
                prop_assert_eq!(streamed.finish, meant.finish);
                prop_assert_eq!(streamed.tokens, meant.tokens, "{:?} from {:?}", caller, provider);
            }
        }
    }

    #[test]
    fn every_beginning_of_a_stream_is_legal(answer in answers(), cut in any::<prop::sample::Index>()) {
        for provider in FORMATS {
            let events = sent(provider, &answer);
            let cut = cut.index(events.len() + 1);
            for caller in CALLERS.into_iter().filter(|caller| *caller != provider) {
                let (mut back, mut out) = (back(caller, provider), String::new());
                let mut grammar = grammar(caller);
                let mut accept = |out: &mut String| {
                    let taken = std::mem::take(out);
                    parsed(&taken).iter().try_for_each(|(name, data)| grammar.event(name, data))
                };
                for (name, data) in events.iter().take(cut) {
                    back.event(name, data, &mut out);
                    prop_assert_eq!(accept(&mut out), Ok(()), "{:?} from {:?}", caller, provider);
                }
                back.end(&mut out);
                prop_assert_eq!(accept(&mut out), Ok(()), "{:?} from {:?}", caller, provider);
                prop_assert_eq!(grammar.end(), Ok(()), "{:?} from {:?}", caller, provider);
                prop_assert!(back.is_over());
                // What is whole ends well, and what was cut does not.
                let said_its_end = events.iter().take(cut).any(|(name, data)| says_its_end(provider, name, data));
                prop_assert_eq!(grammar.has_failed(), !said_its_end, "{:?} from {:?}", caller, provider);
            }
        }
    }
}

/// Whether the provider says with this event how its answer ended.
fn says_its_end(provider: Format, name: &str, data: &Json) -> bool {
    match provider {
        Format::Chat => data.list("choices").iter().any(|choice| choice.get("finish_reason").is_some()),
        Format::Responses => matches!(name, "response.completed" | "response.incomplete"),
        Format::Messages => name == "message_delta",
        Format::Gemini => data.list("candidates").iter().any(|own| own.get("finishReason").is_some()),
        Format::Converse => name == "messageStop",
    }
}

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap()
    }
}

/// Changes something somewhere in a document.
fn spoilt(value: &mut Value, dice: &mut Dice) {
    let hostile = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("text"),
        json!("\u{0}é😀"),
        json!([]),
        json!({}),
        json!([[]]),
        json!({ "type": "text", "text": "x" }),
        json!({ "type": "tool_use", "id": "", "name": "f" }),
    ];
    match value {
        Value::Object(members) if !members.is_empty() && dice.roll(4) > 0 => {
            let name = members.keys().nth(dice.roll(members.len())).unwrap().clone();
            match dice.roll(8) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert("type".to_owned(), hostile[dice.roll(hostile.len())].clone())),
                _ => spoilt(&mut members[&name], dice),
            }
        }
        Value::Array(all) if !all.is_empty() && dice.roll(4) > 0 => {
            let at = dice.roll(all.len());
            match dice.roll(6) {
                0 => drop(all.remove(at)),
                1 => all.push(all[at].clone()),
                _ => spoilt(&mut all[at], dice),
            }
        }
        other => *other = hostile[dice.roll(hostile.len())].clone(),
    }
}

/// A conversation with all kinds of turns, in a format of callers.
fn conversation(caller: Format) -> Value {
    let mut all = asked(caller);
    let png = "data:image/png;base64,AAAA";
    let extra = match caller {
        Format::Chat => {
            json!({ "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": png } }] },
            { "role": "assistant", "content": null, "reasoning_content": "t", "thinking_blocks": [{ "type": "thinking", "thinking": "t", "signature": "s" }],
              "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } }] },
            { "role": "tool", "tool_call_id": "c1", "content": [{ "type": "text", "text": "r" }] }, { "role": "user", "content": "b" }],
            "tool_choice": "auto", "stop": ["x"], "max_tokens": 100, "temperature": 0.5, "seed": 1 })
        }
        Format::Responses => {
            json!({ "instructions": "i", "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "a" }, { "type": "input_image", "image_url": png }] },
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "t" }], "encrypted_content": "tollgate-signature:s" },
            { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c1", "output": "r" }], "text": { "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" } } } })
        }
        Format::Messages => {
            json!({ "system": [{ "type": "text", "text": "s", "cache_control": { "type": "ephemeral" } }],
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAAA" }, "title": "t" }] },
            { "role": "assistant", "content": [{ "type": "thinking", "thinking": "t", "signature": "s" }, { "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "content": [{ "type": "text", "text": "r" }], "is_error": true }] }],
            "tool_choice": { "type": "auto", "disable_parallel_tool_use": true }, "stop_sequences": ["x"], "top_k": 3 })
        }
        Format::Gemini => {
            json!({ "systemInstruction": { "parts": [{ "text": "s" }] }, "contents": [{ "role": "user", "parts": [{ "text": "a" }, { "inlineData": { "mimeType": "image/png", "data": "AAAA" } }] },
            { "role": "model", "parts": [{ "text": "t", "thought": true }, { "functionCall": { "name": "f", "args": {} }, "thoughtSignature": "c2ln" }] },
            { "role": "user", "parts": [{ "functionResponse": { "name": "f", "response": { "output": "r" } } }] }] })
        }
        Format::Converse => {
            json!({ "system": [{ "text": "s" }, { "cachePoint": { "type": "default" } }], "messages": [{ "role": "user", "content": [{ "text": "a" }, { "image": { "format": "png", "source": { "bytes": "AAAA" } } }] },
            { "role": "assistant", "content": [{ "toolUse": { "toolUseId": "c1", "name": "f", "input": {} } }] },
            { "role": "user", "content": [{ "toolResult": { "toolUseId": "c1", "content": [{ "json": {} }], "status": "error" } }] }] })
        }
    };
    all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: fuzz_cases(), ..ProptestConfig::default() })]

    #[test]
    fn fuzz_of_streams(seed in 1u64.., answer in answers()) {
        let mut dice = Dice(seed);
        let provider = FORMATS[dice.roll(5)];
        let callers: Vec<Format> = CALLERS.into_iter().filter(|caller| *caller != provider).collect();
        let caller = callers[dice.roll(callers.len())];
        let mut events: Vec<(String, Value)> = sent(provider, &answer).iter().map(|(name, data)| (name.clone(), serde_json::from_str(&data.to_string()).unwrap())).collect();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(events.len());
            match dice.roll(5) {
                0 => events.push(events[at].clone()),
                1 if events.len() > 1 => drop(events.remove(at)),
                2 => { let other = dice.roll(events.len()); events.swap(at, other); }
                _ => spoilt(&mut events[at].1, &mut dice),
            }
        }
        let (mut back, mut out) = (back(caller, provider), String::new());
        for (name, data) in &events {
            back.event(name, &ordered(data), &mut out);
        }
        back.end(&mut out);
        let mut grammar = grammar(caller);
        for (name, data) in parsed(&out) {
            prop_assert_eq!(grammar.event(&name, &data), Ok(()), "{:?} from {:?}: {:#?}", caller, provider, events);
        }
        prop_assert_eq!(grammar.end(), Ok(()));
    }

    #[test]
    fn fuzz_of_whole_answers(seed in 1u64.., answer in answers()) {
        let mut dice = Dice(seed);
        let provider = FORMATS[dice.roll(5)];
        let callers: Vec<Format> = CALLERS.into_iter().filter(|caller| *caller != provider).collect();
        let caller = callers[dice.roll(callers.len())];
        let mut document: Value = serde_json::from_str(&document(provider, &answer).to_string()).unwrap();
        for _ in 0..=dice.roll(4) {
            spoilt(&mut document, &mut dice);
        }
        let mut out = String::new();
        back(caller, provider).whole_as_stream(&ordered(&document), &mut out);
        let mut grammar = grammar(caller);
        for (name, data) in parsed(&out) {
            prop_assert_eq!(grammar.event(&name, &data), Ok(()), "{:?} from {:?}: {:#}", caller, provider, document);
        }
        prop_assert_eq!(grammar.end(), Ok(()));
        prop_assert!(back(caller, provider).whole(&ordered(&document)).is_object());
    }

    #[test]
    fn fuzz_of_requests(seed in 1u64..) {
        let mut dice = Dice(seed);
        let (caller, provider) = (FORMATS[dice.roll(5)], FORMATS[dice.roll(5)]);
        let mut body = conversation(caller);
        for _ in 0..dice.roll(4) {
            spoilt(&mut body, &mut dice);
        }
        match request(caller, provider, &ordered(&body), "m", true, MODELS[dice.roll(MODELS.len())]) {
            Ok(translated) => {
                let written: Value = serde_json::from_str(&translated.body.to_string()).unwrap();
                prop_assert!(written.is_object());
                prop_assert_eq!(sound(provider, &written), Ok(()), "{:#}", body);
            }
            Err(refused) => prop_assert!(!refused.field.is_empty() && !refused.why.is_empty()),
        }
    }

    #[test]
    fn fuzz_of_errors(status in 400u16..600, text in "\\PC{0,60}", seed in 1u64..) {
        let mut dice = Dice(seed);
        let mut body = [
            json!({ "error": { "message": text, "code": 429, "type": "t", "status": "NOT_FOUND" } }),
            json!([{ "error": { "message": text } }]),
            json!({ "message": text }),
            json!({ "type": "error", "error": { "type": "overloaded_error", "message": text } }),
        ][dice.roll(4)].clone();
        spoilt(&mut body, &mut dice);
        for body in [body.to_string(), text] {
            let told = failure::of_body(status, &body);
            prop_assert_eq!(told.status, status);
            for format in FORMATS {
                prop_assert!(error(format, &told).get("error").is_some());
            }
        }
    }
}

/// What providers insist on in a request, of those things that a translation decides.
fn sound(provider: Format, body: &Value) -> Result<(), String> {
    let no_empty_text = |text: &Value| text.as_str() != Some("");
    let turns = match provider {
        Format::Messages | Format::Converse => body["messages"].as_array().ok_or("no messages")?,
        Format::Gemini => body["contents"].as_array().ok_or("no contents")?,
        _ => return Ok(()),
    };
    for turn in turns {
        let blocks = turn.get("content").or_else(|| turn.get("parts")).and_then(Value::as_array).ok_or("no content")?;
        if blocks.is_empty() {
            return Err(format!("an empty turn: {turn}"));
        }
        if blocks.iter().any(|block| {
            block.get("text").is_some_and(|text| !no_empty_text(text))
                && block.get("thoughtSignature").is_none()
                && block.get("thought").is_none()
        }) {
            return Err(format!("an empty text: {turn}"));
        }
    }
    let alternates = turns.windows(2).all(|pair| pair[0]["role"] != pair[1]["role"] || provider == Format::Gemini);
    if alternates { Ok(()) } else { Err(format!("roles do not alternate: {body}")) }
}

#[test]
fn hostile_depth_and_size_are_errors_or_are_cut() {
    let deep = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    assert_eq!(Json::parse(&deep), None);
    let mut schema = json!({ "type": "string" });
    for _ in 0..100 {
        schema = json!({ "type": "object", "properties": { "a": schema, "b": { "$ref": "#" } } });
    }
    let wide: Vec<Value> = (0..20_000).map(|n| json!({ "const": n })).collect();
    for schema in [schema, json!({ "type": "object", "properties": { "x": { "anyOf": wide } } })] {
        let Some(body) = Json::parse(&json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }], "tools": [{ "type": "function", "function": { "name": "f", "parameters": schema } }],
            "response_format": { "type": "json_schema", "json_schema": { "schema": schema } } }).to_string()) else { continue };
        for provider in FORMATS {
            for model in MODELS {
                let translated = request(Format::Chat, provider, &body, "m", false, model).unwrap();
                assert!(translated.body.to_string().len() < 4_000_000);
            }
        }
    }
}
