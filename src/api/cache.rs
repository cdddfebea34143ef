//! `…/gateways/{id}/cache`: forgetting what was kept.
//!
//! Nothing is looked up to be deleted: callers' credentials are part of the keys, so that no caller could name them. The
//! gateway's row has a number that is part of the keys as well, and a time for every purged key; both are read together
//! with its settings.

use super::Place;
use crate::api::effect::Handled;
use crate::base::json::json;
use crate::cache::{self, key};
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store};
use crate::http::envelope::{ApiError, Reply};
use crate::http::query::Query;
use serde_json::Value;

/// With more purged keys than this everything is forgotten instead.
const MAX_PURGED: i64 = 128;

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/cache`
///
/// Purges everything, or with `?key=` the answers of one `cf-aig-cache-key`.
pub async fn purge(store: &impl Store, place: &Place<'_>, query: &Query, actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        // A misspelt `key` must not purge everything.
        if let Some((other, _)) = query.iter().find(|(name, _)| *name != "key") {
            return Err(ApiError::invalid(["query", other], "There is no such parameter. Expected key"));
        }
        let statement = match query.get("key") {
            None => {
                let sql =
                    "UPDATE gateways SET cache_generation = cache_generation + 1, cache_purged = '{}' WHERE key = ?1";
                Statement::new(sql, [place.key.into()])
            }
            Some(key) if cache::is_key(key) => Statement::new(
                "UPDATE gateways SET \
             cache_generation = cache_generation + ((SELECT count(*) FROM json_each(cache_purged)) >= ?4), \
             cache_purged = json_set(iif((SELECT count(*) FROM json_each(cache_purged)) >= ?4, '{}', cache_purged), \
             '$.' || ?2, CAST(?3 AS INTEGER)) WHERE key = ?1",
                // A member's name in a path may begin with a digit only in quotes.
                [
                    place.key.into(),
                    format!("\"{}\"", key::digest(key)).into(),
                    Bind::Int(actor.now_ms as i64),
                    Bind::Int(MAX_PURGED),
                ],
            ),
            Some(_) => return Err(ApiError::invalid(["query", "key"], "Expected a key of 1 to 1024 bytes")),
        };
        let named = crate::base::object::of(query.get("key").map(|_| ("key".to_owned(), Value::Null)));
        store.batch(vec![statement, actor.row(&place.change("cache.purge", place.gateway, &named))]).await?;
        Ok(Reply::result(json!({ "purged": if named.is_empty() { "all" } else { "key" } })))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gateways;
    use crate::cache::epoch::Epoch;
    use crate::db::store::row;
    use crate::gateways::gateway;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    row! {
        struct Audited {
            action: String,
            fields: String,
        }
    }

    fn with_gateways() -> Sqlite {
        let store = Sqlite::new();
        for id in ["gw", "other"] {
            let body = json!({ "id": id, "cache_ttl": 60, "collect_logs": true }).to_string();
            block_on(gateways::create(
                &store,
                "acct",
                body.as_bytes(),
                &actor(id, 1),
                format!("internal-{id}"),
                &crate::config::bounds::Bounds::USUAL.gateways,
            ))
            .reply
            .unwrap();
        }
        store
    }

    fn actor(entry: &str, now_ms: u64) -> Actor<'static> {
        Actor { name: "admin", now_ms, entry: entry.to_owned() }
    }

    fn found(store: &Sqlite, id: &str) -> gateway::Gateway {
        block_on(gateway::find(store, "acct", id)).unwrap().unwrap()
    }

    fn purged(store: &Sqlite, query: &str, now_ms: u64) -> Result<Reply, ApiError> {
        let place = Place { account: "acct", gateway: "gw", key: found(store, "gw").key };
        block_on(purge(store, &place, &Query::parse(query), &actor(&format!("{query}{now_ms}"), now_ms))).reply
    }

    #[test]
    fn a_purge_of_everything_touches_one_gateway() {
        let store = with_gateways();
        purged(&store, "key=a", 5).unwrap();
        assert!(purged(&store, "", 6).unwrap().body.contains("\"all\""));
        assert_eq!(found(&store, "gw").cache, Epoch { generation: 1, purged: Vec::new() });
        assert_eq!(found(&store, "other").cache, Epoch::default());
    }

    #[test]
    fn a_purged_key_has_the_time_of_its_last_purge() {
        let store = with_gateways();
        for (key, at) in [("a", 5), ("b'\"$.", 6), ("a", 7)] {
            assert!(purged(&store, &format!("key={key}"), at).unwrap().body.contains("\"key\""));
        }
        let cache = found(&store, "gw").cache;
        assert_eq!((cache.generation, cache.purged.len()), (0, 2));
        assert_eq!((cache.purged_at("a"), cache.purged_at("b'\"$."), cache.purged_at("c")), (7, 6, 0));
        let rows: Vec<Audited> =
            block_on(store.rows(Statement::new("SELECT action, fields FROM audit WHERE action = 'cache.purge'", [])))
                .unwrap();
        assert_eq!((rows.len(), rows[0].action.as_str(), rows[0].fields.as_str()), (3, "cache.purge", "[\"key\"]"));
    }

    #[test]
    fn the_list_of_purged_keys_has_an_end() {
        let store = with_gateways();
        for n in 0..=MAX_PURGED as u64 {
            purged(&store, &format!("key={n}"), 10 + n).unwrap();
        }
        let cache = found(&store, "gw").cache;
        assert_eq!((cache.generation, cache.purged.len()), (1, 1));
        assert_eq!((cache.purged_at("128"), cache.purged_at("127")), (138, 0));
    }

    #[test]
    fn what_is_no_key_purges_nothing() {
        let store = with_gateways();
        for (query, place) in
            [("key=".to_owned(), "key"), (format!("key={}", "x".repeat(1_025)), "key"), ("keys=a".to_owned(), "keys")]
        {
            let error = purged(&store, &query, 5).unwrap_err();
            assert_eq!((error.status, error.path.clone()), (400, vec!["query".to_owned(), place.to_owned()]));
        }
        assert_eq!(found(&store, "gw").cache, Epoch::default());
    }
}
