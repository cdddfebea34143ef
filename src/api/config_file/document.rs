//! The form of a document, before it is looked at what it says.

use super::{ENDPOINT, OF_ACCOUNT, OF_GATEWAY, VERSION, list_of, text_of};
use crate::gateways::gateway::is_gateway_id;
use crate::http::envelope::ApiError;
use serde_json::{Map, Value};

pub fn refused(place: &[String], rule: impl Into<String>) -> ApiError {
    ApiError::invalid(["body"].into_iter().chain(place.iter().map(String::as_str)), rule)
}

/// The document, once it has the form of one.
pub fn document(mut body: Map<String, Value>, only: Option<&str>) -> Result<Map<String, Value>, ApiError> {
    // An answer of the export can be sent as it is.
    if let (Some(true), Some(Value::Object(document))) =
        (body.get("success").and_then(Value::as_bool), body.get_mut("result").map(Value::take))
    {
        body = document;
    }
    if body.get("tollgate").and_then(Value::as_u64) != Some(VERSION) {
        let rule =
            format!("Expected {VERSION}, the version of the document's form; GET …/export gives such a document");
        return Err(refused(&["tollgate".to_owned()], rule));
    }
    let known: Vec<&str> = ["tollgate", "catalogue", "gateways"]
        .into_iter()
        .chain(OF_ACCOUNT.iter().map(|section| section.name))
        .collect();
    members(&body, &known, &[])?;
    let mut ids: Vec<&str> = Vec::new();
    for (index, gateway) in list_of(&body, "gateways").iter().enumerate() {
        let mut place = vec!["gateways".to_owned(), index.to_string()];
        let given = gateway.as_object().ok_or_else(|| refused(&place, "Expected an object"))?;
        let known: Vec<&str> =
            ["id", "settings", ENDPOINT].into_iter().chain(OF_GATEWAY.iter().map(|section| section.name)).collect();
        members(given, &known, &place)?;
        let id = text_of(gateway, "id");
        place.push("id".to_owned());
        if !is_gateway_id(id) {
            let rule =
                "Expected 1 to 64 characters: lower-case letters, digits and _, with single hyphens between them";
            return Err(refused(&place, rule));
        }
        if ids.contains(&id) {
            return Err(refused(&place, format!("The document has the gateway '{id}' twice")));
        }
        if only.is_some_and(|only| only != id) {
            return Err(refused(
                &place,
                format!("The document has to be about the gateway '{}' alone", only.unwrap_or_default()),
            ));
        }
        ids.push(id);
    }
    Ok(body)
}

/// Refuses members that mean nothing, and lists that are none.
fn members(object: &Map<String, Value>, known: &[&str], place: &[String]) -> Result<(), ApiError> {
    for (name, value) in object {
        let at: Vec<String> = place.iter().cloned().chain([name.clone()]).collect();
        if !known.contains(&name.as_str()) {
            return Err(refused(&at, format!("There is no such member. Expected {}", known.join(", "))));
        }
        let is_right = match name.as_str() {
            "tollgate" | "id" => true,
            "settings" | "catalogue" => value.is_object(),
            ENDPOINT => value.is_object() || value.is_null(),
            _ => value.is_array(),
        };
        if !is_right {
            return Err(refused(
                &at,
                "Expected an object for settings, catalogue and logpush_endpoint, and a list for all else",
            ));
        }
    }
    Ok(())
}
