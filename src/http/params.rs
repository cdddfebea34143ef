//! Query parameters with their types and bounds, and the errors that say what is allowed.

use crate::http::envelope::ApiError;
use crate::http::query::Query;

/// An integer, where the parameter is given.
pub fn number(query: &Query, name: &str, min: u64, max: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(ApiError::invalid(["query", name], format!("Expected an integer from {min} to {max}"))),
    }
}

/// `true` or `false`, where the parameter is given.
pub fn flag(query: &Query, name: &str) -> Result<Option<bool>, ApiError> {
    match query.get(name) {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(ApiError::invalid(["query", name], "Expected true or false")),
    }
}

/// One of the allowed values; the first where the parameter is not given.
pub fn chosen(query: &Query, name: &str, allowed: &'static [&'static str]) -> Result<&'static str, ApiError> {
    let wanted = query.get(name).or(allowed.first().copied());
    allowed.iter().copied().find(|value| Some(*value) == wanted).ok_or_else(|| {
        let values: Vec<String> = allowed.iter().map(|value| format!("'{value}'")).collect();
        ApiError::invalid(["query", name], format!("Invalid enum value. Expected {}", values.join(" | ")))
    })
}
