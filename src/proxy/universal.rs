//! The universal endpoint's request: one call written down for several providers, to be tried in turn.
//!
//! What a provider is to get stays the text that the caller wrote: reading and writing it again would reorder its keys
//! and round its numbers.

use crate::http::headers::Headers;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// More would be a way to make one request cost as many subrequests.
pub const MAX_ELEMENTS: usize = 20;

/// One provider to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    pub provider: String,
    /// The path after the provider, without its leading slash.
    pub path: String,
    /// The query with its `?`, or nothing.
    pub query: String,
    /// Lower-case names with their values.
    pub headers: Vec<(String, String)>,
    pub body: Option<&'a str>,
}

#[derive(Deserialize)]
struct Given<'a> {
    provider: String,
    endpoint: String,
    #[serde(borrow)]
    headers: Option<BTreeMap<String, &'a RawValue>>,
    authorization: Option<String>,
    #[serde(borrow)]
    query: Option<&'a RawValue>,
    #[serde(borrow)]
    config: Option<GivenConfig<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenConfig<'a> {
    #[serde(borrow)]
    request_timeout: Option<&'a RawValue>,
    #[serde(borrow)]
    max_attempts: Option<&'a RawValue>,
    #[serde(borrow)]
    retry_delay: Option<&'a RawValue>,
    #[serde(borrow)]
    backoff: Option<&'a RawValue>,
}

/// Reads the body: an array of elements, or a single one. The error says what is wrong and where.
pub fn parse(body: &str) -> Result<Vec<Element<'_>>, String> {
    let malformed = |error: serde_json::Error| format!("The body is not JSON: {error}.");
    let given: Vec<&RawValue> = if body.trim_start().starts_with('{') {
        vec![serde_json::from_str(body).map_err(malformed)?]
    } else {
        match serde_json::from_str(body) {
            Ok(given) => given,
            Err(error) if error.is_data() => return Err("The body is no array of elements.".to_owned()),
            Err(error) => return Err(malformed(error)),
        }
    };
    if given.is_empty() {
        return Err("The body has no elements: there is no provider to try.".to_owned());
    }
    if given.len() > MAX_ELEMENTS {
        return Err(format!("The body has {} elements; {MAX_ELEMENTS} are the most.", given.len()));
    }
    given
        .iter()
        .enumerate()
        .map(|(index, element)| self::element(element.get()).map_err(|fault| format!("Element {index}: {fault}.")))
        .collect()
}

fn element(text: &str) -> Result<Element<'_>, String> {
    let given: Given<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if given.provider.is_empty() {
        return Err("the provider is empty".to_owned());
    }
    let (path, query) = match given.endpoint.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (given.endpoint.as_str(), String::new()),
    };
    let mut headers = Vec::new();
    if given.query.is_some() {
        set(&mut headers, "content-type", "application/json".to_owned());
    }
    if let Some(config) = given.config {
        let options = [
            ("cf-aig-request-timeout", config.request_timeout),
            ("cf-aig-max-attempts", config.max_attempts),
            ("cf-aig-retry-delay", config.retry_delay),
            ("cf-aig-backoff", config.backoff),
        ];
        for (name, value) in options {
            if let Some(value) = value.map(text_of).transpose()?.flatten() {
                set(&mut headers, name, checked(name, value)?);
            }
        }
    }
    if let Some(authorization) = given.authorization {
        set(&mut headers, "authorization", checked("authorization", authorization)?);
    }
    for (name, value) in given.headers.unwrap_or_default() {
        // These two describe the connection that the caller has with us.
        if let Some(value) = text_of(value)?
            && !matches!(name.to_ascii_lowercase().as_str(), "content-length" | "upgrade")
        {
            set(&mut headers, &name, checked(&name, value)?);
        }
    }
    Ok(Element {
        provider: given.provider,
        path: path.strip_prefix('/').unwrap_or(path).to_owned(),
        query,
        headers,
        body: given.query.map(RawValue::get),
    })
}

/// The headers an element is sent with: those of the request around it that are for the gateway, and its own, which win.
pub fn merged(outer: &Headers, element: &Element<'_>) -> Headers {
    let mut all: Vec<(String, String)> = outer.0.iter().filter(|(name, _)| is_inherited(name)).cloned().collect();
    for (name, value) in &element.headers {
        set(&mut all, name, value.clone());
    }
    Headers(all)
}

/// Our token is not passed on: the caller who presented it has been let in.
fn is_inherited(name: &str) -> bool {
    (name.starts_with("cf-aig-") && name != "cf-aig-authorization") || matches!(name, "accept-encoding" | "user-agent")
}

/// What a Worker says beside the elements when it calls `run` by RPC.
#[derive(Debug, PartialEq, Eq)]
pub struct RunOptions {
    pub account: String,
    pub gateway: String,
    pub headers: Headers,
}

#[derive(Deserialize)]
struct GivenOptions<'a> {
    account: String,
    #[serde(borrow)]
    gateway: GivenGateway<'a>,
    #[serde(borrow, rename = "extraHeaders")]
    extra_headers: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenGateway<'a> {
    id: String,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_ttl: Option<&'a RawValue>,
    #[serde(borrow)]
    skip_cache: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_key: Option<&'a RawValue>,
    #[serde(borrow)]
    collect_log: Option<&'a RawValue>,
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    request_timeout_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    retries: Option<GivenRetries<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenRetries<'a> {
    #[serde(borrow)]
    max_attempts: Option<&'a RawValue>,
    #[serde(borrow)]
    retry_delay_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    backoff: Option<&'a RawValue>,
}

/// Reads the options of a run, which become the headers that say the same over HTTP.
pub fn run_options(json: &str) -> Result<RunOptions, String> {
    let given: GivenOptions<'_> = serde_json::from_str(json).map_err(|error| format!("options: {error}"))?;
    let GivenGateway { id, metadata, cache_ttl, retries, .. } = given.gateway;
    let retries = retries.as_ref();
    let options = [
        // As in Cloudflare's binding, 0 means that the option was not given.
        ("cf-aig-cache-ttl", cache_ttl.filter(|ttl| ttl.get() != "0")),
        ("cf-aig-metadata", metadata),
        ("cf-aig-skip-cache", given.gateway.skip_cache),
        ("cf-aig-cache-key", given.gateway.cache_key),
        ("cf-aig-collect-log", given.gateway.collect_log),
        ("cf-aig-event-id", given.gateway.event_id),
        ("cf-aig-request-timeout", given.gateway.request_timeout_ms),
        ("cf-aig-max-attempts", retries.and_then(|retries| retries.max_attempts)),
        ("cf-aig-retry-delay", retries.and_then(|retries| retries.retry_delay_ms)),
        ("cf-aig-backoff", retries.and_then(|retries| retries.backoff)),
    ];
    let mut headers = Vec::new();
    let extra = given.extra_headers.unwrap_or_default();
    let named = options.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in named.chain(extra.iter().map(|(name, value)| (name.as_str(), *value))) {
        if let Some(value) = text_of(value)? {
            set(&mut headers, name, checked(name, value)?);
        }
    }
    Ok(RunOptions { account: given.account, gateway: id, headers: Headers(headers) })
}

fn set(headers: &mut Vec<(String, String)>, name: &str, value: String) {
    let name = name.to_ascii_lowercase();
    match headers.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = value,
        None => headers.push((name, value)),
    }
}

/// A header's value from a JSON value: strings as they are, all others as JSON. `None` for null.
fn text_of(value: &RawValue) -> Result<Option<String>, String> {
    match value.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => serde_json::from_str(text).map(Some).map_err(|error| error.to_string()),
        text => Ok(Some(escaped(text))),
    }
}

/// JSON as it may stand in a header: on one line, and in ASCII.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            // Within strings these are escaped already.
            '\n' | '\r' | '\t' => text.push(' '),
            ' '..='~' => text.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

/// Refuses what the runtime would refuse, and names it.
fn checked(name: &str, value: String) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("'{}' is no name of a header", name.escape_debug()));
    }
    if value.chars().any(|char| char.is_control() && char != '\t') {
        return Err(format!("the header {name} has a line break or another control character in it"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_provider_gets_the_query_as_it_was_written() {
        let body = r#"[{"provider":"openai","endpoint":"/chat/completions?a=b?c","query":{"z":1.0, "a":12345678901234567890123}}]"#;
        let elements = parse(body).unwrap();
        let [element] = elements.as_slice() else { panic!("one element") };
        assert_eq!((element.path.as_str(), element.query.as_str()), ("chat/completions", "?a=b?c"));
        assert_eq!(element.body, Some(r#"{"z":1.0, "a":12345678901234567890123}"#));
        assert_eq!(element.headers, headers(&[("content-type", "application/json")]).0);
    }

    #[test]
    fn a_single_object_is_an_array_of_one() {
        let elements = parse(r#" {"provider":"openai","endpoint":"","config":{"maxAttempts":2}}"#).unwrap();
        assert_eq!((elements.len(), elements[0].body), (1, None));
        assert_eq!(elements[0].headers, headers(&[("cf-aig-max-attempts", "2")]).0);
    }

    #[test]
    fn headers_may_be_strings_numbers_booleans_and_objects() {
        let body = r#"{"provider":"p","endpoint":"e","authorization":"Bearer old","query":{},"headers":{
            "Authorization":"Bearer new","cf-aig-cache-ttl":60,"cf-aig-skip-cache":true,"content-type":"text/x",
            "cf-aig-metadata":{"b":"Zoë",
            "a":"😀"},"x-none":null,"Upgrade":"websocket"}}"#;
        let elements = parse(body).unwrap();
        let found = Headers(elements[0].headers.clone());
        assert_eq!(found.get("authorization"), Some("Bearer new"));
        assert_eq!(found.get("cf-aig-cache-ttl"), Some("60"));
        assert_eq!(found.get("cf-aig-skip-cache"), Some("true"));
        assert_eq!(found.get("content-type"), Some("text/x"));
        assert_eq!((found.get("x-none"), found.get("upgrade")), (None, None));
        let metadata = found.get("cf-aig-metadata").unwrap();
        assert!(metadata.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{metadata}");
        let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
        assert_eq!(metadata, serde_json::json!({ "b": "Zoë", "a": "😀" }));
    }

    #[test]
    fn a_fault_names_its_element() {
        let fine = r#"{"provider":"p","endpoint":"e"}"#;
        let too_many = format!("[{}]", vec![fine; MAX_ELEMENTS + 1].join(","));
        for (body, part) in [
            ("", "not JSON"),
            ("[", "not JSON"),
            ("{", "not JSON"),
            ("7", "no array"),
            ("[]", "no elements"),
            (&too_many, "21 elements"),
            (r#"[{"provider":"p","endpoint":"e"},{"endpoint":"e"}]"#, "Element 1: missing field `provider`"),
            (r#"[{"provider":"p"}]"#, "Element 0: missing field `endpoint`"),
            (r#"[{"provider":"","endpoint":"e"}]"#, "Element 0: the provider is empty"),
            (r#"[{"provider":7,"endpoint":"e"}]"#, "Element 0: invalid type"),
            (r#"[7]"#, "Element 0: invalid type"),
            (r#"[{"provider":"p","endpoint":"e","headers":{"a b":"1"}}]"#, "Element 0: 'a b' is no name"),
            (r#"[{"provider":"p","endpoint":"e","headers":{"a":"1\n2"}}]"#, "Element 0: the header a has"),
            (r#"[{"provider":"p","endpoint":"e","authorization":"1\r2"}]"#, "Element 0: the header authorization"),
        ] {
            let fault = parse(body).unwrap_err();
            assert!(fault.contains(part), "{body}: {fault}");
        }
        assert_eq!(parse(&format!("[{}]", vec![fine; MAX_ELEMENTS].join(","))).unwrap().len(), MAX_ELEMENTS);
    }

    #[test]
    fn an_elements_own_headers_win_and_the_token_stays_behind() {
        let outer = headers(&[
            ("cf-aig-authorization", "Bearer ours"),
            ("authorization", "Bearer somebody's"),
            ("cf-aig-metadata", "{}"),
            ("cf-aig-cache-ttl", "3600"),
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("user-agent", "test"),
        ]);
        let elements = parse(r#"{"provider":"p","endpoint":"e","headers":{"CF-AIG-Cache-TTL":0,"x-api-key":"k"}}"#);
        assert_eq!(
            merged(&outer, &elements.unwrap()[0]),
            headers(&[
                ("cf-aig-metadata", "{}"),
                ("cf-aig-cache-ttl", "0"),
                ("user-agent", "test"),
                ("x-api-key", "k")
            ])
        );
    }

    #[test]
    fn options_become_headers() {
        let read = run_options(
            r#"{"account":"a","gateway":{"id":"g","metadata":{"b":1,"a":true},"cacheTtl":60,"skipCache":false,
                "cacheKey":"k","collectLog":true,"eventId":"e","requestTimeoutMs":500,
                "retries":{"maxAttempts":3,"retryDelayMs":10,"backoff":"linear"}},
                "extraHeaders":{"cf-aig-event-id":"e2","X-Own":{"c":1}},"signal":{}}"#,
        )
        .unwrap();
        assert_eq!((read.account.as_str(), read.gateway.as_str()), ("a", "g"));
        let found: Vec<_> = read.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wanted = [
            ("cf-aig-cache-ttl", "60"),
            ("cf-aig-metadata", r#"{"b":1,"a":true}"#),
            ("cf-aig-skip-cache", "false"),
            ("cf-aig-cache-key", "k"),
            ("cf-aig-collect-log", "true"),
            ("cf-aig-event-id", "e2"),
            ("cf-aig-request-timeout", "500"),
            ("cf-aig-max-attempts", "3"),
            ("cf-aig-retry-delay", "10"),
            ("cf-aig-backoff", "linear"),
            ("x-own", r#"{"c":1}"#),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn options_without_a_place_are_refused() {
        let read = run_options(r#"{"account":"a","gateway":{"id":"g","cacheTtl":0,"metadata":null}}"#).unwrap();
        assert!(read.headers.0.is_empty());
        for json in ["null", "{}", r#"{"account":"a"}"#, r#"{"account":"a","gateway":{}}"#, r#"{"gateway":{"id":"g"}}"#]
        {
            assert!(run_options(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(body in "\\PC{0,80}") {
            let _ = parse(&body);
            let _ = run_options(&body);
        }

        #[test]
        fn escaping_changes_no_value(text in any::<String>()) {
            let json = serde_json::json!({ "a": text }).to_string();
            let read: serde_json::Value = serde_json::from_str(&escaped(&json)).unwrap();
            prop_assert_eq!(read["a"].as_str(), Some(text.as_str()));
        }
    }
}
