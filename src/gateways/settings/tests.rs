use super::*;
use serde_json::json;

fn parse(body: Value) -> Result<GatewaySettings, ApiError> {
    GatewaySettings::parse(body.as_object().unwrap())
}

#[test]
fn what_is_missing_or_null_has_its_default() {
    let nulls: Map<String, Value> = serde_json::to_value(GatewaySettings::default())
        .unwrap()
        .as_object()
        .unwrap()
        .keys()
        .map(|key| (key.clone(), Value::Null))
        .collect();
    assert_eq!(parse(json!({})).unwrap(), GatewaySettings::default());
    assert_eq!(parse(Value::Object(nulls)).unwrap(), GatewaySettings::default());
}

#[test]
fn settings_stored_by_another_version_are_read() {
    let whole = serde_json::to_value(GatewaySettings::of_default_gateway()).unwrap();
    for name in whole.as_object().unwrap().keys().filter(|name| *name != "authentication") {
        let mut older = whole.clone();
        older.as_object_mut().unwrap().remove(name);
        let read = GatewaySettings::read(&older.to_string()).unwrap();
        assert_eq!(read, GatewaySettings::of_default_gateway(), "{name}");
    }
    let newer = json!({ "authentication": true, "of_a_later_version": 1 });
    assert_eq!(GatewaySettings::read(&newer.to_string()).unwrap(), GatewaySettings::of_default_gateway());
}

#[test]
fn every_field_is_kept_as_given() {
    let given = json!({
        "authentication": true, "byok_only": true, "cache_invalidate_on_update": true, "cache_ttl": 300, "circuit_breaker": {"failures": 5, "window": 60, "cooldown": 30}, "collect_logs": false, "cors": {"origins": ["https://app.example.com"], "max_age": 60}, "custom_cost": "ignore",
        "dlp": {"enabled": true}, "first_byte_timeout": 60, "guardrails": {"prompt": {}}, "idle_timeout": 0, "log_body_retention_days": 7, "log_classification": true, "log_management": 10_000,
        "log_management_strategy": "DELETE_OLDEST", "log_retention_days": 7, "logpush": true, "logpush_plain": true, "logpush_public_key": "0123456789abcdef", "max_calls": 7, "model_aliases": {"claude-*": "openai/gpt-5"}, "otel": [{"url": "https://otel.example"}], "provider_cookies": true,
        "rate_limiting_interval": 60, "rate_limiting_limit": 10,
        "rate_limiting_rules": [{"id": "t", "key": "token", "limit": 5, "interval": 60}], "rate_limiting_technique": "sliding", "resign": true, "retry_backoff": "linear",
        "retry_delay": 60_000, "retry_max_attempts": 5, "session_from": ["traceparent"], "spend_limits": {"enabled": true, "rules": []}, "store_id": "s", "stream_usage": "ask",
        "stripe": {"authorization": "***"}, "unknown_model": "block", "workers_ai_billing_mode": "unified", "zdr": true,
    });
    assert_eq!(serde_json::to_value(parse(given.clone()).unwrap()).unwrap(), given);
}

#[test]
fn a_key_of_stripe_is_not_kept() {
    let given = json!({"stripe": {"authorization": "Bearer sk_live_1", "usage_events": [{"payload": "p"}]}});
    let kept = json!({"authorization": "***", "usage_events": [{"payload": "p"}]});
    assert_eq!(parse(given).unwrap().stripe, kept);
}

#[test]
fn limits_are_read_from_settings() {
    let limit = |fields: Value| parse(fields).unwrap().limits();
    let gateway =
        json!({ "rate_limiting_limit": 5, "rate_limiting_interval": 60, "rate_limiting_technique": "sliding" });
    let rule = limit(gateway).rate.remove(0);
    assert_eq!((rule.limit, rule.interval, rule.technique), (5, 60, Technique::Sliding));
    for off in [json!({}), json!({ "rate_limiting_limit": 5 }), json!({ "rate_limiting_interval": 5 })] {
        assert_eq!(limit(off), Limits::default());
    }
    let mut named = parse(json!({
        "rate_limiting_rules": [{ "key": "token", "limit": 5, "interval": 60 }],
        "spend_limits": { "enabled": true, "rules": [{ "limit": 5, "limitType": "cost", "window": 60 }] },
    }))
    .unwrap();
    named.name_rules("01A");
    let limits = named.limits();
    assert_eq!((limits.rate[0].id.as_str(), limits.spend[0].id.as_str()), ("01a-0", "01a-0"));
}

#[test]
fn wrong_types_and_bounds_name_the_field() {
    for (field, wrong) in [
        ("authentication", json!("true")),
        ("cache_ttl", json!(-1)),
        ("cache_ttl", json!(1.5)),
        ("cache_ttl", json!("60")),
        ("cache_ttl", json!(1e300)),
        ("circuit_breaker", json!("on")),
        ("circuit_breaker", json!([5, 60, 30])),
        ("collect_logs", json!(1)),
        ("cors", json!(true)),
        ("cors", json!(["https://app.example.com"])),
        ("custom_cost", json!("Accept")),
        ("custom_cost", json!(true)),
        ("dlp", json!([])),
        ("guardrails", json!("x")),
        ("log_management", json!(9_999)),
        ("log_management", json!(10_000_001)),
        ("log_management_strategy", json!("delete_oldest")),
        ("log_retention_days", json!(0)),
        ("log_retention_days", json!(3_651)),
        ("log_retention_days", json!("30")),
        ("log_body_retention_days", json!(0)),
        ("log_body_retention_days", json!(1.5)),
        ("log_body_retention_days", json!(3_651)),
        ("logpush_public_key", json!("short")),
        ("max_calls", json!(0)),
        ("max_calls", json!(101)),
        ("model_aliases", json!([])),
        ("otel", json!({})),
        ("rate_limiting_limit", json!([1])),
        ("rate_limiting_technique", json!("leaky")),
        ("resign", json!("yes")),
        ("session_from", json!("traceparent")),
        ("session_from", json!(["user"])),
        ("retry_backoff", json!(1)),
        ("unknown_model", json!("deny")),
        ("retry_delay", json!(60_001)),
        ("retry_max_attempts", json!(0)),
        ("retry_max_attempts", json!(6)),
        ("store_id", json!("")),
        ("stream_usage", json!("Ask")),
        ("stream_usage", json!(true)),
        ("stripe", json!(true)),
        ("workers_ai_billing_mode", json!("free")),
        ("zdr", json!("no")),
    ] {
        let error = parse(json!({ field: wrong })).unwrap_err();
        assert_eq!(
            (error.status, error.code, error.path.clone()),
            (400, 7001, vec!["body".to_owned(), field.to_owned()]),
            "{wrong}"
        );
    }
    for (member, wrong) in [
        ("failures", json!({})),
        ("failures", json!({ "failures": 0, "window": 60, "cooldown": 30 })),
        ("failures", json!({ "failures": 101, "window": 60, "cooldown": 30 })),
        ("window", json!({ "failures": 5, "window": 3_601, "cooldown": 30 })),
        ("window", json!({ "failures": 5, "window": "60", "cooldown": 30 })),
        ("cooldown", json!({ "failures": 5, "window": 60, "cooldown": null })),
        ("cooldown", json!({ "failures": 5, "window": 60, "cooldown": 1.5 })),
        ("statuses", json!({ "failures": 5, "window": 60, "cooldown": 30, "statuses": [429] })),
        ("timeout_floor", json!({ "failures": 5, "window": 60, "cooldown": 30, "timeout_floor": 0 })),
        ("timeout_floor", json!({ "failures": 5, "window": 60, "cooldown": 30, "timeout_floor": "10" })),
    ] {
        let error = parse(json!({ "circuit_breaker": wrong })).unwrap_err();
        assert_eq!(
            (error.status, error.path.clone()),
            (400, ["body", "circuit_breaker", member].map(str::to_owned).to_vec())
        );
    }
    for (member, wrong) in [
        ("origins", json!({})),
        ("origins", json!({ "origins": ["https://app.example.com/"] })),
        ("max_age", json!({ "origins": ["*"], "max_age": -1 })),
        ("credentials", json!({ "origins": ["*"], "credentials": true })),
    ] {
        let error = parse(json!({ "cors": wrong })).unwrap_err();
        assert_eq!((error.status, error.path.clone()), (400, ["body", "cors", member].map(str::to_owned).to_vec()));
    }
    let error = parse(json!({ "log_retention_days": 7, "log_body_retention_days": 8 })).unwrap_err();
    assert_eq!(
        (error.status, error.path.clone()),
        (400, vec!["body".to_owned(), "log_body_retention_days".to_owned()])
    );
    for (field, wrong) in [
        ("rate_limiting_rules", json!({})),
        ("rate_limiting_rules", json!([{}])),
        ("spend_limits", json!([])),
        ("spend_limits", json!({ "rules": [{}] })),
    ] {
        let path = parse(json!({ field: wrong })).unwrap_err().path.clone();
        assert_eq!(path.get(1).map(String::as_str), Some(field), "{wrong}");
    }
    assert_eq!(parse(json!({ "cache_ttl": 60.0 })).unwrap().cache_ttl, 60);
}
