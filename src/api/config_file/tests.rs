use crate::api::control::{self, Request};
use crate::api::custom_providers::Guard;
use crate::api::effect::Effect;
use crate::auth::caller::Caller;
use crate::base::id::{self, MarkKey};
use crate::config::bounds::Bounds;
use crate::db::store::{Statement, Store};
use crate::http::query::Query;
use crate::http::router;
use crate::providers::resolver::Lookup;
use crate::testing::shell::TestShell;
use crate::testing::sqlite::Sqlite;
use pollster::block_on;
use serde_json::{Value, json};
use std::cell::Cell;

const NOW: u64 = 1_795_737_600_000;

struct World {
    store: Sqlite,
    asked: Cell<u8>,
}

// === impl World ===

impl World {
    fn new() -> Self {
        Self { store: Sqlite::new(), asked: Cell::new(0) }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value, Vec<Effect>) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = format!("/accounts/{path}");
        self.asked.set(self.asked.get() + 1);
        let number = self.asked.get();
        let body = body.to_string();
        let request = Request {
            route: router::route(method, &path).unwrap(),
            query: Query::parse(query),
            body: body.as_bytes(),
            if_match: None,
            accept: None,
            caller: &Caller::Admin,
            origin: "http://localhost",
            now_ms: NOW + u64::from(number),
            new_id: id::mint(NOW + u64::from(number), number.into()),
            entropy: [number; 32],
            mark: MarkKey([7; 32]),
            guard: Guard { internal_allowed: true, found: Lookup::NotAsked },
            metadata_entries: 5,
            bounds: &Bounds::USUAL,
        };
        let handled = block_on(control::handle(&self.store, &TestShell(async |_| {}), &request));
        let reply = handled.reply.unwrap_or_else(|error| error.reply());
        (reply.status, serde_json::from_str(&reply.body).unwrap(), handled.effects)
    }

    fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, said, _) = self.ask(method, path, &body);
        assert!(status < 300, "{method} {path}: {said}");
        said
    }

    fn exported(&self, account: &str) -> Value {
        self.done("GET", &format!("{account}/ai-gateway/export"), Value::Null)["result"].take()
    }

    fn imported(&self, path: &str, document: &Value) -> Value {
        self.done("PUT", path, document.clone())["result"].take()
    }

    fn audit(&self) -> usize {
        block_on(self.store.ids(Statement::new("SELECT id FROM audit", []))).unwrap().len()
    }
}

const ELEMENTS: &str = r#"[
    {"id": "start", "type": "start", "outputs": {"next": {"elementId": "m"}}},
    {"id": "m", "type": "model", "properties": {"provider": "openai", "model": "gpt-5-mini", "timeout": 1000, "retries": 1},
     "outputs": {"success": {"elementId": "end"}, "fallback": {"elementId": "end"}}},
    {"id": "end", "type": "end", "outputs": {}}
]"#;

/// An account that has one of each.
fn filled(world: &World, account: &str) {
    let at = format!("{account}/ai-gateway");
    let elements: Value = serde_json::from_str(ELEMENTS).unwrap();
    let rules = json!([{ "key": "token", "limit": 5, "interval": 60 }]);
    world.done("POST", &format!("{at}/gateways"), json!({ "id": "gw", "cache_ttl": 60, "rate_limiting_rules": rules }));
    world.done("POST", &format!("{at}/gateways"), json!({ "id": "other" }));
    let provider = json!({
        "name": "Own", "slug": "own", "base_url": "https://own.example.com",
        "headers": r#"{"x-team":"blue","authorization":"Bearer canary-0123456789abcdefghij"}"#,
    });
    world.done("POST", &format!("{at}/custom-providers"), provider);
    let cost = json!({ "account_provider_id": "custom-own", "model": "m", "cost_in": 5e-7, "token_pricing": null });
    world.done("POST", &format!("{at}/custom-providers/costs"), cost);
    let prices = json!([{ "provider": "openai", "model": "gpt-5", "input": 2, "output": 3 }]);
    world.done("PUT", &format!("{at}/catalogue"), json!({ "as_of": "2027-01-31", "prices": prices }));
    let webhook = json!({ "url": "https://hooks.slack.com/services/canary", "format": "slack", "gateway": "gw" });
    world.done("POST", &format!("{at}/alerts/webhooks"), webhook);
    let webhook = json!({ "url": "https://ops.example.com/alerts", "secret": "canary-of-a-webhook" });
    world.done("POST", &format!("{at}/alerts/webhooks"), webhook);
    let gateway = format!("{at}/gateways/gw");
    world.done("POST", &format!("{gateway}/routes"), json!({ "name": "cheap", "elements": elements }));
    let policy =
        json!({ "name": "no gpt-5", "actor": "*", "resource": { "model": "gpt-5" }, "action": { "type": "block" } });
    world.done("POST", &format!("{gateway}/policies?commit=true"), policy);
    let filters = json!([{ "key": "success", "operator": "eq", "value": [false] }]);
    world.done("POST", &format!("{gateway}/datasets"), json!({ "name": "failed", "filters": filters }));
    let key = json!({ "provider_slug": "openai", "alias": "prod", "secret": "sk-canary-0123456789", "default_config": true, "weight": 2 });
    world.done("POST", &format!("{gateway}/provider_configs"), key);
    let push = json!({ "url": "https://logs.example.com/in", "authorization": "Bearer canary-of-a-push" });
    world.done("PUT", &format!("{gateway}/logpush"), push);
    let push = json!({ "url": "https://logs.example.com/plain" });
    world.done("PUT", &format!("{at}/gateways/other/logpush"), push);
}

#[test]
fn what_was_exported_makes_another_account_the_same() {
    let world = World::new();
    filled(&world, "a");
    let document = world.exported("a");
    assert!(!document.to_string().contains("canary"), "{document}");
    assert_eq!(document["gateways"][0]["settings"]["cache_ttl"], 60);

    let rehearsed = world.imported("b/ai-gateway/import?dry_run=true", &document);
    let kinds: Vec<&str> =
        rehearsed["changes"].as_array().unwrap().iter().map(|change| change["kind"].as_str().unwrap()).collect();
    let wanted = [
        "catalogue",
        "custom_providers",
        "costs",
        "gateways",
        "routes",
        "policies",
        "datasets",
        "gateways",
        "logpush_endpoint",
    ];
    assert_eq!((kinds, &rehearsed["dry_run"]), (wanted.to_vec(), &json!(true)));
    // The webhooks, the header, the key and the endpoint with a secret.
    assert_eq!(rehearsed["warnings"].as_array().unwrap().len(), 5, "{rehearsed}");
    assert_eq!(world.exported("b")["gateways"], json!([]));

    let rows = world.audit();
    let (status, said, effects) = world.ask("PUT", "b/ai-gateway/import", &document);
    assert_eq!((status, &said["result"]["create"]), (200, &json!(8)), "{said}");
    assert!(effects.contains(&Effect::SyncShards) && effects.contains(&Effect::ForgetSnapshots));
    assert_eq!(world.audit(), rows + 9);
    let mut other = world.exported("b");
    assert_eq!(other["custom_providers"][0]["headers"], r#"{"x-team":"blue"}"#);
    assert_eq!(
        (other["alert_webhooks"].take(), other["gateways"][0]["provider_configs"].take()),
        (json!([]), json!([]))
    );
    for list in ["costs", "catalogue"] {
        assert_eq!(other[list], document[list]);
    }
    for list in ["settings", "routes", "policies", "datasets"] {
        assert_eq!(other["gateways"][0][list], document["gateways"][0][list]);
    }

    // A second time there is nothing to do, in both accounts.
    for (account, unchanged) in [("b", 9), ("a", 13)] {
        let again = world.imported(&format!("{account}/ai-gateway/import?prune=true"), &document);
        assert_eq!((&again["changes"], &again["unchanged"]), (&json!([]), &json!(unchanged)), "{again}");
    }
    assert_eq!(world.audit(), rows + 9);
}

#[test]
fn a_document_that_one_part_refuses_changes_nothing() {
    let world = World::new();
    filled(&world, "a");
    let (before, rows) = (world.exported("a"), world.audit());
    let policy = |action: &str| json!({ "name": "p", "actor": "*", "resource": "*", "action": { "type": action } });
    for (change, path) in [
        (
            json!({ "gateways": [{ "id": "new", "settings": { "cache_ttl": 5 } }, { "id": "gw", "policies": [policy("block"), policy("hide")] }] }),
            "body.gateways.1.policies.1.action.type",
        ),
        (
            json!({ "gateways": [{ "id": "new", "settings": { "cache_ttl": -5 } }] }),
            "body.gateways.0.settings.cache_ttl",
        ),
        (
            json!({ "gateways": [{ "id": "new", "routes": [{ "name": "r", "elements": [] }] }] }),
            "body.gateways.0.routes.0.elements",
        ),
        (json!({ "gateways": [{ "id": "new" }, { "id": "new" }] }), "body.gateways.1.id"),
        (json!({ "gateways": [{ "id": "../tokens" }] }), "body.gateways.0.id"),
        (json!({ "gateways": [{ "id": "gw", "datasets": [{ "name": "d" }] }] }), "body.gateways.0.datasets.0.filters"),
        (
            json!({ "gateways": [{ "id": "gw", "datasets": [{ "name": "failed", "filters": 7 }] }] }),
            "body.gateways.0.datasets.0.filters",
        ),
        (json!({ "gateways": [{ "id": "gw", "keys": [] }] }), "body.gateways.0.keys"),
        (json!({ "gateways": {} }), "body.gateways"),
        (json!({ "gateways": [7] }), "body.gateways.0"),
        (json!({ "tollgate": 2 }), "body.tollgate"),
        (json!({ "costs": [{ "provider": "custom-nobody", "model": "m", "cost_in": 1e-6 }] }), "body.costs.0.provider"),
        (json!({ "costs": [{ "provider": "nobody", "model": "m", "cost_in": 1e-6 }] }), "body.costs.0.provider"),
        (json!({ "custom_providers": [{ "slug": "own", "base_url": "ftp://x" }] }), "body.custom_providers.0.base_url"),
        (
            json!({ "alert_webhooks": [{ "url": "https://x.example.com/", "gateway": "nowhere", "format": "slack" }] }),
            "body.alert_webhooks.0.gateway",
        ),
        (json!({ "catalogue": { "prices": [{ "provider": "openai" }] } }), "body.catalogue.prices.0"),
    ] {
        let mut document = json!({ "tollgate": 1 });
        document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        // A part of which nothing is wrong comes first.
        document
            .as_object_mut()
            .unwrap()
            .entry("costs")
            .or_insert(json!([{ "provider": "openai", "model": "x", "cost_in": 1e-6 }]));
        let (status, said, _) = world.ask("PUT", "a/ai-gateway/import", &document);
        let at: Vec<&str> =
            said["errors"][0]["path"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!((status, at.join(".").starts_with(path)), (400, true), "{document}: {said}");
    }
    assert_eq!((world.exported("a"), world.audit()), (before, rows));
}

#[test]
fn only_what_the_document_says_is_changed_and_what_it_lacks_goes_where_that_is_asked_for() {
    let world = World::new();
    filled(&world, "a");
    let mut document = world.exported("a");
    let gateway = &mut document["gateways"][0];
    gateway["settings"] = json!({ "cache_ttl": 90, "log_management": null, "cache_tll": 1 });
    gateway["routes"][0]["elements"][1]["properties"]["model"] = json!("gpt-5");
    gateway["policies"] = json!([]);
    gateway["datasets"][0]["filters"] = json!([{ "key": "success", "operator": "eq", "value": true }]);
    document["costs"][0]["cost_in"] = json!(2.5e-7);
    document["gateways"].as_array_mut().unwrap().truncate(1);
    document["alert_webhooks"] = json!([]);
    let planned = world.imported("a/ai-gateway/import?dry_run=true", &document);
    assert_eq!(
        (&planned["update"], &planned["delete"], &planned["not_in_document"]),
        (&json!(4), &json!(0), &json!(4)),
        "{planned}"
    );
    assert_eq!(planned["changes"][1]["changes"], json!({ "cache_ttl": { "from": 60, "to": 90 } }));
    assert!(planned["warnings"][0].as_str().unwrap().starts_with("gateways.0.settings.cache_tll"));
    let done = world.imported("a/ai-gateway/import?prune=true", &document);
    assert_eq!((&done["update"], &done["delete"], &done["remaining"]), (&json!(4), &json!(4), &json!(0)), "{done}");
    let after = world.exported("a");
    let gateway = &after["gateways"][0];
    assert_eq!(
        (&gateway["settings"]["cache_ttl"], &gateway["policies"], after["gateways"].as_array().unwrap().len()),
        (&json!(90), &json!([]), 1)
    );
    assert_eq!(gateway["routes"][0]["elements"][1]["properties"]["model"], "gpt-5");
    assert_eq!(gateway["datasets"][0]["filters"][0]["value"], json!([true]));
    assert_eq!((&after["costs"][0]["cost_in"], &after["alert_webhooks"]), (&json!(2.5e-7), &json!([])));
    assert_eq!(gateway["provider_configs"][0]["alias"], "prod");
    let again = world.imported("a/ai-gateway/import?prune=true", &document);
    assert_eq!(again["changes"], json!([]));
}

#[test]
fn one_gateway_is_a_document_of_its_own() {
    let world = World::new();
    filled(&world, "a");
    let document = world.done("GET", "a/ai-gateway/export?gateway=gw", Value::Null);
    assert_eq!(document["result"]["gateways"].as_array().unwrap().len(), 1);
    assert!(document["result"].get("custom_providers").is_none());
    assert_eq!(world.ask("GET", "a/ai-gateway/export?gateway=none", &Value::Null).0, 404);
    assert_eq!(world.ask("GET", "a/ai-gateway/export?gateway=../tokens", &Value::Null).0, 400);
    // The other gateway is none of its business, and the answer of the export is sent as it is.
    let done = world.imported("a/ai-gateway/import?gateway=gw&prune=true", &document);
    assert_eq!((&done["changes"], &done["not_in_document"]), (&json!([]), &json!(0)));
    assert_eq!(world.ask("PUT", "a/ai-gateway/import?gateway=other", &document).0, 400);
    assert_eq!(world.imported("b/ai-gateway/import?gateway=gw", &document)["create"], 4);
    assert_eq!(world.exported("b")["gateways"].as_array().unwrap().len(), 1);
}

#[test]
fn an_import_that_stops_goes_on_when_it_is_sent_again() {
    let world = World::new();
    let datasets: Vec<Value> = (0..70).map(|n| json!({ "name": format!("d{n}"), "filters": [] })).collect();
    let document = json!({ "tollgate": 1, "gateways": [{ "id": "gw", "datasets": datasets }] });
    let first = world.imported("a/ai-gateway/import", &document);
    assert_eq!((&first["create"], &first["remaining"]), (&json!(71), &json!(11)));
    let second = world.imported("a/ai-gateway/import", &document);
    assert_eq!((&second["create"], &second["remaining"], &second["unchanged"]), (&json!(11), &json!(0), &json!(60)));
    assert_eq!(world.imported("a/ai-gateway/import", &document)["unchanged"], 71);
}

#[test]
fn weights_and_endpoints_follow_the_document_and_secrets_stay_with_their_host() {
    let world = World::new();
    filled(&world, "a");
    let mut document = world.exported("a");
    assert_eq!(document["gateways"][0]["logpush_endpoint"]["authorization"], "***");
    assert_eq!(document["gateways"][0]["provider_configs"][0]["weight"], 2);
    document["gateways"][0]["provider_configs"][0]["weight"] = json!(7);
    document["gateways"][0]["provider_configs"][0]["default_config"] = json!(false);
    document["gateways"][0]["logpush_endpoint"] = json!({ "url": "https://logs.example.com/new" });
    document["gateways"][1]["logpush_endpoint"] = json!(null);
    document["custom_providers"][0]["base_url"] = json!("https://elsewhere.example.com");
    document["custom_providers"][0]["headers"] = json!(r#"{"x-team":"green","authorization":"***"}"#);
    let done = world.imported("a/ai-gateway/import", &document);
    assert_eq!((&done["update"], &done["delete"]), (&json!(3), &json!(1)), "{done}");
    let warnings: Vec<&str> = done["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| said.as_str().unwrap().split(':').next().unwrap())
        .collect();
    assert_eq!(warnings, ["custom_providers.0.base_url", "gateways.0.provider_configs.0.default_config"]);
    let after = world.exported("a");
    assert_eq!(after["custom_providers"][0]["headers"], r#"{"x-team":"green"}"#);
    let [first, second] = [0, 1].map(|at| &after["gateways"][at]);
    assert_eq!(first["provider_configs"][0]["weight"], 7);
    assert_eq!(first["logpush_endpoint"], json!({ "url": "https://logs.example.com/new" }));
    assert_eq!(second["logpush_endpoint"], json!(null));
    // What only a secret can bring is left as it is, and no other host gets it.
    document["gateways"][0]["logpush_endpoint"] = json!({ "url": "https://evil.example.com", "authorization": "***" });
    let left = world.imported("a/ai-gateway/import", &document);
    assert_eq!(left["changes"], json!([]), "{left}");
    assert!(left["warnings"].to_string().contains("gateways.0.logpush_endpoint"), "{left}");
}
