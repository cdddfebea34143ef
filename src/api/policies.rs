//! `…/policies`: who may call which models of a gateway, and for how much. A change can be staged, tried out, and committed.

use super::{Place, object, only};
use crate::api::effect::Handled;
use crate::base::json::json;
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::flag;
use crate::http::query::Query;
use crate::policies::simulate::{Supposed, simulated};
use crate::policies::stored::{self, FIELDS};
use crate::providers::model::names::folded;
use serde_json::{Map, Value};

/// All of them are in every isolate's memory.
const MOST: i64 = 100;

const COLUMNS: &str = "SELECT id, live, draft, created_at, updated_at FROM policies WHERE gateway = ?1";

row! {
    struct PolicyRow {
        id: String,
        live: Option<String>,
        draft: Option<String>,
        created_at: u64,
        updated_at: u64,
    }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/policies`
///
/// Those in force. With `includeStaging=true` those that are only staged as well; a staged change is shown in the place of what it
/// changes.
pub async fn list(store: &impl Store, place: &Place<'_>, query: &Query) -> Result<Reply, ApiError> {
    let with_drafts = flag(query, "includeStaging")?.unwrap_or(false);
    let rows: Vec<PolicyRow> = all(store, place).await?;
    let shown: Vec<Value> = rows.iter().filter_map(|row| row.shown(with_drafts, "staging")).collect();
    Ok(Reply::result(shown))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/policies/{id}`
pub async fn get(store: &impl Store, place: &Place<'_>, id: &str, query: &Query) -> Result<Reply, ApiError> {
    let with_drafts = flag(query, "includeStaging")?.unwrap_or(false);
    let row = existing(store, place, id).await?;
    row.shown(with_drafts, "uncommitted").map(Reply::result).ok_or_else(ApiError::not_found)
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/policies`
///
/// Stages a policy; with `commit=true` it is in force at once.
pub async fn create(
    store: &impl Store,
    place: &Place<'_>,
    (query, body): (&Query, &[u8]),
    id: &str,
    actor: &Actor<'_>,
) -> Handled {
    Handled::always([place.forget()], async {
        let commit = flag(query, "commit")?.unwrap_or(false);
        let body = object(body)?;
        only(&body, FIELDS, &["body"])?;
        let text = checked(&body)?;
        let (live, draft) = if commit { (Some(text), None) } else { (None, Some(text)) };
        let insert = Statement::new(
            "INSERT INTO policies (id, gateway, live, draft, created_at, updated_at) SELECT ?1, ?2, ?3, ?4, ?5, ?5 \
             WHERE (SELECT count(*) FROM policies WHERE gateway = ?2) < ?6",
            [id.into(), place.key.into(), live.into(), draft.into(), Bind::Int(actor.now_ms as i64), Bind::Int(MOST)],
        );
        let changed = store.batch(vec![insert, actor.row(&place.change("policy.create", id, &body))]).await?;
        if changed.first() != Some(&1) {
            return Err(ApiError::invalid(["body"], format!("A gateway may have {MOST} policies")));
        }
        let shown = existing(store, place, id).await?.shown(true, "staging").unwrap_or_default();
        Ok(with(json!({ "result": shown, "committed": commit })))
    })
    .await
}

/// `PUT /accounts/{account}/ai-gateway/gateways/{gateway}/policies/{id}`
///
/// Stages a change of the fields that the body names; with `commit=true` it is in force at once.
pub async fn update(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    (query, body): (&Query, &[u8]),
    actor: &Actor<'_>,
) -> Handled {
    Handled::always([place.forget()], async {
        let commit = flag(query, "commit")?.unwrap_or(false);
        let given = object(body)?;
        // What GET shows can be sent back.
        let known = [FIELDS, &["id", "created_at", "updated_at", "staging", "uncommitted"]].concat();
        only(&given, &known, &["body"])?;
        let row = existing(store, place, id).await?;
        let Some(live) = &row.live else {
            let rule = "The policy was never committed: commit it first, or delete it and make another";
            return Err(ApiError::invalid(["id"], rule));
        };
        let mut whole = members(row.draft.as_ref().unwrap_or(live));
        let fields = given.iter().filter(|(name, _)| FIELDS.contains(&name.as_str()));
        whole.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        let text = checked(&whole)?;
        let sql = match commit {
            true => "UPDATE policies SET live = ?3, draft = NULL, updated_at = ?4 WHERE id = ?1 AND gateway = ?2",
            false => "UPDATE policies SET draft = ?3, updated_at = ?4 WHERE id = ?1 AND gateway = ?2",
        };
        let update = Statement::new(sql, [id.into(), place.key.into(), text.into(), Bind::Int(actor.now_ms as i64)]);
        store.batch(vec![update, actor.row(&place.change("policy.update", id, &given))]).await?;
        let shown = existing(store, place, id).await?.shown(true, "staging").unwrap_or_default();
        Ok(with(json!({ "result": shown, "committed": commit })))
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/policies/{id}`
pub async fn delete(store: &impl Store, place: &Place<'_>, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        let row = existing(store, place, id).await?;
        let delete =
            Statement::new("DELETE FROM policies WHERE id = ?1 AND gateway = ?2", [id.into(), place.key.into()]);
        store.batch(vec![delete, actor.row(&place.change("policy.delete", id, &Map::new()))]).await?;
        Ok(Reply::result(row.shown(true, "staging").unwrap_or_default()))
    })
    .await
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/policies/commit`
///
/// Puts all staged changes in force. One that makes no sense any more stays staged, and is named.
pub async fn commit(store: &impl Store, place: &Place<'_>, actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        let (mut statements, mut committed, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for row in all(store, place).await? {
            let Some(draft) = &row.draft else { continue };
            if let Err(fault) = stored::read(&members(draft)) {
                errors.push(json!({ "policyId": row.id, "error": fault.message }));
                continue;
            }
            let sql = "UPDATE policies SET live = draft, draft = NULL, updated_at = ?3 \
                       WHERE id = ?1 AND gateway = ?2 AND draft = ?4";
            let binds: [Bind; 4] =
                [row.id.as_str().into(), place.key.into(), Bind::Int(actor.now_ms as i64), draft.as_str().into()];
            statements.push(Statement::new(sql, binds));
            committed.push(json!({ "id": row.id, "name": members(draft).get("name") }));
        }
        if !statements.is_empty() {
            statements.push(actor.row(&place.change("policy.commit", place.gateway, &Map::new())));
            store.batch(statements).await?;
        }
        let result = json!({
            "committed": committed.len(), "failed": errors.len(), "policies": committed, "errors": errors,
        });
        Ok(with(json!({ "result": result, "success": errors.is_empty() })))
    })
    .await
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/policies/simulate`
///
/// What the policies, and the staged changes, would say of a request. Nothing is sent or counted.
pub async fn simulate(store: &impl Store, place: &Place<'_>, body: &[u8]) -> Result<Reply, ApiError> {
    let body = object(body)?;
    only(&body, &["identity", "model", "provider", "bucketUsage"], &["body"])?;
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=256).contains(&text.chars().count()) => Ok(Some(folded(text))),
        Some(_) => Err(ApiError::invalid(["body", name], "Expected a text of 1 to 256 characters")),
    };
    let member = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(json!({})),
        Some(object @ Value::Object(_)) => Ok(object.clone()),
        Some(_) => Err(ApiError::invalid(["body", name], "Expected an object")),
    };
    let (model, given) = (text("model")?, text("provider")?);
    // As the policies of others have it, a model may stand behind its provider.
    let split = model.as_deref().and_then(|model| model.split_once('/'));
    let (provider, model) = match (&given, split) {
        (None, Some((provider, model))) => (Some(provider), Some(model)),
        (Some(given), Some((provider, model))) if given == provider => (Some(provider), Some(model)),
        _ => (given.as_deref(), model.as_deref()),
    };
    let Some(provider) = provider else {
        return Err(ApiError::invalid(["body", "provider"], "Expected a provider, or a model such as openai/gpt-5"));
    };
    let rows = all(store, place).await?;
    let policies: Vec<Value> = rows
        .iter()
        .filter_map(|row| row.draft.as_ref().or(row.live.as_ref()))
        .map(|text| members(text).into())
        .collect();
    let policies = stored::all(&Value::from(policies).to_string());
    let (identity, usage) = (member("identity")?, member("bucketUsage")?);
    let supposed = Supposed { identity: &identity, provider, model, usage: &usage };
    Ok(Reply::result(simulated(&policies, &supposed).await))
}

async fn all(store: &impl Store, place: &Place<'_>) -> Result<Vec<PolicyRow>, ApiError> {
    let sql = format!("{COLUMNS} ORDER BY created_at, id");
    Ok(store.rows(Statement::new(sql, [place.key.into()])).await?)
}

async fn existing(store: &impl Store, place: &Place<'_>, id: &str) -> Result<PolicyRow, ApiError> {
    let row = Statement::new(format!("{COLUMNS} AND id = ?2"), [place.key.into(), id.into()]);
    store.row::<PolicyRow>(row).await?.ok_or_else(ApiError::not_found)
}

/// A policy as it is stored, once it makes sense.
fn checked(given: &Map<String, Value>) -> Result<String, ApiError> {
    stored::read(given)?;
    Ok(Value::Object(given.clone()).to_string())
}

fn members(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// An answer with members beside its `result`.
fn with(members: Value) -> Reply {
    let mut whole = json!({ "success": true, "errors": [], "messages": [] });
    if let (Some(whole), Value::Object(members)) = (whole.as_object_mut(), members) {
        whole.extend(members);
    }
    Reply::json(200, &whole)
}

// === impl PolicyRow ===

impl PolicyRow {
    /// As answers have it; `None` for one that is only staged where drafts are not wanted. A draft is marked with `mark`.
    fn shown(&self, with_drafts: bool, mark: &str) -> Option<Value> {
        let draft = self.draft.as_ref().filter(|_| with_drafts);
        let mut shown = Map::from_iter([("id".to_owned(), Value::from(self.id.as_str()))]);
        let given = members(draft.or(self.live.as_ref())?);
        for field in FIELDS {
            let missing = if *field == "condition" { "true".into() } else { Value::Null };
            shown.insert(
                (*field).to_owned(),
                given.get(*field).filter(|value| !value.is_null()).cloned().unwrap_or(missing),
            );
        }
        shown.insert("created_at".to_owned(), (self.created_at / 1_000).into());
        shown.insert("updated_at".to_owned(), (self.updated_at / 1_000).into());
        if draft.is_some() {
            shown.insert(mark.to_owned(), true.into());
        }
        Some(Value::Object(shown))
    }
}

#[cfg(test)]
mod tests;
