use super::*;
use proptest::prelude::*;

fn kind(method: &str, provider: &str, rest: &str, model: &str, has_messages: bool) -> Option<&'static str> {
    let model = Some(model).filter(|model| !model.is_empty());
    of(&Asking { provider, method, rest, is_socket: false, model, has_messages })
}

#[test]
fn a_path_tells_what_is_asked_for() {
    for (provider, rest, wanted) in [
        ("openai", "chat/completions", Some("chat")),
        ("openai", "v1/chat%2Fcompletions", Some("chat")),
        ("openai", "%63hat/completions", Some("chat")),
        ("openai", "completions", Some("completion")),
        ("openai", "responses", Some("chat")),
        ("openai", "responses/compact", Some("chat")),
        ("openai", "embeddings", Some("embeddings")),
        ("openai", "images/generations", Some("image")),
        ("openai", "images/edits", Some("image")),
        ("openai", "audio/transcriptions", Some("audio")),
        ("openai", "audio/speech", Some("audio")),
        ("openai", "videos", Some("video")),
        ("openai", "moderations", Some("moderation")),
        ("openai", "threads/th_1/runs", Some("chat")),
        ("openai", "threads/th_1/messages", None),
        ("openai", "files", None),
        ("openai", "vector_stores", None),
        ("openai", "batches", Some("batch")),
        ("openai", "batches/b_1/cancel", Some("batch")),
        ("anthropic", "v1/messages", Some("chat")),
        ("anthropic", "v1/complete", Some("completion")),
        ("anthropic", "v1/messages/batches", Some("batch")),
        ("anthropic", "v1/messages/batches/msgbatch_1/cancel", Some("batch")),
        ("anthropic", "v1/messages/count_tokens", None),
        ("azure-openai", "res/my-embedder/chat/completions", Some("chat")),
        ("azure-openai", "res/chat/embeddings", Some("embeddings")),
        ("azure-openai", "res/openai/deployments/images/chat/completions", Some("chat")),
        ("azure-openai", "res/openai/responses", Some("chat")),
        ("mistral", "v1/ocr", Some("ocr")),
        ("mistral", "v1/fim/completions", Some("completion")),
        ("mistral", "v1/agents/completions", Some("chat")),
        ("mistral", "v1/chat/moderations", Some("moderation")),
        ("mistral", "v1/conversations", Some("chat")),
        ("cohere", "v2/rerank", Some("rerank")),
        ("cohere", "v2/embed", Some("embeddings")),
        ("cohere", "v2/parse", Some("ocr")),
        ("cohere", "v1/tokenize", None),
        ("deepgram", "v1/listen", Some("audio")),
        ("deepgram", "v1/speak", Some("audio")),
        ("elevenlabs", "v1/text-to-speech/chat", Some("audio")),
        ("elevenlabs", "v1/speech-to-text", Some("audio")),
        ("cartesia", "tts/bytes", Some("audio")),
        ("ideogram", "v1/ideogram-v3/generate", Some("image")),
        ("replicate", "predictions", Some("completion")),
        ("replicate", "models/meta/meta-llama-3-8b-instruct/predictions", Some("completion")),
        ("replicate", "models/black-forest-labs/flux-schnell/predictions", Some("image")),
        ("huggingface", "hf-inference/models/openai/whisper-large-v3", Some("audio")),
        ("huggingface", "hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction", Some("embeddings")),
        ("huggingface", "v1/chat/completions", Some("chat")),
        ("google-ai-studio", "v1beta/models/gemini-2.5-flash-image:generateContent", Some("chat")),
        ("google-ai-studio", "v1beta/models/gemini-2.5-flash%3AstreamGenerateContent", Some("chat")),
        ("google-ai-studio", "v1beta/models/gemini-embedding-001:batchEmbedContents", Some("embeddings")),
        ("google-ai-studio", "v1beta/models/gemini-2.5-flash:batchGenerateContent", Some("batch")),
        ("google-ai-studio", "v1beta/models/gemini-2.5-flash:countTokens", None),
        ("google-ai-studio", "v1beta/models/imagen-4.0-generate-001:predict", Some("image")),
        ("google-ai-studio", "v1beta/models/veo-3.1-generate-001:predictLongRunning", Some("video")),
        ("google-ai-studio", "v1beta/openai/chat/completions", Some("chat")),
        ("google-ai-studio", "v1beta/interactions", Some("chat")),
        ("google-ai-studio", "v1beta/cachedContents", None),
        ("custom-x", "v1/chat/completions", Some("chat")),
        ("custom-x", "anything", None),
    ] {
        assert_eq!(kind("POST", provider, rest, "", false), wanted, "{provider} {rest}");
        assert!(wanted.is_none_or(|kind| KINDS.contains(&kind)));
    }
}

#[test]
fn a_model_tells_it_where_any_may_be_behind_a_path() {
    let vertex = |publisher: &str, verb: &str| {
        kind(
            "POST",
            "google-vertex-ai",
            &format!("v1/projects/messages/locations/us-east5/publishers/{publisher}:{verb}"),
            "",
            false,
        )
    };
    for (publisher, wanted) in [
        ("anthropic/models/claude-sonnet-4-5@20250929", "chat"),
        ("mistralai/models/mistral-small-2503", "chat"),
        ("mistralai/models/mistral-ocr-2505", "ocr"),
    ] {
        assert_eq!(
            (vertex(publisher, "rawPredict"), vertex(publisher, "streamRawPredict")),
            (Some(wanted), Some(wanted))
        );
    }
    assert_eq!(vertex("google/models/text-embedding-005", "predict"), Some("embeddings"));
    assert_eq!(vertex("google/models/imagen-4.0-generate-001", "predict"), Some("image"));
    assert_eq!(vertex("google/models/gemini-2.5-pro", "generateContent"), Some("chat"));
    let endpoint = "v1/projects/p/locations/l/endpoints/123:rawPredict";
    assert_eq!(kind("POST", "google-vertex-ai", endpoint, "", true), Some("chat"));
    assert_eq!(kind("POST", "google-vertex-ai", endpoint, "", false), None);
    let bedrock = |model: &str, verb: &str, has_messages: bool| {
        kind("POST", "aws-bedrock", &format!("bedrock-runtime/us-east-1/model/{model}/{verb}"), "", has_messages)
    };
    for (model, has_messages, wanted) in [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1%3A0", false, "chat"),
        ("arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fabc", true, "chat"),
        ("amazon.nova-pro-v1:0", true, "chat"),
        ("amazon.nova-canvas-v1:0", false, "image"),
        ("amazon.titan-embed-text-v2:0", false, "embeddings"),
        ("cohere.rerank-v3-5:0", false, "rerank"),
        ("meta.llama3-8b-instruct-v1:0", false, "completion"),
        ("stability.stable-image-core-v1:1", false, "image"),
    ] {
        for verb in ["invoke", "invoke-with-response-stream"] {
            assert_eq!(bedrock(model, verb, has_messages), Some(wanted), "{model} {verb}");
        }
    }
    assert_eq!(bedrock("amazon.titan-embed-image-v1", "converse", false), Some("chat"));
    let workers = |model: &str| {
        [format!("run/{model}"), model.to_owned()].map(|rest| kind("POST", "workers-ai", &rest, "", false))
    };
    for (model, wanted) in [
        ("@cf/meta/llama-3.1-8b-instruct", Some("chat")),
        ("@hf/nousresearch/hermes-2-pro-mistral-7b", Some("chat")),
        ("@cf/openai/gpt-oss-120b", Some("chat")),
        ("@cf/baai/bge-m3", Some("embeddings")),
        ("@cf/google/embeddinggemma-300m", Some("embeddings")),
        ("@cf/baai/bge-reranker-base", Some("rerank")),
        ("@cf/openai/whisper-large-v3-turbo", Some("audio")),
        ("@cf/deepgram/flux", Some("audio")),
        ("@cf/myshell-ai/melotts", Some("audio")),
        ("@cf/black-forest-labs/flux-1-schnell", Some("image")),
        ("@cf/lykon/dreamshaper-8-lcm", Some("image")),
        ("@cf/huggingface/distilbert-sst-2-int8", None),
        ("@cf/meta/m2m100-1.2b", None),
    ] {
        assert_eq!(workers(model), [wanted, wanted], "{model}");
    }
    assert_eq!(kind("POST", "workers-ai", "v1/embeddings", "@cf/baai/bge-m3", false), Some("embeddings"));
    assert_eq!(kind("POST", "workers-ai", "v1/chat/completions", "@cf/meta/llama", true), Some("chat"));
}

#[test]
fn what_runs_no_model_has_no_kind() {
    for (method, provider, rest) in [
        ("DELETE", "openai", "responses/resp_1"),
        ("DELETE", "openai", "chat/completions/chatcmpl-1"),
        ("DELETE", "anthropic", "v1/messages/batches/msgbatch_1"),
        ("GET", "openai", "responses/resp_1"),
        ("GET", "elevenlabs", "v1/voices"),
        ("POST", "openai", "responses/resp_1/cancel"),
        ("POST", "openai", "responses/input_tokens"),
    ] {
        assert_eq!(kind(method, provider, rest, "gpt-4o", false), None, "{method} {rest}");
    }
    assert_eq!(kind("GET", "anthropic", "v1/messages/batches/msgbatch_1/results", "", false), Some("batch"));
    let socket = Asking {
        provider: "deepgram",
        method: "GET",
        rest: "v1/listen",
        is_socket: true,
        model: None,
        has_messages: false,
    };
    assert_eq!(of(&socket), Some("audio"));
}

proptest! {
    #[test]
    fn any_path_has_a_known_kind_or_none(method in "(GET|POST)", rest in "\\PC{0,60}", model in "\\PC{0,20}") {
        for provider in ["google-ai-studio", "google-vertex-ai", "azure-openai", "aws-bedrock", "workers-ai", "fal", "openai"] {
            prop_assert!(kind(&method, provider, &rest, &model, true).is_none_or(|kind| KINDS.contains(&kind)));
        }
    }
}
