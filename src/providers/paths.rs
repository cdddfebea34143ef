//! How the rest of a path becomes a provider's host and path, for each of the forms that [`super::table::Paths`] names.

use crate::http::query;
use crate::providers::fault::Fault;

/// Fal's own hosts. Those below others of its names belong to the owners of apps there, so a key that the gateway keeps
/// does not go to them.
pub const FAL_HOSTS: &[&str] = &["fal.run", "queue.fal.run", "ws.fal.run", "rest.fal.ai", "rest.alpha.fal.ai"];

/// Refuses what an upstream or its proxies could read as another path than we did.
pub fn checked(rest: &str) -> Result<&str, Fault> {
    let bad = |what: &str| Err(Fault::path(format!("the path after the provider contains {what}")));
    if rest.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\' || byte == b'#') {
        return bad("a control character, a space, a backslash or '#'; percent-encode it");
    }
    let lower = rest.to_ascii_lowercase();
    if lower.contains("%00") || lower.contains("%0a") || lower.contains("%0d") {
        return bad("an encoded line break or NUL");
    }
    let decoded_dots = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    // What is taken for a path may bring a query, in front of which dots mean the same.
    if decoded_dots.split(['/', '?']).any(|segment| segment == "." || segment == "..") {
        return bad("a '.' or '..' segment");
    }
    Ok(rest)
}

pub fn without<'a>(rest: &'a str, prefixes: &[&str]) -> &'a str {
    let mut rest = rest;
    // Clients that add the version to a base URL that already has it send it twice.
    while let Some(shorter) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    rest
}

pub fn undoubled(rest: &str) -> &str {
    rest.strip_prefix("v1/").filter(|inner| inner.starts_with("v1/")).unwrap_or(rest)
}

/// `(segment, what follows)`; nothing follows the last one.
pub fn segment(rest: &str) -> (&str, &str) {
    rest.split_once('/').unwrap_or((rest, ""))
}

/// One DNS label: letters, digits and inner hyphens.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A cloud region such as `us-east-1`, `europe-west4` or `global`.
fn is_region(text: &str) -> bool {
    text.len() <= 32 && is_label(text) && text.bytes().all(|byte| !byte.is_ascii_uppercase())
}

/// A region of AWS, such as `us-gov-west-1`. `s3` is none: `bedrock-runtime.s3.amazonaws.com` is a customer's bucket.
pub fn is_aws_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let number = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 32
        && parts.next().is_some_and(|country| country.len() == 2 && letters(country))
        && parts.next_back().is_some_and(number)
        && parts.clone().next().is_some()
        && parts.all(letters)
}

/// The resource that the path of a request to Azure names.
pub fn azure_resource(rest: &str) -> &str {
    segment(rest).0
}

/// Whether a text can be the name of a resource at Azure.
pub fn is_azure_resource(text: &str) -> bool {
    is_label(text)
}

/// What Azure has below a deployment. <https://learn.microsoft.com/azure/ai-services/openai/reference>
const AZURE_OPERATIONS: &[&str] = &["chat", "completions", "embeddings", "audio", "images", "extensions", "realtime"];

/// What Azure has below `/openai` beside deployments. Clients whose base URL is the resource send it without `openai/`.
const AZURE_COLLECTIONS: &[&str] = &[
    "assistants",
    "batches",
    "containers",
    "conversations",
    "deployments",
    "evals",
    "files",
    "fine-tunes",
    "fine_tuning",
    "models",
    "operations",
    "realtime",
    "responses",
    "threads",
    "uploads",
    "v1",
    "vector_stores",
    "video",
];

/// How the part of a path behind Azure's resource is meant.
enum AzurePath<'a> {
    /// A deployment, and what is below it.
    Deployment(&'a str, &'a str),
    /// A path below `/openai` that has no deployment in it.
    Plain(&'a str),
}

/// Three sorts of clients send three forms: Azure's own whole path, the path below `/openai`, and Cloudflare's, which
/// begins with the deployment.
fn azure_path(after: &str) -> AzurePath<'_> {
    let whole = after.strip_prefix("openai/").or_else(|| (after == "openai").then_some(""));
    let below = whole.unwrap_or(after);
    let (first, rest) = segment(below);
    if first == "deployments" {
        let (deployment, path) = segment(rest);
        return if path.is_empty() { AzurePath::Plain(below) } else { AzurePath::Deployment(deployment, path) };
    }
    let is_operation = AZURE_OPERATIONS.contains(&segment(rest).0);
    let is_collection = AZURE_COLLECTIONS.contains(&first) && (first == "v1" || !is_operation);
    if whole.is_some() || is_collection { AzurePath::Plain(below) } else { AzurePath::Deployment(first, rest) }
}

/// The deployment that the path of a request to Azure names, if it names one.
pub fn azure_deployment(rest: &str) -> Option<&str> {
    match azure_path(segment(rest).1) {
        AzurePath::Deployment(deployment, _) => Some(deployment).filter(|deployment| !deployment.is_empty()),
        AzurePath::Plain(_) => None,
    }
}

pub fn azure(base: &str, rest: &str) -> Result<(String, String), Fault> {
    let (resource, after) = segment(rest);
    if !is_label(resource) {
        return Err(Fault::path("azure-openai/{resource}/…: the resource must be letters, digits and hyphens"));
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let path = match azure_path(after) {
        AzurePath::Plain(path) => format!("openai/{path}"),
        AzurePath::Deployment(deployment, path)
            if (1..=64).contains(&deployment.len()) && deployment.bytes().all(named) =>
        {
            format!("openai/deployments/{deployment}/{path}")
        }
        AzurePath::Deployment(..) => {
            return Err(Fault::path(
                "azure-openai/{resource}/{deployment}/…: the deployment must be 1 to 64 letters, digits, '-', '_' or '.'; \
                 Azure's own paths begin with azure-openai/{resource}/openai/",
            ));
        }
    };
    Ok((base.replace("{resource}", resource), path))
}

pub fn bedrock(rest: &str) -> Result<(String, String), Fault> {
    let (service, after) = segment(rest);
    let (region, path) = segment(after);
    if !is_aws_region(region) {
        return Err(Fault::path("aws-bedrock/{service}/{region}/…: the region must be one like us-east-1"));
    }
    let host = match service {
        "bedrock-runtime" => format!("https://bedrock-runtime.{region}.amazonaws.com"),
        "bedrock-mantle" => format!("https://bedrock-mantle.{region}.api.aws"),
        // The host that has batches has also what manages an account, which is no caller's business.
        "bedrock" if matches!(segment(path).0, "model-invocation-job" | "model-invocation-jobs") => {
            format!("https://bedrock.{region}.amazonaws.com")
        }
        _ => {
            return Err(Fault::path(
                "aws-bedrock/{service}/…: the service is bedrock-runtime or bedrock-mantle, or bedrock for model-invocation-job and model-invocation-jobs",
            ));
        }
    };
    Ok((host, path.to_owned()))
}

pub fn vertex(rest: &str) -> Result<(String, String), Fault> {
    let region = rest.split_once("/locations/").map(|(_, after)| segment(after).0);
    let host = match region {
        None | Some("global") => "https://aiplatform.googleapis.com".to_owned(),
        Some(region) if is_region(region) => format!("https://{region}-aiplatform.googleapis.com"),
        Some(_) => {
            return Err(Fault::path("…/locations/{region}/…: the region must be one like us-central1 or global"));
        }
    };
    Ok((host, rest.to_owned()))
}

pub fn workers_ai(base: &str, account: &str, rest: &str) -> (String, String) {
    let understood = query::understood(rest);
    let is_model = understood.starts_with("@cf/") || understood.starts_with("@hf/");
    let path = if is_model { format!("run/{rest}") } else { rest.to_owned() };
    (base.replace("{account}", account), path)
}

pub fn fal(base: &str, rest: &str, target: Option<&str>, keyed: bool) -> Result<(String, String), Fault> {
    let Some(target) = target else {
        return Ok((base.to_owned(), rest.to_owned()));
    };
    let refused = || Fault::path("x-fal-target-url must be an https:// URL on fal.run or fal.ai");
    let after = target.strip_prefix("https://").ok_or_else(refused)?;
    let (host, path) = segment(after);
    let ours = ["fal.run", "fal.ai"].iter().any(|domain| {
        host == *domain || host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.') && sub.len() > 1)
    });
    if !ours || !host.split('.').all(is_label) {
        return Err(refused());
    }
    if keyed && !FAL_HOSTS.contains(&host) {
        return Err(Fault::path(format!(
            "a key that the gateway keeps goes to fal's own hosts only; x-fal-target-url must be on one of {}, or the \
             request must bring its own key",
            FAL_HOSTS.join(", ")
        )));
    }
    let (path_only, _) = path.split_once('?').unwrap_or((path, ""));
    checked(path_only)?;
    if path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || byte == b'#' || byte == b'\\') {
        return Err(refused());
    }
    Ok((format!("https://{host}"), path.to_owned()))
}

pub fn baseten(base: &str, rest: &str) -> Result<(String, String), Fault> {
    let Some(after) = rest.strip_prefix("model/") else {
        return Ok((base.to_owned(), undoubled(rest).to_owned()));
    };
    let (model, path) = segment(after);
    if !is_label(model) {
        return Err(Fault::path("baseten/model/{id}: the id must be letters, digits and hyphens"));
    }
    let path = if path.is_empty() { "production/predict" } else { path };
    Ok((format!("https://model-{model}.api.baseten.co"), path.to_owned()))
}

/// <https://huggingface.co/docs/inference-providers>
pub fn hugging_face(rest: &str) -> String {
    let rest = undoubled(rest);
    let (first, after) = segment(rest);
    let second = segment(after).0;
    let is_version = |text: &str| {
        text.strip_prefix('v')
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // Of the router's other providers each has paths of its own, which begin with a version or one of these.
    let is_router_path = is_version(second) || matches!(second, "models" | "inference" | "openai");
    if rest.is_empty() || is_version(first) || first == "hf-inference" || (first != "models" && is_router_path) {
        return rest.to_owned();
    }
    format!("hf-inference/models/{}", rest.strip_prefix("models/").unwrap_or(rest))
}

/// The model that the path of a request to Hugging Face names.
pub fn hugging_face_model(rest: &str) -> Option<String> {
    let path = hugging_face(rest);
    let model = path.split_once("models/").map(|(_, model)| model)?;
    let (owner, after) = segment(model);
    let name = segment(after).0;
    // Some old models have no owner in front of their names.
    let alone = matches!(name, "" | "v1" | "pipeline");
    let model = if alone { owner.to_owned() } else { format!("{owner}/{name}") };
    Some(model).filter(|model| !model.is_empty())
}
