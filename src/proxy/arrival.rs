//! A request at the door: what is known of it before it is sent, and what is sent.

use crate::auth::presented::Presented;
use crate::auth::secrets;
use crate::cache::{self, Policy, key};
use crate::config::isolate_worker::config;
use crate::dlp::Report;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::response_headers;
use crate::http::router::Route;
use crate::logs::call::{Call, Credential, RequestType};
use crate::logs::crash_worker::Mark;
use crate::logs::session;
use crate::platform::{Runtime, random};
use crate::providers::model::{self, endpoint};
use crate::providers::resolver_worker;
use crate::providers::stream_usage;
use crate::providers::table::{self, KeyForm, Target};
use crate::providers::upstream::{self, Upstream};
use crate::proxy::answer_links::Door;
use crate::proxy::cache::Cache;
use crate::proxy::caller::Caller;
use crate::proxy::exchange::Exchange;
use crate::proxy::guard;
use crate::proxy::options::Options;
use crate::proxy::request_body::{Changed, Taken};
use crate::proxy::request_screening;
use crate::proxy::screening::Screening;
use crate::proxy::traced::Traced;
use crate::proxy::unified::translation::Translation;
use crate::proxy::upstream_request::{self, Keep, Prepared, Unsent};
use crate::proxy::{credentials, session_worker, stream_usage_worker};
use crate::wire;
use futures_util::FutureExt;
use std::rc::Rc;
use web_sys::{AbortSignal, Response};

const TOKEN_IN_PATH: &str = "The path has a Tollgate token in it, which Tollgate sends to no provider. Send the token in the \
                             header cf-aig-authorization: Bearer <token>.";

/// A request at the door: what it says, where it is for, and whose it is.
pub struct Arrival<'a> {
    pub asked: &'a Incoming,
    pub route: Route<'a>,
    pub query: &'a str,
    pub snapshot: &'a Rc<GatewaySnapshot>,
    pub presented: &'a Presented,
    /// When it arrived.
    pub at: u64,
}

/// What tells a credential from others in the key of a kept answer. A stored key's id does; its alias may be given to
/// another key.
fn cache_name(credential: &Credential, provider: &str, snapshot: &GatewaySnapshot, is_shared: bool) -> String {
    // An answer that one of several keys got is as good for the others.
    if is_shared {
        let of_provider = snapshot.keys.iter().filter(|key| key.provider == provider && key.weight > 0);
        return of_provider.fold("Shared".to_owned(), |name, key| name + " " + &key.id);
    }
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
    /// The exchange that the request begins. From here on every way out leaves a row.
    pub fn exchange(
        &self,
        options: &Options,
        caller: &mut Caller,
        client: AbortSignal,
        runtime: &Rc<Runtime>,
    ) -> Exchange {
        let Self { asked, route, snapshot, presented, .. } = self;
        let evaluation_id = caller.evaluation_id.take();
        let mut call = Call { step: caller.step, evaluation_id, ..self.call(options, runtime) };
        if caller.by_message {
            call.request_type = RequestType::Message;
        }
        if caller.is_check {
            call.request_type = RequestType::Guardrail;
        }
        let may_be_kept = |policy: &Policy| cache::may_answer(policy, &asked.method, route.rest, &asked.headers);
        let door = Door {
            origin: caller.origin.take(),
            snapshot: Rc::clone(snapshot),
            provider: Door::provider_beside(&call, route.provider),
            identity: Rc::clone(&presented.identity),
            token_travels: caller.token_travels || presented.travels(),
            target: asked.headers.get("x-fal-target-url").map(Rc::from),
        };
        Exchange {
            runtime: Rc::clone(runtime),
            collect_log: options.collect_log,
            collect_payload: options.collect_payload && options.collect_log,
            cache: Cache::new(options.cache.clone().filter(may_be_kept)),
            admission: None,
            watch: snapshot.watch.clone(),
            counts_money: guard::counts_money(snapshot, presented),
            caps: Vec::new(),
            rates: Vec::new(),
            key_limit: None,
            is_check: caller.is_check,
            is_signed: caller.is_signed,
            judges: None,
            // A refusal before the body was looked at leaves a row, too.
            screening: snapshot.gateway.dlp.as_ref().filter(|_| !caller.is_check).map(Screening::of),
            navigates: caller.navigates || response_headers::navigates(&asked.headers),
            door,
            unified: None,
            passes_cookies: snapshot.gateway.settings.provider_cookies,
            gateway_headers: gateway_headers(options),
            mark: options.collect_log.then(|| Rc::new(Mark::new(&call.id))),
            traced: Traced::begin(snapshot, caller.trace, &asked.headers, self.at),
            allotment: None,
            arrived: self.at,
            client,
            call,
        }
    }

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
            session: [session::of_headers(headers), session::of_trace(headers, &self.snapshot.gateway.session_from)],
            session_from: Rc::clone(&self.snapshot.gateway.session_from),
            caller: self.presented.identity.to_string(),
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
            translated_from: None,
            catalogue: self.snapshot.catalogue.clone(),
            dlp: Report::default(),
            guardrails: None,
            route: None,
            route_id: None,
            user_agent: headers.get("user-agent").map(str::to_owned),
            authentication: self.presented.let_in,
            request_content_type: headers.get("content-type").map(str::to_owned),
            request_size: headers.content_length(),
            facts: wire::request::RequestFacts::default(),
            runs_a_model: endpoint::runs_a_model(provider, &self.asked.method, route.rest, upgrade),
            usage_asked: false,
            has_log_limit: self.snapshot.gateway.settings.log_management.is_some(),
            is_pushed: self.snapshot.gateway.settings.pushes_logs(),
            body: None,
            secrets: secrets::brought(headers, self.query),
        }
    }

    /// Who opens a WebSocket, as each of its responses has to know.
    #[inline(never)]
    pub fn websocket_caller(&self, trusted: bool) -> session_worker::Caller {
        session_worker::Caller {
            headers: self.asked.headers.clone(),
            account: self.route.account.to_owned(),
            gateway: self.route.gateway.to_owned(),
            trusted,
            identity: Rc::clone(&self.presented.identity),
            terms: self.presented.terms.clone(),
        }
    }

    /// Makes the upstream request: where it goes, with which headers, and with the client's own body.
    pub async fn prepare(&self, options: &mut Options, exchange: &mut Exchange) -> Result<Prepared, Unsent> {
        let Self { asked, route, snapshot, presented, .. } = *self;
        let headers = &asked.headers;
        let upstream = Upstream::find(route.provider, &snapshot.custom)?;
        if config(&exchange.runtime).holds_token(route.rest) {
            return Err(Refusal::bad_path(TOKEN_IN_PATH).into());
        }
        // Which of several keys it is may depend on what the body says.
        let shares = presented.let_in && credentials::are_shared(snapshot, upstream);
        let mut body = None;
        if shares {
            let needed = upstream.key_form() == KeyForm::Aws;
            body = Some(self.taken(options, true, needed, exchange).boxed_local().await?);
        }
        let credential = credentials::resolve(headers, upstream, snapshot, presented, options, &[], exchange).await?;
        let url = self.url(upstream, &credential, exchange)?;
        if let Upstream::Custom(provider) = upstream {
            let config = config(&exchange.runtime);
            resolver_worker::admit(provider, config.allow_internal_upstreams, &config.dns_over_https_url).await?;
        }
        let body = match body {
            Some(body) => body,
            None => self.taken(options, false, credential.signs(), exchange).boxed_local().await?,
        };
        if exchange.call.request_type == RequestType::WebSocket || matches!(body, Taken::Stream(_)) {
            options.retry.attempts = 1;
        }
        let is_custom = matches!(upstream, Upstream::Custom(_));
        let dlp = snapshot.gateway.dlp.as_ref().filter(|_| !exchange.is_check);
        let (body, changed) = match dlp {
            Some(dlp) => request_screening::of_request(body, headers, dlp, exchange).boxed_local().await?,
            None => (body, None),
        };
        let target = stream_usage::Target { provider: upstream.slug(), is_custom, rest: route.rest, query: self.query };
        let body = stream_usage_worker::asked(body, &target, headers, snapshot, exchange);
        let mut prepared = Prepared::new(asked, body, changed);
        self.present(credential, url, upstream, &mut prepared, exchange).await?;
        Ok(prepared)
    }

    /// Makes a request ready with the next of several stored keys.
    pub async fn present_next_key(
        &self,
        options: &Options,
        prepared: &mut Prepared,
        exchange: &mut Exchange,
    ) -> Result<(), Unsent> {
        let Self { asked, route, snapshot, presented, .. } = *self;
        let upstream = Upstream::find(route.provider, &snapshot.custom)?;
        let tried = &prepared.keys;
        let credential =
            credentials::resolve(&asked.headers, upstream, snapshot, presented, options, tried, exchange).await?;
        let url = self.url(upstream, &credential, exchange)?;
        self.present(credential, url, upstream, prepared, exchange).await
    }

    fn url(
        &self,
        upstream: Upstream<'_>,
        credential: &credentials::Credential,
        exchange: &Exchange,
    ) -> Result<String, Unsent> {
        let config = config(&exchange.runtime);
        Ok(upstream.url(&Target {
            account: self.route.account,
            rest: self.route.rest,
            query: &credential.query(self.query, exchange),
            base_override: config.base_url(upstream.slug()),
            fal_target: self.asked.headers.get("x-fal-target-url"),
            keyed: credential.replaces,
        })?)
    }

    /// Takes the client's body, and keeps it where it may be sent more than once.
    async fn taken(
        &self,
        options: &Options,
        shares: bool,
        needed: bool,
        exchange: &mut Exchange,
    ) -> Result<Taken, Unsent> {
        let Self { asked, snapshot, presented, .. } = self;
        let gateway = &snapshot.gateway;
        let wanted = options.retry.attempts > 1
            || exchange.cache.is_on()
            || shares
            || (gateway.dlp.is_some() && !exchange.is_check)
            || gateway.guardrails.is_some();
        let is_read = shares || gateway.limits.are_by_model() || guard::asks_for_models(snapshot, presented);
        upstream_request::taken(asked, Keep { wanted, needed }, is_read, exchange).await
    }

    /// Puts a credential into what is sent.
    async fn present(
        &self,
        credential: credentials::Credential,
        url: String,
        upstream: Upstream<'_>,
        prepared: &mut Prepared,
        exchange: &mut Exchange,
    ) -> Result<(), Unsent> {
        exchange.key_limit = credential.limit.clone();
        prepared.has_next_key =
            credential.has_next && prepared.is_kept() && exchange.call.request_type != RequestType::WebSocket;
        prepared.keys.extend(credential.shared.clone());
        let mut outgoing = upstream_request::headers(self.asked, upstream, self.presented, &prepared.body, exchange);
        if exchange.call.usage_asked || prepared.changed.is_some() {
            stream_usage_worker::without_digests(&mut outgoing);
        }
        if prepared.changed == Some(Changed::Unpacked) {
            outgoing.remove("content-encoding");
        }
        let mut url = url;
        if let Some(screening) = &exchange.screening {
            url = screening.address(&url).unwrap_or(url);
            for (name, value) in &self.asked.headers.0 {
                if !outgoing.names(name)
                    && let Some(other) = screening.header(name, value)
                {
                    outgoing.set(name.clone(), other);
                }
            }
        }
        let url = credential.present(self.asked, url, &mut outgoing, &prepared.body, exchange).await?;
        prepared.address(url, &outgoing);
        Ok(())
    }

    /// The answer that the cache has to this request.
    pub async fn kept_answer(
        &self,
        prepared: &Prepared,
        options: &Options,
        exchange: &mut Exchange,
    ) -> Option<Response> {
        if !exchange.cache.is_on() {
            return None;
        }
        let Self { route, snapshot, presented, .. } = self;
        let (url, query) = prepared.url.split_once('?').unwrap_or((&prepared.url, ""));
        let key = options.cache.as_ref().and_then(|policy| policy.key.as_deref());
        let asked = key::KeyInput {
            account: route.account,
            gateway: snapshot.gateway.key,
            generation: snapshot.gateway.cache.generation,
            caller: &presented.identity,
            credential: &cache_name(
                &exchange.call.credential,
                &exchange.call.provider,
                snapshot,
                !prepared.keys.is_empty(),
            ),
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
            translated_to: exchange.translation().map(Translation::to),
            custom: key.map(|key| (key, snapshot.gateway.cache.purged_at(key))),
        };
        let answer =
            exchange.cache.look_up(&asked, &prepared.body, &exchange.client, &exchange.runtime).boxed_local().await;
        exchange.call.cached = answer.is_some();
        answer
    }
}
