//! Which model a request is for, and what kind of work it asks for, as far as its path tells.

use crate::providers::{azure_deployment, hugging_face_model};
use crate::query::percent_decoded;

/// The model named in the path or the query, for providers whose requests have it there and not in the body.
pub fn from_path(provider: &str, rest: &str, query: &str) -> Option<String> {
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let after = |name: &str| {
        let at = segments.iter().position(|segment| *segment == name)?;
        segments.get(at + 1).copied()
    };
    let named = match provider {
        // …/models/gemini-2.5-flash:generateContent
        "google-ai-studio" | "google-vertex-ai" => {
            after("models").map(|model| model.split(':').next().unwrap_or(model).to_owned())
        }
        "azure-openai" => azure_deployment(rest).map(str::to_owned).or_else(|| parameter(query, "deployment")),
        "aws-bedrock" | "baseten" => after("model").map(str::to_owned),
        "huggingface" => hugging_face_model(rest),
        "workers-ai" => {
            rest.find("@cf/").or_else(|| rest.find("@hf/")).and_then(|at| rest.get(at..)).map(str::to_owned)
        }
        "replicate" => match segments.as_slice() {
            [.., "models", owner, name, "predictions"] => Some(format!("{owner}/{name}")),
            _ => None,
        },
        "fal" => (!rest.is_empty()).then(|| rest.trim_end_matches('/').to_owned()),
        "ideogram" => segments.iter().find(|segment| segment.starts_with("ideogram-")).map(|model| (*model).to_owned()),
        _ => None,
    };
    named.or_else(|| parameter(query, "model")).map(|model| decoded(&model)).filter(|model| !model.is_empty())
}

/// Whether a name only fills the place of one: clients whose path names the model send such a word in the body.
/// <https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/inference/_client.py>
pub fn is_placeholder(provider: &str, model: &str) -> bool {
    provider == "huggingface" && matches!(model, "dummy" | "tgi")
}

/// What kind of work a path asks for: `chat`, `embeddings`, `image`, `audio`, `completion`, or `None`.
pub fn kind(rest: &str) -> Option<&'static str> {
    let rest = rest.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| rest.contains(needle));
    if has(&["embed"]) {
        Some("embeddings")
    } else if has(&["chat", "messages", "responses", "generatecontent", "converse"]) {
        Some("chat")
    } else if has(&["image", "ideogram"]) {
        Some("image")
    } else if has(&["audio", "tts", "speech", "listen", "transcri", "speak"]) {
        Some("audio")
    } else if has(&["completions", "/invoke", "predictions"]) {
        Some("completion")
    } else {
        None
    }
}

/// Whether a path names a streaming variant: Gemini's `:streamGenerateContent`, Bedrock's `converse-stream`.
pub fn asks_for_stream(rest: &str) -> bool {
    rest.rsplit(['/', ':']).next().is_some_and(|verb| verb.to_ascii_lowercase().contains("stream"))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.strip_prefix('?').unwrap_or(query).split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// A name without its percent-encoding; what is no UTF-8 afterwards stays encoded.
fn decoded(text: &str) -> String {
    String::from_utf8(percent_decoded(text)).unwrap_or_else(|_| text.to_owned())
}

/// A path as it may be stored: the values of query parameters that look like credentials are masked.
pub fn stored_path(rest: &str, query: &str) -> String {
    let Some(query) = query.strip_prefix('?').filter(|query| !query.is_empty()) else {
        return clipped(rest);
    };
    let masked: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_credential(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    clipped(&format!("{rest}?{}", masked.join("&")))
}

/// Parameters are masked by parts of their names: hiding one too many costs less than storing one key.
fn is_credential(name: &str) -> bool {
    const PARTS: &[&str] = &["key", "token", "secret", "sig", "auth", "password", "credential", "jwt"];
    let name = decoded(name).to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// A path is for reading; nobody needs 16 KB of it in every row.
fn clipped(path: &str) -> String {
    path.chars().take(2_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn models_are_found_in_paths() {
        for (provider, rest, query, wanted) in [
            ("google-ai-studio", "v1beta/models/gemini-2.5-flash:generateContent", "", "gemini-2.5-flash"),
            (
                "google-vertex-ai",
                "v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
                "?alt=sse",
                "gemini-2.5-pro",
            ),
            ("azure-openai", "res/my-gpt/chat/completions", "?api-version=1", "my-gpt"),
            ("azure-openai", "res/openai/deployments/my-gpt/chat/completions", "?api-version=1", "my-gpt"),
            ("azure-openai", "res/openai/realtime", "?api-version=1&deployment=my-gpt", "my-gpt"),
            (
                "aws-bedrock",
                "bedrock-runtime/us-east-1/model/us.anthropic.claude-sonnet-4-5-v1%3A0/converse",
                "",
                "us.anthropic.claude-sonnet-4-5-v1:0",
            ),
            ("huggingface", "models/bigscience/bloom", "", "bigscience/bloom"),
            ("huggingface", "bigscience/bloom", "", "bigscience/bloom"),
            ("workers-ai", "run/@cf/meta/llama-3-8b", "", "@cf/meta/llama-3-8b"),
            ("openai", "realtime", "?model=gpt-realtime", "gpt-realtime"),
            ("replicate", "models/meta/llama-3/predictions", "", "meta/llama-3"),
            ("baseten", "model/abc/environments/x", "", "abc"),
        ] {
            assert_eq!(from_path(provider, rest, query).as_deref(), Some(wanted));
        }
        assert_eq!(from_path("openai", "chat/completions", "?a=b"), None);
        assert_eq!(from_path("azure-openai", "res/openai/responses", "?api-version=1"), None);
    }

    #[test]
    fn streaming_paths_are_recognised() {
        assert!(asks_for_stream("v1beta/models/gemini-2.5-flash:streamGenerateContent"));
        assert!(asks_for_stream("bedrock-runtime/us-east-1/model/m/invoke-with-response-stream"));
        assert!(!asks_for_stream("v1/streams/chat/completions"));
    }

    #[test]
    fn credentials_in_the_query_are_masked() {
        assert_eq!(
            stored_path(
                "v1beta/models/m:generateContent",
                "?key=AIza&alt=sse&API_KEY=x&X-Amz-Signature=y&a%75th=z&model=m"
            ),
            "v1beta/models/m:generateContent?key=***&alt=sse&API_KEY=***&X-Amz-Signature=***&a%75th=***&model=m"
        );
        assert_eq!(stored_path("chat/completions", ""), "chat/completions");
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_harm(rest in "\\PC{0,60}", query in "\\PC{0,60}") {
            for provider in ["google-ai-studio", "azure-openai", "huggingface", "workers-ai", "openai"] {
                let _ = from_path(provider, &rest, &query);
            }
            let _ = (kind(&rest), stored_path(&rest, &query));
        }
    }
}
