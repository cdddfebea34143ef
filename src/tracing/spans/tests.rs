use super::*;
use crate::logs::call::{Call, Failure, Outcome};
use crate::logs::metadata::Metadata;
use crate::logs::record::tests::{answered, call};
use crate::telemetry::destination::Destination;
use crate::wire::{Facts, Usage};
use serde_json::json;
use std::collections::BTreeMap;
use std::rc::Rc;

pub fn exporter(id: &str) -> Rc<Exporter> {
    let destination = Destination {
        id: id.to_owned(),
        url: "https://collector.example".to_owned(),
        protobuf: false,
        preset: Preset::Generic,
        sample: 1.0,
        content: false,
    };
    Rc::new(Exporter {
        account: "acct".to_owned(),
        gateway: 1,
        gateway_id: "gw".to_owned(),
        destination,
        sealed: None,
        checked: true,
    })
}

/// A span of about so many bytes.
pub fn span(length: usize) -> Span {
    let attributes = vec![("text".to_owned(), Attribute::Text("x".repeat(length)))];
    let (name, status) = ("chat m".to_owned(), Status::Unset);
    Span { trace: [1; 16], id: [2; 8], parent: None, name, start: 1, end: 2, attributes, status }
}

const TRACE: Trace = Trace { id: [7; 16], root: [8; 8], parent: Some([9; 8]), begun: 1_699_999_999_000 };

fn record(change: impl FnOnce(&mut Call, &mut Outcome)) -> LogRecord {
    let usage = Usage {
        tokens_in: Some(100),
        tokens_out: Some(20),
        cached: Some(30),
        cache_write: Some(5),
        reasoning: Some(7),
        cached_outside: true,
        ..Usage::default()
    };
    let finish_reason = Some("stop".to_owned());
    let facts = Facts { usage, finish_reason, response_id: Some("resp-1".to_owned()), ..Facts::default() };
    let (mut call, mut outcome) = (call("log-1"), answered(facts));
    call.caller = "token-1".to_owned();
    outcome.duration = 1_500;
    outcome.first_byte = Some(250);
    outcome.content_type = Some("text/event-stream".to_owned());
    change(&mut call, &mut outcome);
    LogRecord::new(call, outcome)
}

fn told(record: &LogRecord, change: impl FnOnce(&mut Destination)) -> (Span, BTreeMap<String, Attribute>) {
    let mut exporter = (*exporter("d")).clone();
    change(&mut exporter.destination);
    let content = Content::of(record, exporter.destination.content);
    let span = of_request(record, &TRACE, &exporter, content.as_ref());
    let attributes = span.attributes.iter().cloned().collect();
    assert_eq!(span.attributes.len(), BTreeMap::len(&attributes), "no attribute is told twice");
    (span, attributes)
}

fn text(text: &str) -> Attribute {
    Attribute::Text(text.to_owned())
}

#[test]
fn a_request_is_told_by_the_conventions_old_and_new_and_by_cloudflares_names() {
    let (span, of) = told(&record(|_, _| {}), |_| {});
    assert_eq!((span.name.as_str(), span.trace, span.id, span.parent), ("chat gpt-4o", [7; 16], [8; 8], Some([9; 8])));
    assert_eq!((span.start, span.end), (1_699_999_999_000_000_000, 1_700_000_001_500_000_000));
    assert_eq!(span.status, Status::Unset);
    for (name, value) in [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.system", text("openai")),
        ("gen_ai.model.provider", text("openai")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.response.id", text("resp-1")),
        ("gen_ai.response.finish_reasons", Attribute::List(vec![text("stop")])),
        // All three numbers of Anthropic's together.
        ("gen_ai.usage.input_tokens", Attribute::Int(135)),
        ("gen_ai.usage.output_tokens", Attribute::Int(20)),
        ("gen_ai.usage.cache_read.input_tokens", Attribute::Int(30)),
        ("gen_ai.usage.cache_write.input_tokens", Attribute::Int(5)),
        ("gen_ai.usage.cache_creation.input_tokens", Attribute::Int(5)),
        ("gen_ai.usage.reasoning.output_tokens", Attribute::Int(7)),
        ("gen_ai.response.time_to_first_chunk", Attribute::Double(0.25)),
        ("tollgate.log_id", text("log-1")),
        ("tollgate.gateway", text("gw")),
        ("tollgate.token_id", text("token-1")),
        ("tollgate.cached", Attribute::Bool(false)),
    ] {
        assert_eq!(of.get(name), Some(&value), "{name}");
    }
    assert!(matches!(of["gen_ai.usage.cost"], Attribute::Double(cost) if cost > 0.0));
    assert!(!of.keys().any(|name| name.contains("messages") || name.contains("_json") || name == "error.type"));
}

#[test]
fn content_is_told_only_where_it_is_wanted_and_kept() {
    let asked = r#"{"model":"gpt-4o","temperature":0.5,"max_tokens":9,"stop":["a"],"stream":true,"messages":[{"role":"user","content":"Hi there"}]}"#;
    let said = r#"{"choices":[{"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}]}"#;
    let with = record(|call, outcome| {
        call.body = Some(asked.to_owned());
        outcome.body = Some(said.to_owned());
    });
    let (_, of) = told(&with, |to| to.content = true);
    let parsed = |name: &str| match &of[name] {
        Attribute::Text(text) => serde_json::from_str::<Value>(text).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        parsed("gen_ai.input.messages"),
        json!([{ "role": "user", "parts": [{ "type": "text", "content": "Hi there" }] }])
    );
    let answer =
        json!([{ "role": "assistant", "parts": [{ "type": "text", "content": "Hello!" }], "finish_reason": "stop" }]);
    assert_eq!(parsed("gen_ai.output.messages"), answer);
    assert_eq!((&of["gen_ai.prompt_json"], &of["gen_ai.completion_json"]), (&text(asked), &text(said)));
    let (_, of) = told(&with, |_| {});
    assert!(!of.keys().any(|name| name.contains("messages") || name.contains("_json")));
    assert_eq!(of["gen_ai.request.temperature"], Attribute::Double(0.5));
    assert_eq!(
        (&of["gen_ai.request.max_tokens"], &of["gen_ai.request.stream"]),
        (&Attribute::Int(9), &Attribute::Bool(true))
    );
    assert_eq!(of["gen_ai.request.stop_sequences"], Attribute::List(vec![text("a")]));
    // A gateway with zdr keeps no body.
    let without = record(|call, _| call.body = None);
    assert!(!told(&without, |to| to.content = true).1.keys().any(|name| name.contains("messages")));
}

#[test]
fn long_content_is_cut_and_says_so() {
    let long = json!({ "model": "m", "messages": [{ "role": "user", "content": "ü".repeat(100_000) }, { "role": "user", "content": "last" }] });
    let record = record(|call, _| call.body = Some(long.to_string()));
    let (_, of) = told(&record, |to| to.content = true);
    let Attribute::Text(input) = &of["gen_ai.input.messages"] else { panic!() };
    assert!(input.contains("last") && input.len() < 200, "the last messages are kept whole");
    let Attribute::Text(raw) = &of["gen_ai.prompt_json"] else { panic!() };
    assert!(raw.len() <= 64 * 1024 && of["tollgate.truncated"] == Attribute::Bool(true));
}

#[test]
fn presets_add_what_their_backends_want() {
    let tagged = record(|call, _| {
        call.metadata = Metadata {
            entries: vec![
                ("user".to_owned(), json!("anna")),
                ("gen_ai.system".to_owned(), json!("x")),
                ("n".to_owned(), json!(5)),
            ],
            ..Metadata::default()
        };
    });
    let (_, of) = told(&tagged, |to| to.preset = Preset::Langfuse);
    let Attribute::Text(usage) = &of["langfuse.observation.usage_details"] else { panic!() };
    let usage: Value = serde_json::from_str(usage).unwrap();
    assert_eq!(
        (&usage["input"], &usage["input_cached_tokens"], &usage["output"], &usage["total"]),
        (&json!(100), &json!(30), &json!(13), &json!(155))
    );
    assert_eq!((&of["langfuse.user.id"], &of["langfuse.trace.metadata.n"]), (&text("anna"), &Attribute::Int(5)));
    assert_eq!(
        (&of["user"], &of["gen_ai.system"]),
        (&text("anna"), &text("openai")),
        "names of the conventions are not for callers"
    );
    let (_, of) = told(&tagged, |to| to.preset = Preset::Phoenix);
    assert_eq!((&of["openinference.span.kind"], &of["llm.token_count.prompt"]), (&text("LLM"), &Attribute::Int(135)));
    assert_eq!(of["llm.token_count.total"], Attribute::Int(155));
}

#[test]
fn an_attempt_is_told_of_its_call() {
    let sent = Sent { url: "https://api.openai.com/v1/chat/completions", method: "POST", id: [5; 8] };
    let of = |record: &LogRecord| -> (Span, BTreeMap<String, Attribute>) {
        let span = of_attempt(record, &TRACE, &sent);
        (span.clone(), span.attributes.into_iter().collect())
    };
    let (span, good) = of(&record(|_, _| {}));
    assert_eq!((span.name.as_str(), span.parent, span.id), ("HTTP POST", Some([8; 8]), [5; 8]));
    assert_eq!((&good["server.address"], &good["server.port"]), (&text("api.openai.com"), &Attribute::Int(443)));
    assert_eq!(good["http.response.status_code"], Attribute::Int(200));
    assert!(!good.contains_key("http.request.resend_count") && !good.keys().any(|name| name.starts_with("gen_ai.")));
    let (span, busy) = of(&record(|call, outcome| {
        call.attempt = 2;
        outcome.status = Some(429);
    }));
    assert_eq!((&busy["error.type"], &busy["http.request.resend_count"]), (&text("429"), &Attribute::Int(1)));
    assert!(matches!(span.status, Status::Error(_)));
    let (_, late) = of(&record(|_, outcome| {
        outcome.status = Some(502);
        outcome.failure = Some(Failure::Upstream("no answer within 5 s".to_owned()));
    }));
    assert_eq!((late.get("http.response.status_code"), &late["error.type"]), (None, &text("timeout")));
    for (url, host, port) in
        [("http://[::1]:8080/x", "[::1]", 8080), ("http://a.b/x", "a.b", 80), ("https://[::1]/", "[::1]", 443)]
    {
        assert_eq!(host_of(url), (host, Some(port)));
    }
}

#[test]
fn operations_have_the_names_of_the_conventions() {
    for (provider, path, wanted) in [
        ("openai", "chat/completions", "chat"),
        ("openai", "embeddings", "embeddings"),
        ("anthropic", "v1/messages", "chat"),
        ("google-ai-studio", "v1beta/models/gemini-2.5-pro:generateContent", "generate_content"),
        ("openai", "files", "files"),
    ] {
        let record = record(|call, _| {
            (call.provider, call.rest) = (provider.to_owned(), path.to_owned());
        });
        assert_eq!(operation(&record), wanted, "{path}");
    }
}
