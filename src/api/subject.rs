//! What a request of the control plane is about: its gateway, the database of its logs, a log, what feedback means.

use crate::api::Place;
use crate::api::log_arrival::Finder;
use crate::api::request::Request;
use crate::api::shell::Shell;
use crate::db::databases::Databases;
use crate::db::store::Store;
use crate::feedback::locate::Found;
use crate::gateways::gateway::{self, Gateway};
use crate::http::envelope::ApiError;
use crate::http::router::Route;

/// What the arms of [`super::control`] are about.
pub struct Subject<'c, 'r, D, S> {
    pub databases: &'c D,
    pub shell: &'c S,
    pub request: &'c Request<'r>,
}

/// The gateway of a route, if it exists.
pub async fn found(store: &impl Store, route: &Route<'_>) -> Result<Gateway, ApiError> {
    match gateway::find(store, route.account, route.gateway).await? {
        Some(gateway) => Ok(gateway),
        None if store.is_rehearsal() => Ok(Gateway::supposed(route.account, route.gateway)?),
        None => Err(ApiError::not_found()),
    }
}

// === impl Subject ===

impl<'c, 'r, D: Databases, S: Shell> Subject<'c, 'r, D, S> {
    pub async fn gateway(&self) -> Result<Gateway, ApiError> {
        found(self.databases.first(), &self.request.route).await
    }

    pub async fn place(&self) -> Result<Place<'r>, ApiError> {
        Ok(self.request.place(&self.gateway().await?))
    }

    /// The gateway, and the database that has its logs and what was made of them.
    pub async fn logs(&self) -> Result<(&'c D::One, Place<'r>), ApiError> {
        let gateway = self.gateway().await?;
        Ok((self.databases.of(gateway.shard)?, self.request.place(&gateway)))
    }

    pub async fn finder(&self) -> Result<Finder<'c, D, S>, ApiError> {
        Finder::new(self.databases, self.request.feedback_context(), self.shell).await
    }

    /// The log that the id of a request for feedback means.
    pub async fn found(&self) -> Result<(Finder<'c, D, S>, Found), ApiError> {
        let finder = self.finder().await?;
        let found = finder.find(&self.request.feedback_id()?).await?.ok_or_else(ApiError::not_found)?;
        Ok((finder, found))
    }
}
