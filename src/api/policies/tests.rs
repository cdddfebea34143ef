use super::*;
use crate::gateways::snapshot;
use crate::testing::sqlite::Sqlite;
use pollster::block_on;

const PLACE: Place<'static> = Place { account: "acct", gateway: "gw", key: 1 };

fn store() -> Sqlite {
    let store = Sqlite::new();
    run(
        &store,
        "INSERT INTO gateways (account_id, id, internal_id, created_at, modified_at, settings) VALUES ('acct', 'gw', 'i', 0, 0, '{}')",
    );
    store
}

fn run(store: &Sqlite, sql: &'static str) {
    block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
}

fn actor(entry: &str) -> Actor<'static> {
    Actor { name: "admin", now_ms: 1_700_000_000_000, entry: entry.to_owned() }
}

fn answer(handled: Handled) -> (u16, Value) {
    let reply = handled.reply.unwrap_or_else(|error| error.reply());
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

fn add(store: &Sqlite, id: &str, commit: bool, change: Value) -> (u16, Value) {
    let mut body =
        json!({ "name": id, "actor": "all", "resource": "*", "condition": "true", "action": { "type": "no-limit" } });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let query = Query::parse(if commit { "commit=true" } else { "" });
    answer(block_on(create(store, &PLACE, (&query, body.to_string().as_bytes()), id, &actor(id))))
}

fn put(store: &Sqlite, id: &str, commit: bool, body: &Value) -> (u16, Value) {
    let query = Query::parse(if commit { "commit=true" } else { "" });
    answer(block_on(update(store, &PLACE, id, (&query, body.to_string().as_bytes()), &actor(&format!("u-{id}")))))
}

fn in_force(store: &Sqlite) -> Vec<String> {
    let snapshot = block_on(snapshot::read(store, "acct", "gw")).unwrap().unwrap();
    snapshot.policies.iter().map(|policy| policy.name.clone()).collect()
}

fn shown(store: &Sqlite, query: &str) -> Vec<(String, bool)> {
    let body = block_on(list(store, &PLACE, &Query::parse(query))).unwrap().body;
    let whole: Value = serde_json::from_str(&body).unwrap();
    let all = whole["result"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["staging"] == true)).collect()
}

#[test]
fn a_policy_is_staged_committed_changed_and_removed() {
    let store = store();
    let (status, made) = add(&store, "a", true, json!({}));
    assert_eq!((status, &made["committed"], &made["success"]), (200, &json!(true), &json!(true)));
    assert_eq!((&made["result"]["created_at"], made["result"].get("staging")), (&json!(1_700_000_000), None));
    let (_, staged) = add(&store, "b", false, json!({}));
    assert_eq!((&staged["committed"], &staged["result"]["staging"]), (&json!(false), &json!(true)));
    assert_eq!((in_force(&store), shown(&store, "")), (vec!["a".to_owned()], vec![("a".to_owned(), false)]));
    let pair = |name: &str, staged| (name.to_owned(), staged);
    assert_eq!(shown(&store, "includeStaging=true"), [pair("a", false), pair("b", true)]);
    // A change without commit does not hold yet, and one that was never committed takes none.
    assert_eq!(put(&store, "b", true, &json!({ "name": "x" })).0, 400);
    assert_eq!(put(&store, "a", false, &json!({ "name": "a2" })).1["committed"], json!(false));
    assert_eq!(in_force(&store), ["a"]);
    let done = answer(block_on(commit(&store, &PLACE, &actor("c")))).1;
    assert_eq!(
        (&done["success"], &done["result"]["committed"], &done["result"]["failed"]),
        (&json!(true), &json!(2), &json!(0))
    );
    assert_eq!(in_force(&store), ["a2", "b"]);
    assert_eq!(put(&store, "a", true, &json!({ "action": { "type": "block" } })).0, 200);
    assert_eq!(answer(block_on(delete(&store, &PLACE, "a", &actor("d")))).0, 200);
    assert_eq!(answer(block_on(delete(&store, &PLACE, "a", &actor("d2")))).0, 404);
    assert_eq!(in_force(&store), ["b"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_another_gateways_policy_is_none() {
    let store = store();
    assert_eq!(
        add(&store, "a", true, json!({ "condition": "cf.country ==" })).1["errors"][0]["path"],
        json!(["body", "condition"])
    );
    assert_eq!(add(&store, "a", true, json!({ "conditions": "true" })).0, 400);
    add(&store, "a", true, json!({}));
    let other = Place { key: 2, ..PLACE };
    assert_eq!(block_on(get(&store, &other, "a", &Query::parse(""))).unwrap_err().status, 404);
    assert_eq!(put(&store, "a", true, &json!({ "action": { "type": "limit", "amount": -1 } })).0, 400);
    // A row that no parser of ours wrote stays staged, and keeps no other back.
    run(
        &store,
        "INSERT INTO policies (id, gateway, draft, created_at, updated_at) VALUES ('z', 1, '{\"name\":7}', 0, 0)",
    );
    add(&store, "b", false, json!({}));
    let done = answer(block_on(commit(&store, &PLACE, &actor("c")))).1;
    assert_eq!((&done["success"], &done["result"]["errors"][0]["policyId"]), (&json!(false), &json!("z")));
    assert_eq!(in_force(&store), ["a", "b"]);
}

#[test]
fn a_request_can_be_tried_out_against_what_is_staged() {
    let store = store();
    let cap = json!({ "actor": "team:{metadata.team}", "action": { "type": "limit", "amount": 5, "period": "daily" } });
    add(&store, "cap", true, cap);
    add(
        &store,
        "no opus",
        false,
        json!({ "resource": { "model": "anthropic/*opus*" }, "action": { "type": "block" } }),
    );
    let said = |body: Value| {
        let reply = block_on(simulate(&store, &PLACE, body.to_string().as_bytes())).unwrap();
        serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone()
    };
    let identity = json!({ "metadata": { "team": "a" } });
    let fine = said(json!({ "identity": identity, "model": "openai/gpt-5", "provider": "openai" }));
    assert_eq!((&fine["enforcement"]["allowed"], &fine["policiesEvaluated"]), (&json!(true), &json!(2)));
    let over = said(json!({ "identity": identity, "model": "openai/gpt-5", "bucketUsage": { "cap": { "spent": 5 } } }));
    assert_eq!(over["enforcement"]["reason"], json!("limit_exceeded"));
    let blocked = said(json!({ "identity": identity, "model": "Anthropic/claude-opus-4", "provider": "anthropic" }));
    assert_eq!(blocked["enforcement"]["policyName"], json!("no opus"));
    for wrong in
        [json!({}), json!({ "model": 7 }), json!({ "provider": "openai", "identity": [] }), json!({ "actor": "x" })]
    {
        assert_eq!(block_on(simulate(&store, &PLACE, wrong.to_string().as_bytes())).unwrap_err().status, 400);
    }
}
