//! `…/routes/{id}/simulate`: the way that a request would take through a route. Nothing is sent and nothing is counted.

use super::routes::stored;
use super::{Place, object, only};
use crate::auth::tokens;
use crate::base::json::json;
use crate::db::store::Store;
use crate::gateways::gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::http::headers::Headers;
use crate::logs::{metadata, session};
use crate::pattern::budget::Meter;
use crate::routes::asked::{Asked, Draw, STEPS, Token, no_rest};
use crate::routes::deployed::PREFIX;
use crate::routes::graph::Graph;
use crate::routes::learn::Dice;
use crate::routes::walk::{Stop, Walk};
use serde_json::{Map, Value};
use std::cell::OnceCell;

const FIELDS: &[&str] =
    &["body", "failing", "headers", "metadata", "model", "now", "path", "provider", "seed", "token_id", "version_id"];

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/simulate`
///
/// Rates let the request pass and models answer, but for those elements that `failing` names.
pub async fn simulate(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    body: &[u8],
    (now_ms, entropy, entries): (u64, &[u8; 32], usize),
) -> Result<Reply, ApiError> {
    let (name, elements, learned) = stored(store, place, id, None).await?;
    let given = object(body)?;
    only(&given, FIELDS, &["body"])?;
    let text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(ApiError::invalid(["body", name], "Expected a string")),
    };
    let (name, elements, learned) = match text("version_id")? {
        None => (name, elements, learned),
        version => stored(store, place, id, version).await?,
    };
    let unreadable =
        || ApiError::invalid(["body", "version_id"], "This version of Tollgate cannot read these elements");
    let elements: Value = serde_json::from_str(&elements).map_err(|_| unreadable())?;
    let graph = Graph::parse(&elements).map_err(|_| unreadable())?;
    // The rules of the header hold here, too, and those of the token.
    let mut tags = metadata::parse(&Value::Object(members(&given, "metadata")?).to_string(), entries);
    let token = match text("token_id")? {
        Some(id) => tokens::by_id(store, place.account, id).await?,
        None => None,
    };
    let terms = token.as_ref().map(|token| &*token.terms);
    tags.pin(terms.map_or(&[], |terms| &terms.metadata), entries);
    let metadata = tags.entries;
    let lower = |(name, value): (String, Value)| {
        (name.to_ascii_lowercase(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let headers = Headers(members(&given, "headers")?.into_iter().map(lower).collect());
    let failing: Vec<&str> = match given.get("failing") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(ApiError::invalid(["body", "failing"], "Expected a list of ids of elements")),
    };
    let number = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_u64().map(Some).ok_or_else(|| ApiError::invalid(["body", name], "Expected an integer from 0"))
        }
    };
    let seed = number("seed")?
        .unwrap_or_else(|| entropy.iter().fold(0, |sum: u64, byte| sum.rotate_left(8) ^ u64::from(*byte)) >> 11);
    let sent = given.get("body").map(Value::to_string).unwrap_or_default();
    let called = format!("{PREFIX}{name}");
    let facts = Asked {
        metadata: &metadata,
        headers: &headers.0,
        body: sent.as_bytes(),
        model: text("model")?.unwrap_or(&called),
        provider: text("provider")?.unwrap_or("compat"),
        path: text("path")?.unwrap_or("chat/completions"),
        token: Token {
            id: text("token_id")?,
            name: terms.map(|terms| terms.name.as_str()),
            owner: terms.and_then(|terms| terms.owner.as_deref()),
            metadata: terms.map_or(&[], |terms| &terms.metadata),
        },
        now_ms: number("now")?.unwrap_or(now_ms),
        read: OnceCell::new(),
    };
    let gateway = gateway::by_key(store, place.key).await?;
    let session_from = gateway.map(|gateway| gateway.session_from).unwrap_or_default();
    let mut chance = Draw {
        dice: Dice(seed),
        metadata: &metadata,
        session: session::of_call(&headers, facts.body(), &session_from),
        event_id: headers.get("cf-aig-event-id").map(str::to_owned),
        learned: serde_json::from_str(&learned).unwrap_or(Value::Null),
    };
    let meter = Meter::new(STEPS, no_rest);
    let mut walk = Walk::new(&graph, &name);
    let mut models = Vec::new();
    loop {
        let stop = walk.next(&facts, &mut chance, &meter).await;
        let fails = |element: &str| failing.contains(&element);
        match stop.map_err(|_| ApiError::invalid(["body"], "The conditions want more steps than a request has"))? {
            Stop::Rate(element, _) => walk.go_on(!fails(element), fails(element).then(|| "limit".to_owned())),
            Stop::Model(element, model) => {
                let answered = !fails(element);
                models.push(json!({ "element": element, "provider": model.provider, "model": model.model, "answered": answered }));
                walk.go_on(answered, (!answered).then(|| "failing".to_owned()));
                if answered {
                    break;
                }
            }
            Stop::End { .. } => break,
        }
    }
    let answered = models.last().is_some_and(|model| model.get("answered") == Some(&Value::Bool(true)));
    Ok(Reply::result(
        json!({ "route": name, "path": walk.shown(), "models": models, "answered": answered, "seed": seed }),
    ))
}

fn members(given: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, ApiError> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        Some(_) => Err(ApiError::invalid(["body", name], "Expected an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::tests::place;
    use crate::db::store::Statement;
    use crate::routes::graph::tests::everything;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    fn with_route() -> Sqlite {
        let store = Sqlite::new();
        let run = |sql: &str| block_on(store.batch(vec![Statement::new(sql.to_owned(), [])])).unwrap();
        run(
            "INSERT INTO routes (id, gateway, name, version, deployment, created_at, modified_at) VALUES ('r', 1, 'support', 'v', 'd', 1, 1)",
        );
        run("INSERT INTO route_deployments (id, route, version, created_at) VALUES ('d', 'r', 'v', 1)");
        let elements = everything().to_string();
        let version = Statement::new(
            "INSERT INTO route_versions (id, route, created_at, elements) VALUES ('v', 'r', 1, ?1)",
            [elements.into()],
        );
        block_on(store.batch(vec![version])).unwrap();
        store
    }

    fn simulated(store: &Sqlite, key: i64, body: &Value) -> Result<Value, ApiError> {
        let reply = block_on(simulate(store, &place(key), "r", body.to_string().as_bytes(), (0, &[7; 32], 5)))?;
        Ok(serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone())
    }

    #[test]
    fn a_way_is_told_without_taking_it() {
        let store = with_route();
        let way = |body: Value| {
            let result = simulated(&store, 1, &body).unwrap();
            let path = result["path"].as_array().unwrap().iter();
            let text =
                |one: &Value| format!("{}:{}", one["element"].as_str().unwrap(), one["output"].as_str().unwrap());
            (path.map(text).collect::<Vec<_>>().join(" "), result["answered"] == json!(true))
        };
        assert_eq!(way(json!({})), ("s:next c:false big:success".to_owned(), true));
        assert_eq!(way(json!({ "failing": ["big"] })), ("s:next c:false big:fallback".to_owned(), false));
        let free = |seed: u64| way(json!({ "metadata": { "plan": "free" }, "seed": seed })).0;
        assert_eq!(free(1), free(1));
        let both: std::collections::BTreeSet<String> = (0..60).map(free).collect();
        assert_eq!(both.len(), 2, "{both:?}");
    }

    #[test]
    fn what_is_no_request_is_refused_and_other_gateways_see_nothing() {
        let store = with_route();
        for (body, path) in [
            (json!({ "metadata": 5 }), "body.metadata"),
            (json!({ "headers": [] }), "body.headers"),
            (json!({ "failing": "x" }), "body.failing"),
            (json!({ "seed": -1 }), "body.seed"),
            (json!({ "model": {} }), "body.model"),
            (json!({ "version_id": "x" }), "body.version_id"),
            (json!({ "misspelt": 1 }), "body.misspelt"),
        ] {
            assert_eq!(simulated(&store, 1, &body).unwrap_err().path.join("."), path);
        }
        assert_eq!(simulated(&store, 2, &json!({})).unwrap_err().status, 404);
    }
}
