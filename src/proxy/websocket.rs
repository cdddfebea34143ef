//! The messages of the WebSocket API: universal requests, several at a time, over one connection.
//! <https://developers.cloudflare.com/ai-gateway/usage/websockets-api/non-realtime-api/>
//!
//! Cloudflare does not say what becomes of a request that fails. Here it is answered by `universal.error`, whose `status`
//! and `error` are the status and the body that the request had got over HTTP.

use crate::http::headers::Headers;
use crate::http::refusal::Refusal;
use crate::wire::sse::Events;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The longest message, in bytes, as long as a universal request over HTTP.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The longest answer that is no stream, and the longest event of a stream, in bytes. A message is in memory several
/// times, and the memory of an isolate is 128 MB.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Requests of one connection at a time, and the bytes of their messages together.
const MAX_IN_FLIGHT: usize = 32;
const MAX_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// A request for the universal endpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Create<'a> {
    pub event_id: Option<String>,
    /// The element, as it was written.
    pub request: &'a str,
}

/// A message that cannot be acted upon.
#[derive(Debug)]
pub struct Fault {
    pub event_id: Option<String>,
    pub refusal: Refusal,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "eventId")]
    event_id: Option<String>,
}

pub fn read(text: &str) -> Result<Create<'_>, Fault> {
    let fault = |event_id, description: String| Fault { event_id, refusal: Refusal::bad_request(description) };
    let message: Message<'_> =
        serde_json::from_str(text).map_err(|error| fault(None, format!("The message is not understood: {error}.")))?;
    let request = message.request.map_or("", RawValue::get);
    let named = match serde_json::from_str(request) {
        Ok(Named { event_id }) => Ok(event_id),
        Err(error) => Err(format!("The message has no request that is an object with a text as eventId: {error}.")),
    };
    if message.kind != "universal.create" {
        let shown: String = message.kind.chars().take(64).collect();
        let description = format!("The type '{}' is unknown; 'universal.create' is not.", shown.escape_debug());
        return Err(fault(named.ok().flatten(), description));
    }
    let event_id = named.map_err(|description| fault(None, description))?;
    // A struct may be written as an array, too, but here that would be several elements.
    if !request.starts_with('{') {
        return Err(fault(None, "The request of a message is one element and no array.".to_owned()));
    }
    Ok(Create { event_id, request })
}

/// The requests of a connection that are not answered yet.
#[derive(Debug, Default)]
pub struct InFlight {
    requests: Vec<(u64, Option<String>, usize)>,
    next: u64,
}

/// What every message about a request says of it.
#[derive(Debug, Default)]
pub struct Metadata {
    pub event_id: String,
    /// The rest, as JSON members after the first: `,"cacheStatus":…`.
    rest: String,
}

/// Cuts a stream of server-sent events into the JSON of its events.
#[derive(Debug, Default)]
pub struct Decoder {
    left: Vec<u8>,
}

/// What a message carries: JSON as it is, and any other text as a JSON string.
pub fn json(text: &str) -> Cow<'_, str> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) => Cow::Borrowed(json.get()),
        Err(_) => Cow::Owned(quoted(text)),
    }
}

pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

// === impl Fault ===

impl Fault {
    /// The message that tells of it.
    pub fn message(&self) -> String {
        let metadata = match &self.event_id {
            Some(event_id) => format!("{{\"eventId\":{}}}", quoted(event_id)),
            None => "{}".to_owned(),
        };
        let reply = self.refusal.reply();
        format!(
            r#"{{"type":"universal.error","metadata":{metadata},"status":{},"error":{}}}"#,
            reply.status, reply.body
        )
    }
}

// === impl InFlight ===

impl InFlight {
    /// Makes room for a request, under a key to give it back by.
    pub fn admit(&mut self, event_id: Option<&str>, size: usize) -> Result<u64, Refusal> {
        if self.requests.len() >= MAX_IN_FLIGHT {
            let description = format!("{MAX_IN_FLIGHT} requests of this WebSocket are not answered yet.");
            return Err(Refusal::rate_limited(description));
        }
        if self.requests.iter().map(|(_, _, size)| size).sum::<usize>() + size > MAX_IN_FLIGHT_BYTES {
            let description = "The requests of this WebSocket that are not answered yet are too long together.";
            return Err(Refusal::rate_limited(description));
        }
        if event_id.is_some() && self.requests.iter().any(|(_, known, _)| known.as_deref() == event_id) {
            let description =
                "A request with this eventId is not answered yet: its answer could not be told from this one's.";
            return Err(Refusal::bad_request(description));
        }
        self.next += 1;
        self.requests.push((self.next, event_id.map(str::to_owned), size));
        Ok(self.next)
    }

    pub fn release(&mut self, key: u64) {
        self.requests.retain(|(known, ..)| *known != key);
    }
}

// === impl Metadata ===

impl Metadata {
    /// Reads the headers of an answer.
    pub fn of(event_id: Option<String>, headers: &Headers) -> Self {
        let text = |name| headers.get(name).map_or_else(|| "null".to_owned(), quoted);
        let event_id = event_id.or_else(|| headers.get("cf-aig-event-id").map(str::to_owned)).unwrap_or_default();
        // Cloudflare says MISS as well where no cache was asked.
        let cached = headers.get("cf-aig-cache-status").unwrap_or("MISS");
        let rest = format!(
            r#","cacheStatus":{},"logId":{},"step":{},"contentType":{}"#,
            quoted(cached),
            text("cf-aig-log-id"),
            text("cf-aig-step"),
            text("content-type")
        );
        Self { event_id, rest }
    }

    /// The message that a request was answered; with the whole answer, or before the events of a stream.
    pub fn created(&self, response: Option<&str>) -> String {
        let response = response.map_or_else(String::new, |json| format!(r#","response":{json}"#));
        self.message("universal.created", &response)
    }

    /// One event of a stream.
    pub fn stream(&self, json: &str) -> String {
        let event_id = quoted(&self.event_id);
        format!(r#"{{"type":"universal.stream","metadata":{{"eventId":{event_id}}},"response":{json}}}"#)
    }

    pub fn done(&self) -> String {
        self.message("universal.done", "")
    }

    pub fn error(&self, status: u16, json: &str) -> String {
        self.message("universal.error", &format!(r#","status":{status},"error":{json}"#))
    }

    fn message(&self, kind: &str, more: &str) -> String {
        let event_id = quoted(&self.event_id);
        format!(r#"{{"type":"{kind}","metadata":{{"eventId":{event_id}{}}}{more}}}"#, self.rest)
    }
}

// === impl Decoder ===

impl Decoder {
    /// The events that are whole now. `None` when an event is too long.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<String>> {
        self.left.extend_from_slice(bytes);
        let mut events = Events::new(&self.left);
        let whole: Vec<String> =
            events.by_ref().map(|data| json(&String::from_utf8_lossy(&data)).into_owned()).collect();
        let consumed = events.consumed();
        if consumed > 0 {
            self.left.drain(..consumed);
        }
        (self.left.len() <= MAX_ANSWER).then_some(whole)
    }

    /// The last event, if it lacks its blank line.
    pub fn end(self) -> Option<String> {
        let mut events = Events::new(&self.left);
        events.by_ref().for_each(drop);
        events.rest().map(|data| json(&String::from_utf8_lossy(&data)).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json as value};

    fn parsed(message: &str) -> Value {
        serde_json::from_str(message).unwrap()
    }

    #[test]
    fn a_request_is_read_and_its_element_kept_as_it_was_written() {
        let text =
            r#"{"type":"universal.create","request":{"eventId":"e","provider":"p","endpoint":"x","query":{"n":1.0}}}"#;
        let wanted = r#"{"eventId":"e","provider":"p","endpoint":"x","query":{"n":1.0}}"#;
        assert_eq!(read(text).unwrap(), Create { event_id: Some("e".to_owned()), request: wanted });
        assert_eq!(read(r#"{"request":{},"type":"universal.create"}"#).unwrap().event_id, None);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, event_id, part) in [
            ("", None, "not understood"),
            ("hello", None, "not understood"),
            ("[]", None, "not understood"),
            ("{}", None, "missing field `type`"),
            (r#"{"type":5}"#, None, "invalid type"),
            (r#"{"type":"universal.create"}"#, None, "no request"),
            (r#"{"type":"universal.create","request":5}"#, None, "no request"),
            (r#"{"type":"universal.create","request":["e"]}"#, None, "no array"),
            (r#"{"type":"universal.create","request":{"eventId":7}}"#, None, "eventId"),
            (r#"{"type":"universal.cancel","request":{"eventId":"e"}}"#, Some("e"), "'universal.cancel' is unknown"),
            (r#"{"type":"a\nb"}"#, None, r"'a\nb' is unknown"),
        ] {
            let fault = read(text).unwrap_err();
            assert_eq!(fault.event_id.as_deref(), event_id, "{text}");
            assert!(fault.refusal.description.contains(part), "{text}: {}", fault.refusal.description);
            let message = parsed(&fault.message());
            assert_eq!((&message["type"], &message["status"]), (&value!("universal.error"), &value!(400)));
            assert_eq!(message["metadata"].get("eventId").and_then(Value::as_str), event_id);
            assert_eq!(message["error"]["internalCode"], 7001);
        }
    }

    #[test]
    fn requests_in_flight_are_bounded_and_have_names_of_their_own() {
        let mut open = InFlight::default();
        let first = open.admit(Some("e"), 1).unwrap();
        assert_eq!(open.admit(Some("e"), 1).unwrap_err().code, 7001);
        open.release(first);
        open.admit(Some("e"), 1).unwrap();
        for _ in 1..MAX_IN_FLIGHT {
            open.admit(None, 1).unwrap();
        }
        assert_eq!(open.admit(None, 1).unwrap_err().status, 429);
        let mut long = InFlight::default();
        let first = long.admit(None, MAX_MESSAGE).unwrap();
        long.admit(None, MAX_MESSAGE).unwrap();
        assert_eq!(long.admit(None, 1).unwrap_err().status, 429);
        long.release(first);
        assert!(long.admit(None, 1).is_ok());
    }

    #[test]
    fn messages_are_as_documented() {
        let headers = [
            ("cf-aig-log-id", "01J"),
            ("cf-aig-step", "0"),
            ("cf-aig-event-id", "of the answer"),
            ("content-type", "application/json"),
        ];
        let headers = Headers(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        let metadata = Metadata::of(Some("a \"b\"".to_owned()), &headers);
        let all = value!({
            "cacheStatus": "MISS", "eventId": "a \"b\"", "logId": "01J", "step": "0", "contentType": "application/json",
        });
        let created = value!({ "type": "universal.created", "metadata": all, "response": { "n": 1 } });
        assert_eq!(parsed(&metadata.created(Some(r#"{"n":1}"#))), created);
        assert_eq!(parsed(&metadata.created(None)), value!({ "type": "universal.created", "metadata": all }));
        let stream = value!({ "type": "universal.stream", "metadata": { "eventId": "a \"b\"" }, "response": "[DONE]" });
        assert_eq!(parsed(&metadata.stream(&json("[DONE]"))), stream);
        assert_eq!(parsed(&metadata.done()), value!({ "type": "universal.done", "metadata": all }));
        let error = value!({ "type": "universal.error", "metadata": all, "status": 429, "error": "slow down" });
        assert_eq!(parsed(&metadata.error(429, &json("slow down"))), error);
        let unnamed = Metadata::of(None, &headers);
        assert_eq!(unnamed.event_id, "of the answer");
        let bare = parsed(&Metadata::of(None, &Headers::default()).done());
        assert_eq!(bare["metadata"]["logId"], Value::Null);
    }

    #[test]
    fn events_come_whole_wherever_the_stream_is_cut() {
        let body = "event: a\ndata: {\"t\":\"é€😀\"}\r\n\r\n: ping\n\ndata: one\ndata: two\n\ndata: [DONE]\n\ndata: {\"last\":1.0}";
        let wanted = [r#"{"t":"é€😀"}"#, r#""one\ntwo""#, r#""[DONE]""#, r#"{"last":1.0}"#];
        for cut in 0..=body.len() {
            let (first, second) = body.as_bytes().split_at(cut);
            let mut decoder = Decoder::default();
            let mut seen = decoder.push(first).unwrap();
            seen.extend(decoder.push(second).unwrap());
            seen.extend(decoder.end());
            assert_eq!(seen, wanted, "cut at {cut}");
        }
        assert_eq!(Decoder::default().push(&vec![b'x'; MAX_ANSWER + 1]), None);
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_harm(text in "\\PC{0,80}", id in "\\PC{0,20}") {
            let _ = read(&text);
            let wrapped = value!({ "type": text, "request": { "eventId": id } }).to_string();
            let fault = read(&wrapped).unwrap_err();
            let message = parsed(&fault.message());
            prop_assert_eq!(message["metadata"]["eventId"].as_str(), Some(id.as_str()));
        }
    }
}
