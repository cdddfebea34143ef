//! JSON Schema, as far as a test of an answer needs it: structure, types and bounds. A library with all of the
//! specification would add half of the Worker's size again.

use regex_lite::Regex;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeSet;

/// The keywords that are checked (<https://json-schema.org/draft/2020-12>), besides annotations.
const KEYWORDS: &[&str] = &[
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "uniqueItems",
];

const ANNOTATIONS: &[&str] = &[
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "format",
    "title",
];

/// Schemas that refer to themselves end here.
const MAX_DEPTH: usize = 64;

const MAX_STEPS: u32 = 100_000;

/// Says what in a schema cannot be checked, so that nobody relies on it.
pub fn unsupported(schema: &Value) -> Option<String> {
    unsupported_in(schema, schema)
}

fn unsupported_in(root: &Value, schema: &Value) -> Option<String> {
    let object = match schema {
        Value::Bool(_) => return None,
        Value::Object(object) => object,
        _ => return Some("A schema is an object or a boolean".to_owned()),
    };
    if let Some(name) =
        object.keys().find(|name| !KEYWORDS.contains(&name.as_str()) && !ANNOTATIONS.contains(&name.as_str()))
    {
        return Some(format!("The keyword '{name}' is not supported; those that are: {}", KEYWORDS.join(", ")));
    }
    if let Some(Value::String(pattern)) = object.get("pattern")
        && let Err(error) = Regex::new(pattern)
    {
        return Some(format!("The pattern '{pattern}' is no regular expression: {error}"));
    }
    if let Some(Value::String(place)) = object.get("$ref")
        && place.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).is_none()
    {
        return Some(format!("'$ref' must point to something in the same schema, unlike '{place}'"));
    }
    let of_object = |name: &str| object.get(name).and_then(Value::as_object).into_iter().flat_map(Map::values);
    let of_array = |name: &str| object.get(name).and_then(Value::as_array).into_iter().flatten();
    let alone = ["items", "not", "additionalProperties"].iter().filter_map(|name| object.get(*name));
    ["properties", "$defs", "definitions"]
        .iter()
        .flat_map(|name| of_object(name))
        .chain(["allOf", "anyOf", "oneOf"].iter().flat_map(|name| of_array(name)))
        .chain(alone)
        .find_map(|inner| unsupported_in(root, inner))
}

/// Checks a value. The error says where it first differs, and how.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let checker = Checker { root: schema, steps: Cell::new(0) };
    match checker.check(schema, value, "", 0) {
        _ if checker.steps.get() > MAX_STEPS => Err("the answer is too large for this schema to be checked".to_owned()),
        outcome => outcome,
    }
}

struct Checker<'a> {
    root: &'a Value,
    /// Comparisons so far: a schema can refer to itself in ways that double the work at every turn.
    steps: Cell<u32>,
}

// === impl Checker ===

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, place: &str, depth: usize) -> Result<(), String> {
        let fail = |what: &str| Err(format!("{} {what}", if place.is_empty() { "the answer" } else { place }));
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return fail("cannot be checked to the end");
        }
        let object = match schema {
            Value::Bool(false) => return fail("is not allowed"),
            Value::Object(object) if depth < MAX_DEPTH => object,
            _ => return Ok(()),
        };
        if let Some(Value::String(target)) = object.get("$ref")
            && let Some(target) = self.root.pointer(target.trim_start_matches('#'))
        {
            self.check(target, value, place, depth + 1)?;
        }
        if let Some(wanted) = object.get("type") {
            let fits = match wanted {
                Value::Array(names) => names.iter().any(|name| is_type(name, value)),
                name => is_type(name, value),
            };
            if !fits {
                return fail(&format!("is not of type {wanted}"));
            }
        }
        if object.get("const").is_some_and(|wanted| !same(wanted, value)) {
            return fail("is not the constant");
        }
        if object
            .get("enum")
            .and_then(Value::as_array)
            .is_some_and(|allowed| !allowed.iter().any(|one| same(one, value)))
        {
            return fail("is none of the allowed values");
        }
        let limit = |name: &str| object.get(name).and_then(Value::as_f64);
        if let Some(number) = value.as_f64() {
            let wrong = limit("minimum").is_some_and(|least| number < least)
                || limit("maximum").is_some_and(|most| number > most)
                || limit("exclusiveMinimum").is_some_and(|least| number <= least)
                || limit("exclusiveMaximum").is_some_and(|most| number >= most)
                || limit("multipleOf").is_some_and(|step| {
                    step > 0.0 && {
                        let times = number / step;
                        (times - times.round()).abs() > 1e-9
                    }
                });
            if wrong {
                return fail("is out of bounds");
            }
        }
        let outside = |size: usize, least: &str, most: &str| {
            limit(least).is_some_and(|least| (size as f64) < least)
                || limit(most).is_some_and(|most| size as f64 > most)
        };
        if let Some(text) = value.as_str() {
            if outside(text.chars().count(), "minLength", "maxLength") {
                return fail("is too short or too long");
            }
            let pattern = object.get("pattern").and_then(Value::as_str).and_then(|pattern| Regex::new(pattern).ok());
            if pattern.is_some_and(|pattern| !pattern.is_match(text)) {
                return fail("does not match the pattern");
            }
        }
        if let Some(items) = value.as_array() {
            if outside(items.len(), "minItems", "maxItems") {
                return fail("has too few or too many items");
            }
            if object.get("uniqueItems") == Some(&Value::Bool(true)) {
                let distinct: BTreeSet<String> = items.iter().map(Value::to_string).collect();
                if distinct.len() < items.len() {
                    return fail("has equal items");
                }
            }
            if let Some(schema) = object.get("items") {
                for (at, item) in items.iter().enumerate() {
                    self.check(schema, item, &format!("{place}/{at}"), depth + 1)?;
                }
            }
        }
        if let Some(members) = value.as_object() {
            for name in object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
            {
                if !members.contains_key(name) {
                    return fail(&format!("lacks '{name}'"));
                }
            }
            let properties = object.get("properties").and_then(Value::as_object);
            for (name, member) in members {
                let schema = properties.and_then(|known| known.get(name)).or(object.get("additionalProperties"));
                if let Some(schema) = schema {
                    self.check(schema, member, &format!("{place}/{name}"), depth + 1)?;
                }
            }
        }
        let list = |name: &str| object.get(name).and_then(Value::as_array);
        for schema in list("allOf").into_iter().flatten() {
            self.check(schema, value, place, depth + 1)?;
        }
        let fitting =
            |all: &[Value]| all.iter().filter(|schema| self.check(schema, value, place, depth + 1).is_ok()).count();
        if list("anyOf").is_some_and(|all| fitting(all) == 0) {
            return fail("fits none of anyOf");
        }
        if list("oneOf").is_some_and(|all| fitting(all) != 1) {
            return fail("does not fit exactly one of oneOf");
        }
        if object.get("not").is_some_and(|schema| self.check(schema, value, place, depth + 1).is_ok()) {
            return fail("fits what it must not");
        }
        Ok(())
    }
}

/// Equal as JSON Schema has it, where 1 and 1.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn is_type(name: &Value, value: &Value) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let schema = json!({
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {
                "name": { "type": "string", "minLength": 1, "pattern": "^[a-z]+$" },
                "age": { "type": "integer", "minimum": 0, "exclusiveMaximum": 150 },
                "tags": { "type": "array", "items": { "enum": ["a", "b"] }, "maxItems": 2, "uniqueItems": true },
                "next": { "anyOf": [{ "type": "null" }, { "$ref": "#" }] },
            },
        });
        assert_eq!(unsupported(&schema), None);
        let good = json!({ "name": "ada", "age": 36.0, "tags": ["a"], "next": { "name": "b", "next": null } });
        assert_eq!(check(&schema, &good), Ok(()));
        for (value, wanted) in [
            (json!([]), "the answer is not of type"),
            (json!({}), "lacks 'name'"),
            (json!({ "name": "" }), "/name is too short"),
            (json!({ "name": "A" }), "/name does not match"),
            (json!({ "name": "a", "age": 1.5 }), "/age is not of type"),
            (json!({ "name": "a", "age": 150 }), "/age is out of bounds"),
            (json!({ "name": "a", "tags": ["c"] }), "/tags/0 is none"),
            (json!({ "name": "a", "tags": ["a", "a"] }), "/tags has equal"),
            (json!({ "name": "a", "x": 1 }), "/x is not allowed"),
            (json!({ "name": "a", "next": {} }), "/next fits none"),
        ] {
            let told = check(&schema, &value).unwrap_err();
            assert!(told.contains(wanted), "{value}: {told}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        assert!(unsupported(&json!({ "properties": { "a": { "if": {} } } })).unwrap().contains("'if'"));
        assert!(unsupported(&json!({ "pattern": "(" })).unwrap().contains("regular expression"));
        assert!(unsupported(&json!({ "$ref": "https://example.com" })).is_some());
        assert!(unsupported(&json!("x")).is_some());
        assert!(unsupported(&json!({ "$ref": "#/$defs/none" })).is_some());
        let doubling = json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] } }, "$ref": "#/$defs/a" });
        assert!(check(&doubling, &json!(1)).is_err());
        assert!(
            check(&json!({ "multipleOf": 0.01 }), &json!(19.99)).is_ok()
                && check(&json!({ "enum": [1] }), &json!(1.0)).is_ok()
        );
        // A schema that only refers to itself ends.
        assert_eq!(check(&json!({ "$ref": "#" }), &json!(1)), Ok(()));
    }
}
