//! The attributes of a span as it is made.

use crate::telemetry::otlp::Attribute;
use serde_json::Value;

/// Longer texts lose their end, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;

#[derive(Default)]
pub struct Attributes {
    pub all: Vec<(String, Attribute)>,
    /// Whether any text was cut.
    pub is_cut: bool,
}

// === impl Attributes ===

impl Attributes {
    pub fn add(&mut self, name: &str, value: Attribute) {
        self.all.push((name.to_owned(), value));
    }

    /// A text under several names, where there is one.
    pub fn text(&mut self, names: &[&str], value: Option<&str>) {
        let Some(text) = value.filter(|text| !text.is_empty()) else { return };
        let end = text.floor_char_boundary(MAX_TEXT);
        self.is_cut |= end < text.len();
        let text = text.get(..end).unwrap_or_default();
        for name in names {
            self.add(name, Attribute::Text(text.to_owned()));
        }
    }

    pub fn int(&mut self, names: &[&str], value: Option<u64>) {
        for name in names.iter().filter(|_| value.is_some()) {
            self.add(name, Attribute::Int(value.unwrap_or(0) as i64));
        }
    }

    pub fn double(&mut self, names: &[&str], value: Option<f64>) {
        for name in names.iter().filter(|_| value.is_some()) {
            self.add(name, Attribute::Double(value.unwrap_or(0.0)));
        }
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.add(name, Attribute::Bool(value));
    }

    /// A value of JSON, as near to it as attributes are.
    pub fn json(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(value) => self.flag(name, *value),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => self.add(name, Attribute::Int(whole)),
                None => self.double(&[name], number.as_f64()),
            },
            Value::String(text) => self.text(&[name], Some(text)),
            other => self.text(&[name], Some(&other.to_string())),
        }
    }
}
