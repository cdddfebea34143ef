//! Where a gateway's spans go: what the setting `otel` leaves beside the settings, and what became of the spans.

use super::object;
use crate::api::effect::Handled;
use crate::api::gateways;
use crate::api::logpush;
use crate::api::request::Request;
use crate::api::shell::{Shell, guard};
use crate::base::json::json;
use crate::base::timestamp;
use crate::credentials::vault::{Sealed, Vault};
use crate::db::databases::Databases;
use crate::db::store::{Bind, Statement, Store, row};
use crate::gateways::exporters;
use crate::gateways::gateway::{self, Gateway};
use crate::gateways::settings::GatewaySettings;
use crate::http::envelope::{ApiError, Reply};
use crate::limit::rules;
use crate::providers::{address, upstream};
use crate::telemetry::destination;
use serde_json::{Map, Value};

row! {
    struct Kept {
        id: String,
        secret: Option<String>,
        key_id: Option<String>,
    }
}

row! {
    struct Figures {
        id: String,
        exported: u64,
        rejected: u64,
        dropped: u64,
        exported_at: Option<u64>,
        failed_at: Option<u64>,
        error: Option<String>,
    }
}

/// A destination as a request names it, whose host was looked at.
struct Place {
    id: String,
    origin: String,
    /// Its headers; `None` where what is kept of them holds.
    secrets: Option<Map<String, Value>>,
    checked: bool,
}

/// What a body says of destinations.
struct Named {
    /// `None` where they are those that there are.
    places: Option<Vec<Place>>,
    /// The body with the ids of all destinations.
    body: Vec<u8>,
}

/// [`gateways::create`], with the destinations that the body names.
pub async fn create(
    databases: &impl Databases,
    shell: &impl Shell,
    request: &Request<'_>,
) -> Result<Handled, ApiError> {
    let (account, bound) = (request.route.account, &request.bounds.gateways);
    let named = named(shell, request, None).await?;
    let body = named.as_ref().map_or(request.body, |named| &named.body);
    let made = gateways::create(databases, account, body, &request.actor(), request.new_id.clone(), bound).await;
    let Some(named) = named.as_ref().filter(|_| made.reply.is_ok()) else { return Ok(made) };
    let store = databases.first();
    let id = object(body)?.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let gateway = gateway::find(store, account, &id).await?.ok_or_else(ApiError::not_found)?;
    let rows = sealed(store, &shell.vault(), &gateway, named.places.as_deref().unwrap_or_default()).await?;
    store.batch(kept(&gateway, rows)).await?;
    Ok(made)
}

/// [`gateways::update`], with the destinations that the body names.
pub async fn update(store: &impl Store, shell: &impl Shell, request: &Request<'_>) -> Result<Handled, ApiError> {
    let (account, id, actor) = (request.route.account, request.route.gateway, &request.actor());
    let body = object(request.body).unwrap_or_default();
    let names = |all: &[&str]| all.iter().any(|name| body.contains_key(*name));
    let has_otel = names(&["otel"]);
    let gateway = match has_otel || names(logpush::FORM) {
        true => gateway::find(store, account, id).await?,
        false => None,
    };
    if let Some(gateway) = &gateway {
        logpush::may_change(request.caller, &gateway.settings, &body)?;
    }
    let gateway = gateway.filter(|_| has_otel);
    let named = match &gateway {
        Some(gateway) => {
            let sql = "SELECT id FROM otel_destinations WHERE gateway = ?1";
            let rows = store.ids(Statement::new(sql, [gateway.key.into()])).await?;
            let is_active = gateway.settings.otel.as_array().is_none_or(|all| all.len() <= rows.len());
            named(shell, request, Some((&gateway.settings, is_active))).await?
        }
        None => None,
    };
    let (Some(gateway), Some(named)) = (gateway, named) else {
        return Ok(gateways::update(store, account, id, (request.body, request.if_match), actor).await);
    };
    let rows = match &named.places {
        Some(places) => Some(sealed(store, &shell.vault(), &gateway, places).await?),
        None => None,
    };
    let done = gateways::update(store, account, id, (&named.body, request.if_match), actor).await;
    if let Some(rows) = rows.filter(|_| done.reply.is_ok())
        && let Some(now) = gateway::find(store, account, id).await?
    {
        store.batch(kept(&now, rows)).await?;
    }
    Ok(done)
}

/// The destinations that a body names, if it names any.
async fn named(
    shell: &impl Shell,
    request: &Request<'_>,
    stored: Option<(&GatewaySettings, bool)>,
) -> Result<Option<Named>, ApiError> {
    // What is wrong with the body the handler says.
    let Ok(mut body) = object(request.body) else { return Ok(None) };
    let given = body.get("otel").cloned().unwrap_or_default();
    if stored.is_none() && given.is_null() || destination::check(&given).is_err() && !given.is_null() {
        return Ok(None);
    }
    let known = stored.map_or(&Value::Null, |(stored, _)| &stored.otel);
    let mut otel = given.clone();
    adopt_ids(&mut otel, known);
    rules::mint_ids(&mut otel, &request.new_id);
    let brings_secrets = |one: &Value| destination::secrets(one).is_some_and(|secrets| !secrets.is_empty());
    let listed = |setting: &Value| setting.as_array().cloned().unwrap_or_default();
    let given = listed(&given);
    let mut masked = otel.clone();
    destination::mask(&mut masked);
    body.insert("otel".to_owned(), otel.clone());
    let body = Value::Object(body).to_string().into_bytes();
    // What an older version stored, or a document of the whole account, is looked at once it can be sent to.
    let is_active = stored.is_some_and(|(_, is_active)| is_active) || !request.caller.is_admin();
    let is_left = is_active || given.iter().any(|one| destination::secrets(one).is_none());
    if listed(&masked) == listed(known) && !given.iter().any(brings_secrets) && is_left {
        return Ok(Some(Named { places: None, body }));
    }
    if !request.caller.is_admin() {
        let message = "Only the admin token may change otel: it says who is sent what this gateway is asked. Leave it out, or send it as it is";
        return Err(ApiError::forbidden(message));
    }
    let mut places = Vec::new();
    for (place, (one, named)) in given.iter().zip(listed(&otel)).enumerate() {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, url, place) = (text(&named, "id"), text(one, "url"), place.to_string());
        let wrong = |rule: String| ApiError::invalid(["body", "otel", &place, "url"], rule.replace("base_url", "url"));
        let origin = address::origin(&url).map_err(|rule| wrong(rule.to_owned()))?;
        let name = origin.name().filter(|_| !origin.is_internal()).map(str::to_owned);
        let guard = guard(shell, request, name).await;
        let checked = upstream::storable(&origin, guard.internal_allowed, &guard.found).map_err(wrong)?;
        let secrets = destination::secrets(one);
        if secrets.is_none() && stored.is_none() {
            return Err(unknown_secret(&place));
        }
        places.push(Place { id, origin: address::origin_of(&url).to_owned(), secrets, checked });
    }
    if shell.vault().current().is_none() && given.iter().any(brings_secrets) {
        let message = "The headers of otel are kept sealed, for which the operator has to set ENCRYPTION_KEY";
        return Err(ApiError::unavailable(message));
    }
    Ok(Some(Named { places: Some(places), body }))
}

fn unknown_secret(place: &str) -> ApiError {
    let rule = "A header is masked, and Tollgate keeps none of this destination and host: give all headers anew";
    ApiError::invalid(["body", "otel", place, "headers"], rule)
}

/// Destinations without an id have that of the stored one with their URL.
fn adopt_ids(given: &mut Value, stored: &Value) {
    let url_of = |value: &Value| value.get("url").cloned().unwrap_or_default();
    let id_of = |value: &Value| value.get("id").and_then(Value::as_str).map(str::to_owned);
    let mut taken: Vec<String> = given.as_array().into_iter().flatten().filter_map(id_of).collect();
    for one in given.as_array_mut().into_iter().flatten() {
        let url = url_of(one);
        let mut known = stored.as_array().into_iter().flatten().filter(|known| url_of(known) == url).filter_map(id_of);
        if id_of(one).is_none()
            && let Some(id) = known.find(|id| !taken.contains(id))
            && let Some(members) = one.as_object_mut()
        {
            taken.push(id.clone());
            members.insert("id".to_owned(), id.into());
        }
    }
}

/// The rows of destinations, sealed. What is masked stays as it is kept.
async fn sealed(
    store: &impl Store,
    vault: &impl Vault,
    gateway: &Gateway,
    places: &[Place],
) -> Result<Vec<Value>, ApiError> {
    let sql = "SELECT id, secret, key_id FROM otel_destinations WHERE gateway = ?1";
    let before: Vec<Kept> = store.rows(Statement::new(sql, [gateway.key.into()])).await?;
    let origin_of = |id: &str| {
        let mut all = gateway.settings.otel.as_array().into_iter().flatten();
        let one = all.find(|one| one.get("id").is_some_and(|known| known == id));
        one.and_then(|one| one.get("url")?.as_str()).map(address::origin_of)
    };
    let mut rows = Vec::new();
    for (number, Place { id, origin, secrets, checked }) in places.iter().enumerate() {
        let sealed = match secrets {
            Some(secrets) if secrets.is_empty() => None,
            Some(secrets) => {
                let bound = exporters::bound(&gateway.account_id, gateway.key, id, origin);
                let plain = Value::Object(secrets.clone()).to_string();
                let Sealed { text, key_id } = vault.seal(&plain, &bound).await.map_err(ApiError::unavailable)?;
                Some((text, key_id))
            }
            None => {
                // A secret goes to no other host than the one it was given for.
                let known = before.iter().find(|known| known.id == *id && origin_of(id) == Some(origin.as_str()));
                let known = known.and_then(|known| known.secret.clone().zip(known.key_id.clone()));
                Some(known.ok_or_else(|| unknown_secret(&number.to_string()))?)
            }
        };
        let (text, key_id) = sealed.unzip();
        rows.push(json!([id, text, key_id, u8::from(*checked)]));
    }
    Ok(rows)
}

/// The statements that keep rows of destinations in the place of those that there are, unless the gateway was changed meanwhile.
fn kept(gateway: &Gateway, rows: Vec<Value>) -> Vec<Statement> {
    let rows = Value::from(rows).to_string();
    let is_current = "EXISTS (SELECT 1 FROM gateways WHERE key = ?1 AND modified_at = ?3)";
    let binds = || [gateway.key.into(), rows.as_str().into(), Bind::Int(gateway.modified_at as i64)];
    let others = format!(
        "DELETE FROM otel_destinations WHERE gateway = ?1 AND id NOT IN (SELECT value->>0 FROM json_each(?2)) AND {is_current}"
    );
    let insert = format!(
        "INSERT INTO otel_destinations (gateway, id, secret, key_id, checked) \
         SELECT ?1, value->>0, value->>1, value->>2, value->>3 FROM json_each(?2) WHERE {is_current} \
         ON CONFLICT (gateway, id) DO UPDATE SET secret = excluded.secret, key_id = excluded.key_id, checked = excluded.checked"
    );
    vec![Statement::new(others, binds()), Statement::new(insert, binds())]
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/telemetry`
///
/// What became of the spans, by destination.
pub async fn get(store: &impl Store, gateway: &Gateway) -> Result<Reply, ApiError> {
    let sql = "SELECT id, exported, rejected, dropped, exported_at, failed_at, error FROM otel_destinations WHERE gateway = ?1";
    let rows: Vec<Figures> = store.rows(Statement::new(sql, [gateway.key.into()])).await?;
    let shown = gateway.settings.otel.as_array().into_iter().flatten().map(|one| {
        let row = rows.iter().find(|row| one.get("id").is_some_and(|id| *id == row.id.as_str()));
        let sum = |figure: fn(&Figures) -> u64| row.map_or(0, figure);
        let time = |figure: fn(&Figures) -> Option<u64>| row.and_then(figure).map(timestamp::format);
        json!({
            "id": one.get("id"), "url": one.get("url"), "active": row.is_some(),
            "exported": sum(|row| row.exported), "rejected": sum(|row| row.rejected), "dropped": sum(|row| row.dropped),
            "exported_at": time(|row| row.exported_at), "failed_at": time(|row| row.failed_at),
            "error": row.and_then(|row| row.error.as_deref()),
        })
    });
    Ok(Reply::result(shown.collect::<Vec<Value>>()))
}
