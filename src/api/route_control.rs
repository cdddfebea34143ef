//! The arms of [`super::control`] for dynamic routes.

use super::{Place, route_simulation, route_versions, routes};
use crate::api::effect::Handled;
use crate::api::request::Request;
use crate::db::store::Store;
use crate::http::envelope::ApiError;
use crate::http::router::Endpoint;

pub async fn handle(store: &impl Store, place: &Place<'_>, request: &Request<'_>) -> Handled {
    let Request { route, query, body, new_id, now_ms, entropy, .. } = request;
    let (id, actor) = (route.id, &request.actor());
    let ids = &routes::NewIds::new(new_id, *now_ms, entropy);
    match route.endpoint {
        Endpoint::ListRoutes => routes::list(store, place, query).await.into(),
        Endpoint::CreateRoute => routes::create(store, place, body, ids, actor).await,
        Endpoint::GetRoute => routes::get(store, place, id).await.into(),
        Endpoint::UpdateRoute => routes::update(store, place, id, body, actor).await,
        Endpoint::DeleteRoute => routes::delete(store, place, id, actor).await,
        Endpoint::ListRouteVersions => route_versions::versions(store, place, id, query).await.into(),
        Endpoint::CreateRouteVersion => route_versions::create_version(store, place, id, body, ids, actor).await.into(),
        Endpoint::GetRouteVersion => route_versions::version(store, place, id, route.version).await.into(),
        Endpoint::ListRouteDeployments => route_versions::deployments(store, place, id, query).await.into(),
        Endpoint::SimulateRoute => {
            let at = (request.now_ms, entropy, request.metadata_entries);
            route_simulation::simulate(store, place, id, body, at).await.into()
        }
        Endpoint::DeployRoute => route_versions::deploy(store, place, id, body, ids, actor).await,
        _ => Err(ApiError::not_found()).into(),
    }
}
