//! One proxied request as its row will tell it: what was asked, and how it ended.

use crate::Rc;
use crate::base::mask::Secrets;
use crate::catalogue::table::Catalogue;
use crate::dlp::Report;
use crate::limit::estimate;
use crate::limit::models::Models;
use crate::limit::spend;
use crate::logs::metadata::Metadata;
use crate::logs::session;
use crate::pricing::price;
use crate::pricing::price::CustomCost;
use crate::pricing::rules;
use crate::pricing::rules::PriceRule;
use crate::providers::model;
use crate::providers::model::names;
use crate::wire::Facts;
use crate::wire::Usage;
use crate::wire::request::RequestFacts;

/// A request as it was sent.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    /// The `key` of the gateway's row.
    pub gateway: i64,
    /// Which database has the gateway's logs.
    pub shard: u32,
    pub created_at: u64,
    pub method: String,
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
    /// The session that the headers name, and the one that counts where the body names none.
    pub session: [Option<String>; 2],
    /// Which more places the gateway takes a session from.
    pub session_from: Rc<[String]>,
    /// Who called: a token's id, or `admin`; empty for every other caller.
    pub caller: String,
    pub metadata: Metadata,
    pub custom_cost: Option<CustomCost>,
    /// The prices that the account set.
    pub prices: Rc<[PriceRule]>,
    /// The format in which the request came, where it was translated.
    pub translated_from: Option<&'static str>,
    /// The models that the account knows, with their prices.
    pub catalogue: Catalogue,
    /// The way through a dynamic route, as JSON, and the route's id.
    pub route: Option<String>,
    pub route_id: Option<String>,
    pub user_agent: Option<String>,
    /// True when the caller proved itself with a token.
    pub authentication: bool,
    pub request_content_type: Option<String>,
    pub request_size: Option<u64>,
    pub facts: RequestFacts,
    /// True where the gateway has asked for the usage of a stream, which its client has not.
    pub usage_asked: bool,
    /// True for a call that runs a model, whether it names one or not.
    pub runs_a_model: bool,
    /// Whether there is a limit to how many logs the gateway has.
    pub has_log_limit: bool,
    /// Whether the gateway pushes its logs.
    pub is_pushed: bool,
    /// What was found in the request and its answer that must not leave.
    pub dlp: Report,
    /// What the checks of a model said of it, as JSON.
    pub guardrails: Option<String>,
    /// The body as it is stored; `None` when it is not text, too long, or not wanted.
    pub body: Option<String>,
    /// What must not stand in the row, wherever it comes from.
    pub secrets: Secrets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestType {
    Native,
    /// A WebSocket to the provider.
    WebSocket,
    /// An ordinary request, which came as a message of a WebSocket.
    Message,
    /// A model that is asked whether another request, or its answer, may go on.
    Guardrail,
    /// A line of a batch.
    Batch,
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
    /// Why the answer was not read for what it used.
    pub unread: Option<&'static str>,
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

impl Call {
    /// By what requests keep to one of several keys, so that their provider still has their prompts in its cache.
    pub fn session_for_keys(&self) -> Option<String> {
        let ([own, trace], said) = (&self.session, &self.facts.said);
        let of_body = || session::of_user(said).or_else(|| said.prompt_cache_key.clone());
        own.clone().or_else(of_body).or_else(|| trace.clone())
    }

    /// The model that the request asks for, as far as it says.
    pub fn model(&self) -> Option<String> {
        self.deployment().or_else(|| self.asked_model().map(str::to_owned)).or_else(|| self.model_of_path())
    }

    /// What Azure runs, whatever its clients write into the body: some of them put the name of any model there.
    fn deployment(&self) -> Option<String> {
        (self.provider == "azure-openai").then(|| model::azure_deployment(&self.rest)).flatten()
    }

    pub(super) fn asked_model(&self) -> Option<&str> {
        let model = self.facts.model.as_deref().map(|model| names::own(&self.provider, model));
        model.filter(|model| !model::is_placeholder(&self.provider, model))
    }

    fn model_of_path(&self) -> Option<String> {
        model::from_path(&self.provider, &self.rest, &self.query)
    }

    /// The model of the row, when the answer names this one.
    pub fn model_beside(&self, answered: Option<&str>) -> Option<String> {
        let (asked, Some(answered)) = (self.model(), answered) else { return self.model() };
        let is_it = |name: &&String| names::covers(&names::folded(name), &names::folded(answered));
        // Of several names the answer tells which was meant, and of a request that was not read it knows more.
        match asked {
            Some(asked) if self.facts.others.is_empty() && self.facts.unread.is_none() => Some(asked),
            asked => {
                let named = asked.iter().chain(&self.facts.others).find(is_it);
                let named = named.map(|named| names::own(&self.provider, named).to_owned());
                named.or(asked.filter(|_| self.facts.unread.is_none())).or_else(|| Some(answered.to_owned()))
            }
        }
    }

    /// All models that limits have to take the request to be for.
    pub fn models(&self) -> Models {
        let RequestFacts { others, tools, unread, .. } = &self.facts;
        let (model, path) = (self.asked_model(), self.model_of_path());
        let is_named = model.is_some() || path.is_some();
        let doubt = unread.or((!is_named).then_some("it names no model"));
        // What stands deep in a body counts only where nothing else names a model.
        let others = others.iter().filter(|_| model.is_some() || path.is_none() || unread.is_some());
        let named = model.into_iter().chain(path.as_deref()).chain(others.chain(tools).map(String::as_str));
        Models::new(named, doubt.filter(|_| self.runs_a_model))
    }

    /// True for a request that its provider takes no money for: it only looks at something, or ends it.
    pub fn is_free(&self) -> bool {
        self.custom_cost.is_none()
            && self.request_type != RequestType::WebSocket
            && model::is_free(&self.method, &self.rest)
    }

    /// What the request will probably cost, with the dearest of the models that it may be for: what its caller says may raise
    /// that, and not lower it.
    pub fn estimate(&self) -> u64 {
        let others = self.facts.others.iter().filter_map(|other| self.probable_cost_of(Some(other)));
        let probable = self.probable_cost().into_iter().chain(others).max();
        probable.max(self.said_cost()).unwrap_or_else(estimate::unknown)
    }

    /// What the request may have cost although its answer does not say so: one that ended without telling its tokens, or
    /// that broke off, or whose client left. Unknown where the model has no price.
    pub fn unreported_cost(&self, outcome: &Outcome) -> Option<u64> {
        let began = outcome.status.is_some_and(|status| status < 400) && outcome.facts.error.is_none();
        let sent = began || outcome.failure == Some(Failure::ClientLeft);
        if sent { self.probable_cost() } else { None }
    }

    fn probable_cost(&self) -> Option<u64> {
        self.probable_cost_of(self.model().as_deref())
    }

    fn probable_cost_of(&self, model: Option<&str>) -> Option<u64> {
        let cost = |usage: &Usage| {
            let quoted = rules::quote_in(&self.catalogue, &self.prices, &self.provider, [model, None], usage);
            quoted.bill.cost().map(|cost| cost.min(price::MAX_COST))
        };
        // What is paid for by its number is known better than tokens are.
        let units = Usage { details: self.asked_units(), ..Usage::default() };
        let by_number = if units.details.has_counts() { cost(&units).map(spend::from_dollars) } else { None };
        by_number.or_else(|| estimate::estimate(cost, self.request_size, self.facts.max_tokens))
    }

    /// The same by what the caller says, if it may be believed.
    fn said_cost(&self) -> Option<u64> {
        let custom = self.custom_cost.filter(|_| self.authentication)?;
        let cost = |usage: &Usage| price::bounded(price::custom_cost(&custom, usage)?).ok();
        estimate::estimate(cost, self.request_size, self.facts.max_tokens)
    }
}

// === impl LogRecord ===

// === impl RequestType ===

impl RequestType {
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::WebSocket | Self::Message => "websocket",
            Self::Guardrail => "guardrail",
            Self::Batch => "batch",
        }
    }
}

// === impl Credential ===

impl Credential {
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Request => "request",
            Self::Stored(_) => "stored",
            Self::Operator => "operator",
        }
    }

    pub fn alias(self) -> Option<String> {
        match self {
            Self::Stored(alias) => Some(alias),
            _ => None,
        }
    }
}
