use super::*;
use crate::gateways::snapshot;
use crate::testing::sqlite::Sqlite;
use pollster::block_on;
use serde_json::json;

fn actor(n: u64) -> Actor<'static> {
    Actor { name: "admin", now_ms: 1_700_000_000_000 + n, entry: id::mint(n, n.into()) }
}

fn asked(reply: Result<Reply, ApiError>) -> Value {
    let reply = reply.unwrap_or_else(|error| error.reply());
    let mut body: Value = serde_json::from_str(&reply.body).unwrap();
    body["status"] = json!(reply.status);
    body
}

fn make(store: &Sqlite, n: u64, body: &Value) -> Value {
    asked(
        block_on(create(
            store,
            "a",
            body.to_string().as_bytes(),
            &id::mint(n, n.into()),
            &actor(n),
            &crate::config::bounds::Bounds::USUAL.costs,
        ))
        .reply,
    )
}

fn with(name: &str, value: Value) -> Value {
    let mut body = json!({ "account_provider_id": "openai", "model": "gpt-4o", "cost_in": 1e-6 });
    body[name] = value;
    body
}

#[test]
fn what_is_made_is_shown_and_can_be_sent_back() {
    let store = Sqlite::new();
    let made = make(
        &store,
        1,
        &with("token_pricing", json!({ "input_cached_tokens": 1e-7, "input_image_count": 0, "output_tokens": null })),
    );
    let result = &made["result"];
    assert_eq!(result["token_pricing"], r#"{"input_cached_tokens":1e-7}"#);
    assert_eq!(
        (&result["weight"], &result["changed_by"], &result["enable"]),
        (&json!(2_006), &json!("manual"), &json!(true))
    );
    let id = result["id"].as_str().unwrap();
    let patched = |body: &Value| asked(block_on(update(&store, "a", id, body.to_string().as_bytes(), &actor(2))).reply);
    let again = patched(result)["result"].clone();
    assert_eq!((&again["token_pricing"], &again["cost_in"]), (&result["token_pricing"], &result["cost_in"]));
    let wider = patched(&json!({ "model_rule": "contains", "model": "4o", "cost_out": 2e-6, "token_pricing": null }));
    assert_eq!((&wider["result"]["weight"], &wider["result"]["token_pricing"]), (&json!(2), &Value::Null));
    assert_eq!(patched(&json!({ "cost_in": null, "cost_out": null }))["errors"][0]["path"], json!(["body", "cost_in"]));
    assert_eq!(patched(&json!({ "account_provider_id": "groq" }))["status"], 400);
    assert_eq!(asked(block_on(get(&store, "b", id)))["errors"][0]["code"], 7002);
    assert_eq!(block_on(delete(&store, "b", id, &actor(3))).reply.unwrap_err().status, 404);
    assert_eq!(asked(block_on(delete(&store, "a", id, &actor(3))).reply)["result"]["model"], "4o");
    assert_eq!(asked(block_on(get(&store, "a", id)))["status"], 404);
}

#[test]
fn what_is_wrong_is_named() {
    let store = Sqlite::new();
    for (name, wrong) in [
        ("account_provider_id", vec![json!(null), json!(5), json!("custom-nothing"), json!("nothing"), json!("")]),
        ("model", vec![json!(""), json!(" "), json!(1), json!("x".repeat(201))]),
        ("model_rule", vec![json!("regex"), json!(1)]),
        ("cost_in", vec![json!(-1e-9), json!(2.5), json!("0.1"), json!(null)]),
        ("cost_out", vec![json!(0.011), json!([])]),
        ("cost_type", vec![json!("requests"), json!(1)]),
        ("enable", vec![json!("yes")]),
        ("token_pricing", vec![json!([]), json!("x"), json!("[]"), json!({ "total_tokens": 0, "output_tokens": 0 })]),
        ("weight", vec![json!(5)]),
    ] {
        for value in wrong {
            let refused = make(&store, 1, &with(name, value.clone()));
            assert_eq!(
                (&refused["status"], &refused["errors"][0]["path"]),
                (&json!(400), &json!(["body", name])),
                "{value}"
            );
        }
    }
    for kind in ["input_image_count", "tokens"] {
        let refused = make(&store, 1, &with("token_pricing", json!({ kind: 1e-6 })));
        assert_eq!(refused["errors"][0]["path"], json!(["body", "token_pricing", kind]));
    }
    for (pricing, path) in [
        (json!({ "web_search_requests": -1 }), json!(["body", "token_pricing", "web_search_requests"])),
        (json!({ "service_tiers": { "flex": "half" } }), json!(["body", "token_pricing", "service_tiers", "flex"])),
        (json!({ "service_tiers": { "slow": 0.5 } }), json!(["body", "token_pricing", "service_tiers"])),
        (json!({ "service_tiers": 5 }), json!(["body", "token_pricing", "service_tiers"])),
    ] {
        let refused = make(&store, 1, &with("token_pricing", pricing));
        assert_eq!((&refused["status"], &refused["errors"][0]["path"]), (&json!(400), &path));
    }
    assert_eq!(asked(block_on(list(&store, "a", &Query::default())))["result_info"]["total_count"], 0);
}

#[test]
fn lists_are_filtered_and_requests_see_the_enabled_ones() {
    let store = Sqlite::new();
    make(&store, 1, &with("model_rule", json!("contains")));
    make(&store, 2, &with("enable", json!(false)));
    make(&store, 3, &with("account_provider_id", json!("google")));
    let count =
        |query: &str| asked(block_on(list(&store, "a", &Query::parse(query))))["result_info"]["total_count"].clone();
    for (query, wanted) in [
        ("", 3),
        ("enable=false", 1),
        ("model_rule=contains", 1),
        ("account_provider_id=google-ai-studio", 1),
        ("cost_type=tokens", 3),
        ("cost_type=images", 0),
        ("search=GPT", 3),
        ("search=claude", 0),
    ] {
        assert_eq!(count(query), wanted, "{query}");
    }
    assert_eq!(asked(block_on(list(&store, "a", &Query::parse("model_rule=x"))))["status"], 400);
    for account in ["a", "b"] {
        let sql = "INSERT INTO gateways (account_id, id, internal_id, created_at, modified_at, settings) VALUES (?1, 'gw', 'i', 0, 0, '{}')";
        block_on(store.batch(vec![Statement::new(sql, [account.into()])])).unwrap();
    }
    let seen = |account| {
        let snapshot = block_on(snapshot::read(&store, account, "gw")).unwrap().unwrap();
        let mut seen: Vec<_> = snapshot.prices.iter().map(|rule| (rule.provider.clone(), rule.model.clone())).collect();
        seen.sort();
        seen
    };
    let wanted = ["google-ai-studio", "openai"].map(|provider| (provider.to_owned(), "gpt-4o".to_owned()));
    assert_eq!(seen("a"), wanted);
    assert!(seen("b").is_empty());
}
