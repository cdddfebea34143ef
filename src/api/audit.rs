//! `/accounts/{account}/ai-gateway/audit`: the trail of changes, newest first.

use crate::base::json::json;
use crate::base::timestamp;
use crate::db::store::{Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use serde_json::Value;

const MAX_PER_PAGE: u64 = 100;

row! {
    struct AuditRow {
        id: String,
        at: u64,
        actor: String,
        action: String,
        gateway_id: Option<String>,
        target: String,
        fields: String,
    }
}

/// `GET /accounts/{account}/ai-gateway/audit`
pub async fn list(store: &impl Store, account: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let matching = "audit WHERE account_id = ?1 AND (?2 IS NULL OR gateway_id = ?2) AND (?3 IS NULL OR action = ?3) \
         AND (?4 IS NULL OR actor = ?4) AND (?5 IS NULL OR target = ?5)";
    let binds = vec![
        account.into(),
        query.get("gateway").into(),
        query.get("action").into(),
        query.get("actor").into(),
        query.get("target").into(),
    ];
    let columns = "id, at, actor, action, gateway_id, target, fields";
    let (rows, info) = page.read::<AuditRow>(store, columns, matching, "at DESC, id DESC", binds).await?;
    let shown: Vec<Value> = rows
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
    Ok(Reply::list(shown, info))
}
