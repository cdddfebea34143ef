//! What the fields of a custom provider may be.

use crate::base::json::json;
use crate::http::envelope::ApiError;
use crate::http::headers;
use crate::translate::Format;
use serde_json::{Map, Value};

const MAX_HEADERS: usize = 8_192;

/// Logs keep 64 characters of a provider's name.
const MAX_SLUG: usize = 57;

/// Stands in answers for a value that is not shown; sent back, for the value that is stored.
pub const MASK: &str = "***";

/// Texts that are only shown, with how many characters each may have.
const ABOUT: &[(&str, usize)] =
    &[("description", 2_000), ("link", 2_000), ("curl_example", 10_000), ("js_example", 10_000), ("logo", 65_536)];

/// `true` and `false`, or the default where a field is null.
pub fn switch(body: &Map<String, Value>, name: &str, old: u8) -> Result<u8, ApiError> {
    match body.get(name) {
        None => Ok(old),
        Some(Value::Null) => Ok(0),
        Some(Value::Bool(value)) => Ok(u8::from(*value)),
        Some(_) => Err(ApiError::invalid(["body", name], "Expected true or false")),
    }
}

pub fn slug(body: &Map<String, Value>) -> Result<&str, ApiError> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match body.get("slug") {
        Some(Value::String(slug)) if slug.len() <= MAX_SLUG && slug.split('-').all(is_word) => Ok(slug),
        _ => Err(ApiError::invalid(
            ["body", "slug"],
            format!("Expected 1 to {MAX_SLUG} characters: letters and digits, with single hyphens between them"),
        )),
    }
}

/// The languages of APIs that a provider speaks, as they are stored.
pub fn formats(given: &Value) -> Result<String, ApiError> {
    // Converse is for requests that are signed for AWS.
    let format = |word: &Value| Format::parse(word.as_str()?).filter(|format| *format != Format::Converse);
    let words: Option<Vec<Format>> = match given {
        Value::Null => return Ok(String::new()),
        Value::Array(words) => words.iter().map(format).collect(),
        _ => None,
    };
    let is_once = |words: &Vec<Format>| {
        words.iter().enumerate().all(|(at, word)| !words.iter().take(at).any(|other| other == word))
    };
    match words.filter(|words| !words.is_empty() && is_once(words)) {
        Some(words) => Ok(words.iter().map(|word| word.name()).collect::<Vec<_>>().join(",")),
        None => Err(ApiError::invalid(
            ["body", "formats"],
            "Expected a list of chat, responses, messages and gemini, each at most once, the best first",
        )),
    }
}

pub fn about(body: &Map<String, Value>, old: &str) -> Result<String, ApiError> {
    let mut about: Map<String, Value> = serde_json::from_str(old).unwrap_or_default();
    for (name, max) in ABOUT {
        match body.get(*name) {
            None => {}
            Some(Value::Null) => {
                about.remove(*name);
            }
            Some(Value::String(text)) if text.chars().count() <= *max => {
                // What is shown as a link must not become a script.
                if *name == "link" && !text.is_empty() && !text.starts_with("https://") && !text.starts_with("http://")
                {
                    return Err(ApiError::invalid(["body", name], "Expected a URL starting with https:// or http://"));
                }
                about.insert((*name).to_owned(), json!(text));
            }
            Some(_) => {
                return Err(ApiError::invalid(["body", name], format!("Expected a text of at most {max} characters")));
            }
        }
    }
    Ok(Value::Object(about).to_string())
}

/// The headers of a body, a JSON object in a text. `old` are those that are stored, where they may be kept.
pub fn given_headers(text: &str, old: &[(String, String)]) -> Result<String, ApiError> {
    let wrong = |rule: String| ApiError::invalid(["body", "headers"], rule);
    if text.chars().count() > MAX_HEADERS {
        return Err(wrong(format!("Expected at most {MAX_HEADERS} characters")));
    }
    let given: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|_| wrong("Expected a text with a JSON object in it".to_owned()))?,
    };
    let mut kept = Map::new();
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        if !headers::is_addable(&lower) {
            let rule = format!(
                "The header {name:?} cannot be added: it is no header's name, or belongs to the connection, the body or Tollgate"
            );
            return Err(wrong(rule));
        }
        let value = match value {
            Value::String(value) if value == MASK => {
                let old = old.iter().find(|(known, _)| *known == lower).map(|(_, value)| value.clone());
                old.ok_or_else(|| {
                    wrong(format!("There is no stored value of {lower} that could be kept: send the value itself"))
                })?
            }
            Value::String(value) => value,
            _ => return Err(wrong(format!("The value of {lower} is no text"))),
        };
        let legal = |byte: u8| (b' '..=b'~').contains(&byte);
        if value.is_empty() || value.trim() != value || !value.bytes().all(legal) {
            return Err(wrong(format!(
                "The value of {lower} is no header's value: visible ASCII characters, not empty, without blanks around them"
            )));
        }
        if kept.insert(lower.clone(), Value::String(value)).is_some() {
            return Err(wrong(format!("The header {lower} is there twice")));
        }
    }
    Ok(Value::Object(kept).to_string())
}
