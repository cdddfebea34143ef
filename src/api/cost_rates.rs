//! The rates of a price that an account sets, as callers give them.

use crate::base::json::json;
use crate::http::envelope::ApiError;
use crate::pricing::rules::{FEES, KINDS, TIERS, UNCOUNTED};
use serde_json::{Map, Value};

/// US dollars per token. A higher rate is one that was meant per million tokens.
const MAX_RATE: f64 = 0.01;

/// US dollars for a call of a tool, or what else is paid for one by one.
const MAX_FEE: f64 = 100.0;

/// How many times dearer a class of service may be.
const MAX_FACTOR: f64 = 100.0;

/// A rate in US dollars per token; `None` for null.
pub fn rate(value: &Value, path: &[&str]) -> Result<Option<f64>, ApiError> {
    let wrong = || {
        let rule =
            format!("Expected US dollars per token from 0 to {MAX_RATE}: $2.50 per million tokens are 0.0000025");
        ApiError::invalid(["body"].into_iter().chain(path.iter().copied()), rule)
    };
    match value {
        Value::Null => Ok(None),
        value => value.as_f64().filter(|rate| (0.0..=MAX_RATE).contains(rate)).map(Some).ok_or_else(wrong),
    }
}

/// A number from 0 to a bound; `None` for null.
fn number(value: &Value, most: f64, path: &[&str]) -> Result<Option<f64>, ApiError> {
    let wrong = || ApiError::invalid(path.iter().copied(), format!("Expected a number from 0 to {most}"));
    match value {
        Value::Null => Ok(None),
        value => value.as_f64().filter(|number| (0.0..=most).contains(number)).map(Some).ok_or_else(wrong),
    }
}

/// The factors by which classes of service are dearer or cheaper.
fn service_tiers(value: &Value) -> Result<Option<Value>, ApiError> {
    let path = ["body", "token_pricing", "service_tiers"];
    let wrong = || ApiError::invalid(path, format!("Expected an object of factors for {}", TIERS.join(", ")));
    let given = match value {
        Value::Null => return Ok(None),
        value => value.as_object().ok_or_else(wrong)?,
    };
    let mut factors = Map::new();
    for (tier, value) in given {
        if !TIERS.contains(&tier.as_str()) {
            return Err(wrong());
        }
        if let Some(factor) = number(value, MAX_FACTOR, &["body", "token_pricing", "service_tiers", tier])? {
            factors.insert(tier.clone(), json!(factor));
        }
    }
    Ok((!factors.is_empty()).then_some(Value::Object(factors)))
}

/// `token_pricing` as it is stored, from an object, or from the text that answers have it in.
pub fn token_pricing(value: &Value) -> Result<Option<String>, ApiError> {
    let wrong = |rule: &str| ApiError::invalid(["body", "token_pricing"], rule);
    let parsed;
    let given = match value {
        Value::Null => return Ok(None),
        Value::Object(given) => given,
        Value::String(text) => {
            parsed = serde_json::from_str::<Map<String, Value>>(text)
                .map_err(|_| wrong("Expected an object of rates in US dollars per token"))?;
            &parsed
        }
        _ => return Err(wrong("Expected an object of rates in US dollars per token")),
    };
    let mut rates = Map::new();
    for (kind, value) in given {
        let path = ["token_pricing", kind.as_str()];
        if kind == "service_tiers" {
            rates.extend(service_tiers(value)?.map(|tiers| (kind.clone(), tiers)));
            continue;
        }
        if FEES.iter().any(|(name, _)| name == kind) {
            let fee = number(value, MAX_FEE, &["body", "token_pricing", kind])?;
            rates.extend(fee.map(|fee| (kind.clone(), json!(fee))));
            continue;
        }
        let Some(rate) = rate(value, &path)? else { continue };
        if UNCOUNTED.contains(&kind.as_str()) {
            if rate > 0.0 {
                let rule = "Tollgate does not count these apart, so nothing can be priced by them. Expected 0, or no such field";
                return Err(ApiError::invalid(["body", "token_pricing", kind], rule));
            }
            continue;
        }
        if !KINDS.iter().any(|(name, _)| name == kind) {
            let names = KINDS.iter().map(|(name, _)| *name).chain(FEES.iter().map(|(name, _)| *name));
            let names: Vec<&str> = names.chain(["service_tiers"]).collect();
            let rule = format!("There is no such rate. Expected {}", names.join(", "));
            return Err(ApiError::invalid(["body", "token_pricing", kind], rule));
        }
        rates.insert(kind.clone(), json!(rate));
    }
    let of_tokens = rates.keys().filter(|name| KINDS.iter().any(|(kind, _)| kind == name)).count();
    if rates.contains_key("total_tokens") && (of_tokens > 1 || rates.contains_key("service_tiers")) {
        return Err(wrong("total_tokens is a rate for all tokens and goes with no other"));
    }
    Ok((!rates.is_empty()).then(|| Value::Object(rates).to_string()))
}
