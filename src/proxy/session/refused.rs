//! What a client is told of a response that does not begin, as its provider would tell it.

use crate::base::json::json;
use crate::base::object;
use crate::http::refusal::Refusal;
use crate::proxy::session::terms::{Begun, Dialect};
use serde_json::{Map, Value};

/// How a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalMessage {
    Message(String),
    /// Gemini has no messages for errors: it closes the connection and says why.
    Close {
        code: u16,
        reason: String,
    },
}

/// A message that may ask for a response, and which Tollgate cannot read.
pub const UNREADABLE: &str = "Tollgate cannot read this message, which seems to begin a response, and so cannot tell which limits it \
                              falls under. Send plain JSON, an object in UTF-8.";

/// The reason of a close frame has room for so many bytes.
const MAX_REASON: usize = 123;

/// What "policy violation" is among the codes of close frames (RFC 6455, section 7.4.1).
const POLICY: u16 = 1008;

pub fn refusal_message(dialect: Dialect, refusal: &Refusal, begun: &Begun) -> RefusalMessage {
    let (kind, code) = names(refusal);
    let message = &refusal.description;
    match dialect {
        Dialect::Responses => {
            let headers = object::of(
                refusal.headers.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))),
            );
            let mut error = members(json!({ "type": kind, "code": code, "message": message, "param": null }));
            let mut event = members(json!({ "type": "error", "status": refusal.status }));
            if !headers.is_empty() {
                // OpenAI's clients look for them inside, and Codex beside.
                error.insert("headers".to_owned(), Value::Object(headers.clone()));
                event.insert("headers".to_owned(), Value::Object(headers));
            }
            event.insert("error".to_owned(), Value::Object(error));
            if let Some(lane) = &begun.lane {
                event.insert("stream_id".to_owned(), Value::from(lane.as_str()));
            }
            RefusalMessage::Message(Value::Object(event).to_string())
        }
        Dialect::Realtime => {
            let error = json!({
                "type": kind, "code": code, "message": message, "param": null, "event_id": begun.event_id,
            });
            RefusalMessage::Message(
                json!({ "type": "error", "event_id": "event_tollgate", "error": error }).to_string(),
            )
        }
        Dialect::Live => {
            let mut reason = String::new();
            for char in message.chars().take_while(|char| !char.is_control()) {
                if reason.len() + char.len_utf8() > MAX_REASON {
                    break;
                }
                reason.push(char);
            }
            RefusalMessage::Close { code: POLICY, reason }
        }
    }
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Type and code of an error in OpenAI's words.
fn names(refusal: &Refusal) -> (&'static str, &'static str) {
    match (refusal.status, refusal.code) {
        (429, 2045) => ("insufficient_quota", "insufficient_quota"),
        (429, _) => ("requests", "rate_limit_exceeded"),
        (401 | 403, _) => ("invalid_request_error", "invalid_api_key"),
        (500.., _) => ("server_error", "service_unavailable"),
        _ => ("invalid_request_error", "invalid_request"),
    }
}
