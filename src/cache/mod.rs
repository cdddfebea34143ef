//! The cache of answers: whether a request may be answered from it, and what may be kept in it.

pub mod canonical;
pub mod epoch;
pub mod flight;
pub mod key;

use crate::http::headers::Headers;
use crate::http::headers::boolean;
use crate::http::query;

/// What a request asks of the cache. Without one it has nothing to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long an answer is kept, in seconds.
    pub ttl: u64,
    /// The caller wants a fresh answer; what is kept stays for the next request.
    pub skip: bool,
    /// The caller's own name for the answer, in the place of path and body.
    pub key: Option<String>,
    /// True when the request asked, and not only its gateway's setting.
    pub by_request: bool,
}

/// Seconds. KV keeps nothing for less than a minute.
pub const MIN_TTL: u64 = 60;
pub const MAX_TTL: u64 = 30 * 24 * 60 * 60;

/// For a request that names a key but no time, in a gateway without one.
const TTL_OF_A_KEY: u64 = 300;

/// In bytes.
const MAX_KEY: usize = 1_024;

/// The longest request and the longest answer, in bytes: what a value in KV can have.
pub const MAX_SIZE: u64 = 25 * 1024 * 1024;

/// Paths whose requests make something, or ask how far it is: the same request has another answer a moment later. A
/// gateway's setting does not cover them; a request that asks for itself is taken at its word.
const ABOUT_STATE: &[&str] = &[
    "agents",
    "assistants",
    "batches",
    "batchPredictionJobs",
    "cachedContents",
    "cancel",
    "containers",
    "conversations",
    "files",
    "fine-tunes",
    "fine_tuning",
    "jobs",
    "operations",
    "predictions",
    "requests",
    "runs",
    "status",
    "threads",
    "tunedModels",
    "uploads",
    "vector_stores",
];

/// Response headers that belong to one transmission, one caller or the moment, and are not given out again.
const NOT_REPLAYED: &[&str] = &[
    "accept-ranges",
    "age",
    "alt-svc",
    "apim-request-id",
    "cache-control",
    "connection",
    "content-encoding",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "nel",
    "openai-processing-ms",
    "pragma",
    "proxy-authenticate",
    "report-to",
    "request-id",
    "retry-after",
    "server",
    "server-timing",
    "set-cookie",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-amzn-requestid",
    "x-goog-request-id",
    "x-request-id",
];

const NOT_REPLAYED_PREFIXES: &[&str] = &["anthropic-ratelimit-", "cf-", "ratelimit", "x-envoy-", "x-ratelimit-"];

/// Reads what a request and its gateway say. A value that cannot be understood counts as not given.
pub fn policy(headers: &Headers, gateway_ttl: u64, warnings: &mut Vec<String>) -> Option<Policy> {
    let names = ["cf-aig-skip-cache", "cf-skip-cache"];
    let skip = names.into_iter().find_map(|name| boolean(headers, name, warnings)).unwrap_or(false);
    let asked = ["cf-aig-cache-ttl", "cf-cache-ttl"].into_iter().find_map(|name| {
        let given = headers.get(name)?.trim();
        let digits = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
        let ttl = given.parse().ok().filter(|ttl| digits && (*ttl == 0 || (MIN_TTL..=MAX_TTL).contains(ttl)));
        if ttl.is_none() {
            warnings.push(format!("{name}: wants 0 or {MIN_TTL} to {MAX_TTL} seconds"));
        }
        ttl
    });
    let key = headers.get("cf-aig-cache-key").and_then(|key| {
        let fits = is_key(key);
        if !fits {
            warnings.push(format!("cf-aig-cache-key: wants 1 to {MAX_KEY} bytes"));
        }
        fits.then(|| key.to_owned())
    });
    // Gateways may have been given any time.
    let of_gateway = (gateway_ttl > 0).then(|| gateway_ttl.clamp(MIN_TTL, MAX_TTL));
    let by_request = asked.is_some() || key.is_some();
    let ttl = asked.or(of_gateway).or(key.is_some().then_some(TTL_OF_A_KEY)).unwrap_or(0);
    (ttl > 0 || skip).then_some(Policy { ttl, skip, key, by_request })
}

/// Whether a text can be a `cf-aig-cache-key`.
pub fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
}

/// Whether the cache has anything to do with a request.
pub fn may_answer(policy: &Policy, method: &str, rest: &str, headers: &Headers) -> bool {
    let rest = &*query::understood(rest);
    let about_state = || rest.split('/').any(|segment| ABOUT_STATE.contains(&segment)) || is_look_up(method, rest);
    matches!(method, "GET" | "POST")
        && headers.get("range").is_none()
        && headers.get("upgrade").is_none()
        && headers.content_length().is_none_or(|length| length <= MAX_SIZE)
        && (policy.by_request || !about_state())
}

/// `GET …/responses/{id}` and the like ask for something that goes on changing.
fn is_look_up(method: &str, rest: &str) -> bool {
    method == "GET" && rest.split('/').any(|segment| matches!(segment, "responses" | "completions" | "generation"))
}

/// Whether an answer may be kept, as far as its head tells. 202 says that the answer is yet to come.
pub fn may_keep(status: u16, headers: &Headers) -> bool {
    (200..300).contains(&status)
        && !matches!(status, 202 | 206)
        && headers.content_length().is_none_or(|length| length <= MAX_SIZE)
        && headers.get("content-range").is_none()
}

/// Whether a header of an answer is kept with it.
pub fn is_replayed(name: &str) -> bool {
    !NOT_REPLAYED.contains(&name) && !NOT_REPLAYED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn read(pairs: &[(&str, &str)], gateway_ttl: u64) -> (Option<Policy>, Vec<String>) {
        let mut warnings = Vec::new();
        (policy(&headers(pairs), gateway_ttl, &mut warnings), warnings)
    }

    fn ttl(pairs: &[(&str, &str)], gateway_ttl: u64) -> Option<u64> {
        let (policy, warnings) = read(pairs, gateway_ttl);
        assert!(warnings.is_empty(), "{warnings:?}");
        policy.map(|policy| policy.ttl)
    }

    #[test]
    fn off_means_off_and_a_request_overrides_its_gateway() {
        assert_eq!(ttl(&[], 0), None);
        assert_eq!(ttl(&[], 600), Some(600));
        assert_eq!(ttl(&[("cf-aig-cache-ttl", "0")], 600), None);
        assert_eq!(ttl(&[("cf-aig-cache-ttl", "60")], 600), Some(60));
        assert_eq!(ttl(&[("cf-aig-cache-ttl", "2592000")], 0), Some(2_592_000));
        assert_eq!(ttl(&[("cf-cache-ttl", "90")], 600), Some(90));
        assert_eq!(ttl(&[("cf-cache-ttl", "90"), ("cf-aig-cache-ttl", "100")], 600), Some(100));
        // Whatever a gateway was given is brought within the bounds.
        assert_eq!((ttl(&[], 1), ttl(&[], u64::MAX)), (Some(60), Some(2_592_000)));
    }

    #[test]
    fn a_key_has_a_time_of_its_own_where_there_is_none() {
        let key = ("cf-aig-cache-key", "mine");
        assert_eq!(ttl(&[key], 0), Some(300));
        assert_eq!(ttl(&[key], 600), Some(600));
        assert_eq!(ttl(&[key, ("cf-aig-cache-ttl", "61")], 600), Some(61));
        assert_eq!(ttl(&[key, ("cf-aig-cache-ttl", "0")], 600), None);
    }

    #[test]
    fn skipping_is_asked_for_by_either_name() {
        for name in ["cf-aig-skip-cache", "cf-skip-cache"] {
            assert!(read(&[(name, "true")], 600).0.unwrap().skip);
            assert!(!read(&[(name, "false")], 600).0.unwrap().skip);
            assert!(read(&[(name, "true")], 0).0.unwrap().skip);
        }
        assert!(!read(&[("cf-aig-skip-cache", "false"), ("cf-skip-cache", "true")], 600).0.unwrap().skip);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named_and_ignored() {
        for wrong in ["59", "2592001", "-1", "+60", "1e3", "soon", "", "60.0", "99999999999999999999"] {
            let (policy, warnings) = read(&[("cf-aig-cache-ttl", wrong)], 600);
            assert_eq!(policy.unwrap().ttl, 600, "{wrong}");
            assert_eq!(warnings, ["cf-aig-cache-ttl: wants 0 or 60 to 2592000 seconds"], "{wrong}");
            assert_eq!(read(&[("cf-aig-cache-ttl", wrong)], 0).0, None);
        }
        assert_eq!(read(&[("cf-aig-cache-key", "")], 0).1.len(), 1);
        assert_eq!(read(&[("cf-aig-cache-key", &"x".repeat(1_025))], 0).0, None);
        assert_eq!(read(&[("cf-aig-skip-cache", "maybe")], 600).0.map(|policy| policy.skip), Some(false));
    }

    #[test]
    fn only_questions_are_answered_from_the_cache() {
        let of_gateway = read(&[], 600).0.unwrap();
        let by_request = read(&[("cf-aig-cache-ttl", "600")], 0).0.unwrap();
        let may = |policy: &Policy, method: &str, rest: &str, pairs: &[(&str, &str)]| {
            may_answer(policy, method, rest, &headers(pairs))
        };
        assert!(!may(&of_gateway, "GET", "v1%2Fresponses/resp_1", &[]));
        for (method, rest) in [("POST", "chat/completions"), ("POST", "v1/responses"), ("GET", "models")] {
            assert!(may(&of_gateway, method, rest, &[]), "{method} {rest}");
        }
        for (method, rest) in
            [("GET", "batches/b1"), ("POST", "files"), ("POST", "v1/predictions"), ("GET", "responses/resp_1")]
        {
            assert!(!may(&of_gateway, method, rest, &[]) && may(&by_request, method, rest, &[]), "{method} {rest}");
        }
        for method in ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
            assert!(!may(&by_request, method, "models", &[]), "{method}");
        }
        for pair in [("range", "bytes=0-1"), ("upgrade", "websocket"), ("content-length", "26214401")] {
            assert!(!may(&by_request, "POST", "chat/completions", &[pair]), "{pair:?}");
        }
    }

    #[test]
    fn only_whole_successes_are_kept() {
        assert!([200, 201, 203].iter().all(|status| may_keep(*status, &headers(&[]))));
        assert!(![101, 202, 206, 301, 304, 400, 429, 500].iter().any(|status| may_keep(*status, &headers(&[]))));
        assert!(may_keep(200, &headers(&[("content-length", "26214400")])));
        assert!(!may_keep(200, &headers(&[("content-length", "26214401")])));
        // OpenAI sets a cookie with every answer; it is left out.
        assert!(may_keep(200, &headers(&[("set-cookie", "__cf_bm=x")])) && !is_replayed("set-cookie"));
        assert!(
            is_replayed("content-type") && is_replayed("openai-version") && !is_replayed("x-ratelimit-limit-requests")
        );
    }
}
