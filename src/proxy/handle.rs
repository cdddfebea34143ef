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
use crate::gateways::snapshot::Scope;
use crate::gateways::snapshot_worker;
use crate::http::headers::Headers;
use crate::http::message_worker::{self, Answer, Incoming};
use crate::http::refusal::{Refusal, TOO_MANY_CALLS};
use crate::http::response_headers;
use crate::http::router::Route;
use crate::limit::plan::Refused;
use crate::logs::call::{Call, Credential, Failure, Outcome, RequestType};
use crate::logs::crash_worker::Mark;
use crate::platform::{Around, console, now, pause, random};
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
use crate::proxy::exchange::{self, Job};
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
    scope: &'a Rc<Scope>,
    presented: &'a Presented,
    at: u64,
}

/// An attempt without an answer that the client should get while there are others to make.
pub struct Failed {
    job: Job,
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
pub async fn handle(asked: &Incoming, route: Route<'_>, query: &str, caller: Caller, around: &Rc<Around>) -> Response {
    let mut failures = Vec::new();
    let network = caller.network.or_else(|| network(&asked.headers, around));
    let caller = Caller { network, ..caller };
    let answered = attempt(asked, route, query, caller, around, &mut failures).await;
    conclude(answered, failures).await
}

/// Where a request came from. Not to be asked of what a request carries inside, such as the elements of a universal one.
pub fn network(headers: &Headers, around: &Around) -> Option<String> {
    wrong_tokens::told(headers, config(around).client_address_header.as_deref()).map(str::to_owned)
}

/// Tries a provider as often as the caller wants. What failed is added to `failures`; `None` means that there is nothing
/// else, and that one of them is to be the answer.
pub async fn attempt(
    asked: &Incoming,
    route: Route<'_>,
    query: &str,
    caller: Caller,
    around: &Rc<Around>,
    failures: &mut Vec<Failed>,
) -> Option<Response> {
    let at = now();
    let (query, capability) = capability::taken(query);
    let query = &*query;
    let granted = match &capability {
        Some(text) => Some(capability_worker::redeem(text, &route, query, &asked.method, around).await),
        None => None,
    };
    let is_granted = matches!(granted, Some(Ok(_)));
    let (scope, mut presented) = match authorised(&asked.headers, &route, caller.trusted || is_granted, around).await {
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
    let (real, fault) = match compat_worker::resolved(asked, &route, &scope.custom).await {
        Ok(real) => (real, None),
        Err(fault) => (None, Some(fault)),
    };
    let (asked, route) = real.as_ref().map_or((asked, route), |real| (&real.asked, real.route(route)));
    let arrival = Arrival { asked, route, query, scope: &scope, presented: &presented, at };
    let mut options = Options::parse(&asked.headers, &scope.gateway.settings, config(around).max_metadata_entries);
    options.believe(presented.let_in, &scope.gateway.settings);
    if let Some(SentWith::Kept(Some(alias))) = granted.map(|granted| granted.sent_with) {
        options.byok_alias = Some(alias);
    }
    let door = Door {
        origin: caller.origin,
        account: route.account.to_owned(),
        gateway: route.gateway.to_owned(),
        provider: route.provider.to_owned(),
        scope: Rc::clone(&scope),
        identity: presented.identity.clone(),
        token_travels: caller.token_travels || presented.travels(),
        target: asked.headers.get("x-fal-target-url").map(str::to_owned),
    };
    let may_be_kept = |policy: &Policy| cache::may_answer(policy, &asked.method, route.rest, &asked.headers);
    let mut job = Job {
        around: Rc::clone(around),
        call: Call { step: caller.step, evaluation_id: caller.evaluation_id, ..arrival.call(&options, around) },
        collect_log: options.collect_log,
        collect_payload: options.collect_payload && options.collect_log,
        cache: Cache::new(options.cache.clone().filter(may_be_kept)),
        admission: None,
        key_limit: None,
        navigates: caller.navigates || response_headers::navigates(&asked.headers),
        door: Rc::new(door),
        passes_cookies: scope.gateway.settings.provider_cookies,
        notes: notes(&options),
        mark: None,
        share: None,
        arrived: at,
        client,
    };
    job.mark = job.collect_log.then(|| Rc::new(Mark::new(&job.call.id)));
    if caller.by_message {
        job.call.request_type = RequestType::Message;
    }
    let prepared = match fault {
        Some(fault) => Err(fault),
        None => arrival.prepare(&mut options, &mut job).await,
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(NoBody::ClientLeft) => return Some(job.abandon()),
        Err(NoBody::Refused(refusal)) => {
            return fall_through(failures, job, refusal);
        }
    };
    let mut plan = options.retry;
    let is_head = asked.method == "HEAD";
    if let Some(answer) = arrival.kept_answer(&prepared, &options, &mut job).await {
        match response::give(Answer::new(answer), is_head, job).await {
            Ok(response) => return Some(response),
            Err((back, cause)) => {
                job = *back;
                kept::mistaken(&cause, &mut job);
            }
        }
    }
    let max_calls = scope.gateway.settings.max_calls;
    if caller.calls.get() >= max_calls {
        return fall_through(failures, job, Refusal::too_many_calls(max_calls));
    }
    if let Err(refusal) = circuits::check(&mut job, &prepared.url, &scope.gateway.settings) {
        return fall_through(failures, job, refusal);
    }
    let is_counted = failures.iter().any(|failed| failed.job.admission.is_some());
    // Where the messages of a WebSocket are understood, each response passes the limits by itself.
    let dialect = Dialect::of(route.rest).filter(|_| job.call.request_type == RequestType::WebSocket);
    let passed = match dialect {
        Some(_) => Ok(()),
        None => limits::pass(&mut job, &scope.gateway, &presented, is_counted).await,
    };
    if let Err(Refused { refusal, is_final }) = passed {
        prepared.discard().await;
        if is_final {
            let failure = Failure::Gateway(refusal.description.clone());
            return Some(job.refuse(&refusal, failure));
        }
        return fall_through(failures, job, refusal);
    }
    if let Err(refusal) = circuits::admit(&mut job, &prepared.url, &scope.gateway.settings) {
        return fall_through(failures, job, refusal);
    }
    loop {
        let number = job.call.attempt;
        caller.calls.set(caller.calls.get() + 1);
        let settings = &scope.gateway.settings;
        let asked_ms = plan.timeout(number, caller.is_followed);
        let patience = Patience::of(settings.first_byte_timeout, settings.idle_timeout, asked_ms);
        let sent = prepared.send(patience, &job.client).await;
        let who = || {
            let identity = Some(presented.identity.as_str()).filter(|_| presented.let_in);
            circuit_breaker::caller(identity, caller.network.as_deref())
        };
        if circuits::note(&job, &prepared.url, &scope.gateway.settings, &sent, who) {
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
                    (End::Answered(Box::new(Held::new(upstream, &job))), wait)
                } else {
                    let given = match dialect {
                        Some(dialect) if status == 101 => {
                            let caller = arrival.websocket_caller(caller.trusted);
                            session_worker::relayed(&upstream.response, &upstream.headers, dialect, caller, job)
                        }
                        _ => response::give(upstream, is_head, job).await,
                    };
                    match given {
                        Ok(response) => return Some(response),
                        Err((back, cause)) => {
                            job = *back;
                            (End::Unanswered(cause), plan.pause(number, None, random() as u64))
                        }
                    }
                }
            }
            Err(_) if job.client.aborted() => return Some(job.abandon()),
            Err(none) => (End::Unanswered(none.cause), plan.pause(number, None, random() as u64)),
        };
        // Without another attempt nothing is copied: a job holds the body for its row.
        let next = wait.map(|wait| (wait, job.another()));
        failures.push(Failed { job, end });
        let (wait, mut next) = next?;
        let is_last = caller.calls.get() >= max_calls;
        if !is_last {
            pause(wait).await;
        }
        next.begin_next();
        // What is not sent costs nothing; those before it are settled with their own rows.
        let unsent = |mut next: Job| {
            next.admission = None;
            next
        };
        if is_last {
            return fall_through(failures, unsent(next), Refusal::too_many_calls(max_calls));
        }
        if next.client.aborted() {
            return Some(unsent(next).abandon());
        }
        if let Err(Refused { refusal, .. }) = limits::pass_again(&mut next, &scope.gateway).await {
            return fall_through(failures, unsent(next), refusal);
        }
        job = next;
    }
}

/// Leaves a refusal by the gateway to whatever is tried next.
fn fall_through(failures: &mut Vec<Failed>, job: Job, refusal: Refusal) -> Option<Response> {
    failures.push(Failed { job, end: End::Refused(refusal) });
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
            chosen.job.warn(why);
        }
        chosen
    });
    let response = match (answered, chosen) {
        (Some(response), _) => response,
        (None, Some(Failed { job, end: End::Answered(held) })) => held.give(job).await,
        (None, Some(Failed { job, end: End::Refused(refusal) })) => {
            let failure = Failure::Gateway(refusal.description.clone());
            let agreed = failures.iter().all(|other| other.is_refused_with(refusal.code));
            match agreed {
                true => job.refuse(&refusal, failure),
                false => {
                    let all = causes(&failures, &job, &refusal.description);
                    job.refuse(&Refusal::unreachable(all), failure)
                }
            }
        }
        (None, Some(Failed { job, end: End::Unanswered(cause) })) => {
            let all = causes(&failures, &job, &unanswered(&job, &cause));
            job.refuse(&Refusal::unreachable(all), Failure::Upstream(cause))
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
fn causes(others: &[Failed], last: &Job, cause: &str) -> String {
    let said = |job: &Job, cause: &str| format!("step {}, attempt {}: {cause}", job.call.step, job.call.attempt);
    if others.is_empty() {
        return cause.to_owned();
    }
    let all = others.iter().map(|Failed { job, end }| match end {
        End::Answered(_) => said(job, "it answered with an error"),
        End::Unanswered(cause) => said(job, &unanswered(job, cause)),
        End::Refused(refusal) => said(job, &refusal.description),
    });
    all.chain([said(last, cause)]).collect::<Vec<String>>().join("; ")
}

fn unanswered(job: &Job, cause: &str) -> String {
    format!("{} did not answer: {cause}", job.call.provider)
}

/// Finds the gateway and checks that the caller may use it.
pub async fn authorised(
    headers: &Headers,
    route: &Route<'_>,
    trusted: bool,
    around: &Rc<Around>,
) -> Result<(Rc<Scope>, Presented), Refusal> {
    let admin = config(around).admin.as_ref().map_err(|reason| Refusal::unavailable(reason.clone()))?;
    let unreadable = |error: StoreError| {
        let line = serde_json::json!({ "level": "error", "event": "gateway_unreadable", "cause": error.0 });
        console::error(&line);
        Refusal::unavailable(
            "Tollgate's database does not answer, so the settings of the gateway are unknown. Try again.",
        )
    };
    let mut presented = presented::presented(headers, admin);
    let who =
        tokens_worker::identify(around, headers, &presented, config(around).client_address_header.as_deref()).await;
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
    let found = snapshot_worker::settings(around, route.account, route.gateway, presented.let_in).await;
    let scope = found.map_err(unreadable)?.ok_or_else(|| Refusal::unknown_gateway(route.account, route.gateway))?;
    if scope.gateway.settings.authentication && !presented.let_in {
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
        headers.get("origin").zip(scope.gateway.cors.as_ref()).is_some_and(|(from, cors)| cors.allows(from).is_some())
    };
    if !presented.let_in && presented::is_of_another_site(headers) && !may() {
        return Err(Refusal::of_another_site());
    }
    Ok((scope, presented))
}

/// What tells a credential from others in the key of a kept answer. A stored key's id does; its alias may be given to
/// another key.
fn cache_name(credential: &Credential, provider: &str, scope: &Scope) -> String {
    let id = match credential {
        Credential::Stored(alias) => scope.keys.iter().find(|key| key.provider == provider && key.alias == *alias),
        _ => None,
    };
    format!("{credential:?} {}", id.map_or("", |key| key.id.as_str()))
}

fn notes(options: &Options) -> Vec<(&'static str, String)> {
    let notes = [("cf-aig-metadata-dropped", &options.metadata.dropped), ("cf-aig-warning", &options.warning)];
    notes.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone())).collect()
}

// === impl Arrival ===

impl Arrival<'_> {
    /// What the log knows of the request so far.
    fn call(&self, options: &Options, around: &Around) -> Call {
        let Self { asked: Incoming { headers, .. }, route, .. } = self;
        let id = config(around).log_id(self.at, random(), options.collect_log);
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
            gateway: self.scope.gateway.key,
            shard: self.scope.gateway.shard,
            created_at: self.at,
            method: self.asked.method.clone(),
            provider: provider.chars().take(64).collect(),
            rest: route.rest.to_owned(),
            query: self.query.to_owned(),
            request_type: if upgrade { RequestType::WebSocket } else { RequestType::Native },
            metadata: options.metadata.clone(),
            custom_cost: options.custom_cost,
            prices: Rc::clone(&self.scope.prices),
            user_agent: headers.get("user-agent").map(str::to_owned),
            authentication: self.presented.let_in,
            request_content_type: headers.get("content-type").map(str::to_owned),
            request_size: headers.content_length(),
            facts: wire::request::RequestFacts::default(),
            runs_a_model: endpoint::runs_a_model(provider, &self.asked.method, route.rest, upgrade),
            usage_asked: false,
            may_lack_room: self.scope.gateway.settings.log_management.is_some(),
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
    async fn prepare(&self, options: &mut Options, job: &mut Job) -> Result<Prepared, NoBody> {
        let Self { asked, route, scope, presented, .. } = *self;
        let headers = &asked.headers;
        let upstream = Upstream::find(route.provider, &scope.custom)?;
        if config(&job.around).holds_token(route.rest) {
            return Err(Refusal::bad_path(TOKEN_IN_PATH).into());
        }
        let credential = credentials::resolve(headers, upstream, scope, presented, options, job).await?;
        let url = upstream.url(&Target {
            account: route.account,
            rest: route.rest,
            query: &credential.query(self.query, job),
            base_override: config(&job.around).base_url(upstream.slug()),
            fal_target: headers.get("x-fal-target-url"),
            keyed: credential.replaces,
        })?;
        if let Upstream::Custom(provider) = upstream {
            let config = config(&job.around);
            resolver_worker::admit(provider, config.allow_internal_upstreams, &config.dns_over_https_url).await?;
        }
        job.key_limit = credential.limit.clone();
        let keep = Keep { wanted: options.retry.attempts > 1 || job.cache.is_on(), needed: credential.signs() };
        let by_model = scope.gateway.limits.are_by_model();
        let body = upstream_request::taken(asked, keep, by_model, job).await?;
        if job.call.request_type == RequestType::WebSocket || matches!(body, Taken::Stream(_)) {
            options.retry.attempts = 1;
        }
        let is_custom = matches!(upstream, Upstream::Custom(_));
        let target = stream_usage::Target { provider: upstream.slug(), is_custom, rest: route.rest, query: self.query };
        let body = stream_usage_worker::asked(body, &target, headers, scope, job);
        let mut outgoing = upstream_request::headers(asked, upstream, presented, &body, job);
        if job.call.usage_asked {
            stream_usage_worker::without_digests(&mut outgoing);
        }
        let url = credential.present(asked, url, &mut outgoing, &body, job).await?;
        Ok(Prepared::new(asked, url, &outgoing, body))
    }

    /// The answer that the cache has to this request.
    async fn kept_answer(&self, prepared: &Prepared, options: &Options, job: &mut Job) -> Option<Response> {
        if !job.cache.is_on() {
            return None;
        }
        let Self { route, scope, presented, .. } = self;
        let (url, query) = prepared.url.split_once('?').unwrap_or((&prepared.url, ""));
        let key = options.cache.as_ref().and_then(|policy| policy.key.as_deref());
        let asked = key::Asked {
            account: route.account,
            gateway: scope.gateway.key,
            generation: scope.gateway.cache.generation,
            caller: &presented.identity,
            credential: &cache_name(&job.call.credential, &job.call.provider, scope),
            provider: &job.call.provider.clone(),
            provider_version: upstream::version(route.provider, &scope.custom),
            method: &self.asked.method,
            url,
            query,
            headers: &self.asked.headers,
            carriers: &presented.carriers,
            with_cookies: job.passes_cookies,
            stream: job.call.facts.stream || model::asks_for_stream(route.rest),
            usage_asked: job.call.usage_asked,
            custom: key.map(|key| (key, scope.gateway.cache.purged_at(key))),
        };
        kept::look_up(&asked, &prepared.body, job).await
    }
}

// === impl Failed ===

impl Failed {
    /// The event that the attempt belongs to.
    pub fn event_id(&self) -> &str {
        &self.job.call.event_id
    }

    /// Which element of a universal request failed, if it did so because its provider is left alone.
    pub fn skipped_step(&self) -> Option<u32> {
        self.job.notes.iter().any(|(name, _)| *name == circuits::HEADER).then_some(self.job.call.step)
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
        let Self { job, end } = self;
        let (refusal, failure) = match end {
            End::Answered(held) => return job.later(|job| held.log(job)),
            End::Unanswered(cause) => (Refusal::unreachable(""), Failure::Upstream(cause)),
            End::Refused(refusal) => {
                let failure = Failure::Gateway(refusal.description.clone());
                (refusal, failure)
            }
        };
        let outcome = Outcome { superseded: true, ..exchange::refused(&refusal, failure) };
        job.later(|job| job.log(outcome));
    }
}
