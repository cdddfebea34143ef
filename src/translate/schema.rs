//! JSON schemas in the subsets that providers take.

use crate::members;
use crate::translate::json::Json;
use crate::translate::model::Dropped;

/// Callers' schemas are not trusted: nothing beyond these is looked at.
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 10_000;

/// Keywords that Anthropic and Amazon refuse in the schema of an answer.
const REFUSED: &[&str] =
    &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"];

/// A schema for the answers of Anthropic's models: objects are closed, and keywords that are refused are left out.
pub fn closed(schema: &Json, dropped: &mut Dropped) -> Json {
    let mut nodes = 0;
    close(schema, 0, &mut nodes, dropped)
}

fn close(schema: &Json, depth: usize, nodes: &mut usize, dropped: &mut Dropped) -> Json {
    *nodes += 1;
    match schema {
        Json::Object(members) if depth < MAX_DEPTH && *nodes < MAX_NODES => {
            let is_map = |name: &str| matches!(name, "properties" | "$defs" | "definitions");
            let mut closed = Json::object();
            for (name, value) in members {
                let many = name == "minItems" && value.as_u64().is_some_and(|least| least > 1);
                if REFUSED.contains(&name.as_str()) || many {
                    dropped.note(format!("schema: {name}"));
                } else if let (true, Json::Object(inner)) = (is_map(name), value) {
                    let inner =
                        inner.iter().map(|(name, value)| (name.clone(), close(value, depth + 1, nodes, dropped)));
                    closed.set(name, Json::Object(inner.collect()));
                } else if !matches!(name.as_str(), "enum" | "const" | "default" | "examples" | "required") {
                    closed.set(name, close(value, depth + 1, nodes, dropped));
                } else {
                    closed.set(name, value.clone());
                }
            }
            if closed.text("type") == Some("object") || closed.get("properties").is_some() {
                closed.set("additionalProperties", false);
            }
            closed
        }
        Json::Array(all) => Json::Array(all.iter().map(|one| close(one, depth + 1, nodes, dropped)).collect()),
        other => other.clone(),
    }
}

/// A schema in the subset of OpenAPI that Gemini takes. `None` for the empty object, which Gemini refuses.
pub fn openapi(schema: &Json, dropped: &mut Dropped) -> Option<Json> {
    let mut reduction = Reduction { root: schema, nodes: 0, dropped };
    let reduced = reduction.reduce(schema, &mut Vec::new());
    let is_empty = reduced.text("type") == Some("object")
        && reduced.get("properties").and_then(Json::members).is_none_or(Vec::is_empty);
    (!is_empty).then_some(reduced)
}

struct Reduction<'a> {
    root: &'a Json,
    nodes: usize,
    dropped: &'a mut Dropped,
}

/// Keywords that stay as they are.
const KEPT: &[&str] = &[
    "type",
    "format",
    "description",
    "title",
    "nullable",
    "enum",
    "items",
    "properties",
    "required",
    "anyOf",
    "default",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "propertyOrdering",
];

const FORMATS: &[&str] = &["enum", "date-time", "float", "double", "int32", "int64"];

// === impl Reduction ===

impl Reduction<'_> {
    fn reduce(&mut self, schema: &Json, path: &mut Vec<String>) -> Json {
        self.nodes += 1;
        if path.len() > MAX_DEPTH || self.nodes > MAX_NODES {
            self.dropped.note("schema: too deep or too large");
            return Json::object();
        }
        let Json::Object(_) = schema else { return Json::object() };
        if let Some(target) = schema.text("$ref") {
            return self.referred(schema, target, path);
        }
        let mut out = self.all_of(schema, path);
        self.constant(&mut out);
        self.types(&mut out);
        self.alternatives(&mut out, path);
        self.bounds(&mut out);
        self.members(out, path)
    }

    fn referred(&mut self, schema: &Json, target: &str, path: &mut Vec<String>) -> Json {
        let found = target
            .strip_prefix("#/")
            .and_then(|names| names.split('/').try_fold(self.root, |value, name| value.get(name)));
        let (Some(found), false) = (found.cloned(), path.iter().any(|seen| seen == target)) else {
            self.dropped.note("schema: recursive $ref");
            return Json::object();
        };
        // What stands beside the reference wins.
        let mut whole = found;
        for (name, value) in schema.members().into_iter().flatten().filter(|(name, _)| name != "$ref") {
            whole.set(name, value.clone());
        }
        path.push(target.to_owned());
        let reduced = self.reduce(&whole, path);
        path.pop();
        reduced
    }

    fn all_of(&mut self, schema: &Json, path: &[String]) -> Json {
        let mut out = schema.clone();
        for part in schema.list("allOf") {
            let part = match part.text("$ref") {
                Some(target) if path.iter().all(|seen| seen != target) => {
                    let found = target
                        .strip_prefix("#/")
                        .and_then(|names| names.split('/').try_fold(self.root, |value, name| value.get(name)));
                    found.cloned().unwrap_or_default()
                }
                _ => part.clone(),
            };
            for (name, value) in part.members().into_iter().flatten() {
                match (name.as_str(), out.get(name).cloned(), value) {
                    ("properties", Some(Json::Object(mut own)), Json::Object(more)) => {
                        for (name, value) in more {
                            if !own.iter().any(|(known, _)| known == name) {
                                own.push((name.clone(), value.clone()));
                            }
                        }
                        out.set(name, Json::Object(own));
                    }
                    ("required", Some(Json::Array(mut own)), Json::Array(more)) => {
                        own.extend(more.iter().filter(|name| !own.contains(name)).cloned().collect::<Vec<_>>());
                        out.set(name, own);
                    }
                    (_, None, _) => out.set(name, value.clone()),
                    _ => {}
                }
            }
        }
        out
    }

    fn constant(&mut self, out: &mut Json) {
        if let Some(value) = out.get("const").cloned() {
            if out.get("type").is_none() {
                let kind = match &value {
                    Json::Bool(_) => "boolean",
                    Json::Number(_) => "number",
                    _ => "string",
                };
                out.set("type", kind);
            }
            out.set("enum", vec![value]);
        }
    }

    fn types(&mut self, out: &mut Json) {
        let Some(Json::Array(types)) = out.get("type").cloned() else { return };
        let others: Vec<&Json> = types.iter().filter(|kind| kind.as_str() != Some("null")).collect();
        if others.len() < types.len() {
            out.set("nullable", true);
        }
        match others.as_slice() {
            [one] => out.set("type", (*one).clone()),
            many => {
                let any: Vec<Json> = many.iter().map(|kind| members! { "type": (*kind).clone() }).collect();
                out.set("type", Json::Null);
                out.set("anyOf", any);
            }
        }
    }

    fn alternatives(&mut self, out: &mut Json, path: &mut Vec<String>) {
        let name = if out.get("anyOf").is_some() { "anyOf" } else { "oneOf" };
        let Some(Json::Array(all)) = out.get(name).cloned() else { return };
        let is_null = |one: &&Json| one.text("type") == Some("null");
        if all.iter().any(|one| is_null(&one)) {
            out.set("nullable", true);
        }
        let others: Vec<Json> = all.iter().filter(|one| !is_null(one)).cloned().collect();
        out.set("anyOf", Json::Null);
        out.set("oneOf", Json::Null);
        match others.as_slice() {
            [one] => {
                let one = self.reduce(one, path);
                for (name, value) in one.members().into_iter().flatten() {
                    if out.get(name).is_none() {
                        out.set(name, value.clone());
                    }
                }
            }
            many => {
                let reduced: Vec<Json> = many.iter().map(|one| self.reduce(one, path)).collect();
                out.set("anyOf", reduced);
            }
        }
    }

    fn bounds(&mut self, out: &mut Json) {
        for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
            if let (Some(value), None) = (out.get(exclusive).filter(|v| v.as_f64().is_some()).cloned(), out.get(bound))
            {
                out.set(bound, value);
            }
        }
    }

    fn members(&mut self, schema: Json, path: &mut Vec<String>) -> Json {
        let mut out = Json::object();
        let properties = schema.get("properties").and_then(Json::members).cloned();
        let names: Vec<&String> = properties.iter().flatten().map(|(name, _)| name).collect();
        for (name, value) in schema.members().into_iter().flatten() {
            if value.is_null() || !KEPT.contains(&name.as_str()) {
                continue;
            }
            match (name.as_str(), value) {
                ("format", Json::String(format)) if !FORMATS.contains(&format.as_str()) => {}
                ("enum", Json::Array(all)) => {
                    // Gemini takes texts only.
                    let texts: Vec<Json> = all
                        .iter()
                        .filter(|one| !one.is_null())
                        .map(|one| one.as_str().map_or_else(|| Json::from(one.to_string()), Json::from))
                        .collect();
                    out.set("type", "string");
                    out.set(name, texts);
                }
                ("type", _) if out.get("type").is_some() => {}
                ("properties", Json::Object(inner)) => {
                    let mut reduced = Vec::new();
                    for (name, value) in inner {
                        path.push(String::new());
                        reduced.push((name.clone(), self.reduce(value, path)));
                        path.pop();
                    }
                    out.set(name, Json::Object(reduced));
                }
                ("required", Json::Array(all)) => {
                    let known: Vec<Json> =
                        all.iter().filter(|one| names.iter().any(|name| one.as_str() == Some(name))).cloned().collect();
                    if !known.is_empty() {
                        out.set(name, known);
                    }
                }
                ("items", Json::Array(all)) => {
                    let any: Vec<Json> = all.iter().map(|one| self.reduce(one, path)).collect();
                    out.set(name, members! { "anyOf": any });
                }
                ("items", inner) => {
                    path.push(String::new());
                    let reduced = self.reduce(inner, path);
                    path.pop();
                    out.set(name, reduced);
                }
                (_, value) => out.set(name, value.clone()),
            }
        }
        if out.text("type") == Some("array") && out.get("items").is_none() {
            out.set("items", Json::object());
        }
        if out.get("properties").is_some() && out.get("type").is_none() {
            out.set("type", "object");
        }
        out
    }
}
