use super::*;
use crate::api::control;
use crate::api::custom_providers::Guard;
use crate::auth::caller::{Permission, Token};
use crate::auth::terms;
use crate::base::id::MarkKey;
use crate::base::timestamp;
use crate::config::bounds::Bounds;
use crate::http::query::Query;
use crate::http::router;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::rollup::merge;
use crate::providers::resolver::Lookup;
use crate::testing::plans::scan;
use crate::testing::shell::TestShell;
use crate::testing::sqlite::{Planned, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use std::rc::Rc;

const NOW: u64 = 1_700_000_000_000;
const GATEWAYS: &str = "/accounts/a/ai-gateway/gateways";

fn asked(store: &impl Databases, caller: &Caller, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        route: router::route(method, path).unwrap(),
        query: Query::parse(query),
        body: body.as_bytes(),
        if_match: None,
        accept: None,
        caller,
        origin: "http://localhost",
        now_ms: NOW,
        new_id: id::mint(NOW, (method.len() + path.len() + body.len()) as u128),
        entropy: [7; 32],
        mark: MarkKey([7; 32]),
        guard: Guard { internal_allowed: false, found: Lookup::NotAsked },
        metadata_entries: 5,
        bounds: &Bounds::USUAL,
    };
    let reply = block_on(control::handle(store, &TestShell(async |_| {}), &request)).reply;
    let reply = reply.unwrap_or_else(|error| error.reply());
    (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::String(reply.body)))
}

fn ask(store: &Sqlite, method: &str, path: &str, body: &str) -> (u16, Value) {
    asked(store, &Caller::Admin, method, &format!("{GATEWAYS}{path}"), body)
}

fn with_gateways(settings: Value) -> Sqlite {
    let store = Sqlite::new();
    for id in ["gw", "beside"] {
        let mut body = settings.as_object().cloned().unwrap_or_default();
        body.insert("id".to_owned(), id.into());
        assert_eq!(ask(&store, "POST", "", &Value::Object(body).to_string()).0, 200);
    }
    store
}

/// How often each fate is among the results of a request.
fn fates((status, answer): (u16, Value)) -> (u16, [u64; 3]) {
    let count = |name: &str| answer["result"][name].as_u64().unwrap_or(0);
    (status, ["stored", "existing", "refused"].map(count))
}

fn whole() -> Value {
    json!({
        "id": "01H8X9ZQ5T0000000000000001", "created_at": "2023-11-14T20:00:00.123Z", "provider": "openai", "model": "gpt-4o",
        "status_code": 200, "duration": 812.4, "tokens_in": 1_000, "tokens_out": 100, "metadata": { "team": "search", "n": 5 },
        "feedback": 1, "score": 80, "feedback_data": { "rating": 5 }, "session_id": "s-1", "event_id": "e-1",
        "request": { "model": "gpt-4o", "messages": [{ "role": "user", "content": "What is two and two?" }] },
        "response": r#"{"id":"chatcmpl-9","model":"gpt-4o-2024-08-06","choices":[{"message":{"role":"assistant","content":"Four."},"finish_reason":"stop"}]}"#
    })
}

#[test]
fn a_log_is_found_by_the_id_it_came_with_wherever_ids_are_taken() {
    let store = with_gateways(json!({}));
    let id = "01H8X9ZQ5T0000000000000001";
    assert_eq!(fates(ask(&store, "POST", "/gw/logs", &whole().to_string())), (200, [1, 0, 0]));
    let log = ask(&store, "GET", &format!("/gw/logs/{id}"), "").1["result"].clone();
    for (name, wanted) in [
        ("id", json!(id)),
        ("created_at", json!("2023-11-14T20:00:00.123Z")),
        ("duration", json!(812)),
        ("tokens_in", json!(1_000)),
        ("success", json!(true)),
        ("ingested", json!(true)),
        ("custom_cost", json!(false)),
        ("metadata", json!({ "n": 5, "team": "search" })),
        ("feedback", json!(1)),
        ("score", json!(80.0)),
        ("feedback_data", json!({ "rating": 5 })),
        ("session_id", json!("s-1")),
        ("event_id", json!("e-1")),
        ("response_id", json!("chatcmpl-9")),
        ("finish_reason", json!("stop")),
        ("model_type", json!("chat")),
        ("caller", json!("admin")),
        ("input_preview", json!("What is two and two?")),
        ("output_preview", json!("Four.")),
    ] {
        assert_eq!(log[name], wanted, "{name}");
    }
    assert!(log["cost"].as_f64().unwrap() > 0.0 && log["price_rule"].as_str().unwrap().starts_with("list:"));
    // By its id, with escapes too, and by no other gateway's.
    for (path, status) in [("", 200), ("/request", 200), ("/response", 200), ("/conversation", 200), ("/attempts", 200)]
    {
        assert_eq!(ask(&store, "GET", &format!("/gw/logs/{id}{path}"), "").0, status, "{path}");
        assert_eq!(ask(&store, "GET", &format!("/beside/logs/{id}{path}"), "").0, 404, "{path}");
    }
    let filter = |key: &str, operator: &str, value: &str| {
        let filter = format!("[{{\"key\":\"{key}\",\"operator\":\"{operator}\",\"value\":[{value}]}}]");
        let path = format!("/gw/logs?filters={}", filter.replace('"', "%22"));
        ask(&store, "GET", &path, "").1["result_info"]["total_count"].as_u64()
    };
    assert_eq!(filter("id", "eq", &format!("\"{id}\"")), Some(1));
    assert_eq!(filter("id", "eq", &format!("\"none\",\"{id}\"")), Some(1));
    assert_eq!(filter("id", "contains", "\"01H8X9\""), Some(1));
    assert_eq!(filter("id", "neq", &format!("\"{id}\"")), Some(0));
    assert_eq!((filter("ingested", "eq", "true"), filter("ingested", "eq", "false")), (Some(1), Some(0)));
    // Feedback, by its id and by the provider's.
    assert_eq!(ask(&store, "PATCH", &format!("/gw/logs/{id}"), r#"{"feedback":-1}"#).0, 200);
    for name in [id, "chatcmpl-9", "e-1"] {
        let body = format!("{{\"data\":{{\"via {name}\":true}}}}");
        let given = asked(&store, &Caller::Admin, "POST", &format!("/feedback/{name}"), &body);
        assert_eq!((given.0, &given.1["result"]["log_id"]), (200, &json!(id)), "{name}");
    }
    let log = ask(&store, "GET", &format!("/gw/logs/{id}"), "").1["result"].clone();
    assert_eq!((&log["feedback"], log["feedback_data"].as_object().unwrap().len()), (&json!(-1), 4));
    let session = ask(&store, "GET", "/gw/sessions/s-1", "").1;
    assert_eq!(session["result"]["logs"][0]["id"], id);
    let exported = ask(&store, "GET", "/gw/logs/export?limit=5&bodies=true", "").1;
    assert_eq!(exported["id"], id);
    // What was exported can be handed in, to another gateway, and tells the same there.
    assert_eq!(fates(ask(&store, "POST", "/beside/logs", &exported.to_string())), (200, [1, 0, 0]));
    let copy = ask(&store, "GET", &format!("/beside/logs/{id}"), "").1["result"].clone();
    for name in
        ["id", "created_at", "cost", "feedback", "score", "feedback_data", "metadata", "tokens_out", "session_id"]
    {
        assert_eq!(copy[name], log[name], "{name}");
    }
    assert_eq!(
        ask(&store, "DELETE", &format!("/gw/logs?filters.key=id&filters.operator=eq&filters.value={id}"), "").1["result"]
            ["deleted"],
        1
    );
    assert_eq!(ask(&store, "GET", &format!("/gw/logs/{id}"), "").0, 404);
    assert_eq!(ask(&store, "GET", &format!("/beside/logs/{id}"), "").0, 200);
}

#[test]
fn what_is_there_is_never_written_again_and_counted_once() {
    let store = with_gateways(json!({}));
    let proxied = LogRecord::new(call("own"), answered(Facts::default()));
    block_on(group_commit::write(&store, vec![proxied].into(), async |_| {}));
    let line = |id: &str| json!({ "id": id, "provider": "openai", "model": "gpt-4o", "cost": 0.5 }).to_string();
    let lines = ["a", "b", "a", "own"].map(line).join("\n");
    assert_eq!(fates(ask(&store, "POST", "/gw/logs", &lines)), (200, [2, 2, 0]));
    assert_eq!(fates(ask(&store, "POST", "/gw/logs", &lines)), (200, [0, 4, 0]));
    assert_eq!(fates(ask(&store, "POST", "/beside/logs", &lines)), (200, [3, 1, 0]));
    let own = ask(&store, "GET", "/gw/logs/own", "").1["result"].clone();
    assert_eq!((&own["ingested"], &own["cost"]), (&json!(false), &Value::Null));
    block_on(merge::run(&store, NOW, &|| false)).unwrap();
    let sums = block_on(store.ids(Statement::new(
        "SELECT gateway || ' ' || sum(requests) || ' ' || sum(cost) AS id FROM rollup GROUP BY gateway",
        [],
    )))
    .unwrap();
    assert_eq!(sums, ["1 3 1.0", "2 3 1.5"]);
    // Feedback for an id that two gateways have: the caller has to say which.
    let given = asked(&store, &Caller::Admin, "POST", "/feedback/a", r#"{"data":{"rating":5}}"#);
    assert_eq!(given.0, 409);
    let given = asked(&store, &Caller::Admin, "POST", "/feedback/a?account=a&gateway=gw", r#"{"data":{"rating":5}}"#);
    assert_eq!((given.0, &given.1["result"]["log_id"]), (200, &json!("a")));
}

#[test]
fn a_wrong_line_says_why_and_stops_no_other() {
    let store = with_gateways(json!({ "log_retention_days": 30 }));
    let day = 24 * 60 * 60 * 1_000;
    let with = |name: &str, value: Value| {
        let mut log = json!({ "id": name, "provider": "openai" });
        log[name] = value;
        log.to_string()
    };
    let wrong = [
        ("{".to_owned(), "JSON object"),
        ("[]".to_owned(), "JSON object"),
        (json!({ "provider": "openai" }).to_string(), "id: "),
        (json!({ "id": "a/b", "provider": "openai" }).to_string(), "id: "),
        (json!({ "id": "export", "provider": "openai" }).to_string(), "export"),
        (json!({ "id": "a" }).to_string(), "provider: "),
        (json!({ "id": "a", "provider": "open ai" }).to_string(), "provider: "),
        (with("token_in", json!(5)), "token_in: There is no such field"),
        (with("tokens_in", json!(-1)), "tokens_in: "),
        (with("tokens_out", json!("5")), "tokens_out: "),
        (with("usage_metadata", json!({ "input_cached_tokens": -1 })), "usage_metadata.input_cached_tokens: "),
        (with("cost", json!(-0.1)), "cost: "),
        (with("status_code", json!(99)), "status_code: "),
        (with("success", json!("yes")), "success: "),
        (with("model_type", json!("telepathy")), "model_type: "),
        (with("feedback", json!(2)), "feedback: "),
        (with("score", json!(101)), "score: "),
        (with("metadata", json!({ "a": [] })), "metadata.a: "),
        (with("feedback_data", json!([])), "feedback_data: "),
        (with("request", json!(5)), "request: "),
        (with("created_at", json!("yesterday")), "created_at: "),
        (with("created_at", json!(NOW + 10 * 60_000)), "in the future"),
        (with("created_at", json!(NOW - 31 * day)), "log_retention_days"),
    ];
    let mut lines: Vec<String> = wrong.iter().map(|(line, _)| line.clone()).collect();
    lines.push(
        json!({ "id": "good", "provider": "openai", "created_at": timestamp::format(NOW - 29 * day) }).to_string(),
    );
    let (status, answer) = ask(&store, "POST", "/gw/logs", &lines.join("\r\n"));
    assert_eq!(status, 200);
    for (at, (line, reason)) in wrong.iter().enumerate() {
        let result = &answer["result"]["logs"][at];
        assert_eq!((&result["line"], &result["status"]), (&json!(at + 1), &json!("refused")), "{line}");
        assert!(result["reason"].as_str().unwrap().contains(reason), "{line}: {result}");
    }
    assert_eq!(answer["result"]["stored"], 1);
    // A single one is refused as any body is.
    let (status, answer) = ask(&store, "POST", "/gw/logs", &with("cost", json!("free")));
    assert_eq!((status, &answer["errors"][0]["path"]), (400, &json!(["body", "cost"])));
    let (status, answer) = ask(&store, "POST", "/gw/logs", "{");
    assert_eq!((status, &answer["errors"][0]["path"]), (400, &json!(["body"])));
    for body in ["", " \n ", "[{}]", "\u{feff}"] {
        assert_eq!(ask(&store, "POST", "/gw/logs", body).0, 400, "{body:?}");
    }
    let many = vec!["{}"; 1_001].join("\n");
    assert_eq!(ask(&store, "POST", "/gw/logs", &many).0, 413);
    assert_eq!(ask(&store, "POST", "/none/logs", "{}").0, 404);
}

#[test]
fn a_sender_is_held_to_its_token() {
    let store = with_gateways(json!({}));
    let token = |permission| {
        let terms = terms::Terms { metadata: vec![("team".to_owned(), json!("a"))], ..Default::default() };
        Caller::Token(Token {
            id: "t".to_owned(),
            account: "a".to_owned(),
            gateways: Some(vec!["gw".to_owned()]),
            permissions: vec![permission],
            expires_at: None,
            terms: Rc::new(terms),
        })
    };
    let body = json!({ "id": "x", "provider": "openai", "metadata": { "team": "b", "n": 1 }, "model": "sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD" });
    let send = |caller: &Caller, gateway: &str| {
        asked(&store, caller, "POST", &format!("{GATEWAYS}/{gateway}/logs"), &body.to_string()).0
    };
    for refused in [Permission::Read, Permission::ReadMetadata, Permission::Feedback] {
        assert_eq!(send(&token(refused), "gw"), 403);
    }
    assert_eq!((send(&token(Permission::Run), "beside"), send(&token(Permission::Run), "gw")), (404, 200));
    let log = ask(&store, "GET", "/gw/logs/x", "").1["result"].clone();
    assert_eq!((&log["caller"], &log["metadata"]), (&json!("t"), &json!({ "n": 1, "team": "a" })));
    assert!(!log["model"].as_str().unwrap().contains("abcdefghijkl"), "{log}");
}

#[test]
fn a_gateway_that_is_full_or_keeps_no_bodies_says_so_and_does() {
    let store =
        with_gateways(json!({ "log_management": 10_000, "log_management_strategy": "STOP_INSERTING", "zdr": true }));
    block_on(
        store
            .batch(vec![Statement::new("INSERT INTO log_storage (gateway, logs, counted_at) VALUES (1, 9999, 0)", [])]),
    )
    .unwrap();
    let line = |id: &str| {
        let mut log = whole();
        log["id"] = json!(id);
        log.to_string()
    };
    let answer = ask(&store, "POST", "/gw/logs", &[line("a"), line("b")].join("\n")).1;
    assert_eq!(answer["result"]["logs"][0]["status"], "stored");
    assert!(answer["result"]["logs"][1]["reason"].as_str().unwrap().contains("log_management"), "{answer}");
    assert_eq!(ask(&store, "GET", "/gw/logs/a/request", "").0, 404);
    assert_eq!(ask(&store, "GET", "/gw/logs/a", "").1["result"]["input_preview"], Value::Null);
}

#[test]
fn pages_and_windows_go_past_logs_of_any_id_and_time() {
    let store = with_gateways(json!({}));
    let line = |n: u64| {
        json!({ "id": format!("{}-{n}", if n.is_multiple_of(2) { "zz" } else { "00" }), "provider": "openai", "created_at": NOW - n * 1_000,
            "request": "x".repeat(if n == 7 { 20_000 } else { 3 }) })
        .to_string()
    };
    let lines: Vec<String> = (0..120).map(line).collect();
    assert_eq!(fates(ask(&store, "POST", "/gw/logs", &lines.join("\n"))), (200, [120, 0, 0]));
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = ask(&store, "GET", &format!("/gw/logs?per_page=50&cursor={cursor}"), "").1;
        seen.extend(page["result"].as_array().unwrap().iter().map(|log| log["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["result_info"]["cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    let wanted: Vec<String> = (0..120).map(|n| format!("{}-{n}", if n % 2 == 0 { "zz" } else { "00" })).collect();
    assert_eq!(seen, wanted);
    assert_eq!(ask(&store, "GET", "/gw/logs/00-7/request", "").1, Value::String("x".repeat(20_000)));
}

#[test]
fn what_is_handed_in_is_looked_up_by_an_index() {
    let store = Planned::new(with_gateways(json!({ "log_management": 10_000 })));
    let send = |method: &str, path: &str, body: &str| {
        assert!(asked(&store, &Caller::Admin, method, path, body).0 < 300, "{path}");
        for (plan, sql) in store.plans.take() {
            assert_eq!(scan(&plan), None, "{path}\n{sql}\n{plan}");
        }
    };
    let gateway = format!("{GATEWAYS}/gw");
    for _ in 0..2 {
        send("POST", &format!("{gateway}/logs"), &whole().to_string());
    }
    let id = "01H8X9ZQ5T0000000000000001";
    send("GET", &format!("{gateway}/logs/{id}"), "");
    send("POST", &format!("/feedback/{id}"), r#"{"data":{"a":1}}"#);
    for values in [format!("%22{id}%22"), format!("%22{id}%22,%22none%22")] {
        let filter = format!("[{{%22key%22:%22id%22,%22operator%22:%22eq%22,%22value%22:[{values}]}}]");
        send("GET", &format!("{gateway}/logs?filters={filter}"), "");
    }
}
