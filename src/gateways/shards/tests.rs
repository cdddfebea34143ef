//! Three databases on SQLite, of which any call may fail: how they are told of each other's changes.

mod logs;

use crate::api::control::{self, Request};
use crate::api::custom_providers::Guard;
use crate::api::gateways;
use crate::auth::caller::{Caller, Permission, Token};
use crate::base::id::{self, MarkKey};
use crate::db::audit::Actor;
use crate::db::databases::Bound;
use crate::db::store::Store;
use crate::db::store::row;
use crate::db::store::{Bind, Statement};
use crate::db::whose::Whose;
use crate::gateways::gateway::{self, Gateway};
use crate::gateways::shards::*;
use crate::http::envelope::Reply;
use crate::http::query::Query;
use crate::http::router::{self, Endpoint};
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::part::Group;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::removal;
use crate::providers::resolver::Lookup;
use crate::testing::shell::TestShell;
use crate::testing::sqlite::{Faulty, Sqlite};
use crate::wire::{Facts, Usage};
use pollster::block_on;
use serde_json::{Value, json};
use std::cell::Cell;

const NOW: u64 = 1_700_000_000_000;
const MARK: MarkKey = MarkKey([7; 32]);

type Three = Bound<Faulty<Sqlite>>;

fn three() -> Three {
    let new = || Faulty::new(Sqlite::new());
    Bound { first: new(), others: vec![(1, new()), (2, new())] }
}

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// A request by the admin, each a millisecond after the one before.
fn ask(databases: &impl Databases, method: &str, path: &str, body: &Value) -> Reply {
    ask_as(databases, &Caller::Admin, method, path, body)
}

fn ask_as(databases: &impl Databases, caller: &Caller, method: &str, path: &str, body: &Value) -> Reply {
    ASKED.set(ASKED.get() + 1);
    let full = if path.starts_with("/feedback") { path.to_owned() } else { format!("/accounts/a/ai-gateway{path}") };
    let (path, query) = full.split_once('?').unwrap_or((&full, ""));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let now_ms = NOW + ASKED.get();
    let route = router::route(method, path).unwrap();
    let request = Request {
        route,
        query: Query::parse(query),
        body: body.as_bytes(),
        if_match: None,
        accept: None,
        caller,
        origin: "http://localhost",
        now_ms,
        new_id: id::mint(now_ms, u128::from(ASKED.get())),
        entropy: [7; 32],
        mark: MARK,
        guard: Guard { internal_allowed: false, found: Lookup::NotAsked },
        metadata_entries: 5,
        bounds: &crate::config::bounds::Bounds::USUAL,
    };
    let reply =
        block_on(control::handle(databases, &TestShell(async |_| {}), &request)).reply.unwrap_or_else(|error| {
            let cause = error.cause.clone().unwrap_or_default();
            error.reply().with_header("cause", cause)
        });
    // As the shell does.
    if matches!(route.endpoint, Endpoint::CreateGateway | Endpoint::UpdateGateway | Endpoint::DeleteGateway) {
        block_on(tell(databases, now_ms, |_, _| {}));
    }
    reply
}

fn parsed(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

fn result(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    parsed(reply)["result"].clone()
}

fn made(databases: &impl Databases, id: &str, more: Value) -> Gateway {
    let mut body = json!({ "id": id });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    result(&ask(databases, "POST", "/gateways", &body));
    block_on(gateway::find(databases.first(), "a", id)).unwrap().unwrap()
}

fn found(databases: &impl Databases, id: &str) -> Gateway {
    block_on(gateway::find(databases.first(), "a", id)).unwrap().unwrap()
}

fn number(store: &impl Store, sql: &'static str) -> u64 {
    row! {
        struct Number {
            n: u64,
        }
    }
    block_on(store.row::<Number>(Statement::new(sql, []))).unwrap().unwrap().n
}

/// A number from each database.
fn numbers(databases: &Three, sql: &'static str) -> Vec<u64> {
    databases.all().map(|(_, store)| number(&store.inner, sql)).collect()
}

/// What each database knows of gateways: key, account, id and settings.
fn known(store: &impl Store, shard: u32) -> String {
    row! {
        struct Known {
            all: String,
        }
    }
    let sql = "SELECT json_group_array(json_array(key, account_id, id, modified_at, settings)) AS \"all\" \
         FROM (SELECT * FROM gateways WHERE shard = ?1 ORDER BY key)";
    block_on(store.row::<Known>(Statement::new(sql, [Bind::Int(shard.into())]))).unwrap().unwrap().all
}

fn assert_mirrored(databases: &Three, when: &str) {
    for (shard, store) in &databases.others {
        assert_eq!(known(&store.inner, *shard), known(&databases.first.inner, *shard), "database {shard}, {when}");
    }
}

fn heal(databases: &Three) {
    block_on(mirror::hand_over(databases, NOW)).unwrap();
    for (shard, _) in &databases.others {
        block_on(mirror::heal(databases, *shard)).unwrap();
    }
}

fn log(databases: &Three, gateway: &Gateway, id: &str, change: impl Fn(&mut Call)) {
    let mut call = Call { gateway: gateway.key, shard: gateway.shard, created_at: NOW, ..call(id) };
    change(&mut call);
    let facts = Facts { response_id: Some(format!("chatcmpl-{}", call.provider)), ..Facts::default() };
    let usage = Usage { tokens_in: Some(1_000), tokens_out: Some(0), ..Usage::default() };
    call.provider = "openai".to_owned();
    call.facts.model = Some("my-model".to_owned());
    let record = LogRecord::new(call, answered(Facts { usage, ..facts }));
    let group = Group { shard: gateway.shard, ..vec![record].into() };
    let store = &databases.of(gateway.shard).unwrap().inner;
    assert_eq!(block_on(group_commit::write(store, group, async |_| {})), []);
}

#[test]
fn gateways_spread_evenly_unless_they_are_placed() {
    let databases = three();
    let placed: Vec<u32> = (0..7).map(|n| made(&databases, &format!("g{n}"), json!({})).shard).collect();
    assert_eq!(placed, [0, 1, 2, 0, 1, 2, 0]);
    let shown = result(&ask(&databases, "POST", "/gateways", &json!({ "id": "chosen", "log_database": 2 })));
    assert_eq!(shown["log_database"], 2);
    // With the gateways that are gone there is room again.
    for id in ["g0", "g3"] {
        result(&ask(&databases, "DELETE", &format!("/gateways/{id}"), &Value::Null));
    }
    assert_eq!(made(&databases, "next", json!({ "log_database": null })).shard, 0);
    let actor = Actor { name: "gateway", now_ms: NOW, entry: "d".to_owned() };
    let default = block_on(gateway::create_default(&databases, "a", &actor, "i".to_owned())).unwrap();
    assert_eq!(default.shard, 0);
    assert_mirrored(&databases, "always");
}

#[test]
fn a_database_is_chosen_once_and_by_the_operator() {
    let databases = three();
    for wrong in [json!(3), json!(-1), json!(1.5), json!("1"), json!(true), json!([0])] {
        let refused = ask(&databases, "POST", "/gateways", &json!({ "id": "g", "log_database": wrong }));
        let error = &parsed(&refused)["errors"][0];
        assert_eq!((refused.status, &error["path"]), (400, &json!(["body", "log_database"])), "{wrong}");
        assert!(error["message"].as_str().unwrap().contains("Expected one of [0,1,2]"), "{error}");
    }
    let permissions = vec![Permission::Read, Permission::Edit];
    let token = Token {
        id: "t".to_owned(),
        account: "a".to_owned(),
        gateways: None,
        permissions,
        expires_at: None,
        terms: Default::default(),
    };
    let token = Caller::Token(token);
    let by_token = |body: Value| ask_as(&databases, &token, "POST", "/gateways", &body).status;
    assert_eq!(by_token(json!({ "id": "g", "log_database": 1 })), 403);
    assert_eq!(by_token(json!({ "id": "g" })), 200);
    let shown = result(&ask(&databases, "GET", "/gateways/g", &Value::Null));
    assert_eq!(result(&ask(&databases, "PUT", "/gateways/g", &shown))["log_database"], 0);
    let moved = ask(&databases, "PUT", "/gateways/g", &json!({ "log_database": 1 }));
    assert_eq!((moved.status, parsed(&moved)["errors"][0]["path"].clone()), (400, json!(["body", "log_database"])));
    assert_eq!(found(&databases, "g").shard, 0);
    // One database alone is number 0.
    let alone = Sqlite::new();
    assert_eq!(ask(&alone, "POST", "/gateways", &json!({ "id": "g", "log_database": 1 })).status, 400);
    assert_eq!(made(&alone, "g", json!({ "log_database": 0 })).shard, 0);
}

/// Whatever call fails while gateways are made, changed and deleted: afterwards the databases agree, and the logs of what
/// was deleted are gone.
#[test]
fn whatever_fails_the_databases_agree_in_the_end() {
    let steps: [(&str, &str, Value); 5] = [
        ("POST", "/gateways", json!({ "id": "a", "log_database": 1 })),
        ("PUT", "/gateways/a", json!({ "log_management": 20_000 })),
        ("DELETE", "/gateways/a", Value::Null),
        ("POST", "/gateways", json!({ "id": "a", "log_database": 1, "log_management": 30_000 })),
        ("PUT", "/gateways/a", json!({ "log_management": null })),
    ];
    for faulty in [0, 1] {
        for after in [false, true] {
            for call in 1..12 {
                let databases = three();
                for (n, (method, path, body)) in steps.iter().enumerate() {
                    if n == 2 && block_on(gateway::find(&databases.first.inner, "a", "a")).unwrap().is_some() {
                        let gateway = block_on(gateway::find(&databases.first.inner, "a", "a")).unwrap().unwrap();
                        log(&databases, &gateway, "old", |_| {});
                    }
                    if n == 1 {
                        let store = databases.of(faulty).unwrap();
                        if after { store.fail_after(call) } else { store.fail_before(call) }
                    }
                    ask(&databases, method, path, body);
                }
                let when = format!("call {call} of database {faulty}, after: {after}");
                // A caller who got an error tries again, until what was wanted is there.
                while block_on(gateway::find(&databases.first.inner, "a", "a")).unwrap().is_none() {
                    ask(&databases, "POST", "/gateways", &json!({ "id": "a", "log_database": 1 }));
                }
                ask(&databases, "PUT", "/gateways/a", &json!({ "log_management": null }));
                for attempt in 0.. {
                    let healed = block_on(async {
                        mirror::hand_over(&databases, NOW).await?;
                        mirror::heal(&databases, 1).await?;
                        removal::sweep(databases.of(1)?, &Whose::All, NOW, 10).await
                    });
                    if healed.is_ok() {
                        break;
                    }
                    assert!(attempt < 2, "{when}: {healed:?}");
                }
                assert_mirrored(&databases, &when);
                let key = block_on(gateway::find(&databases.first.inner, "a", "a")).unwrap().unwrap().key;
                let left = number(&databases.others[0].1.inner, "SELECT count(*) AS n FROM logs");
                assert_eq!(left, u64::from(key == 1), "{when}");
                assert_eq!(number(&databases.first.inner, "SELECT count(*) AS n FROM deleted_gateways"), 0, "{when}");
            }
        }
    }
}

#[test]
fn a_copy_that_comes_late_changes_nothing() {
    let databases = three();
    let old = made(&databases, "g", json!({ "log_database": 1 }));
    result(&ask(&databases, "PUT", "/gateways/g", &json!({ "log_management": 20_000 })));
    let new = found(&databases, "g");
    assert!(new.modified_at > old.modified_at);
    block_on(databases.others[0].1.batch(mirror::copy(&old))).unwrap();
    assert_mirrored(&databases, "after an old copy");
    result(&ask(&databases, "DELETE", "/gateways/g", &Value::Null));
    block_on(databases.others[0].1.batch(mirror::copy(&new))).unwrap();
    assert_mirrored(&databases, "after the deletion");
    let successor = made(&databases, "g", json!({ "log_database": 1 }));
    block_on(databases.others[0].1.batch(vec![Statement::new("DELETE FROM deleted_gateways", [])])).unwrap();
    block_on(databases.others[0].1.batch(mirror::copy(&new))).unwrap();
    assert_mirrored(&databases, "with a successor");
    assert!(successor.key > new.key);
}

#[test]
fn two_changes_in_one_millisecond_are_told_apart() {
    let databases = three();
    made(&databases, "g", json!({ "log_database": 1 }));
    let actor = Actor { name: "admin", now_ms: NOW, entry: "e".to_owned() };
    let mut times = Vec::new();
    for limit in [20_000, 30_000] {
        let body = json!({ "log_management": limit }).to_string();
        block_on(gateways::update(&databases.first, "a", "g", (body.as_bytes(), None), &actor)).reply.unwrap();
        times.push(found(&databases, "g").modified_at);
    }
    assert!(times[0] < times[1]);
    heal(&databases);
    assert_mirrored(&databases, "after both");
}

#[test]
fn what_a_database_has_forgotten_is_told_again() {
    let databases = three();
    for n in 0..6 {
        made(&databases, &format!("g{n}"), json!({}));
    }
    // As after a restore to an earlier time.
    let forget = "DELETE FROM gateways WHERE id = 'g1'";
    let age = "UPDATE gateways SET settings = '{}', modified_at = 1 WHERE id = 'g4'";
    block_on(databases.others[0].1.inner.batch([forget, age].map(|sql| Statement::new(sql, [])).into())).unwrap();
    heal(&databases);
    assert_mirrored(&databases, "after a restore");
    let swapped = Bound {
        first: databases.first,
        others: databases.others.into_iter().rev().zip([1, 2]).map(|((_, store), number)| (number, store)).collect(),
    };
    let error = block_on(mirror::heal(&swapped, 1)).unwrap_err();
    assert_eq!(error.0, "the database bound as DB_1 has the gateways of DB_2: the bindings were swapped");
    assert_eq!(number(&swapped.others[0].1.inner, "SELECT count(*) AS n FROM gateways"), 2);
}
