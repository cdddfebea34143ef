use super::*;
use crate::catalogue::aliases::Aliases;
use crate::catalogue::resolve::{self, Names};
use crate::catalogue::table::Catalogue;
use crate::providers::{table, upstream};
use crate::proxy::unified::door;
use proptest::prelude::*;
use serde_json::json;

/// What names mean where a gateway has an alias, and no key.
fn names(custom: &[CustomProvider]) -> impl Fn(&str) -> Result<Named, Fault> {
    move |model| {
        let aliases = Aliases::of(&json!({ "claude-*": "openai/gpt-5" }));
        let names = Names { aliases: &aliases, custom, catalogue: &Catalogue::default(), has_key: &|_| false };
        resolve::resolve(model, &names)
    }
}

fn planned(door: &Door, body: &str, custom: &[CustomProvider], mode: Mode) -> Result<Plan, Refusal> {
    plan(
        &Asked {
            door,
            is_compat: false,
            body: body.as_bytes(),
            mode,
            past: Past::default(),
            resolve: &names(custom),
            room: &|| Ok(()),
        },
        custom,
    )
}

fn resolve(body: &[u8], custom: &[CustomProvider]) -> Result<Plan, Refusal> {
    let door = door::of_compat("chat/completions").unwrap();
    plan(
        &Asked {
            door: &door,
            is_compat: true,
            body,
            mode: Mode::WhereNeeded,
            past: Past::default(),
            resolve: &names(custom),
            room: &|| Ok(()),
        },
        custom,
    )
}

fn resolved(model: &str) -> Result<Plan, Refusal> {
    resolve(format!(r#"{{"model":"{model}","messages":[]}}"#).as_bytes(), &[])
}

#[test]
fn every_endpoint_is_one_of_a_known_provider() {
    for slug in table::PROVIDERS.iter().map(|provider| provider.slug) {
        let Some(rest) = formats::chat_endpoint(slug) else { continue };
        let found = resolved(&format!("{slug}/some/model")).unwrap();
        assert_eq!((found.provider.as_str(), found.rest.as_str()), (slug, rest));
        assert_eq!(found.body, r#"{"model":"some/model","messages":[]}"#);
    }
}

#[test]
fn only_the_model_changes_and_the_rest_stays_as_it_was_written() {
    let body = r#" {"n":1.0, "messages":[{"role":"user","content":"\"model\":\"openai/x\""}],
        "model" : "openai\/gp\u0074-4o" ,"seed":12345678901234567890123, "é":"€"}"#;
    let found = resolve(body.as_bytes(), &[]).unwrap();
    assert_eq!(found.body, body.replace(r#""openai\/gp\u0074-4o""#, r#""gpt-4o""#));
    assert_eq!(resolved("google/gemini-2.5-flash").unwrap().provider, "google-ai-studio");
    assert_eq!(
        resolved("workers-ai/@cf/meta/llama-3-8b").unwrap().body,
        r#"{"model":"@cf/meta/llama-3-8b","messages":[]}"#
    );
}

#[test]
fn a_provider_of_the_accounts_own_is_asked_below_its_base() {
    let rows = r#"[["own","https://llm.example/",null,1,1,0],["deep","https://llm.example/api/v2",null,1,1,0],
        ["off","https://llm.example",null,0,1,0]]"#;
    let custom = upstream::from_json(&rows.replace("null", r#""{}""#));
    let ask = |model: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
        resolve(body.as_bytes(), &custom).map(|found| (found.provider, found.rest.clone()))
    };
    assert_eq!(ask("custom-own/m").unwrap(), ("custom-own".to_owned(), "v1/chat/completions".to_owned()));
    assert_eq!(ask("custom-deep/m").unwrap(), ("custom-deep".to_owned(), "chat/completions".to_owned()));
    for model in ["custom-off/m", "custom-none/m"] {
        assert_eq!(ask(model).unwrap_err().status, 400, "{model}");
    }
}

#[test]
fn what_names_no_provider_is_told_from_what_is_no_chat() {
    for model in
        ["gpt-4o", "nobody/x", "dynamic/support", "/x", "openai/", "azure-openai/x", "google-vertex-ai/google/x"]
    {
        let refusal = resolved(model).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (400, 2008), "{model}");
    }
    assert!(resolved(&format!("{}/x", "o".repeat(1_000))).unwrap_err().description.len() < 200);
    assert!(resolved("opnai/x").unwrap_err().description.contains("'openai'"));
    for body in [
        "",
        "[]",
        "{",
        r#"{"model":"openai/x"}"#,
        r#"{"messages":[]}"#,
        r#"{"model":5,"messages":[]}"#,
        r#"{"model":null,"messages":[]}"#,
        r#"{"model":"openai/x","messages":"hi"}"#,
        r#"{"model":"openai/x","model":"groq/x","messages":[]}"#,
        &"[".repeat(100_000),
    ] {
        let refusal = resolve(body.as_bytes(), &[]).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (400, 2019), "{body}");
    }
    assert_eq!(resolve(b"\xff", &[]).unwrap_err().code, 2019);
    assert_eq!(resolve(br#"["openai/x",[]]"#, &[]).unwrap_err().code, 2019);
}

#[test]
fn a_request_goes_translated_where_its_provider_speaks_another_format() {
    let ask = |path: &str, body: serde_json::Value| {
        let plan = planned(&door::of_ai(path).unwrap(), &body.to_string(), &[], Mode::WhereNeeded).unwrap();
        let to = plan.unified.translation.as_ref().map(|translation| translation.to());
        (plan.provider, plan.rest, plan.query, to)
    };
    let user = json!([{ "role": "user", "content": "hi" }]);
    let chat = |model: &str| json!({ "model": model, "messages": user });
    let messages = |model: &str| json!({ "model": model, "max_tokens": 5, "messages": user, "stream": true });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    for (path, body, wanted) in [
        ("v1/chat/completions", chat("openai/gpt-5"), ("openai", "chat/completions", None, None)),
        (
            "v1/chat/completions",
            chat("anthropic/claude-x"),
            ("anthropic", "v1/messages", Some(""), Some(Format::Messages)),
        ),
        ("v1/messages", messages("anthropic/claude-x"), ("anthropic", "v1/messages", None, None)),
        ("v1/messages", messages("openai/gpt-5"), ("openai", "responses", Some(""), Some(Format::Responses))),
        ("v1/messages", messages("groq/llama"), ("groq", "chat/completions", Some(""), Some(Format::Chat))),
        (
            "v1/messages",
            messages("google/gemini-x"),
            (
                "google-ai-studio",
                "v1beta/models/gemini-x:streamGenerateContent",
                Some("?alt=sse"),
                Some(Format::Gemini),
            ),
        ),
        (
            "v1/messages",
            messages("aws-bedrock/us-east-1/m"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/m/converse-stream", Some(""), Some(Format::Converse)),
        ),
        (
            "v1/responses",
            json!({ "model": "mistral/m", "input": "hi" }),
            ("mistral", "v1/chat/completions", Some(""), Some(Format::Chat)),
        ),
        (
            "v1beta/models/google/gemini-x:generateContent",
            gemini.clone(),
            ("google-ai-studio", "v1beta/models/gemini-x:generateContent", None, None),
        ),
        (
            "v1beta/models/google/gemini-x:countTokens",
            gemini.clone(),
            ("google-ai-studio", "v1beta/models/gemini-x:countTokens", None, None),
        ),
        (
            "v1beta/models/anthropic/claude-x:streamGenerateContent",
            gemini.clone(),
            ("anthropic", "v1/messages", Some(""), Some(Format::Messages)),
        ),
        (
            "v1/messages/count_tokens",
            messages("anthropic/claude-x"),
            ("anthropic", "v1/messages/count_tokens", None, None),
        ),
    ] {
        let (provider, rest, query, to) = ask(path, body);
        assert_eq!((provider.as_str(), rest.as_str(), query, to), wanted, "{path}");
    }
    assert_eq!(ask("v1/messages", messages("claude-sonnet-4-5")).0, "openai");
    let body = messages("mistral/m").to_string();
    let counted = planned(&door::of_ai("v1/messages/count_tokens").unwrap(), &body, &[], Mode::WhereNeeded);
    assert_eq!(counted.unwrap_err().status, 404);
    // Models that think take no sequences to stop at anywhere, and the newer ones no tools in chat completions.
    for (model, wanted) in [("openai/gpt-4.1", "chat/completions"), ("openai/gpt-5.6", "responses")] {
        let stops = json!({ "model": model, "max_tokens": 5, "messages": user, "stop_sequences": ["x"] });
        assert_eq!(ask("v1/messages", stops).1, wanted, "{model}");
    }
}

#[test]
fn bytes_of_the_same_format_stay_and_vertex_gets_what_it_wants_of_anthropics() {
    let body = r#"{ "max_tokens":1e1, "model":"anthropic/claude-x","x":{"b":1,"a":2} }"#;
    let door = door::of_ai("v1/messages").unwrap();
    let plan = planned(&door, body, &[], Mode::WhereNeeded).unwrap();
    assert_eq!(plan.body, body.replace("anthropic/claude-x", "claude-x"));
    let vertex = body.replace("anthropic/", "google-vertex-ai/p/global/");
    let plan = planned(&door, &vertex, &[], Mode::WhereNeeded).unwrap();
    assert!(plan.rest.ends_with("publishers/anthropic/models/claude-x:rawPredict"), "{}", plan.rest);
    let sent: serde_json::Value = serde_json::from_str(&plan.body).unwrap();
    assert_eq!(sent, json!({ "max_tokens": 10.0, "x": { "b": 1, "a": 2 }, "anthropic_version": "vertex-2023-10-16" }));
}

#[test]
fn what_is_left_out_is_told_or_refused() {
    let door = door::of_ai("v1/chat/completions").unwrap();
    let seeded = r#"{"model":"anthropic/claude-x","messages":[{"role":"user","content":"hi"}],"seed":5}"#;
    assert_eq!(planned(&door, seeded, &[], Mode::WhereNeeded).unwrap().dropped, "seed");
    let strict = planned(&door, seeded, &[], Mode::Strict).unwrap_err();
    assert!(strict.status == 400 && strict.description.contains("seed"), "{}", strict.description);
    let two = seeded.replace("\"seed\":5", "\"n\":2");
    let refused = planned(&door, &two, &[], Mode::WhereNeeded).unwrap_err();
    assert!(refused.code == 2019 && refused.description.starts_with("n:"), "{}", refused.description);
    let spoken = planned(&door, r#"{"model":"elevenlabs/x","messages":[]}"#, &[], Mode::WhereNeeded).unwrap_err();
    assert!(spoken.description.contains("no models that converse"));
}

#[test]
fn compat_translates_where_it_is_told_to_or_has_to() {
    let ask = |model: &str, mode| {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let door = door::of_compat("chat/completions").unwrap();
        plan(
            &Asked {
                door: &door,
                is_compat: true,
                body: body.as_bytes(),
                mode,
                past: Past::default(),
                resolve: &names(&[]),
                room: &|| Ok(()),
            },
            &[],
        )
        .unwrap()
        .rest
    };
    assert_eq!(ask("anthropic/m", Mode::WhereNeeded), "v1/chat/completions");
    assert_eq!(ask("anthropic/m", Mode::Always), "v1/messages");
    assert_eq!(ask("openai/m", Mode::Always), "chat/completions");
    // What its own endpoint would ignore.
    assert_eq!(ask("anthropic/m\",\"reasoning_effort\":\"low", Mode::WhereNeeded), "v1/messages");
    assert_eq!(ask("openai/m\",\"reasoning_effort\":\"low", Mode::WhereNeeded), "chat/completions");
    assert_eq!(ask("aws-bedrock/us-east-1/m", Mode::WhereNeeded), "bedrock-runtime/us-east-1/model/m/converse");
}

proptest! {
    #[test]
    fn a_replaced_model_is_read_back(name in "\\PC{1,20}", before in "[ \\n]{0,3}") {
        // A name loses the blanks around it.
        prop_assume!(!name.trim_end().is_empty());
        let given = serde_json::json!({ "model": format!("openai/{name}"), "messages": [], "z": "é" }).to_string();
        let found = resolve((before + &given).as_bytes(), &[]).unwrap();
        let read: serde_json::Value = serde_json::from_str(&found.body).unwrap();
        prop_assert_eq!(read, serde_json::json!({ "model": name.trim_end(), "messages": [], "z": "é" }));
    }
}

/// A request with one more step of a conversation that another provider began.
#[test]
fn what_goes_on_from_a_kept_response_is_put_into_the_providers_own_words() {
    let body = r#"{"model":"openai/gpt-5","input":[{"role":"user","content":"a"},{"type":"reasoning","summary":[],"encrypted_content":"signed:x"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
    let door = door::of_ai("v1/responses").unwrap();
    let past = Past { owner: Some("t"), previous_id: Some("resp_1"), own: Some(1) };
    let asked = Asked {
        door: &door,
        is_compat: false,
        body: body.as_bytes(),
        mode: Mode::WhereNeeded,
        past,
        resolve: &names(&[]),
        room: &|| Ok(()),
    };
    let planned = plan(&asked, &[]).unwrap();
    assert_eq!(planned.rest, "responses");
    assert!(!planned.body.contains("previous_response_id") && planned.body.contains("\"c\""), "{}", planned.body);
    let translation = planned.unified.translation.unwrap();
    let keeping = translation.keeping().unwrap();
    assert_eq!(keeping.input, r#"[{"role":"user","content":"c"}]"#);
    assert_eq!((keeping.owner.as_deref(), keeping.previous_id.as_deref()), (Some("t"), Some("resp_1")));
    // Nothing is kept that the caller does not want kept, nor of other formats.
    let kept = |path: &str, body: &str| {
        let planned = planned_at(path, body);
        planned.unified.translation.unwrap().keeping().is_some()
    };
    assert!(kept("v1/responses", r#"{"model":"anthropic/claude","input":"a"}"#));
    assert!(!kept("v1/responses", r#"{"model":"anthropic/claude","input":"a","store":false}"#));
    assert!(!kept("v1/chat/completions", r#"{"model":"anthropic/claude","messages":[]}"#));
}

fn planned_at(path: &str, body: &str) -> Plan {
    planned(&door::of_ai(path).unwrap(), body, &[], Mode::WhereNeeded).unwrap()
}

#[test]
fn a_count_goes_to_a_provider_that_counts() {
    let messages = |model: &str| format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
    for (model, rest, within) in [
        ("openai/gpt-5", "responses/input_tokens", r#""input":"#),
        (
            "google-ai-studio/gemini-2.5-pro",
            "v1beta/models/gemini-2.5-pro:countTokens",
            r#"{"generateContentRequest":{"#,
        ),
        (
            "aws-bedrock/us-east-1/amazon.nova",
            "bedrock-runtime/us-east-1/model/amazon.nova/count-tokens",
            r#"{"input":{"converse":{"#,
        ),
        ("anthropic/claude", "v1/messages/count_tokens", r#""messages":"#),
    ] {
        let planned = planned_at("v1/messages/count_tokens", &messages(model));
        assert!(planned.rest == rest && planned.body.contains(within), "{model}: {} {}", planned.rest, planned.body);
        assert!(!planned.body.contains("max_") && !planned.body.contains("stream"), "{model}: {}", planned.body);
    }
    let door = door::of_ai("v1/messages/count_tokens").unwrap();
    assert_eq!(planned(&door, &messages("groq/llama"), &[], Mode::WhereNeeded).unwrap_err().status, 404);
    let gemini = planned_at(
        "v1beta/models/anthropic/claude:countTokens",
        r#"{"generateContentRequest":{"model":"models/x","contents":[{"role":"user","parts":[{"text":"hi"}]}]}}"#,
    );
    assert!(gemini.rest == "v1/messages/count_tokens" && gemini.body.contains("hi"), "{} {}", gemini.rest, gemini.body);
}
