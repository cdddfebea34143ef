use super::*;
use crate::http::envelope::ApiError;
use proptest::prelude::*;
use serde_json::json;

pub fn limits(gateway: Option<RateRule>, rate: &Value, spend: &Value) -> Limits {
    if !rate.is_null() {
        check_rate_rules(rate).unwrap();
    }
    if !spend.is_null() {
        check_spend_limits(spend).unwrap();
    }
    Limits::of(gateway, rate, spend)
}

fn path_of(result: Result<(), Invalid>) -> String {
    let error = ApiError::from(result.unwrap_err());
    assert_eq!((error.status, error.code), (400, 7001));
    error.path.join(".")
}

fn rate(fields: &Value) -> Value {
    let mut rule = json!({ "key": "token", "limit": 5, "interval": 60 });
    rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    rule
}

fn spend(fields: &Value) -> Value {
    let mut rule = json!({ "limit": 1.5, "limitType": "cost", "window": 3600 });
    rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    rule
}

#[test]
fn rules_are_read_with_their_defaults() {
    let read = limits(
        None,
        &json!([{ "id": "t", "key": "token", "limit": 5, "interval": 60 },
            { "key": "metadata.team", "limit": 5.0, "interval": 60, "technique": "sliding" }]),
        &json!({ "enabled": true, "rules": [
            { "id": "s", "limit": 1.5, "limitType": "cost", "window": 3600 },
            { "enabled": false, "limit": 0.01, "limitType": "cost", "window": 1, "technique": "fixed", "reserve": true,
              "provider": { "mode": "partition" }, "model": { "mode": "filter", "values": ["gpt-4o"] },
              "metadata": { "team": { "mode": "partition" }, "env": { "mode": "filter", "values": ["prod"] } } },
        ]}),
    );
    let first = RateRule { id: "t".into(), key: RateKey::Token, limit: 5, interval: 60, technique: Technique::Fixed };
    assert_eq!(read.rate[0], first);
    assert_eq!((read.rate[1].key.name(), read.rate[1].technique), ("metadata.team".into(), Technique::Sliding));
    let plain = &read.spend[0];
    assert_eq!((plain.enabled, plain.reserve, plain.technique), (true, false, Technique::Sliding));
    assert_eq!((plain.amount(), plain.partitions()), (1_500_000_000_000, vec![]));
    assert_eq!(read.spend[1].partitions(), ["provider", "metadata.team"]);
    assert!(read.spend[1].reserve && !read.spend[1].enabled);
}

#[test]
fn limits_that_are_switched_off_are_none() {
    let rules = json!({ "enabled": false, "rules": [spend(&json!({}))] });
    assert_eq!(limits(None, &Value::Null, &rules), Limits::default());
    assert_eq!(limits(None, &json!([]), &json!({})), Limits::default());
    // Stored before rules were looked at.
    assert_eq!(Limits::of(None, &json!("x"), &json!({ "rules": [{}, 5] })), Limits::default());
}

#[test]
fn a_wrong_rate_rule_is_refused_by_name() {
    for (fields, field) in [
        (json!({ "key": "model" }), "key"),
        (json!({ "key": "metadata." }), "key"),
        (json!({ "key": null }), "key"),
        (json!({ "key": format!("metadata.{}", "x".repeat(257)) }), "key"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "limit": -1 }), "limit"),
        (json!({ "limit": 1.5 }), "limit"),
        (json!({ "limit": "5" }), "limit"),
        (json!({ "limit": 1e30 }), "limit"),
        (json!({ "interval": null }), "interval"),
        (json!({ "interval": 366 * 86_400 + 1 }), "interval"),
        (json!({ "technique": "leaky" }), "technique"),
        (json!({ "technique": 1 }), "technique"),
        (json!({ "id": "" }), "id"),
        (json!({ "id": "a b" }), "id"),
        (json!({ "id": "gateway" }), "id"),
        (json!({ "id": 5 }), "id"),
        (json!({ "id": "x".repeat(65) }), "id"),
        (json!({ "window": 60 }), "window"),
    ] {
        let rules = json!([rate(&json!({})), rate(&fields)]);
        assert_eq!(path_of(check_rate_rules(&rules)), format!("body.rate_limiting_rules.1.{field}"), "{fields}");
    }
    for wrong in [json!({}), json!("x"), Value::Array(vec![rate(&json!({})); 21])] {
        assert_eq!(path_of(check_rate_rules(&wrong)), "body.rate_limiting_rules");
    }
    assert_eq!(path_of(check_rate_rules(&json!([5]))), "body.rate_limiting_rules.0");
    let twice = json!([rate(&json!({ "id": "a" })), rate(&json!({ "id": "a" }))]);
    assert_eq!(path_of(check_rate_rules(&twice)), "body.rate_limiting_rules.1.id");
    assert!(check_rate_rules(&Value::Array(vec![rate(&json!({})); 20])).is_ok());
}

#[test]
fn a_wrong_spend_rule_is_refused_by_name() {
    let filter = |values: Value| json!({ "mode": "filter", "values": values });
    let many: Map<String, Value> = (0..6).map(|n| (n.to_string(), json!({ "mode": "partition" }))).collect();
    for (fields, field) in [
        (json!({ "limit": 0 }), "limit"),
        (json!({ "limit": -0.5 }), "limit"),
        (json!({ "limit": 1e-13 }), "limit"),
        (json!({ "limit": 1e8 }), "limit"),
        (json!({ "limit": "1" }), "limit"),
        (json!({ "limitType": "tokens" }), "limitType"),
        (json!({ "limitType": null }), "limitType"),
        (json!({ "window": 0 }), "window"),
        (json!({ "window": 1.5 }), "window"),
        (json!({ "technique": "x" }), "technique"),
        (json!({ "enabled": "yes" }), "enabled"),
        (json!({ "reserve": 1 }), "reserve"),
        (json!({ "model": "gpt-4o" }), "model"),
        (json!({ "model": {} }), "model.mode"),
        (json!({ "model": { "mode": "x" } }), "model.mode"),
        (json!({ "model": { "mode": "filter" } }), "model.values"),
        (json!({ "model": filter(json!([])) }), "model.values"),
        (json!({ "model": filter(json!([5])) }), "model.values"),
        (json!({ "model": filter(json!([""])) }), "model.values"),
        (json!({ "model": filter(json!(vec!["a"; 101])) }), "model.values"),
        (json!({ "provider": { "mode": "partition", "values": ["a"] } }), "provider.values"),
        (json!({ "provider": { "mode": "partition", "other": 1 } }), "provider.other"),
        (json!({ "metadata": [] }), "metadata"),
        (json!({ "metadata": many }), "metadata"),
        (json!({ "metadata": { "team": null } }), "metadata.team"),
        (json!({ "metadata": { "": { "mode": "partition" } } }), "metadata."),
        (json!({ "metadata": { "team": { "mode": 5 } } }), "metadata.team.mode"),
        (json!({ "cost": 5 }), "cost"),
    ] {
        let limits = json!({ "enabled": true, "rules": [spend(&fields)] });
        assert_eq!(path_of(check_spend_limits(&limits)), format!("body.spend_limits.rules.0.{field}"), "{fields}");
    }
    assert_eq!(path_of(check_spend_limits(&json!([]))), "body.spend_limits");
    assert_eq!(path_of(check_spend_limits(&json!({ "enabled": 1 }))), "body.spend_limits.enabled");
    assert_eq!(path_of(check_spend_limits(&json!({ "rules": {} }))), "body.spend_limits.rules");
    assert_eq!(path_of(check_spend_limits(&json!({ "reserve": true }))), "body.spend_limits.reserve");
}

#[test]
fn rules_without_an_id_are_given_one_that_no_other_has() {
    let mut rules = json!([{}, { "id": "mine" }, { "id": null }]);
    mint_ids(&mut rules, "01ARZ");
    assert_eq!(rules, json!([{ "id": "01arz-0" }, { "id": "mine" }, { "id": "01arz-2" }]));
    let before = rules.clone();
    mint_ids(&mut rules, "other");
    assert_eq!(rules, before);
    mint_ids(&mut Value::Null, "x");
}

proptest! {
    #[test]
    fn any_json_is_read_without_harm(text in "\\PC{0,80}") {
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let _ = (check_rate_rules(&value), check_spend_limits(&value), Limits::of(None, &value, &value));
    }
}
