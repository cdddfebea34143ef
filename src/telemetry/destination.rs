//! Where the spans of a gateway are sent: the setting `otel`.
//! <https://developers.cloudflare.com/ai-gateway/observability/otel-integration/>

use crate::base::fault::Invalid;
use crate::base::mask::MASK;
use serde_json::{Map, Value};

/// A gateway has no more of them.
const MOST: usize = 5;

const MAX_URL: usize = 2_000;
const MAX_HEADERS: usize = 20;
const MAX_VALUE: usize = 4_096;
const MAX_ID: usize = 64;

const MEMBERS: &[&str] = &["id", "url", "headers", "authorization", "content_type", "preset", "sample", "content"];

/// Headers that belong to the connection, or to the encoding.
const NOT_SET: &[&str] =
    &["host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection"];

/// What a backend wants beside the conventions of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    Generic,
    Langfuse,
    Phoenix,
    Datadog,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    pub id: String,
    /// As the setting has it.
    pub url: String,
    pub protobuf: bool,
    pub preset: Preset,
    /// Which part of all traces it gets.
    pub sample: f64,
    /// Whether it gets what was asked and answered.
    pub content: bool,
}

/// Whether a value is what the setting may be.
pub fn check(value: &Value) -> Result<(), Invalid> {
    let all = value.as_array().filter(|all| all.len() <= MOST);
    let all = all.ok_or_else(|| invalid(&[], format!("Expected an array of at most {MOST} destinations, or null")))?;
    let mut ids: Vec<&str> = Vec::new();
    for (place, one) in all.iter().enumerate() {
        let place = place.to_string();
        // A fault of the whole is told as one of the setting.
        let members = one.as_object().filter(|members| members.contains_key("url"));
        let members =
            members.ok_or_else(|| invalid(&[], "Expected destinations, each an object with a url".to_owned()))?;
        check_one(members).map_err(|(member, rule)| invalid(&[&place, member], rule))?;
        let id = members.get("id").and_then(Value::as_str).unwrap_or_default();
        if !id.is_empty() && ids.contains(&id) {
            return Err(invalid(&[&place, "id"], "Another destination has this id".to_owned()));
        }
        ids.push(id);
    }
    Ok(())
}

fn check_one(members: &Map<String, Value>) -> Result<(), (&'static str, String)> {
    let given = |name: &str| members.get(name).filter(|value| !value.is_null());
    let one_of = |name: &'static str, allowed: &[&str]| match given(name) {
        Some(value) if !value.as_str().is_some_and(|value| allowed.contains(&value)) => {
            Err((name, format!("Expected one of {}, or null", allowed.join(", "))))
        }
        _ => Ok(()),
    };
    if members.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(("", format!("Expected the members {} only", MEMBERS.join(", "))));
    }
    let is_word = |text: &str| {
        (1..=MAX_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if given("id").is_some_and(|id| !id.as_str().is_some_and(is_word)) {
        return Err(("id", format!("Expected 1 to {MAX_ID} letters, digits, - and _, or null")));
    }
    let is_url = |url: &str| url.len() <= MAX_URL && (url.starts_with("https://") || url.starts_with("http://"));
    if !given("url").and_then(Value::as_str).is_some_and(is_url) {
        return Err(("url", format!("Expected a URL of at most {MAX_URL} characters that begins with https://")));
    }
    let is_value = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.len() <= MAX_VALUE && text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
    };
    let is_header = |(name, value): (&String, &Value)| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=100).contains(&name.len())
            && name.bytes().all(is_name)
            && !NOT_SET.contains(&name.to_ascii_lowercase().as_str())
            && is_value(value)
    };
    let are_headers =
        |value: &Value| value.as_object().is_some_and(|all| all.len() <= MAX_HEADERS && all.iter().all(is_header));
    if given("headers").is_some_and(|headers| !are_headers(headers)) {
        let rule = "Expected an object of at most 20 headers with texts of printable ASCII, or null; those of the connection and the \
                    content type are set by Tollgate";
        return Err(("headers", rule.to_owned()));
    }
    if given("authorization").is_some_and(|value| !is_value(value)) {
        return Err((
            "authorization",
            format!("Expected a text of at most {MAX_VALUE} printable ASCII characters, or null"),
        ));
    }
    one_of("content_type", &["json", "protobuf"])?;
    one_of("preset", &Preset::ALL.map(|(name, _)| name))?;
    if given("content_type").is_some_and(|kind| kind == "json")
        && given("preset").is_some_and(|preset| preset == "phoenix")
    {
        return Err(("content_type", "Phoenix takes protobuf only: expected protobuf, or null".to_owned()));
    }
    if given("sample").is_some_and(|sample| !sample.as_f64().is_some_and(|sample| (0.0..=1.0).contains(&sample))) {
        return Err(("sample", "Expected a number from 0 to 1, or null for 1".to_owned()));
    }
    if given("content").is_some_and(|content| !content.is_boolean()) {
        return Err(("content", "Expected true or false, or null for false".to_owned()));
    }
    Ok(())
}

fn invalid(path: &[&str], rule: String) -> Invalid {
    let path = ["body", "otel"].iter().chain(path).filter(|name| !name.is_empty());
    Invalid { path: path.map(|name| (*name).to_owned()).collect(), message: rule }
}

/// Masks what may be secret: the setting is stored and shown like that. What it was is kept beside, sealed.
pub fn mask(setting: &mut Value) {
    for one in setting.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for (name, value) in one.iter_mut() {
            match (name.as_str(), value) {
                ("authorization", Value::String(text)) => MASK.clone_into(text),
                ("headers", Value::Object(headers)) => headers.values_mut().for_each(|value| *value = MASK.into()),
                _ => {}
            }
        }
    }
}

/// The headers that a destination was given, with their values, in lower case and without those that are masked. `None` where any is
/// masked, so that what is kept of it still holds.
pub fn secrets(destination: &Value) -> Option<Map<String, Value>> {
    let headers = destination.get("headers").and_then(Value::as_object).into_iter().flatten();
    let authorization = destination.get("authorization").filter(|value| value.is_string());
    let all = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let all = all.chain(authorization.map(|value| ("authorization".to_owned(), value.clone())));
    all.map(|(name, value)| (value != MASK).then_some((name, value))).collect()
}

// === impl Preset ===

impl Preset {
    pub const ALL: [(&str, Self); 4] = [
        ("generic", Self::Generic),
        ("langfuse", Self::Langfuse),
        ("phoenix", Self::Phoenix),
        ("datadog", Self::Datadog),
    ];

    /// Headers that the backend wants, unless others are set.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Langfuse => &[("x-langfuse-ingestion-version", "4")],
            Self::Datadog => &[("dd-otlp-source", "llmobs")],
            Self::Generic | Self::Phoenix => &[],
        }
    }
}

// === impl Destination ===

impl Destination {
    /// Reads what was checked and stored. What an older version has stored may have no id, and counts as none.
    pub fn all(setting: &Value) -> Vec<Self> {
        setting.as_array().into_iter().flatten().filter_map(Self::of).collect()
    }

    fn of(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let preset = text("preset").unwrap_or_default();
        let preset =
            Preset::ALL.iter().find(|(name, _)| *name == preset).map_or(Preset::Generic, |(_, preset)| *preset);
        let protobuf = match text("content_type") {
            None => matches!(preset, Preset::Phoenix | Preset::Datadog),
            kind => kind == Some("protobuf"),
        };
        Some(Self {
            id: text("id")?.to_owned(),
            url: text("url")?.to_owned(),
            protobuf,
            preset,
            sample: value.get("sample").and_then(Value::as_f64).unwrap_or(1.0),
            content: value.get("content").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// The URL that spans are posted to: the setting's own, or what a base URL stands for.
    pub fn endpoint(&self) -> String {
        let url = self.url.trim_end_matches('/');
        let host = url.find("://").map_or(0, |at| at + 3);
        let has_path = url.get(host..).is_some_and(|rest| rest.contains('/'));
        let is_base = !has_path || url.ends_with("/otlp") || self.preset != Preset::Generic;
        if is_base && !url.ends_with("/v1/traces") { format!("{url}/v1/traces") } else { self.url.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_destination_is_read_with_what_it_leaves_out() {
        let setting = json!([
            { "id": "a", "url": "https://collector.example", "headers": {} },
            { "id": "b", "url": "https://p.example/x", "preset": "phoenix", "sample": 0.5, "content": true },
            { "url": "https://old.example" },
        ]);
        assert_eq!(check(&setting), Ok(()));
        let read = Destination::all(&setting);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].protobuf, read[0].sample, read[0].content), (false, 1.0, false));
        assert_eq!(
            (read[1].protobuf, read[1].preset, read[1].sample, read[1].content),
            (true, Preset::Phoenix, 0.5, true)
        );
    }

    #[test]
    fn a_base_url_stands_for_its_endpoint() {
        for (url, preset, wanted) in [
            ("https://a.example", "generic", "https://a.example/v1/traces"),
            ("https://a.example/", "generic", "https://a.example/v1/traces"),
            ("https://a.example/otlp", "generic", "https://a.example/otlp/v1/traces"),
            ("https://a.example/i/v0/ai/otel", "generic", "https://a.example/i/v0/ai/otel"),
            ("https://a.example/v1/traces", "generic", "https://a.example/v1/traces"),
            ("https://a.example/api/public/otel", "langfuse", "https://a.example/api/public/otel/v1/traces"),
            ("https://a.example/api/public/otel/v1/traces", "langfuse", "https://a.example/api/public/otel/v1/traces"),
        ] {
            let read = Destination::all(&json!([{ "id": "a", "url": url, "preset": preset }]));
            assert_eq!(read[0].endpoint(), wanted);
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let of = |extra: Value| {
            let mut one = json!({ "url": "https://a.example" });
            one.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            check(&json!([one])).map_err(|invalid| invalid.path[2..].join("/"))
        };
        assert_eq!(of(json!({ "headers": null, "authorization": null, "sample": null, "preset": "langfuse" })), Ok(()));
        for (extra, place) in [
            (json!({ "url": "ftp://a" }), "0/url"),
            (json!({ "headers": { "host": "x" } }), "0/headers"),
            (json!({ "headers": { "a b": "x" } }), "0/headers"),
            (json!({ "headers": { "a": "x\ny" } }), "0/headers"),
            (json!({ "authorization": 5 }), "0/authorization"),
            (json!({ "content_type": "xml" }), "0/content_type"),
            (json!({ "content_type": "json", "preset": "phoenix" }), "0/content_type"),
            (json!({ "preset": "x" }), "0/preset"),
            (json!({ "sample": 1.5 }), "0/sample"),
            (json!({ "content": "yes" }), "0/content"),
            (json!({ "id": "a b" }), "0/id"),
            (json!({ "sampel": 1 }), "0"),
        ] {
            assert_eq!(of(extra.clone()), Err(place.to_owned()), "{extra}");
        }
        for wrong in [json!({}), json!([5]), json!([{}]), json!(vec![json!({ "url": "https://a.example" }); 6])] {
            assert_eq!(check(&wrong).unwrap_err().path, ["body", "otel"], "{wrong}");
        }
        assert!(check(&json!([{ "id": "a", "url": "https://a" }, { "id": "a", "url": "https://b" }])).is_err());
    }

    #[test]
    fn secrets_are_masked_and_taken_apart() {
        let mut setting =
            json!([{ "url": "https://a.example", "headers": { "X-Key": "k" }, "authorization": "Bearer t" }]);
        let wanted = json!({ "x-key": "k", "authorization": "Bearer t" });
        assert_eq!(secrets(&setting[0]).map(Value::Object), Some(wanted));
        mask(&mut setting);
        assert_eq!(
            setting,
            json!([{ "url": "https://a.example", "headers": { "X-Key": "***" }, "authorization": "***" }])
        );
        assert_eq!((secrets(&setting[0]), secrets(&json!({ "headers": null }))), (None, Some(Map::new())));
        let mut strange = json!([5, { "headers": [], "authorization": 7 }]);
        mask(&mut strange);
        assert_eq!(strange, json!([5, { "headers": [], "authorization": 7 }]));
    }
}
