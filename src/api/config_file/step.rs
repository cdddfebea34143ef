//! A change of one resource, and what is shown of it.

use super::{Ask, MASK, masked};
use crate::base::json::json;
use serde_json::{Map, Value};

/// A change of one resource.
pub struct Step {
    pub action: &'static str,
    /// The list of the document.
    pub kind: &'static str,
    pub gateway: Option<String>,
    pub name: String,
    /// What was and what is to be, by field.
    pub changes: Value,
    /// Where it stands in the document.
    pub place: Vec<String>,
    /// What carries it out. The first one checks it.
    pub asks: Vec<Ask>,
}

/// Fields as a plan shows them, without secrets.
fn shown(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("headers" | "secret", value) if !value.is_null() => MASK.into(),
        (_, value) => {
            let mut value = value.clone();
            masked(&mut value);
            value
        }
    }
}

pub fn change(name: &str, from: &Value, to: &Value) -> (String, Value) {
    (name.to_owned(), json!({ "from": shown(name, from), "to": shown(name, to) }))
}

// === impl Step ===

impl Step {
    pub fn shown(&self) -> Value {
        let mut shown = Map::new();
        for (name, value) in [("action", self.action), ("kind", self.kind)] {
            shown.insert(name.to_owned(), value.into());
        }
        if let Some(gateway) = &self.gateway {
            shown.insert("gateway".to_owned(), gateway.as_str().into());
        }
        shown.insert("name".to_owned(), self.name.as_str().into());
        if self.action == "update" {
            shown.insert("changes".to_owned(), self.changes.clone());
        }
        Value::Object(shown)
    }
}
