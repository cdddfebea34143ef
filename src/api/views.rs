//! `…/views`: what a person wants to look at again, as a name and the query of a page.

use super::{Place, name, object, only};
use crate::base::json::json;
use crate::base::timestamp;
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use serde_json::{Map, Value};

const MAX_VIEWS: i64 = 200;
const MAX_QUERY: usize = 4_000;

row! {
    struct View {
        id: String,
        name: String,
        query: String,
        created_at: u64,
    }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/views`
pub async fn list(store: &impl Store, gateway: i64) -> Result<Reply, ApiError> {
    let sql = "SELECT id, name, query, created_at FROM views WHERE gateway = ?1 ORDER BY name, id";
    let rows: Vec<View> = store.rows(Statement::new(sql, [gateway.into()])).await?;
    Ok(Reply::result(rows.iter().map(View::show).collect::<Vec<_>>()))
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/views`
pub async fn create(
    store: &impl Store,
    place: &Place<'_>,
    body: &[u8],
    id: &str,
    actor: &Actor<'_>,
) -> Result<Reply, ApiError> {
    let body = object(body)?;
    only(&body, &["name", "query"], &["body"])?;
    let name = name(&body)?;
    let query = body
        .get("query")
        .and_then(Value::as_str)
        .filter(|query| query.len() <= MAX_QUERY && !query.chars().any(char::is_control));
    let wrong = || {
        ApiError::invalid(
            ["body", "query"],
            format!("Expected the query of a page, a string of at most {MAX_QUERY} bytes"),
        )
    };
    let query = query.ok_or_else(wrong)?;
    let view = View { id: id.to_owned(), name: name.to_owned(), query: query.to_owned(), created_at: actor.now_ms };
    let insert = Statement::new(
        "INSERT INTO views (id, gateway, name, query, created_at) SELECT ?1, ?2, ?3, ?4, ?5 \
         WHERE (SELECT count(*) FROM views WHERE gateway = ?2) < ?6",
        [
            id.into(),
            place.key.into(),
            view.name.as_str().into(),
            view.query.as_str().into(),
            Bind::Int(actor.now_ms as i64),
            Bind::Int(MAX_VIEWS),
        ],
    );
    let changed = store.batch(vec![insert, actor.row(&change("view.create", place, id, &body))]).await?;
    if changed.first() != Some(&1) {
        return Err(ApiError::invalid(["body"], format!("A gateway may have {MAX_VIEWS} views")));
    }
    Ok(Reply::result(view.show()))
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/views/{id}`
pub async fn delete(store: &impl Store, place: &Place<'_>, id: &str, actor: &Actor<'_>) -> Result<Reply, ApiError> {
    let delete = Statement::new("DELETE FROM views WHERE id = ?1 AND gateway = ?2", [id.into(), place.key.into()]);
    let changed = store.batch(vec![delete, actor.row(&change("view.delete", place, id, &Map::new()))]).await?;
    if changed.first() != Some(&1) {
        return Err(ApiError::not_found());
    }
    Ok(Reply::result(json!({ "id": id })))
}

fn change<'a>(action: &'static str, place: &Place<'a>, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account: place.account, gateway: Some(place.gateway), target, fields: audit::fields(body) }
}

// === impl View ===

impl View {
    fn show(&self) -> Value {
        json!({ "id": self.id, "name": self.name, "query": self.query, "created_at": timestamp::format(self.created_at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    fn place(key: i64) -> Place<'static> {
        Place { account: "a", gateway: "gw", key }
    }

    fn actor(entry: &str) -> Actor<'static> {
        Actor { name: "admin", now_ms: 1_700_000_000_000, entry: entry.to_owned() }
    }

    fn made(store: &Sqlite, id: &str, body: &str) -> Result<Reply, ApiError> {
        block_on(create(store, &place(1), body.as_bytes(), id, &actor(&format!("audit-{id}"))))
    }

    fn listed(store: &Sqlite, gateway: i64) -> Value {
        serde_json::from_str::<Value>(&block_on(list(store, gateway)).unwrap().body).unwrap()["result"].clone()
    }

    #[test]
    fn a_view_is_made_listed_by_its_name_and_deleted_by_its_gateway_alone() {
        let store = Sqlite::new();
        made(&store, "1", r#"{"name":"  Slow ones ","query":"f=duration:gt:5000&since=24h"}"#).unwrap();
        made(&store, "2", r#"{"name":"Errors","query":""}"#).unwrap();
        let all = listed(&store, 1);
        assert_eq!((&all[0]["name"], &all[1]["name"]), (&json!("Errors"), &json!("Slow ones")));
        assert_eq!((&all[1]["id"], &all[1]["query"]), (&json!("1"), &json!("f=duration:gt:5000&since=24h")));
        assert_eq!(listed(&store, 2), json!([]));
        assert_eq!(block_on(delete(&store, &place(2), "1", &actor("x"))).unwrap_err().status, 404);
        assert!(block_on(delete(&store, &place(1), "1", &actor("y"))).is_ok());
        assert_eq!(block_on(delete(&store, &place(1), "1", &actor("z"))).unwrap_err().status, 404);
        assert_eq!(listed(&store, 1).as_array().unwrap().len(), 1);
        // Who did what is in the trail, and what had no effect is not.
        let mut trail = block_on(store.ids(Statement::new("SELECT action AS id FROM audit", []))).unwrap();
        trail.sort();
        assert_eq!(trail, ["view.create", "view.create", "view.delete"]);
    }

    #[test]
    fn what_is_no_view_is_refused_with_the_place_of_the_fault() {
        let store = Sqlite::new();
        let long = format!(r#"{{"name":"x","query":"{}"}}"#, "q".repeat(MAX_QUERY + 1));
        for (body, at) in [
            ("[]", "body"),
            ("{}", "body.name"),
            (r#"{"name":" ","query":""}"#, "body.name"),
            (r#"{"name":"x"}"#, "body.query"),
            (r#"{"name":"x","query":5}"#, "body.query"),
            (r#"{"name":"x","query":"a\nb"}"#, "body.query"),
            (r#"{"name":"x","query":"","shared":true}"#, "body.shared"),
            (&long, "body.query"),
        ] {
            let refused = made(&store, "1", body).unwrap_err();
            assert_eq!((refused.status, refused.path.join(".")), (400, at.to_owned()), "{body:.60}");
        }
        assert_eq!(listed(&store, 1), json!([]));
    }

    #[test]
    fn a_gateway_has_a_bounded_number_of_views() {
        let store = Sqlite::new();
        for n in 0..MAX_VIEWS {
            made(&store, &n.to_string(), r#"{"name":"x","query":""}"#).unwrap();
        }
        assert!(made(&store, "one more", r#"{"name":"x","query":""}"#).unwrap_err().message.contains("200"));
        let other = block_on(create(&store, &place(2), br#"{"name":"x","query":""}"#, "other", &actor("o")));
        assert!(other.is_ok());
    }
}
