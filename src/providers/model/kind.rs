//! What kind of work a request asks for, as the column `model_type` says it: by what its path asks for, and where any model
//! can be behind a path, by the model.

use super::{from_path, is_free};
use crate::http::query::understood;
use crate::providers::paths::azure_deployment;

/// The kinds that there are. A request that runs no model, such as one that removes or looks at something, has none.
pub const KINDS: &[&str] =
    &["audio", "batch", "chat", "completion", "embeddings", "image", "moderation", "ocr", "rerank", "video"];

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub provider: &'a str,
    pub method: &'a str,
    pub rest: &'a str,
    pub is_socket: bool,
    /// The model that it names, wherever it does.
    pub model: Option<&'a str>,
    /// Whether its body has the messages of a chat.
    pub has_messages: bool,
}

/// Models of which a name says what they do; the first part that is in a name tells. Vendors of sounds come first: Deepgram's
/// flux listens, and Black Forest Labs' paints.
const BY_NAME: &[(&[&str], Option<&str>)] = &[
    (&["deepgram/", "whisper", "melotts", "nova-sonic", "myshell-ai/", "chirp", "lyria"], Some("audio")),
    (&["rerank"], Some("rerank")),
    (&["embed", "/bge-", "marengo"], Some("embeddings")),
    (&["ocr"], Some("ocr")),
    (&["nova-reel", "veo-", "luma.ray"], Some("video")),
    (
        &[
            "nova-canvas",
            "titan-image",
            "stability.",
            "stabilityai/",
            "stable-diffusion",
            "dreamshaper",
            "black-forest-labs/",
            "leonardo/",
            "imagen-",
            "imagegeneration",
            "virtual-try-on",
        ],
        Some("image"),
    ),
    // What sorts, translates or shortens is none of the kinds.
    (&["distilbert", "resnet", "m2m100", "indictrans", "bart-large", "smart-turn"], None),
];

/// Words of a path that tell a kind, wherever they stand, in this order. What is more telling comes first.
const BY_PATH: &[(&str, &[&str])] = &[
    (
        "batch",
        &[
            "batches",
            "message-batches",
            "batchgeneratecontent",
            "asyncbatchembedcontent",
            "batch-inference",
            "model-invocation-job",
        ],
    ),
    ("moderation", &["moderations"]),
    ("rerank", &["rerank"]),
    ("ocr", &["ocr", "parse"]),
    ("embeddings", &["embed", "embeddings", "embedcontent", "batchembedcontents", "embedtext", "feature-extraction"]),
    ("video", &["videos", "predictlongrunning"]),
    ("completion", &["fim"]),
    (
        "chat",
        &[
            "chat",
            "messages",
            "responses",
            "conversations",
            "agents",
            "interactions",
            "runs",
            "converse",
            "converse-stream",
            "generatecontent",
            "streamgeneratecontent",
            "bidigeneratecontent",
        ],
    ),
    ("image", &["images", "image", "text-to-image", "image-to-image"]),
    (
        "audio",
        &[
            "audio",
            "audio-isolation",
            "listen",
            "music",
            "sound-generation",
            "speak",
            "speech",
            "speech-to-speech",
            "speech-to-text",
            "stt",
            "text-to-dialogue",
            "text-to-speech",
            "transcriptions",
            "tts",
            "voice-changer",
        ],
    ),
    ("completion", &["completions", "complete", "predictions"]),
];

/// The kind of work, if it is one that is known.
pub fn of(asking: &Asking<'_>) -> Option<&'static str> {
    let rest = understood(asking.rest).to_ascii_lowercase();
    let words: Vec<&str> = words(asking.provider, &rest);
    let by_path =
        BY_PATH.iter().find(|(_, known)| words.iter().any(|word| known.contains(word))).map(|(kind, _)| *kind);
    // A request that looks at a batch, or ends it, has to do with one all the same.
    if by_path == Some("batch") && asking.method != "DELETE" {
        return by_path;
    }
    if !asking.is_socket && (is_free(asking.method, asking.rest) || is_beside(&words)) {
        return None;
    }
    let named = from_path(asking.provider, asking.rest, "");
    let model = named.as_deref().or(asking.model).unwrap_or("").to_ascii_lowercase();
    let last = words.last().copied().unwrap_or("");
    match asking.provider {
        "aws-bedrock" if last.starts_with("invoke") || last == "async-invoke" => by_name(&model)
            .unwrap_or(Some(if asking.has_messages || is_bedrocks_chat(&model) { "chat" } else { "completion" })),
        "google-vertex-ai" | "google-ai-studio" if ["rawpredict", "streamrawpredict", "predict"].contains(&last) => {
            // Models of one's own, below `endpoints`, are told by what they are sent.
            let is_chat = asking.has_messages || (last != "predict" && !model.is_empty());
            by_name(&model).unwrap_or(is_chat.then_some("chat"))
        }
        "workers-ai" if by_path.is_none() && (model.starts_with("@cf/") || model.starts_with("@hf/")) => {
            by_name(&model).unwrap_or(Some("chat"))
        }
        "ideogram" => Some("image"),
        // Predictions are of anything.
        "replicate" => by_name(&model).flatten().or(by_path),
        "fal" | "huggingface" => by_path.or_else(|| by_name(&model).flatten()),
        _ => by_path,
    }
}

fn by_name(model: &str) -> Option<Option<&'static str>> {
    BY_NAME.iter().find(|(parts, _)| parts.iter().any(|part| model.contains(part))).map(|(_, kind)| *kind)
}

fn is_bedrocks_chat(model: &str) -> bool {
    ["anthropic.", "amazon.nova-", "cohere.command-r", "openai.gpt-"].iter().any(|part| model.contains(part))
}

/// Calls that have to do with conversations, and run no model.
fn is_beside(words: &[&str]) -> bool {
    let has = |word: &str| words.contains(&word);
    // A thread and a conversation have messages and items, and only a run is an answer.
    (has("threads") && !has("runs"))
        || has("submit_tool_outputs")
        || (has("conversations") && has("items"))
        || ["tokenize", "detokenize"].iter().any(|word| has(word))
}

/// The words of a path, without those that name something: a host, a region, a deployment, a model.
fn words<'a>(provider: &str, rest: &'a str) -> Vec<&'a str> {
    let mut segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let drop_after = |segments: &mut Vec<&str>, name: &str| {
        if let Some(at) = segments.iter().position(|segment| *segment == name) {
            segments.drain(at..(at + 2).min(segments.len()));
        }
    };
    match provider {
        "azure-openai" => {
            drop_after(&mut segments, "deployments");
            if let Some(deployment) = azure_deployment(rest) {
                segments.retain(|segment| *segment != deployment);
            }
        }
        "aws-bedrock" => {
            // The id of a model may have slashes.
            if let Some(at) = segments.iter().position(|segment| *segment == "model")
                && let Some(verb) = segments.last().copied()
            {
                segments.truncate(at);
                segments.push(verb);
            }
        }
        "google-ai-studio" | "google-vertex-ai" => {
            // …/models/gemini-2.5-flash:generateContent, …/endpoints/123:rawPredict
            let verb = segments.last().and_then(|last| Some(last.rsplit_once(':')?.1));
            for name in ["projects", "locations", "publishers", "models"] {
                drop_after(&mut segments, name);
            }
            segments.extend(verb);
        }
        "workers-ai" if rest.contains('@') => segments.clear(),
        // Behind what is done stands whose voice does it.
        "elevenlabs" => segments.truncate(2),
        _ => {}
    }
    segments.into_iter().map(|segment| segment.rsplit(':').next().unwrap_or(segment)).collect()
}

#[cfg(test)]
mod tests;
