//! Holds `src/openapi.json` against the router. Tests in `tests/e2e` hold it against real answers.

use crate::http::router::{Access, ENDPOINTS, Endpoint};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../openapi.json");
const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// A template of the router as OpenAPI writes it.
fn documented(template: &str) -> String {
    template.replace("{rest...}", "{rest}")
}

fn operations(document: &Value) -> Vec<(String, String, Value, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item[**method].is_object()) {
            let shared = item.get("parameters").cloned().unwrap_or_else(|| Value::from(Vec::<Value>::new()));
            found.push(((*method).to_owned(), path.clone(), item[*method].clone(), shared));
        }
    }
    found
}

#[test]
fn every_route_is_documented_and_nothing_else() {
    let mut wanted = BTreeSet::new();
    for (_, method, template, _) in ENDPOINTS {
        let methods = if *method == "*" { METHODS.to_vec() } else { vec![*method] };
        wanted.extend(methods.iter().map(|method| (method.to_lowercase(), documented(template))));
    }
    let document = document();
    let found: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _, _)| (method, path)).collect();
    assert_eq!(found, wanted);
    let known = |name: &String| name == "parameters" || METHODS.contains(&name.as_str());
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(item.as_object().unwrap().keys().all(known), "{path}");
    }
}

#[test]
fn operations_are_named_after_their_endpoints() {
    for (method, path, operation, _) in operations(&document()) {
        let (endpoint, ..) = ENDPOINTS
            .iter()
            .find(|(_, known, template, _)| {
                documented(template) == path && (*known == "*" || known.eq_ignore_ascii_case(&method))
            })
            .unwrap();
        let id = operation["operationId"].as_str().unwrap();
        assert!(id.starts_with(&format!("{endpoint:?}")), "{method} {path}: {id}");
    }
}

#[test]
fn path_parameters_are_those_of_the_template() {
    let document = document();
    for (method, path, operation, shared) in operations(&document) {
        let own = operation["parameters"].as_array().cloned().unwrap_or_default();
        let declared: BTreeSet<String> = shared
            .as_array()
            .unwrap()
            .iter()
            .chain(&own)
            .map(|parameter| match parameter["$ref"].as_str() {
                Some(place) => document.pointer(place.trim_start_matches('#')).unwrap(),
                None => parameter,
            })
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        let wanted: BTreeSet<String> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .map(str::to_owned)
            .collect();
        assert_eq!(declared, wanted, "{method} {path}");
    }
}

#[test]
fn refusals_are_documented_where_they_apply() {
    let document = document();
    for (endpoint, method, template, access) in ENDPOINTS {
        let place = &document["paths"][documented(template)];
        if matches!(access, Access::Open | Access::Gateway | Access::Run) {
            let operation = if *method == "*" { &place["get"] } else { &place[method.to_lowercase()] };
            assert_eq!(*access == Access::Open, operation["security"] == Value::from(Vec::<Value>::new()));
            continue;
        }
        let operation = &place[method.to_lowercase()];
        let responses = operation["responses"].as_object().unwrap();
        let has = |status: &str| responses.contains_key(status);
        // What a self-hosted gateway does not sell is refused to all.
        assert_eq!(has("200"), *endpoint != Endpoint::RefuseBilling, "{endpoint:?}");
        assert!(has("401") && has("5XX"), "{endpoint:?}");
        assert_eq!(has("403"), !matches!(access, Access::See | Access::SignedIn), "{endpoint:?}");
        assert_eq!(
            has("404"),
            !matches!(endpoint, Endpoint::GiveFeedbackInBulk | Endpoint::GetMe | Endpoint::GraphQl),
            "{endpoint:?}"
        );
        assert_eq!(has("413"), *method != "GET", "{endpoint:?}");
        let bounded = operation["parameters"].is_array() || operation["requestBody"].is_object();
        // Whatever these are asked for, it is there or not.
        let is_lenient = matches!(endpoint, Endpoint::TakeFeedbackBack | Endpoint::GetMetrics | Endpoint::ExportConfig);
        assert!(has("400") || !bounded || is_lenient, "{endpoint:?}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for place in &found {
        assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place}");
    }
    for kind in ["parameters", "responses", "schemas"] {
        for name in document["components"][kind].as_object().map(Map::keys).unwrap() {
            // A refusal stands beside whatever a provider answers, so no schema can name it.
            let spoken_of = name == "Refusal";
            assert!(spoken_of || found.contains(format!("#/components/{kind}/{name}").as_str()), "{kind} {name}");
        }
    }
}
