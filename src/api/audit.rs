//! `/accounts/{account}/ai-gateway/audit`: the trail of changes, newest first.

use crate::envelope::{ApiError, Reply};
use crate::page::Page;
use crate::query::Query;
use crate::store::{Statement, Store};
use crate::timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

const MAX_PER_PAGE: u64 = 100;

#[derive(Deserialize)]
struct Row {
    id: String,
    at: u64,
    actor: String,
    action: String,
    gateway_id: Option<String>,
    target: String,
    fields: String,
}

#[derive(Deserialize)]
struct Count {
    n: u64,
}

pub async fn list(store: &impl Store, account: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let condition = "account_id = ?1 AND (?2 IS NULL OR gateway_id = ?2) AND (?3 IS NULL OR action = ?3) \
         AND (?4 IS NULL OR actor = ?4) AND (?5 IS NULL OR target = ?5)";
    let binds = [
        account.into(),
        query.get("gateway").into(),
        query.get("action").into(),
        query.get("actor").into(),
        query.get("target").into(),
    ];
    let count = Statement::new(format!("SELECT count(*) AS n FROM audit WHERE {condition}"), binds.clone());
    let total = store.row::<Count>(count).await?.map_or(0, |count| count.n);
    let rows = Statement::new(
        format!(
            "SELECT id, at, actor, action, gateway_id, target, fields FROM audit WHERE {condition} \
             ORDER BY at DESC, id DESC LIMIT ?6 OFFSET ?7"
        ),
        binds.into_iter().chain([page.limit().into(), page.offset().into()]),
    );
    let shown: Vec<Value> = store
        .rows::<Row>(rows)
        .await?
        .into_iter()
        .map(|row| {
            json!({
                "id": row.id,
                "at": timestamp::format(row.at),
                "actor": row.actor,
                "action": row.action,
                "gateway_id": row.gateway_id,
                "target": row.target,
                "fields": serde_json::from_str::<Value>(&row.fields).unwrap_or_default(),
            })
        })
        .collect();
    let info = page.info(shown.len(), total);
    Ok(Reply::list(shown, info))
}
