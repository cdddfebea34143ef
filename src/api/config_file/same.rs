//! Whether a document says what is so already.

use super::MASK;
use crate::providers::address;
use crate::telemetry::destination;
use serde_json::Value;

/// Whether a value of a document is the one that is shown. What is stored may be written otherwise, with the same meaning: numbers,
/// a single value in the place of a list, a text that has JSON in it, members that have what they have where they are not given.
pub fn same(given: &Value, shown: &Value) -> bool {
    if given == shown || given == MASK || (is_nothing(given) && is_nothing(shown)) {
        return true;
    }
    match (given, shown) {
        (Value::Number(given), Value::Number(shown)) => given.as_f64() == shown.as_f64(),
        (Value::String(text), shown @ (Value::Object(_) | Value::Array(_))) if is_written(shown, text) => true,
        (Value::Array(given), Value::Array(shown)) => {
            given.len() == shown.len() && given.iter().zip(shown).all(|(given, shown)| same(given, shown))
        }
        (given, Value::Array(shown)) => matches!(shown.as_slice(), [shown] if same(given, shown)),
        (Value::Object(given), Value::Object(shown)) => {
            given.iter().all(|(name, value)| same(value, shown.get(name).unwrap_or(&Value::Null)))
                // Ids of rules are made where they are not given.
                && shown.iter().all(|(name, value)| given.contains_key(name) || name == "id" || is_nothing(value))
        }
        (given @ (Value::Object(_) | Value::Array(_)), Value::String(text)) => is_written(given, text),
        (Value::String(given), Value::String(shown)) => {
            let read = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
            matches!((read(given), read(shown)), (Some(given), Some(shown)) if same(&given, &shown))
        }
        _ => false,
    }
}

fn is_written(value: &Value, text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|read| same(value, &read))
}

/// Whether each destination of `otel` that is given without its secrets is one that there is, on the same host.
pub fn destinations_stay(given: &Value, stored: &Value) -> bool {
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let stored = stored.as_array().map_or(&[][..], Vec::as_slice);
    given.as_array().into_iter().flatten().filter(|one| destination::secrets(one).is_none()).all(|one| {
        let (id, url) = (text(one, "id"), text(one, "url"));
        stored.iter().any(|known| {
            let is_it = if id.is_empty() { text(known, "url") == url } else { text(known, "id") == id };
            let is_there = address::origin_of(&text(known, "url")) == address::origin_of(&url);
            is_it && is_there && destination::secrets(known).is_none()
        })
    })
}

/// What a field has that nothing was said of.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_means_the_same_is_the_same() {
        for (given, shown) in [
            (json!(1), json!(1.0)),
            (json!(null), json!(false)),
            (json!("x"), json!(["x"])),
            (json!([{ "key": "a", "value": 1 }]), json!([{ "key": "a", "value": [1], "id": "r_1", "note": null }])),
            (json!("***"), json!("anything")),
            (json!({ "a": 1 }), json!("{\"a\":1.0}")),
            (json!("{\"a\": \"***\"}"), json!("{\"a\":\"b\"}")),
        ] {
            assert!(same(&given, &shown), "{given} {shown}");
        }
        for (given, shown) in [
            (json!(1), json!(2)),
            (json!(true), json!(null)),
            (json!(["x"]), json!(["x", "y"])),
            (json!({ "a": 1 }), json!({ "a": 1, "b": 2 })),
            (json!({ "a": 1, "b": 2 }), json!({ "a": 1 })),
            (json!("1"), json!(1)),
        ] {
            assert!(!same(&given, &shown), "{given} {shown}");
        }
    }

    #[test]
    fn destinations_stay_on_their_host() {
        let stored = json!([
            { "id": "a", "url": "https://a.example/x", "headers": { "k": "***" } },
            { "id": "b", "url": "https://b.example/x", "headers": {} },
        ]);
        for (given, stays) in [
            (json!([{ "id": "a", "url": "https://a.example/y", "headers": { "k": "***" }, "sample": 0.5 }]), true),
            (json!([{ "url": "https://a.example/x", "authorization": "***" }, { "url": "https://new.example" }]), true),
            (json!([{ "id": "a", "url": "https://evil.example/x", "headers": { "k": "***" } }]), false),
            (json!([{ "url": "https://a.example/y", "headers": { "k": "***" } }]), false),
            (json!([{ "id": "b", "url": "https://b.example/x", "headers": { "k": "***" } }]), false),
            (json!(null), true),
        ] {
            assert_eq!(destinations_stay(&given, &stored), stays, "{given}");
        }
    }
}
