//! Which languages providers speak, and at which of their addresses: what a request of the unified API becomes is decided here.

use crate::providers::fault::Fault;
use crate::providers::format::Format;
use crate::providers::paths;
use crate::providers::table::KeyForm;
use crate::providers::upstream::{CustomProvider, Upstream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use Format::{Chat, Converse, Gemini, Messages, Responses};

/// Where a model is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path after the provider's segment.
    pub rest: String,
    /// The query with its `?`, or nothing.
    pub query: &'static str,
    /// The model as the provider names it.
    pub model: String,
    /// What Anthropic's models want in the body where another vendor serves them, and the path names the model.
    pub version: Option<&'static str>,
}

/// Where providers serve OpenAI's chat completions, below their base. All of them take the key as a bearer token. Sorted.
const CHAT: &[(&str, &str)] = &[
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

/// The formats of those providers that do not speak chat completions alone. What is made for a provider's models comes first: it
/// says more than the endpoints that it has for other vendors' clients. Sorted.
const SPOKEN: &[(&str, &[Format])] = &[
    ("anthropic", &[Messages]),
    ("aws-bedrock", &[Converse]),
    ("azure-openai", &[Responses, Chat]),
    ("google-ai-studio", &[Gemini]),
    ("google-vertex-ai", &[Gemini]),
    ("grok", &[Chat, Responses]),
    ("openai", &[Responses, Chat]),
];

/// Anthropic's models at Vertex.
const OF_ANTHROPIC: &[Format] = &[Messages];

/// What a custom provider speaks that says nothing else.
const OF_CUSTOM: &[Format] = &[Chat];

const VERTEX_VERSION: &str = "vertex-2023-10-16";

/// What an id keeps unencoded in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');

/// Where a provider serves OpenAI's chat completions beside its own language, or as that.
pub fn chat_endpoint(slug: &str) -> Option<&'static str> {
    CHAT.iter().find(|(known, _)| *known == slug).map(|(_, rest)| *rest)
}

/// Where a provider counts the tokens of what `rest` would answer; `None` where it does not count.
pub fn counted(slug: &str, format: Format, rest: &str) -> Option<String> {
    Some(match (slug, format) {
        ("openai", Responses) => format!("{rest}/input_tokens"),
        ("anthropic", Messages) => format!("{rest}/count_tokens"),
        ("google-ai-studio" | "google-vertex-ai", Gemini) => format!("{}:countTokens", rest.rsplit_once(':')?.0),
        ("aws-bedrock", Converse) => format!("{}/count-tokens", rest.strip_suffix("/converse")?),
        _ => return None,
    })
}

/// True for a path that takes a key as a bearer token only, whatever header the provider's other paths want it in.
pub fn wants_bearer(slug: &str, rest: &str) -> bool {
    CHAT.contains(&(slug, rest))
}

/// The formats that a provider speaks for a model; empty where it has no models that converse.
pub fn of<'a>(upstream: Upstream<'a>, model: &str) -> &'a [Format] {
    let slug = match upstream {
        Upstream::Custom(own) if own.formats.is_empty() => return OF_CUSTOM,
        Upstream::Custom(own) => return &own.formats,
        Upstream::BuiltIn(provider) => provider.slug,
    };
    if slug == "google-vertex-ai" && Vertex::read(model).is_ok_and(|vertex| vertex.publisher == "anthropic") {
        return OF_ANTHROPIC;
    }
    match SPOKEN.iter().find(|(known, _)| *known == slug) {
        Some((_, formats)) => formats,
        None if chat_endpoint(slug).is_some() => OF_CUSTOM,
        None => &[],
    }
}

/// Where a provider is asked in a format it speaks.
pub fn place(upstream: Upstream<'_>, format: Format, model: &str, stream: bool) -> Result<Place, Fault> {
    let plain = |rest: &str| Place { rest: rest.to_owned(), query: "", model: model.to_owned(), version: None };
    let slug = match upstream {
        Upstream::Custom(own) => return Ok(of_custom(own, format, model, stream)),
        Upstream::BuiltIn(provider) => provider.slug,
    };
    match (slug, format) {
        ("aws-bedrock", _) => bedrock(model, stream),
        ("google-vertex-ai", _) => Vertex::read(model).map(|vertex| vertex.place(stream)),
        ("azure-openai", _) => {
            let (resource, deployment) = model.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
                Fault::path("azure-openai wants the model as azure-openai/{resource}/{deployment}, for the host is the resource's")
            })?;
            let path = if format == Responses { "responses" } else { "chat/completions" };
            let rest = format!("{resource}/openai/v1/{path}");
            Ok(Place { rest, query: "", model: deployment.to_owned(), version: None })
        }
        (_, Gemini) => Ok(gemini("v1beta/", model, stream)),
        (_, Messages) => Ok(plain("v1/messages")),
        (_, Responses) => Ok(plain("responses")),
        _ => Ok(plain(chat_endpoint(slug).unwrap_or("v1/chat/completions"))),
    }
}

/// How a provider takes a key where it is asked in that format.
pub fn key_form(upstream: Upstream<'_>, format: Format, rest: &str) -> KeyForm {
    match (upstream, format) {
        (Upstream::Custom(_), Messages) => KeyForm::Header("x-api-key"),
        (Upstream::Custom(_), Gemini) => KeyForm::Header("x-goog-api-key"),
        _ if wants_bearer(upstream.slug(), rest) => KeyForm::Bearer,
        _ => upstream.key_form(),
    }
}

/// The base URL of a provider of the account's own may be that of its API, or only name its host.
fn of_custom(own: &CustomProvider, format: Format, model: &str, stream: bool) -> Place {
    let version = |version: &'static str| if own.has_path() { "" } else { version };
    let rest = match format {
        Gemini => return gemini(version("v1beta/"), model, stream),
        Messages => "messages",
        Responses => "responses",
        Chat | Converse => "chat/completions",
    };
    Place { rest: format!("{}{rest}", version("v1/")), query: "", model: model.to_owned(), version: None }
}

fn encoded(id: &str) -> String {
    utf8_percent_encode(id, PLAIN).to_string()
}

fn gemini(before: &str, model: &str, stream: bool) -> Place {
    let named = model.strip_prefix("models/").unwrap_or(model);
    let (folder, name) = match named.strip_prefix("tunedModels/") {
        Some(name) => ("tunedModels", name),
        None => ("models", named),
    };
    let (verb, query) = verb(stream);
    Place { rest: format!("{before}{folder}/{}:{verb}", encoded(name)), query, model: named.to_owned(), version: None }
}

fn verb(stream: bool) -> (&'static str, &'static str) {
    if stream { ("streamGenerateContent", "?alt=sse") } else { ("generateContent", "") }
}

fn bedrock(model: &str, stream: bool) -> Result<Place, Fault> {
    let wanted = || {
        Fault::path(
            "aws-bedrock wants the model as aws-bedrock/{region}/{model}, such as aws-bedrock/us-east-1/us.amazon.nova-pro-v1:0",
        )
    };
    let (region, id) = model.split_once('/').filter(|(_, id)| !id.is_empty()).ok_or_else(wanted)?;
    if !paths::is_aws_region(region) {
        return Err(wanted());
    }
    let verb = if stream { "converse-stream" } else { "converse" };
    let rest = format!("bedrock-runtime/{region}/model/{}/{verb}", encoded(id));
    Ok(Place { rest, query: "", model: id.to_owned(), version: None })
}

/// A model at Vertex, by its project and region.
struct Vertex<'a> {
    project: &'a str,
    region: &'a str,
    publisher: &'a str,
    model: &'a str,
}

// === impl Vertex ===

impl<'a> Vertex<'a> {
    /// Reads `{project}/{region}/{model}`, or with the publisher before the model.
    fn read(model: &'a str) -> Result<Self, Fault> {
        let wanted = || {
            Fault::path(
                "google-vertex-ai wants the model as google-vertex-ai/{project}/{region}/{model} or \
                 …/{region}/{publisher}/{model}, such as google-vertex-ai/my-project/us-central1/gemini-2.5-pro",
            )
        };
        let mut parts = model.splitn(3, '/');
        let (Some(project), Some(region), Some(named)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wanted());
        };
        let (publisher, model) = named.split_once('/').unwrap_or(if named.starts_with("claude") {
            ("anthropic", named)
        } else {
            ("google", named)
        });
        if [project, region, publisher, model].contains(&"") {
            return Err(wanted());
        }
        Ok(Self { project, region, publisher, model })
    }

    fn place(&self, stream: bool) -> Place {
        let Self { project, region, publisher, model } = *self;
        let (verb, query, version) = match publisher {
            "anthropic" => (if stream { "streamRawPredict" } else { "rawPredict" }, "", Some(VERTEX_VERSION)),
            _ => {
                let (verb, query) = verb(stream);
                (verb, query, None)
            }
        };
        let [project, publisher, name] = [project, publisher, model].map(encoded);
        let rest = format!("v1/projects/{project}/locations/{region}/publishers/{publisher}/models/{name}:{verb}");
        Place { rest, query, model: model.to_owned(), version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{table, upstream};

    fn asked(slug: &str, format: Format, model: &str, stream: bool) -> (String, &'static str, String) {
        let place = place(Upstream::find(slug, &[]).unwrap(), format, model, stream).unwrap();
        (place.rest, place.query, place.model)
    }

    #[test]
    fn every_row_is_one_of_a_known_provider() {
        assert!(CHAT.is_sorted() && SPOKEN.iter().is_sorted_by_key(|(slug, _)| slug));
        for slug in CHAT.iter().map(|(slug, _)| slug).chain(SPOKEN.iter().map(|(slug, _)| slug)) {
            assert_eq!(table::find(slug).unwrap().slug, *slug);
            assert!(!of(Upstream::find(slug, &[]).unwrap(), "m").is_empty());
        }
        assert!(of(Upstream::find("elevenlabs", &[]).unwrap(), "m").is_empty());
    }

    #[test]
    fn each_format_has_its_address() {
        for (slug, format, model, stream, wanted) in [
            ("anthropic", Messages, "claude-x", true, ("v1/messages", "", "claude-x")),
            ("openai", Responses, "gpt-5", false, ("responses", "", "gpt-5")),
            ("openai", Chat, "gpt-5", false, ("chat/completions", "", "gpt-5")),
            ("azure-openai", Chat, "res/dep", false, ("res/openai/v1/chat/completions", "", "dep")),
            (
                "google-ai-studio",
                Gemini,
                "gemini-x",
                true,
                ("v1beta/models/gemini-x:streamGenerateContent", "?alt=sse", "gemini-x"),
            ),
            ("google-ai-studio", Gemini, "a/../b", false, ("v1beta/models/a%2F..%2Fb:generateContent", "", "a/../b")),
            (
                "aws-bedrock",
                Converse,
                "eu-west-1/eu.anthropic.c-v1:0",
                true,
                ("bedrock-runtime/eu-west-1/model/eu.anthropic.c-v1%3A0/converse-stream", "", "eu.anthropic.c-v1:0"),
            ),
            (
                "google-vertex-ai",
                Gemini,
                "p/us-central1/gemini-x",
                false,
                (
                    "v1/projects/p/locations/us-central1/publishers/google/models/gemini-x:generateContent",
                    "",
                    "gemini-x",
                ),
            ),
            (
                "google-vertex-ai",
                Messages,
                "p/global/claude-x@1",
                true,
                (
                    "v1/projects/p/locations/global/publishers/anthropic/models/claude-x@1:streamRawPredict",
                    "",
                    "claude-x@1",
                ),
            ),
            ("mistral", Chat, "m", false, ("v1/chat/completions", "", "m")),
        ] {
            let (rest, query, name) = asked(slug, format, model, stream);
            assert_eq!((rest.as_str(), query, name.as_str()), wanted);
        }
        for (slug, format, model) in [
            ("azure-openai", Chat, "gpt"),
            ("aws-bedrock", Converse, "claude"),
            ("aws-bedrock", Converse, "s3/claude"),
            ("google-vertex-ai", Gemini, "gemini"),
            ("google-vertex-ai", Gemini, "p//gemini"),
        ] {
            assert!(place(Upstream::find(slug, &[]).unwrap(), format, model, false).is_err(), "{slug}/{model}");
        }
        assert_eq!(of(Upstream::find("google-vertex-ai", &[]).unwrap(), "p/global/claude-x"), [Messages]);
    }

    #[test]
    fn a_provider_of_the_accounts_own_is_asked_below_its_base() {
        let custom = upstream::from_json(
            r#"[["own","https://llm.example/","{}",1,1,0],["deep","https://llm.example/api/v2","{}",1,1,0,"messages,gemini"]]"#,
        );
        let at = |slug: &str, format| place(Upstream::find(slug, &custom).unwrap(), format, "m", false).unwrap().rest;
        assert_eq!(at("custom-own", Chat), "v1/chat/completions");
        assert_eq!(
            (at("custom-deep", Messages), at("custom-deep", Gemini)),
            ("messages".to_owned(), "models/m:generateContent".to_owned())
        );
        assert_eq!(of(Upstream::find("custom-own", &custom).unwrap(), "m"), [Chat]);
        assert_eq!(of(Upstream::find("custom-deep", &custom).unwrap(), "m"), [Messages, Gemini]);
    }
}
