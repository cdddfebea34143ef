//! The endpoint of a gateway's log push: one, and no list. Its `authorization` is never shown.

use super::plan::Plan;
use super::step::Step;
use super::{Ask, Asking, ENDPOINT, MASK, answer, at_gateway, shown_url, text_of};
use crate::base::json::json;
use crate::base::object;
use crate::http::envelope::ApiError;
use serde_json::Value;

/// As the document has it; null where logs go to the bucket.
pub async fn read(account: &str, gateway: &str, ask: &Asking<'_>) -> Result<Value, ApiError> {
    let path = at_gateway(account, gateway, "logpush");
    let said = answer(ask, Ask { method: "GET", path, ..Ask::default() }).await?;
    let Some(found) = said.pointer("/result/destination").filter(|found| text_of(found, "type") == "https") else {
        return Ok(Value::Null);
    };
    Ok(shown(text_of(found, "url"), found.get("authorization") == Some(&Value::Bool(true))))
}

/// A URL may have a key in its query.
fn shown(url: &str, has_secret: bool) -> Value {
    let mut shown = object::of([("url".to_owned(), shown_url(url, "").into())]);
    if has_secret {
        shown.insert("authorization".to_owned(), MASK.into());
    }
    Value::Object(shown)
}

// === impl Plan ===

impl Plan {
    /// What a document changes of it.
    pub(super) fn endpoint(&mut self, (account, id): (&str, &str), place: &[String], given: &Value, was: &Value) {
        let at: Vec<String> = place.iter().cloned().chain([ENDPOINT.to_owned()]).collect();
        let authorization = |one: &Value| one.get("authorization").and_then(Value::as_str).map(str::to_owned);
        let (url, secret) = (text_of(given, "url"), authorization(given));
        let is_same = match given.is_null() {
            true => was.is_null(),
            false => !was.is_null() && url == text_of(was, "url") && secret == authorization(was),
        };
        if is_same {
            self.unchanged += u64::from(!given.is_null());
            return;
        }
        if url.ends_with(MASK) || secret.as_deref() == Some(MASK) {
            self.warnings.push(format!(
            "{}: it has a value that the document does not show, and is left as it is; PUT …/gateways/{id}/logpush changes it",
            at.join(".")
        ));
            return;
        }
        let (action, method) = match (given.is_null(), was.is_null()) {
            (true, _) => ("delete", "DELETE"),
            (false, true) => ("create", "PUT"),
            (false, false) => ("update", "PUT"),
        };
        let to = if given.is_null() { Value::Null } else { shown(url, secret.is_some()) };
        let changes = object::of([(ENDPOINT.to_owned(), json!({ "from": was, "to": to }))]);
        self.steps.push(Step {
            action,
            kind: ENDPOINT,
            gateway: Some(id.to_owned()),
            name: id.to_owned(),
            changes: Value::Object(changes),
            place: at,
            asks: vec![Ask {
                method,
                path: at_gateway(account, id, "logpush"),
                body: if given.is_null() { String::new() } else { given.to_string() },
                is_rehearsal: false,
            }],
        });
    }
}
