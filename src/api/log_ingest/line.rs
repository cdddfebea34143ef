//! One log that was measured elsewhere, from the JSON that its sender has to what is written.

use super::fields::Fields;
use crate::base::id;
use crate::base::json::json;
use crate::base::mask::Secrets;
use crate::base::timestamp;
use crate::catalogue::table::Catalogue;
use crate::dlp::Report;
use crate::feedback::model::Feedback;
use crate::logs::call::{Call, Credential, Outcome, RequestType};
use crate::logs::metadata::Metadata;
use crate::logs::record::LogRecord;
use crate::pricing::price::CustomCost;
use crate::pricing::rules::PriceRule;
use crate::providers::model::kind::KINDS;
use crate::wire::details::Details;
use crate::wire::request::{RequestFacts, read_request};
use crate::wire::{self, Facts, Framing, Usage};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::rc::Rc;

/// How far in the future a log may begin, in milliseconds: clocks differ.
const AHEAD_MS: u64 = 5 * 60 * 1_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Characters of an id.
const MAX_ID: usize = 128;

/// Ids that stand for something else in a path.
const TAKEN: &[&str] = &["export", "facets", "reprice"];

/// What a log may have.
const READ: &[&str] = &[
    "id",
    "created_at",
    "provider",
    "model",
    "model_type",
    "path",
    "request_type",
    "status_code",
    "success",
    "cached",
    "step",
    "attempt",
    "answered",
    "error",
    "duration",
    "timings",
    "tokens_in",
    "tokens_out",
    "usage_metadata",
    "cost",
    "custom_cost",
    "saved_cost",
    "finish_reason",
    "event_id",
    "response_id",
    "provider_request_id",
    "user_agent",
    "request_content_type",
    "response_content_type",
    "metadata",
    "feedback",
    "score",
    "feedback_data",
    "session_id",
    "previous_response_id",
    "request",
    "response",
];

/// What logs show besides, and exports have: this gateway says it of its own requests only.
const PASSED_OVER: &[&str] = &[
    "authentication",
    "wholesale",
    "evaluation_id",
    "credential",
    "credential_alias",
    "price_rule",
    "cost_unknown",
    "usage_of",
    "usage_unread",
    "input_preview",
    "output_preview",
    "caller",
    "translated_from",
    "dlp_action",
    "dlp",
    "guardrails",
    "route",
    "ingested",
    "request_size",
    "response_size",
];

/// What holds for all lines of a request.
pub struct Terms<'a> {
    pub gateway: i64,
    pub shard: u32,
    pub caller: &'a str,
    /// Metadata that the sender's token puts on everything.
    pub pinned: &'a [(String, Value)],
    pub prices: Rc<[PriceRule]>,
    pub catalogue: Catalogue,
    pub has_log_limit: bool,
    /// Whether the gateway pushes its logs.
    pub is_pushed: bool,
    pub keeps_bodies: bool,
    pub retention_days: Option<u64>,
    pub now_ms: u64,
    pub entropy: &'a [u8; 32],
}

/// A log, and what people have said of it.
pub struct Measured {
    pub record: LogRecord,
    pub thumb: Option<i64>,
    pub score: Option<f64>,
    pub said: Map<String, Value>,
}

/// The id of a line, for its result, whatever else is wrong with it.
pub fn id_of(log: &Value) -> Option<&str> {
    log.get("id")?.as_str().filter(|id| id.len() <= MAX_ID)
}

/// Reads a log. The error says which field is wrong, and what may stand there.
pub fn read(log: &Value, terms: &Terms<'_>) -> Result<Measured, String> {
    let object = log.as_object().ok_or("Expected a JSON object")?;
    if let Some(name) =
        object.keys().find(|name| !READ.contains(&name.as_str()) && !PASSED_OVER.contains(&name.as_str()))
    {
        let name: String = name.chars().take(64).collect();
        return Err(format!("{name}: There is no such field. Expected {}", READ.join(", ")));
    }
    let fields = Fields(object);
    let given = named(&fields)?;
    let created_at = began(object.get("created_at"), terms)?;
    let provider = provider(&fields)?;
    let [request, response] = [fields.body("request")?, fields.body("response")?];
    let [asked_type, answered_type] =
        [fields.text("request_content_type", 256)?, fields.text("response_content_type", 256)?];
    let status = fields.count("status_code")?.unwrap_or(200);
    let status = u16::try_from(status).ok().filter(|status| (100..600).contains(status));
    let status = status.ok_or("status_code: Expected a status from 100 to 599")?;
    let model = fields.text("model", 256)?;
    let mut facts = match &response {
        Some(body) => {
            let framing = answered_type.as_deref().and_then(Framing::of).unwrap_or(Framing::Json);
            wire::read(framing, status, body.as_bytes())
        }
        None => Facts::default(),
    };
    facts.thing = Default::default();
    usage(&fields, &provider, &mut facts.usage)?;
    for (name, fact, most) in
        [("response_id", &mut facts.response_id, 1_024), ("finish_reason", &mut facts.finish_reason, 256)]
    {
        if let Some(text) = fields.text(name, most)? {
            *fact = Some(text);
        }
    }
    let error = fields.text("error", 4_096)?;
    let success = fields.flag("success")?.unwrap_or(status < 400 && error.is_none());
    facts.error = if success { None } else { error.clone().or(facts.error) };
    let cost = fields.cost("cost")?;
    let mut asked = match &request {
        Some(body) => read_request(asked_type.as_deref(), body.as_bytes()),
        None => RequestFacts::default(),
    };
    if model.is_some() {
        (asked.model, asked.others, asked.unread) = (model, Vec::new(), None);
    }
    if let Some(previous) = fields.text("previous_response_id", 256)? {
        asked.said.previous_response_id = Some(previous);
    }
    let (metadata, thumb, score, said) = judged(&fields, terms)?;
    let kind = fields.text("model_type", 32)?;
    let kind = match kind.as_deref() {
        None => None,
        // The name that Cloudflare's older logs have for it.
        Some("embedding") => Some("embeddings"),
        Some(kind) => {
            let known = KINDS.iter().find(|known| **known == kind);
            Some(*known.ok_or_else(|| format!("model_type: Expected {}", KINDS.join(", ")))?)
        }
    };
    let has_messages = asked.asked.has_messages;
    let latency = Fields(object.get("timings").and_then(Value::as_object).unwrap_or(&Map::new())).count("latency")?;
    let (cached, said_cost) = (fields.flag("cached")?.unwrap_or(false), fields.flag("custom_cost")?);
    let bytes = |body: &Option<String>| body.as_ref().map(|body| body.len() as u64);
    let sizes = [bytes(&request), bytes(&response)];
    let content_type = |given: Option<String>, body: &Option<String>| {
        given.or_else(|| body.as_ref().map(|_| "application/json".to_owned()))
    };
    let (asked_type, answered_type) = (content_type(asked_type, &request), content_type(answered_type, &response));
    let number = |name: &str, usual: u64| -> Result<u32, String> {
        let number = fields.count(name)?.unwrap_or(usual);
        u32::try_from(number).map_err(|_| format!("{name}: Expected an integer below 2^32"))
    };
    let call = Call {
        id: id::mint(created_at, random(terms, &given)),
        gateway: terms.gateway,
        shard: terms.shard,
        created_at,
        method: "POST".to_owned(),
        provider,
        rest: fields.text("path", 2_048)?.unwrap_or_default(),
        query: String::new(),
        request_type: match fields.text("request_type", 32)?.as_deref() {
            Some("websocket") => RequestType::WebSocket,
            _ => RequestType::Native,
        },
        step: number("step", 0)?,
        attempt: number("attempt", 1)?,
        credential: Credential::None,
        cached: false,
        evaluation_id: None,
        event_id: fields.text("event_id", 256)?.unwrap_or_else(|| given.clone()),
        session: [fields.text("session_id", 200)?, None],
        session_from: Rc::new([]),
        caller: terms.caller.to_owned(),
        metadata,
        custom_cost: cost.map(CustomCost::Total),
        prices: Rc::clone(&terms.prices),
        translated_from: None,
        catalogue: terms.catalogue.clone(),
        route: None,
        route_id: None,
        user_agent: fields.text("user_agent", 512)?,
        authentication: true,
        request_content_type: asked_type,
        request_size: sizes[0],
        facts: asked,
        usage_asked: false,
        runs_a_model: true,
        has_log_limit: terms.has_log_limit,
        is_pushed: terms.is_pushed,
        dlp: Report::default(),
        guardrails: None,
        body: request,
        secrets: Secrets::default(),
    };
    let outcome = Outcome {
        status: Some(status),
        content_type: answered_type,
        size: sizes[1],
        body: response,
        facts,
        provider_request_id: fields.text("provider_request_id", 256)?,
        first_byte: latency,
        duration: fields.count("duration")?.unwrap_or(0),
        failure: None,
        unread: None,
        superseded: !fields.flag("answered")?.unwrap_or(true),
    };
    let mut record = LogRecord::new(call, outcome);
    if !terms.keeps_bodies {
        (record.request_body, record.response_body) = (None, None);
        (record.input_preview, record.output_preview) = (None, None);
    }
    record.ingested_id = Some(given);
    // The request was paid for where it was made: it uses nothing up here.
    record.claim = None;
    record.success = success;
    if success {
        record.error = None;
    } else if let Some(error) = error {
        // It names its layer already where it comes from a gateway.
        record.error = Some(crate::base::mask::line(&error).into_owned());
    }
    record.custom_cost = cost.is_some() && said_cost.unwrap_or(true);
    record.model_type = kind.or(record.model_type).or(has_messages.then_some("chat"));
    record.cached = cached;
    if cached {
        record.saved_cost = fields.cost("saved_cost")?.or(record.cost.filter(|_| cost.is_none()));
        record.cost = Some(cost.unwrap_or(0.0));
    }
    Ok(Measured { record, thumb, score, said })
}

fn named(fields: &Fields<'_>) -> Result<String, String> {
    let id = fields.text("id", MAX_ID)?.ok_or("id: Expected the id of the log, by which it is stored once")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:~".contains(&byte);
    if !id.bytes().all(fits) || id.starts_with('.') || TAKEN.contains(&id.as_str()) {
        return Err(format!(
            "id: Expected letters of ASCII, digits, '-', '_', '.', ':' and '~', {MAX_ID} at most, no '.' in front, and none of {}",
            TAKEN.join(", ")
        ));
    }
    Ok(id)
}

fn began(given: Option<&Value>, terms: &Terms<'_>) -> Result<u64, String> {
    let time = match given {
        None | Some(Value::Null) => Some(terms.now_ms),
        Some(Value::String(text)) => timestamp::parse(text),
        Some(Value::Number(number)) => number.as_u64(),
        Some(_) => None,
    };
    let time = time.ok_or("created_at: Expected a time as RFC 3339, or milliseconds since 1970")?;
    if time > terms.now_ms.saturating_add(AHEAD_MS) {
        return Err("created_at: The time is in the future".to_owned());
    }
    match terms.retention_days {
        Some(days) if time < terms.now_ms.saturating_sub(days.saturating_mul(DAY_MS)) => Err(format!(
            "created_at: The gateway keeps its logs for {days} days (log_retention_days), and this one is older"
        )),
        _ => Ok(time),
    }
}

fn provider(fields: &Fields<'_>) -> Result<String, String> {
    let provider = fields.text("provider", 64)?.unwrap_or_default().to_ascii_lowercase();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !provider.is_empty() && provider.bytes().all(fits) {
        true => Ok(provider),
        false => Err("provider: Expected the name of the provider, such as openai, or a name of your own".to_owned()),
    }
}

/// What was used: as the log says, and for what it does not say as the answer's body does.
fn usage(fields: &Fields<'_>, provider: &str, usage: &mut Usage) -> Result<(), String> {
    let none = Map::new();
    let details = match fields.0.get("usage_metadata") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(details)) => details,
        Some(_) => return Err("usage_metadata: Expected an object".to_owned()),
    };
    let detail = |name: &str| Fields(details).count(name).map_err(|reason| format!("usage_metadata.{reason}"));
    let tokens_in = fields.count("tokens_in")?.or(detail("input_tokens")?);
    let tokens_out = fields.count("tokens_out")?.or(detail("output_tokens")?);
    let (total, cached) = (detail("total_tokens")?, detail("input_cached_tokens")?);
    let (cache_write, reasoning) = (detail("input_cache_write_tokens")?, detail("output_reasoning_tokens")?);
    let shown = Value::Object(details.clone());
    let others = Details::read(&shown);
    if tokens_in.is_none() && tokens_out.is_none() && others.is_plain() {
        return Ok(());
    }
    let beside = matches!(provider, "anthropic" | "aws-bedrock");
    *usage = Usage {
        tokens_in,
        tokens_out,
        total_tokens: total.or_else(|| tokens_in?.checked_add(tokens_out?)),
        cached,
        cache_write,
        reasoning,
        cached_outside: beside,
        details: others,
        ..Usage::default()
    };
    Ok(())
}

type Judged = (Metadata, Option<i64>, Option<f64>, Map<String, Value>);

/// Metadata and feedback, by the rules of `PATCH` and `POST /feedback`.
fn judged(fields: &Fields<'_>, terms: &Terms<'_>) -> Result<Judged, String> {
    let value = |name: &str| fields.0.get(name).cloned().unwrap_or_default();
    let said = |fault: crate::base::fault::Invalid| {
        let path: Vec<&str> = fault.path.iter().skip(1).map(String::as_str).collect();
        format!("{}: {}", path.join("."), fault.message)
    };
    let patch = json!({ "feedback": value("feedback"), "score": value("score"), "metadata": value("metadata") });
    let Feedback::Patch(patch) = Feedback::patch(&patch).map_err(said)? else { return Err("metadata".to_owned()) };
    let entries = patch.metadata.into_iter().filter(|(_, value)| !value.is_null());
    let mut metadata = Metadata { entries: entries.collect(), dropped: String::new() };
    metadata.pin(terms.pinned, usize::MAX);
    let data = match value("feedback_data") {
        Value::Null => return Ok((metadata, patch.feedback.flatten(), patch.score.flatten(), Map::new())),
        data => data,
    };
    let merged = Feedback::merge(&json!({ "data": data }));
    let merged = merged.map_err(|fault| said(fault).replacen("data", "feedback_data", 1))?;
    let (thumb, score) = merged.figures();
    let Feedback::Merge(data) = merged else { return Err("feedback_data".to_owned()) };
    Ok((metadata, patch.feedback.flatten().or(thumb), patch.score.flatten().or(score), data))
}

/// Random bits for one log of a request.
fn random(terms: &Terms<'_>, id: &str) -> u128 {
    let own = Sha256::new().chain_update(terms.entropy).chain_update(terms.gateway.to_be_bytes());
    let digest = own.chain_update(id).finalize();
    digest.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

// === impl Measured ===

impl Measured {
    /// About how many bytes it takes on its way to the database.
    pub fn weight(&self) -> usize {
        let said = |(key, value): (&String, &Value)| 3 * (key.len() + value.to_string().len());
        self.record.weight() + self.said.iter().map(said).sum::<usize>()
    }
}
