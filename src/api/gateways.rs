//! `/accounts/{account}/ai-gateway/gateways`.

use super::object;
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Caller;
use crate::auth::presented::ADMIN;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::{self, Actor, Change};
use crate::db::databases::Databases;
use crate::db::store::{Bind, Statement, Store, StoreError};
use crate::db::whose::Whose;
use crate::gateways::gateway::{COLUMNS, DEFAULT, Gateway, Row, find, insert, is_gateway_id, stored, time};
use crate::gateways::settings::GatewaySettings;
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::providers::table;
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

/// A gateway as answers show it. Older SDKs cannot do without `account_id`, `account_tag` and `internal_id`.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    settings: &'a GatewaySettings,
    id: &'a str,
    account_id: &'a str,
    account_tag: &'a str,
    internal_id: &'a str,
    is_default: bool,
    log_database: u32,
    created_at: String,
    modified_at: String,
}

/// `GET /accounts/{account}/ai-gateway/gateways`
///
/// Lists the gateways that the caller can reach.
pub async fn list(store: &impl Store, account: &str, query: &Query, caller: &Caller) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let search = query.get("search").unwrap_or("");
    let matching = "gateways WHERE account_id = ?1 AND instr(id, lower(?2)) > 0 \
         AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3)))";
    let binds = vec![account.into(), search.into(), caller.gateways().into()];
    let (rows, info) = page.read::<Row>(store, COLUMNS, matching, "created_at, key", binds).await?;
    let gateways = rows.into_iter().map(Gateway::read).collect::<Result<Vec<Gateway>, StoreError>>()?;
    let shown: Vec<Shown<'_>> = gateways.iter().map(show).collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}`
pub async fn get(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(show(&existing(store, account, id).await?)))
}

/// `POST /accounts/{account}/ai-gateway/gateways`
pub async fn create(
    databases: &impl Databases,
    account: &str,
    body: &[u8],
    actor: &Actor<'_>,
    internal_id: String,
    bound: &Most,
) -> Handled {
    Handled::always([Effect::SyncShards, Effect::ForgetSnapshots], async {
        let store = databases.first();
        let body = object(body)?;
        let id = match body.get("id") {
            Some(Value::String(id)) if is_gateway_id(id) => id.as_str(),
            _ => {
                let rule =
                    "Expected 1 to 64 characters: lower-case letters, digits and _, with single hyphens between them";
                return Err(ApiError::invalid(["body", "id"], rule));
            }
        };
        let mut settings = GatewaySettings::parse(&body)?;
        settings.name_rules(&actor.entry);
        let shards = shards(databases, &body, actor)?;
        let row = actor.row(&change("gateway.create", account, id, &body));
        let insert = insert(account, id, &internal_id, actor.now_ms, &settings, shards, bound.bind());
        let changed = store.batch(vec![insert, row]).await?;
        if changed.first() != Some(&1) {
            if find(store, account, id).await?.is_none() {
                return Err(bound.reached());
            }
            return Err(ApiError::invalid(["body", "id"], format!("A gateway with the id '{id}' already exists")));
        }
        get(store, account, id).await
    })
    .await
}

/// The databases that a new gateway's logs may go to: the one that its body names, or all.
fn shards(databases: &impl Databases, body: &Map<String, Value>, actor: &Actor<'_>) -> Result<String, ApiError> {
    let Some(given) = body.get("log_database").filter(|given| !given.is_null()) else {
        return Ok(databases.numbers());
    };
    if actor.name != ADMIN {
        return Err(ApiError::forbidden("Only the admin token may choose the log_database of a gateway"));
    }
    let chosen = databases.all().find(|(number, _)| given.as_f64() == Some(f64::from(*number)));
    chosen.map(|(number, _)| format!("[{number}]")).ok_or_else(|| {
        let rule = format!(
            "There is no database {given}. Expected one of {}, or null for the one with the fewest gateways",
            databases.numbers()
        );
        ApiError::invalid(["body", "log_database"], rule)
    })
}

/// `PUT /accounts/{account}/ai-gateway/gateways/{gateway}`
///
/// Changes the settings that the body names. SDKs of different ages know different fields, and an old one must not open
/// a gateway by not knowing `authentication`; null resets a field to its default.
pub async fn update(store: &impl Store, account: &str, id: &str, body: &[u8], actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::SyncShards, forget(account, id)], async {
    let gateway = existing(store, account, id).await?;
    let given = object(body)?;
    if given.get("log_database").is_some_and(|to| !to.is_null() && to.as_f64() != Some(gateway.shard.into())) {
        let rule =
            "A gateway's logs stay in the database that was chosen when it was made; make another gateway for another";
        return Err(ApiError::invalid(["body", "log_database"], rule));
    }
    let mut fields = given.clone();
    if let Ok(Value::Object(current)) = serde_json::to_value(&gateway.settings) {
        for (name, value) in current {
            fields.entry(name).or_insert(value);
        }
    }
    let mut settings = GatewaySettings::parse(&fields)?;
    settings.name_rules(&actor.entry);
    let forgets = settings.cache_invalidate_on_update || gateway.settings.cache_invalidate_on_update;
    // Of two copies of a row the later one is known by its time, so no two changes have the same.
    let update = Statement::new(
        "UPDATE gateways SET settings = ?2, modified_at = max(?3, modified_at + 1), \
         cache_generation = cache_generation + ?4 WHERE key = ?1",
        [gateway.key.into(), stored(&settings).into(), time(actor.now_ms), Bind::Int(forgets.into())],
    );
    store.batch(vec![update, actor.row(&change("gateway.update", account, id, &given))]).await?;
    get(store, account, id).await
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}`
///
/// Deletes a gateway and shows it once more. Its logs are out of reach from then on; [`sweep`] removes them.
pub async fn delete(store: &impl Store, account: &str, id: &str, actor: &Actor<'_>) -> Handled {
    let gateway = match existing(store, account, id).await {
        Ok(gateway) => gateway,
        Err(error) => return Err(error).into(),
    };
    let deleted = Handled::always([Effect::SyncShards, forget(account, id)], async {
        let key = || [gateway.key.into()];
        let deleted = "INSERT OR IGNORE INTO deleted_gateways (key, deleted_at, shard) VALUES (?1, ?2, ?3)";
        store
            .batch(vec![
                Statement::new(deleted, [gateway.key.into(), time(actor.now_ms), Bind::Int(gateway.shard.into())]),
                Statement::new("DELETE FROM gateways WHERE key = ?1", key()),
                actor.row(&change("gateway.delete", account, id, &Map::new())),
                // After the audit row, which goes by what the statement before it changed.
                Statement::new("DELETE FROM provider_configs WHERE gateway = ?1", key()),
            ])
            .await?;
        Ok(Reply::result(show(&gateway)))
    });
    let left = [Effect::ForgetCounters(gateway.key), Effect::Sweep(Whose::Key(gateway.key)), Effect::ClearObjects];
    deleted.await.on(200, left)
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/url/{provider}`
///
/// The base URL to give to a provider's SDK; `universal` has no provider, and its URL ends with a slash.
/// `is_custom` tells that the provider is one of the account's own.
pub fn url(origin: &str, account: &str, gateway: &str, provider: &str, is_custom: bool) -> Result<Reply, ApiError> {
    let base = format!("{origin}/v1/{account}/{gateway}/");
    if provider == "universal" {
        return Ok(Reply::result(base));
    }
    if is_custom || provider == table::COMPAT || crate::providers::table::find(provider).is_some() {
        return Ok(Reply::result(format!("{base}{provider}")));
    }
    Err(ApiError::not_found())
}

fn forget(account: &str, gateway: &str) -> Effect {
    Effect::ForgetSnapshot { account: account.to_owned(), gateway: gateway.to_owned() }
}

fn change<'a>(action: &'static str, account: &'a str, id: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: Some(id), target: id, fields: audit::fields(body) }
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<Gateway, ApiError> {
    find(store, account, id).await?.ok_or_else(ApiError::not_found)
}

fn show(gateway: &Gateway) -> Shown<'_> {
    Shown {
        settings: &gateway.settings,
        id: &gateway.id,
        account_id: &gateway.account_id,
        account_tag: &gateway.account_id,
        internal_id: &gateway.internal_id,
        is_default: gateway.id == DEFAULT,
        log_database: gateway.shard,
        created_at: timestamp::format(gateway.created_at),
        modified_at: timestamp::format(gateway.modified_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::store::row;
    use crate::gateways::gateway::create_default;
    use crate::gateways::gateway::is_account_id;
    use crate::logs::call::Call;
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::logs::removal::delete_logs_slice;
    use crate::testing::sqlite::{Faulty, Sqlite};
    use crate::wire::Facts;
    use pollster::block_on;
    use serde_json::json;

    const NOW: u64 = 1_700_000_000_000;

    row! {
        struct Count {
            n: u64,
        }
    }

    fn actor(entry: &str, now_ms: u64) -> Actor<'static> {
        Actor { name: "admin", now_ms, entry: entry.to_owned() }
    }

    fn made(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
        let body = json!({ "id": id, "cache_ttl": null, "collect_logs": true }).to_string();
        let bound = crate::config::bounds::Bounds::default().gateways;
        block_on(create(store, account, body.as_bytes(), &actor(id, NOW), format!("internal-{id}"), &bound)).reply
    }

    fn result(reply: Result<Reply, ApiError>) -> Value {
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200);
        serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone()
    }

    #[test]
    fn ids_follow_their_pattern() {
        for good in ["a", "my-gateway", "a_b-c1", &"x".repeat(64)] {
            assert!(is_gateway_id(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a b", "ä", "a/b", "a'", &"x".repeat(65)] {
            assert!(!is_gateway_id(bad), "{bad}");
        }
        assert!(is_account_id("0123456789abcdef0123456789ABCDEF") && !is_account_id("a.b") && !is_account_id(""));
    }

    #[test]
    fn a_gateway_is_made_shown_changed_and_deleted() {
        let store = Sqlite::new();
        let shown = result(made(&store, "acct", "gw"));
        assert_eq!(
            (&shown["id"], &shown["account_tag"], &shown["cache_ttl"]),
            (&json!("gw"), &json!("acct"), &json!(0))
        );
        assert_eq!(shown["created_at"], "2023-11-14T22:13:20.000Z");
        // What GET shows can be PUT back, and changes nothing but the time.
        let again =
            result(block_on(update(&store, "acct", "gw", shown.to_string().as_bytes(), &actor("u", NOW + 5))).reply);
        let mut wanted = shown.clone();
        wanted["modified_at"] = json!("2023-11-14T22:13:20.005Z");
        assert_eq!(again, wanted);
        assert_eq!(result(block_on(delete(&store, "acct", "gw", &actor("d", NOW))).reply), wanted);
        assert_eq!(block_on(get(&store, "acct", "gw")).unwrap_err().status, 404);
    }

    #[test]
    fn an_id_is_taken_once_in_each_account() {
        let store = Sqlite::new();
        made(&store, "one", "gw").unwrap();
        made(&store, "two", "gw").unwrap();
        let error = made(&store, "one", "gw").unwrap_err();
        assert_eq!(
            (error.status, error.code, error.path.as_slice()),
            (400, 7001, ["body".to_owned(), "id".to_owned()].as_slice())
        );
        for wrong in [json!({}), json!({ "id": 1 }), json!({ "id": "No" }), json!([]), json!("x")] {
            assert_eq!(
                block_on(create(
                    &store,
                    "one",
                    wrong.to_string().as_bytes(),
                    &actor("w", NOW),
                    String::new(),
                    &crate::config::bounds::Bounds::default().gateways
                ))
                .reply
                .unwrap_err()
                .code,
                7001
            );
        }
        assert_eq!(
            block_on(create(
                &store,
                "one",
                b"{\"id\":",
                &actor("w", NOW),
                String::new(),
                &crate::config::bounds::Bounds::default().gateways
            ))
            .reply
            .unwrap_err()
            .path,
            ["body"]
        );
    }

    #[test]
    fn other_accounts_and_hostile_ids_are_not_found() {
        let store = Sqlite::new();
        made(&store, "one", "gw").unwrap();
        for (account, id) in [("two", "gw"), ("one", "gw' OR '1'='1"), ("one' --", "gw"), ("one", "")] {
            assert_eq!(block_on(get(&store, account, id)).unwrap_err().status, 404);
            assert_eq!(block_on(update(&store, account, id, b"{}", &actor("u", NOW))).reply.unwrap_err().status, 404);
            assert_eq!(block_on(delete(&store, account, id, &actor("d", NOW))).reply.unwrap_err().status, 404);
        }
        assert!(block_on(get(&store, "one", "gw")).is_ok());
    }

    #[test]
    fn lists_are_searched_and_paged() {
        let store = Sqlite::new();
        for id in ["alpha", "beta", "gamma"] {
            made(&store, "acct", id).unwrap();
        }
        let ids = |query: &str| -> Vec<String> {
            let found = result(block_on(list(&store, "acct", &Query::parse(query), &Caller::Admin)));
            found.as_array().unwrap().iter().map(|gateway| gateway["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(""), ["alpha", "beta", "gamma"]);
        assert_eq!(ids("search=ET"), ["beta"]);
        assert_eq!(ids("page=2&per_page=2"), ["gamma"]);
        assert!(ids("page=9").is_empty() && ids("search=%25").is_empty() && ids("search=') OR 1=1 --").is_empty());
    }

    #[test]
    fn the_default_gateway_is_made_once() {
        let store = Sqlite::new();
        let first = block_on(create_default(&store, "acct", &actor("a", NOW), "a".to_owned())).unwrap();
        let second = block_on(create_default(&store, "acct", &actor("b", NOW + 1), "b".to_owned())).unwrap();
        assert_eq!(first, second);
        assert!(first.settings.authentication && first.settings.collect_logs);
    }

    #[test]
    fn an_update_forgets_what_was_cached_where_the_setting_says_so() {
        let store = Sqlite::new();
        made(&store, "acct", "gw").unwrap();
        let mut seen = Vec::new();
        for (n, body) in
            ["{}", r#"{"cache_invalidate_on_update":true}"#, "{}", r#"{"cache_invalidate_on_update":false}"#, "{}"]
                .into_iter()
                .enumerate()
        {
            block_on(update(&store, "acct", "gw", body.as_bytes(), &actor(&n.to_string(), NOW))).reply.unwrap();
            seen.push(block_on(find(&store, "acct", "gw")).unwrap().unwrap().cache.generation);
        }
        assert_eq!(seen, [0, 1, 2, 3, 3]);
    }

    #[test]
    fn a_new_gateway_of_the_same_name_has_none_of_the_old_logs() {
        let store = Sqlite::new();
        made(&store, "acct", "gw").unwrap();
        let old = block_on(find(&store, "acct", "gw")).unwrap().unwrap().key;
        let records: Vec<LogRecord> = (0..5)
            .map(|n| LogRecord::new(Call { gateway: old, ..call(&n.to_string()) }, answered(Facts::default())))
            .collect();
        block_on(group_commit::write(&store, records.into(), async |_| {}));
        block_on(delete(&store, "acct", "gw", &actor("d", NOW))).reply.unwrap();
        made(&store, "acct", "gw").unwrap();
        assert_ne!(block_on(find(&store, "acct", "gw")).unwrap().unwrap().key, old);
        let rounds: Vec<bool> = (0..3).map(|_| block_on(delete_logs_slice(&store, old, 2)).unwrap()).collect();
        assert_eq!(rounds, [true, true, false]);
        let left = "SELECT (SELECT count(*) FROM logs) + (SELECT count(*) FROM log_bodies) AS n";
        assert_eq!(block_on(store.row::<Count>(Statement::new(left, []))).unwrap().unwrap().n, 0);
    }

    /// Whether a call reported success, and whether the gateway is there afterwards, for each way a statement can fail.
    #[test]
    fn a_failing_database_leaves_nothing_half_done() {
        type Outcome = (bool, bool);
        let create = |store: &Faulty<Sqlite>| made(store, "acct", "gw").is_ok();
        let delete = |store: &Faulty<Sqlite>| block_on(delete(store, "acct", "gw", &actor("d", NOW))).reply.is_ok();
        let there = |store: &Faulty<Sqlite>| block_on(find(&store.inner, "acct", "gw")).unwrap().is_some();
        // (statement, fails before it took effect, fails after it took effect)
        let creating: [(u32, Outcome, Outcome); 2] =
            [(1, (false, false), (false, true)), (2, (false, true), (false, true))];
        let deleting: [(u32, Outcome, Outcome); 2] =
            [(1, (false, true), (false, true)), (2, (false, true), (false, false))];
        for (n, before, after) in creating {
            let store = Faulty::new(Sqlite::new());
            store.fail_before(n);
            assert_eq!((create(&store), there(&store)), before, "create, before {n}");
            let store = Faulty::new(Sqlite::new());
            store.fail_after(n);
            assert_eq!((create(&store), there(&store)), after, "create, after {n}");
        }
        for (n, before, after) in deleting {
            let store = Faulty::new(Sqlite::new());
            assert!(create(&store));
            store.fail_before(n);
            assert_eq!((delete(&store), there(&store)), before, "delete, before {n}");
            let store = Faulty::new(Sqlite::new());
            assert!(create(&store));
            store.fail_after(n);
            assert_eq!((delete(&store), there(&store)), after, "delete, after {n}");
        }
    }

    #[test]
    fn a_slice_goes_from_all_three_tables_or_from_none() {
        let store = Faulty::new(Sqlite::new());
        let log = |id: &str, gateway| {
            let metadata = crate::logs::metadata::parse(r#"{"a":"b"}"#, 5);
            LogRecord::new(Call { gateway, metadata, ..call(id) }, answered(Facts::default()))
        };
        let records = vec![log("a", 1), log("b", 1), log("c", 1), log("kept", 2)];
        block_on(group_commit::write(&store, records.into(), async |_| {}));
        let left = || -> Vec<u64> {
            ["logs", "log_metadata", "log_bodies"]
                .map(|table| Statement::new(format!("SELECT count(*) AS n FROM {table}"), []))
                .map(|count| block_on(store.inner.row::<Count>(count)).unwrap().unwrap().n)
                .to_vec()
        };
        store.fail_before(2);
        assert!(block_on(delete_logs_slice(&store, 1, 2)).is_err());
        assert_eq!(left(), [4, 4, 4]);
        store.fail_after(2);
        assert!(block_on(delete_logs_slice(&store, 1, 2)).is_err());
        assert_eq!(left(), [2, 2, 2]);
        assert!(!block_on(delete_logs_slice(&store, 1, 2)).unwrap());
        assert_eq!(left(), [1, 1, 1]);
    }
}
