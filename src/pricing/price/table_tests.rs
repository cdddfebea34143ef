//! What answers of every provider cost, by each dimension that a price has: as JSON and as a stream.

use crate::logs::call::Call;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::pricing::price::find;
use crate::pricing::rules::{self, PriceRule};
use crate::wire::{Framing, read};
use serde_json::{Value, json};

/// The row of an answer.
fn row(
    provider: &str,
    model: Option<&str>,
    rest: &str,
    rules: &[PriceRule],
    framing: Framing,
    body: &str,
) -> LogRecord {
    let facts = read(framing, 200, body.as_bytes());
    let mut made = Call { provider: provider.to_owned(), rest: rest.to_owned(), prices: rules.into(), ..call("a") };
    made.facts.model = model.map(str::to_owned);
    LogRecord::new(made, answered(facts))
}

fn cost(provider: &str, model: &str, answer: &Value) -> Option<f64> {
    row(provider, Some(model), "x", &[], Framing::Json, &answer.to_string()).cost
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// The answer as a stream of its provider.
fn streamed(provider: &str, answer: &Value) -> String {
    match provider {
        "anthropic" => {
            let mut start = answer.clone();
            start["usage"]["output_tokens"] = json!(0);
            let end = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
                "usage": { "output_tokens": answer["usage"]["output_tokens"], "input_tokens": 0 } });
            sse(&[json!({ "type": "message_start", "message": start }), end, json!({ "type": "message_stop" })])
        }
        "openai" if answer["object"] == "response" => {
            let mut begun = answer.clone();
            begun["usage"] = Value::Null;
            begun["service_tier"] = json!("auto");
            sse(&[
                json!({ "type": "response.created", "response": begun }),
                json!({ "type": "response.completed", "response": answer }),
            ])
        }
        "google-ai-studio" | "google-vertex-ai" => {
            let mut first = answer.clone();
            first["usageMetadata"]["candidatesTokenCount"] = Value::Null;
            first["candidates"][0]["finishReason"] = Value::Null;
            sse(&[first, answer.clone()])
        }
        "openai" | "openrouter" => {
            let mut first = answer.clone();
            first["usage"] = Value::Null;
            sse(&[first, answer.clone()]) + "data: [DONE]\n\n"
        }
        _ => sse(std::slice::from_ref(answer)),
    }
}

fn claude(usage: Value) -> Value {
    json!({ "id": "msg_1", "type": "message", "model": "claude-sonnet-4-5-20250929", "stop_reason": "end_turn", "usage": usage })
}

fn response(tier: &str, output: Value, usage: Value) -> Value {
    json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5", "service_tier": tier,
        "output": output, "usage": usage })
}

fn chat(model: &str, usage: Value) -> Value {
    json!({ "id": "c", "object": "chat.completion", "model": model, "usage": usage,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "x" }, "finish_reason": "stop" }] })
}

fn gemini(model: &str, usage: Value) -> Value {
    json!({ "candidates": [{ "content": { "parts": [{ "text": "x" }] }, "finishReason": "STOP" }],
        "usageMetadata": usage, "modelVersion": model })
}

#[test]
fn every_dimension_of_every_provider_has_its_price() {
    let plain = json!({ "input_tokens": 1_000, "output_tokens": 1_000, "total_tokens": 2_000 });
    let thousand = json!({ "promptTokenCount": 1_000, "candidatesTokenCount": 1_000, "totalTokenCount": 2_000 });
    let with = |base: &Value, name: &str, value: Value| {
        let mut all = base.clone();
        all[name] = value;
        all
    };
    let flash = "gemini-2.5-flash";
    let searched = |model: &str| {
        let mut answer = gemini(model, thousand.clone());
        answer["candidates"][0]["groundingMetadata"] = json!({ "webSearchQueries": ["a", "b"] });
        answer
    };
    let cases: Vec<(&str, &str, Value, Option<f64>)> = vec![
        // Cache writes by lifetime: 200 × 3, 11,350 × 6, 10 × 15.
        (
            "an hour",
            "anthropic",
            claude(json!({ "input_tokens": 200, "output_tokens": 10, "cache_creation_input_tokens": 11_350,
            "cache_creation": { "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 11_350 } })),
            Some(0.06885),
        ),
        (
            "five minutes",
            "anthropic",
            claude(json!({ "input_tokens": 200, "output_tokens": 10, "cache_creation_input_tokens": 11_350 })),
            Some(0.0433125),
        ),
        (
            "both",
            "anthropic",
            claude(json!({ "input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 3_000,
            "cache_creation": { "ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000 } })),
            Some(0.01575),
        ),
        (
            "without their sum",
            "anthropic",
            claude(json!({ "input_tokens": 0, "output_tokens": 0,
            "cache_creation": { "ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000 } })),
            Some(0.01575),
        ),
        (
            "as 12.0",
            "anthropic",
            claude(json!({ "input_tokens": 200.0, "output_tokens": 10.0, "cache_creation_input_tokens": 11_350.0,
            "cache_creation": { "ephemeral_1h_input_tokens": 11_350.0 } })),
            Some(0.06885),
        ),
        // Tools.
        (
            "three searches",
            "anthropic",
            claude(json!({ "input_tokens": 100, "output_tokens": 20,
            "server_tool_use": { "web_search_requests": 3, "web_fetch_requests": 7 } })),
            Some(0.0306),
        ),
        (
            "two searches and a page",
            "openai",
            response(
                "default",
                json!([
                    { "type": "web_search_call", "action": { "type": "search", "query": "x" } },
                    { "type": "web_search_call", "action": { "type": "open_page", "url": "x" } },
                    { "type": "web_search_call", "status": "completed" }, { "type": "message", "content": [] },
                ]),
                plain.clone(),
            ),
            Some(0.01125 + 0.02),
        ),
        (
            "one container",
            "openai",
            response(
                "default",
                json!([
                    { "type": "code_interpreter_call", "container_id": "cntr_1" }, { "type": "code_interpreter_call", "container_id": "cntr_1" },
                ]),
                plain.clone(),
            ),
            Some(0.01125 + 0.03),
        ),
        ("a file search", "openai", response("default", json!([{ "type": "file_search_call" }]), plain.clone()), None),
        (
            "an image made",
            "openai",
            response("default", json!([{ "type": "image_generation_call" }]), plain.clone()),
            None,
        ),
        // Classes of service.
        ("flex", "openai", response("flex", json!([]), plain.clone()), Some(0.005625)),
        ("priority", "openai", response("priority", json!([]), plain.clone()), Some(0.0225)),
        ("standard", "openai", response("default", json!([]), plain.clone()), Some(0.01125)),
        ("scale", "openai", response("scale", json!([]), plain.clone()), None),
        ("new to us", "openai", response("overnight", json!([]), plain.clone()), None),
        (
            "flex in chats",
            "openai",
            with(
                &chat("gpt-5", json!({ "prompt_tokens": 1_000, "completion_tokens": 1_000 })),
                "service_tier",
                json!("flex"),
            ),
            Some(0.005625),
        ),
        (
            "a model without flex",
            "openai",
            with(
                &chat("gpt-4o", json!({ "prompt_tokens": 1_000, "completion_tokens": 1_000 })),
                "service_tier",
                json!("flex"),
            ),
            None,
        ),
        (
            "a batch",
            "anthropic",
            claude(json!({ "input_tokens": 1_000, "output_tokens": 100, "service_tier": "batch",
            "cache_creation_input_tokens": 1_000, "cache_creation": { "ephemeral_1h_input_tokens": 1_000 } })),
            Some(0.00525),
        ),
        (
            "priority by contract",
            "anthropic",
            claude(json!({ "input_tokens": 1_000, "output_tokens": 100, "service_tier": "priority" })),
            None,
        ),
        (
            "fast where there is none",
            "anthropic",
            claude(json!({ "input_tokens": 1_000, "output_tokens": 100, "speed": "fast" })),
            None,
        ),
        (
            "anywhere",
            "anthropic",
            claude(json!({ "input_tokens": 1_000, "output_tokens": 100, "service_tier": "standard",
            "inference_geo": "not_available", "speed": "standard" })),
            Some(0.0045),
        ),
        (
            "traffic",
            "google-vertex-ai",
            gemini(flash, with(&thousand, "trafficType", json!("ON_DEMAND"))),
            Some(0.0028),
        ),
        (
            "priority traffic",
            "google-vertex-ai",
            gemini(flash, with(&thousand, "trafficType", json!("ON_DEMAND_PRIORITY"))),
            Some(0.00504),
        ),
        (
            "flexible traffic",
            "google-vertex-ai",
            gemini(flash, with(&thousand, "trafficType", json!("ON_DEMAND_FLEX"))),
            Some(0.0014),
        ),
        (
            "bought traffic",
            "google-vertex-ai",
            gemini(flash, with(&thousand, "trafficType", json!("PROVISIONED_THROUGHPUT"))),
            None,
        ),
        // Modalities.
        (
            "sound in",
            "google-ai-studio",
            gemini(
                flash,
                json!({ "promptTokenCount": 99_100, "candidatesTokenCount": 1, "totalTokenCount": 99_101,
            "promptTokensDetails": [{ "modality": "AUDIO", "tokenCount": 99_000 }, { "modality": "TEXT", "tokenCount": 100 }] }),
            ),
            Some(0.0990325),
        ),
        (
            "kept sound",
            "google-ai-studio",
            gemini(
                flash,
                json!({ "promptTokenCount": 2_000, "candidatesTokenCount": 0, "cachedContentTokenCount": 1_500,
            "promptTokensDetails": [{ "modality": "AUDIO", "tokenCount": 1_000 }, { "modality": "TEXT", "tokenCount": 1_000 }],
            "cacheTokensDetails": [{ "modality": "AUDIO", "tokenCount": 600 }, { "modality": "TEXT", "tokenCount": 900 }] }),
            ),
            // 400 × 1, 600 × 0.1, 100 × 0.3, 900 × 0.03.
            Some(0.000517),
        ),
        (
            "pictures in",
            "google-ai-studio",
            gemini(
                flash,
                json!({ "promptTokenCount": 1_000, "candidatesTokenCount": 0,
            "promptTokensDetails": [{ "modality": "IMAGE", "tokenCount": 600 }, { "modality": "VIDEO", "tokenCount": 300 }] }),
            ),
            Some(0.0003),
        ),
        (
            "a picture out",
            "google-ai-studio",
            gemini(
                "gemini-2.5-flash-image",
                json!({ "promptTokenCount": 10, "candidatesTokenCount": 1_390,
            "candidatesTokensDetails": [{ "modality": "IMAGE", "tokenCount": 1_290 }] }),
            ),
            Some(0.000003 + 0.0387 + 0.00025),
        ),
        (
            "sound both ways",
            "openai",
            chat(
                "gpt-4o-audio-preview-2025-06-03",
                json!({ "prompt_tokens": 150, "completion_tokens": 310,
            "prompt_tokens_details": { "audio_tokens": 100, "text_tokens": 50, "cached_tokens": 0 },
            "completion_tokens_details": { "audio_tokens": 300, "text_tokens": 10 } }),
            ),
            Some(0.028225),
        ),
        (
            "sound without a price",
            "openai",
            chat(
                "gpt-4o",
                json!({ "prompt_tokens": 150, "completion_tokens": 10,
            "prompt_tokens_details": { "audio_tokens": 100 } }),
            ),
            None,
        ),
        (
            "images",
            "openai",
            json!({ "created": 1, "model": "gpt-image-1", "usage": { "input_tokens": 1_050, "output_tokens": 1_056, "total_tokens": 2_106,
            "input_tokens_details": { "image_tokens": 1_000, "text_tokens": 50 } } }),
            Some(0.00025 + 0.01 + 0.04224),
        ),
        (
            "images and text",
            "openai",
            json!({ "created": 1, "model": "gpt-image-1.5", "usage": { "input_tokens": 50, "output_tokens": 1_100,
            "input_tokens_details": { "image_tokens": 0, "text_tokens": 50 }, "output_tokens_details": { "image_tokens": 1_000, "text_tokens": 100 } } }),
            Some(0.00025 + 0.032 + 0.001),
        ),
        (
            "seconds",
            "openai",
            json!({ "text": "x", "model": "whisper-1", "usage": { "type": "duration", "seconds": 60 } }),
            Some(0.006),
        ),
        // Gemini 2 asks for money once, and Gemini 3 for each search.
        ("searches of one answer", "google-ai-studio", searched("gemini-2.5-flash"), Some(0.0028 + 0.035)),
        ("each search", "google-ai-studio", searched("gemini-3-flash-preview"), Some(0.0035 + 0.028)),
        // The provider's own word.
        (
            "a key of one's own",
            "openrouter",
            chat(
                "gpt-4o",
                json!({ "prompt_tokens": 10, "completion_tokens": 5, "cost": 0, "is_byok": true,
            "cost_details": { "upstream_inference_cost": 0.0360795 } }),
            ),
            Some(0.0360795),
        ),
        (
            "with a fee",
            "openrouter",
            chat(
                "gpt-4o",
                json!({ "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.001, "is_byok": true,
            "cost_details": { "upstream_inference_cost": 0.02 } }),
            ),
            Some(0.021),
        ),
        (
            "a key of theirs",
            "openrouter",
            chat(
                "gpt-4o",
                json!({ "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.001, "is_byok": false,
            "cost_details": { "upstream_inference_cost": 0.001 } }),
            ),
            Some(0.001),
        ),
        (
            "units of a search",
            "cohere",
            json!({ "id": "r", "results": [], "meta": { "billed_units": { "search_units": 2 } } }),
            Some(0.004),
        ),
    ];
    for (name, provider, answer, wanted) in cases {
        let model = answer.get("model").and_then(Value::as_str).or(Some(if provider == "cohere" {
            "rerank-v3.5"
        } else {
            flash
        }));
        let bodies = [(Framing::Json, answer.to_string()), (Framing::Sse, streamed(provider, &answer))];
        for (framing, body) in bodies {
            let row = row(provider, model, "x", &[], framing, &body);
            assert_eq!(
                row.cost,
                wanted.map(crate::pricing::rates::rounded),
                "{name} {framing:?}: {:?}",
                row.cost_unknown
            );
            assert_eq!(row.cost_unknown.is_some(), wanted.is_none(), "{name}");
            // Whatever is not known: a budget counts something.
            assert!(row.cost.is_some() || row.least_cost > 0.0, "{name}");
        }
    }
}

#[test]
fn a_row_says_which_price_it_was_and_why_there_is_none() {
    let answer =
        |tier: &str| response(tier, json!([]), json!({ "input_tokens": 1_000, "output_tokens": 1_000 })).to_string();
    let flex = row("openai", Some("gpt-5"), "responses", &[], Framing::Json, &answer("flex"));
    assert_eq!(flex.price_rule, Some(format!("list:{}+flex", crate::catalogue::table::AS_OF)));
    assert_eq!(flex.usage_details.as_deref(), Some(r#"{"service_tier":"flex"}"#));
    let scale = row("openai", Some("gpt-5"), "responses", &[], Framing::Json, &answer("scale"));
    assert!(scale.cost_unknown.as_ref().unwrap().contains("reserved"));
    // At least what it would cost otherwise.
    assert_eq!(scale.least_cost, 0.01125);
    let nothing = row("openai", None, "files", &[], Framing::Json, r#"{"object":"list","data":[]}"#);
    assert_eq!((nothing.cost, nothing.cost_unknown, nothing.price_rule), (None, None, None));
}

#[test]
fn a_rule_of_the_account_can_say_every_rate() {
    let pricing = json!({ "input_tokens": 1e-6, "output_tokens": 2e-6, "input_audio_tokens": 1e-5, "output_audio_tokens": 2e-5,
        "input_cache_creation_1h_tokens": 3e-6, "web_search_requests": 0.5, "service_tiers": { "flex": 0.5 } });
    let rules = |pricing: &Value| {
        rules::from_json(&json!([["r", "openai", "m", "equals", null, null, pricing.to_string(), 1]]).to_string())
    };
    let audio = json!({ "prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": { "audio_tokens": 400 },
        "completion_tokens_details": { "audio_tokens": 50 } });
    let priced = |pricing: &Value, answer: Value| {
        let row = row("openai", Some("m"), "x", &rules(pricing), Framing::Json, &answer.to_string());
        (row.cost, row.cost_unknown)
    };
    let mut flex = chat("m", audio.clone());
    assert_eq!(priced(&pricing, flex.clone()).0, Some(0.0057));
    flex["service_tier"] = json!("flex");
    assert_eq!(priced(&pricing, flex.clone()).0, Some(0.00285));
    flex["service_tier"] = json!("priority");
    assert!(priced(&pricing, flex).1.unwrap().contains("priority"));
    let bare = json!({ "input_tokens": 1e-6, "output_tokens": 2e-6 });
    assert!(priced(&bare, chat("m", audio)).1.unwrap().contains("400 input_audio_tokens"));
    let searched = json!({ "id": "m", "type": "message", "model": "m", "usage": { "input_tokens": 1_000, "output_tokens": 0,
        "cache_creation_input_tokens": 100, "cache_creation": { "ephemeral_1h_input_tokens": 100 }, "server_tool_use": { "web_search_requests": 1 } } });
    assert_eq!(priced(&pricing, searched).0, Some(0.5013));
}

#[test]
fn the_same_model_has_its_price_wherever_it_is_served() {
    let answer = |model: &str| {
        claude(json!({ "input_tokens": 1_000, "output_tokens": 0 }))
            .to_string()
            .replace("claude-sonnet-4-5-20250929", model)
    };
    let vertex = |location: &str, model: &str| {
        let rest = format!("v1/projects/p/locations/{location}/publishers/anthropic/models/{model}:rawPredict");
        row("google-vertex-ai", Some(model), &rest, &[], Framing::Json, &answer(model)).cost
    };
    let base = find("google-vertex-ai", "claude-haiku-4-5").unwrap().cost(&crate::wire::Usage {
        tokens_in: Some(1_000),
        tokens_out: Some(0),
        ..Default::default()
    });
    assert_eq!(vertex("global", "claude-haiku-4-5@20251001"), base);
    assert_eq!(
        vertex("us-east5", "claude-haiku-4-5@20251001"),
        base.map(|base| crate::pricing::rates::rounded(base * 1.1))
    );
    let model = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    let titled = json!({ "output": {}, "stopReason": "end_turn", "usage": { "inputTokens": 1_000, "outputTokens": 10, "cacheWriteInputTokens": 100,
        "cacheDetails": [{ "ttl": "1h", "inputTokens": 100 }] } });
    let of = |name: &str| cost("aws-bedrock", name, &titled);
    assert_eq!(of(model), Some(0.00375));
    assert_eq!(of(&format!("arn:aws:bedrock:us-east-1::foundation-model/{model}")), of(model));
    for region in ["us", "eu", "global"] {
        let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{region}.{model}");
        assert!(of(&arn).is_some(), "{region}");
        assert_eq!(of(&arn), of(&format!("{region}.{model}")), "{region}");
    }
    assert_eq!(of("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"), None);
    assert_eq!(
        cost(
            "anthropic",
            "claude-opus-4-8",
            &json!({ "model": "claude-opus-4-8", "usage": { "input_tokens": 1_000, "output_tokens": 0,
        "inference_geo": "us", "speed": "fast", "server_tool_use": { "web_search_requests": 1 } } })
        ),
        Some(0.005 * 1.1 * 2.0 + 0.01)
    );
}

/// A later zero corrects nothing, and what an event does not say it does not take back.
#[test]
fn events_of_a_stream_complete_each_other() {
    let start = |usage: Value| json!({ "type": "message_start", "message": { "id": "m", "type": "message", "model": "claude-sonnet-4-5-20250929", "usage": usage } });
    let delta =
        |usage: Value| json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": usage });
    let read = |events: &[Value]| row("anthropic", None, "v1/messages", &[], Framing::Sse, &sse(events));
    let zero = read(&[
        start(json!({ "input_tokens": 500, "output_tokens": 1 })),
        delta(json!({ "input_tokens": 0, "output_tokens": 5 })),
    ]);
    assert_eq!((zero.tokens_in, zero.cost), (Some(500), Some(0.001575)));
    let partly = read(&[
        start(json!({ "input_tokens": 10, "cache_read_input_tokens": 100_000, "output_tokens": 1 })),
        delta(json!({ "input_tokens": 10, "output_tokens": 5 })),
    ]);
    assert_eq!((partly.total_tokens, partly.cost), (Some(100_015), Some(0.030105)));
    let corrected = read(&[
        start(json!({ "input_tokens": 10, "output_tokens": 1 })),
        delta(json!({ "input_tokens": 12, "output_tokens": 5 })),
    ]);
    assert_eq!(corrected.tokens_in, Some(12));
    // Gemini's thoughts may come in an event of their own.
    let thinking = [
        gemini(
            "gemini-2.5-flash",
            json!({ "promptTokenCount": 7, "thoughtsTokenCount": 50, "toolUsePromptTokenCount": 3 }),
        ),
        gemini("gemini-2.5-flash", json!({ "promptTokenCount": 7, "candidatesTokenCount": 20 })),
    ];
    let thought = row("google-ai-studio", None, "x", &[], Framing::Sse, &sse(&thinking));
    assert_eq!(
        (thought.tokens_in, thought.tokens_out, thought.tokens_reasoning, thought.total_tokens),
        (Some(10), Some(70), Some(50), Some(80))
    );
}

/// The row of an answer to a request with this body.
fn asked(provider: &str, rest: &str, request: &Value, answer: &str) -> LogRecord {
    let facts = read(Framing::Json, 200, answer.as_bytes());
    let mut made = Call { provider: provider.to_owned(), rest: rest.to_owned(), ..call("a") };
    made.facts = crate::wire::request::read_request(None, request.to_string().as_bytes());
    LogRecord::new(made, answered(facts))
}

#[test]
fn what_is_not_paid_by_the_token_is_paid_by_its_number() {
    let images =
        |count: usize| json!({ "created": 1, "data": vec![json!({ "url": "https://images.invalid/1" }); count] });
    let of_size =
        |size: &str, quality: &str| json!({ "model": "dall-e-3", "prompt": "x", "size": size, "quality": quality });
    let page = |pages: u64, more: Value| {
        let mut usage = json!({ "pages_processed": pages, "doc_size_bytes": 9 });
        usage.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        json!({ "pages": [], "model": "mistral-ocr-2512", "usage_info": usage })
    };
    let model = |name: &str| json!({ "model": name });
    let heard = json!({ "text": "x", "language": "en", "duration": 10.5 });
    // What it is, the provider and the path, what is asked and answered, and what that costs.
    type Paid = (&'static str, &'static str, &'static str, Value, Value, Option<f64>);
    let cases: Vec<Paid> = vec![
        // Images: a request that says neither size nor quality gets what is usual.
        ("one image", "openai", "images/generations", model("dall-e-3"), images(1), Some(0.04)),
        ("a large one", "openai", "images/generations", of_size("1024x1792", "standard"), images(1), Some(0.08)),
        ("two fine ones", "openai", "images/generations", of_size("1792x1024", "hd"), images(2), Some(0.24)),
        (
            "three small ones",
            "openai",
            "images/generations",
            json!({ "model": "dall-e-2", "size": "256x256" }),
            images(3),
            Some(0.048),
        ),
        ("a size that is not sold", "openai", "images/generations", of_size("640x480", "hd"), images(1), None),
        (
            "at Azure",
            "azure-openai",
            "res/dall-e-3/images/generations",
            of_size("1024x1024", "hd"),
            images(1),
            Some(0.088),
        ),
        ("xAI's", "grok", "images/generations", model("grok-imagine-image"), images(2), Some(0.04)),
        (
            "without tokens",
            "openai",
            "images/edits",
            model("gpt-image-1.5"),
            json!({ "created": 1, "size": "1024x1536", "quality": "high", "data": [{ "b64_json": "x" }] }),
            Some(0.2),
        ),
        (
            "with tokens, which come first",
            "openai",
            "images/generations",
            model("gpt-image-1"),
            json!({ "created": 1, "size": "1024x1024", "quality": "low", "data": [{ "b64_json": "x" }], "usage": { "input_tokens": 50, "output_tokens": 272 } }),
            Some(0.00025 + 0.01088),
        ),
        (
            "Imagen",
            "google-ai-studio",
            "v1beta/models/imagen-4.0-ultra-generate-001:predict",
            json!({}),
            json!({ "predictions": [{ "bytesBase64Encoded": "x" }] }),
            Some(0.06),
        ),
        (
            "Canvas",
            "aws-bedrock",
            "bedrock-runtime/us-east-1/model/amazon.nova-canvas-v1:0/invoke",
            json!({}),
            json!({ "images": ["x", "y"], "error": null }),
            Some(0.12),
        ),
        ("fal", "fal", "fal-ai/flux/schnell", json!({}), json!({ "images": [{ "url": "x" }], "seed": 1 }), Some(0.003)),
        (
            "fal by size",
            "fal",
            "openai/gpt-image-2",
            json!({ "image_size": "landscape_4_3", "quality": "low" }),
            json!({ "images": [{ "url": "x" }] }),
            Some(0.005),
        ),
        ("fal as usual", "fal", "openai/gpt-image-2", json!({}), json!({ "images": [{ "url": "x" }] }), Some(0.145)),
        (
            "fal with half of what tells",
            "fal",
            "openai/gpt-image-2",
            json!({ "quality": "low" }),
            json!({ "images": [{ "url": "x" }] }),
            None,
        ),
        // Pages.
        ("pages", "mistral", "v1/ocr", model("mistral-ocr-2512"), page(3, json!({})), Some(0.006)),
        (
            "annotated pages",
            "mistral",
            "v1/ocr",
            model("mistral-ocr-2512"),
            page(3, json!({ "pages_processed_annotation": 2 })),
            Some(0.012),
        ),
        (
            "no pages",
            "mistral",
            "v1/ocr",
            model("mistral-ocr-2512"),
            json!({ "pages": [], "model": "mistral-ocr-2512" }),
            None,
        ),
        (
            "Cohere's pages",
            "cohere",
            "v2/parse",
            model("parse-v5.0"),
            json!({ "id": "a", "pages": [], "meta": { "billed_units": { "pages": 2 } } }),
            Some(0.003),
        ),
        // Seconds, with their parts.
        ("Groq", "groq", "audio/transcriptions", model("whisper-large-v3"), heard.clone(), Some(10.5 * 0.00003083)),
        ("xAI", "grok", "stt", model("grok-voice-transcribe-1.0"), heard.clone(), Some(10.5 * 0.00002778)),
        (
            "what is told of usage comes first",
            "openai",
            "audio/transcriptions",
            model("whisper-1"),
            json!({ "text": "x", "duration": 8.47, "usage": { "type": "duration", "seconds": 9 } }),
            Some(0.0009),
        ),
        (
            "by the second although it has tokens elsewhere",
            "openai",
            "audio/transcriptions",
            model("gpt-4o-transcribe-diarize"),
            json!({ "text": "x", "usage": { "type": "duration", "seconds": 60 } }),
            Some(0.006),
        ),
        (
            "Deepgram",
            "deepgram",
            "v1/listen",
            model("nova-3"),
            json!({ "metadata": { "request_id": "a", "duration": 25.9 }, "results": { "channels": [] } }),
            Some(25.9 * 0.00007167),
        ),
        (
            "ElevenLabs",
            "elevenlabs",
            "v1/speech-to-text",
            json!({ "model_id": "scribe_v2" }),
            json!({ "text": "x", "audio_duration_secs": 3.2 }),
            Some(3.2 * 0.0000611),
        ),
        (
            "Workers AI",
            "workers-ai",
            "run/@cf/openai/whisper-large-v3-turbo",
            json!({}),
            json!({ "result": { "transcription_info": { "duration": 12 }, "text": "x" }, "success": true }),
            Some(12.0 * 0.0000085),
        ),
        (
            "Mistral",
            "mistral",
            "v1/audio/transcriptions",
            model("voxtral-mini-2602"),
            json!({ "model": "voxtral-mini-2602", "text": "x", "usage": { "prompt_audio_seconds": 7, "prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 20 } }),
            Some(0.00035),
        ),
        (
            "without seconds",
            "groq",
            "audio/transcriptions",
            model("whisper-large-v3"),
            json!({ "text": "x", "x_groq": { "id": "a" } }),
            None,
        ),
        // Characters of what is spoken.
        (
            "speech",
            "openai",
            "audio/speech",
            json!({ "model": "tts-1", "input": "hello 🥚" }),
            json!({}),
            Some(7.0 * 0.000015),
        ),
        (
            "ElevenLabs' speech",
            "elevenlabs",
            "v1/text-to-speech/v",
            json!({ "model_id": "eleven_flash_v2_5", "text": "hello" }),
            json!({}),
            Some(5.0 * 0.00004),
        ),
        // Rerankers that count tokens, and nothing but their sum.
        (
            "units of a reranker",
            "cohere",
            "v2/rerank",
            model("rerank-v4.0-pro"),
            json!({ "id": "a", "results": [], "meta": { "billed_units": { "search_units": 3 } } }),
            Some(0.0075),
        ),
    ];
    for (name, provider, rest, request, answer, wanted) in cases {
        let row = asked(provider, rest, &request, &answer.to_string());
        assert_eq!(
            row.cost,
            wanted.map(crate::pricing::rates::rounded),
            "{name}: {:?} {:?}",
            row.cost_unknown,
            row.usage_details
        );
        assert_eq!(row.cost_unknown.is_some(), wanted.is_none(), "{name}");
    }
    let row = asked("openai", "images/generations", &of_size("1024x1792", "hd"), &images(2).to_string());
    assert_eq!(
        row.usage_details.as_deref(),
        Some(r#"{"image_quality":"hd","image_size":"1024x1792","output_image_count":2}"#)
    );
    assert_eq!(row.model_type, Some("image"));
}

#[test]
fn a_row_says_what_would_tell_its_cost() {
    let why = |provider: &str, rest: &str, model: &str, answer: Value| {
        asked(provider, rest, &json!({ "model": model }), &answer.to_string()).cost_unknown.unwrap()
    };
    assert!(why("openai", "audio/transcriptions", "whisper-1", json!({ "text": "x" })).contains("verbose_json"));
    assert!(why("mistral", "v1/ocr", "mistral-ocr-2512", json!({ "pages": [] })).contains("pages"));
    assert!(why("openai", "audio/speech", "tts-1", json!({})).contains("characters"));
    assert!(why("cohere", "v2/rerank", "rerank-v3.5", json!({ "results": [] })).contains("search units"));
    let sized = json!({ "created": 1, "data": [{ "url": "x" }], "size": "640x480" });
    assert!(why("openai", "images/generations", "dall-e-3", sized).contains("640x480"));
    assert!(
        why("openai", "images/generations", "gpt-4o", json!({ "data": [{ "url": "x" }] }))
            .contains("1 output_image_count")
    );
}

#[test]
fn a_rule_can_name_a_price_for_each_of_them() {
    let pricing =
        json!({ "ocr_pages": 0.1, "output_image_count": 0.2, "input_characters": 0.01, "input_audio_seconds": 0.02 });
    let rules =
        rules::from_json(&json!([["r", "openai", "m", "equals", null, null, pricing.to_string(), 1]]).to_string());
    let priced = |answer: Value| row("openai", Some("m"), "x", &rules, Framing::Json, &answer.to_string()).cost;
    assert_eq!(priced(json!({ "usage_info": { "pages_processed": 3 } })), Some(0.3));
    assert_eq!(priced(json!({ "data": [{ "url": "x" }, { "b64_json": "y" }] })), Some(0.4));
    assert_eq!(priced(json!({ "text": "x", "duration": 1.5 })), Some(0.03));
}

#[test]
fn a_model_has_one_name_however_google_writes_it() {
    let answer =
        gemini("models/gemini-2.5-flash", json!({ "promptTokenCount": 1_000, "candidatesTokenCount": 0 })).to_string();
    for (provider, rest, model) in [
        ("google-ai-studio", "v1beta/openai/chat/completions", "models/gemini-2.5-flash"),
        ("google-ai-studio", "v1beta/models/gemini-2.5-flash:generateContent", ""),
        (
            "google-vertex-ai",
            "v1/projects/p/locations/global/interactions",
            "projects/p/locations/l/publishers/google/models/gemini-2.5-flash",
        ),
    ] {
        let row = asked(provider, rest, &json!({ "model": model }), &answer);
        assert_eq!(
            (row.model.as_deref(), row.answer_model, row.cost),
            (Some("gemini-2.5-flash"), None, Some(0.0003)),
            "{rest}"
        );
    }
    let rules = |model: &str| {
        let rows = json!([["r", "google-ai-studio", model, "equals", 1e-3, 1e-3, null, 1]]);
        rules::from_json(&rows.to_string())
    };
    for (rule, asked) in
        [("gemini-x", "models/gemini-x"), ("models/gemini-x", "gemini-x"), ("models/Gemini-X", "models/gemini-x")]
    {
        let body = json!({ "usage": { "prompt_tokens": 10, "completion_tokens": 0 } }).to_string();
        let row = row("google-ai-studio", Some(asked), "x", &rules(rule), Framing::Json, &body);
        assert_eq!((row.cost, row.model.as_deref()), (Some(0.01), Some("gemini-x")), "{rule} {asked}");
    }
    let tuned =
        asked("google-ai-studio", "v1beta/openai/chat/completions", &json!({ "model": "tunedModels/mine" }), "{}");
    assert_eq!(tuned.model.as_deref(), Some("tunedModels/mine"));
}
