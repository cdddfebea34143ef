//! The control plane's resources, one file each: types, SQL, handlers and their tests.

pub mod alerts;
pub mod analytics;
pub mod audit;
pub mod billing;
pub mod cache;
pub mod catalogue;
pub mod config_file;
pub mod control;
pub mod conversation;
mod cost_rates;
pub mod costs;
pub mod custom_providers;
pub mod datasets;
pub mod effect;
pub mod evaluation_export;
pub mod evaluation_types;
pub mod evaluations;
pub mod facets;
pub mod feedback;
pub mod gateways;
pub mod graphql;
pub mod limits;
pub mod log_arrival;
mod log_control;
pub mod log_export;
pub mod log_ingest;
pub mod log_list;
pub mod logpush;
pub mod logs;
pub mod metrics;
#[cfg(test)]
mod openapi_tests;
pub mod policies;
pub mod provider_configs;
pub mod reprices;
mod request;
mod route_control;
pub mod route_simulation;
pub mod route_versions;
pub mod routes;
pub mod sessions;
pub mod shell;
pub mod storage;
mod subject;
pub mod telemetry;
pub mod tokens;
pub mod views;

use crate::api::effect::Effect;
use crate::db::audit::Change;
use crate::db::whose::Whose;
use crate::http::envelope::ApiError;
use serde_json::{Map, Value};

/// A gateway that a request is about, and that exists.
pub struct Place<'a> {
    pub account: &'a str,
    pub gateway: &'a str,
    /// The `key` of the gateway's row.
    pub key: i64,
}

// === impl Place ===

impl Place<'_> {
    /// The audit row of a change within the gateway.
    pub fn change<'a>(&'a self, action: &'static str, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
        let fields = crate::db::audit::fields(body);
        Change { action, account: self.account, gateway: Some(self.gateway), target, fields }
    }

    /// The work of this gateway: a request does none of another's.
    fn own(&self) -> Whose {
        Whose::Gateway { account: self.account.to_owned(), id: self.gateway.to_owned() }
    }

    /// What isolates know of the gateway does not hold any more.
    fn forget(&self) -> Effect {
        Effect::ForgetSnapshot { account: self.account.to_owned(), gateway: self.gateway.to_owned() }
    }
}

/// A body that has to be a JSON object.
fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::invalid(["body"], "Expected a JSON object")),
        Err(error) => Err(ApiError::invalid(["body"], format!("Expected a JSON object: {error}"))),
    }
}

/// The `name` of a body, without the spaces around it.
fn name(body: &Map<String, Value>) -> Result<&str, ApiError> {
    match body.get("name") {
        Some(Value::String(name)) if (1..=200).contains(&name.trim().chars().count()) => Ok(name.trim()),
        _ => Err(ApiError::invalid(["body", "name"], "Expected a name of 1 to 200 characters")),
    }
}

/// Refuses fields that mean nothing here: a misspelt one could cost money, or open more than was meant.
fn only(body: &Map<String, Value>, known: &[&str], place: &[&str]) -> Result<(), ApiError> {
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let rule = format!("There is no such field. Expected {}", known.join(", "));
            Err(ApiError::invalid(place.iter().copied().chain([name.as_str()]), rule))
        }
    }
}
