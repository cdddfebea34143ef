//! The providers a request can be sent to: one row each in [`PROVIDERS`], the only place where one is added.
//!
//! A row says where a provider lives and how the part of the path after its slug becomes an upstream URL. How its
//! answers are read is no property of a provider: `wire` goes by the shape of the answer.

use crate::providers::fault::Fault;
use crate::providers::paths::{
    FAL_HOSTS, azure, baseten, bedrock, checked, fal, hugging_face, segment, undoubled, vertex, without, workers_ai,
};

/// The segment in the URL, and the `provider` of a universal element.
pub const COMPAT: &str = "compat";

/// A provider as data.
#[derive(Debug)]
pub struct Provider {
    /// The segment in the URL.
    pub slug: &'static str,
    /// Further segments that mean the same provider.
    pub aliases: &'static [&'static str],
    /// What the provider's own clients take as their base URL. `{…}` parts are filled from the path.
    pub base: &'static str,
    pub paths: Paths,
    /// How it takes an API key.
    pub key: KeyForm,
}

/// Where a provider looks for the key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// `authorization: Bearer …`.
    Bearer,
    /// `authorization` with another scheme.
    Scheme(&'static str),
    /// A header of its own.
    Header(&'static str),
    /// In a header of its own, and kept together with the resource it is for, because the path names the host.
    Resource(&'static str),
    /// AWS credentials to sign with, or a key of Bedrock's as a bearer.
    Aws,
    /// A Google service account to make a token of, or a token.
    Google,
}

/// How the rest of the path becomes the path below the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// As it is.
    Plain,
    /// The base ends with the version, and clients send it or not: the first of these prefixes that is there goes.
    Optional(&'static [&'static str]),
    /// `{resource}/…`, and then Azure's own path, with `openai/` or without, or a deployment and what is below it.
    Azure,
    /// `bedrock-runtime/{region}/…` or `bedrock-mantle/{region}/…`.
    Bedrock,
    /// The region stands inside the path, after `locations/`, and selects the host.
    Vertex,
    /// `@cf/…` is short for `run/@cf/…`.
    WorkersAi,
    /// The client may name another of fal's hosts in a header.
    Fal,
    /// `model/{id}` has a host of its own, `v1/…` is shared.
    Baseten,
    /// A path of Hugging Face's router, or a model alone, which its own inference service answers for.
    HuggingFace,
}

use KeyForm::{Aws, Bearer, Google, Header, Resource, Scheme};
use Paths::{Azure, Baseten, Bedrock, Fal, HuggingFace, Optional, Plain, Vertex, WorkersAi};

const fn row(slug: &'static str, base: &'static str, paths: Paths, key: KeyForm) -> Provider {
    Provider { slug, aliases: &[], base, paths, key }
}

/// Sorted by slug.
pub const PROVIDERS: &[Provider] = &[
    row("anthropic", "https://api.anthropic.com", Plain, Header("x-api-key")),
    row("aws-bedrock", "https://{service}.{region}", Bedrock, Aws),
    row("azure-openai", "https://{resource}.openai.azure.com", Azure, Resource("api-key")),
    row("baseten", "https://inference.baseten.co", Baseten, Bearer),
    row("cartesia", "https://api.cartesia.ai", Plain, Header("x-api-key")),
    row("cerebras", "https://api.cerebras.ai/v1", Optional(&["v1/"]), Bearer),
    row("cohere", "https://api.cohere.com", Plain, Bearer),
    row("deepgram", "https://api.deepgram.com", Plain, Scheme("Token")),
    row("deepseek", "https://api.deepseek.com", Plain, Bearer),
    row("elevenlabs", "https://api.elevenlabs.io", Plain, Header("xi-api-key")),
    row("fal", "https://fal.run", Fal, Scheme("Key")),
    row("fireworks", "https://api.fireworks.ai/inference/v1", Optional(&["inference/v1/", "v1/"]), Bearer),
    Provider {
        slug: "google-ai-studio",
        aliases: &["google"],
        base: "https://generativelanguage.googleapis.com",
        paths: Plain,
        key: Header("x-goog-api-key"),
    },
    row("google-vertex-ai", "https://{region-}aiplatform.googleapis.com", Vertex, Google),
    Provider { slug: "grok", aliases: &["xai"], base: "https://api.x.ai/v1", paths: Optional(&["v1/"]), key: Bearer },
    row("groq", "https://api.groq.com/openai/v1", Optional(&["openai/v1/", "v1/"]), Bearer),
    row("huggingface", "https://router.huggingface.co", HuggingFace, Bearer),
    row("ideogram", "https://api.ideogram.ai", Plain, Header("api-key")),
    row("mistral", "https://api.mistral.ai", Plain, Bearer),
    row("openai", "https://api.openai.com/v1", Optional(&["v1/"]), Bearer),
    row("openrouter", "https://openrouter.ai/api/v1", Optional(&["v1/"]), Bearer),
    row("parallel", "https://api.parallel.ai", Plain, Header("x-api-key")),
    row("perplexity-ai", "https://api.perplexity.ai", Plain, Bearer),
    row("replicate", "https://api.replicate.com/v1", Optional(&["v1/"]), Bearer),
    row("workers-ai", "https://api.cloudflare.com/client/v4/accounts/{account}/ai", WorkersAi, Bearer),
];

/// What of a request decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub account: &'a str,
    /// The path after the provider's segment, without its leading slash.
    pub rest: &'a str,
    /// The query with its `?`, or nothing.
    pub query: &'a str,
    /// The base URL that the operator put in the place of the provider's own.
    pub base_override: Option<&'a str>,
    /// The header `x-fal-target-url`, which has a meaning for fal only.
    pub fal_target: Option<&'a str>,
    /// True when the request brings no key, and is sent with one that the gateway keeps.
    pub keyed: bool,
}

/// Hosts of a provider beside the one of its base, which its answers give addresses on. A path that begins with `~` and one of
/// them leads there.
pub fn beside(slug: &str) -> &'static [&'static str] {
    match slug {
        "fal" => FAL_HOSTS,
        "replicate" => &["stream.replicate.com"],
        _ => &[],
    }
}

pub fn find(slug: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.slug == slug || provider.aliases.contains(&slug))
}

/// The slug that the caller probably meant, if one is near enough to be worth saying.
pub fn nearest(slug: &str) -> Option<&'static str> {
    let slug: String = slug.chars().take(40).flat_map(char::to_lowercase).collect();
    let all = PROVIDERS.iter().map(|provider| provider.slug);
    let (apart, known) = all.clone().map(|known| (distance(&slug, known), known)).min()?;
    if apart <= 2 {
        return Some(known);
    }
    all.clone()
        .find(|known| slug.len() >= 3 && (known.contains(&*slug) || slug.contains(known)))
        .or((apart <= 3).then_some(known))
}

/// Levenshtein's edit distance.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut last = i + 1;
        let mut current = vec![last];
        for (to, above) in b.iter().zip(previous.windows(2)) {
            let [diagonal, up] = above else { continue };
            last = (diagonal + usize::from(from != *to)).min(up + 1).min(last + 1);
            current.push(last);
        }
        previous = current;
    }
    previous.last().copied().unwrap_or(0)
}

// === impl Provider ===

impl Provider {
    /// The upstream URL of a request. The host comes from the table or from the operator; the request fills in
    /// templated parts only, each of which has to match a strict pattern.
    pub fn url(&self, target: &Target<'_>) -> Result<String, Fault> {
        let rest = checked(target.rest)?;
        let (base, path) = match self.paths {
            _ if rest.starts_with('~') && !beside(self.slug).is_empty() => self.besides(rest)?,
            Plain => (self.base.to_owned(), undoubled(rest).to_owned()),
            Optional(prefixes) => (self.base.to_owned(), without(rest, prefixes).to_owned()),
            Azure => azure(self.base, rest)?,
            Bedrock => bedrock(rest)?,
            Vertex => vertex(rest)?,
            WorkersAi => workers_ai(self.base, target.account, rest),
            Fal => fal(self.base, rest, target.fal_target, target.keyed)?,
            Baseten => baseten(self.base, rest)?,
            HuggingFace => (self.base.to_owned(), hugging_face(rest)),
        };
        let base = target.base_override.map_or(base.as_str(), |base| base.trim_end_matches('/'));
        // A target given to fal brings its own query.
        let query = if path.contains('?') { "" } else { target.query };
        Ok(format!("{base}/{path}{query}"))
    }

    /// Scheme and host, and the path, of `~{host}/…`.
    fn besides(&self, rest: &str) -> Result<(String, String), Fault> {
        let (host, path) = segment(rest.strip_prefix('~').unwrap_or(rest));
        let known = beside(self.slug);
        if known.contains(&host) {
            return Ok((format!("https://{host}"), path.to_owned()));
        }
        let (slug, known) = (self.slug, known.join(", "));
        Err(Fault::path(format!("{slug}/~{{host}}/…: the host must be one of {known}")))
    }

    /// True for a request whose credential has to travel under another name than the client gave it.
    /// Bedrock's Anthropic endpoint takes an API key as `x-api-key` only.
    pub fn wants_bearer_as_api_key(&self, rest: &str) -> bool {
        self.paths == Bedrock && rest.starts_with("bedrock-mantle/")
    }
}

#[cfg(test)]
mod tests;
