//! Addresses of a provider in its answers, and where they lead below the gateway: a client that follows one sends its
//! credentials along, and they must not leave the gateway.
//!
//! An address is turned into a path of the gateway only where that path leads to the very same address. So no answer
//! chooses a host: what is on another one is no address of the provider's, whatever it says.

pub mod body;
pub mod fields;

use crate::providers::table::{self, Paths, Target};
use crate::providers::upstream::Upstream;
use std::borrow::Cow;

/// Where the addresses of an answer lead: the provider that gave it, as the request before reached it.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub upstream: Upstream<'a>,
    pub account: &'a str,
    /// The base URL that the operator put in the place of the provider's own.
    pub base_override: Option<&'a str>,
    /// The path of the request after the provider's segment.
    pub rest: &'a str,
}

/// A path below the provider's segment of the gateway, and its query with the `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below<'a> {
    pub rest: String,
    pub query: Cow<'a, str>,
}

/// Headers that clients follow by themselves. `location` is one in a redirect.
const FOLLOWED: &[&str] =
    &["azure-asyncoperation", "operation-location", "x-goog-upload-control-url", "x-goog-upload-url"];

/// Headers with an address that no client asks: of a page, or of the origin that may read the answer.
const NOT_FOLLOWED: &[&str] = &[
    "access-control-allow-origin",
    "content-security-policy",
    "content-security-policy-report-only",
    "report-to",
    "reporting-endpoints",
    "set-cookie",
    "sourcemap",
    "www-authenticate",
];

/// Whether a client follows the address in a header of an answer by itself.
pub fn is_followed(name: &str, status: u16) -> bool {
    FOLLOWED.contains(&name) || (name == "location" && (300..400).contains(&status))
}

/// Whether a client that follows the address in a header sends pieces of an upload there.
pub fn is_of_upload(name: &str, status: u16) -> bool {
    // Google's older protocol gives the address of an upload as that of something that was made.
    name.starts_with("x-goog-upload-") || (name == "location" && matches!(status, 200 | 201))
}

/// Whether a header may have an address in it. Asked of every header of every answer.
pub fn may_hold_one(name: &str, value: &str) -> bool {
    let begins = |start: &str| value.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    (begins("http") || begins("//") || begins("<http") || name == "location") && !NOT_FOLLOWED.contains(&name)
}

/// Whether a text names a host, in any of the ways that a client reads so.
pub fn is_absolute(value: &str) -> bool {
    let value = value.trim_start_matches(|char: char| char <= ' ');
    let scheme = value.split(':').next().filter(|scheme| scheme.len() < value.len()).unwrap_or_default();
    let is_scheme = scheme.starts_with(|char: char| char.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let mut start = value.chars();
    let is_slash = |char: Option<char>| matches!(char, Some('/' | '\\'));
    is_scheme || (is_slash(start.next()) && is_slash(start.next()))
}

/// The value of a `link` header with other addresses in it; `None` where none changes.
pub fn relinked(value: &str, mut to: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut changed = false;
    let mut rest = value;
    while let Some((before, address, after)) = rest
        .split_once('<')
        .and_then(|(before, inner)| inner.split_once('>').map(|(address, after)| (before, address, after)))
    {
        let other = to(address);
        changed |= other.is_some();
        out.push_str(before);
        out.push('<');
        out.push_str(other.as_deref().unwrap_or(address));
        out.push('>');
        rest = after;
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// `(scheme and host, path without its first slash, query with its '?')`, of an address that all readers understand alike.
fn parts(address: &str) -> Option<(String, &str, &str)> {
    if !address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#') {
        return None;
    }
    let (scheme, rest) = address.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at_checked(end)?;
    if host.is_empty() || host.contains('@') {
        return None;
    }
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let usual = match scheme.as_str() {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => return None,
    };
    let host = host.strip_suffix(usual).unwrap_or(&host);
    let at = rest.find('?').unwrap_or(rest.len());
    let (path, query) = rest.split_at_checked(at)?;
    Some((format!("{scheme}://{host}"), path.strip_prefix('/').unwrap_or(path), query))
}

// === impl Site ===

impl<'a> Site<'a> {
    pub fn of(upstream: Upstream<'a>, base_override: Option<&'a str>, account: &'a str, rest: &'a str) -> Self {
        Self { upstream, account, base_override, rest }
    }

    /// Where an address leads below the gateway; `None` if it is not the provider's.
    pub fn below<'b>(&self, address: &'b str) -> Option<Below<'b>> {
        let (origin, path, query) = parts(address)?;
        let at = |base: Option<&str>| {
            let mut found = self.candidates(&origin, path, base).into_iter();
            found.find(|rest| self.leads_to(rest, base) == Some(format!("{origin}/{path}")))
        };
        let own = at(None);
        let found = own.or_else(|| self.base_override.and_then(|base| at(Some(base)))).or_else(|| {
            // Behind a proxy a provider sees the proxy's host, and not the path that the proxy has it under.
            let base = self.base_override.and_then(parts)?;
            let is_there = base.0 == origin && !path.is_empty() && !path.starts_with(base.1.trim_end_matches('/'));
            is_there.then(|| path.to_owned()).filter(|rest| self.url(rest, "", self.base_override).is_some())
        });
        Some(Below { rest: found?, query: Cow::Borrowed(query) })
    }

    /// Where an address leads that names no host, and begins where those of the provider's host do.
    pub fn below_relative(&self, path: &str) -> Option<Below<'static>> {
        if !path.starts_with('/') || is_absolute(path) {
            return None;
        }
        let base = self.url(self.rest, "", self.base_override)?;
        let (origin, ..) = parts(&base)?;
        let address = format!("{origin}{path}");
        let (_, path, query) = parts(&address)?;
        let mut found = self.candidates(&origin, path, self.base_override).into_iter();
        let rest = found.find(|rest| self.leads_to(rest, self.base_override) == Some(format!("{origin}/{path}")))?;
        Some(Below { rest, query: Cow::Owned(query.to_owned()) })
    }

    /// The provider's URL that a path below the gateway leads to.
    pub fn url(&self, rest: &str, query: &str, base: Option<&str>) -> Option<String> {
        let target = Target { account: self.account, rest, query, base_override: base, fal_target: None, keyed: true };
        self.upstream.url(&target).ok()
    }

    /// The same with scheme and host as they are compared.
    fn leads_to(&self, rest: &str, base: Option<&str>) -> Option<String> {
        let url = self.url(rest, "", base)?;
        let (origin, path, query) = parts(&url)?;
        query.is_empty().then(|| format!("{origin}/{path}"))
    }

    /// Paths that may lead to an address, the one first that is spelled as the request was. Which of them does is seen by
    /// trying.
    fn candidates(&self, origin: &str, path: &str, base: Option<&str>) -> Vec<String> {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let mut found = Vec::new();
        let provider = match self.upstream {
            Upstream::BuiltIn(provider) => provider,
            Upstream::Custom(provider) => {
                let below =
                    parts(&provider.base_url).and_then(|(_, base, _)| path.strip_prefix(base.trim_end_matches('/')));
                return below.map(|below| below.strip_prefix('/').unwrap_or(below).to_owned()).into_iter().collect();
            }
        };
        let own = provider.base.replace("{account}", self.account);
        let base_path = base.or(Some(&own)).and_then(parts).map_or(String::new(), |(_, path, _)| path.to_owned());
        let below =
            path.strip_prefix(base_path.trim_end_matches('/')).map(|below| below.strip_prefix('/').unwrap_or(below));
        let segment = |number: usize| self.rest.split('/').nth(number).unwrap_or_default();
        let Some(below) = below else { return found };
        match provider.paths {
            Paths::Optional(prefixes) => {
                let spelled = prefixes.iter().find(|prefix| self.rest.starts_with(**prefix));
                found.extend(spelled.map(|prefix| format!("{prefix}{below}")));
            }
            Paths::Azure => found.push(format!("{}/{below}", segment(0))),
            Paths::Bedrock => found.push(format!("{}/{}/{below}", segment(0), segment(1))),
            Paths::Baseten => {
                let model = host.strip_prefix("model-").and_then(|rest| rest.split('.').next());
                found.extend(model.map(|model| format!("model/{model}/{below}")));
                found.extend(base.filter(|_| segment(0) == "model").map(|_| format!("model/{}/{below}", segment(1))));
            }
            _ => {}
        }
        found.push(below.to_owned());
        if base.is_none() && table::beside(provider.slug).contains(&host) {
            found.push(format!("~{host}/{path}"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
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
}
