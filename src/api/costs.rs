//! `/accounts/{account}/ai-gateway/custom-providers/costs`: prices that an account sets, for its custom providers and for
//! the built-in ones.

use super::cost_rates::{rate, token_pricing};
use super::{object, only};
use crate::api::effect::{Effect, Handled};
use crate::base::id;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::params::flag;
use crate::http::query::Query;
use crate::pricing::rules::{FROM, Matching};
use crate::providers::table;
use crate::providers::upstream::PREFIX;
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

const FIELDS: &[&str] =
    &["account_provider_id", "model", "model_rule", "cost_in", "cost_out", "cost_type", "enable", "token_pricing"];

/// What answers show and no request can change.
const SHOWN: &[&str] = &["id", "provider", "weight", "changed_by", "created_at", "modified_at"];

const COLUMNS: &str = "rule.id, rule.account_provider_id, coalesce('custom-' || own.slug, rule.account_provider_id) AS provider, \
     rule.model, rule.model_rule, rule.weight, rule.cost_in, rule.cost_out, rule.token_pricing, rule.enable, \
     rule.created_at, rule.modified_at";

row! {
    #[derive(Clone, Debug)]
    struct CostRow {
        id: String,
        account_provider_id: String,
        provider: String,
        model: String,
        model_rule: String,
        weight: i64,
        cost_in: Option<f64>,
        cost_out: Option<f64>,
        token_pricing: Option<String>,
        enable: u8,
        created_at: u64,
        modified_at: u64,
    }
}

/// A price as answers show it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    account_provider_id: &'a str,
    provider: &'a str,
    model: &'a str,
    model_rule: &'a str,
    cost_type: &'static str,
    enable: bool,
    changed_by: &'static str,
    weight: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_in: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_out: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_pricing: Option<&'a str>,
    created_at: String,
    modified_at: String,
}

row! {
    /// A provider as rules refer to it, and as logs name it.
    struct Provider {
        id: String,
        provider: String,
    }
}

/// `GET /accounts/{account}/ai-gateway/custom-providers/costs`
pub async fn list(store: &impl Store, account: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    if let Some(rule) = query.get("model_rule").filter(|rule| Matching::parse(rule).is_none()) {
        return Err(ApiError::invalid(["query", "model_rule"], format!("'{rule}' is none of {}", rules())));
    }
    let matching = format!(
        "{FROM} WHERE rule.account_id = ?1 AND (?2 IS NULL OR rule.enable = ?2) \
         AND (?3 IS NULL OR ?3 IN (rule.account_provider_id, 'custom-' || own.slug)) \
         AND (?4 IS NULL OR rule.model_rule = ?4) AND (?5 IS NULL OR ?5 = 'tokens') AND instr(lower(rule.model), lower(?6)) > 0"
    );
    let binds = vec![
        account.into(),
        flag(query, "enable")?.into(),
        query.get("account_provider_id").into(),
        query.get("model_rule").into(),
        query.get("cost_type").into(),
        query.get("search").unwrap_or("").into(),
    ];
    let (rows, info) = page.read::<CostRow>(store, COLUMNS, &matching, "rule.id DESC", binds).await?;
    let shown: Vec<Shown<'_>> = rows.iter().map(CostRow::show).collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/custom-providers/costs/{id}`
pub async fn get(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(existing(store, account, id).await?.show()))
}

/// `POST /accounts/{account}/ai-gateway/custom-providers/costs`
pub async fn create(
    store: &impl Store,
    account: &str,
    body: &[u8],
    new_id: &str,
    actor: &Actor<'_>,
    bound: &Most,
) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
    let body = object(body)?;
    only(&body, FIELDS, &["body"])?;
    let provider = provider(store, account, &body).await?;
    if !body.contains_key("model") {
        return Err(ApiError::invalid(["body", "model"], "Required"));
    }
    let fresh = CostRow {
        id: id::uuid(new_id),
        account_provider_id: provider.id,
        provider: provider.provider,
        model: String::new(),
        model_rule: "equals".to_owned(),
        weight: 0,
        cost_in: None,
        cost_out: None,
        token_pricing: None,
        enable: 1,
        created_at: actor.now_ms,
        modified_at: actor.now_ms,
    };
    let row = fresh.changed(&body)?;
    let sql = "INSERT INTO price_rules (id, account_id, account_provider_id, model, model_rule, weight, cost_in, cost_out, \
         token_pricing, enable, created_at, modified_at) SELECT ?1, ?2, ?11, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10 \
         WHERE (SELECT count(*) FROM price_rules WHERE account_id = ?2) < ?12";
    let mut binds = row.binds(account);
    binds.extend([row.account_provider_id.as_str().into(), bound.bind()]);
    let audit = actor.row(&change("cost.create", account, &row.id, &body));
    let changed = store.batch(vec![Statement::new(sql, binds), audit]).await?;
    if changed.first() != Some(&1) {
        return Err(bound.reached());
    }
    Ok(Reply::result(row.show()))
    })
    .await
}

/// `PATCH /accounts/{account}/ai-gateway/custom-providers/costs/{id}`
///
/// Changes the fields that the body names; null resets one.
pub async fn update(store: &impl Store, account: &str, id: &str, body: &[u8], actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let old = existing(store, account, id).await?;
        let mut body = object(body)?;
        body.retain(|name, _| !SHOWN.contains(&name.as_str()));
        only(&body, FIELDS, &["body"])?;
        if body.get("account_provider_id").is_some_and(|given| *given != old.account_provider_id) {
            let rule = "A price stays with its provider: delete it, and make another";
            return Err(ApiError::invalid(["body", "account_provider_id"], rule));
        }
        let new = CostRow { modified_at: actor.now_ms, ..old.changed(&body)? };
        let sql = "UPDATE price_rules SET model = ?3, model_rule = ?4, weight = ?5, cost_in = ?6, cost_out = ?7, \
         token_pricing = ?8, enable = ?9, modified_at = ?10 WHERE id = ?1 AND account_id = ?2";
        let audit = actor.row(&change("cost.update", account, id, &body));
        store.batch(vec![Statement::new(sql, new.binds(account)), audit]).await?;
        Ok(Reply::result(new.show()))
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/custom-providers/costs/{id}`
pub async fn delete(store: &impl Store, account: &str, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let row = existing(store, account, id).await?;
        let delete =
            Statement::new("DELETE FROM price_rules WHERE id = ?1 AND account_id = ?2", [id.into(), account.into()]);
        store.batch(vec![delete, actor.row(&change("cost.delete", account, id, &Map::new()))]).await?;
        Ok(Reply::result(row.show()))
    })
    .await
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<CostRow, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE rule.id = ?1 AND rule.account_id = ?2");
    store.row::<CostRow>(Statement::new(sql, [id.into(), account.into()])).await?.ok_or_else(ApiError::not_found)
}

/// The provider of a body: a built-in one by its slug, one of the account's own by its id, or by its slug with `custom-`.
async fn provider(store: &impl Store, account: &str, body: &Map<String, Value>) -> Result<Provider, ApiError> {
    let given = body.get("account_provider_id").and_then(Value::as_str).unwrap_or("");
    if let Some(built_in) = table::find(given) {
        let slug = built_in.slug.to_owned();
        return Ok(Provider { id: slug.clone(), provider: slug });
    }
    let sql = "SELECT id, 'custom-' || slug AS provider FROM custom_providers \
         WHERE account_id = ?1 AND (id = ?2 OR 'custom-' || slug = ?2)";
    let found = store.row::<Provider>(Statement::new(sql, [account.into(), given.into()])).await?;
    // The document of a rehearsal makes it.
    let supposed = || {
        (store.is_rehearsal() && given.starts_with(PREFIX))
            .then(|| Provider { id: given.to_owned(), provider: given.to_owned() })
    };
    found.or_else(supposed).ok_or_else(|| {
        let rule = "Expected the id of a custom provider of this account, or the slug of a built-in provider";
        ApiError::invalid(["body", "account_provider_id"], rule)
    })
}

fn change<'a>(action: &'static str, account: &'a str, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: None, target, fields: audit::fields(body) }
}

fn rules() -> String {
    let names: Vec<String> = Matching::ALL.iter().map(|(name, _)| format!("'{name}'")).collect();
    names.join(" | ")
}

// === impl Row ===

impl CostRow {
    /// The row with what a body changes in it.
    fn changed(&self, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut new = self.clone();
        match body.get("model") {
            None => {}
            Some(Value::String(model)) if (1..=200).contains(&model.trim().chars().count()) => {
                new.model = model.trim().to_owned();
            }
            Some(_) => {
                return Err(ApiError::invalid(["body", "model"], "Expected 1 to 200 characters of a model's name"));
            }
        }
        new.model_rule = match body.get("model_rule") {
            None => new.model_rule,
            Some(Value::Null) => "equals".to_owned(),
            Some(Value::String(rule)) if Matching::parse(rule).is_some() => rule.clone(),
            Some(_) => return Err(ApiError::invalid(["body", "model_rule"], format!("Expected {}", rules()))),
        };
        new.weight = Matching::parse(&new.model_rule).map_or(0, |rule| rule.weight(&new.model));
        if let Some(value) = body.get("cost_in") {
            new.cost_in = rate(value, &["cost_in"])?;
        }
        if let Some(value) = body.get("cost_out") {
            new.cost_out = rate(value, &["cost_out"])?;
        }
        if let Some(value) = body.get("token_pricing") {
            new.token_pricing = token_pricing(value)?;
        }
        if !matches!(body.get("cost_type").and_then(Value::as_str).unwrap_or("tokens"), "tokens")
            || body.get("cost_type").is_some_and(|kind| !kind.is_string() && !kind.is_null())
        {
            return Err(ApiError::invalid(["body", "cost_type"], "Expected 'tokens', the only type there is"));
        }
        new.enable = match body.get("enable") {
            None => new.enable,
            Some(Value::Null) => 1,
            Some(Value::Bool(enable)) => u8::from(*enable),
            Some(_) => return Err(ApiError::invalid(["body", "enable"], "Expected true or false")),
        };
        if new.cost_in.or(new.cost_out).is_none() && new.token_pricing.is_none() {
            let rule = "Expected a rate: cost_in, cost_out or token_pricing, 0 for what costs nothing";
            return Err(ApiError::invalid(["body", "cost_in"], rule));
        }
        Ok(new)
    }

    fn binds(&self, account: &str) -> Vec<Bind> {
        vec![
            self.id.as_str().into(),
            account.into(),
            self.model.as_str().into(),
            self.model_rule.as_str().into(),
            self.weight.into(),
            self.cost_in.into(),
            self.cost_out.into(),
            self.token_pricing.as_deref().into(),
            Bind::Int(self.enable.into()),
            Bind::Int(self.modified_at as i64),
        ]
    }

    fn show(&self) -> Shown<'_> {
        Shown {
            id: &self.id,
            account_provider_id: &self.account_provider_id,
            provider: &self.provider,
            model: &self.model,
            model_rule: &self.model_rule,
            cost_type: "tokens",
            enable: self.enable == 1,
            changed_by: "manual",
            weight: self.weight,
            cost_in: self.cost_in,
            cost_out: self.cost_out,
            token_pricing: self.token_pricing.as_deref(),
            created_at: timestamp::format(self.created_at),
            modified_at: timestamp::format(self.modified_at),
        }
    }
}

#[cfg(test)]
mod tests;
