//! Which model a request is for, and what kind of work it asks for, as far as its path tells. A path is understood as its
//! provider does: without its percent-encoding.

pub mod endpoint;
pub mod kind;
pub mod names;

use crate::http::query;
use crate::http::query::{Query, is_credential};
use crate::providers::paths::{self, hugging_face_model};

/// The model named in the path or the query, for providers whose requests have it there and not in the body.
pub fn from_path(provider: &str, rest: &str, query: &str) -> Option<String> {
    let rest = &*query::understood(rest);
    let parameter = |name: &str| Query::parse(query.strip_prefix('?').unwrap_or(query)).get(name).map(str::to_owned);
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let after = |name: &str| {
        let at = segments.iter().position(|segment| *segment == name)?;
        segments.get(at + 1).copied()
    };
    let named = match provider {
        // …/models/gemini-2.5-flash:generateContent
        "google-ai-studio" | "google-vertex-ai" => {
            let name = |model: &str| model.split(':').next().unwrap_or(model).to_owned();
            after("models").map(name).or_else(|| Some(format!("tunedModels/{}", name(after("tunedModels")?))))
        }
        "azure-openai" => azure_deployment(rest).or_else(|| parameter("deployment")),
        "aws-bedrock" => bedrock(rest),
        "baseten" => after("model").map(str::to_owned),
        "huggingface" => hugging_face_model(rest),
        "workers-ai" => {
            rest.find("@cf/").or_else(|| rest.find("@hf/")).and_then(|at| rest.get(at..)).map(str::to_owned)
        }
        "replicate" => match segments.as_slice() {
            [.., "models" | "deployments", owner, name, "predictions"] => Some(format!("{owner}/{name}")),
            _ => None,
        },
        "fal" => {
            // The host of its own that a path may name is no part of a model's name.
            let model = match rest.strip_prefix('~') {
                Some(below) => below.split_once('/').map_or("", |(_, model)| model),
                None => rest,
            };
            (!model.is_empty()).then(|| model.trim_end_matches('/').to_owned())
        }
        "ideogram" => segments.iter().find(|segment| segment.starts_with("ideogram-")).map(|model| (*model).to_owned()),
        _ => None,
    };
    named
        .or_else(|| parameter("model"))
        .or_else(|| parameter("model_id"))
        .map(|model| model.trim().to_owned())
        .filter(|model| !model.is_empty())
}

/// The deployment that the path of a request to Azure names.
pub fn azure_deployment(rest: &str) -> Option<String> {
    paths::azure_deployment(&query::understood(rest)).map(str::to_owned)
}

/// `model/{id}/converse`, where the id may be an ARN with a slash.
fn bedrock(rest: &str) -> Option<String> {
    const VERBS: &[&str] = &["converse", "converse-stream", "count-tokens", "invoke", "invoke-with-response-stream"];
    let (_, model) = rest.split_once("/model/").or_else(|| rest.strip_prefix("model/").map(|model| ("", model)))?;
    let named = model.trim_end_matches('/').rsplit_once('/').filter(|(_, verb)| VERBS.contains(verb));
    Some(named.map_or_else(|| model.split('/').next().unwrap_or(model), |(model, _)| model).to_owned())
}

/// Whether a name only fills the place of one: clients whose path names the model send such a word in the body.
/// <https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/inference/_client.py>
pub fn is_placeholder(provider: &str, model: &str) -> bool {
    provider == "huggingface" && matches!(model, "dummy" | "tgi")
}

/// Whether a request costs nothing whatever its answer says: it reads, removes or ends something, or counts tokens.
pub fn is_free(method: &str, rest: &str) -> bool {
    const LAST: &[&str] = &[
        "cancel",
        "computeTokens",
        "count_tokens",
        "count-tokens",
        "countTokens",
        "detokenize",
        "hangup",
        "input_tokens",
        "pause",
        "reject",
        "stop",
        "tokenize",
    ];
    let rest = query::understood(rest);
    let last = rest.rsplit(['/', ':']).next().unwrap_or("");
    matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS")
        || (matches!(method, "POST" | "PUT") && LAST.contains(&last))
}

/// Whether a request goes on with something that was made by another.
pub fn continues(rest: &str) -> bool {
    rest.ends_with("/submit_tool_outputs")
}

/// What a request looks at: the path without what it wants to know of it.
pub fn looked_at(rest: &str) -> &str {
    let rest = rest.trim_end_matches('/');
    let ends = ["/cancel", "/results", ":cancel"];
    let thing = ends.iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    let is_batch = thing.len() < rest.len() && thing.contains("messages/batches/");
    // A message batch has an id, by which the request that made it is known.
    if is_batch { thing.rsplit('/').next().unwrap_or(thing) } else { thing }
}

/// Whether a request goes to an endpoint of one region, where some of a provider's models cost more than at the global one.
pub fn is_regional(provider: &str, rest: &str) -> bool {
    let location = rest.split_once("locations/").and_then(|(_, rest)| rest.split('/').next());
    provider == "google-vertex-ai" && location.is_some_and(|location| location != "global")
}

/// Whether a path names a streaming variant: Gemini's `:streamGenerateContent`, Bedrock's `converse-stream`.
pub fn asks_for_stream(rest: &str) -> bool {
    let rest = query::understood(rest);
    rest.rsplit(['/', ':']).next().is_some_and(|verb| verb.to_ascii_lowercase().contains("stream"))
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

/// A path is for reading; 16 KB of it in every row would be of no use.
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
            ("google-ai-studio", "v1beta/tunedModels/mine:generateContent", "", "tunedModels/mine"),
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
            ("google-ai-studio", "v1beta/models/gemini%2d2.5-pro:generateContent", "", "gemini-2.5-pro"),
            ("google-ai-studio", "v1beta/models/gemini-2.5-flash%3AgenerateContent", "", "gemini-2.5-flash"),
            ("google-ai-studio", "v1beta/%6dodels%2Fgemini-2.5-flash%253AgenerateContent", "", "gemini-2.5-flash"),
            ("workers-ai", "run/%40cf/meta/llama-3-8b", "", "@cf/meta/llama-3-8b"),
            ("workers-ai", "%40cf%2Fmeta/llama-3-8b", "", "@cf/meta/llama-3-8b"),
            (
                "aws-bedrock",
                "bedrock-runtime/us-east-1/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova/invoke",
                "",
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova",
            ),
            ("openai", "realtime", "?%6dodel=gpt%2Drealtime", "gpt-realtime"),
            ("deepgram", "v1/listen", "?model=nova-2&model=nova-3", "nova-3"),
            ("elevenlabs", "v1/text-to-speech/v/stream-input", "?model_id=eleven_flash_v2_5", "eleven_flash_v2_5"),
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
        assert!(asks_for_stream("v1beta/models/gemini-2.5-flash%3Astream%47enerateContent"));
        assert!(!asks_for_stream("v1/streams/chat/completions"));
    }

    #[test]
    fn what_only_looks_counts_or_ends_costs_nothing() {
        for (method, rest, wanted) in [
            ("GET", "responses/resp_1", true),
            ("DELETE", "responses/resp_1", true),
            ("POST", "responses/resp_1/cancel", true),
            ("POST", "v1/messages/count_tokens", true),
            ("POST", "v1beta/models/gemini-2.5-flash:countTokens", true),
            ("POST", "v1beta/batches/b1:cancel", true),
            ("POST", "v1beta/models/gemini-2.5-flash%3AcountTokens", true),
            ("PUT", "fal-ai/flux/requests/r/cancel", true),
            ("POST", "fine_tuning/jobs/j/pause", true),
            ("POST", "v1/tokenize", true),
            ("PATCH", "a/cancel", false),
            ("POST", "responses", false),
            ("POST", "batches", false),
            ("PUT", "anything", false),
            ("POST", "cancel/../chat/completions", false),
            ("POST", "chat/completions/cancel/%2e%2e", false),
        ] {
            assert_eq!(is_free(method, rest), wanted, "{method} {rest}");
        }
        assert!(is_regional(
            "google-vertex-ai",
            "v1/projects/p/locations/us-east5/publishers/anthropic/models/m:rawPredict"
        ));
        assert!(!is_regional(
            "google-vertex-ai",
            "v1/projects/p/locations/global/publishers/google/models/m:generateContent"
        ));
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
        assert_eq!(
            stored_path("callback", "?code=abc&c%6Fde=d&country_code=DE"),
            "callback?code=***&c%6Fde=***&country_code=DE"
        );
        assert_eq!(stored_path("chat/completions", ""), "chat/completions");
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_harm(rest in "\\PC{0,60}", query in "\\PC{0,60}") {
            for provider in ["google-ai-studio", "azure-openai", "huggingface", "workers-ai", "openai"] {
                let _ = from_path(provider, &rest, &query);
            }
            let _ = stored_path(&rest, &query);
        }
    }
}
