//! `/accounts/{account}/ai-gateway/catalogue`: what the account's operator knows of models and their prices, over what is built in.

use super::{object, only};
use crate::api::effect::{Effect, Handled};
use crate::base::json::json;
use crate::base::timestamp;
use crate::catalogue::merge::{self, Changed, Unreadable};
use crate::catalogue::table::AS_OF;
use crate::db::audit::Actor;
use crate::db::store::Store;
use crate::gateways::catalogue;
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::flag;
use crate::http::query::Query;
use crate::providers::table;
use crate::providers::upstream::PREFIX;
use serde_json::Value;

/// The members of data/prices.json, so that the file itself can be sent.
const FIELDS: &[&str] = &["as_of", "source", "unit", "facts", "prices"];

/// Of so many changes an answer has all there is to see; of more, their number.
const MAX_SHOWN: usize = 1_000;

/// `GET /accounts/{account}/ai-gateway/catalogue`
///
/// The account's own rows. What is built in is not repeated.
pub async fn get(store: &impl Store, account: &str) -> Result<Reply, ApiError> {
    let (version, own) = catalogue::read(store, account).await?;
    let prices: Vec<Value> = own.own_lines().map(|line| line.shown().into()).collect();
    let shown = json!({ "version": version, "as_of": own.as_of(), "built_in_as_of": AS_OF, "prices": prices });
    Ok(Reply::result(shown))
}

/// `PUT /accounts/{account}/ai-gateway/catalogue`
///
/// Merges rows over those that the account has: a model that is not given stays.
pub async fn put(store: &impl Store, account: &str, query: &Query, body: &[u8], actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let dry_run = flag(query, "dry_run")?.unwrap_or(false);
        let body = object(body)?;
        only(&body, FIELDS, &["body"])?;
        let as_of = match body.get("as_of") {
            None | Some(Value::Null) => timestamp::format(actor.now_ms).chars().take(10).collect(),
            Some(Value::String(day)) if timestamp::parse(&format!("{day}T00:00:00Z")).is_some() && day.len() == 10 => {
                day.clone()
            }
            Some(_) => return Err(ApiError::invalid(["body", "as_of"], "Expected a day, such as 2026-11-27")),
        };
        let rows = body.get("prices").and_then(Value::as_array);
        let rows = rows.ok_or_else(|| ApiError::invalid(["body", "prices"], "Expected an array of models"))?;
        let (version, own) = catalogue::read(store, account).await?;
        let is_provider =
            |name: &str| name.starts_with(PREFIX) || table::find(name).is_some_and(|provider| provider.slug == name);
        let merged = merge::merged(&own, rows, is_provider)
            .map_err(|Unreadable { index, why }| ApiError::invalid(["body", "prices", &index.to_string()], why))?;
        let is_changed = !dry_run && !merged.changes.is_empty();
        if is_changed && !catalogue::write(store, account, version, (&as_of, &merged.lines), actor).await? {
            let message = "Another request has changed the catalogue meanwhile. Send this one again";
            return Err(ApiError::invalid(["body"], message).with(|error| error.status = 409));
        }
        let of = |change: &str| merged.changes.iter().filter(|changed| changed.change == change).count();
        let shown: Vec<Value> = merged.changes.iter().take(MAX_SHOWN).map(Changed::shown).collect();
        Ok(Reply::result(json!({
            "dry_run": dry_run, "version": version + u64::from(is_changed), "as_of": as_of, "models": rows.len(),
            "added": of("added"), "changed": of("changed"), "removed": of("removed"), "changes": shown,
        })))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::store::Statement;
    use crate::gateways::snapshot;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    fn sent(store: &Sqlite, query: &str, body: Value) -> Value {
        let actor = Actor { name: "admin", now_ms: 1_795_737_600_000, entry: body.to_string() };
        let handled = block_on(put(store, "a", &Query::parse(query), body.to_string().as_bytes(), &actor));
        let reply = handled.reply.unwrap_or_else(|error| error.reply());
        serde_json::from_str(&reply.body).unwrap()
    }

    #[test]
    fn a_dry_run_shows_what_a_put_does() {
        let store = Sqlite::new();
        let body = json!({ "as_of": "2027-01-31", "prices": [{ "provider": "openai", "model": "gpt-5", "input": 2, "output": 3 }] });
        let dry = sent(&store, "dry_run=true", body.clone())["result"].clone();
        assert_eq!((&dry["changed"], &dry["version"], &dry["dry_run"]), (&json!(1), &json!(0), &json!(true)));
        assert_eq!(
            (&dry["changes"][0]["before"]["input"], &dry["changes"][0]["after"]["input"]),
            (&json!(1.25), &json!(2.0))
        );
        let shown =
            || serde_json::from_str::<Value>(&block_on(get(&store, "a")).unwrap().body).unwrap()["result"].clone();
        assert_eq!((&shown()["version"], &shown()["prices"]), (&json!(0), &json!([])));
        let put = sent(&store, "", body.clone())["result"].clone();
        assert_eq!((&put["version"], &put["changes"]), (&json!(1), &dry["changes"]));
        assert_eq!(
            (&shown()["version"], &shown()["as_of"], &shown()["prices"][0]["output"]),
            (&json!(1), &json!("2027-01-31"), &json!(3.0))
        );
        // The same again changes nothing.
        assert_eq!(sent(&store, "", body)["result"]["version"], 1);
        let sql = "INSERT INTO gateways (account_id, id, internal_id, created_at, modified_at, settings) VALUES (?1, 'gw', 'i', 0, 0, '{}')";
        for account in ["a", "b"] {
            block_on(store.batch(vec![Statement::new(sql, [account.into()])])).unwrap();
            let seen = block_on(snapshot::read(&store, account, "gw")).unwrap().unwrap().catalogue;
            let rates = seen.find("openai", "gpt-5").unwrap().rates.to_owned();
            assert_eq!(rates.starts_with("i2o3"), account == "a", "{account}: {rates}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let store = Sqlite::new();
        for (body, path) in [
            (json!({}), json!(["body", "prices"])),
            (json!({ "prices": {} }), json!(["body", "prices"])),
            (json!({ "prices": [], "price": 1 }), json!(["body", "price"])),
            (json!({ "prices": [], "as_of": "yesterday" }), json!(["body", "as_of"])),
            (json!({ "prices": [{ "provider": "opnai", "model": "x", "input": 1 }] }), json!(["body", "prices", "0"])),
        ] {
            let refused = sent(&store, "", body.clone());
            assert_eq!(refused["errors"][0]["path"], path, "{body}: {refused}");
        }
    }
}
