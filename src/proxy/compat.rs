//! The pseudo-provider `compat`: OpenAI's chat completions, sent to the provider that the model's name begins with.
//!
//! The providers here serve that API themselves, so only the path and the model change. All else in a body stays the text
//! that the caller wrote.

use crate::http::refusal::Refusal;
use crate::providers::upstream::{CustomProvider, Upstream};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Where providers serve OpenAI's chat completions, below their base. All of them take the key as a bearer token.
const ENDPOINTS: &[(&str, &str)] = &[
    ("anthropic", "v1/chat/completions"),
    ("baseten", "v1/chat/completions"),
    ("cerebras", "chat/completions"),
    ("cohere", "compatibility/v1/chat/completions"),
    ("deepseek", "chat/completions"),
    ("fireworks", "chat/completions"),
    ("google-ai-studio", "v1beta/openai/chat/completions"),
    ("grok", "chat/completions"),
    ("groq", "chat/completions"),
    ("mistral", "v1/chat/completions"),
    ("openai", "chat/completions"),
    ("openrouter", "chat/completions"),
    ("parallel", "chat/completions"),
    ("perplexity-ai", "chat/completions"),
    ("workers-ai", "v1/chat/completions"),
];

/// Longer than the name of any provider, and short enough to be repeated in an error.
const MAX_PREFIX: usize = 128;

/// What a request to `compat` is to its real provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    pub provider: String,
    pub rest: &'static str,
    pub body: String,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow)]
    messages: &'a RawValue,
}

/// Finds the provider of a request and takes its name out of the model's. `path` is what follows `compat`.
pub fn resolve(path: &str, body: &[u8], custom: &[CustomProvider]) -> Result<Resolved, Refusal> {
    // Cloudflare's documentation writes the path in the singular, too; and clients send the version twice or not at all.
    if !matches!(path.trim_start_matches("v1/"), "chat/completions" | "chat/completion") {
        return Err(Refusal::bad_path(
            "compat serves chat/completions only; call the provider by its own name for the rest",
        ));
    }
    let bad = |what: &str| Refusal::bad_chat(format!("The body is no chat completion for compat: {what}."));
    let body = std::str::from_utf8(body).map_err(|_| bad("it is not UTF-8"))?;
    let body = body.trim_start_matches('\u{feff}').trim_end_matches('\0');
    // An array would be read as the fields in their order.
    if !body.trim_start().starts_with('{') {
        return Err(bad("it is no JSON object"));
    }
    let chat: Chat<'_> = serde_json::from_str(body).map_err(|error| bad(&error.to_string()))?;
    let model: String = serde_json::from_str(chat.model.get()).map_err(|_| bad("the model is no string"))?;
    if !chat.messages.get().starts_with('[') {
        return Err(bad("messages is no array"));
    }
    let Some((prefix, name)) = model.split_once('/') else {
        return Err(Refusal::bad_path(
            "The model does not name its provider: compat wants '<provider>/<model>', such as 'openai/gpt-4o'.",
        ));
    };
    if name.is_empty() {
        return Err(bad("nothing follows the provider in the model"));
    }
    let (provider, rest) = endpoint(prefix, custom)?;
    Ok(Resolved { provider, rest, body: replaced(body, chat.model.get(), &serde_json::Value::from(name).to_string()) })
}

fn endpoint(prefix: &str, custom: &[CustomProvider]) -> Result<(String, &'static str), Refusal> {
    if prefix.len() > MAX_PREFIX {
        return Err(Refusal::bad_path("What stands before the '/' in the model is no provider's name."));
    }
    let provider = match Upstream::find(prefix, custom)? {
        Upstream::BuiltIn(provider) => provider,
        // The base URL of a provider of the account's own may be that of its API, or only name its host.
        Upstream::Custom(own) if own.has_path() => return Ok((own.slug.clone(), "chat/completions")),
        Upstream::Custom(own) => return Ok((own.slug.clone(), "v1/chat/completions")),
    };
    let known = ENDPOINTS.iter().find(|(slug, _)| *slug == provider.slug);
    let (slug, rest) = known.ok_or_else(|| {
        let slug = provider.slug;
        Refusal::bad_path(format!("compat does not reach {slug}, which has no such endpoint; call {slug}/… instead."))
    })?;
    Ok(((*slug).to_owned(), rest))
}

/// The body with another text in the place of `part`, which is a slice of it.
fn replaced(body: &str, part: &str, with: &str) -> String {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let (before, after) = body.split_at_checked(start).unwrap_or((body, ""));
    let after = after.get(part.len()..).unwrap_or("");
    [before, with, after].concat()
}

/// True for a path that takes a key as a bearer token only, whatever header the provider's other paths want it in.
pub fn wants_bearer(slug: &str, rest: &str) -> bool {
    ENDPOINTS.contains(&(slug, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{table, upstream};
    use proptest::prelude::*;

    fn resolved(model: &str) -> Result<Resolved, Refusal> {
        resolve("chat/completions", format!(r#"{{"model":"{model}","messages":[]}}"#).as_bytes(), &[])
    }

    #[test]
    fn every_endpoint_is_one_of_a_known_provider() {
        for (slug, rest) in ENDPOINTS {
            assert_eq!(table::find(slug).unwrap().slug, *slug);
            let found = resolved(&format!("{slug}/some/model")).unwrap();
            assert_eq!((found.provider.as_str(), found.rest), (*slug, *rest));
            assert_eq!(found.body, r#"{"model":"some/model","messages":[]}"#);
        }
    }

    #[test]
    fn only_the_model_changes_and_the_rest_stays_as_it_was_written() {
        let body = r#" {"n":1.0, "messages":[{"role":"user","content":"\"model\":\"openai/x\""}],
            "model" : "openai\/gp\u0074-4o" ,"seed":12345678901234567890123, "é":"€"}"#;
        let found = resolve("chat/completion", body.as_bytes(), &[]).unwrap();
        assert_eq!(found.body, body.replace(r#""openai\/gp\u0074-4o""#, r#""gpt-4o""#));
        assert_eq!(resolved("google/gemini-2.5-flash").unwrap().provider, "google-ai-studio");
        assert_eq!(
            resolved("workers-ai/@cf/meta/llama-3-8b").unwrap().body,
            r#"{"model":"@cf/meta/llama-3-8b","messages":[]}"#
        );
    }

    #[test]
    fn a_provider_of_the_accounts_own_is_asked_below_its_base() {
        let rows = r#"[["own","https://llm.example/",null,1,1,0],["deep","https://llm.example/api/v2",null,1,1,0],
            ["off","https://llm.example",null,0,1,0]]"#;
        let custom = upstream::from_json(&rows.replace("null", r#""{}""#));
        let ask = |model: &str| {
            let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
            resolve("chat/completions", body.as_bytes(), &custom).map(|found| (found.provider, found.rest))
        };
        assert_eq!(ask("custom-own/m").unwrap(), ("custom-own".to_owned(), "v1/chat/completions"));
        assert_eq!(ask("custom-deep/m").unwrap(), ("custom-deep".to_owned(), "chat/completions"));
        for model in ["custom-off/m", "custom-none/m"] {
            assert_eq!(ask(model).unwrap_err().status, 400, "{model}");
        }
    }

    #[test]
    fn what_names_no_provider_is_told_from_what_is_no_chat() {
        for model in ["gpt-4o", "nobody/x", "dynamic/support", "/x", "azure-openai/x", "google-vertex-ai/google/x"] {
            let refusal = resolved(model).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, 2008), "{model}");
        }
        assert!(resolved(&format!("{}/x", "o".repeat(1_000))).unwrap_err().description.len() < 200);
        assert!(resolved("opnai/x").unwrap_err().description.contains("'openai'"));
        for body in [
            "",
            "[]",
            "{",
            r#"{"model":"openai/x"}"#,
            r#"{"messages":[]}"#,
            r#"{"model":5,"messages":[]}"#,
            r#"{"model":null,"messages":[]}"#,
            r#"{"model":"openai/","messages":[]}"#,
            r#"{"model":"openai/x","messages":"hi"}"#,
            r#"{"model":"openai/x","model":"groq/x","messages":[]}"#,
            &"[".repeat(100_000),
        ] {
            let refusal = resolve("chat/completions", body.as_bytes(), &[]).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, 2019), "{body}");
        }
        assert_eq!(resolve("chat/completions", b"\xff", &[]).unwrap_err().code, 2019);
        assert_eq!(resolve("chat/completions", br#"["openai/x",[]]"#, &[]).unwrap_err().code, 2019);
        assert_eq!(resolve("embeddings", b"{}", &[]).unwrap_err().code, 2008);
        assert!(resolve("v1/chat/completions", br#"{"model":"openai/x","messages":[]}"#, &[]).is_ok());
    }

    proptest! {
        #[test]
        fn a_replaced_model_is_read_back(name in "\\PC{1,20}", before in "[ \\n]{0,3}") {
            let given = serde_json::json!({ "model": format!("openai/{name}"), "messages": [], "z": "é" }).to_string();
            let found = resolve("chat/completions", (before + &given).as_bytes(), &[]).unwrap();
            let read: serde_json::Value = serde_json::from_str(&found.body).unwrap();
            prop_assert_eq!(read, serde_json::json!({ "model": name, "messages": [], "z": "é" }));
        }
    }
}
