//! The fields of providers' answers whose addresses clients follow with their credentials, as far as they are in bodies: a
//! row for each. An answer that is not here is never looked into.

use crate::http::query;

/// What may be done with the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sending the pieces of an upload, and asking how much of it has arrived.
    Upload,
    /// Reading what is there.
    Read,
}

/// Fields of some of a provider's answers.
#[derive(Debug)]
pub struct Fields {
    /// A provider's slug, or nothing for every provider that serves these paths.
    pub provider: &'static str,
    /// What the path after the provider is, but for versions before it: `*` is any segment, and a `**` at the beginning any number.
    pub paths: &'static [&'static str],
    /// Where they are. `[]` is every element of a list.
    pub places: &'static [&'static str],
    /// How clients follow them that send no credentials there.
    pub without_token: Option<Act>,
}

const REPLICATES_LISTS: &[&str] =
    &["collections", "deployments", "files", "models", "models/*/*/versions", "predictions", "trainings"];

/// Replicate's files are not among these: their addresses are what a prediction is given as its input.
const REPLICATES_RUNS: &[&str] = &[
    "deployments/*/*/predictions",
    "models/*/*/predictions",
    "models/*/*/versions/*/trainings",
    "predictions",
    "predictions/*",
    "predictions/*/cancel",
    "trainings",
    "trainings/*",
    "trainings/*/cancel",
];

/// What is rewritten. `docs/providers.md` lists it, and what is not and why.
pub const FIELDS: &[Fields] = &[
    // https://docs.anthropic.com/en/api/retrieving-message-batches
    Fields {
        provider: "",
        paths: &["**/messages/batches", "**/messages/batches/*", "**/messages/batches/*/cancel"],
        places: &["results_url", "data.[].results_url"],
        without_token: None,
    },
    // https://docs.fal.ai/model-endpoints/queue
    Fields {
        provider: "fal",
        paths: &[QUEUE],
        places: &["status_url", "response_url", "cancel_url"],
        without_token: None,
    },
    // https://openrouter.ai/docs/api_reference/videos
    Fields {
        provider: "openrouter",
        paths: &["videos", "videos/*"],
        places: &["polling_url", "unsigned_urls.[]"],
        without_token: None,
    },
    // https://replicate.com/docs/reference/http
    Fields {
        provider: "replicate",
        paths: REPLICATES_RUNS,
        places: &["urls.get", "urls.cancel", "results.[].urls.get", "results.[].urls.cancel"],
        without_token: None,
    },
    // Its JavaScript client sends no token there, its Python client does.
    Fields {
        provider: "replicate",
        paths: REPLICATES_RUNS,
        places: &["urls.stream", "results.[].urls.stream"],
        without_token: Some(Act::Read),
    },
    Fields { provider: "replicate", paths: REPLICATES_LISTS, places: &["next", "previous"], without_token: None },
];

/// Stands for what goes to fal's queue: the host tells, and not the path.
const QUEUE: &str = "~queue";

/// The fields of an answer. `is_queued` is true for what goes to fal's queue.
pub fn of(provider: &str, rest: &str, is_queued: bool) -> Vec<&'static Fields> {
    let is_for = |fields: &&Fields| match fields.provider {
        "" => rest.contains("batches") || rest.contains('%'),
        known => known == provider,
    };
    if !FIELDS.iter().any(|fields| is_for(&fields)) {
        return Vec::new();
    }
    let understood = query::understood(rest);
    let path = understood.trim_end_matches('/');
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    while segments.first() == Some(&"v1") {
        segments.remove(0);
    }
    let matches = |pattern: &&&str| match **pattern {
        QUEUE => is_queued,
        pattern => fits(pattern, &segments),
    };
    FIELDS.iter().filter(is_for).filter(|fields| fields.paths.iter().any(|path| matches(&path))).collect()
}

/// Whether a request to fal is for its queue, and answered with addresses: not with what a model made.
pub fn is_queued(rest: &str, target: Option<&str>) -> bool {
    const HOST: &str = "queue.fal.run/";
    let below_host = rest.strip_prefix('~').and_then(|rest| rest.strip_prefix(HOST));
    let by_target = || target?.strip_prefix("https://")?.strip_prefix(HOST);
    let Some(path) = below_host.or_else(by_target) else { return false };
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    !path.contains("/requests/") || path.ends_with("/status") || path.ends_with("/cancel")
}

fn fits(pattern: &str, segments: &[&str]) -> bool {
    let (pattern, from_end) = match pattern.strip_prefix("**/") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let wanted: Vec<&str> = pattern.split('/').collect();
    let given = match (from_end, segments.len().checked_sub(wanted.len())) {
        (_, None) => return false,
        (true, Some(before)) => segments.get(before..).unwrap_or_default(),
        (false, Some(_)) => segments,
    };
    given.len() == wanted.len() && given.iter().zip(&wanted).all(|(given, wanted)| *wanted == "*" || given == wanted)
}

// === impl Act ===

impl Act {
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Read => "read",
        }
    }

    pub fn goes_with(self, method: &str) -> bool {
        match self {
            Self::Upload => matches!(method, "POST" | "PUT"),
            Self::Read => matches!(method, "GET" | "HEAD"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields with an address that stay as they are, and why, as the documentation says it.
    const KEPT: &[(&str, &str)] = &[
        ("google-ai-studio", "file.uri"),
        ("google-ai-studio", "video.uri"),
        ("replicate", "output"),
        ("replicate", "files: urls.get"),
        ("mistral", "files: url"),
        ("openai", "data[].url"),
        ("elevenlabs", "signed_url"),
        ("fal", "images[].url"),
        ("ideogram", "data[].url"),
        ("openrouter", "urls"),
        ("cohere", "dataset_parts[].url"),
        ("fireworks", "filenameToSignedUrls"),
    ];

    #[test]
    fn the_documentation_lists_what_is_rewritten_and_what_is_not() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md")).unwrap();
        for fields in FIELDS {
            for place in fields.places {
                let field = place.rsplit("[].").next().unwrap_or(place).trim_end_matches(".[]");
                assert!(page.contains(&format!("`{field}`")), "{} {field}", fields.provider);
            }
            assert!(fields.provider.is_empty() || page.contains(&format!("`{}`", fields.provider)));
        }
        for (provider, field) in KEPT {
            assert!(page.contains(&format!("| `{provider}` | `{field}` |")), "{provider} {field}");
        }
    }

    #[test]
    fn answers_about_batches_have_the_address_of_their_results() {
        for rest in [
            "v1/messages/batches",
            "v1/messages/batches/",
            "v1/v1/messages/batches",
            "messages/batches/msgbatch_1",
            "v1/messages/batches/msgbatch_1/cancel",
            "v1/messages%2Fbatches",
            "bedrock-mantle/us-east-1/anthropic/v1/messages/batches/b",
        ] {
            let found = of("anthropic", rest, false);
            assert_eq!(found.len(), 1, "{rest}");
            assert!(found[0].places.contains(&"results_url"), "{rest}");
        }
        for rest in [
            "v1/messages",
            "v1/messages/batches/b/results",
            "v1/batches",
            "batches/messages",
            "v1/messages/batches/b/x",
        ] {
            assert!(of("anthropic", rest, false).is_empty(), "{rest}");
        }
        assert_eq!(of("custom-x", "v1/messages/batches", false).len(), 1);
    }

    #[test]
    fn other_providers_have_theirs() {
        for (provider, rest, queued, wanted) in [
            ("replicate", "predictions", false, 3),
            ("replicate", "v1/predictions/p", false, 2),
            ("replicate", "models/meta/llama/predictions", false, 2),
            ("replicate", "models/meta/llama/versions", false, 1),
            ("replicate", "files/f", false, 0),
            ("replicate", "models/meta/llama", false, 0),
            ("openrouter", "v1/videos", false, 1),
            ("openrouter", "videos/job-1", false, 1),
            ("openrouter", "videos/job-1/content", false, 0),
            ("openrouter", "chat/completions", false, 0),
            ("fal", "fal-ai/x", false, 0),
            ("fal", "fal-ai/x", true, 1),
            ("openai", "predictions", false, 0),
            ("openai", "chat%2Fcompletions", false, 0),
        ] {
            assert_eq!(of(provider, rest, queued).len(), wanted, "{provider} {rest}");
        }
    }

    #[test]
    fn what_goes_to_fals_queue_is_told_by_its_host() {
        for (rest, target, wanted) in [
            ("~queue.fal.run/fal-ai/x", None, true),
            ("~queue.fal.run/fal-ai/x/requests/1/status", None, true),
            ("~queue.fal.run/fal-ai/x/requests/1", None, false),
            ("~fal.run/fal-ai/x", None, false),
            ("fal-ai/x", None, false),
            ("", Some("https://queue.fal.run/fal-ai/x?webhook=1"), true),
            ("", Some("https://queue.fal.run/fal-ai/x/requests/1/status?logs=1"), true),
            ("", Some("https://fal.run/fal-ai/x"), false),
            ("", Some("https://evil.example/queue.fal.run/"), false),
        ] {
            assert_eq!(is_queued(rest, target), wanted, "{rest} {target:?}");
        }
    }
}
