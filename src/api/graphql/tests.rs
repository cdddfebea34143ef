use super::*;
use crate::api::analytics;
use crate::auth::caller::{Permission, Token};
use crate::http::query::Query;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::testing::sqlite::{Planned, Sqlite};
use crate::wire::{Facts, Usage};
use pollster::block_on;

const NOW: u64 = 1_700_000_000_000;

fn filled() -> Sqlite {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES \
         (1, 'a', 'one', 'i', 1, 1, '{\"log_management\":10000}'), (2, 'a', 'two', 'i', 1, 1, '{}'), (3, 'b', 'one', 'i', 1, 1, '{}')";
    block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
    let mut records = Vec::new();
    for n in 0..60u64 {
        let mut made = call(&crate::base::id::mint(NOW, n.into()));
        (made.gateway, made.created_at) = (1 + n as i64 % 3, NOW - n * 60_000);
        made.facts.model = Some(if n % 2 == 0 { "gpt-4o" } else { "gpt-4o-mini" }.to_owned());
        made.cached = n % 5 == 0;
        let usage = Usage { tokens_in: Some(100 + n), tokens_out: Some(n), ..Usage::default() };
        let mut outcome = answered(Facts { usage, ..Facts::default() });
        outcome.status = Some(if n % 7 == 0 { 500 } else { 200 });
        records.push(LogRecord::new(made, outcome));
    }
    assert_eq!(block_on(group_commit::write(&store, records.into(), async |_| {})), []);
    store
}

fn asked_as(store: &Sqlite, caller: &Caller, query: &str, variables: Value) -> Value {
    let body = json!({ "query": query, "variables": variables }).to_string();
    let reply = block_on(answer(store, body.as_bytes(), caller, NOW)).unwrap();
    assert_eq!(reply.status, 200);
    serde_json::from_str(&reply.body).unwrap()
}

fn set(store: &Sqlite, set: &str) -> Vec<Value> {
    let query = format!("{{ viewer {{ accounts(filter: {{accountTag: \"a\"}}) {{ rows: {set} }} }} }}");
    let answer = asked_as(store, &Caller::Admin, &query, json!({}));
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    answer["data"]["viewer"]["accounts"][0]["rows"].as_array().unwrap().clone()
}

const SUMS: &str = "count sum { cachedRequests erroredRequests cachedTokensIn cachedTokensOut uncachedTokensIn uncachedTokensOut cost }";

#[test]
fn figures_are_those_of_the_analytics_to_the_digit() {
    let store = filled();
    for (gateway, key) in [("one", 1), ("two", 2)] {
        let shown = block_on(analytics::get(&store, key, &Query::parse("granularity=minute"), NOW)).unwrap();
        let shown: Value = serde_json::from_str(&shown.body).unwrap();
        let totals = &shown["result"]["totals"];
        let rows =
            set(&store, &format!("aiGatewayRequestsAdaptiveGroups(filter: {{gateway: \"{gateway}\"}}) {{ {SUMS} }}"));
        assert_eq!(rows.len(), 1);
        let sum = &rows[0]["sum"];
        for (own, theirs) in [
            (&rows[0]["count"], &totals["requests"]),
            (&sum["cachedRequests"], &totals["cached"]),
            (&sum["erroredRequests"], &totals["errors"]),
            (&sum["uncachedTokensIn"], &totals["tokens_in"]),
            (&sum["uncachedTokensOut"], &totals["tokens_out"]),
            (&sum["cost"], &totals["cost"]),
        ] {
            assert_eq!(own, theirs);
        }
        assert!(sum["cost"].as_f64().unwrap() > 0.0 && sum["erroredRequests"].as_i64().unwrap() > 0);
        let errors =
            set(&store, &format!("aiGatewayErrorsAdaptiveGroups(filter: {{gateway: \"{gateway}\"}}) {{ count }}"));
        assert_eq!(errors[0]["count"], totals["errors"]);
        let cache = set(
            &store,
            &format!("aiGatewayCacheAdaptiveGroups(filter: {{gateway: \"{gateway}\", cacheOp: \"hit\"}}) {{ count }}"),
        );
        assert_eq!(cache[0]["count"], totals["cached"]);
        let size = set(
            &store,
            &format!(
                "aiGatewaySizeAdaptiveGroups(filter: {{gateway_in: [\"{gateway}\"]}}) {{ max {{ rows }} dimensions {{ gateway logManagement }} }}"
            ),
        );
        let limit = if key == 1 { Value::from("10000") } else { Value::Null };
        assert_eq!(
            size[0],
            json!({ "max": { "rows": 20 }, "dimensions": { "gateway": gateway, "logManagement": limit } })
        );
    }
}

#[test]
fn groups_filters_orders_and_limits() {
    let store = filled();
    let rows = set(
        &store,
        "aiGatewayRequestsAdaptiveGroups(orderBy: [count_DESC]) { count dimensions { m: model provider } }",
    );
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["dimensions"]["provider"], rows[0]["count"].as_u64().unwrap() + rows[1]["count"].as_u64().unwrap()),
        (&json!("openai"), 40)
    );
    let minutes = set(
        &store,
        "aiGatewayRequestsAdaptiveGroups(limit: 3, orderBy: [datetimeMinute_DESC]) { dimensions { ts: datetimeMinute gateway } }",
    );
    assert_eq!(minutes[0]["dimensions"], json!({ "ts": "2023-11-14T22:13:00Z", "gateway": "one" }));
    assert_eq!(minutes.len(), 3);
    let count = |filter: &str| {
        let rows = set(&store, &format!("aiGatewayRequestsAdaptiveGroups(filter: {{{filter}}}) {{ count }}"));
        rows.first().map_or(0, |row| row["count"].as_u64().unwrap())
    };
    // 22:13 and the 59 minutes before, without every third.
    assert_eq!(count(""), 40);
    assert_eq!(
        count("datetimeHour: \"2023-11-14T21:00:00Z\"") + count("datetimeHour_geq: \"2023-11-14T22:00:00Z\""),
        40
    );
    assert_eq!(count("datetime_gt: \"2023-11-14T22:13:00Z\""), 0);
    assert_eq!(count("datetime_geq: \"2023-11-14T22:13:20Z\""), 1);
    assert_eq!(count("datetimeMinute_leq: \"2023-11-14T22:13:00Z\", datetimeMinute_geq: \"2023-11-14T22:12:30Z\""), 1);
    assert_eq!(count("date: \"2023-11-14\", model_neq: \"gpt-4o\""), 20);
    assert_eq!(count("date_lt: \"2023-11-14\""), 0);
    assert_eq!(count("OR: [{model: \"gpt-4o\"}, {gateway: \"two\", model_notin: [\"x\"]}]"), 30);
    assert_eq!(count("AND: [{gateway: \"one\"}, {gateway: \"two\"}]"), 0);
    assert_eq!(count("gateway: \"x' OR 1 --\""), 0);
}

#[test]
fn sums_are_found_by_gateway_and_time() {
    let store = Planned::new(filled());
    let query = "{ viewer { accounts(filter: {accountTag: \"a\"}) { c: aiGatewayCacheAdaptiveGroups(filter: {datetimeHour_geq: \"2023-11-14T21:00:00Z\", \
         date_leq: \"2023-11-14\", model: \"gpt-4o\"}) { count } s: aiGatewaySizeAdaptiveGroups { max { rows } } } } }";
    let body = json!({ "query": query }).to_string();
    assert_eq!(block_on(answer(&store, body.as_bytes(), &Caller::Admin, NOW)).unwrap().status, 200);
    let plans: Vec<String> = store.plans.take().into_iter().map(|(plan, _)| plan).collect();
    assert!(
        plans.iter().any(|plan| plan.contains("SEARCH r USING PRIMARY KEY (gateway=? AND time>? AND time<?)")),
        "{plans:?}"
    );
    assert!(plans.iter().any(|plan| plan.contains("SEARCH log_storage")), "{plans:?}");
}

#[test]
fn a_token_sees_its_account_and_its_gateways() {
    let store = filled();
    let token = |gateways: Option<Vec<String>>| {
        Caller::Token(Token {
            id: "t".to_owned(),
            account: "a".to_owned(),
            gateways,
            permissions: vec![Permission::Read],
            expires_at: None,
            terms: Default::default(),
        })
    };
    let query = "query($a: String!) { viewer { accounts(filter: {accountTag: $a}) { accountTag r: aiGatewayRequestsAdaptiveGroups { count dimensions { gateway } } } } }";
    let seen = |caller: &Caller, account: &str| asked_as(&store, caller, query, json!({ "a": account }));
    let rows = |answer: &Value| answer["data"]["viewer"]["accounts"][0]["r"].as_array().map_or(0, Vec::len);
    assert_eq!(rows(&seen(&token(None), "a")), 2);
    assert_eq!(rows(&seen(&token(Some(vec!["two".to_owned()])), "a")), 1);
    for (caller, account) in [(token(None), "b"), (Caller::Admin, "no account"), (Caller::Admin, "")] {
        let answer = seen(&caller, account);
        assert_eq!(
            (&answer["data"], &answer["errors"][0]["message"], &answer["errors"][0]["extensions"]["code"]),
            (&Value::Null, &json!("not authorized for that account"), &json!("authz"))
        );
        assert_eq!(answer["errors"][0]["path"], json!(["viewer", "accounts"]));
    }
    assert_eq!(rows(&seen(&Caller::Admin, "nobody")), 0);
}

#[test]
fn what_is_not_there_is_named() {
    let store = filled();
    let ask = |query: &str| asked_as(&store, &Caller::Admin, query, json!({}));
    let set = |set: &str| ask(&format!("{{ viewer {{ accounts(filter: {{accountTag: \"a\"}}) {{ {set} }} }} }}"));
    for (answer, says) in [
        (ask("{ __schema { types } }"), "unknown field \"__schema\""),
        (ask("{ viewer { zones { x } } }"), "unknown field \"zones\""),
        (ask("{ viewer { accounts { x } } }"), "accountTag"),
        (ask("{ viewer { accounts(filter: {accountTag: \"a\", x: 1}) { x } } }"), "accountTag"),
        (set("httpRequestsAdaptiveGroups { count }"), "aiGatewaySizeAdaptiveGroups"),
        (set("aiGatewayRequestsAdaptiveGroups"), "have to be named"),
        (set("aiGatewayRequestsAdaptiveGroups { count { x } }"), "unknown field \"count\""),
        (set("aiGatewayRequestsAdaptiveGroups { dimensions { statusCode } }"), "datetimeHour"),
        (set("aiGatewayRequestsAdaptiveGroups { sum { tokens } }"), "sum.cost"),
        (set("aiGatewayErrorsAdaptiveGroups { sum { cost } }"), "unknown field \"sum.cost\""),
        (set("aiGatewayRequestsAdaptiveGroups(limit: 0) { count }"), "limit"),
        (set("aiGatewayRequestsAdaptiveGroups(first: 1) { count }"), "unknown field \"first\""),
        (set("aiGatewayRequestsAdaptiveGroups(orderBy: [date_ASC]) { count }"), "does not ask for"),
        (set("aiGatewayRequestsAdaptiveGroups(orderBy: [count]) { count }"), "orderBy"),
        (
            set("aiGatewayRequestsAdaptiveGroups(filter: {metadataRaw: \"x\"}) { count }"),
            "unknown field \"metadataRaw\"",
        ),
        (set("aiGatewayRequestsAdaptiveGroups(filter: {date_geq: \"yesterday\"}) { count }"), "has to be a time"),
        (set("aiGatewayRequestsAdaptiveGroups(filter: {model_in: \"x\"}) { count }"), "list of texts"),
        (set("aiGatewayRequestsAdaptiveGroups(filter: {model_gt: \"x\"}) { count }"), "orders texts"),
        (set("aiGatewayRequestsAdaptiveGroups(filter: {OR: []}) { count }"), "list of filters"),
    ] {
        assert_eq!(answer["data"], Value::Null);
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "{says}: {message}");
    }
    for body in
        ["", "[]", "{}", r#"{"query":1}"#, r#"{"query":"{a}","variables":[]}"#, r#"{"query":"{a}","operationName":1}"#]
    {
        assert_eq!(block_on(answer(&store, body.as_bytes(), &Caller::Admin, NOW)).unwrap_err().status, 400, "{body}");
    }
}
