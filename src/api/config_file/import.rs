//! Carries a document out: everything is rehearsed before anything is written.

use super::document::{document, refused};
use super::plan::{MADE, Plan, Terms};
use super::step::Step;
use super::{Ask, Asking, Current, answer, at_account, list_of, text_of};
use crate::api::effect::{Effect, Handled};
use crate::api::object;
use crate::base::json::json;
use crate::db::store::StoreError;
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::flag;
use crate::http::query::Query;
use serde_json::{Map, Value};

/// So much is rehearsed, and written, for one request: D1 answers a thousand statements in an invocation.
const MAX_STEPS: usize = 300;
const AT_ONCE: usize = 60;

/// `PUT /accounts/{account}/ai-gateway/import`
///
/// Makes the account what a document says. With `dry_run` it only shows what that changes; with `prune` what the document's lists do not
/// have is deleted. With `gateway` the document is about that one alone. Each change is written by itself, so an import that was
/// interrupted goes on when the document is sent again.
pub async fn import(account: &str, query: &Query, body: &[u8], ask: &Asking<'_>) -> Handled {
    let mut effects = Vec::new();
    let reply = imported(account, query, body, ask, &mut effects).await;
    Handled { reply, effects }
}

async fn imported(
    account: &str,
    query: &Query,
    body: &[u8],
    ask: &Asking<'_>,
    effects: &mut Vec<Effect>,
) -> Result<Reply, ApiError> {
    let dry_run = flag(query, "dry_run")?.unwrap_or(false);
    let terms = Terms { account, only: query.get("gateway"), prune: flag(query, "prune")?.unwrap_or(false) };
    let mut document = document(object(body)?, terms.only)?;
    if terms.only.is_some() {
        document.retain(|name, _| matches!(name.as_str(), "tollgate" | "gateways"));
    }
    let is_named = |id: &str| list_of(&document, "gateways").iter().any(|gateway| text_of(gateway, "id") == id);
    let current = Current::read(account, terms.only, &is_named, ask).await?;
    let mut plan = Plan::of(&document, &current, &terms)?;
    catalogue(&mut plan, &document, account, ask).await?;
    if plan.steps.len() > MAX_STEPS {
        let rule = format!(
            "The document makes {} changes, and a request at most {MAX_STEPS}. Send its gateways one by one, each with ?gateway=",
            plan.steps.len()
        );
        return Err(refused(&[], rule));
    }
    for step in &plan.steps {
        rehearse(step, ask).await?;
    }
    let written = if dry_run { 0 } else { plan.steps.len().min(AT_ONCE) };
    for (done, step) in plan.steps.iter().take(written).enumerate() {
        carry_out(step, ask, effects).await.map_err(|error| {
            error.with(|error| {
                let (kind, name) = (step.kind, &step.name);
                let rest = format!(
                    "Before {kind} '{name}' {done} of {} changes were made; send the document again to go on",
                    plan.steps.len()
                );
                error.message = format!("{}. {rest}", error.message.trim_end_matches('.'));
            })
        })?;
    }
    Ok(shown(&plan, dry_run, terms.prune, if dry_run { 0 } else { plan.steps.len() - written }))
}

/// The catalogue merges what it is sent, and says what that changes.
async fn catalogue(
    plan: &mut Plan,
    document: &Map<String, Value>,
    account: &str,
    ask: &Asking<'_>,
) -> Result<(), ApiError> {
    let given =
        document.get("catalogue").filter(|given| given.get("prices").is_some_and(|prices| *prices != json!([])));
    let Some(given) = given else { return Ok(()) };
    let place = ["catalogue".to_owned()];
    let asked = |path: &str| Ask {
        method: "PUT",
        path: at_account(account, path),
        body: given.to_string(),
        is_rehearsal: false,
    };
    let said = answer(ask, asked("catalogue?dry_run=true")).await.map_err(|error| placed(error, &place))?;
    let changed = said.pointer("/result/changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if changed.is_empty() {
        plan.unchanged += 1;
        return Ok(());
    }
    let mut changes = Map::new();
    for change in changed {
        let field = |name: &str| change.get(name).unwrap_or(&Value::Null);
        let model = format!("{}/{}", text_of(change, "provider"), text_of(change, "model"));
        changes.insert(model, json!({ "from": field("before"), "to": field("after") }));
    }
    let step = Step {
        action: "update",
        kind: "catalogue",
        gateway: None,
        name: "catalogue".to_owned(),
        changes: Value::Object(changes),
        place: place.into(),
        asks: vec![asked("catalogue")],
    };
    plan.steps.insert(0, step);
    Ok(())
}

/// Has a step checked by the route that is going to carry it out.
async fn rehearse(step: &Step, ask: &Asking<'_>) -> Result<(), ApiError> {
    let Some(first) = step.asks.first() else { return Ok(()) };
    match ask(Ask { is_rehearsal: true, ..first.clone() }).await.reply {
        Ok(_) => Ok(()),
        Err(error) if StoreError::is_rehearsed(error.cause.as_deref()) => Ok(()),
        Err(error) => Err(placed(error, &step.place).with(|error| {
            error.message = format!("{}. Nothing was changed", error.message.trim_end_matches('.'));
        })),
    }
}

async fn carry_out(step: &Step, ask: &Asking<'_>, effects: &mut Vec<Effect>) -> Result<(), ApiError> {
    let mut made = String::new();
    for asked in &step.asks {
        let asked = Ask { body: asked.body.replace(MADE, &made), ..asked.clone() };
        let Handled { reply, effects: left } = ask(asked).await;
        for effect in left {
            if !effects.contains(&effect) {
                effects.push(effect);
            }
        }
        let reply = reply.map_err(|error| placed(error, &step.place))?;
        let said: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        made = said.pointer("/result/version/version_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    Ok(())
}

/// An error of a resource's own route, with the place in the document in the stead of that in the route's body.
fn placed(error: ApiError, place: &[String]) -> ApiError {
    error.with(|error| {
        let within = error.path.iter().position(|step| step == "body").map_or(0, |at| at + 1);
        let rest = error.path.split_off(within.min(error.path.len()));
        // The document names a price's provider as logs do.
        let rest =
            rest.into_iter().map(|step| if step == "account_provider_id" { "provider".to_owned() } else { step });
        error.path = ["body".to_owned()].into_iter().chain(place.iter().cloned()).chain(rest).collect();
    })
}

fn shown(plan: &Plan, dry_run: bool, prune: bool, remaining: usize) -> Reply {
    let of = |action: &str| plan.steps.iter().filter(|step| step.action == action).count();
    Reply::result(json!({
        "dry_run": dry_run, "prune": prune, "create": of("create"), "update": of("update"), "delete": of("delete"),
        "unchanged": plan.unchanged, "not_in_document": plan.others, "remaining": remaining,
        "changes": plan.steps.iter().map(Step::shown).collect::<Vec<Value>>(), "warnings": plan.warnings,
    }))
}
