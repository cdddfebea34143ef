//! Other addresses in the place of those at known places of a JSON document. All else of it stays the text that it was.

use crate::base::sorted;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The document with the addresses that `to` has for those at `places`; `None` where nothing changes. `place` tells `to`
/// which of the places it is about.
pub fn rewritten<'p>(
    document: &str,
    places: impl Iterator<Item = &'p str>,
    mut to: impl FnMut(&str, &'p str) -> Option<String>,
) -> Option<String> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for place in places {
        let steps: Vec<&str> = place.split('.').collect();
        let mut found = Vec::new();
        find(document, &steps, &mut found);
        for text in found {
            let Ok(address) = serde_json::from_str::<Cow<'_, str>>(text) else { continue };
            if let Some(other) = to(&address, place) {
                let start = (text.as_ptr() as usize).saturating_sub(document.as_ptr() as usize);
                edits.push((start..start + text.len(), serde_json::Value::from(other).to_string()));
            }
        }
    }
    if edits.is_empty() {
        return None;
    }
    sorted::by_key(&mut edits, |(range, _)| range.start);
    let mut out = String::with_capacity(document.len() + 64 * edits.len());
    let mut copied = 0;
    for (Range { start, end }, other) in edits {
        if start >= copied {
            out.push_str(document.get(copied..start)?);
            out.push_str(&other);
            copied = end;
        }
    }
    out.push_str(document.get(copied..)?);
    Some(out)
}

/// Adds the texts at a place: of a name that is there twice both, for readers differ in which of them they take.
fn find<'a>(value: &'a str, steps: &[&str], found: &mut Vec<&'a str>) {
    match steps.split_first() {
        None if value.starts_with('"') => found.push(value),
        None => {}
        Some((&"[]", steps)) => {
            let elements: Vec<&RawValue> = serde_json::from_str(value).unwrap_or_default();
            elements.into_iter().for_each(|element| find(element.get(), steps, found));
        }
        Some((name, steps)) => {
            let Ok(Members(members)) = serde_json::from_str(value) else { return };
            for (member, value) in members {
                if member == *name {
                    find(value.get(), steps, found);
                }
            }
        }
    }
}

/// The members of an object, as their text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const PLACES: &[&str] = &["results_url", "data.[].results_url", "urls.get", "list.[]"];

    fn changed(document: &str) -> Option<String> {
        rewritten(document, PLACES.iter().copied(), |address, _| {
            address.strip_prefix("https://a.example/").map(|path| format!("https://gate/\"{path}"))
        })
    }

    #[test]
    fn only_the_addresses_at_their_places_change() {
        for (document, wanted) in [
            (
                r#"{ "id" : 1.0, "results_url" : "https://a.example/x" }"#,
                Some(r#"{ "id" : 1.0, "results_url" : "https://gate/\"x" }"#),
            ),
            (r#"{"results\u005furl":"https:\/\/a.example/x"}"#, Some(r#"{"results\u005furl":"https://gate/\"x"}"#)),
            (
                r#"{"data":[{"results_url":"https://a.example/1"},{"results_url":null},{"results_url":"https://b.example/"}],"x":"https://a.example/"}"#,
                Some(
                    r#"{"data":[{"results_url":"https://gate/\"1"},{"results_url":null},{"results_url":"https://b.example/"}],"x":"https://a.example/"}"#,
                ),
            ),
            (
                r#"{"results_url":"https://a.example/1","results_url":"https://a.example/2"}"#,
                Some(r#"{"results_url":"https://gate/\"1","results_url":"https://gate/\"2"}"#),
            ),
            (
                r#"{"urls":{"get":"https://a.example/p","web":"https://a.example/w"}}"#,
                Some(r#"{"urls":{"get":"https://gate/\"p","web":"https://a.example/w"}}"#),
            ),
            (r#"{"list":["https://a.example/p",5,"x"]}"#, Some(r#"{"list":["https://gate/\"p",5,"x"]}"#)),
            (r#"{"results_url":null}"#, None),
            (r#"{"results_url":{"results_url":"https://a.example/x"}}"#, None),
            (r#"{"inner":{"results_url":"https://a.example/x"}}"#, None),
            (r#"["https://a.example/x"]"#, None),
            (r#"{"results_url":"https://a.example/x""#, None),
            ("https://a.example/x", None),
            ("", None),
        ] {
            assert_eq!(changed(document).as_deref(), wanted, "{document}");
        }
    }

    proptest! {
        #[test]
        fn what_is_at_no_place_stays_as_it_is(
            name in "results_url|data|x",
            value in "https://a\\.example/[a-z]{0,5}|\\PC{0,20}",
            around in "[ \n]{0,3}",
        ) {
            let document = format!("{{{around}{}:{around}{}}}", Value::from(name.as_str()), Value::from(value.as_str()));
            if let Some(changed) = changed(&document) {
                prop_assert_eq!(name, "results_url");
                prop_assert!(serde_json::from_str::<Value>(&changed).is_ok());
            }
        }
    }
}
