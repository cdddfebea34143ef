use super::*;
use crate::http::refusal::Refusal;
use crate::limit::rules::RateRule;
use crate::limit::rules::tests::limits;
use serde_json::json;

fn metadata(value: &Value) -> Vec<(String, Value)> {
    value.as_object().unwrap().clone().into_iter().collect()
}

fn gateway() -> RateRule {
    RateRule { id: "gateway".into(), key: RateKey::Everyone, limit: 10, interval: 60, technique: Technique::Fixed }
}

fn counters(limits: &Limits, asked: &LimitSubject<'_>) -> Vec<String> {
    let asked = &LimitSubject { models: Models::new(asked.model, None), ..asked.clone() };
    LimitCheck::new(limits, asked, || 7).demands.iter().map(Demand::key).collect()
}

#[test]
fn a_request_is_counted_where_it_belongs() {
    let limits = limits(
        Some(gateway()),
        &json!([{ "id": "t", "key": "token", "limit": 1, "interval": 1 },
                { "id": "m", "key": "metadata.user", "limit": 1, "interval": 1 }]),
        &Value::Null,
    );
    let (five, text) = (metadata(&json!({ "user": 5 })), metadata(&json!({ "user": "5" })));
    let asked = LimitSubject { token: Some("tok"), metadata: &five, ..LimitSubject::default() };
    assert_eq!(counters(&limits, &asked), ["gateway ", "rate/t [\"tok\"]", "rate/m [\"5\"]"]);
    assert_eq!(counters(&limits, &asked), counters(&limits, &LimitSubject { metadata: &text, ..asked.clone() }));
    assert_eq!(counters(&limits, &LimitSubject::default()), ["gateway "]);
    assert!(counters(&limits, &LimitSubject { is_counted: true, ..asked.clone() }).is_empty());
    let key = KeyLimit { name: "openai/default", limit: 3, interval: 60 };
    assert_eq!(
        counters(&limits, &LimitSubject { key: Some(key), ..LimitSubject::default() }),
        ["gateway ", "key [\"openai/default\"]"]
    );
    assert!(counters(&Limits::default(), &asked).is_empty());
}

#[test]
fn values_that_begin_alike_never_share_a_counter() {
    let limits = limits(None, &json!([{ "id": "m", "key": "metadata.user", "limit": 1, "interval": 1 }]), &Value::Null);
    let of = |user: String| {
        counters(&limits, &LimitSubject { metadata: &metadata(&json!({ "user": user })), ..LimitSubject::default() })
    };
    let (one, other) = (of("x".repeat(5_000) + "1"), of("x".repeat(5_000) + "2"));
    assert!(one != other && one[0].len() < 100);
    assert_ne!(of("a\",\"b".into()), of("a".into()));
}

fn spend_limits(rule: &Value) -> Limits {
    let mut whole = json!({ "id": "s", "limit": 0.5, "limitType": "cost", "window": 60 });
    whole.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    limits(None, &Value::Null, &json!({ "enabled": true, "rules": [whole] }))
}

#[test]
fn a_spend_rule_is_about_what_its_dimensions_say() {
    let team = metadata(&json!({ "team": "a", "env": true }));
    let asked = LimitSubject { provider: "openai", model: Some("gpt-4o"), metadata: &team, ..LimitSubject::default() };
    let bare = LimitSubject { metadata: &[], model: None, ..asked.clone() };
    let partition = json!({ "mode": "partition" });
    let filter = |values: Value| json!({ "mode": "filter", "values": values });
    for (rule, wanted, without) in [
        (json!({}), Some("spend/s "), Some("spend/s ")),
        (json!({ "provider": filter(json!(["anthropic", "OpenAI"])) }), Some("spend/s "), Some("spend/s ")),
        (json!({ "provider": filter(json!(["anthropic"])) }), None, None),
        (json!({ "model": filter(json!(["GPT-4o"])) }), Some("spend/s "), None),
        (json!({ "model": filter(json!(["gpt-4"])) }), None, None),
        (json!({ "model": partition, "provider": partition }), Some("spend/s [\"openai\",\"gpt-4o\"]"), None),
        (json!({ "metadata": { "team": partition } }), Some("spend/s [\"a\"]"), None),
        (json!({ "metadata": { "team": partition, "env": filter(json!(["true"])) } }), Some("spend/s [\"a\"]"), None),
        (json!({ "metadata": { "team": filter(json!(["A"])) } }), None, None),
        (json!({ "enabled": false }), None, None),
    ] {
        let limits = spend_limits(&rule);
        let found = |asked: &LimitSubject<'_>| counters(&limits, asked).first().cloned();
        assert_eq!((found(&asked).as_deref(), found(&bare).as_deref()), (wanted, without), "{rule}");
    }
}

#[test]
fn an_estimate_is_taken_only_where_money_is_set_aside() {
    let asked = LimitSubject { provider: "openai", ..LimitSubject::default() };
    let plan = LimitCheck::new(&spend_limits(&json!({})), &asked, || panic!("not asked for"));
    assert!(!plan.reserves() && plan.spends().len() == 1);
    let plan = LimitCheck::new(&spend_limits(&json!({ "reserve": true })), &asked, || 7);
    assert!(plan.reserves() && plan.demands[0].takes == Takes::Reserve(7));
}

#[test]
fn the_headers_follow_the_draft() {
    let limits = limits(
        Some(gateway()),
        &json!([{ "id": "t", "key": "token", "limit": 5, "interval": 3600 }]),
        &json!({ "rules": [{ "id": "daily", "limit": 1, "limitType": "cost", "window": 86400 }] }),
    );
    let plan = LimitCheck::new(
        &limits,
        &LimitSubject { token: Some("x"), provider: "openai", ..LimitSubject::default() },
        || 0,
    );
    let reading =
        |remaining, resets_in_ms, retry_in_ms| Reading { remaining, resets_in_ms, retry_in_ms, ..Reading::default() };
    let passed = [reading(3, 11_001, 0), reading(4, 60_000, 0), reading(1_250_000_000, 500, 0)];
    assert_eq!(
        plan.headers(&passed),
        [
            ("ratelimit-policy", r#""gateway";q=10;w=60, "t";q=5;w=3600"#.to_owned()),
            ("ratelimit", r#""gateway";r=3;t=12, "t";r=4;t=60"#.to_owned()),
            ("cf-aig-spend-remaining", r#""daily";usd="0.00125";t=1"#.to_owned()),
        ]
    );
    assert_eq!(plan.refused(&passed), None);
    assert!(!plan.refused(&[reading(1, 1, 0), reading(1, 1, 0), reading(0, 9, 9)]).unwrap().is_final);
    let refused = plan.refused(&[reading(0, 1, 1), reading(0, 1, 1_500), reading(0, 9, 0)]).unwrap();
    let (is_final, refused) = (refused.is_final, Refusal::from(refused));
    assert_eq!((refused.status, refused.code, refused.message.as_ref()), (429, 2003, "Rate limited"));
    assert_eq!(refused.headers.last().unwrap(), &("retry-after", "2".to_owned()));
    assert!(is_final && refused.description.contains("'gateway'"));
}

#[test]
fn a_refusal_says_when_the_limit_is_a_stored_keys() {
    let key = KeyLimit { name: "openai prod", limit: 2, interval: 60 };
    let plan = LimitCheck::new(&Limits::default(), &LimitSubject { key: Some(key), ..LimitSubject::default() }, || 0);
    let refused = plan.refused(&[Reading { retry_in_ms: 1, ..Reading::default() }]).unwrap();
    let (is_final, refusal) = (refused.is_final, Refusal::from(refused));
    assert!(!is_final && refusal.description.contains("the stored key"), "{}", refusal.description);
}

#[test]
fn a_spend_refusal_reads_as_the_originals() {
    let asked = LimitSubject { provider: "openai", model: Some("gpt-4o"), ..LimitSubject::default() };
    let plan = LimitCheck::new(&spend_limits(&json!({})), &asked, || 0);
    let refused = Refusal::from(plan.refused(&[Reading { retry_in_ms: 1, ..Reading::default() }]).unwrap());
    assert_eq!((refused.status, refused.code), (429, 2045));
    assert_eq!(refused.message, "Spend limit exceeded: rule 's' (cost limit 0.5 per 60s, sliding) for openai gpt-4o");
}
