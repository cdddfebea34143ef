use super::*;
use crate::base::mask::Secrets;
use crate::limit::models::Models;
use crate::logs::call::RequestType;
use crate::logs::call::{Call, Credential};
use crate::pricing::price;
use crate::pricing::price::CustomCost;
use crate::wire::Facts;
use crate::wire::request::RequestFacts;
use std::rc::Rc;

pub fn call(id: &str) -> Call {
    Call {
        id: id.to_owned(),
        gateway: 1,
        shard: 0,
        created_at: 1_700_000_000_000,
        method: "POST".to_owned(),
        provider: "openai".to_owned(),
        rest: "chat/completions".to_owned(),
        query: String::new(),
        request_type: RequestType::Native,
        step: 0,
        attempt: 1,
        credential: Credential::Request,
        cached: false,
        evaluation_id: None,
        event_id: id.to_owned(),
        session: [None, None],
        session_from: Rc::new([]),
        caller: String::new(),
        metadata: Metadata::default(),
        custom_cost: None,
        prices: Rc::new([]),
        translated_from: None,
        catalogue: Default::default(),
        dlp: crate::dlp::Report::default(),
        guardrails: None,
        route: None,
        route_id: None,
        user_agent: None,
        authentication: true,
        request_content_type: Some("application/json".to_owned()),
        request_size: Some(2),
        facts: RequestFacts { model: Some("gpt-4o".to_owned()), ..RequestFacts::default() },
        usage_asked: false,
        runs_a_model: true,
        has_log_limit: true,
        is_pushed: false,
        body: Some("{}".to_owned()),
        secrets: Secrets::default(),
    }
}

pub fn answered(facts: Facts) -> Outcome {
    Outcome { status: Some(200), facts, duration: 5, ..Outcome::default() }
}

fn usage(tokens_in: u64, tokens_out: u64) -> Usage {
    Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
}

#[test]
fn a_known_model_has_a_cost_and_an_unknown_one_has_none() {
    let facts = Facts { usage: usage(1_000, 100), ..Facts::default() };
    let known = LogRecord::new(call("a"), answered(facts.clone()));
    assert_eq!(known.cost, price::find("openai", "gpt-4o").unwrap().cost(&facts.usage));
    assert!(known.cost.unwrap() > 0.0 && known.success && known.error.is_none());

    let mut unknown = call("b");
    unknown.facts.model = Some("never-heard-of".to_owned());
    let unknown = LogRecord::new(unknown, answered(facts));
    assert_eq!((unknown.cost, unknown.tokens_in), (None, Some(1_000)));
}

#[test]
fn a_request_tells_what_it_will_cost_by_number() {
    let estimated = |provider: &str, rest: &str, body: &str, size: u64| {
        let facts = crate::wire::request::read_request(None, body.as_bytes());
        let (provider, rest, request_size) = (provider.to_owned(), rest.to_owned(), Some(size));
        Call { provider, rest, facts, request_size, ..call("a") }.estimate()
    };
    for (provider, rest, body, size, dollars) in [
        ("openai", "images/generations", r#"{"model":"dall-e-3","n":2,"size":"1024x1792","quality":"hd"}"#, 60, 0.24),
        ("openai", "images/generations", r#"{"model":"dall-e-3","n":99999999999}"#, 60, 4.0),
        ("openai", "audio/speech", r#"{"model":"tts-1","input":"hello"}"#, 40, 0.000075),
        ("openai", "audio/transcriptions", r#"{"model":"whisper-1"}"#, 160_000, 0.001),
        ("mistral", "v1/ocr", r#"{"model":"mistral-ocr-2512"}"#, 60, 0.002),
        ("cohere", "v2/rerank", r#"{"model":"rerank-v3.5"}"#, 60, 0.002),
        ("openai", "chat/completions", r#"{"model":"gpt-4o","n":5,"max_tokens":100}"#, 4_000, 0.0035),
    ] {
        assert_eq!(estimated(provider, rest, body, size), spend::from_dollars(dollars), "{rest} {body}");
    }
}

#[test]
fn the_callers_and_the_providers_own_cost_come_first() {
    let facts = Facts { usage: Usage { cost: Some(0.25), ..usage(10, 10) }, ..Facts::default() };
    assert_eq!(LogRecord::new(call("a"), answered(facts.clone())).cost, Some(0.25));
    let custom = Call { custom_cost: Some(CustomCost::Total(3.0)), ..call("b") };
    let record = LogRecord::new(custom, answered(facts));
    assert_eq!((record.cost, record.custom_cost), (Some(3.0), true));
}

#[test]
fn no_request_costs_more_than_one_can() {
    let per_token =
        |rate| CustomCost::PerToken { input: Some(rate), output: None, cache_read: None, cache_write: None };
    let facts = Facts { usage: usage(1_000, 100), ..Facts::default() };
    for custom_cost in
        [CustomCost::Total(10_000.01), CustomCost::Total(f64::INFINITY), per_token(1e308), per_token(1e300)]
    {
        let record = LogRecord::new(Call { custom_cost: Some(custom_cost), ..call("a") }, answered(facts.clone()));
        assert_eq!((record.cost, record.cost_unknown.as_deref()), (None, Some(price::BEYOND)), "{custom_cost:?}");
        assert_eq!((record.price_rule.as_deref(), record.custom_cost), (Some("request"), true));
        let kept = Call { custom_cost: Some(custom_cost), cached: true, ..call("b") };
        let kept = LogRecord::new(kept, answered(facts.clone()));
        assert_eq!((kept.cost, kept.saved_cost, kept.cost_unknown), (Some(0.0), None, None));
    }
    let most = Call { custom_cost: Some(CustomCost::Total(price::MAX_COST)), ..call("c") };
    let most = LogRecord::new(most, answered(facts.clone()));
    assert_eq!((most.cost, most.cost_unknown), (Some(price::MAX_COST), None));
    let told = Facts { usage: Usage { cost: Some(1e300), ..usage(1, 1) }, ..facts };
    let told = LogRecord::new(call("d"), answered(told));
    assert_eq!((told.cost, told.cost_unknown.as_deref()), (None, Some(price::BEYOND)));
}

#[test]
fn an_answer_from_the_cache_costs_nothing_and_says_what_it_saved() {
    let facts = Facts { usage: Usage { reasoning: Some(9), ..usage(1_000, 100) }, ..Facts::default() };
    let asked = LogRecord::new(call("a"), answered(facts.clone()));
    assert_eq!((asked.cached, asked.saved_cost), (false, None));
    let kept = LogRecord::new(Call { cached: true, ..call("b") }, answered(facts.clone()));
    assert_eq!((kept.cached, kept.cost, kept.saved_cost), (true, Some(0.0), asked.cost));
    assert_eq!(
        (kept.tokens_in, kept.tokens_out, kept.total_tokens, kept.tokens_reasoning),
        (Some(0), Some(0), Some(0), None)
    );
    let custom = Call { cached: true, custom_cost: Some(CustomCost::Total(3.0)), ..call("c") };
    assert_eq!(LogRecord::new(custom, answered(facts)).saved_cost, Some(3.0));
}

#[test]
fn a_broken_answer_is_no_success_and_its_figures_are_unknown() {
    let facts = Facts { usage: usage(12, 1), ..Facts::default() };
    for failure in [Failure::ClientLeft, Failure::Upstream("reset".to_owned())] {
        let outcome = Outcome { failure: Some(failure), ..answered(facts.clone()) };
        let record = LogRecord::new(call("a"), outcome);
        assert_eq!((record.success, record.tokens_in, record.tokens_out, record.cost), (false, Some(12), None, None));
    }
    let finished = Facts { finish_reason: Some("stop".to_owned()), ..facts };
    let outcome = Outcome { failure: Some(Failure::ClientLeft), ..answered(finished) };
    assert_eq!(LogRecord::new(call("a"), outcome).tokens_out, Some(1));
}

#[test]
fn a_call_may_be_for_all_models_that_it_names_and_for_others_if_it_was_not_read() {
    let of = |facts: RequestFacts, rest: &str, runs_a_model| {
        let provider = if rest.contains("models/") { "google-ai-studio" } else { "openai" }.to_owned();
        Call { facts, provider, rest: rest.to_owned(), runs_a_model, ..call("a") }.models()
    };
    let facts = |model: Option<&str>, others: &[&str], unread| RequestFacts {
        model: model.map(str::to_owned),
        others: others.iter().map(|name| (*name).to_owned()).collect(),
        unread,
        ..RequestFacts::default()
    };
    let (chat, gemini) = ("chat/completions", "v1beta/models/gemini-2.5-pro:generateContent");
    for (facts, rest, named, doubt) in [
        (facts(Some("A"), &["b"], None), chat, &["a", "b"][..], None),
        (facts(None, &[], None), chat, &[], Some("it names no model")),
        (facts(None, &["deep"], None), chat, &["deep"], Some("it names no model")),
        (facts(None, &["deep"], None), gemini, &["gemini-2.5-pro"], None),
        (facts(None, &[], Some("why")), gemini, &["gemini-2.5-pro"], Some("why")),
        (facts(Some("a"), &[], None), gemini, &["a", "gemini-2.5-pro"], None),
    ] {
        assert_eq!(of(facts.clone(), rest, true), Models::new(named.iter().copied(), doubt), "{facts:?}");
        assert_eq!(of(facts, rest, false).doubt, None);
    }
    let riddle = Call { facts: facts(Some("a"), &[], Some("why")), ..call("a") };
    let named = Facts { model: Some("b".to_owned()), ..Facts::default() };
    assert_eq!(LogRecord::new(riddle, answered(named)).model.as_deref(), Some("b"));
}

#[test]
fn azures_row_names_the_deployment_whatever_the_body_says() {
    let model = |provider: &str, rest: &str| {
        let facts = RequestFacts { model: Some("text-embedding-ada-002".to_owned()), ..RequestFacts::default() };
        let named = Facts { model: Some("text-embedding-3-small".to_owned()), ..Facts::default() };
        let call = Call { facts, provider: provider.to_owned(), rest: rest.to_owned(), ..call("a") };
        LogRecord::new(call, answered(named)).model.unwrap()
    };
    for rest in ["res/openai/deployments/mine/embeddings", "res/deployments/mine/embeddings", "res/mine/embeddings"] {
        assert_eq!(model("azure-openai", rest), "mine");
    }
    assert_eq!(model("azure-openai", "res/openai/v1/embeddings"), "text-embedding-ada-002");
    assert_eq!(model("openai", "deployments/mine/embeddings"), "text-embedding-ada-002");
}

#[test]
fn the_error_names_the_layer() {
    let error = |outcome| LogRecord::new(call("a"), outcome).error.unwrap();
    let refused = Facts { error: Some("no such model".to_owned()), ..Facts::default() };
    assert_eq!(error(Outcome { status: Some(404), ..answered(refused) }), "provider: no such model");
    assert_eq!(error(Outcome { status: Some(500), ..answered(Facts::default()) }), "provider: answered 500");
    let broken = Outcome { failure: Some(Failure::Upstream("reset".to_owned())), ..answered(Facts::default()) };
    assert_eq!(error(broken), "upstream: reset");
}

#[test]
fn the_preview_of_a_long_history_is_its_last_user_text_without_keys() {
    let key = "sk-proj-0123456789abcdefghijklmnop";
    let preview = |body: serde_json::Value| {
        let body = body.to_string();
        let facts = crate::wire::request::read_request(None, body.as_bytes());
        LogRecord::new(Call { facts, body: Some(body), ..call("a") }, answered(Facts::default())).input_preview
    };
    let long = "It is long. ü\n\"".repeat(2_000);
    let result = serde_json::json!([{ "type": "tool_result", "content": long }]);
    for (list, body) in [
        (
            "messages",
            serde_json::json!([{ "role": "user", "content": "no" }, { "role": "user", "content": format!("Say {key}\n{long}") }, { "role": "assistant", "content": long }, { "role": "user", "content": result }]),
        ),
        (
            "contents",
            serde_json::json!([{ "role": "user", "parts": [{ "text": format!("Say {key} {long}") }] }, { "role": "model", "parts": [{ "text": "no" }] }]),
        ),
        (
            "input",
            serde_json::json!([{ "role": "user", "content": [{ "type": "input_text", "text": format!("Say {key} {long}") }] }, { "type": "function_call_output", "output": long }]),
        ),
        ("input", format!("Say {key} {long}").into()),
        ("prompt", format!("Say {key} {long}").into()),
    ] {
        let shown = preview(serde_json::json!({ "model": "gpt-4o", list: body })).unwrap();
        assert!(
            shown.starts_with("Say ") && shown.contains("It is long. ü \"It") && !shown.contains(key),
            "{list}: {shown}"
        );
    }
    for nothing in [
        serde_json::json!({ "messages": [{ "role": "assistant", "content": long }] }),
        serde_json::json!({ "system": long }),
    ] {
        assert_eq!(preview(nothing), None);
    }
}

#[test]
fn what_is_paid_by_the_character_is_counted_in_long_texts() {
    let text = "ü\n".repeat(10_000);
    let body = serde_json::json!({ "model": "tts-1", "input": text }).to_string();
    assert_eq!(crate::wire::request::read_request(None, body.as_bytes()).asked.characters, Some(20_000));
}
