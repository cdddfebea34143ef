//! Equality and types of JSON values, as JSON Schema has them.

use serde_json::Value;

/// Bytes that are compared or written in a step.
pub const BYTES_IN_A_STEP: u64 = 4;

/// Equal as JSON Schema has it, where 1 and 1.0 are one number.
pub fn same(a: &Value, b: &Value, compared: &mut u64) -> bool {
    *compared += 1;
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            *compared += a.len().min(b.len()) as u64 / BYTES_IN_A_STEP;
            a == b
        }
        (Value::Number(own), Value::Number(other)) => own == other || own.as_f64() == other.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, compared)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((name, a), (other, b))| {
                    *compared += name.len() as u64 / BYTES_IN_A_STEP;
                    name == other && same(a, b, compared)
                })
        }
        _ => a == b,
    }
}

/// Whether a value is of the type that a schema names.
pub fn is_type(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}
