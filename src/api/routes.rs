//! `…/routes`: dynamic routes, their versions, and which of these is in use. Answers have the shapes that Cloudflare's SDKs read:
//! lists stand in `data`, and what a PATCH answers in `route`.

use super::{Place, name, object, only};
use crate::api::effect::Handled;
use crate::base::json::json;
use crate::base::{id, timestamp};
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::providers::table;
use crate::routes::deployed;
use crate::routes::graph::{Graph, Kind};
use serde_json::{Map, Value};

/// An isolate reads all routes of a gateway as one row, for which D1 allows 2 MB.
const MAX_ROUTES: i64 = 50;
pub(super) const MAX_VERSIONS: i64 = 1_000;
pub(super) const MAX_PER_PAGE: u64 = 100;

/// The elements of a version as JSON, in bytes.
pub const MAX_ELEMENTS: usize = 16_384;

/// A route, with the version that is in use.
const FOUND: &str = "r.id, r.name, r.created_at, r.modified_at, r.learned, r.version, r.deployment, v.elements, \
     v.created_at AS version_created_at, d.created_at AS deployed_at";
const OF: &str = "routes r JOIN route_versions v ON v.id = r.version JOIN route_deployments d ON d.id = r.deployment";

row! {
    pub(super) struct Route {
        pub(super) id: String,
        pub(super) name: String,
        pub(super) created_at: u64,
        pub(super) modified_at: u64,
        pub(super) learned: String,
        pub(super) version: String,
        pub(super) deployment: String,
        pub(super) elements: String,
        pub(super) version_created_at: u64,
        pub(super) deployed_at: u64,
    }
}

row! {
    pub(super) struct Version {
        pub(super) id: String,
        pub(super) created_at: u64,
        pub(super) elements: String,
        pub(super) active: u8,
    }
}

row! {
    pub(super) struct Deployment {
        pub(super) id: String,
        pub(super) version: String,
        pub(super) created_at: u64,
    }
}

/// Ids for what a request creates beside the route itself.
pub struct NewIds {
    pub route: String,
    pub version: String,
    pub deployment: String,
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/routes`
pub async fn list(store: &impl Store, place: &Place<'_>, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let matching = format!("{OF} WHERE r.gateway = ?1");
    let (rows, _) = page.read::<Route>(store, FOUND, &matching, "r.name, r.id", vec![place.key.into()]).await?;
    let shown = rows.iter().map(|route| {
        let mut shown = route.show(place);
        shown.insert("account_tag".to_owned(), place.account.into());
        Value::Object(shown)
    });
    Ok(listed("routes", shown.collect(), "name", page))
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/routes`
///
/// Makes a route. Its first version is in use at once.
pub async fn create(store: &impl Store, place: &Place<'_>, body: &[u8], ids: &NewIds, actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        let body = object(body)?;
        only(&body, &["elements", "name"], &["body"])?;
        let name = route_name(&body)?;
        let elements = elements(&body)?;
        let at = Bind::Int(actor.now_ms as i64);
        let insert = Statement::new(
            "INSERT INTO routes (id, gateway, name, version, deployment, created_at, modified_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6 \
             WHERE (SELECT count(*) FROM routes WHERE gateway = ?2) < ?7 ON CONFLICT (gateway, name) DO NOTHING",
            [
                ids.route.as_str().into(),
                place.key.into(),
                name.into(),
                ids.version.as_str().into(),
                ids.deployment.as_str().into(),
                at.clone(),
                Bind::Int(MAX_ROUTES),
            ],
        );
        let trail = actor.row(&place.change("route.create", &ids.route, &body));
        let version = new_version(&ids.route, &ids.version, elements, at.clone());
        let deployment = new_deployment(&ids.route, &ids.version, &ids.deployment, at);
        let changed = store.batch(vec![insert, trail, version, deployment]).await?;
        if changed.first() != Some(&1) {
            return Err(taken_or_full(store, place, name).await?);
        }
        Ok(Reply::result(existing(store, place, &ids.route).await?.show(place)))
    })
    .await
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}`
pub async fn get(store: &impl Store, place: &Place<'_>, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(existing(store, place, id).await?.show(place)))
}

/// `PATCH /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}`
///
/// Gives a route another name. Its elements change with a new version.
pub async fn update(store: &impl Store, place: &Place<'_>, id: &str, body: &[u8], actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        existing(store, place, id).await?;
        let body = object(body)?;
        only(&body, &["name"], &["body"])?;
        let name = route_name(&body)?;
        let update = Statement::new(
            "UPDATE OR IGNORE routes SET name = ?3, modified_at = ?4 WHERE id = ?1 AND gateway = ?2",
            [id.into(), place.key.into(), name.into(), Bind::Int(actor.now_ms as i64)],
        );
        let changed = store.batch(vec![update, actor.row(&place.change("route.update", id, &body))]).await?;
        if changed.first() != Some(&1) {
            return Err(taken_or_full(store, place, name).await?);
        }
        let mut shown = existing(store, place, id).await?.show(place);
        shown.insert("account_tag".to_owned(), place.account.into());
        Ok(Reply::json(200, &json!({ "success": true, "route": shown })))
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}`
pub async fn delete(store: &impl Store, place: &Place<'_>, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        let route = existing(store, place, id).await?;
        let of = |sql: &'static str| Statement::new(sql, [id.into()]);
        let delete = "DELETE FROM routes WHERE id = ?1 AND gateway = ?2";
        store
            .batch(vec![
                Statement::new(delete, [id.into(), place.key.into()]),
                actor.row(&place.change("route.delete", id, &Map::new())),
                of("DELETE FROM route_versions WHERE route = ?1"),
                of("DELETE FROM route_deployments WHERE route = ?1"),
            ])
            .await?;
        Ok(Reply::result(route.short(place)))
    })
    .await
}

pub(super) async fn existing(store: &impl Store, place: &Place<'_>, id: &str) -> Result<Route, ApiError> {
    let sql = format!("SELECT {FOUND} FROM {OF} WHERE r.id = ?1 AND r.gateway = ?2");
    let found = store.row::<Route>(Statement::new(sql, [id.into(), place.key.into()])).await?;
    found.ok_or_else(ApiError::not_found)
}

/// The elements that a version has in use, or one that is named.
pub(super) async fn stored(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    version: Option<&str>,
) -> Result<(String, String, String), ApiError> {
    let route = existing(store, place, id).await?;
    let Some(version) = version else { return Ok((route.name, route.elements, route.learned)) };
    let sql = "SELECT elements AS id FROM route_versions WHERE id = ?1 AND route = ?2";
    let found = store.ids(Statement::new(sql, [version.into(), id.into()])).await?.into_iter().next();
    let wrong = || ApiError::invalid(["body", "version_id"], "The route has no such version");
    Ok((route.name, found.ok_or_else(wrong)?, route.learned))
}

/// These two follow statements that had to change the route first.
pub(super) fn new_version(route: &str, id: &str, elements: String, at: Bind) -> Statement {
    Statement::new(
        "INSERT INTO route_versions (id, route, created_at, elements) SELECT ?1, ?2, ?3, ?4 \
         WHERE EXISTS (SELECT 1 FROM routes WHERE id = ?2) AND (SELECT count(*) FROM route_versions WHERE route = ?2) < ?5",
        [id.into(), route.into(), at, elements.into(), Bind::Int(MAX_VERSIONS)],
    )
}

pub(super) fn new_deployment(route: &str, version: &str, id: &str, at: Bind) -> Statement {
    Statement::new(
        "INSERT INTO route_deployments (id, route, version, created_at) SELECT ?1, ?2, ?3, ?4 \
         WHERE EXISTS (SELECT 1 FROM routes WHERE id = ?2 AND deployment = ?1)",
        [id.into(), route.into(), version.into(), at],
    )
}

async fn taken_or_full(store: &impl Store, place: &Place<'_>, name: &str) -> Result<ApiError, ApiError> {
    let sql = "SELECT id FROM routes WHERE gateway = ?1 AND name = ?2";
    let taken = store.ids(Statement::new(sql, [place.key.into(), name.into()])).await?;
    Ok(match taken.is_empty() {
        true => ApiError::invalid(["body"], format!("A gateway may have {MAX_ROUTES} routes")),
        false => ApiError::invalid(["body", "name"], format!("The gateway already has a route '{name}'")),
    })
}

/// Callers write it behind `dynamic/`, also in a path.
fn route_name(body: &Map<String, Value>) -> Result<&str, ApiError> {
    let name = name(body)?;
    match name.chars().any(char::is_control) || name.starts_with("dynamic/") {
        true => {
            Err(ApiError::invalid(["body", "name"], "Expected a name without control characters and without dynamic/"))
        }
        false => Ok(name),
    }
}

/// The elements of a body as they are stored, once they are found to make a route.
pub(super) fn elements(body: &Map<String, Value>) -> Result<String, ApiError> {
    let given = body.get("elements").unwrap_or(&Value::Null);
    let refused = |path: &str, reason: String| ApiError::invalid(["body"].into_iter().chain(path.split('.')), reason);
    let graph = Graph::parse_new(given).map_err(|wrong| refused(&wrong.path, wrong.reason))?;
    for (place, element) in graph.elements.iter().enumerate() {
        let Kind::Model(model) = &element.kind else { continue };
        let refused = |name: &str, reason| refused(&format!("elements[{place}].properties.{name}"), reason);
        let slug = model.provider.as_str();
        if table::find(slug).is_none() && slug.strip_prefix("custom-").is_none_or(str::is_empty) {
            let hint = table::nearest(slug).map_or(String::new(), |nearest| format!(" Did you mean '{nearest}'?"));
            return Err(refused("provider", format!("Tollgate knows no provider '{slug}'.{hint}")));
        }
        let name = model.model.as_str();
        if name.trim() != name || name.chars().any(char::is_control) {
            return Err(refused(
                "model",
                "A model's name has no blanks around it and no control characters".to_owned(),
            ));
        }
        if name.to_ascii_lowercase().starts_with(deployed::PREFIX) {
            return Err(refused("model", format!("'{name}' is a route, and a route leads to models only")));
        }
    }
    let text = given.to_string();
    match text.len() <= MAX_ELEMENTS {
        true => Ok(text),
        false => Err(refused("elements", format!("Expected elements of at most {MAX_ELEMENTS} bytes of JSON"))),
    }
}

pub(super) fn listed(name: &str, rows: Vec<Value>, order_by: &str, page: Page) -> Reply {
    let direction = if order_by == "name" { "asc" } else { "desc" };
    let mut data = Map::new();
    data.insert(name.to_owned(), rows.into());
    data.insert("order_by".to_owned(), order_by.into());
    data.insert("order_by_direction".to_owned(), direction.into());
    data.insert("page".to_owned(), page.page.into());
    data.insert("per_page".to_owned(), page.per_page.into());
    Reply::json(200, &json!({ "success": true, "data": data }))
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

pub(super) fn deployment(id: &str, version: &str, at: u64) -> Value {
    json!({ "deployment_id": id, "version_id": version, "created_at": timestamp::format(at) })
}

// === impl NewIds ===

impl NewIds {
    pub fn new(route: &str, now_ms: u64, entropy: &[u8; 32]) -> Self {
        let (first, second) = entropy.split_at(16);
        let minted = |bytes: &[u8]| id::mint(now_ms, bytes.iter().fold(0, |sum, byte| (sum << 8) | u128::from(*byte)));
        Self { route: route.to_owned(), version: minted(first), deployment: minted(second) }
    }
}

// === impl Route ===

impl Route {
    pub(super) fn short(&self, place: &Place<'_>) -> Map<String, Value> {
        let shown = json!({
            "id": self.id,
            "name": self.name,
            "gateway_id": place.gateway,
            "created_at": timestamp::format(self.created_at),
            "modified_at": timestamp::format(self.modified_at),
            "elements": read(&self.elements),
        });
        if let Value::Object(fields) = shown { fields } else { Map::new() }
    }

    fn show(&self, place: &Place<'_>) -> Map<String, Value> {
        let mut shown = self.short(place);
        shown.insert("deployment".to_owned(), deployment(&self.deployment, &self.version, self.deployed_at));
        let (id, created_at, elements) = (self.version.clone(), self.version_created_at, self.elements.clone());
        shown.insert("version".to_owned(), Version { id, created_at, elements, active: 1 }.show().into());
        shown.insert("learned".to_owned(), read(&self.learned));
        shown
    }
}

// === impl Version ===

impl Version {
    pub(super) fn show(&self) -> Map<String, Value> {
        let shown = json!({
            "version_id": self.id,
            "active": if self.active == 1 { "true" } else { "false" },
            "created_at": timestamp::format(self.created_at),
            "data": self.elements,
            "is_valid": Graph::parse(&read(&self.elements)).is_ok(),
        });
        if let Value::Object(fields) = shown { fields } else { Map::new() }
    }
}

#[cfg(test)]
pub(super) mod tests;
