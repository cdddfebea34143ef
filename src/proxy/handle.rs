//! One proxied request, from top to bottom: authorise, understand, call, answer, log.
//!
//! The bodies stay JavaScript values all the way. What the log needs is copied once, behind the client's back: the
//! client never waits for wasm to look at a byte.

use crate::config::isolate_worker::config;
use crate::http::message_worker::{self, Answer, Incoming};
use crate::http::refusal::Refusal;
use crate::http::router::{Access, Endpoint, Route};
use crate::logs::call::{Failure, RequestType};
use crate::platform::js::{self, Watch};
use crate::platform::{Runtime, blocks, now, random};
use crate::proxy::arrival::Arrival;
use crate::proxy::attempts::Attempts;
use crate::proxy::authorization::{self, Admitted};
use crate::proxy::caller::{Caller, network};
use crate::proxy::capability;
use crate::proxy::exchange::Exchange;
use crate::proxy::failures::{Failed, conclude};
use crate::proxy::guard::{self, OriginFacts};
use crate::proxy::judges::Asked;
use crate::proxy::limits::Refused;
use crate::proxy::models::listed_worker;
use crate::proxy::options::Options;
use crate::proxy::response;
use crate::proxy::responses::stored_worker;
use crate::proxy::routed_worker::Around;
use crate::proxy::session::Dialect;
use crate::proxy::unified::resolved_worker::Found;
use crate::proxy::unified::{Unified, resolved_worker};
use crate::proxy::upstream_request::{Prepared, Unsent};
use crate::proxy::{circuits, guardrails, limit_checks, routed_worker};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::pin::Pin;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{AbortSignal, Request, RequestInit, Response};

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

/// [`attempt`] for a model of a route.
fn attempting<'a>(
    asked: &'a Incoming,
    route: Route<'a>,
    query: &'a str,
    caller: Caller,
    runtime: &'a Rc<Runtime>,
    failures: &'a mut Vec<Failed>,
) -> LocalBoxFuture<'a, Option<Response>> {
    attempt(asked, route, query, caller, runtime, failures).boxed_local()
}

/// Tries a provider as often as the caller wants. What failed is added to `failures`; `None` means that there is nothing
/// else, and that one of them is to be the answer.
pub async fn attempt(
    asked: &Incoming,
    route: Route<'_>,
    query: &str,
    mut caller: Caller,
    runtime: &Rc<Runtime>,
    failures: &mut Vec<Failed>,
) -> Option<Response> {
    let at = now();
    let (query, capability) = capability::taken(query);
    let admitted = authorization::admit(asked, &route, (&query, capability.as_deref()), &caller, runtime).await;
    let Admitted { snapshot, presented, byok_alias } = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            let unified = Unified::of_refused(&route);
            let reply = unified.map_or_else(|| refusal.reply(), |unified| unified.reply(&refusal));
            return Some(message_worker::response(&reply));
        }
    };
    if let Some(reply) = listed_worker::answered(asked, &route, &query, (&snapshot, &presented), runtime) {
        return Some(message_worker::response(&reply));
    }
    if let Some(reply) = stored_worker::answered(asked, &route, &query, (&snapshot, &presented), runtime)
        && let Some(reply) = reply.await
    {
        return Some(message_worker::response(&reply));
    }
    let client = caller.signal.take().unwrap_or_else(|| asked.request.signal());

    let hop = caller.hop.take();
    let known = (&*snapshot, &presented, hop.as_deref());
    let resolved = resolved_worker::resolved(asked, &route, &query, known, runtime).await;
    let (real, fault) = match resolved {
        Ok(Found::Native) => (None, None),
        Ok(Found::Resolved(real)) => (Some(real), None),
        Ok(Found::Routed(begun)) => {
            let around = Around { asked, route, query: &query, snapshot: &snapshot, presented: &presented, attempting };
            let caller = Caller { signal: Some(client), ..caller };
            return routed_worker::walked(*begun, &around, caller, runtime, failures).boxed_local().await;
        }
        Err(fault) => (None, Some(fault)),
    };
    let client_headers = &asked.headers;
    let (asked, route) = real.as_ref().map_or((asked, route), |real| (&real.asked, real.route(route)));
    let settings = &snapshot.gateway.settings;
    let mut options = Options::parse(&asked.headers, settings, config(runtime).max_metadata_entries);
    options.believe(presented.let_in, settings);
    if let Some(terms) = &presented.terms {
        options.metadata.pin(&terms.metadata, config(runtime).max_metadata_entries);
    }
    options.byok_alias = byok_alias.or(options.byok_alias);
    let sent_query = real.as_ref().map_or(&*query, |real| real.query(&query));
    let arrival = Arrival { asked, route, query: sent_query, snapshot: &snapshot, presented: &presented, at };
    let mut exchange = arrival.exchange(&options, &mut caller, client, runtime);
    match &real {
        Some(real) => real.tell(&mut exchange),
        None => exchange.unified = Unified::of_refused(&route).map(Rc::new),
    }
    if let Some(hop) = &hop {
        hop.limit(&mut options);
        hop.tell(&mut exchange);
    }

    let prepared = match fault {
        Some(fault) => Err(fault),
        None => arrival.prepare(&mut options, &mut exchange).await,
    };
    let mut prepared = match prepared {
        Ok(prepared) => prepared,
        Err(Unsent::ClientLeft) => return Some(exchange.abandon()),
        Err(Unsent::Refused(refusal)) => return refused(failures, exchange, refusal),
    };
    // Where the messages of a WebSocket are understood, each response passes the guard and the limits by itself.
    let dialect = Dialect::of(route.rest).filter(|_| exchange.call.request_type == RequestType::WebSocket);
    // Which model judges is up to the gateway, and not to the caller.
    if dialect.is_none() && !exchange.is_check {
        let whence =
            || caller.origin_facts.clone().unwrap_or_else(|| Rc::new(OriginFacts::of(client_headers, runtime)));
        if let Err(refusal) = guard::pass(&mut exchange, &snapshot, &presented, whence).await {
            prepared.discard().await;
            return refused(failures, exchange, refusal);
        }
    }
    if let Some(kept) = arrival.kept_answer(&prepared, &options, &mut exchange).await {
        match given_as_kept(kept, asked.method == "HEAD", exchange).await {
            Ok(response) => return Some(response),
            Err(back) => exchange = *back,
        }
    }
    let passed = loop {
        match may_be_sent(&arrival, &prepared, (&caller, dialect), failures, &mut exchange).await {
            // The limit of one of several stored keys: the next may have some left.
            Err(Refused { is_of_key: true, .. }) if prepared.has_next_key => {
                let next = arrival.present_next_key(&options, &mut prepared, &mut exchange).boxed_local().await;
                match next {
                    Ok(()) => {}
                    Err(Unsent::ClientLeft) => return Some(exchange.abandon()),
                    Err(Unsent::Refused(refusal)) => return refused(failures, exchange, refusal),
                }
            }
            passed => break passed,
        }
    };
    match passed {
        Ok(()) => {}
        Err(Refused { refusal, is_final: false, .. }) => return refused(failures, exchange, refusal),
        Err(Refused { refusal, is_final: true, .. }) => {
            let failure = Failure::Gateway(refusal.description.clone());
            return Some(exchange.refuse(&refusal, failure));
        }
    }
    if let Some(traced) = &mut exchange.traced {
        traced.url = Some(prepared.url.as_str().into());
    }
    let (arrival, caller, plan) = (&arrival, &caller, options.retry);
    Attempts { arrival, caller, prepared, options: &options, plan, by_key: 0, dialect }.make(exchange, failures).await
}

/// Leaves a refusal by the gateway to whatever is tried next.
fn refused(failures: &mut Vec<Failed>, exchange: Exchange, refusal: Refusal) -> Option<Response> {
    failures.push(Failed::refused(exchange, refusal));
    None
}

/// Gives an answer of the cache. One that cannot be given counts as none.
async fn given_as_kept(kept: Response, is_head: bool, exchange: Exchange) -> Result<Response, Box<Exchange>> {
    response::give(Answer::new(kept), is_head, exchange).await.map_err(|(mut exchange, cause)| {
        exchange.cache.mistaken(&cause);
        exchange.call.cached = false;
        exchange
    })
}

/// Whether the caller has calls left, the provider is not left alone, and the limits let the request pass.
async fn may_be_sent(
    arrival: &Arrival<'_>,
    prepared: &Prepared,
    (caller, dialect): (&Caller, Option<Dialect>),
    failures: &[Failed],
    exchange: &mut Exchange,
) -> Result<(), Refused> {
    let may_be_tried_elsewhere = |refusal| Refused { refusal, is_final: false, is_of_key: false };
    let gateway = &arrival.snapshot.gateway;
    let max_calls = gateway.settings.max_calls;
    if caller.calls.get() >= max_calls {
        return Err(may_be_tried_elsewhere(Refusal::too_many_calls(max_calls)));
    }
    circuits::check(exchange, &prepared.url, &gateway.settings).map_err(may_be_tried_elsewhere)?;
    if dialect.is_none() {
        // What guardrails ask is counted with the request that it is about.
        let is_counted = exchange.is_check || failures.iter().any(|failed| failed.exchange.admission.is_some());
        if let Err(refused) = limit_checks::pass(exchange, gateway, arrival.presented, is_counted).await {
            prepared.discard().await;
            return Err(refused);
        }
    }
    if let Some(guardrails) = gateway.guardrails.as_ref().filter(|_| !exchange.is_check) {
        let judged = guardrails::prompt(arrival, &prepared.body, guardrails, judge, exchange).boxed_local().await;
        if let Err(refusal) = judged {
            prepared.discard().await;
            return Err(Refused { refusal, is_final: true, is_of_key: false });
        }
    }
    circuits::admit(exchange, &prepared.url, &gateway.settings).map_err(may_be_tried_elsewhere)
}

/// A model that judges has given no verdict when it takes longer, in milliseconds.
const PATIENCE_MS: u32 = 3_000;

/// An answer of such a model that is longer is no verdict, in bytes.
const MAX_SAID: u64 = 64 * 1024;

/// Asks a model that judges as any application would, so that its call has a row of its own, under the event of the request that it
/// is about, and a price.
fn judge(asked: Asked) -> Pin<Box<dyn Future<Output = Result<String, String>>>> {
    Box::pin(async move {
        let said = |error: JsValue| js::message(&error);
        let headers = web_sys::Headers::new().map_err(said)?;
        for (name, value) in [
            ("content-type", "application/json"),
            ("cf-aig-event-id", &asked.event_id),
            ("cf-aig-skip-cache", "true"),
            ("cf-aig-max-attempts", "1"),
        ] {
            headers.set(name, value).map_err(said)?;
        }
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(&asked.question.body.to_string()));
        let request = Request::new_with_str_and_init("https://tollgate/", &init).map_err(said)?;
        let route = Route {
            endpoint: Endpoint::Proxy,
            access: Access::Gateway,
            account: &asked.account,
            gateway: &asked.gateway,
            provider: &asked.question.provider,
            id: "",
            version: "",
            rest: &asked.question.path,
        };
        let caller = Caller {
            trusted: true,
            is_check: true,
            is_signed: asked.question.is_signed,
            trace: asked.trace.map(|trace| trace.within(random(), now())),
            signal: Some(AbortSignal::timeout_with_u32(PATIENCE_MS)),
            ..Caller::default()
        };
        let answer = handle(&Incoming::new(request), route, "", caller, &asked.runtime).await;
        let status = answer.status();
        let body = match answer.body() {
            None => String::new(),
            Some(stream) => {
                let (buffer, _, _share) =
                    blocks::beginning(&stream, MAX_SAID, &Watch::default()).await.map_err(said)?;
                String::from_utf8_lossy(&js::bytes(&buffer)).into_owned()
            }
        };
        match status {
            200..300 => Ok(body),
            499 => Err(format!("it did not answer within {PATIENCE_MS} ms")),
            status => Err(format!("it answered {status}")),
        }
    })
}
