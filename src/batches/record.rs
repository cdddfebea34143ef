//! A line of results as a log.

use super::Family;
use super::stored::Batch;
use crate::base::mask::Secrets;
use crate::dlp::Report;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::logs::call::{Call, Credential, Outcome, RequestType};
use crate::logs::metadata::Metadata;
use crate::logs::record::LogRecord;
use crate::providers::model::names;
use crate::wire::details::Tier;
use crate::wire::request::RequestFacts;
use crate::wire::{self, Framing};
use serde_json::Value;
use std::rc::Rc;

/// A line of results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// The caller's name for the request.
    pub custom_id: Option<String>,
    pub status: u16,
    pub request_id: Option<String>,
    pub body: String,
}

/// What is told of a line that cannot be read.
const UNREADABLE: &str = r#"{"error":{"message":"a line of the results is no JSON, or has more than 8 MB"}}"#;

// === impl Line ===

impl Line {
    pub fn read(family: Family, bytes: &[u8]) -> Self {
        let Ok(Value::Object(line)) = serde_json::from_slice::<Value>(bytes) else {
            return Self { status: 502, body: UNREADABLE.to_owned(), ..Self::default() };
        };
        let line = Value::Object(line);
        let text = |place: &str| line.pointer(place).and_then(Value::as_str).map(str::to_owned);
        let body = |place: &str| line.pointer(place).filter(|value| !value.is_null());
        let (custom_id, found, request_id) = match family {
            Family::OpenAi => {
                let status = line
                    .pointer("/response/status_code")
                    .and_then(Value::as_u64)
                    .and_then(|status| u16::try_from(status).ok());
                let found = body("/response/body").map(|body| (status.unwrap_or(200), body.to_string()));
                (text("/custom_id"), found, text("/response/request_id"))
            }
            Family::Anthropic => {
                let kind = text("/result/type").unwrap_or_default();
                let found = match kind.as_str() {
                    "succeeded" => body("/result/message").map(|body| (200, body.to_string())),
                    // What was not run costs nothing.
                    "canceled" | "expired" => {
                        Some((499, format!(r#"{{"error":{{"message":"the request was {kind}"}}}}"#)))
                    }
                    _ => body("/result/error").map(|body| (400, body.to_string())),
                };
                (text("/custom_id"), found, None)
            }
            Family::Gemini => {
                let found = body("/response").filter(|response| response.get("error").is_none());
                let key = text("/key").or_else(|| text("/metadata/key"));
                (key, found.map(|body| (200, body.to_string())), None)
            }
        };
        let error = || {
            let error = body("/error").or_else(|| body("/response/error")).cloned().unwrap_or_default();
            (400, crate::base::json::json!({ "error": error }).to_string())
        };
        let (status, body) = found.unwrap_or_else(error);
        Self { custom_id, status, request_id, body }
    }
}

/// The log of a line. `id` is its own.
pub fn record(batch: &Batch, snapshot: &GatewaySnapshot, line: Line, id: String, now_ms: u64) -> LogRecord {
    let mut facts = wire::read(Framing::Json, line.status, line.body.as_bytes());
    facts.usage.details.tier = Some(Tier::Batch);
    // The line is told of once, and what keeps the response is the provider's.
    facts.thing.is_open = false;
    let gateway = &snapshot.gateway;
    let asked = facts.model.as_deref().map(|model| names::own(&batch.provider, model).to_owned());
    let size = Some(line.body.len() as u64);
    let call = Call {
        gateway: gateway.key,
        shard: gateway.shard,
        created_at: now_ms,
        method: "POST".to_owned(),
        provider: batch.provider.clone(),
        rest: batch.path.clone(),
        query: String::new(),
        request_type: RequestType::Batch,
        step: 0,
        attempt: 1,
        credential: batch.credential(),
        cached: false,
        evaluation_id: None,
        event_id: line
            .custom_id
            .filter(|id| !id.is_empty())
            .map_or_else(|| id.clone(), |id| id.chars().take(256).collect()),
        session: [batch.about("session").map(str::to_owned), None],
        session_from: Rc::clone(&gateway.session_from),
        caller: batch.about("caller").unwrap_or_default().to_owned(),
        metadata: Metadata { entries: batch.metadata(), dropped: String::new() },
        custom_cost: None,
        prices: Rc::clone(&snapshot.prices),
        translated_from: None,
        catalogue: snapshot.catalogue.clone(),
        route: None,
        route_id: None,
        user_agent: batch.about("user_agent").map(str::to_owned),
        authentication: batch.is("authentication"),
        request_content_type: None,
        request_size: None,
        facts: RequestFacts { model: asked, ..RequestFacts::default() },
        usage_asked: false,
        runs_a_model: true,
        has_log_limit: gateway.settings.log_management.is_some(),
        is_pushed: gateway.settings.pushes_logs(),
        dlp: Report::default(),
        guardrails: None,
        body: None,
        secrets: Secrets::default(),
        id,
    };
    let outcome = Outcome {
        status: Some(line.status),
        content_type: Some("application/json".to_owned()),
        size,
        body: batch.is("keeps_bodies").then_some(line.body),
        facts,
        provider_request_id: line.request_id,
        ..Outcome::default()
    };
    let mut record = LogRecord::new(call, outcome);
    // A later request for the same response is told by its own id.
    record.claim = None;
    record
}

impl Batch {
    pub fn credential(&self) -> Credential {
        match self.about("credential") {
            Some("stored") => Credential::Stored(self.about("alias").unwrap_or_default().to_owned()),
            Some("operator") => Credential::Operator,
            Some("request") => Credential::Request,
            _ => Credential::None,
        }
    }
}
