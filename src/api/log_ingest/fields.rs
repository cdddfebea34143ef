//! The members of a JSON object, read with the bounds of each. An error names the member, and what may stand there.

use crate::pricing::price::MAX_COST;
use serde_json::{Map, Value};

/// Integers travel through D1 as floating point, which holds them exactly up to here.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

pub struct Fields<'a>(pub &'a Map<String, Value>);

// === impl Fields ===

impl Fields<'_> {
    /// A text; an empty one is none.
    pub fn text(&self, name: &str, most: usize) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= most => {
                Ok(Some(text).filter(|text| !text.is_empty()).cloned())
            }
            Some(_) => Err(format!("{name}: Expected a text of at most {most} characters")),
        }
    }

    pub fn count(&self, name: &str) -> Result<Option<u64>, String> {
        let value = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value.as_f64().filter(|number| (0.0..=MAX_COUNT).contains(number)),
        };
        // Measured elsewhere, milliseconds have parts.
        value.map(|number| Some(number.round() as u64)).ok_or_else(|| format!("{name}: Expected a number from 0"))
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(format!("{name}: Expected true or false")),
        }
    }

    /// What was sent or answered: a text as it is, JSON as JSON.
    pub fn body(&self, name: &str) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty()).cloned()),
            Some(json @ (Value::Object(_) | Value::Array(_))) => Ok(Some(json.to_string())),
            Some(_) => Err(format!("{name}: Expected a text, or JSON")),
        }
    }

    pub fn cost(&self, name: &str) -> Result<Option<f64>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|cost| (0.0..=MAX_COST).contains(cost)) {
                Some(cost) => Ok(Some(cost)),
                None => Err(format!("{name}: Expected US dollars, a number from 0 to {MAX_COST}")),
            },
        }
    }
}
