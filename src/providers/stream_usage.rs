//! Streams of chat completions tell what they used only where `stream_options.include_usage` asks for it. The gateway asks in
//! the client's place where its setting `stream_usage` says so, or where a budget is about the request; what comes of it is
//! taken out of the client's stream again (`usageless` in `usageless.js`).

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// The providers that know the option, and with what the paths end that take it. Others tell their usage without being asked,
/// or refuse a member that they do not know, as Mistral does.
const KNOWN: &[(&str, &[&str])] = &[
    ("anthropic", &["chat/completions"]),
    ("azure-openai", &["chat/completions", "completions"]),
    ("baseten", &["chat/completions"]),
    ("deepseek", &["chat/completions"]),
    ("google-ai-studio", &["openai/chat/completions"]),
    ("grok", &["chat/completions"]),
    ("groq", &["chat/completions"]),
    ("huggingface", &["v1/chat/completions"]),
    ("openai", &["chat/completions", "completions"]),
];

/// Custom providers that speak OpenAI's format mostly know it. Tollgate cannot tell, so they are asked only where the setting says so.
const CUSTOM: &[&str] = &["chat/completions"];

/// The first of Azure's dated versions that knows the option; older ones answer 400.
const AZURE_SINCE: &str = "2024-09-01";

/// What a row says whose stream told no usage, because it was not asked.
pub const HINT: &str = "a stream tells them where it is asked to: send stream_options.include_usage, or set stream_usage of the \
                        gateway to ask";

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub provider: &'a str,
    pub is_custom: bool,
    pub rest: &'a str,
    /// The query with its `?`, or nothing.
    pub query: &'a str,
}

/// A part of a body that is replaced by something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub at: Range<usize>,
    pub text: &'static str,
}

// === impl Target ===

impl Target<'_> {
    /// Whether what is there takes the option.
    pub fn knows_option(&self) -> bool {
        let path = self.rest.trim_end_matches('/');
        let ends = |ends: &[&str]| {
            ends.iter()
                .any(|end| path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/')))
        };
        if self.is_custom {
            return ends(CUSTOM);
        }
        let known = KNOWN.iter().find(|(slug, _)| *slug == self.provider);
        known.is_some_and(|(slug, paths)| ends(paths) && (*slug != "azure-openai" || self.is_new_azure()))
    }

    fn is_new_azure(&self) -> bool {
        let pairs = self.query.strip_prefix('?').unwrap_or(self.query).split('&');
        let version = pairs.filter_map(|pair| pair.strip_prefix("api-version=")).next_back();
        match version.and_then(|version| version.get(..AZURE_SINCE.len())) {
            // A dated version.
            Some(date) if date.starts_with("20") => date >= AZURE_SINCE,
            // `v1`, `preview` and `latest` are of its unified API, as is a path with `v1/` in it.
            _ => version.is_some() || self.rest.contains("/v1/"),
        }
    }
}

/// What makes a body ask for usage; nothing where it does already. `None` for a body that is no JSON object, or whose options
/// are none, which is for the provider to refuse.
pub fn edits(body: &[u8]) -> Option<Vec<Edit>> {
    let text = std::str::from_utf8(body).ok()?;
    let (options, is_empty) = members(text, text, "stream_options")?;
    if is_empty {
        return None;
    }
    if options.is_empty() {
        let start = text.find('{')? + 1;
        return Some(vec![Edit { at: start..start, text: r#""stream_options":{"include_usage":true},"# }]);
    }
    let mut edits = Vec::new();
    for at in options {
        let option = text.get(at.clone())?;
        if option == "null" {
            edits.push(Edit { at, text: r#"{"include_usage":true}"# });
            continue;
        }
        let (asked, is_empty) = members(text, option, "include_usage")?;
        if asked.is_empty() {
            let start = at.start + 1;
            let text = if is_empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            edits.push(Edit { at: start..start, text });
        }
        for at in asked {
            match text.get(at.clone())? {
                "true" => {}
                "false" | "null" => edits.push(Edit { at, text: "true" }),
                _ => return None,
            }
        }
    }
    Some(edits)
}

/// Where the values of a member are in `whole`, of which `object` is a part, and whether the object has no member at all.
fn members(whole: &str, object: &str, name: &str) -> Option<(Vec<Range<usize>>, bool)> {
    struct Places<'a> {
        whole: &'a str,
        name: &'a str,
    }
    impl<'de> Visitor<'de> for Places<'_> {
        type Value = (Vec<Range<usize>>, bool);

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut is_empty) = (Vec::new(), true);
            while let Some((key, value)) = map.next_entry::<MemberName<'de>, &'de RawValue>()? {
                is_empty = false;
                if key.0 == self.name {
                    // A raw value is a part of the text that is read, so the difference is where it stands.
                    let start = value.get().as_ptr() as usize - self.whole.as_ptr() as usize;
                    found.push(start..start + value.get().len());
                }
            }
            Ok((found, is_empty))
        }
    }
    let mut reader = serde_json::Deserializer::from_str(object);
    let found = reader.deserialize_map(Places { whole, name }).ok()?;
    reader.end().ok()?;
    Some(found)
}

/// A key, which is copied only where it is escaped.
#[derive(serde::Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::table::PROVIDERS;
    use proptest::prelude::*;

    fn edited(body: &str) -> Option<String> {
        let mut text = body.to_owned();
        for edit in edits(body.as_bytes())?.into_iter().rev() {
            text.replace_range(edit.at, edit.text);
        }
        Some(text)
    }

    fn knows(provider: &str, rest: &str, query: &str) -> bool {
        Target { provider, is_custom: false, rest, query }.knows_option()
    }

    #[test]
    fn the_option_is_added_and_nothing_else_is_touched() {
        for (body, wanted) in [
            (
                r#" { "model" : "m",  "stream":true, "n":1.0 } "#,
                r#" {"stream_options":{"include_usage":true}, "model" : "m",  "stream":true, "n":1.0 } "#,
            ),
            (r#"{"stream":true,"stream_options":{}}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
            (r#"{"stream":true,"stream_options":null}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
            (
                r#"{"stream_options":{ "include_obfuscation":false},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true, "include_obfuscation":false},"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":false},"messages":[{"stream_options":null}]}"#,
                r#"{"stream_options":{"include_usage":true},"messages":[{"stream_options":null}]}"#,
            ),
            (
                r#"{"stream_\u006fptions":{"include_usage":null},"stream_options":null}"#,
                r#"{"stream_\u006fptions":{"include_usage":true},"stream_options":{"include_usage":true}}"#,
            ),
        ] {
            assert_eq!(edited(body).as_deref(), Some(wanted));
            assert_eq!(edits(wanted.as_bytes()), Some(Vec::new()), "{wanted}");
        }
    }

    #[test]
    fn what_only_the_provider_can_judge_stays_as_it_is() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"stream":true"#,
            r#"{"stream":true} {}"#,
            r#"{"stream_options":"x"}"#,
            r#"{"stream_options":[]}"#,
            r#"{"stream_options":{"include_usage":"yes"}}"#,
            "\u{feff}{\"stream\":true}",
        ] {
            assert_eq!(edits(body.as_bytes()), None, "{body}");
        }
        assert_eq!(edits(b"{\"stream\":\xff}"), None);
    }

    #[test]
    fn only_who_knows_the_option_is_sent_it() {
        for (provider, rest) in [
            ("openai", "chat/completions"),
            ("openai", "v1/chat/completions"),
            ("openai", "v1/chat/completions/"),
            ("openai", "completions"),
            ("groq", "openai/v1/chat/completions"),
            ("anthropic", "v1/chat/completions"),
            ("google-ai-studio", "v1beta/openai/chat/completions"),
            ("azure-openai", "res/openai/v1/chat/completions"),
        ] {
            assert!(knows(provider, rest, ""), "{provider} {rest}");
        }
        for (provider, rest) in [
            ("openai", "responses"),
            ("openai", "v1/mychat/completions2"),
            ("openai", "embeddings"),
            ("anthropic", "v1/messages"),
            ("mistral", "v1/chat/completions"),
            ("cohere", "v2/chat"),
            ("google-ai-studio", "v1beta/models/gemini:streamGenerateContent"),
            ("azure-openai", "res/gpt/chat/completions"),
        ] {
            assert!(!knows(provider, rest, ""), "{provider} {rest}");
        }
        for (version, wanted) in [
            ("2023-05-15", false),
            ("2024-08-01-preview", false),
            ("2024-09-01-preview", true),
            ("2025-04-01-preview", true),
            ("preview", true),
        ] {
            assert_eq!(knows("azure-openai", "res/gpt/chat/completions", &format!("?api-version={version}")), wanted);
        }
        let custom = |rest| Target { provider: "custom-x", is_custom: true, rest, query: "" }.knows_option();
        assert!(custom("v1/chat/completions") && !custom("v1/completions"));
    }

    #[test]
    fn every_provider_of_the_list_exists() {
        assert!(KNOWN.is_sorted());
        for (slug, _) in KNOWN {
            assert!(PROVIDERS.iter().any(|provider| provider.slug == *slug), "{slug}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_of_a_body_it_says_the_same_otherwise(body in "\\{(\"stream_options\":(\\{\\}|null|\\{\"a\":1\\}),)?\"k\":\"\\PC{0,20}\"\\}") {
            if let Some(text) = edited(&body) {
                let (before, mut after): (serde_json::Value, serde_json::Value) = (serde_json::from_str(&body).unwrap(), serde_json::from_str(&text).unwrap());
                prop_assert_eq!(after["stream_options"]["include_usage"].take(), serde_json::json!(true));
                prop_assert_eq!(&before["k"], &after["k"]);
            }
        }
    }
}
