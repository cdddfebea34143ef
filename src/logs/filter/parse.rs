//! Filters as clients write them. The official SDKs alone have two ways of putting an array into a query.

use crate::base::fault::Invalid;
use crate::base::json::json;
use crate::base::number;
use crate::base::timestamp;
use crate::http::query::Query;
use crate::logs::filter::terms::{Filter, FilterKey, Filters, Kind, Operator};
use crate::logs::metadata;
use serde_json::{Map, Value};

/// Each binds up to three values, and D1 allows a statement a hundred.
pub const MAX_FILTERS: usize = 30;

const MAX_VALUES: usize = 1_000;

/// A filter as it was sent, before anything is checked.
#[derive(Clone, Debug, Default, PartialEq)]
struct Draft {
    key: Option<Value>,
    operator: Option<Value>,
    values: Vec<Value>,
}

/// Reads `filters` from a query, in any of the encodings that clients use:
/// `filters.key=…&filters.operator=…&filters.value=…` repeated filter by filter (npm `cloudflare`) or name by name
/// (PyPI `cloudflare`), `filters[0][key]=…`, and `filters=[{…}]` as JSON. The deprecated parameters of older SDKs,
/// such as `min_cost` and `start_date`, become filters too.
pub fn from_query(query: &Query) -> Result<Filters, Invalid> {
    let mut filters = Filters::default();
    for text in query.all("filters").filter(|text| !text.is_empty()) {
        let json = serde_json::from_str(text)
            .map_err(|error| Invalid::at(["query", "filters"], format!("Expected a JSON array of filters: {error}")))?;
        filters.0.extend(from_json(&json, &["query", "filters"])?.0);
    }
    for (index, draft) in drafts(query)?.into_iter().enumerate() {
        let index = index.to_string();
        filters.0.push(vec![draft.checked(&["query", "filters", &index])?]);
    }
    deprecated(query, &mut filters)?;
    bounded(filters, &["query", "filters"])
}

/// Reads an array of filters, or a single one. `path` says where it stands, for errors.
pub fn from_json(json: &Value, path: &[&str]) -> Result<Filters, Invalid> {
    let one;
    let list = match json {
        Value::Array(list) => list.as_slice(),
        Value::Object(_) => {
            one = [json.clone()];
            one.as_slice()
        }
        _ => return Err(invalid(path, &[], "Expected an array of filters {key, operator, value}")),
    };
    let mut filters = Filters::default();
    for (index, entry) in list.iter().enumerate() {
        let index = index.to_string();
        let here: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
        filters.0.push(clause(entry, &here)?);
    }
    bounded(filters, path)
}

fn clause(entry: &Value, path: &[&str]) -> Result<Vec<Filter>, Invalid> {
    let Some(object) = entry.as_object() else {
        return Err(invalid(path, &[], "Expected a filter {key, operator, value} or {\"or\": [filter, …]}"));
    };
    let Some(alternatives) = object.get("or") else {
        return Ok(vec![Draft::of(object).checked(path)?]);
    };
    let alternatives = alternatives.as_array().filter(|list| !list.is_empty() && object.len() == 1);
    let Some(alternatives) = alternatives else {
        return Err(invalid(
            path,
            &["or"],
            "Expected {\"or\": [filter, …]} with at least one filter and nothing beside it",
        ));
    };
    alternatives
        .iter()
        .enumerate()
        .map(|(index, alternative)| {
            let index = index.to_string();
            let here: Vec<&str> = path.iter().copied().chain(["or", index.as_str()]).collect();
            let object = alternative.as_object().filter(|object| !object.contains_key("or"));
            object
                .map(Draft::of)
                .ok_or_else(|| invalid(&here, &[], "Expected a filter {key, operator, value}"))?
                .checked(&here)
        })
        .collect()
}

fn bounded(filters: Filters, path: &[&str]) -> Result<Filters, Invalid> {
    let count: usize = filters.0.iter().map(Vec::len).sum();
    let values: usize = filters.0.iter().flatten().map(|filter| filter.values.len()).sum();
    if count > MAX_FILTERS || values > MAX_VALUES {
        let rule = format!("Expected at most {MAX_FILTERS} filters with at most {MAX_VALUES} values together");
        return Err(invalid(path, &[], &rule));
    }
    Ok(filters)
}

fn invalid(path: &[&str], more: &[&str], message: &str) -> Invalid {
    Invalid::at(path.iter().chain(more).copied(), message)
}

#[derive(Clone, Copy, PartialEq)]
enum Segment {
    Key,
    Operator,
    Value,
}

/// The filters of the dotted and bracketed encodings.
fn drafts(query: &Query) -> Result<Vec<Draft>, Invalid> {
    let mut dotted: Vec<(Segment, &str)> = Vec::new();
    let mut indexed: Vec<(&str, Draft)> = Vec::new();
    for (name, value) in query.iter() {
        let Some((index, part)) = part(name) else { continue };
        if index.is_empty() {
            dotted.push((part, value));
            continue;
        }
        match indexed.iter_mut().find(|(known, _)| *known == index) {
            Some((_, draft)) => draft.take(part, value),
            None => {
                let mut draft = Draft::default();
                draft.take(part, value);
                indexed.push((index, draft));
            }
        }
    }
    let grouped = dotted.windows(2).any(|pair| {
        matches!(pair, [(Segment::Key, _), (Segment::Key, _)] | [(Segment::Operator, _), (Segment::Operator, _)])
    });
    let mut found = if grouped { zipped(&dotted)? } else { sequential(&dotted) };
    found.extend(indexed.into_iter().map(|(_, draft)| draft));
    Ok(found)
}

/// The index (empty without one) and the part that a parameter's name means: `filters.key`, `filters[key]`,
/// `filters[0][value][]`, `filters.0.value`.
fn part(name: &str) -> Option<(&str, Segment)> {
    let rest = name.strip_prefix("filters")?;
    let mut words = rest.split(['.', '[', ']']).filter(|word| !word.is_empty());
    let mut word = words.next()?;
    let mut index = "";
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        index = word;
        word = words.next()?;
    }
    let part = match word {
        "key" => Segment::Key,
        "operator" => Segment::Operator,
        "value" => Segment::Value,
        _ => return None,
    };
    Some((index, part))
}

/// Whether a query parameter is part of a filter.
pub fn is_parameter(name: &str) -> bool {
    name == "filters" || part(name).is_some() || DEPRECATED.iter().any(|(known, ..)| *known == name)
}

/// Filter by filter: whatever the current one already has begins the next.
fn sequential(parts: &[(Segment, &str)]) -> Vec<Draft> {
    let mut found: Vec<Draft> = Vec::new();
    let mut last = None;
    for (part, value) in parts {
        let begins = match (found.last(), part) {
            (None, _) => true,
            (Some(draft), Segment::Key) => draft.key.is_some(),
            (Some(draft), Segment::Operator) => draft.operator.is_some(),
            (Some(draft), Segment::Value) => !draft.values.is_empty() && last != Some(Segment::Value),
        };
        if begins {
            found.push(Draft::default());
        }
        if let Some(draft) = found.last_mut() {
            draft.take(*part, value);
        }
        last = Some(*part);
    }
    found
}

/// All keys, all operators, all values. Nothing in this encoding tells where a filter's values end, so each filter has to
/// have one; a guess could choose, or delete, the wrong logs.
fn zipped(parts: &[(Segment, &str)]) -> Result<Vec<Draft>, Invalid> {
    let of = |wanted: Segment| parts.iter().filter(move |(part, _)| *part == wanted).map(|(_, value)| *value);
    let mut operators = of(Segment::Operator);
    let mut found: Vec<Draft> = of(Segment::Key)
        .map(|key| Draft {
            key: Some(json!(key)),
            operator: operators.next().map(|operator| json!(operator)),
            values: Vec::new(),
        })
        .collect();
    let valued = |draft: &Draft| !matches!(draft.operator.as_ref().and_then(Value::as_str), Some("present" | "absent"));
    if found.iter().filter(|draft| valued(draft)).count() != of(Segment::Value).count() {
        let rule = "Several filters with several values cannot be told apart in this form (all keys, then all operators, \
                    then all values). Send filters=[{\"key\":…,\"operator\":…,\"value\":[…]}] as JSON";
        return Err(Invalid::at(["query", "filters"], rule));
    }
    for (draft, value) in found.iter_mut().filter(|draft| valued(draft)).zip(of(Segment::Value)) {
        draft.values.push(json!(value));
    }
    Ok(found)
}

/// (parameter, key, operator) of what older SDKs send in place of filters.
const DEPRECATED: &[(&str, &str, Operator)] = &[
    ("start_date", "created_at", Operator::AtLeast),
    ("end_date", "created_at", Operator::AtMost),
    ("min_cost", "cost", Operator::AtLeast),
    ("max_cost", "cost", Operator::AtMost),
    ("min_tokens_in", "tokens_in", Operator::AtLeast),
    ("max_tokens_in", "tokens_in", Operator::AtMost),
    ("min_tokens_out", "tokens_out", Operator::AtLeast),
    ("max_tokens_out", "tokens_out", Operator::AtMost),
    ("min_total_tokens", "tokens", Operator::AtLeast),
    ("max_total_tokens", "tokens", Operator::AtMost),
    ("min_duration", "duration", Operator::AtLeast),
    ("max_duration", "duration", Operator::AtMost),
    ("success", "success", Operator::Eq),
    ("cached", "cached", Operator::Eq),
    ("model", "model", Operator::Eq),
    ("model_type", "model_type", Operator::Eq),
    ("provider", "provider", Operator::Eq),
    ("request_content_type", "request_content_type", Operator::Eq),
    ("response_content_type", "response_content_type", Operator::Eq),
];

fn deprecated(query: &Query, filters: &mut Filters) -> Result<(), Invalid> {
    for (name, key, operator) in DEPRECATED {
        let (Some(text), Some(key)) = (query.get(name), FilterKey::field(key)) else { continue };
        let value = typed(&json!(text), key.kind()).map_err(|rule| Invalid::at(["query", name], rule))?;
        if value.is_null() && *operator != Operator::Eq {
            return Err(Invalid::at(["query", name], "Expected a value"));
        }
        filters.and(Filter { key, operator: *operator, values: vec![value] });
    }
    if let (Some(text), Some(key)) = (query.get("feedback"), FilterKey::field("feedback")) {
        // 0 meant "no thumbs-up" when this parameter had only 0 and 1.
        let (operator, value) = match text {
            "1" => (Operator::Eq, 1),
            "-1" => (Operator::Eq, -1),
            "0" => (Operator::Neq, 1),
            _ => return Err(Invalid::at(["query", "feedback"], "Expected -1, 0 or 1")),
        };
        filters.and(Filter { key, operator, values: vec![json!(value)] });
    }
    Ok(())
}

/// A value as its kind wants it, or what is allowed instead.
fn typed(value: &Value, kind: Option<Kind>) -> Result<Value, String> {
    let text = value.as_str().map(str::trim);
    match kind {
        _ if value.is_null() => Ok(Value::Null),
        _ if value.is_array() || value.is_object() => Err("Expected a string, a number, a boolean or null".to_owned()),
        Some(Kind::Number | Kind::Bool | Kind::Time) if matches!(text, Some("" | "null")) => Ok(Value::Null),
        Some(Kind::Number) => {
            let number = value.as_f64().or_else(|| number::parse(text?));
            number.map(|number| json!(number)).ok_or_else(|| "Expected a number".to_owned())
        }
        Some(Kind::Bool) => match (value, text) {
            (Value::Bool(_), _) => Ok(value.clone()),
            (_, Some("true" | "1")) => Ok(json!(true)),
            (_, Some("false" | "0")) => Ok(json!(false)),
            _ => match value.as_f64() {
                Some(1.0) => Ok(json!(true)),
                Some(0.0) => Ok(json!(false)),
                _ => Err("Expected true or false".to_owned()),
            },
        },
        Some(Kind::Time) => {
            let milliseconds = value.as_u64().filter(|at| *at < 1 << 53).or_else(|| text.and_then(timestamp::parse));
            milliseconds.map(|at| json!(at)).ok_or_else(|| timestamp::expected(text.unwrap_or_default()).to_owned())
        }
        Some(Kind::Text) => match value {
            Value::String(_) => Ok(value.clone()),
            other => Ok(json!(other.to_string())),
        },
        // Entries have the types their callers gave them.
        None => match metadata::searchable(value) {
            // Not null, for that would ask for logs without the entry.
            Value::Null => Err("Expected at most 512 bytes without a NUL character".to_owned()),
            value => Ok(value),
        },
    }
}

// === impl Draft ===

impl Draft {
    fn of(object: &Map<String, Value>) -> Self {
        let values = match object.get("value") {
            None => Vec::new(),
            Some(Value::Array(values)) => values.clone(),
            Some(value) => vec![value.clone()],
        };
        Self { key: object.get("key").cloned(), operator: object.get("operator").cloned(), values }
    }

    fn take(&mut self, part: Segment, value: &str) {
        match part {
            Segment::Key => self.key = Some(json!(value)),
            Segment::Operator => self.operator = Some(json!(value)),
            Segment::Value => self.values.push(json!(value)),
        }
    }

    fn checked(self, path: &[&str]) -> Result<Filter, Invalid> {
        let expected = |allowed: String| format!("Invalid enum value. Expected {allowed}");
        let key = self.key.as_ref().and_then(Value::as_str).and_then(FilterKey::parse);
        let key = key.ok_or_else(|| invalid(path, &["key"], &expected(FilterKey::allowed())))?;
        let kind = key.kind();
        let operator = self.operator.as_ref().and_then(Value::as_str).and_then(Operator::parse);
        let operator = operator
            .filter(|operator| operator.fits(kind))
            .ok_or_else(|| invalid(path, &["operator"], &expected(Operator::allowed(kind))))?;
        if !operator.wants_values() {
            return Ok(Filter { key, operator, values: Vec::new() });
        }
        if self.values.is_empty() {
            return Err(invalid(path, &["value"], "Expected at least one value"));
        }
        let kind = if operator == Operator::Contains { Some(Kind::Text) } else { kind };
        let values = self.values.iter().enumerate().map(|(index, value)| {
            let index = index.to_string();
            let value = typed(value, kind).map_err(|rule| invalid(path, &["value", &index], &rule))?;
            if value.is_null() && !matches!(operator, Operator::Eq | Operator::Neq) {
                return Err(invalid(path, &["value", &index], "null can only be compared by 'eq' and 'neq'"));
            }
            Ok(value)
        });
        Ok(Filter { values: values.collect::<Result<_, _>>()?, key, operator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::envelope::ApiError;
    use proptest::prelude::*;

    fn read(query: &str) -> Filters {
        from_query(&Query::parse(query)).unwrap()
    }

    fn filter(key: &str, operator: Operator, values: &[Value]) -> Vec<Filter> {
        vec![Filter { key: FilterKey::parse(key).unwrap(), operator, values: values.to_vec() }]
    }

    #[test]
    fn every_encoding_says_the_same() {
        let wanted = Filters(vec![
            filter("provider", Operator::Eq, &[json!("openai"), json!("x y")]),
            filter("cost", Operator::Gt, &[json!(0.5)]),
        ]);
        for query in [
            "filters.key=provider&filters.operator=eq&filters.value=openai&filters.value=x+y&filters.key=cost&filters.operator=gt&filters.value=0.5",
            "filters.operator=eq&filters.key=provider&filters.value=openai&filters.value=x+y&filters.operator=gt&filters.key=cost&filters.value=0.5",
            "filters.value=openai&filters.value=x+y&filters.key=provider&filters.operator=eq&filters.value=0.5&filters.key=cost&filters.operator=gt",
            "filters[0][key]=provider&filters[1][key]=cost&filters[0][operator]=eq&filters[1][operator]=gt&filters[0][value][]=openai&filters[0][value][]=x%20y&filters[1][value]=0.5",
            "filters%5B0%5D.key=provider&filters%5B0%5D.operator=eq&filters%5B0%5D.value=openai&filters%5B0%5D.value=x+y&filters%5B1%5D.key=cost&filters%5B1%5D.operator=gt&filters%5B1%5D.value=0.5",
            "filters=%5B%7B%22key%22%3A%22provider%22%2C%22operator%22%3A%22eq%22%2C%22value%22%3A%5B%22openai%22%2C%22x%20y%22%5D%7D%2C%7B%22key%22%3A%22cost%22%2C%22operator%22%3A%22gt%22%2C%22value%22%3A0.5%7D%5D",
        ] {
            assert_eq!(read(query), wanted, "{query}");
        }
    }

    #[test]
    fn the_grouped_encoding_is_zipped() {
        let wanted = Filters(vec![
            filter("provider", Operator::Eq, &[json!("openai")]),
            filter("error", Operator::Absent, &[]),
            filter("model", Operator::Neq, &[json!("a")]),
        ]);
        let query = "filters.key=provider&filters.key=error&filters.key=model&filters.operator=eq&filters.operator=absent\
                     &filters.operator=neq&filters.value=openai&filters.value=a";
        assert_eq!(read(query), wanted);
        for uneven in [format!("{query}&filters.value=b"), query.replace("&filters.value=a", "")] {
            let error = from_query(&Query::parse(&uneven)).unwrap_err();
            assert!(error.message.contains("as JSON"), "{uneven}");
        }
        let one = "filters.key=model&filters.operator=eq&filters.value=a&filters.value=b";
        assert_eq!(read(one), Filters(vec![filter("model", Operator::Eq, &[json!("a"), json!("b")])]));
    }

    #[test]
    fn deprecated_parameters_are_filters() {
        let read = read("min_cost=1&end_date=2026-11-21T00:00:00Z&success=true&feedback=0&model=gpt-4o");
        assert_eq!(
            read.0,
            [
                filter("created_at", Operator::AtMost, &[json!(1_795_219_200_000u64)]),
                filter("cost", Operator::AtLeast, &[json!(1.0)]),
                filter("success", Operator::Eq, &[json!(true)]),
                filter("model", Operator::Eq, &[json!("gpt-4o")]),
                filter("feedback", Operator::Neq, &[json!(1)]),
            ]
        );
    }

    #[test]
    fn alternatives_are_written_as_or() {
        let json = json!([{ "or": [{ "key": "feedback", "operator": "eq", "value": [-1] }, { "key": "score", "operator": "lt", "value": 50 }] }]);
        let read = from_json(&json, &["body", "filters"]).unwrap();
        assert_eq!(read.0.first().map(Vec::len), Some(2));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            (json!([{ "key": "modle", "operator": "eq", "value": ["x"] }]), vec!["0", "key"], "'model'"),
            (json!([{ "key": "model", "operator": "like", "value": ["x"] }]), vec!["0", "operator"], "'contains'"),
            (json!([{ "key": "success", "operator": "gt", "value": [1] }]), vec!["0", "operator"], "'neq'"),
            (json!([{ "key": "model", "operator": "eq", "value": [] }]), vec!["0", "value"], "at least one"),
            (json!([{ "key": "cost", "operator": "eq", "value": [1, "much"] }]), vec!["0", "value", "1"], "number"),
            (json!([{ "key": "created_at", "operator": "gt", "value": ["today"] }]), vec!["0", "value", "0"], "2026"),
            (
                json!([{ "key": "success", "operator": "eq", "value": ["yes"] }]),
                vec!["0", "value", "0"],
                "true or false",
            ),
            (json!([{ "key": "cost", "operator": "lt", "value": [null] }]), vec!["0", "value", "0"], "null"),
            (json!([{ "or": [] }]), vec!["0", "or"], "at least one"),
            (json!([{ "or": [{ "or": [] }] }]), vec!["0", "or", "0"], "a filter"),
            (json!(["x"]), vec!["0"], "a filter"),
            (json!("x"), vec![], "an array"),
        ];
        for (json, place, message) in cases {
            let error = ApiError::from(from_json(&json, &["body", "filters"]).unwrap_err());
            assert_eq!((error.status, error.code), (400, 7001));
            assert_eq!(error.path, [vec!["body", "filters"], place].concat(), "{json}");
            assert!(error.message.contains(message), "{json}: {}", error.message);
        }
        let long = json!([{ "key": "metadata.a", "operator": "eq", "value": ["x".repeat(513)] }]);
        assert_eq!(ApiError::from(from_json(&long, &["body"]).unwrap_err()).code, 7001);
        assert_eq!(from_query(&Query::parse("min_cost=")).unwrap_err().path, ["query", "min_cost"]);
        assert_eq!(from_query(&Query::parse("filters=x")).unwrap_err().path, ["query", "filters"]);
        assert_eq!(from_query(&Query::parse("max_cost=x")).unwrap_err().path, ["query", "max_cost"]);
        let many: Vec<Value> = (0..31).map(|_| json!({ "key": "model", "operator": "present" })).collect();
        assert!(from_json(&json!(many), &["body"]).is_err());
    }

    proptest! {
        #[test]
        fn anything_is_read_without_harm(query in "(filters(\\.|\\[)?(key|operator|value|0)?\\]?=[a-z0-9\\[\\]{}:,\"]{0,12}&){0,8}") {
            let _ = from_query(&Query::parse(&query));
        }
    }
}
