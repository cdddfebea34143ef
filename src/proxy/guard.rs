//! The one guard: whether a caller may have a model of a provider, by its token and by the policies of its gateway. Each way to a
//! provider leads through it, before the cache is asked: a path, a model in a body, an element of a universal request, a translated
//! request, a node of a route, a message of a WebSocket, and a judge. Caps of policies are asked behind the cache, with the limits.

use crate::auth::presented::{ADMIN, Presented};
use crate::auth::terms::Terms;
use crate::auth::{access, access_worker};
use crate::base::object;
use crate::config::isolate_worker::config;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::Headers;
use crate::http::refusal::Refusal;
use crate::limit::cap::Cap;
use crate::limit::window::Window;
use crate::platform::Runtime;
use crate::policies::decide::{Action, Bucket, Decision, Model, Reason, decide};
use crate::policies::names;
use crate::proxy::exchange::Exchange;
use futures_util::FutureExt;
use serde_json::Value;
use std::rc::Rc;

/// What policies may ask of where a request came from.
#[derive(Clone, Debug, Default)]
pub struct OriginFacts {
    country: Option<String>,
    /// The assertion of Cloudflare Access, which is not checked yet.
    assertion: Option<String>,
}

/// Whether it matters which model a request is for.
pub fn asks_for_models(snapshot: &GatewaySnapshot, presented: &Presented) -> bool {
    let of_token = |terms: &Rc<Terms>| !terms.models.is_empty() || !terms.spend_limits.is_null();
    !snapshot.policies.is_empty() || presented.terms.as_ref().is_some_and(of_token)
}

/// Whether policies or the caller's token may count what a request costs.
pub fn counts_money(snapshot: &GatewaySnapshot, presented: &Presented) -> bool {
    let of_token = presented.terms.as_ref().is_some_and(|terms| !terms.spend_limits.is_null());
    of_token || snapshot.policies.iter().any(|policy| matches!(policy.action, Action::Cap { .. }))
}

/// Has a request pass the guard, and notes the caps that it has to keep.
pub async fn pass(
    exchange: &mut Exchange,
    snapshot: &GatewaySnapshot,
    presented: &Presented,
    origin: impl FnOnce() -> Rc<OriginFacts>,
) -> Result<(), Refusal> {
    let is_limited = presented.terms.as_ref().is_some_and(|terms| terms.are_of_models());
    if !is_limited && snapshot.policies.is_empty() {
        return Ok(());
    }
    passed(exchange, snapshot, presented, origin()).boxed_local().await
}

async fn passed(
    exchange: &mut Exchange,
    snapshot: &GatewaySnapshot,
    presented: &Presented,
    origin: Rc<OriginFacts>,
) -> Result<(), Refusal> {
    let all = exchange.call.models();
    let mut models: Vec<Model<'_>> = all.named().iter().map(|name| Model::Named(name)).collect();
    // What the lines of a batch run stands in a file.
    let is_batch = models.is_empty() && exchange.call.kind() == Some("batch") && !exchange.call.is_free();
    if all.doubt.is_some() || is_batch {
        models.push(Model::Unknown);
    } else if models.is_empty() {
        models.push(Model::None);
    }
    let provider = exchange.call.provider.to_lowercase();
    if let Some(terms) = &presented.terms {
        let fault = models.iter().find_map(|model| outside(terms, &provider, *model));
        if let Some(fault) = fault {
            return Err(Refusal::denied(fault));
        }
    }
    if snapshot.policies.is_empty() {
        return Ok(());
    }
    let fields = fields(exchange, presented, &origin, &models).await;
    let decision = decide(&snapshot.policies, &fields, &provider, &models).await;
    match decision {
        Decision::Unlimited => exchange.caps.clear(),
        Decision::Check(buckets) => exchange.caps = buckets.iter().flat_map(caps).collect(),
        Decision::Blocked(reason) => return Err(Refusal::denied(blocked(&reason, &provider))),
    }
    Ok(())
}

/// Why a token may not be used for a model; `None` where it may.
fn outside(terms: &Terms, provider: &str, model: Model<'_>) -> Option<String> {
    let listed = |all: &[String]| all.join(", ");
    if !terms.providers.is_empty() && !terms.providers.iter().any(|known| known == provider) {
        let known = listed(&terms.providers);
        return Some(format!(
            "Tollgate (not the provider) refused the request: its token is for the providers {known} only."
        ));
    }
    let is_inside = match model {
        Model::Named(name) => names::any(&terms.models, provider, name),
        Model::Unknown => terms.models.is_empty(),
        Model::None => true,
    };
    let known = || listed(&terms.models);
    match (is_inside, model) {
        (true, _) => None,
        (false, Model::Named(name)) => {
            let name: String = name.chars().take(64).collect();
            Some(format!(
                "Tollgate (not the provider) refused the request: its token is for the models {} only, and not for '{name}' of {provider}.",
                known()
            ))
        }
        _ => Some(format!(
            "Tollgate (not the provider) refused the request: its token is for the models {} only, and the request does not \
             tell its model. Name one model, as a text and once, in JSON of at most 32 MB.",
            known()
        )),
    }
}

fn blocked(reason: &Reason, provider: &str) -> String {
    match reason {
        Reason::NoneMatches => format!(
            "This gateway has policies, and none of them allows such a request to {provider}. Ask its operator, or see \
             …/policies/simulate."
        ),
        Reason::Policy(policy) => format!("The policy '{policy}' of this gateway blocks such a request to {provider}."),
        Reason::Unknown(policy, missing) => {
            format!("The policy '{policy}' of this gateway blocks requests to {provider} that do not tell {missing}.")
        }
    }
}

/// What conditions and actors of policies name.
async fn fields(exchange: &Exchange, presented: &Presented, origin: &OriginFacts, models: &[Model<'_>]) -> Value {
    let text = |text: &str| Value::from(text);
    let metadata = exchange.call.metadata.entries.iter().cloned();
    let mut cf = match (&config(&exchange.runtime).access, &origin.assertion) {
        (Some(access), Some(assertion)) => access_worker::person(access, assertion).await.unwrap_or_default(),
        _ => Default::default(),
    };
    if let Some(country) = &origin.country {
        cf.insert("country".to_owned(), text(country));
    }
    let caller = match (&exchange.call.evaluation_id, &*presented.identity) {
        (Some(_), _) => "judge",
        (None, ADMIN) => "admin",
        (None, "") if presented.let_in => "binding",
        (None, "") => "anonymous",
        (None, _) => "token",
    };
    let mut all = vec![
        ("metadata", Value::Object(object::of(metadata))),
        ("cf", Value::Object(cf)),
        ("caller", text(caller)),
        ("provider", text(&exchange.call.provider)),
    ];
    if let Some(Model::Named(model)) = models.first() {
        all.push(("model", text(model)));
    }
    if let (Some(terms), Some(id)) = (&presented.terms, presented.token_id()) {
        let named = [("id", Some(id)), ("name", Some(terms.name.as_str())), ("owner", terms.owner.as_deref())];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?))));
        all.push(("token", Value::Object(object::of(named))));
    }
    Value::Object(object::of(all.into_iter().map(|(name, value)| (name.to_owned(), value))))
}

fn caps(bucket: &Bucket) -> impl Iterator<Item = Cap> {
    bucket.caps.iter().map(|(period, cap)| Cap {
        policy: cap.policy.clone(),
        bucket: bucket.name.clone(),
        window: Window::calendar(period.name()),
        limit: cap.amount,
    })
}

// === impl OriginFacts ===

impl OriginFacts {
    /// Of the request itself, and not of what it carries inside.
    pub fn of(headers: &Headers, runtime: &Runtime) -> Self {
        let country = config(runtime).client_country_header.as_deref().and_then(|name| headers.get(name));
        // Cloudflare writes XX where it does not know, and T1 for Tor.
        let is_country =
            |code: &&str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) && *code != "XX";
        Self {
            country: country.map(str::trim).filter(is_country).map(str::to_uppercase),
            assertion: headers.get(access::HEADER).map(str::to_owned),
        }
    }
}
