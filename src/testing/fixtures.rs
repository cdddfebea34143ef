//! Every provider's answers in `tests/fixtures`, against what must be read from them.

use crate::pricing::price;
use crate::providers::model;
use crate::providers::model::kind::{self, Asking};
use crate::wire::{Facts, Framing, read};
use serde::Deserialize;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What `expected.json` says of a file. Absent means: must not be known.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// The path of the request, from which some providers' models are read. The end-to-end tests send it.
    path: String,
    /// The model of the request's body, if it has one.
    #[serde(default)]
    request_model: Option<String>,
    #[serde(default = "ok")]
    status: u16,
    model: Option<String>,
    response_id: Option<String>,
    tokens_in: Option<u64>,
    tokens_out: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    finish_reason: Option<String>,
    error: Option<String>,
    /// Whether the answer has a cost: the provider's own, or that of the table.
    #[serde(default)]
    priced: bool,
    /// What is counted besides tokens, and the kind of work. Where they are absent, nothing is held against them.
    units: Option<Value>,
    kind: Option<String>,
    /// The body of the request, and what is read of it and of the answer as texts; `conversation/tests.rs` holds them
    /// against each other.
    request: Option<Value>,
    question: Option<String>,
    answer: Option<String>,
    calls: Option<Vec<String>>,
}

fn ok() -> u16 {
    200
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

fn providers() -> Vec<String> {
    fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn framing(file: &str) -> Framing {
    match file.rsplit_once('.').unwrap().1 {
        "json" => Framing::Json,
        "sse" => Framing::Sse,
        "ndjson" => Framing::Lines,
        "eventstream" => Framing::AwsEventStream,
        other => panic!("no framing for .{other}"),
    }
}

fn each(check: impl Fn(&str, &str, &Expected, &[u8])) {
    for provider in providers() {
        let folder = root().join(&provider);
        let text = fs::read_to_string(folder.join("expected.json"))
            .unwrap_or_else(|error| panic!("{provider}/expected.json: {error}"));
        let expected: BTreeMap<String, Expected> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{provider}/expected.json: {error}"));
        let mut files: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.retain(|file| file != "expected.json");
        files.sort();
        assert_eq!(
            files,
            expected.keys().cloned().collect::<Vec<_>>(),
            "{provider}: every file has its line in expected.json"
        );
        for (file, expected) in &expected {
            check(&provider, file, expected, &fs::read(folder.join(file)).unwrap());
        }
    }
}

#[test]
fn every_fixture_says_what_is_expected() {
    let wrong = RefCell::new(Vec::new());
    each(|provider, file, expected, body| {
        let facts = read(framing(file), expected.status, body);
        let usage = facts.usage;
        let (rest, query) = expected.path.split_once('?').unwrap_or((&expected.path, ""));
        let model = expected
            .request_model
            .clone()
            .filter(|model| !model::is_placeholder(provider, model))
            .or_else(|| model::from_path(provider, rest, query))
            .or(facts.model.clone());
        let price = [facts.model.as_deref(), model.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|model| price::find(provider, model));
        let found = Expected {
            path: expected.path.clone(),
            request_model: expected.request_model.clone(),
            status: expected.status,
            priced: usage.cost.or_else(|| price?.cost(&usage)).is_some(),
            units: expected.units.as_ref().and_then(|_| serde_json::from_str(&usage.details_json()?).ok()),
            kind: expected.kind.as_ref().and_then(|_| {
                let (method, is_socket, has_messages) = ("POST", false, false);
                let model = model.as_deref();
                kind::of(&Asking { provider, method, rest, is_socket, model, has_messages }).map(str::to_owned)
            }),
            model,
            response_id: facts.response_id,
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cached: usage.cached,
            cache_write: usage.cache_write,
            reasoning: usage.reasoning,
            finish_reason: facts.finish_reason,
            error: facts.error,
            request: expected.request.clone(),
            question: expected.question.clone(),
            answer: expected.answer.clone(),
            calls: expected.calls.clone(),
        };
        if found != *expected {
            wrong.borrow_mut().push(format!("{provider}/{file}\n   found {found:?}\n  wanted {expected:?}"));
        }
    });
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A stream that breaks off anywhere says nothing that a complete event did not say.
#[test]
fn a_stream_cut_at_any_byte_says_what_had_come() {
    each(|provider, file, expected, body| {
        if framing(file) == Framing::Json {
            return;
        }
        let read = |body: &[u8]| read(framing(file), expected.status, body);
        let whole = read(body);
        let mut states: Vec<Facts> = Vec::new();
        for cut in 0..=body.len() {
            let facts = read(&body[..cut]);
            for (now, end) in
                [(facts.model.as_ref(), whole.model.as_ref()), (facts.response_id.as_ref(), whole.response_id.as_ref())]
            {
                assert!(now.is_none() || now == end, "{provider}/{file} cut at {cut}");
            }
            if states.last() != Some(&facts) {
                states.push(facts);
            }
        }
        assert_eq!(states.last(), Some(&whole), "{provider}/{file}");
        // Facts change with events, not with bytes.
        assert!(states.len() <= 12, "{provider}/{file} has {} states", states.len());
    });
}

#[test]
fn garbage_says_nothing() {
    let deep = "[".repeat(100_000);
    let nested = format!("{}1{}", "{\"response\":".repeat(5_000), "}".repeat(5_000));
    for framing in [Framing::Json, Framing::Sse, Framing::Lines, Framing::AwsEventStream] {
        for body in [
            "",
            "null",
            "<html>",
            "data: {\"usage\":",
            "data: [DONE]\n\n",
            "{\"usage\":{\"prompt_tokens\":1e400}}",
            "\u{0}",
            &deep,
            &nested,
        ] {
            assert_eq!(
                read(framing, 200, body.as_bytes()),
                Facts::default(),
                "{framing:?} {}",
                body.chars().take(20).collect::<String>()
            );
        }
    }
    assert_eq!(read(Framing::Sse, 200, b"data: \xff\xfe\n\ndata: {\"id\":\"a\xff\"}\n\n"), Facts::default());
}

#[test]
fn a_wrong_content_type_does_not_hide_the_figures() {
    let json = br#"{"id":"a","model":"m","usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let sse = b"data: {\"id\":\"a\",\"model\":\"m\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    assert_eq!(read(Framing::Sse, 200, json), read(Framing::Json, 200, json));
    assert_eq!(read(Framing::Json, 200, sse).usage.tokens_out, Some(2));
}

#[test]
fn the_later_of_several_figures_counts() {
    let body = b"data: {\"id\":\"a\",\"model\":\"m\",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n\
        data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9}}\n\ndata: {\"usage\":null}\n\ndata: [DONE]\n\n";
    assert_eq!(read(Framing::Sse, 200, body).usage.tokens_out, Some(9));
}
