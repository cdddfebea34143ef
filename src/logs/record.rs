//! What one proxied request becomes in the database: [`LogRecord`].

use crate::base::mask::Masker;
use crate::limit::charge_of::Charge;
use crate::limit::spend;
use crate::logs::call::Call;
use crate::logs::call::Failure;
use crate::logs::call::Outcome;
use crate::logs::claim::Claim;
use crate::logs::costing::Costed;
use crate::logs::metadata::Metadata;
use crate::logs::pieces::cut::Cuts;
use crate::logs::stored::Stored;
use crate::logs::{preview, session};
use crate::providers::model::{self, names};
use crate::wire::Usage;
use crate::wire::request::LONG;
use serde_json::Value;

/// A row of `logs`, with the rows of `log_metadata` and `log_bodies` that belong to it.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub id: String,
    pub gateway: i64,
    /// Which database the row goes to; it is no part of the row.
    pub shard: u32,
    pub created_at: u64,
    pub provider: String,
    pub model: Option<String>,
    pub model_type: Option<&'static str>,
    pub path: String,
    pub request_type: &'static str,
    pub status_code: Option<u16>,
    pub success: bool,
    pub cached: bool,
    pub step: u32,
    pub attempt: u32,
    pub answered: bool,
    pub credential: &'static str,
    pub credential_alias: Option<String>,
    pub evaluation_id: Option<String>,
    pub error: Option<String>,
    pub duration: u64,
    pub first_byte: Option<u64>,
    pub tokens_in: Option<u64>,
    pub tokens_out: Option<u64>,
    pub total_tokens: Option<u64>,
    pub tokens_cached: Option<u64>,
    pub tokens_cache_write: Option<u64>,
    pub tokens_reasoning: Option<u64>,
    pub cost: Option<f64>,
    pub price_rule: Option<String>,
    /// Why the cost is unknown, where there is more to say than that there is no price.
    pub cost_unknown: Option<String>,
    /// Why the tokens of the answer are not known.
    pub usage_unread: Option<&'static str>,
    /// What the answer used besides plain tokens, and under which conditions: a JSON object.
    pub usage_details: Option<String>,
    /// What budgets count where the cost is unknown: as much as it is at least. It is no part of the row.
    pub least_cost: f64,
    /// What it has to do with something that can be asked for again. It is no part of the row.
    pub claim: Option<Claim>,
    /// The log that the usage belongs to, where it is another's.
    pub usage_of: Option<String>,
    pub answer_model: Option<String>,
    pub cached_beside: bool,
    pub provider_cost: Option<f64>,
    pub saved_cost: Option<f64>,
    pub custom_cost: bool,
    pub finish_reason: Option<String>,
    pub event_id: String,
    pub input_preview: Option<String>,
    pub output_preview: Option<String>,
    pub session_id: Option<String>,
    pub previous_response_id: Option<String>,
    pub caller: String,
    pub translated_from: Option<&'static str>,
    pub dlp_action: Option<&'static str>,
    pub dlp: Option<String>,
    pub guardrails: Option<String>,
    pub route: Option<String>,
    pub route_id: Option<String>,
    /// The id that it was handed in with, where it was measured elsewhere.
    pub ingested_id: Option<String>,
    pub response_id: Option<String>,
    pub provider_request_id: Option<String>,
    pub user_agent: Option<String>,
    pub authentication: bool,
    pub request_content_type: Option<String>,
    pub response_content_type: Option<String>,
    pub request_size: Option<u64>,
    pub response_size: Option<u64>,
    pub metadata: Option<String>,
    /// Whether there is a limit to how many logs the gateway has.
    pub has_log_limit: bool,
    /// Whether the gateway pushes its logs.
    pub is_pushed: bool,
    pub metadata_entries: Vec<(String, Value)>,
    pub request_body: Option<String>,
    pub response_body: Option<String>,
    /// Where the request's body can be cut, if that has been looked for.
    pub cuts: Option<Cuts>,
    /// Which of the bodies are only the beginnings.
    pub stored: Stored,
    /// What budgets learn.
    pub charge: Charge,
}

/// Longer ids of answers lose their end, in characters.
const MAX_RESPONSE_ID: usize = 1_024;

/// What an answer from the cache used.
fn nothing() -> Usage {
    Usage { tokens_in: Some(0), tokens_out: Some(0), total_tokens: Some(0), ..Usage::default() }
}

// === impl Call ===

impl LogRecord {
    /// The one place where requests become rows, so that nothing gets into one unmasked.
    pub fn new(call: Call, outcome: Outcome) -> Self {
        let masker = call.secrets.for_storage();
        let field = |text: String| masker.field(text);
        let Outcome { mut facts, status, failure, .. } = outcome;
        facts.model = facts.model.map(|model| names::own(&call.provider, &model).to_owned());
        let success = failure.is_none() && status.is_some_and(|status| status < 400) && facts.error.is_none();
        let model = call.model_beside(facts.model.as_deref());
        let Costed { usage, cost, cost_unknown, price_rule, least, charge, claim } =
            Costed::new(&call, &facts, status, failure.as_ref(), success);
        // A kept answer costs nothing; what it would have is what the cache is worth.
        let (usage, cost, saved_cost) = match call.cached {
            true => (nothing(), Some(0.0), cost),
            false => (usage, cost, None),
        };
        let cost_unknown = cost_unknown.filter(|_| cost.is_none());
        let model_type = call.kind();
        let is_long = call.body.as_ref().is_some_and(|body| body.len() >= LONG);
        let request_body = call.body.map(|body| masker.body(body));
        let cuts = request_body.as_deref().filter(|_| is_long).and_then(Cuts::of);
        let response_body = outcome.body.map(|body| masker.body(body));
        let said = call.facts.said;
        let [own, trace] = call.session;
        let session = own.or_else(|| session::of_user(&said));
        let previous = said.previous_response_id.clone().map(|id| field(clipped(&id)));
        // The chain is followed where the row is written, and comes before what is often shared.
        let shared = || session::of_cache_key(&said, &call.session_from).or(trace);
        let session = if session.is_none() && previous.is_none() { shared() } else { session };
        let last_of = |cuts: &Cuts| cuts.last_user(request_body.as_deref()?);
        let input = said.last_user.filter(|_| request_body.is_some()).or_else(|| cuts.as_ref().and_then(last_of));
        let is_text = !matches!(model_type, Some("embedding" | "audio" | "image"));
        let metadata = masked(call.metadata, &masker);
        Self {
            id: call.id,
            gateway: call.gateway,
            shard: call.shard,
            created_at: call.created_at,
            model: model.as_deref().map(clipped).map(field),
            model_type,
            path: masker.said(model::stored_path(&call.rest, &call.query)),
            provider: masker.field(call.provider),
            request_type: call.request_type.name(),
            status_code: status,
            success,
            cached: call.cached,
            step: call.step,
            attempt: call.attempt,
            answered: !outcome.superseded,
            credential: call.credential.name(),
            credential_alias: call.credential.alias(),
            evaluation_id: call.evaluation_id,
            error: (!success).then(|| masker.field(explanation(failure.as_ref(), status, facts.error.as_deref()))),
            duration: outcome.duration,
            first_byte: outcome.first_byte,
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            total_tokens: usage.total_tokens,
            tokens_cached: usage.cached,
            tokens_cache_write: usage.cache_write,
            tokens_reasoning: usage.reasoning,
            cost,
            price_rule,
            cost_unknown,
            usage_unread: outcome.unread,
            usage_details: usage.details_json(),
            least_cost: least,
            claim,
            usage_of: None,
            ingested_id: None,
            answer_model: facts.model.filter(|named| model.as_ref() != Some(named)).map(|named| field(clipped(&named))),
            cached_beside: usage.cached_outside,
            provider_cost: usage.cost,
            saved_cost,
            custom_cost: call.custom_cost.is_some(),
            finish_reason: facts.finish_reason.map(|reason| field(clipped(&reason))),
            event_id: masker.said(call.event_id),
            input_preview: input.and_then(|text| preview::of(&masker.field(text))),
            output_preview: response_body.as_deref().filter(|_| is_text).and_then(preview::of_answer).map(field),
            session_id: session.map(|session| masker.said(session)),
            previous_response_id: previous,
            caller: call.caller,
            // Feedback is given by it.
            response_id: facts.response_id.map(|id| field(id.chars().take(MAX_RESPONSE_ID).collect())),
            provider_request_id: outcome.provider_request_id.map(|id| field(clipped(&id))),
            translated_from: call.translated_from,
            dlp_action: call.dlp.action(),
            dlp: call.dlp.row(),
            guardrails: call.guardrails,
            route: call.route,
            route_id: call.route_id,
            user_agent: call.user_agent.map(|agent| masker.said(clipped(&agent))),
            authentication: call.authentication,
            request_content_type: call.request_content_type.map(|kind| field(clipped(&kind))),
            response_content_type: outcome.content_type.map(|kind| field(clipped(&kind))),
            request_size: call.request_size,
            response_size: outcome.size,
            metadata: metadata.to_json(),
            has_log_limit: call.has_log_limit,
            is_pushed: call.is_pushed,
            metadata_entries: metadata.entries,
            request_body,
            response_body,
            cuts,
            stored: Stored::default(),
            charge,
        }
    }

    /// What budgets count where the cost is unknown: what is known of it, or what else it may have been, never less than either.
    pub fn least_spent(&self, unsaid: Option<u64>) -> Option<u64> {
        let known = spend::from_dollars(self.least_cost);
        unsaid.map(|unsaid| unsaid.max(known)).or((known > 0).then_some(known))
    }

    /// About how many bytes the record takes in memory and on its way to the database.
    pub fn weight(&self) -> usize {
        let body = |body: &Option<String>| body.as_ref().map_or(0, String::len);
        1_000 + body(&self.metadata) * 2 + body(&self.request_body) + body(&self.response_body)
    }
}

fn explanation(failure: Option<&Failure>, status: Option<u16>, reported: Option<&str>) -> String {
    let text = match failure {
        Some(Failure::ClientLeft) => "client: went away before the answer was complete".to_owned(),
        Some(Failure::Upstream(cause)) => format!("upstream: {cause}"),
        Some(Failure::Gateway(cause)) => format!("gateway: {cause}"),
        None => match (status, reported) {
            (_, Some(reported)) => format!("provider: {reported}"),
            (Some(status), None) => format!("provider: answered {status}"),
            (None, None) => "provider: no answer".to_owned(),
        },
    };
    text.chars().take(1_000).collect()
}

/// What a caller tagged its request with, without what looks like a key.
fn masked(metadata: Metadata, masker: &Masker) -> Metadata {
    let entries = metadata.entries.into_iter().map(|(key, value)| match value {
        Value::String(text) => (masker.said(key), Value::String(masker.said(text))),
        value => (masker.said(key), value),
    });
    Metadata { entries: entries.collect(), dropped: metadata.dropped }
}

/// Names from outside have no business being long.
fn clipped(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
pub mod tests;
