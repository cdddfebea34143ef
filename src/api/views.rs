//! `…/views`: what a person wants to look at again, as a name and the query of a page.

use super::{Place, name, object, only};
use crate::base::timestamp;
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use serde_json::{Map, Value, json};

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

pub async fn list(store: &impl Store, gateway: i64) -> Result<Reply, ApiError> {
    let sql = "SELECT id, name, query, created_at FROM views WHERE gateway = ?1 ORDER BY name, id";
    let rows: Vec<View> = store.rows(Statement::new(sql, [gateway.into()])).await?;
    Ok(Reply::result(rows.iter().map(View::show).collect::<Vec<_>>()))
}

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
