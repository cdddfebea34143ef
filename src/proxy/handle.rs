//! One proxied request, from top to bottom: authorise, understand, call, answer, log.
//!
//! The bodies stay JavaScript values all the way. What the log needs is copied once, behind the client's back: the
//! client never waits for wasm to look at a byte.

use crate::auth::caller::{Caller as Identity, Permission};
use crate::auth::presented::{self, Presented};
use crate::auth::tokens_worker::{self, Who};
use crate::auth::{secrets, wrong_tokens};
use crate::base::patience::Patience;
use crate::cache::{self, Policy, key};
use crate::config::isolate_worker::config;
use crate::db::store::StoreError;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::gateways::snapshot_worker;
use crate::http::headers::Headers;
use crate::http::message_worker::{self, Answer, Incoming};
use crate::http::refusal::{Refusal, TOO_MANY_CALLS};
use crate::http::response_headers;
use crate::http::router::Route;
use crate::limit::plan::Refused;
use crate::logs::call::{Call, Credential, Failure, Outcome, RequestType};
use crate::logs::crash_worker::Mark;
use crate::platform::{Runtime, console, now, pause, random};
use crate::providers::model::{self, endpoint};
use crate::providers::resolver_worker;
use crate::providers::stream_usage;
use crate::providers::table::{self, Target};
use crate::providers::upstream::{self, Upstream};
use crate::proxy::answer_links::Door;
use crate::proxy::cache as kept;
use crate::proxy::cache::Cache;
use crate::proxy::capability::{self, SentWith};
use crate::proxy::capability_worker;
use crate::proxy::exchange::{self, Exchange};
use crate::proxy::options::Options;
use crate::proxy::response::{self, Held};
use crate::proxy::session::Dialect;
use crate::proxy::upstream_request::{self, Keep, NoBody, Prepared, Taken};
use crate::proxy::{
    circuit_breaker, circuits, compat_worker, credentials, limits, retry, session_worker, stream_usage_worker,
};
use crate::wire;
use std::cell::Cell;
use std::rc::Rc;
use web_sys::{AbortSignal, Response};

const TOKEN_IN_PATH: &str = "The path has a Tollgate token in it, which Tollgate sends to no provider. Send the token in the \
                             header cf-aig-authorization: Bearer <token>.";

/// What is known of a caller beside its request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// True for a caller that has been let in before, or that the operator bound to this Worker: no token is wanted.
    pub trusted: bool,
    /// True for a request that is a message of a WebSocket.
    pub by_message: bool,
    /// Who a caller is that has been let in before, as [`Presented::identity`] says it.
    pub identity: Option<String>,
    /// Which element of a universal request this is.
    pub step: u32,
    /// True when another element is tried should this one fail.
    pub is_followed: bool,
    /// How many calls of providers the request has caused, all its steps and attempts together.
    pub calls: Rc<Cell<u64>>,
    /// Where the request came from, as the connection says.
    pub network: Option<String>,
    /// Tells when the caller leaves, if the request does not: one that was made here has a signal of its own.
    pub signal: Option<AbortSignal>,
    /// The evaluation that asks a judge.
    pub evaluation_id: Option<String>,
    /// True for a browser that means to show or run the answer.
    pub navigates: bool,
    /// What the gateway's addresses begin with for the caller, if it named any host.
    pub origin: Option<Rc<str>>,
    /// True where the request around this one has our token in a header that its client takes to other hosts.
    pub token_travels: bool,
}

/// A request at the door: what it says, where it is for, and whose it is.
struct Arrival<'a> {
    asked: &'a Incoming,
    route: Route<'a>,
    query: &'a str,
    snapshot: &'a Rc<GatewaySnapshot>,
    presented: &'a Presented,
    at: u64,
}

/// An attempt without an answer that the client should get while there are others to make.
pub struct Failed {
    exchange: Exchange,
    end: End,
}

enum End {
    /// The provider answered with an error.
    Answered(Box<Held>),
    /// The provider did not answer, for this reason.
    Unanswered(String),
    /// The gateway refused.
    Refused(Refusal),
}

/// Answers a request to a provider.
pub async fn handle(
    asked: &Incoming,
    route: Route<'_>,
    query: &str,
    caller: Caller,
    runtime: &Rc<Runtime>,
) -> Response {
    let mut failures = Vec::new();
    let network = caller.network.or_else(|| network(&asked.headers, runtime));
    let caller = Caller { network, ..caller };
    let answered = attempt(asked, route, query, caller, runtime, &mut failures).await;
    conclude(answered, failures).await
}

/// Where a request came from. Not to be asked of what a request carries inside, such as the elements of a universal one.
pub fn network(headers: &Headers, runtime: &Runtime) -> Option<String> {
    wrong_tokens::forwarded_address(headers, config(runtime).client_address_header.as_deref()).map(str::to_owned)
}

/// Tries a provider as often as the caller wants. What failed is added to `failures`; `None` means that there is nothing
/// else, and that one of them is to be the answer.
pub async fn attempt(
    asked: &Incoming,
    route: Route<'_>,
    query: &str,
    caller: Caller,
    runtime: &Rc<Runtime>,
    failures: &mut Vec<Failed>,
) -> Option<Response> {
    let at = now();
    let (query, capability) = capability::taken(query);
    let query = &*query;
    let granted = match &capability {
        Some(text) => Some(capability_worker::redeem(text, &route, query, &asked.method, runtime).await),
        None => None,
    };
    let is_granted = matches!(granted, Some(Ok(_)));
    let (snapshot, mut presented) =
        match authorised(&asked.headers, &route, caller.trusted || is_granted, runtime).await {
            Ok(found) => found,
            Err(refusal) => {
                let refusal = granted.and_then(Result::err).unwrap_or(refusal);
                return Some(message_worker::response(&refusal.reply()));
            }
        };
    let granted = match granted {
        // Whoever comes with a token needs no capability.
        Some(Err(refusal)) if !presented.let_in => return Some(message_worker::response(&refusal.reply())),
        granted => granted.and_then(Result::ok).filter(|_| presented.identity.is_empty()),
    };
    if let Some(granted) = &granted {
        presented.identity.clone_from(&granted.identity);
        presented.goes_on_with_own = granted.sent_with == SentWith::Own;
    }
    // A stranger's request may still have a token in one of its elements, which then says who is asking.
    if let Some(identity) = caller.identity.filter(|_| caller.trusted) {
        presented.identity = identity;
    }
    let client = caller.signal.unwrap_or_else(|| asked.request.signal());
    let (real, fault) = match compat_worker::resolved(asked, &route, &snapshot.custom).await {
        Ok(real) => (real, None),
        Err(fault) => (None, Some(fault)),
    };
    let (asked, route) = real.as_ref().map_or((asked, route), |real| (&real.asked, real.route(route)));
    let arrival = Arrival { asked, route, query, snapshot: &snapshot, presented: &presented, at };
    let mut options = Options::parse(&asked.headers, &snapshot.gateway.settings, config(runtime).max_metadata_entries);
    options.believe(presented.let_in, &snapshot.gateway.settings);
    if let Some(SentWith::Kept(Some(alias))) = granted.map(|granted| granted.sent_with) {
        options.byok_alias = Some(alias);
    }
    let door = Door {
        origin: caller.origin,
        account: route.account.to_owned(),
        gateway: route.gateway.to_owned(),
        provider: route.provider.to_owned(),
        snapshot: Rc::clone(&snapshot),
        identity: presented.identity.clone(),
        token_travels: caller.token_travels || presented.travels(),
        target: asked.headers.get("x-fal-target-url").map(str::to_owned),
    };
    let may_be_kept = |policy: &Policy| cache::may_answer(policy, &asked.method, route.rest, &asked.headers);
    let mut exchange = Exchange {
        runtime: Rc::clone(runtime),
        call: Call { step: caller.step, evaluation_id: caller.evaluation_id, ..arrival.call(&options, runtime) },
        collect_log: options.collect_log,
        collect_payload: options.collect_payload && options.collect_log,
        cache: Cache::new(options.cache.clone().filter(may_be_kept)),
        admission: None,
        key_limit: None,
        navigates: caller.navigates || response_headers::navigates(&asked.headers),
        door: Rc::new(door),
        passes_cookies: snapshot.gateway.settings.provider_cookies,
        gateway_headers: gateway_headers(&options),
        mark: None,
        allotment: None,
        arrived: at,
        client,
    };
    exchange.mark = exchange.collect_log.then(|| Rc::new(Mark::new(&exchange.call.id)));
    if caller.by_message {
        exchange.call.request_type = RequestType::Message;
    }
    let prepared = match fault {
        Some(fault) => Err(fault),
        None => arrival.prepare(&mut options, &mut exchange).await,
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(NoBody::ClientLeft) => return Some(exchange.abandon()),
        Err(NoBody::Refused(refusal)) => {
            return fall_through(failures, exchange, refusal);
        }
    };
    let mut plan = options.retry;
    let is_head = asked.method == "HEAD";
    if let Some(answer) = arrival.kept_answer(&prepared, &options, &mut exchange).await {
        match response::give(Answer::new(answer), is_head, exchange).await {
            Ok(response) => return Some(response),
            Err((back, cause)) => {
                exchange = *back;
                kept::mistaken(&cause, &mut exchange);
            }
        }
    }
    let max_calls = snapshot.gateway.settings.max_calls;
    if caller.calls.get() >= max_calls {
        return fall_through(failures, exchange, Refusal::too_many_calls(max_calls));
    }
    if let Err(refusal) = circuits::check(&mut exchange, &prepared.url, &snapshot.gateway.settings) {
        return fall_through(failures, exchange, refusal);
    }
    let is_counted = failures.iter().any(|failed| failed.exchange.admission.is_some());
    // Where the messages of a WebSocket are understood, each response passes the limits by itself.
    let dialect = Dialect::of(route.rest).filter(|_| exchange.call.request_type == RequestType::WebSocket);
    let passed = match dialect {
        Some(_) => Ok(()),
        None => limits::pass(&mut exchange, &snapshot.gateway, &presented, is_counted).await,
    };
    if let Err(Refused { refusal, is_final }) = passed {
        prepared.discard().await;
        if is_final {
            let failure = Failure::Gateway(refusal.description.clone());
            return Some(exchange.refuse(&refusal, failure));
        }
        return fall_through(failures, exchange, refusal);
    }
    if let Err(refusal) = circuits::admit(&mut exchange, &prepared.url, &snapshot.gateway.settings) {
        return fall_through(failures, exchange, refusal);
    }
    loop {
        let number = exchange.call.attempt;
        caller.calls.set(caller.calls.get() + 1);
        let settings = &snapshot.gateway.settings;
        let asked_ms = plan.timeout(number, caller.is_followed);
        let patience = Patience::of(settings.first_byte_timeout, settings.idle_timeout, asked_ms);
        let sent = prepared.send(patience, &exchange.client).await;
        let who = || {
            let identity = Some(presented.identity.as_str()).filter(|_| presented.let_in);
            circuit_breaker::caller(identity, caller.network.as_deref())
        };
        if circuits::note(&exchange, &prepared.url, &snapshot.gateway.settings, &sent, who) {
            plan.attempts = number;
        }
        let (end, wait) = match sent {
            Ok(upstream) => {
                let status = upstream.status;
                let wait = match retry::is_retried(status) {
                    true => plan.pause(number, upstream_request::retry_after(&upstream), random() as u64),
                    false => None,
                };
                if wait.is_some() || (caller.is_followed && status >= 400) {
                    (End::Answered(Box::new(Held::new(upstream, &exchange))), wait)
                } else {
                    let given = match dialect {
                        Some(dialect) if status == 101 => {
                            let caller = arrival.websocket_caller(caller.trusted);
                            session_worker::relayed(&upstream.response, &upstream.headers, dialect, caller, exchange)
                        }
                        _ => response::give(upstream, is_head, exchange).await,
                    };
                    match given {
                        Ok(response) => return Some(response),
                        Err((back, cause)) => {
                            exchange = *back;
                            (End::Unanswered(cause), plan.pause(number, None, random() as u64))
                        }
                    }
                }
            }
            Err(_) if exchange.client.aborted() => return Some(exchange.abandon()),
            Err(none) => (End::Unanswered(none.cause), plan.pause(number, None, random() as u64)),
        };
        // Without another attempt nothing is copied: a job holds the body for its row.
        let next = wait.map(|wait| (wait, exchange.another()));
        failures.push(Failed { exchange, end });
        let (wait, mut next) = next?;
        let is_last = caller.calls.get() >= max_calls;
        if !is_last {
            pause(wait).await;
        }
        next.begin_next();
        // What is not sent costs nothing; those before it are settled with their own rows.
        let unsent = |mut next: Exchange| {
            next.admission = None;
            next
        };
        if is_last {
            return fall_through(failures, unsent(next), Refusal::too_many_calls(max_calls));
        }
        if next.client.aborted() {
            return Some(unsent(next).abandon());
        }
        if let Err(Refused { refusal, .. }) = limits::pass_again(&mut next, &snapshot.gateway).await {
            return fall_through(failures, unsent(next), refusal);
        }
        exchange = next;
    }
}

/// Leaves a refusal by the gateway to whatever is tried next.
fn fall_through(failures: &mut Vec<Failed>, exchange: Exchange, refusal: Refusal) -> Option<Response> {
    failures.push(Failed { exchange, end: End::Refused(refusal) });
    None
}

/// Ends a request: with the answer there is, or with the best of what failed. Every attempt leaves its row.
pub async fn conclude(answered: Option<Response>, mut failures: Vec<Failed>) -> Response {
    let capped = failures.iter().find_map(Failed::capped).map(str::to_owned);
    let chosen = match answered {
        Some(_) => None,
        None => chosen(&failures).map(|index| failures.remove(index)),
    };
    let chosen = chosen.map(|mut chosen| {
        if let Some(why) = &capped {
            chosen.exchange.warn(why);
        }
        chosen
    });
    let response = match (answered, chosen) {
        (Some(response), _) => response,
        (None, Some(Failed { exchange, end: End::Answered(held) })) => held.give(exchange).await,
        (None, Some(Failed { exchange, end: End::Refused(refusal) })) => {
            let failure = Failure::Gateway(refusal.description.clone());
            let agreed = failures.iter().all(|other| other.is_refused_with(refusal.code));
            match agreed {
                true => exchange.refuse(&refusal, failure),
                false => {
                    let all = causes(&failures, &exchange, &refusal.description);
                    exchange.refuse(&Refusal::unreachable(all), failure)
                }
            }
        }
        (None, Some(Failed { exchange, end: End::Unanswered(cause) })) => {
            let all = causes(&failures, &exchange, &unanswered(&exchange, &cause));
            exchange.refuse(&Refusal::unreachable(all), Failure::Upstream(cause))
        }
        (None, None) => Response::error(),
    };
    failures.into_iter().for_each(Failed::leave);
    response
}

/// Which failure the client is told of: the provider's own error if there was one, and else the last.
fn chosen(failures: &[Failed]) -> Option<usize> {
    let by_provider = failures.iter().rposition(|failed| matches!(failed.end, End::Answered(_)));
    by_provider.or_else(|| failures.len().checked_sub(1))
}

/// What every attempt failed with.
fn causes(others: &[Failed], last: &Exchange, cause: &str) -> String {
    let said = |exchange: &Exchange, cause: &str| {
        format!("step {}, attempt {}: {cause}", exchange.call.step, exchange.call.attempt)
    };
    if others.is_empty() {
        return cause.to_owned();
    }
    let all = others.iter().map(|Failed { exchange, end }| match end {
        End::Answered(_) => said(exchange, "it answered with an error"),
        End::Unanswered(cause) => said(exchange, &unanswered(exchange, cause)),
        End::Refused(refusal) => said(exchange, &refusal.description),
    });
    all.chain([said(last, cause)]).collect::<Vec<String>>().join("; ")
}

fn unanswered(exchange: &Exchange, cause: &str) -> String {
    format!("{} did not answer: {cause}", exchange.call.provider)
}

/// Finds the gateway and checks that the caller may use it.
pub async fn authorised(
    headers: &Headers,
    route: &Route<'_>,
    trusted: bool,
    runtime: &Rc<Runtime>,
) -> Result<(Rc<GatewaySnapshot>, Presented), Refusal> {
    let admin = config(runtime).admin.as_ref().map_err(|reason| Refusal::unavailable(reason.clone()))?;
    let unreadable = |error: StoreError| {
        let line = serde_json::json!({ "level": "error", "event": "gateway_unreadable", "cause": error.0 });
        console::error(&line);
        Refusal::unavailable(
            "Tollgate's database does not answer, so the settings of the gateway are unknown. Try again.",
        )
    };
    let mut presented = presented::presented(headers, admin);
    let who =
        tokens_worker::identify(runtime, headers, &presented, config(runtime).client_address_header.as_deref()).await;
    let proven = match &who {
        Ok(Who::Known(Identity::Admin)) => Some(presented::ADMIN.to_owned()),
        Ok(Who::Known(Identity::Token(token)))
            if token.has(Permission::Run) && token.reaches(route.account, route.gateway) =>
        {
            Some(token.id.clone())
        }
        _ => None,
    };
    presented.let_in = trusted || proven.is_some();
    presented.identity = proven.unwrap_or_default();
    let found = snapshot_worker::settings(runtime, route.account, route.gateway, presented.let_in).await;
    let snapshot = found.map_err(unreadable)?.ok_or_else(|| Refusal::unknown_gateway(route.account, route.gateway))?;
    if snapshot.gateway.settings.authentication && !presented.let_in {
        if let Who::Barred(seconds) = who.map_err(unreadable)? {
            return Err(Refusal::barred(seconds));
        }
        return Err(Refusal::unauthorized(
            "This gateway is authenticated, and Tollgate (not the provider) refused the request: send a Tollgate token \
             that may run, in the header cf-aig-authorization: Bearer <token>.",
        ));
    }
    // Where pages may send requests, they may open a WebSocket for them.
    let may = || {
        headers
            .get("origin")
            .zip(snapshot.gateway.cors.as_ref())
            .is_some_and(|(from, cors)| cors.allows(from).is_some())
    };
    if !presented.let_in && presented::is_of_another_site(headers) && !may() {
        return Err(Refusal::of_another_site());
    }
    Ok((snapshot, presented))
}

/// What tells a credential from others in the key of a kept answer. A stored key's id does; its alias may be given to
/// another key.
fn cache_name(credential: &Credential, provider: &str, snapshot: &GatewaySnapshot) -> String {
    let id = match credential {
        Credential::Stored(alias) => snapshot.keys.iter().find(|key| key.provider == provider && key.alias == *alias),
        _ => None,
    };
    format!("{credential:?} {}", id.map_or("", |key| key.id.as_str()))
}

fn gateway_headers(options: &Options) -> Vec<(&'static str, String)> {
    let gateway_headers =
        [("cf-aig-metadata-dropped", &options.metadata.dropped), ("cf-aig-warning", &options.warning)];
    gateway_headers.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone())).collect()
}

// === impl Arrival ===

impl Arrival<'_> {
    /// What the log knows of the request so far.
    fn call(&self, options: &Options, runtime: &Runtime) -> Call {
        let Self { asked: Incoming { headers, .. }, route, .. } = self;
        let id = config(runtime).log_id(self.at, random(), options.collect_log);
        let provider = table::find(route.provider).map_or(route.provider, |provider| provider.slug);
        let upgrade = headers.get("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
        Call {
            step: 0,
            attempt: 1,
            cached: false,
            credential: Credential::None,
            evaluation_id: None,
            event_id: options.event_id.clone().unwrap_or_else(|| id.clone()),
            id,
            gateway: self.snapshot.gateway.key,
            shard: self.snapshot.gateway.shard,
            created_at: self.at,
            method: self.asked.method.clone(),
            provider: provider.chars().take(64).collect(),
            rest: route.rest.to_owned(),
            query: self.query.to_owned(),
            request_type: if upgrade { RequestType::WebSocket } else { RequestType::Native },
            metadata: options.metadata.clone(),
            custom_cost: options.custom_cost,
            prices: Rc::clone(&self.snapshot.prices),
            user_agent: headers.get("user-agent").map(str::to_owned),
            authentication: self.presented.let_in,
            request_content_type: headers.get("content-type").map(str::to_owned),
            request_size: headers.content_length(),
            facts: wire::request::RequestFacts::default(),
            runs_a_model: endpoint::runs_a_model(provider, &self.asked.method, route.rest, upgrade),
            usage_asked: false,
            has_log_limit: self.snapshot.gateway.settings.log_management.is_some(),
            body: None,
            secrets: secrets::brought(headers, self.query),
        }
    }

    /// Who opens a WebSocket, as each of its responses has to know.
    fn websocket_caller(&self, trusted: bool) -> session_worker::Caller {
        session_worker::Caller {
            headers: self.asked.headers.clone(),
            account: self.route.account.to_owned(),
            gateway: self.route.gateway.to_owned(),
            trusted,
            identity: self.presented.identity.clone(),
        }
    }

    /// Makes the upstream request: where it goes, with which headers, and with the client's own body.
    async fn prepare(&self, options: &mut Options, exchange: &mut Exchange) -> Result<Prepared, NoBody> {
        let Self { asked, route, snapshot, presented, .. } = *self;
        let headers = &asked.headers;
        let upstream = Upstream::find(route.provider, &snapshot.custom)?;
        if config(&exchange.runtime).holds_token(route.rest) {
            return Err(Refusal::bad_path(TOKEN_IN_PATH).into());
        }
        let credential = credentials::resolve(headers, upstream, snapshot, presented, options, exchange).await?;
        let url = upstream.url(&Target {
            account: route.account,
            rest: route.rest,
            query: &credential.query(self.query, exchange),
            base_override: config(&exchange.runtime).base_url(upstream.slug()),
            fal_target: headers.get("x-fal-target-url"),
            keyed: credential.replaces,
        })?;
        if let Upstream::Custom(provider) = upstream {
            let config = config(&exchange.runtime);
            resolver_worker::admit(provider, config.allow_internal_upstreams, &config.dns_over_https_url).await?;
        }
        exchange.key_limit = credential.limit.clone();
        let keep = Keep { wanted: options.retry.attempts > 1 || exchange.cache.is_on(), needed: credential.signs() };
        let by_model = snapshot.gateway.limits.are_by_model();
        let body = upstream_request::taken(asked, keep, by_model, exchange).await?;
        if exchange.call.request_type == RequestType::WebSocket || matches!(body, Taken::Stream(_)) {
            options.retry.attempts = 1;
        }
        let is_custom = matches!(upstream, Upstream::Custom(_));
        let target = stream_usage::Target { provider: upstream.slug(), is_custom, rest: route.rest, query: self.query };
        let body = stream_usage_worker::asked(body, &target, headers, snapshot, exchange);
        let mut outgoing = upstream_request::headers(asked, upstream, presented, &body, exchange);
        if exchange.call.usage_asked {
            stream_usage_worker::without_digests(&mut outgoing);
        }
        let url = credential.present(asked, url, &mut outgoing, &body, exchange).await?;
        Ok(Prepared::new(asked, url, &outgoing, body))
    }

    /// The answer that the cache has to this request.
    async fn kept_answer(&self, prepared: &Prepared, options: &Options, exchange: &mut Exchange) -> Option<Response> {
        if !exchange.cache.is_on() {
            return None;
        }
        let Self { route, snapshot, presented, .. } = self;
        let (url, query) = prepared.url.split_once('?').unwrap_or((&prepared.url, ""));
        let key = options.cache.as_ref().and_then(|policy| policy.key.as_deref());
        let asked = key::Asked {
            account: route.account,
            gateway: snapshot.gateway.key,
            generation: snapshot.gateway.cache.generation,
            caller: &presented.identity,
            credential: &cache_name(&exchange.call.credential, &exchange.call.provider, snapshot),
            provider: &exchange.call.provider.clone(),
            provider_version: upstream::version(route.provider, &snapshot.custom),
            method: &self.asked.method,
            url,
            query,
            headers: &self.asked.headers,
            carriers: &presented.carriers,
            with_cookies: exchange.passes_cookies,
            stream: exchange.call.facts.stream || model::asks_for_stream(route.rest),
            usage_asked: exchange.call.usage_asked,
            custom: key.map(|key| (key, snapshot.gateway.cache.purged_at(key))),
        };
        kept::look_up(&asked, &prepared.body, exchange).await
    }
}

// === impl Failed ===

impl Failed {
    /// The event that the attempt belongs to.
    pub fn event_id(&self) -> &str {
        &self.exchange.call.event_id
    }

    /// Which element of a universal request failed, if it did so because its provider is left alone.
    pub fn skipped_step(&self) -> Option<u32> {
        self.exchange
            .gateway_headers
            .iter()
            .any(|(name, _)| *name == circuits::HEADER)
            .then_some(self.exchange.call.step)
    }

    /// Why the request ends here, if it has caused as many calls as it may.
    pub fn capped(&self) -> Option<&str> {
        match &self.end {
            End::Refused(refusal) if refusal.code == TOO_MANY_CALLS => Some(&refusal.description),
            _ => None,
        }
    }

    fn is_refused_with(&self, code: u32) -> bool {
        matches!(&self.end, End::Refused(refusal) if refusal.code == code)
    }

    /// Leaves the row of an attempt whose failure the client is not told of.
    fn leave(self) {
        let Self { exchange, end } = self;
        let (refusal, failure) = match end {
            End::Answered(held) => return exchange.later(|exchange| held.log(exchange)),
            End::Unanswered(cause) => (Refusal::unreachable(""), Failure::Upstream(cause)),
            End::Refused(refusal) => {
                let failure = Failure::Gateway(refusal.description.clone());
                (refusal, failure)
            }
        };
        let outcome = Outcome { superseded: true, ..exchange::refused(&refusal, failure) };
        exchange.later(|exchange| exchange.log(outcome));
    }
}
