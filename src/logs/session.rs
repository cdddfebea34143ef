//! Which requests belong together, as their clients say it: the session of a log. The chain of `previous_response_id` is followed
//! where the row is written, for only the database knows the other log.

use crate::http::headers::Headers;
use crate::wire::request::Said;
use serde_json::Value;

/// Headers that name a session, in the order in which they count: ours, the common one, those of Claude Code, Codex and opencode, and
/// that of routers that keep a session on one machine.
const HEADERS: &[&str] = &[
    "cf-aig-session-id",
    "x-session-id",
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "x-opencode-session",
    "x-session-affinity",
];

/// Longer names lose their end, in characters.
const MAX_LENGTH: usize = 200;

/// The session that a request's headers name.
pub fn of_headers(headers: &Headers) -> Option<String> {
    HEADERS.iter().find_map(|name| headers.get(name).and_then(named))
}

/// The trace of a request, where the gateway takes that for a session.
pub fn of_trace(headers: &Headers, session_from: &[String]) -> Option<String> {
    if !session_from.iter().any(|from| from == "traceparent") {
        return None;
    }
    let trace = headers.get("traceparent")?.split('-').nth(1)?;
    (trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()) && trace.bytes().any(|byte| byte != b'0'))
        .then(|| trace.to_owned())
}

/// The session that a request's body names before its chain is looked at: Anthropic's clients put it behind the user.
pub fn of_user(said: &Said) -> Option<String> {
    let user = said.user_id.as_deref()?;
    if let Ok(object) = serde_json::from_str::<Value>(user) {
        return named(object.get("session_id")?.as_str()?);
    }
    let id = user.rsplit_once("session_")?.1;
    let is_uuid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| id.to_owned())
}

/// The key of a prompt's cache, where the gateway takes that for a session.
pub fn of_cache_key(said: &Said, session_from: &[String]) -> Option<String> {
    let is_wanted = session_from.iter().any(|from| from == "prompt_cache_key");
    said.prompt_cache_key.as_deref().filter(|_| is_wanted).and_then(named)
}

/// The session of a request that has not been sent yet, by which routes and keys stick to a caller.
pub fn of_call(headers: &Headers, body: Option<&Value>, session_from: &[String]) -> Option<String> {
    let in_body = || {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let user_id = text(body?.pointer("/metadata/user_id"));
        let said = Said { user_id, prompt_cache_key: text(body?.get("prompt_cache_key")), ..Said::default() };
        of_user(&said).or_else(|| of_cache_key(&said, session_from))
    };
    of_headers(headers).or_else(in_body).or_else(|| of_trace(headers, session_from))
}

fn named(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = !text.is_empty() && !text.chars().any(char::is_control);
    is_plain.then(|| text.chars().take(MAX_LENGTH).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn headers_count_in_their_order() {
        let mut pairs: Vec<(&str, &str)> = HEADERS.iter().rev().map(|name| (*name, *name)).collect();
        for name in HEADERS {
            assert_eq!(of_headers(&headers(&pairs)).as_deref(), Some(*name));
            pairs.pop();
        }
        assert_eq!(
            of_headers(&headers(&[("cf-aig-session-id", " "), ("session_id", "codex")])).as_deref(),
            Some("codex")
        );
        assert_eq!(of_headers(&headers(&[("x-session-id", &"x".repeat(500))])).unwrap().len(), MAX_LENGTH);
        assert_eq!(of_headers(&headers(&[("user-agent", "x")])), None);
    }

    #[test]
    fn claude_codes_user_tells_its_session() {
        let of = |user: &str| of_user(&Said { user_id: Some(user.to_owned()), ..Said::default() });
        let uuid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        assert_eq!(of(&format!("user_abc_account__session_{uuid}")).as_deref(), Some(uuid));
        assert_eq!(of(&format!(r#"{{"device_id":"d","session_id":"{uuid}"}}"#)).as_deref(), Some(uuid));
        for none in ["user-5", "session_", "my_session_notes", "{}", "{\"session_id\":5}"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_often_shared_counts_only_where_the_gateway_says_so() {
        let trace = headers(&[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]);
        let said = Said { prompt_cache_key: Some("app".to_owned()), ..Said::default() };
        assert_eq!((of_trace(&trace, &[]), of_cache_key(&said, &[])), (None, None));
        let both: Vec<String> = crate::gateways::settings::SESSION_FROM.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(of_trace(&trace, &both).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(of_cache_key(&said, &both).as_deref(), Some("app"));
        assert_eq!(of_trace(&headers(&[("traceparent", "00-0-0")]), &both), None);
    }
}
