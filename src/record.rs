//! What one proxied request becomes in the database: [`LogRecord`].

use crate::body_object::Stored;
use crate::charge::Charge;
use crate::limit::estimate;
use crate::metadata::Metadata;
use crate::model;
use crate::price::{self, CustomCost};
use crate::price_rules::{self, PriceRule};
use crate::wire::request::RequestFacts;
use crate::wire::{Facts, Usage};
use serde_json::Value;
use std::rc::Rc;

/// Bodies up to this many bytes are copied for the log, in either direction.
pub const MAX_BODY: usize = 10 * 1024 * 1024;

/// A request as it was sent.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    /// The `key` of the gateway's row.
    pub gateway: i64,
    /// Which database has the gateway's logs.
    pub shard: u32,
    pub created_at: u64,
    pub provider: String,
    /// The path after the provider, raw.
    pub rest: String,
    /// The query with its `?`, raw: it may hold credentials and is masked before it is stored.
    pub query: String,
    pub request_type: RequestType,
    /// Which element of a universal request this is.
    pub step: u32,
    /// Which attempt of that element, counted from 1.
    pub attempt: u32,
    /// Whose key the provider was sent.
    pub credential: Credential,
    /// True when the answer came from the cache, and no provider was asked.
    pub cached: bool,
    /// The evaluation that asks a judge by this call.
    pub evaluation_id: Option<String>,
    pub event_id: String,
    pub metadata: Metadata,
    pub custom_cost: Option<CustomCost>,
    /// The prices that the account set.
    pub prices: Rc<[PriceRule]>,
    pub user_agent: Option<String>,
    /// True when the caller proved itself with a token.
    pub authentication: bool,
    pub request_content_type: Option<String>,
    pub request_size: Option<u64>,
    pub facts: RequestFacts,
    /// Whether there is a limit to how many logs the gateway has.
    pub may_lack_room: bool,
    /// The body as it is stored; `None` when it is not text, too long, or not wanted.
    pub body: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestType {
    Native,
    /// A WebSocket to the provider.
    WebSocket,
    /// An ordinary request, which came as a message of a WebSocket.
    Message,
}

/// Whose key the provider was sent. Never the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// There is none, or it is not known to be one.
    #[default]
    None,
    /// The caller's own.
    Request,
    /// One that the gateway stores, under this alias.
    Stored(String),
    /// The operator's, from the secret `PROVIDER_KEYS` or from a custom provider's headers.
    Operator,
}

/// How a request ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub status: Option<u16>,
    pub content_type: Option<String>,
    pub size: Option<u64>,
    pub body: Option<String>,
    pub facts: Facts,
    pub provider_request_id: Option<String>,
    /// Milliseconds to the head of the answer.
    pub first_byte: Option<u64>,
    pub duration: u64,
    pub failure: Option<Failure>,
    /// True when the client got the answer of another attempt.
    pub superseded: bool,
}

/// Who ended a request before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client went away before it had the whole answer.
    ClientLeft,
    /// No answer came, or it broke off.
    Upstream(String),
    /// The gateway refused.
    Gateway(String),
}

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
    pub answer_model: Option<String>,
    pub cached_beside: bool,
    pub provider_cost: Option<f64>,
    pub saved_cost: Option<f64>,
    pub custom_cost: bool,
    pub finish_reason: Option<String>,
    pub event_id: String,
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
    pub may_lack_room: bool,
    pub metadata_entries: Vec<(String, Value)>,
    pub request_body: Option<String>,
    pub response_body: Option<String>,
    /// Which of the bodies are only the beginnings.
    pub stored: Stored,
    /// What budgets learn.
    pub charge: Charge,
}

/// What an answer from the cache used.
const NOTHING: Usage = Usage {
    tokens_in: Some(0),
    tokens_out: Some(0),
    total_tokens: Some(0),
    cached: None,
    cache_write: None,
    reasoning: None,
    cached_outside: false,
    cost: None,
};

// === impl Call ===

impl Call {
    /// The model that the request asks for, as far as it says.
    pub fn model(&self) -> Option<String> {
        let asked = self.facts.model.clone();
        asked.or_else(|| model::from_path(&self.provider, &self.rest, &self.query))
    }

    /// What the request will probably cost: what its caller says may raise that, and not lower it.
    pub fn estimate(&self) -> u64 {
        self.probable_cost().max(self.said_cost()).unwrap_or_else(estimate::unknown)
    }

    /// What the request may have cost although its answer does not say so: one that ended without telling its tokens, or
    /// that broke off, or whose client left. Unknown where the model has no price.
    pub fn unsaid_cost(&self, outcome: &Outcome) -> Option<u64> {
        let began = outcome.status.is_some_and(|status| status < 400) && outcome.facts.error.is_none();
        let sent = began || outcome.failure == Some(Failure::ClientLeft);
        if sent { self.probable_cost() } else { None }
    }

    fn probable_cost(&self) -> Option<u64> {
        let model = self.model();
        let cost = |usage: &Usage| {
            let quoted = price_rules::quote(&self.prices, &self.provider, [model.as_deref(), None], usage);
            quoted.map(|(cost, _)| cost.min(price::MAX_COST))
        };
        estimate::estimate(cost, self.request_size, self.facts.max_tokens)
    }

    /// The same by what the caller says, if it may be believed.
    fn said_cost(&self) -> Option<u64> {
        let custom = self.custom_cost.filter(|_| self.authentication)?;
        let cost = |usage: &Usage| price::bounded(price::custom_cost(&custom, usage)?).ok();
        estimate::estimate(cost, self.request_size, self.facts.max_tokens)
    }
}

// === impl LogRecord ===

impl LogRecord {
    pub fn new(call: Call, outcome: Outcome) -> Self {
        let Outcome { facts, status, failure, .. } = outcome;
        let broken = failure.is_some() && facts.finish_reason.is_none();
        let usage = if broken { begun(facts.usage) } else { facts.usage };
        let model = call.model().or_else(|| facts.model.clone());
        let models = [facts.model.as_deref(), model.as_deref()];
        let quoted = if broken { None } else { price_rules::quote(&call.prices, &call.provider, models, &usage) };
        let by_price = quoted.as_ref().and_then(|(cost, _)| price::bounded(*cost).ok());
        let by_caller = |cost| (cost, "request".to_owned());
        let priced = match &call.custom_cost {
            // What the gateway refused was not sent, whatever its caller says that it costs.
            Some(CustomCost::Total(_)) if matches!(failure, Some(Failure::Gateway(_))) => Some(by_caller(0.0)),
            Some(CustomCost::Total(total)) => Some(by_caller(*total)),
            _ if broken => None,
            Some(custom) => price::custom_cost(custom, &usage).map(by_caller),
            None => quoted,
        };
        let (cost, price_rule) = priced.unzip();
        let (cost, cost_unknown) = match cost.map(price::bounded) {
            Some(Err(reason)) => (None, Some(reason.to_owned())),
            cost => (cost.and_then(Result::ok), None),
        };
        let charge = match call.cached {
            true => Charge { priced: Some(0.0), said: None },
            false => {
                Charge { priced: by_price, said: cost.filter(|_| call.custom_cost.is_some() && call.authentication) }
            }
        };
        // A kept answer costs nothing; what it would have is what the cache is worth.
        let (usage, cost, saved_cost) = match call.cached {
            true => (NOTHING, Some(0.0), cost),
            false => (usage, cost, None),
        };
        let cost_unknown = cost_unknown.filter(|_| cost.is_none());
        let success = failure.is_none() && status.is_some_and(|status| status < 400) && facts.error.is_none();
        Self {
            id: call.id,
            gateway: call.gateway,
            shard: call.shard,
            created_at: call.created_at,
            model: model.as_deref().map(clipped),
            model_type: model::kind(&call.rest),
            path: model::stored_path(&call.rest, &call.query),
            provider: call.provider,
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
            error: (!success).then(|| explanation(failure.as_ref(), status, facts.error.as_deref())),
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
            answer_model: facts.model.filter(|named| model.as_ref() != Some(named)).map(|named| clipped(&named)),
            cached_beside: usage.cached_outside,
            provider_cost: usage.cost,
            saved_cost,
            custom_cost: call.custom_cost.is_some(),
            finish_reason: facts.finish_reason.map(|reason| clipped(&reason)),
            event_id: call.event_id,
            response_id: facts.response_id.map(|id| clipped(&id)),
            provider_request_id: outcome.provider_request_id.map(|id| clipped(&id)),
            user_agent: call.user_agent.map(|agent| clipped(&agent)),
            authentication: call.authentication,
            request_content_type: call.request_content_type.map(|kind| clipped(&kind)),
            response_content_type: outcome.content_type.map(|kind| clipped(&kind)),
            request_size: call.request_size,
            response_size: outcome.size,
            metadata: call.metadata.to_json(),
            may_lack_room: call.may_lack_room,
            metadata_entries: call.metadata.entries,
            request_body: call.body,
            response_body: outcome.body,
            stored: Stored::default(),
            charge,
        }
    }

    /// About how many bytes the record takes in memory and on its way to the database.
    pub fn weight(&self) -> usize {
        let body = |body: &Option<String>| body.as_ref().map_or(0, String::len);
        1_000 + body(&self.metadata) * 2 + body(&self.request_body) + body(&self.response_body)
    }
}

/// The figures of an answer that broke off are those of its beginning: Anthropic opens a stream with one output token.
/// Unless the model had finished, how much came out is unknown.
fn begun(usage: Usage) -> Usage {
    Usage { tokens_out: None, total_tokens: None, reasoning: None, cost: None, ..usage }
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

/// Names from outside have no business being long.
fn clipped(text: &str) -> String {
    text.chars().take(256).collect()
}

// === impl RequestType ===

impl RequestType {
    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::WebSocket | Self::Message => "websocket",
        }
    }
}

// === impl Credential ===

impl Credential {
    fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Request => "request",
            Self::Stored(_) => "stored",
            Self::Operator => "operator",
        }
    }

    fn alias(self) -> Option<String> {
        match self {
            Self::Stored(alias) => Some(alias),
            _ => None,
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn call(id: &str) -> Call {
        Call {
            id: id.to_owned(),
            gateway: 1,
            shard: 0,
            created_at: 1_700_000_000_000,
            provider: "openai".to_owned(),
            rest: "chat/completions".to_owned(),
            query: String::new(),
            request_type: RequestType::Native,
            step: 0,
            attempt: 1,
            credential: Credential::Request,
            cached: false,
            evaluation_id: None,
            event_id: id.to_owned(),
            metadata: Metadata::default(),
            custom_cost: None,
            prices: Rc::new([]),
            user_agent: None,
            authentication: true,
            request_content_type: Some("application/json".to_owned()),
            request_size: Some(2),
            facts: RequestFacts { model: Some("gpt-4o".to_owned()), ..RequestFacts::default() },
            may_lack_room: true,
            body: Some("{}".to_owned()),
        }
    }

    pub fn answered(facts: Facts) -> Outcome {
        Outcome { status: Some(200), facts, duration: 5, ..Outcome::default() }
    }

    fn usage(tokens_in: u64, tokens_out: u64) -> Usage {
        Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
    }

    #[test]
    fn a_known_model_has_a_cost_and_an_unknown_one_has_none() {
        let facts = Facts { usage: usage(1_000, 100), ..Facts::default() };
        let known = LogRecord::new(call("a"), answered(facts.clone()));
        assert_eq!(known.cost, price::find("openai", "gpt-4o").unwrap().cost(&facts.usage));
        assert!(known.cost.unwrap() > 0.0 && known.success && known.error.is_none());

        let mut unknown = call("b");
        unknown.facts.model = Some("never-heard-of".to_owned());
        let unknown = LogRecord::new(unknown, answered(facts));
        assert_eq!((unknown.cost, unknown.tokens_in), (None, Some(1_000)));
    }

    #[test]
    fn the_callers_and_the_providers_own_cost_come_first() {
        let facts = Facts { usage: Usage { cost: Some(0.25), ..usage(10, 10) }, ..Facts::default() };
        assert_eq!(LogRecord::new(call("a"), answered(facts.clone())).cost, Some(0.25));
        let custom = Call { custom_cost: Some(CustomCost::Total(3.0)), ..call("b") };
        let record = LogRecord::new(custom, answered(facts));
        assert_eq!((record.cost, record.custom_cost), (Some(3.0), true));
    }

    #[test]
    fn no_request_costs_more_than_one_can() {
        let per_token =
            |rate| CustomCost::PerToken { input: Some(rate), output: None, cache_read: None, cache_write: None };
        let facts = Facts { usage: usage(1_000, 100), ..Facts::default() };
        for custom_cost in
            [CustomCost::Total(10_000.01), CustomCost::Total(f64::INFINITY), per_token(1e308), per_token(1e300)]
        {
            let record = LogRecord::new(Call { custom_cost: Some(custom_cost), ..call("a") }, answered(facts.clone()));
            assert_eq!((record.cost, record.cost_unknown.as_deref()), (None, Some(price::BEYOND)), "{custom_cost:?}");
            assert_eq!((record.price_rule.as_deref(), record.custom_cost), (Some("request"), true));
            let kept = Call { custom_cost: Some(custom_cost), cached: true, ..call("b") };
            let kept = LogRecord::new(kept, answered(facts.clone()));
            assert_eq!((kept.cost, kept.saved_cost, kept.cost_unknown), (Some(0.0), None, None));
        }
        let most = Call { custom_cost: Some(CustomCost::Total(price::MAX_COST)), ..call("c") };
        let most = LogRecord::new(most, answered(facts.clone()));
        assert_eq!((most.cost, most.cost_unknown), (Some(price::MAX_COST), None));
        let told = Facts { usage: Usage { cost: Some(1e300), ..usage(1, 1) }, ..facts };
        let told = LogRecord::new(call("d"), answered(told));
        assert_eq!((told.cost, told.cost_unknown.as_deref()), (None, Some(price::BEYOND)));
    }

    #[test]
    fn an_answer_from_the_cache_costs_nothing_and_says_what_it_saved() {
        let facts = Facts { usage: Usage { reasoning: Some(9), ..usage(1_000, 100) }, ..Facts::default() };
        let asked = LogRecord::new(call("a"), answered(facts.clone()));
        assert_eq!((asked.cached, asked.saved_cost), (false, None));
        let kept = LogRecord::new(Call { cached: true, ..call("b") }, answered(facts.clone()));
        assert_eq!((kept.cached, kept.cost, kept.saved_cost), (true, Some(0.0), asked.cost));
        assert_eq!(
            (kept.tokens_in, kept.tokens_out, kept.total_tokens, kept.tokens_reasoning),
            (Some(0), Some(0), Some(0), None)
        );
        let custom = Call { cached: true, custom_cost: Some(CustomCost::Total(3.0)), ..call("c") };
        assert_eq!(LogRecord::new(custom, answered(facts)).saved_cost, Some(3.0));
    }

    #[test]
    fn a_broken_answer_is_no_success_and_its_figures_are_unknown() {
        let facts = Facts { usage: usage(12, 1), ..Facts::default() };
        for failure in [Failure::ClientLeft, Failure::Upstream("reset".to_owned())] {
            let outcome = Outcome { failure: Some(failure), ..answered(facts.clone()) };
            let record = LogRecord::new(call("a"), outcome);
            assert_eq!(
                (record.success, record.tokens_in, record.tokens_out, record.cost),
                (false, Some(12), None, None)
            );
        }
        let finished = Facts { finish_reason: Some("stop".to_owned()), ..facts };
        let outcome = Outcome { failure: Some(Failure::ClientLeft), ..answered(finished) };
        assert_eq!(LogRecord::new(call("a"), outcome).tokens_out, Some(1));
    }

    #[test]
    fn the_error_names_the_layer() {
        let error = |outcome| LogRecord::new(call("a"), outcome).error.unwrap();
        let refused = Facts { error: Some("no such model".to_owned()), ..Facts::default() };
        assert_eq!(error(Outcome { status: Some(404), ..answered(refused) }), "provider: no such model");
        assert_eq!(error(Outcome { status: Some(500), ..answered(Facts::default()) }), "provider: answered 500");
        let broken = Outcome { failure: Some(Failure::Upstream("reset".to_owned())), ..answered(Facts::default()) };
        assert_eq!(error(broken), "upstream: reset");
    }
}
