use super::*;
use crate::providers::upstream::CustomProvider;
use proptest::prelude::*;

fn site<'a>(slug: &str, rest: &'a str, base_override: Option<&'a str>) -> Site<'a> {
    Site { upstream: Upstream::BuiltIn(table::find(slug).unwrap()), account: "acct", base_override, rest }
}

fn below(slug: &str, rest: &str, address: &str) -> Option<String> {
    site(slug, rest, None).below(address).map(|below| format!("{}{}", below.rest, below.query))
}

#[test]
fn an_address_of_the_providers_leads_below_the_gateway_as_the_request_was_spelled() {
    for (slug, rest, address, wanted) in [
        (
            "google-ai-studio",
            "upload/v1beta/files",
            "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=A&upload_protocol=resumable",
            "upload/v1beta/files?upload_id=A&upload_protocol=resumable",
        ),
        (
            "anthropic",
            "v1/messages/batches",
            "https://API.Anthropic.com:443/v1/messages/batches/b/results",
            "v1/messages/batches/b/results",
        ),
        ("openai", "v1/files", "https://api.openai.com/v1/files/f/content", "v1/files/f/content"),
        ("openai", "files", "https://api.openai.com/v1/files/f/content", "files/f/content"),
        ("groq", "v1/x", "https://api.groq.com/openai/v1/y?z=1", "v1/y?z=1"),
        ("replicate", "predictions", "https://api.replicate.com/v1/predictions/p", "predictions/p"),
        ("replicate", "predictions", "https://stream.replicate.com/v1/files/f", "~stream.replicate.com/v1/files/f"),
        (
            "fal",
            "fal-ai/x",
            "https://queue.fal.run/fal-ai/x/requests/r/status",
            "~queue.fal.run/fal-ai/x/requests/r/status",
        ),
        ("fal", "fal-ai/x", "https://fal.run/fal-ai/x", "fal-ai/x"),
        (
            "azure-openai",
            "res/gpt/chat/completions",
            "https://res.openai.azure.com/openai/operations/images/1?api-version=2",
            "res/openai/operations/images/1?api-version=2",
        ),
        (
            "azure-openai",
            "res/openai/deployments/d/images",
            "https://RES.openai.azure.com/openai/deployments/d/x",
            "res/openai/deployments/d/x",
        ),
        (
            "aws-bedrock",
            "bedrock-runtime/us-east-1/model/m/invoke",
            "https://bedrock-runtime.us-east-1.amazonaws.com/async-invoke/1",
            "bedrock-runtime/us-east-1/async-invoke/1",
        ),
        (
            "google-vertex-ai",
            "v1/projects/p/locations/us-central1/x",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/y",
            "v1/projects/p/locations/europe-west4/y",
        ),
        (
            "baseten",
            "model/abc/production/async_predict",
            "https://model-abc.api.baseten.co/async_request/1",
            "model/abc/async_request/1",
        ),
        (
            "huggingface",
            "v1/chat/completions",
            "https://router.huggingface.co/hf-inference/models/a/b",
            "hf-inference/models/a/b",
        ),
        (
            "workers-ai",
            "v1/chat/completions",
            "https://api.cloudflare.com/client/v4/accounts/acct/ai/run/@cf/a",
            "run/@cf/a",
        ),
    ] {
        assert_eq!(below(slug, rest, address).as_deref(), Some(wanted), "{address}");
    }
}

#[test]
fn an_address_of_anybody_else_leads_nowhere() {
    for (slug, rest, address) in [
        ("openai", "files", "https://evil.example/v1/files"),
        ("openai", "files", "https://api.openai.com.evil.example/v1/files"),
        ("openai", "files", "https://api.openai.com@evil.example/v1/files"),
        ("openai", "files", "https://evil.example\\@api.openai.com/v1/files"),
        ("openai", "files", "https://api.openai.com/v1/../admin"),
        ("openai", "files", "https://api.openai.com/v1/%2e%2e/admin"),
        ("openai", "files", "https://api.openai.com/other/x"),
        ("openai", "files", "http://api.openai.com/v1/files"),
        ("openai", "files", "https://api.openai.com:8443/v1/files"),
        ("openai", "files", "https://api.openai.com/v1/a b"),
        ("openai", "files", "ftp://api.openai.com/v1/files"),
        ("openai", "files", "//api.openai.com/v1/files"),
        ("openai", "files", "/v1/files"),
        ("openai", "files", ""),
        ("azure-openai", "res/d/chat/completions", "https://other.openai.azure.com/openai/x"),
        ("aws-bedrock", "bedrock-runtime/us-east-1/x", "https://bedrock-runtime.us-west-2.amazonaws.com/x"),
        ("aws-bedrock", "bedrock-runtime/us-east-1/x", "https://bucket.s3.amazonaws.com/x"),
        ("workers-ai", "x", "https://api.cloudflare.com/client/v4/accounts/other/ai/run/@cf/a"),
        ("workers-ai", "x", "https://api.cloudflare.com/client/v4/accounts/acct/tokens"),
        ("fal", "x", "https://somebody.fal.run/x"),
        ("replicate", "x", "https://replicate.delivery/x"),
        ("replicate", "x", "http://stream.replicate.com/x"),
        ("google-ai-studio", "upload/v1beta/files", "https://storage.googleapis.com/upload/v1beta/files"),
    ] {
        assert_eq!(below(slug, rest, address), None, "{address}");
    }
}

#[test]
fn behind_an_operators_base_url_both_addresses_of_the_provider_are_known() {
    let base = Some("http://127.0.0.1:9/google-ai-studio");
    let site = site("google-ai-studio", "upload/v1beta/files", base);
    for address in [
        "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=A",
        "http://127.0.0.1:9/google-ai-studio/upload/v1beta/files?upload_id=A",
        "http://127.0.0.1:9/upload/v1beta/files?upload_id=A",
    ] {
        let below = site.below(address).unwrap();
        assert_eq!((below.rest.as_str(), &*below.query), ("upload/v1beta/files", "?upload_id=A"), "{address}");
        let url = site.url(&below.rest, &below.query, base).unwrap();
        assert_eq!(url, "http://127.0.0.1:9/google-ai-studio/upload/v1beta/files?upload_id=A");
    }
    for other in [
        "http://127.0.0.1:8/google-ai-studio/x",
        "http://127.0.0.1:9/google-ai-studio/../x",
        "http://127.0.0.1:9/google-ai-studio-2/x",
    ] {
        assert_eq!(site.below(other), None, "{other}");
    }
    assert_eq!(site.below_relative("/google-ai-studio/v1beta/x?y").unwrap().rest, "v1beta/x");
    for other in ["/x", "x", "//evil.example/x", "/\\evil.example/x", "https://evil.example"] {
        assert_eq!(site.below_relative(other), None, "{other}");
    }
}

#[test]
fn a_custom_provider_has_one_host() {
    let custom = CustomProvider {
        slug: "custom-x".to_owned(),
        base_url: "https://api.example.com/v2/".to_owned(),
        headers: vec![],
        enable: true,
        checked: true,
        version: 1,
        formats: Vec::new(),
    };
    let site = Site { upstream: Upstream::Custom(&custom), account: "acct", base_override: None, rest: "x" };
    assert_eq!(site.below("https://api.example.com/v2/jobs/1?a=b").unwrap().rest, "jobs/1");
    for other in
        ["https://api.example.com/v1/jobs", "https://api.example.com/v22/jobs", "https://cdn.example.com/v2/jobs"]
    {
        assert_eq!(site.below(other), None, "{other}");
    }
}

#[test]
fn what_names_a_host_is_told_from_a_path() {
    for value in [
        "https://x",
        "HTTPS://x",
        "//x",
        "/\\x",
        "\\\\x",
        "\\/x",
        "https:x",
        "javascript:x",
        "a+b-1.c:x",
        " //x",
        "\t//x",
    ] {
        assert!(is_absolute(value), "{value}");
    }
    for value in ["", "/x", "x", "/x//y", "x/y:z", "?a=http://b", "./x:y", "1:x"] {
        assert!(!is_absolute(value), "{value}");
    }
    assert!(may_hold_one("x-goog-upload-url", "https://x") && may_hold_one("x-any", "HTTP://x"));
    assert!(may_hold_one("link", "<https://x>; rel=next") && may_hold_one("location", "/x"));
    assert!(!may_hold_one("set-cookie", "https://x") && !may_hold_one("x-any", "a https://x"));
}

#[test]
fn the_addresses_of_a_link_header_change_and_nothing_else_of_it() {
    let to = |address: &str| (address == "https://a.example/2").then(|| "https://gate/2".to_owned());
    let value = "<https://a.example/2>; rel=\"next\", <https://b.example/3>; rel=\"last\"";
    assert_eq!(
        relinked(value, to).as_deref(),
        Some("<https://gate/2>; rel=\"next\", <https://b.example/3>; rel=\"last\"")
    );
    for other in ["", "<", "<>", "<https://b.example>", ">x<", "<https://a.example/2"] {
        assert_eq!(relinked(other, to), None, "{other}");
    }
}

proptest! {
    #[test]
    fn whatever_an_answer_says_leads_to_the_same_address_or_nowhere(
        host in "api\\.openai\\.com|[a-z.@:\\\\/]{0,20}|queue\\.fal\\.run|res\\.openai\\.azure\\.com",
        path in "[a-z0-9./%2e?#@:\\\\ ~-]{0,40}",
        index in 0..table::PROVIDERS.len(),
        rest in "[a-z/0-9-]{0,30}",
    ) {
        let provider = &table::PROVIDERS[index];
        let site = Site { upstream: Upstream::BuiltIn(provider), account: "acct", base_override: None, rest: &rest };
        let address = format!("https://{host}/{path}");
        if let Some(below) = site.below(&address) {
            let leads = url::Url::parse(&site.url(&below.rest, &below.query, None).unwrap()).unwrap();
            let given = url::Url::parse(&address).unwrap();
            prop_assert_eq!(leads.as_str(), given.as_str());
        }
    }
}
