//! JSON Schema, as far as a test of an answer needs it: structure, types and bounds. A library with all of the
//! specification would add half of the Worker's size again.

use super::json_values::{BYTES_IN_A_STEP, is_type, same};
use crate::pattern::Pattern;
use crate::pattern::budget::{Exhausted, Meter};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

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

/// What the patterns of a schema may have together, in states: they are all kept while it is used.
const MAX_STATES: usize = 60_000;

/// Looking at a value by a schema takes as long as so many states of a pattern, whatever there is to compare.
const LOOK: u64 = 10;

/// Characters that are told of a name on the way to something.
const MAX_NAME: usize = 100;

/// A schema that can be checked by, with its patterns ready.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    patterns: BTreeMap<String, Pattern>,
}

/// Where in an answer something is, written down only if it is told.
#[derive(Clone, Copy)]
enum Place<'a> {
    Answer,
    Item(&'a Self, usize),
    Member(&'a Self, &'a str),
}

/// Why a check ends before it is through.
enum Stop {
    /// The value does not fit; and how, if the caller wants to know.
    Misfit(Option<String>),
    Exhausted,
}

struct Checker<'a, R> {
    schema: &'a Schema,
    meter: &'a Meter<R>,
}

/// A value to be checked.
#[derive(Clone, Copy)]
struct At<'a> {
    value: &'a Value,
    place: Place<'a>,
    depth: usize,
    /// Whether the caller wants to know how it differs.
    reported: bool,
}

/// Checks a value. The inner error says where it first differs, and how.
pub async fn check(
    schema: &Schema,
    value: &Value,
    meter: &Meter<impl AsyncFn()>,
) -> Result<Result<(), String>, Exhausted> {
    let checker = Checker { schema, meter };
    match checker.check(&schema.root, At { value, place: Place::Answer, depth: 0, reported: true }).await {
        Ok(()) => Ok(Ok(())),
        Err(Stop::Misfit(how)) => Ok(Err(how.unwrap_or_default())),
        Err(Stop::Exhausted) => Err(Exhausted),
    }
}

// === impl Schema ===

impl Schema {
    /// Reads a schema. What in it cannot be checked is refused, so that no operator relies on it.
    pub fn new(root: &Value) -> Result<Self, String> {
        let mut schema = Self { root: root.clone(), patterns: BTreeMap::new() };
        schema.admit(root, root)?;
        Ok(schema)
    }

    fn admit(&mut self, root: &Value, schema: &Value) -> Result<(), String> {
        let object = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(object) => object,
            _ => return Err("A schema is an object or a boolean".to_owned()),
        };
        if let Some(name) =
            object.keys().find(|name| !KEYWORDS.contains(&name.as_str()) && !ANNOTATIONS.contains(&name.as_str()))
        {
            return Err(format!("The keyword '{name}' is not supported; those that are: {}", KEYWORDS.join(", ")));
        }
        if let Some(Value::String(pattern)) = object.get("pattern")
            && !self.patterns.contains_key(pattern)
        {
            let ready = Pattern::new(pattern, true).map_err(|error| {
                let begun: String = pattern.chars().take(100).collect();
                format!("The pattern '{begun}' is no regular expression that can be used: {error}")
            })?;
            self.patterns.insert(pattern.clone(), ready);
            if self.patterns.values().map(Pattern::size).sum::<usize>() > MAX_STATES {
                return Err(format!("Its patterns are too large: together they have more than {MAX_STATES} parts"));
            }
        }
        if let Some(Value::String(place)) = object.get("$ref")
            && place.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).is_none()
        {
            return Err(format!("'$ref' must point to something in the same schema, unlike '{place}'"));
        }
        let of_object = |name: &str| object.get(name).and_then(Value::as_object).into_iter().flat_map(Map::values);
        let of_array = |name: &str| object.get(name).and_then(Value::as_array).into_iter().flatten();
        let alone = ["items", "not", "additionalProperties"].iter().filter_map(|name| object.get(*name));
        ["properties", "$defs", "definitions"]
            .iter()
            .flat_map(|name| of_object(name))
            .chain(["allOf", "anyOf", "oneOf"].iter().flat_map(|name| of_array(name)))
            .chain(alone)
            .try_for_each(|inner| self.admit(root, inner))
    }
}

// === impl Checker ===

impl<R: AsyncFn()> Checker<'_, R> {
    /// [`Checker::look`], which calls itself.
    fn check<'c>(&'c self, schema: &'c Value, at: At<'c>) -> Pin<Box<dyn Future<Output = Result<(), Stop>> + 'c>> {
        Box::pin(self.look(schema, at))
    }

    async fn look(&self, schema: &Value, at: At<'_>) -> Result<(), Stop> {
        let At { value, place, depth, reported } = at;
        let fail = |what: &str| Err(Stop::Misfit(reported.then(|| format!("{} {what}", place.written()))));
        self.meter.spend(LOOK).await?;
        let object = match schema {
            Value::Bool(false) => return fail("is not allowed"),
            Value::Object(object) if depth < MAX_DEPTH => object,
            _ => return Ok(()),
        };
        let deeper = At { depth: depth + 1, ..at };
        if let Some(Value::String(target)) = object.get("$ref") {
            self.meter.spend(target.len() as u64).await?;
            if let Some(target) = self.schema.root.pointer(target.trim_start_matches('#')) {
                self.check(target, deeper).await?;
            }
        }
        if let Some(wanted) = object.get("type") {
            let fits = match wanted {
                Value::Array(names) => {
                    self.meter.spend(names.len() as u64).await?;
                    names.iter().any(|name| is_type(name, value))
                }
                name => is_type(name, value),
            };
            if !fits {
                return fail(&format!("is not of type {wanted}"));
            }
        }
        if let Some(wanted) = object.get("const")
            && !self.same(wanted, value).await?
        {
            return fail("is not the constant");
        }
        if let Some(allowed) = object.get("enum").and_then(Value::as_array)
            && !self.is_any(allowed, value).await?
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
            if object.contains_key("minLength") || object.contains_key("maxLength") {
                self.meter.spend(text.len() as u64 / BYTES_IN_A_STEP).await?;
                if outside(text.chars().count(), "minLength", "maxLength") {
                    return fail("is too short or too long");
                }
            }
            let pattern = object.get("pattern").and_then(Value::as_str);
            if let Some(pattern) = pattern.and_then(|pattern| self.schema.patterns.get(pattern))
                && !pattern.is_in(text, self.meter).await?
            {
                return fail("does not match the pattern");
            }
        }
        if let Some(items) = value.as_array() {
            if outside(items.len(), "minItems", "maxItems") {
                return fail("has too few or too many items");
            }
            if object.get("uniqueItems") == Some(&Value::Bool(true)) {
                let mut distinct = BTreeSet::new();
                for item in items {
                    let item = item.to_string();
                    // Among so many others it is compared with some of them.
                    let others = u64::from((distinct.len() + 1).ilog2() + 1);
                    self.meter.spend(others * (item.len() as u64 / BYTES_IN_A_STEP + 1)).await?;
                    if !distinct.insert(item) {
                        return fail("has equal items");
                    }
                }
            }
            if let Some(schema) = object.get("items") {
                for (index, item) in items.iter().enumerate() {
                    self.check(schema, At { value: item, place: Place::Item(&place, index), ..deeper }).await?;
                }
            }
        }
        if let Some(members) = value.as_object() {
            for name in object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
            {
                self.meter.spend(1 + name.len() as u64 / BYTES_IN_A_STEP).await?;
                if !members.contains_key(name) {
                    return fail(&format!("lacks '{name}'"));
                }
            }
            let properties = object.get("properties").and_then(Value::as_object);
            for (name, member) in members {
                self.meter.spend(1 + name.len() as u64 / BYTES_IN_A_STEP).await?;
                let schema = properties.and_then(|known| known.get(name)).or(object.get("additionalProperties"));
                if let Some(schema) = schema {
                    self.check(schema, At { value: member, place: Place::Member(&place, name), ..deeper }).await?;
                }
            }
        }
        let list = |name: &str| object.get(name).and_then(Value::as_array);
        for schema in list("allOf").into_iter().flatten() {
            self.check(schema, deeper).await?;
        }
        if let Some(all) = list("anyOf")
            && self.fitting(all, deeper).await? == 0
        {
            return fail("fits none of anyOf");
        }
        if let Some(all) = list("oneOf")
            && self.fitting(all, deeper).await? != 1
        {
            return fail("does not fit exactly one of oneOf");
        }
        if let Some(schema) = object.get("not")
            && self.fitting(std::slice::from_ref(schema), deeper).await? == 1
        {
            return fail("fits what it must not");
        }
        Ok(())
    }

    /// How many schemas a value fits.
    async fn fitting(&self, schemas: &[Value], at: At<'_>) -> Result<usize, Stop> {
        let mut fitting = 0;
        for schema in schemas {
            match self.check(schema, At { reported: false, ..at }).await {
                Ok(()) => fitting += 1,
                Err(Stop::Misfit(_)) => {}
                Err(Stop::Exhausted) => return Err(Stop::Exhausted),
            }
        }
        Ok(fitting)
    }

    async fn is_any(&self, allowed: &[Value], value: &Value) -> Result<bool, Stop> {
        for one in allowed {
            if self.same(one, value).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A comparison is bounded by the answer, and a schema may have very many of them.
    async fn same(&self, a: &Value, b: &Value) -> Result<bool, Stop> {
        let mut compared = 0;
        let same = same(a, b, &mut compared);
        self.meter.spend(compared).await?;
        Ok(same)
    }
}

// === impl Place ===

impl Place<'_> {
    /// The place as a pointer, as far as a person would read it.
    fn written(&self) -> String {
        let mut parts = Vec::new();
        let mut place = self;
        loop {
            place = match place {
                Self::Answer => break,
                Self::Item(outer, index) => {
                    parts.push(index.to_string());
                    outer
                }
                Self::Member(outer, name) => {
                    parts.push(name.chars().take(MAX_NAME).collect());
                    outer
                }
            };
        }
        if parts.is_empty() {
            return "the answer".to_owned();
        }
        parts.iter().rev().fold(String::new(), |all, part| all + "/" + part)
    }
}

// === impl Stop ===

impl From<Exhausted> for Stop {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use serde_json::json;
    use std::cell::Cell;

    fn check(schema: &Value, value: &Value) -> Result<(), String> {
        block_on(super::check(&Schema::new(schema).unwrap(), value, &Meter::new(1_000_000, async || {}))).unwrap()
    }

    fn unsupported(schema: &Value) -> Option<String> {
        Schema::new(schema).err()
    }

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
            let reported = check(&schema, &value).unwrap_err();
            assert!(reported.contains(wanted), "{value}: {reported}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        assert!(unsupported(&json!({ "properties": { "a": { "if": {} } } })).unwrap().contains("'if'"));
        assert!(unsupported(&json!({ "pattern": "(" })).unwrap().contains("regular expression"));
        assert!(unsupported(&json!({ "$ref": "https://example.com" })).is_some());
        assert!(unsupported(&json!("x")).is_some());
        assert!(unsupported(&json!({ "$ref": "#/$defs/none" })).is_some());
        assert!(
            check(&json!({ "multipleOf": 0.01 }), &json!(19.99)).is_ok()
                && check(&json!({ "enum": [1] }), &json!(1.0)).is_ok()
        );
        // A schema that only refers to itself ends.
        assert_eq!(check(&json!({ "$ref": "#" }), &json!(1)), Ok(()));
    }
    #[test]
    fn numbers_are_equal_however_they_are_written_wherever_they_are() {
        let schema = json!({ "const": { "a": [1, { "b": 2.0 }] } });
        assert_eq!(check(&schema, &json!({ "a": [1.0, { "b": 2 }] })), Ok(()));
        assert!(check(&schema, &json!({ "a": [1.0, { "c": 2 }] })).is_err());
    }

    /// Checks with so many steps, and says how often others went first.
    fn costly(schema: &Value, value: &Value, steps: u64) -> (Result<Result<(), String>, Exhausted>, u32) {
        let rests = Cell::new(0);
        let meter = Meter::new(steps, async || rests.set(rests.get() + 1));
        (block_on(super::check(&Schema::new(schema).unwrap(), value, &meter)), rests.get())
    }

    #[test]
    fn whatever_multiplies_ends_with_its_steps() {
        let doubling = json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] } }, "$ref": "#/$defs/a" });
        let many = |value: Value| Value::from(vec![value; 2_000]);
        let long = "a".repeat(20_000);
        let twice = |keyword: Value| json!({ "allOf": vec![keyword; 1_000] });
        let each = |keyword: Value| json!({ "items": { "not": keyword } });
        for (schema, value) in [
            (doubling, json!(1)),
            (each(json!({ "enum": (0..2_000).collect::<Vec<u32>>() })), many(json!(-1))),
            (each(json!({ "enum": many(json!([[1, 2], 3])) })), many(json!([[1, 2], 4]))),
            (each(json!({ "pattern": "(?:a{0,50}){0,50}b" })), many(json!("aaaaaaaaaaaaaaa"))),
            (json!({ "items": { "required": vec!["a"; 2_000] } }), many(json!({ "a": 1 }))),
            (each(json!({ "type": vec!["null"; 2_000] })), many(json!(1))),
            (twice(json!({ "minLength": 1 })), json!(long)),
            (twice(json!({ "uniqueItems": true })), (0..2_000).collect()),
            (twice(json!({ "items": {} })), many(json!(1))),
            (
                twice(json!({ "additionalProperties": {} })),
                Value::Object((0..2_000).map(|n| (n.to_string(), json!(1))).collect()),
            ),
            (twice(json!({ "not": { "items": { "type": "number" }, "not": {} } })), many(json!(1))),
        ] {
            let (outcome, rests) = costly(&schema, &value, 2_000_000);
            assert_eq!(outcome, Err(Exhausted), "{:.100}", schema.to_string());
            assert!(rests >= 7, "{rests}");
        }
    }

    #[test]
    fn names_are_not_written_down_on_the_way() {
        let name = "x".repeat(100_000);
        let value = json!({ name.clone(): vec![1; 10_000] });
        let (outcome, _) =
            costly(&json!({ "additionalProperties": { "items": { "type": "string" } } }), &value, 1_000_000);
        assert!(outcome.unwrap().unwrap_err().len() < 200);
        assert_eq!(
            costly(&json!({ "additionalProperties": { "items": { "type": "number" } } }), &value, 1_000_000).0,
            Ok(Ok(()))
        );
    }

    #[test]
    fn patterns_are_bounded_together() {
        let large = |n: u32| json!({ "pattern": format!("(?:a{{0,100}}){{0,100}}{n}") });
        assert_eq!(unsupported(&json!({ "allOf": [large(1), large(2)] })), None);
        assert!(unsupported(&json!({ "allOf": [large(1), large(2), large(3)] })).unwrap().contains("together"));
        assert!(unsupported(&json!({ "pattern": "(?:a{0,1000}){0,1000}" })).unwrap().contains("too large"));
    }
}
