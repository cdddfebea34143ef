//! `…/routes/{id}/versions` and `…/deployments`: what a route was, and which of it is in use.

use super::routes::{Deployment, MAX_PER_PAGE, MAX_VERSIONS, NewIds, Route, Version};
use super::routes::{deployment, elements, existing, listed, new_deployment, new_version};
use super::{Place, object, only};
use crate::api::effect::Handled;
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use serde_json::Value;

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/versions`
pub async fn versions(store: &impl Store, place: &Place<'_>, id: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let route = existing(store, place, id).await?;
    let columns = "id, created_at, elements, id = ?2 AS active";
    let matching = "route_versions WHERE route = ?1 AND ?2 = ?2";
    let binds = vec![route.id.as_str().into(), route.version.as_str().into()];
    let (rows, _) = page.read::<Version>(store, columns, matching, "created_at DESC, id DESC", binds).await?;
    Ok(listed("versions", rows.iter().map(|version| Value::Object(version.show())).collect(), "created_at", page))
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/versions`
///
/// Stores other elements. Requests take them once they are deployed.
pub async fn create_version(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    body: &[u8],
    ids: &NewIds,
    actor: &Actor<'_>,
) -> Result<Reply, ApiError> {
    let route = existing(store, place, id).await?;
    let body = object(body)?;
    only(&body, &["elements"], &["body"])?;
    let elements = elements(&body)?;
    let at = Bind::Int(actor.now_ms as i64);
    let touch = Statement::new(
        "UPDATE routes SET modified_at = ?2 WHERE id = ?1 AND (SELECT count(*) FROM route_versions WHERE route = ?1) < ?3",
        [id.into(), at.clone(), Bind::Int(MAX_VERSIONS)],
    );
    let trail = actor.row(&place.change("route.create_version", id, &body));
    let version = new_version(id, &ids.version, elements.clone(), at);
    if store.batch(vec![touch, trail, version]).await?.first() != Some(&1) {
        return Err(ApiError::invalid(["body"], format!("A route may have {MAX_VERSIONS} versions: make a new one")));
    }
    let made = Version { id: ids.version.clone(), created_at: actor.now_ms, elements: elements.clone(), active: 0 };
    let mut shown = Route { elements, modified_at: actor.now_ms, ..route }.short(place);
    shown.insert("version".to_owned(), made.show().into());
    Ok(Reply::result(shown))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/versions/{version}`
pub async fn version(store: &impl Store, place: &Place<'_>, id: &str, version: &str) -> Result<Reply, ApiError> {
    let route = existing(store, place, id).await?;
    let sql = "SELECT id, created_at, elements, id = ?3 AS active FROM route_versions WHERE id = ?1 AND route = ?2";
    let found = Statement::new(sql, [version.into(), route.id.as_str().into(), route.version.as_str().into()]);
    let version = store.row::<Version>(found).await?.ok_or_else(ApiError::not_found)?;
    let mut shown = Route { elements: version.elements.clone(), ..route }.short(place);
    // When the version was made; the route's own time is with the route.
    shown.extend(version.show());
    Ok(Reply::result(shown))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/deployments`
pub async fn deployments(store: &impl Store, place: &Place<'_>, id: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    existing(store, place, id).await?;
    let (columns, matching) = ("id, version, created_at", "route_deployments WHERE route = ?1");
    let order = "created_at DESC, id DESC";
    let (rows, _) = page.read::<Deployment>(store, columns, matching, order, vec![id.into()]).await?;
    let shown = rows.iter().map(|row| deployment(&row.id, &row.version, row.created_at));
    Ok(listed("deployments", shown.collect(), "created_at", page))
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/deployments`
///
/// Puts a version to use: a new one, or an older one again.
pub async fn deploy(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    body: &[u8],
    ids: &NewIds,
    actor: &Actor<'_>,
) -> Handled {
    Handled::always([place.forget()], async {
        existing(store, place, id).await?;
        let body = object(body)?;
        only(&body, &["version_id"], &["body"])?;
        let wrong = |rule: &str| ApiError::invalid(["body", "version_id"], rule);
        let version = body.get("version_id").and_then(Value::as_str);
        let version = version.ok_or_else(|| wrong("Expected the id of a version of this route"))?;
        let at = Bind::Int(actor.now_ms as i64);
        let update = Statement::new(
            "UPDATE routes SET version = ?3, deployment = ?4, modified_at = ?5, learned = '{}' WHERE id = ?1 AND gateway = ?2 \
             AND EXISTS (SELECT 1 FROM route_versions WHERE id = ?3 AND route = ?1)",
            [id.into(), place.key.into(), version.into(), ids.deployment.as_str().into(), at.clone()],
        );
        let trail = actor.row(&place.change("route.deploy", id, &body));
        let made = new_deployment(id, version, &ids.deployment, at);
        if store.batch(vec![update, trail, made]).await?.first() != Some(&1) {
            return Err(wrong("The route has no such version: GET …/versions lists them"));
        }
        Ok(Reply::result(existing(store, place, id).await?.short(place)))
    })
    .await
}
