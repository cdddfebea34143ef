use super::*;
use crate::providers::paths::{azure_deployment, hugging_face_model};
use proptest::prelude::*;

fn url(slug: &str, rest: &str) -> Result<String, Fault> {
    let target = Target { account: "acct", rest, query: "", base_override: None, fal_target: None, keyed: false };
    find(slug).unwrap().url(&target)
}

fn overridden(slug: &str, rest: &str) -> String {
    let target = Target {
        account: "acct",
        rest,
        query: "?a=b",
        base_override: Some("http://localhost:1/x/"),
        fal_target: None,
        keyed: false,
    };
    find(slug).unwrap().url(&target).unwrap()
}

#[test]
fn the_table_is_sorted_unique_and_https() {
    let slugs: Vec<_> = PROVIDERS.iter().map(|provider| provider.slug).collect();
    let mut sorted = slugs.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(slugs, sorted);
    for provider in PROVIDERS {
        assert!(provider.base.starts_with("https://") && !provider.base.ends_with('/'), "{}", provider.slug);
        assert!(provider.aliases.iter().all(|alias| !slugs.contains(alias)));
    }
}

#[test]
fn every_provider_has_fixtures_and_a_line_in_its_document() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let document = std::fs::read_to_string(format!("{root}docs/providers.md")).unwrap();
    for provider in PROVIDERS {
        let expected = format!("{root}tests/fixtures/{}/expected.json", provider.slug);
        assert!(std::fs::exists(&expected).unwrap(), "{expected} is missing");
        assert!(
            document.contains(&format!("| `{}` |", provider.slug)),
            "{} is not in docs/providers.md",
            provider.slug
        );
    }
}

#[test]
fn both_path_forms_reach_the_same_url() {
    for (slug, bare, versioned, wanted) in [
        ("openai", "chat/completions", "v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("openai", "responses", "v1/v1/responses", "https://api.openai.com/v1/responses"),
        ("grok", "messages", "v1/messages", "https://api.x.ai/v1/messages"),
        ("openrouter", "models", "v1/models", "https://openrouter.ai/api/v1/models"),
        ("cerebras", "chat/completions", "v1/chat/completions", "https://api.cerebras.ai/v1/chat/completions"),
        ("replicate", "predictions", "v1/predictions", "https://api.replicate.com/v1/predictions"),
        ("groq", "chat/completions", "openai/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
        ("huggingface", "org/model", "models/org/model", "https://router.huggingface.co/hf-inference/models/org/model"),
        (
            "huggingface",
            "v1/chat/completions",
            "v1/v1/chat/completions",
            "https://router.huggingface.co/v1/chat/completions",
        ),
    ] {
        assert_eq!(url(slug, bare).unwrap(), wanted);
        assert_eq!(url(slug, versioned).unwrap(), wanted);
    }
}

#[test]
fn templated_parts_become_hosts() {
    for (slug, rest, wanted) in [
        (
            "azure-openai",
            "my-res/gpt-4o/chat/completions",
            "https://my-res.openai.azure.com/openai/deployments/gpt-4o/chat/completions",
        ),
        (
            "aws-bedrock",
            "bedrock-runtime/us-east-1/model/a.b-v1%3A0/invoke",
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/a.b-v1%3A0/invoke",
        ),
        (
            "aws-bedrock",
            "bedrock/us-east-1/model-invocation-job/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Amodel-invocation-job%2Fj",
            "https://bedrock.us-east-1.amazonaws.com/model-invocation-job/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Amodel-invocation-job%2Fj",
        ),
        (
            "aws-bedrock",
            "bedrock-mantle/eu-west-1/anthropic/v1/messages",
            "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages",
        ),
        (
            "google-vertex-ai",
            "v1/projects/p/locations/us-central1/publishers/google/models/m:generateContent",
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/publishers/google/models/m:generateContent",
        ),
        (
            "google-vertex-ai",
            "v1/projects/p/locations/global/x",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/x",
        ),
        ("workers-ai", "@cf/meta/llama", "https://api.cloudflare.com/client/v4/accounts/acct/ai/run/@cf/meta/llama"),
        (
            "workers-ai",
            "v1/chat/completions",
            "https://api.cloudflare.com/client/v4/accounts/acct/ai/v1/chat/completions",
        ),
        ("baseten", "model/abc123", "https://model-abc123.api.baseten.co/production/predict"),
        ("baseten", "v1/chat/completions", "https://inference.baseten.co/v1/chat/completions"),
    ] {
        assert_eq!(url(slug, rest).unwrap(), wanted);
    }
}

#[test]
fn hugging_faces_router_and_its_models_are_told_apart() {
    for (sent, arrives, model) in [
        ("v1/chat/completions", "v1/chat/completions", None),
        ("v1/models", "v1/models", None),
        ("hf-inference/models/org/m", "hf-inference/models/org/m", Some("org/m")),
        (
            "hf-inference/models/org/m/pipeline/feature-extraction",
            "hf-inference/models/org/m/pipeline/feature-extraction",
            Some("org/m"),
        ),
        ("together/v1/chat/completions", "together/v1/chat/completions", None),
        ("novita/v3/openai/chat/completions", "novita/v3/openai/chat/completions", None),
        ("fireworks-ai/inference/v1/chat/completions", "fireworks-ai/inference/v1/chat/completions", None),
        ("org/m", "hf-inference/models/org/m", Some("org/m")),
        ("org/m/v1/chat/completions", "hf-inference/models/org/m/v1/chat/completions", Some("org/m")),
        ("models/gpt2", "hf-inference/models/gpt2", Some("gpt2")),
        ("gpt2", "hf-inference/models/gpt2", Some("gpt2")),
        ("hf-inference/models/gpt2/pipeline/x", "hf-inference/models/gpt2/pipeline/x", Some("gpt2")),
    ] {
        assert_eq!(url("huggingface", sent).unwrap(), format!("https://router.huggingface.co/{arrives}"));
        assert_eq!(hugging_face_model(sent).as_deref(), model, "{sent}");
    }
}

#[test]
fn every_form_of_azures_clients_arrives_where_azure_has_it() {
    for (sent, arrives) in [
        // AzureOpenAI with `azure_endpoint`, LiteLLM, LangChain.
        ("openai/deployments/gpt-4o/chat/completions", "deployments/gpt-4o/chat/completions"),
        ("openai/deployments/my.gpt_5/audio/transcriptions", "deployments/my.gpt_5/audio/transcriptions"),
        // The same client with the resource as its `base_url`.
        ("deployments/gpt-4o/embeddings", "deployments/gpt-4o/embeddings"),
        ("responses", "responses"),
        ("responses/resp_1/cancel", "responses/resp_1/cancel"),
        ("files/file-1/content", "files/file-1/content"),
        ("threads/t/runs/r/steps", "threads/t/runs/r/steps"),
        ("v1/chat/completions", "v1/chat/completions"),
        ("realtime", "realtime"),
        ("deployments", "deployments"),
        // Cloudflare's form.
        ("gpt-4o/chat/completions", "deployments/gpt-4o/chat/completions"),
        ("models/chat/completions", "deployments/models/chat/completions"),
        ("d/images/generations", "deployments/d/images/generations"),
        ("d/anything/new", "deployments/d/anything/new"),
        // What has no deployment.
        ("openai/responses", "responses"),
        ("openai/v1/responses", "v1/responses"),
        ("openai/v1/chat/completions", "v1/chat/completions"),
        ("openai/files", "files"),
        ("openai/models", "models"),
        ("openai/realtime", "realtime"),
        ("openai/deployments", "deployments"),
        ("openai/deployments/gpt-4o", "deployments/gpt-4o"),
        ("openai/chat/completions", "chat/completions"),
        ("openai/batches/batch_1/cancel", "batches/batch_1/cancel"),
    ] {
        let rest = format!("res/{sent}");
        assert_eq!(url("azure-openai", &rest).unwrap(), format!("https://res.openai.azure.com/openai/{arrives}"));
        let deployment = arrives.strip_prefix("deployments/").and_then(|below| below.split_once('/'));
        assert_eq!(azure_deployment(&rest), deployment.map(|(name, _)| name), "{sent}");
    }
}

#[test]
fn an_override_takes_the_place_of_the_whole_base() {
    assert_eq!(overridden("openai", "v1/chat/completions"), "http://localhost:1/x/chat/completions?a=b");
    assert_eq!(overridden("azure-openai", "r/d/chat"), "http://localhost:1/x/openai/deployments/d/chat?a=b");
    assert_eq!(
        overridden("aws-bedrock", "bedrock-runtime/us-east-1/model/m/invoke"),
        "http://localhost:1/x/model/m/invoke?a=b"
    );
}

#[test]
fn hostile_parts_are_refused() {
    for (slug, rest) in [
        ("azure-openai", "evil.com%23/d/x"),
        ("azure-openai", "evil.com/d/x"),
        ("azure-openai", "a@b/d/x"),
        ("azure-openai", "r//x"),
        ("azure-openai", "r"),
        ("azure-openai", "r/openai/deployments//chat"),
        ("azure-openai", "r/openai/deployments/a%2fb/chat"),
        ("azure-openai", "r/openai/../x"),
        ("aws-bedrock", "bedrock-runtime/us-east-1.evil.com/x"),
        ("aws-bedrock", "s3/us-east-1/x"),
        ("aws-bedrock", "bedrock/us-east-1/provisioned-model-throughput"),
        ("aws-bedrock", "bedrock/us-east-1/model-invocation-jobs-x"),
        ("aws-bedrock", "bedrock-runtime/us_east/x"),
        ("google-vertex-ai", "v1/projects/p/locations/evil.com%2f/x"),
        ("baseten", "model/a.b/x"),
        ("openai", "../x"),
        ("openai", "..?x"),
        ("openai", "a/%2e.?x"),
        ("openai", "a/%2E%2e/x"),
        ("openai", "a/..%2fx"),
        ("openai", "a%0d%0ax"),
        ("openai", "a#b"),
    ] {
        assert!(url(slug, rest).is_err(), "{slug} {rest}");
    }
}

#[test]
fn a_key_of_the_gateways_goes_to_fals_own_hosts_only() {
    let fal = |host: &str, keyed: bool| {
        let target = format!("https://{host}/x");
        let target = Target { account: "", rest: "", query: "", base_override: None, fal_target: Some(&target), keyed };
        find("fal").unwrap().url(&target).is_ok()
    };
    for host in FAL_HOSTS {
        assert!(fal(host, true), "{host}");
    }
    for host in ["somebody.fal.run", "x.gateway.alpha.fal.ai", "fal.ai"] {
        assert_eq!((fal(host, true), fal(host, false)), (false, true), "{host}");
    }
}

#[test]
fn a_region_of_aws_is_no_other_service_of_its() {
    for region in ["us-east-1", "ap-southeast-7", "us-gov-west-1", "eu-isoe-west-1", "mx-central-1"] {
        assert!(url("aws-bedrock", &format!("bedrock-runtime/{region}/model/x/invoke")).is_ok(), "{region}");
    }
    for region in [
        "s3",
        "s3-us-west-2",
        "s3-website-us-west-2",
        "us",
        "us-1",
        "global",
        "us-east-",
        "us-east-x",
        "us-east-123",
        "US-east-1",
        "us--1",
        "",
    ] {
        assert!(url("aws-bedrock", &format!("bedrock-runtime/{region}/model/x/invoke")).is_err(), "{region}");
    }
}

#[test]
fn fal_targets_stay_with_fal() {
    let fal = |target| {
        let target = Target {
            account: "",
            rest: "",
            query: "?own=1",
            base_override: None,
            fal_target: Some(target),
            keyed: false,
        };
        find("fal").unwrap().url(&target)
    };
    assert_eq!(fal("https://queue.fal.run/fal-ai/x?y=1").unwrap(), "https://queue.fal.run/fal-ai/x?y=1");
    assert_eq!(fal("https://rest.alpha.fal.ai/x").unwrap(), "https://rest.alpha.fal.ai/x?own=1");
    for evil in [
        "http://fal.run/x",
        "https://fal.run.evil.com/x",
        "https://evilfal.run/x",
        "https://fal.run@evil.com/x",
        "https://fal.run:8443/x",
        "https://evil.com?.fal.run/x",
        "https://evil.com#.fal.run/x",
        "https://evil.com\\.fal.run/x",
        "https://fal.run/../x",
    ] {
        assert!(fal(evil).is_err(), "{evil}");
    }
}

#[test]
fn a_misspelt_provider_is_recognised() {
    for (typed, meant) in [
        ("opnai", "openai"),
        ("OpenAI", "openai"),
        ("azure", "azure-openai"),
        ("gemini", ""),
        ("bedrock", "aws-bedrock"),
    ] {
        assert_eq!(nearest(typed).unwrap_or(""), meant, "{typed}");
    }
    assert_eq!(nearest("something-else-entirely"), None);
}

proptest! {
    #[test]
    fn no_path_escapes_the_providers_hosts(rest in "[a-z0-9@#?:%./\\\\-]{0,40}", index in 0..PROVIDERS.len()) {
        let provider = &PROVIDERS[index];
        let target = Target { account: "acct", rest: &rest, query: "", base_override: None, fal_target: None, keyed: false };
        if let Ok(url) = provider.url(&target) {
            let host = url.strip_prefix("https://").unwrap().split(['/', '?', '#', '\\', '@', ':']).next().unwrap();
            let suffix = match provider.paths {
                Azure => ".openai.azure.com",
                Bedrock => if host.ends_with(".api.aws") { ".api.aws" } else { ".amazonaws.com" },
                Vertex => "aiplatform.googleapis.com",
                Baseten => ".baseten.co",
                _ => provider.base.strip_prefix("https://").unwrap().split('/').next().unwrap(),
            };
            prop_assert!(host.ends_with(suffix), "{url}");
        }
    }
}
