//! A log as spans: one for the request, by the conventions for generative AI, and one for the call of a provider.
//! <https://github.com/open-telemetry/semantic-conventions-genai>
//!
//! Where the conventions have changed a name the old one is written beside the new one, and so are Cloudflare's.

use crate::gateways::exporters::Exporter;
use crate::logs::record::LogRecord;
use crate::telemetry::context::{SpanId, Trace};
use crate::telemetry::destination::Preset;
use crate::telemetry::otlp::{Attribute, Span, Status};
use crate::tracing::attributes::Attributes;
use crate::tracing::messages::Content;
use crate::tracing::{named, presets};
use serde_json::Value;

/// The call of a provider that belongs to a log.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Where it went, masked and without its query.
    pub url: &'a str,
    pub method: &'a str,
    pub id: SpanId,
}

/// What requests say of how they want to be answered, and what the conventions call it.
const PARAMETERS: &[(&str, &str)] = &[
    ("temperature", "gen_ai.request.temperature"),
    ("top_p", "gen_ai.request.top_p"),
    ("top_k", "gen_ai.request.top_k"),
    ("frequency_penalty", "gen_ai.request.frequency_penalty"),
    ("presence_penalty", "gen_ai.request.presence_penalty"),
    ("seed", "gen_ai.request.seed"),
    ("max_tokens", "gen_ai.request.max_tokens"),
    ("max_completion_tokens", "gen_ai.request.max_tokens"),
    ("max_output_tokens", "gen_ai.request.max_tokens"),
    ("n", "gen_ai.request.choice.count"),
    ("stream", "gen_ai.request.stream"),
];

/// The span of a request, as a destination gets it.
pub fn of_request(record: &LogRecord, trace: &Trace, exporter: &Exporter, content: Option<&Content>) -> Span {
    let operation = operation(record);
    let mut to = Attributes::default();
    to.text(&["gen_ai.operation.name"], Some(&operation));
    to.text(&["gen_ai.provider.name", "gen_ai.system"], Some(named::provider(record)));
    to.text(&["gen_ai.model.provider"], Some(&record.provider));
    to.text(&["gen_ai.request.model"], record.model.as_deref());
    to.text(
        &["gen_ai.response.model"],
        record.answer_model.as_deref().or(record.model.as_deref()).filter(|_| record.success),
    );
    to.text(&["gen_ai.response.id"], record.response_id.as_deref());
    if let Some(reason) = &record.finish_reason {
        to.add("gen_ai.response.finish_reasons", Attribute::List(vec![Attribute::Text(reason.clone())]));
    }
    to.text(&["gen_ai.conversation.id"], record.session_id.as_deref());
    to.int(&["gen_ai.usage.input_tokens"], named::input_tokens(record));
    to.int(&["gen_ai.usage.output_tokens"], record.tokens_out);
    to.int(&["gen_ai.usage.cache_read.input_tokens"], record.tokens_cached);
    let written = ["gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"];
    to.int(&written, record.tokens_cache_write);
    to.int(&["gen_ai.usage.reasoning.output_tokens"], record.tokens_reasoning);
    to.double(&["gen_ai.usage.cost"], record.cost);
    let is_stream = record.response_content_type.as_deref().is_some_and(|kind| kind.contains("event-stream"));
    let first_chunk = record.first_byte.filter(|_| is_stream).map(|ms| ms as f64 / 1_000.0);
    to.double(&["gen_ai.response.time_to_first_chunk"], first_chunk);
    to.text(&["error.type"], error_type(record).as_deref());
    to.int(&["http.response.status_code"], record.status_code.map(u64::from));
    of_gateway(record, exporter, &mut to);
    if let Some(content) = content {
        for (given, name) in PARAMETERS {
            if let Some(value) = content.params.get(*given).filter(|value| value.is_number() || value.is_boolean()) {
                to.json(name, value);
            }
        }
        stop_sequences(&content.params, &mut to);
    }
    let shown = content.filter(|_| exporter.destination.content);
    if let Some(content) = shown {
        to.text(&["gen_ai.input.messages"], Some(&content.input));
        to.text(&["gen_ai.output.messages"], Some(&content.output));
        to.text(&["gen_ai.tool.definitions"], Some(&content.tools));
        to.text(&["gen_ai.prompt_json"], record.request_body.as_deref());
        to.text(&["gen_ai.completion_json"], record.response_body.as_deref());
    }
    match exporter.destination.preset {
        Preset::Langfuse => presets::langfuse(record, shown, &mut to),
        Preset::Phoenix => presets::phoenix(record, shown, &mut to),
        Preset::Generic | Preset::Datadog => {}
    }
    if to.is_cut || shown.is_some_and(|content| content.is_cut) {
        to.flag("tollgate.truncated", true);
    }
    let model = record.model.as_deref().unwrap_or_default();
    let begun = trace.begun.min(record.created_at);
    Span {
        trace: trace.id,
        id: trace.root,
        parent: trace.parent,
        name: if model.is_empty() { operation } else { format!("{operation} {model}") },
        start: nanoseconds(begun),
        end: nanoseconds(record.created_at.saturating_add(record.duration)),
        attributes: to.all,
        status: status(record),
    }
}

/// What the gateway knows beside the conventions, and how the caller tagged the request.
fn of_gateway(record: &LogRecord, exporter: &Exporter, to: &mut Attributes) {
    to.text(&["tollgate.log_id"], Some(&record.id));
    to.text(&["tollgate.event_id"], Some(&record.event_id));
    to.text(&["tollgate.account"], Some(&exporter.account));
    to.text(&["tollgate.gateway"], Some(&exporter.gateway_id));
    to.flag("tollgate.cached", record.cached);
    to.int(&["tollgate.step"], Some(u64::from(record.step)));
    to.int(&["tollgate.attempts"], Some(u64::from(record.attempt)));
    to.double(&["tollgate.saved_cost"], record.saved_cost);
    to.text(&["tollgate.key_alias"], record.credential_alias.as_deref());
    to.text(&["tollgate.token_id"], Some(&record.caller));
    to.text(&["tollgate.dlp_action"], record.dlp_action);
    for (key, value) in &record.metadata_entries {
        // Names of the conventions are not for callers to choose.
        if !["gen_ai.", "tollgate.", "langfuse.", "llm.", "openinference."].iter().any(|own| key.starts_with(own)) {
            to.json(key, value);
        }
    }
}

fn stop_sequences(params: &serde_json::Map<String, Value>, to: &mut Attributes) {
    let given = ["stop", "stop_sequences"].iter().find_map(|name| params.get(*name));
    let texts: Vec<&str> = match given {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let texts = texts.into_iter().take(16).map(|text| Attribute::Text(text.chars().take(256).collect()));
    to.add("gen_ai.request.stop_sequences", Attribute::List(texts.collect()));
}

/// The span of the call of a provider.
pub fn of_attempt(record: &LogRecord, trace: &Trace, sent: &Sent<'_>) -> Span {
    let mut to = Attributes::default();
    to.text(&["http.request.method"], Some(sent.method));
    to.text(&["url.full"], Some(sent.url));
    let (host, port) = host_of(sent.url);
    to.text(&["server.address"], Some(host));
    to.int(&["server.port"], port);
    if record.attempt > 1 {
        to.int(&["http.request.resend_count"], Some(u64::from(record.attempt - 1)));
    }
    // Where no answer came, the status is the gateway's own.
    let answered = !record.error.as_deref().is_some_and(|error| error.starts_with("upstream:"));
    to.int(&["http.response.status_code"], record.status_code.filter(|_| answered).map(u64::from));
    to.text(&["error.type"], error_type(record).as_deref());
    to.text(&["tollgate.log_id"], Some(&record.id));
    to.int(&["tollgate.step"], Some(u64::from(record.step)));
    Span {
        trace: trace.id,
        id: sent.id,
        parent: Some(trace.root),
        name: format!("HTTP {}", sent.method),
        start: nanoseconds(record.created_at),
        // The log of an attempt that was followed by another is written behind the last.
        end: nanoseconds(record.created_at.saturating_add(match record.first_byte {
            Some(first_byte) if !record.answered => first_byte,
            _ => record.duration,
        })),
        attributes: to.all,
        status: status(record),
    }
}

fn status(record: &LogRecord) -> Status {
    match &record.error {
        Some(error) if !record.success => Status::Error(error.clone()),
        _ => Status::Unset,
    }
}

fn nanoseconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(1_000_000)
}

/// What is done, by the conventions' words; else the last word of the path.
fn operation(record: &LogRecord) -> String {
    let path = record.path.split('?').next().unwrap_or_default();
    if path.to_ascii_lowercase().ends_with("generatecontent") {
        return "generate_content".to_owned();
    }
    let known = match record.model_type {
        Some("chat") => "chat",
        Some("completion") => "text_completion",
        Some("embeddings") => "embeddings",
        _ => "",
    };
    let word = path.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    match (known, word) {
        ("", "") => "request".to_owned(),
        ("", word) => word.chars().take(64).collect(),
        (known, _) => known.to_owned(),
    }
}

/// What went wrong, in a word.
fn error_type(record: &LogRecord) -> Option<String> {
    if record.success {
        return None;
    }
    let error = record.error.as_deref().unwrap_or_default();
    Some(match error.split_once(':').map_or("", |(layer, _)| layer) {
        "client" => "client_disconnect".to_owned(),
        "upstream" if error.contains("within") => "timeout".to_owned(),
        "upstream" => "unreachable".to_owned(),
        _ => record.status_code.map_or("_OTHER".to_owned(), |status| status.to_string()),
    })
}

fn host_of(url: &str) -> (&str, Option<u64>) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split('/').next().unwrap_or_default();
    // An address of IPv6 has colons of its own.
    let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    match port {
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, Some(if scheme == "http" { 80 } else { 443 })),
    }
}

#[cfg(test)]
pub mod tests;
