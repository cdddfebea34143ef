//! Which calls run a model. Those that do not, such as uploads of files, have no model by nature, so that none is missing.

use crate::http::query::understood;

/// Calls without a model, by what their path begins with behind the API's version.
const BEGINNINGS: &[(&[&str], &[&str])] = &[
    // Of OpenAI's API, which many speak.
    (
        &[],
        &[
            "batches",
            "containers",
            "evals",
            "files",
            "fine_tuning",
            "moderations",
            "organization",
            "projects",
            "uploads",
            "vector_stores",
        ],
    ),
    (&["openai", "azure-openai"], &["assistants", "chatkit", "conversations", "skills", "voices"]),
    (&["anthropic"], &["environments", "organizations", "sessions", "skills"]),
    (&["aws-bedrock"], &["guardrail", "model-invocation-job"]),
    (&["mistral"], &["batch"]),
    (&["cohere"], &["connectors", "datasets"]),
    (&["deepgram"], &["auth", "projects"]),
    (&["elevenlabs"], &["convai", "history", "pronunciation-dictionaries", "studio", "user", "voices", "workspace"]),
    (&["cartesia"], &["access-token", "agents", "datasets", "fine-tunes", "pronunciation-dicts", "voices"]),
    (&["google-ai-studio"], &["corpora", "filesearchstores", "upload"]),
    (&["openrouter"], &["auth", "credits", "key", "keys"]),
    // Its work is done by processors, and only its chat by models.
    (&["parallel"], &["alpha", "beta", "extract", "findall", "monitors", "search", "tasks"]),
    (&["replicate"], &["account", "collections", "hardware", "trainings", "webhooks"]),
];

/// Calls without a model, by the last word of their path.
const ENDINGS: &[&str] = &[
    "batches",
    "cancel",
    "counttokens",
    "count-tokens",
    "count_tokens",
    "detokenize",
    "hangup",
    "input_tokens",
    "refer",
    "reject",
    "submit_tool_outputs",
    "tokenize",
];

/// True for a call whose provider runs the model that it names, or a model of its own choice where it names none.
pub fn runs_a_model(provider: &str, method: &str, rest: &str, is_socket: bool) -> bool {
    if is_socket {
        return true;
    }
    if !["POST", "PUT", "PATCH"].contains(&method) {
        return false;
    }
    let rest = understood(rest).to_ascii_lowercase();
    let mut segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    // What names a host, or a place there, says nothing about the call.
    match provider {
        "azure-openai" | "aws-bedrock" if segments.len() > 2 => drop(segments.drain(..2)),
        "google-vertex-ai" => {
            if let Some(at) = segments.iter().position(|segment| *segment == "locations") {
                segments.drain(..(at + 2).min(segments.len()));
            }
        }
        _ => {}
    }
    let begin = segments.iter().position(|segment| !is_version(segment)).unwrap_or(segments.len());
    let segments = segments.get(begin..).unwrap_or_default();
    let first = segments.first().copied().unwrap_or("");
    let last = segments.last().copied().unwrap_or("");
    let last = last.rsplit(':').next().unwrap_or(last);
    let begins = BEGINNINGS.iter().any(|(providers, beginnings)| {
        (providers.is_empty() || providers.contains(&provider)) && beginnings.contains(&first)
    });
    // A thread has messages; what is run on it, has a model.
    let is_thread = first == "threads" && !segments.contains(&"runs");
    !begins && !is_thread && !ENDINGS.contains(&last)
}

fn is_version(segment: &str) -> bool {
    matches!(segment, "api" | "compatibility" | "inference" | "openai")
        || segment.strip_prefix('v').is_some_and(|version| version.starts_with(|char: char| char.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_run_a_model_are_told_from_those_that_do_not() {
        for (provider, rest) in [
            ("openai", "chat/completions"),
            ("openai", "v1/responses"),
            ("openai", "responses/compact"),
            ("openai", "audio/transcriptions"),
            ("openai", "images/edits"),
            ("openai", "embeddings"),
            ("openai", "threads/th_1/runs"),
            ("openai", "threads/runs"),
            ("openai", "realtime/client_secrets"),
            ("openai", "%63hat%2Fcompletions"),
            ("openai", "chat/completions/"),
            ("openai", "v1//chat/completions"),
            ("azure-openai", "files/batches/chat/completions"),
            ("anthropic", "v1/messages"),
            ("google-ai-studio", "v1beta/models/gemini-2.5-pro:generateContent"),
            ("google-vertex-ai", "v1/projects/files/locations/l/publishers/google/models/m:rawPredict"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/files/converse"),
            ("mistral", "v1/conversations"),
            ("mistral", "v1/ocr"),
            ("cohere", "v2/chat"),
            ("deepgram", "v1/listen"),
            ("elevenlabs", "v1/text-to-speech/voice"),
            ("replicate", "predictions"),
            ("parallel", "v1beta/chat/completions"),
            ("workers-ai", "run/@cf/meta/llama"),
            ("custom-x", "anything/at/all"),
            ("fal", "fal-ai/flux"),
        ] {
            assert!(runs_a_model(provider, "POST", rest, false), "{provider} {rest}");
            assert!(!runs_a_model(provider, "GET", rest, false), "{provider} {rest}");
            assert!(!runs_a_model(provider, "DELETE", rest, false), "{provider} {rest}");
        }
        for (provider, rest) in [
            ("openai", "files"),
            ("openai", "v1/files"),
            ("openai", "uploads/u_1/parts"),
            ("openai", "batches"),
            ("openai", "batches/b_1/cancel"),
            ("openai", "vector_stores/vs_1/search"),
            ("openai", "fine_tuning/jobs/j/pause"),
            ("openai", "responses/resp_1/cancel"),
            ("openai", "responses/input_tokens"),
            ("openai", "threads"),
            ("openai", "threads/th_1/messages"),
            ("openai", "threads/th_1/runs/r/submit_tool_outputs"),
            ("openai", "conversations"),
            ("openai", "moderations"),
            ("azure-openai", "res/dep/files"),
            ("groq", "openai/v1/batches"),
            ("anthropic", "v1/messages/count_tokens"),
            ("anthropic", "v1/messages/batches"),
            ("anthropic", "v1/messages/batches/b/cancel"),
            ("anthropic", "v1/files"),
            ("google-ai-studio", "v1beta/models/gemini-2.5-pro:countTokens"),
            ("google-ai-studio", "v1beta/models/gemini-2.5-pro%3AcountTokens"),
            ("google-ai-studio", "upload/v1beta/files"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/guardrail/g/version/1/apply"),
            ("aws-bedrock", "bedrock/us-east-1/model-invocation-job"),
            ("mistral", "v1/batch/jobs"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/m/count-tokens"),
            ("cohere", "v1/tokenize"),
            ("elevenlabs", "v1/voices/add"),
            ("parallel", "v1/tasks/runs"),
            ("replicate", "predictions/p/cancel"),
        ] {
            assert!(!runs_a_model(provider, "POST", rest, false), "{provider} {rest}");
        }
        assert!(runs_a_model("openai", "GET", "realtime", true));
        assert!(runs_a_model("openai", "PUT", "chat/completions", false));
    }
}
