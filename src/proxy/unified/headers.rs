//! What becomes of a caller's headers where its request goes to another vendor than its client was made for: the key changes its
//! place, and what only the client's own vendor understands stays here.

use crate::base::mask;
use crate::credentials::select::{self, KEY_HEADERS};
use crate::http::headers::{Edits, Headers};
use crate::providers::table::KeyForm;
use crate::translate::Format;

/// Headers that say which API of its vendor a client means, or for whom.
const OF_A_VENDOR: &[&str] = &[
    "accept",
    "anthropic-",
    "chatgpt-account-id",
    "content-digest",
    "content-encoding",
    "content-md5",
    "digest",
    "openai-",
    "originator",
    "repr-digest",
    "x-amz-",
    "x-app",
    "x-goog-api-client",
    "x-goog-user-project",
];

/// What Anthropic's API wants of each request.
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The parameter of a URL in which Google's clients bring a key.
const KEY: &str = "key";

/// What changes in a caller's headers. `ours` tells a header that has a token of ours and no key. `translated` is the provider's format
/// where that is not the caller's.
pub fn changed<'a>(
    headers: &Headers,
    query: &str,
    form: KeyForm,
    translated: Option<Format>,
    ours: impl Fn(&str, &str) -> bool,
) -> Edits<'a> {
    let mut edits = Edits::default();
    if let Some(to) = translated {
        for (name, _) in &headers.0 {
            if OF_A_VENDOR.iter().any(|own| name == own || (own.ends_with('-') && name.starts_with(own))) {
                edits.remove(name.clone());
            }
        }
        edits.set("content-type", "application/json");
        if to == Format::Messages {
            edits.set(VERSION.0, VERSION.1);
        }
    }
    let is_key = |name: &str, value: &str| !select::is_placeholder(value) && !ours(name, value);
    let in_headers = || {
        KEY_HEADERS
            .iter()
            .find_map(|name| Some((*name, headers.get(name)?)).filter(|(name, value)| is_key(name, value)))
    };
    let in_query = || {
        let value = query.strip_prefix('?').unwrap_or(query).split('&').find_map(|pair| pair.strip_prefix("key="))?;
        Some((KEY, value)).filter(|(name, value)| is_key(name, value))
    };
    let Some((place, value)) = in_headers().or_else(in_query) else { return edits };
    let key = mask::bare(value);
    let (name, value) = match form {
        KeyForm::Header(name) | KeyForm::Resource(name) => (name, key.to_owned()),
        KeyForm::Scheme(scheme) => ("authorization", format!("{scheme} {key}")),
        // A signature, or a service account, is no key that could be written otherwise.
        KeyForm::Aws | KeyForm::Google if place == "authorization" => return edits,
        KeyForm::Bearer | KeyForm::Aws | KeyForm::Google => ("authorization", format!("Bearer {key}")),
    };
    if place == name && (name != "authorization" || matches!(form, KeyForm::Bearer)) {
        return edits;
    }
    if place != KEY {
        edits.remove(place);
    }
    edits.set(name, value);
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pairs: &[(&str, &str)], query: &str, form: KeyForm, translated: Option<Format>) -> Vec<(String, String)> {
        let headers = Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        let edits = changed(&headers, query, form, translated, |_, value| value.contains("tgt_"));
        let names = [
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "anthropic-version",
            "anthropic-beta",
            "openai-organization",
            "content-type",
        ];
        let values = names.iter().filter_map(|name| Some(((*name).to_owned(), edits.get(&headers, name)?.to_owned())));
        values.collect()
    }

    #[test]
    fn a_key_goes_where_its_provider_looks_for_it() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (given, query, form, wanted) in [
            (vec![("authorization", "Bearer sk-1")], "", KeyForm::Header("x-api-key"), vec![pair("x-api-key", "sk-1")]),
            (vec![("x-api-key", "sk-1")], "", KeyForm::Bearer, vec![pair("authorization", "Bearer sk-1")]),
            (vec![("x-goog-api-key", "sk-1")], "", KeyForm::Scheme("Key"), vec![pair("authorization", "Key sk-1")]),
            (vec![("authorization", "Bearer sk-1")], "", KeyForm::Bearer, vec![pair("authorization", "Bearer sk-1")]),
            (vec![("authorization", "Bearer sk-1")], "", KeyForm::Resource("api-key"), vec![pair("api-key", "sk-1")]),
            (vec![("authorization", "Bearer ya29")], "", KeyForm::Google, vec![pair("authorization", "Bearer ya29")]),
            (vec![], "?key=sk-1&alt=sse", KeyForm::Bearer, vec![pair("authorization", "Bearer sk-1")]),
            // A token of ours is no key, and what an SDK sends for want of one is none.
            (
                vec![("authorization", "Bearer tgt_x")],
                "",
                KeyForm::Header("x-api-key"),
                vec![pair("authorization", "Bearer tgt_x")],
            ),
            (
                vec![("authorization", "Bearer tgt_x"), ("x-api-key", "sk-1")],
                "",
                KeyForm::Header("x-goog-api-key"),
                vec![pair("authorization", "Bearer tgt_x"), pair("x-goog-api-key", "sk-1")],
            ),
            (vec![("x-api-key", "unused")], "", KeyForm::Bearer, vec![pair("x-api-key", "unused")]),
        ] {
            assert_eq!(after(&given, query, form, None), wanted, "{given:?} {form:?}");
        }
    }

    #[test]
    fn what_only_one_vendor_understands_goes_to_no_other() {
        let given = [
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "x"),
            ("openai-organization", "o"),
            ("content-type", "text/plain"),
        ];
        let json = ("content-type".to_owned(), "application/json".to_owned());
        assert_eq!(after(&given, "", KeyForm::Bearer, Some(Format::Chat)), vec![json.clone()]);
        let version = ("anthropic-version".to_owned(), "2023-06-01".to_owned());
        assert_eq!(after(&given[2..], "", KeyForm::Bearer, Some(Format::Messages)), vec![version, json]);
        assert_eq!(after(&given, "", KeyForm::Bearer, None).len(), 4);
    }
}
