//! The key in a body that stores one.

use crate::credentials::select;
use crate::http::envelope::ApiError;
use crate::providers::table::KeyForm;
use serde_json::{Map, Value};

/// The longest secret, in bytes. A service account's key file has about 2,400.
pub const MAX_SECRET: usize = 8_192;

/// The key that a body brings, in one text.
pub fn secret(body: &Map<String, Value>, form: KeyForm) -> Result<Option<String>, ApiError> {
    let wrong = |rule: &str| ApiError::invalid(["body", "secret"], rule);
    let secret = match body.get("secret") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(secret)) => secret.trim().to_owned(),
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => {
            let rule = "Expected a key as a string, or an object for aws-bedrock, azure-openai and google-vertex-ai";
            return Err(wrong(rule));
        }
    };
    fits(form, &secret).map_err(|rule| wrong(&rule))?;
    Ok(Some(secret))
}

/// Whether a text can be a key of such a provider. What is said about it quotes nothing of it.
pub fn fits(form: KeyForm, secret: &str) -> Result<(), String> {
    if secret.is_empty() || secret.len() > MAX_SECRET {
        return Err(format!("Expected a key of 1 to {MAX_SECRET} bytes"));
    }
    if secret.starts_with('{') {
        if !matches!(form, KeyForm::Aws | KeyForm::Google | KeyForm::Resource(_)) {
            return Err("Expected a key as a string: this provider takes no JSON".to_owned());
        }
        if select::structured(secret).is_none() {
            return Err("Expected a JSON object: what begins with { is none".to_owned());
        }
        return select::material(form, "", secret).map(drop).map_err(|fault| format!("{fault} in the JSON object"));
    }
    if let KeyForm::Resource(_) = form {
        return select::material(form, "", secret).map(drop).map_err(|fault| format!("Expected an object: {fault}"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("Expected a key of printable ASCII characters without spaces".to_owned());
    }
    Ok(())
}
