//! The caller's own tags on a request: the header `cf-aig-metadata`, a flat JSON object.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many entries are kept where the operator does not say otherwise.
pub const DEFAULT_ENTRIES: usize = 5;

/// What was kept of the header, and what the caller should be told about the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Strings, numbers and booleans, in the order they were sent.
    pub entries: Vec<(String, Value)>,
    /// Why something was left out, for the response header; empty when all was kept.
    pub dropped: String,
}

/// Reads the header. The rules are those of Cloudflare AI Gateway: the first `max` entries are kept; keys that begin
/// with `cf.` are reserved; one null, object or array makes the whole header void. Unlike there, the caller is told.
pub fn parse(header: &str, max: usize) -> Metadata {
    let all = match serde_json::from_str::<Pairs>(header) {
        Ok(Pairs(all)) => all,
        Err(_) => return void("not a JSON object"),
    };
    if let Some((key, _)) =
        all.iter().find(|(_, value)| !matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)))
    {
        return void(&format!("{} is neither a string nor a number nor a boolean", shown(key)));
    }
    let mut metadata = Metadata::default();
    let mut reasons: Vec<String> = Vec::new();
    for (key, value) in all {
        if key.starts_with("cf.") {
            reasons.push(format!("{} is reserved", shown(&key)));
        } else if let Some(known) = metadata.entries.iter_mut().find(|(known, _)| *known == key) {
            // As in any JSON object, the later of two equal keys wins.
            known.1 = value;
        } else if metadata.entries.len() == max {
            reasons.push(format!("{} is beyond the first {max}", shown(&key)));
        } else {
            metadata.entries.push((key, value));
        }
    }
    metadata.dropped = reasons.join("; ");
    metadata.dropped.truncate(MAX_EXPLANATION);
    metadata
}

// === impl Metadata ===

impl Metadata {
    /// Puts entries in front that no caller overrides. What then has no room is left out from the end, and named.
    pub fn pin(&mut self, pinned: &[(String, Value)], max: usize) {
        if pinned.is_empty() {
            return;
        }
        let is_pinned = |key: &str| pinned.iter().any(|(known, _)| known == key);
        let mut reasons: Vec<String> = if self.dropped.is_empty() { Vec::new() } else { vec![self.dropped.clone()] };
        let mut all = pinned.to_vec();
        for (key, value) in std::mem::take(&mut self.entries) {
            if is_pinned(&key) {
                reasons.push(format!("{} is set by the token", shown(&key)));
            } else if all.len() >= max.max(pinned.len()) {
                reasons.push(format!("{} is beyond the first {max}", shown(&key)));
            } else {
                all.push((key, value));
            }
        }
        self.entries = all;
        self.dropped = reasons.join("; ");
        self.dropped.truncate(MAX_EXPLANATION);
    }
}

/// A response header that grew with the request's would let a caller break its own answer.
const MAX_EXPLANATION: usize = 1_000;

fn void(reason: &str) -> Metadata {
    Metadata { entries: Vec::new(), dropped: format!("all: {reason}") }
}

/// A key as it may stand in a response header: printable ASCII, and short.
fn shown(key: &str) -> String {
    key.chars().take(40).flat_map(char::escape_default).collect()
}

/// Texts beyond this many bytes are stored and shown, but not found by their value.
const MAX_SEARCHABLE: usize = 512;

/// A value as it is compared in searches. People write `5` and `true` into a query whatever type was sent, so a text that
/// is a number counts as that number, and booleans as the words.
pub fn searchable(value: &Value) -> Value {
    match value {
        Value::Bool(value) => Value::from(if *value { "true" } else { "false" }),
        // Only where nothing is lost: "007" and "1e3" are names rather than numbers.
        Value::String(text) => match serde_json::from_str::<Number>(text) {
            Ok(number) if number.to_string() == *text && is_exact(&number) => Value::Number(number),
            // SQLite takes a NUL for the end of a text.
            _ if text.len() > MAX_SEARCHABLE || text.contains('\0') => Value::Null,
            _ => value.clone(),
        },
        Value::Number(number) if !is_exact(number) => Value::from(number.to_string()),
        Value::Number(_) => value.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

/// D1 rounds the integers that it is asked for to 53 bits, and would not find longer ones: they are compared as texts.
fn is_exact(number: &Number) -> bool {
    number.is_f64() || number.as_i64().is_some_and(|integer| integer.unsigned_abs() <= 1 << 53)
}

// === impl Metadata ===

impl Metadata {
    /// The entries as the JSON object that is stored and shown, or `None` without any.
    pub fn to_json(&self) -> Option<String> {
        if self.entries.is_empty() {
            return None;
        }
        let mut object = Map::new();
        object.extend(self.entries.iter().cloned());
        serde_json::to_string(&object).ok()
    }
}

/// The members of a JSON object in their order. `serde_json::Map` sorts its keys, and the first five count.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn types_are_kept() {
        let read = parse(r#"{"team": "AI", "user": 12345, "test":true}"#, DEFAULT_ENTRIES);
        assert_eq!(
            read.entries,
            [("team".into(), json!("AI")), ("user".into(), json!(12345)), ("test".into(), json!(true))]
        );
        assert_eq!(read.dropped, "");
    }

    #[test]
    fn the_first_five_in_the_order_sent_are_kept_and_the_rest_is_named() {
        let read = parse(r#"{"z":1,"y":2,"x":3,"w":4,"v":5,"a":6}"#, DEFAULT_ENTRIES);
        let keys: Vec<_> = read.entries.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["z", "y", "x", "w", "v"]);
        assert_eq!(read.dropped, "a is beyond the first 5");
        assert_eq!(parse(r#"{"z":1,"y":2,"x":3,"w":4,"v":5,"a":6}"#, 20).entries.len(), 6);
    }

    #[test]
    fn numbers_are_found_whichever_way_they_were_sent() {
        for (sent, wanted) in [
            (json!(5), json!(5)),
            (json!("5"), json!(5)),
            (json!(1_234_567_890_123_456_789i64), json!("1234567890123456789")),
            (json!("1234567890123456789"), json!("1234567890123456789")),
            (json!(u64::MAX), json!("18446744073709551615")),
            (json!("007"), json!("007")),
            (json!(true), json!("true")),
        ] {
            assert_eq!(searchable(&sent), wanted);
        }
    }

    #[test]
    fn what_a_token_sets_stays_and_the_caller_is_told() {
        let mut read = parse(r#"{"team":"mine","a":1,"b":2}"#, 2);
        assert_eq!(read.dropped, "b is beyond the first 2");
        read.pin(&[("team".into(), json!("search"))], 2);
        assert_eq!(read.entries, [("team".into(), json!("search")), ("a".into(), json!(1))]);
        assert_eq!(read.dropped, "b is beyond the first 2; team is set by the token");
        let mut none = Metadata::default();
        none.pin(&[("team".into(), json!("search")), ("x".into(), json!(1))], 1);
        assert_eq!((none.entries.len(), none.dropped.as_str()), (2, ""));
    }

    #[test]
    fn reserved_keys_do_not_count() {
        let read = parse(r#"{"cf.user_id":"me","a":1,"a":2}"#, 1);
        assert_eq!(read.entries, [("a".into(), json!(2))]);
        assert_eq!(read.dropped, "cf.user_id is reserved");
    }

    #[test]
    fn one_wrong_value_voids_the_header() {
        for header in [r#"{"a":1,"b":null}"#, r#"{"a":{}}"#, r#"{"a":[1]}"#, "[1]", "x", "", "{\"a\":1", "null"] {
            let read = parse(header, DEFAULT_ENTRIES);
            assert!(read.entries.is_empty() && read.dropped.starts_with("all: "), "{header}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_harm(header in ".{0,200}") {
            let read = parse(&header, DEFAULT_ENTRIES);
            prop_assert!(read.dropped.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
        }

        #[test]
        fn flat_objects_come_back_as_sent(entries in prop::collection::btree_map("[a-z_]{1,8}", prop_oneof![
            ".{0,20}".prop_map(Value::from), any::<i64>().prop_map(Value::from), any::<bool>().prop_map(Value::from),
        ], 0..8)) {
            let object: Map<String, Value> = entries.clone().into_iter().collect();
            let read = parse(&serde_json::to_string(&object).unwrap(), 100);
            prop_assert_eq!(read.entries.into_iter().collect::<std::collections::BTreeMap<_, _>>(), entries);
        }
    }
}
