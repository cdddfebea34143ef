//! From the runtime's request to one of the two planes.

use crate::api::control;
use crate::api::custom_providers::Guard;
use crate::api::effect::Handled;
use crate::api::log_ingest;
use crate::auth::caller::Caller;
use crate::base::id;
use crate::base::json::json;
use crate::catalogue::table;
use crate::config::isolate_worker::config;
use crate::entry::batches;
use crate::entry::cors;
use crate::entry::cron;
use crate::entry::dashboard;
use crate::entry::effects;
use crate::entry::openapi;
use crate::entry::reply;
use crate::entry::shell::RuntimeShell;
use crate::feedback::attach_worker;
use crate::http::cors::named_gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::http::message_worker;
use crate::http::message_worker::Incoming;
use crate::http::query::Query;
use crate::http::refusal::Refusal;
use crate::http::router::{self, Access, Endpoint, NoRoute, Plane, Route};
use crate::logs::writer_worker;
use crate::platform::blocks::{self, Untaken};
use crate::platform::build;
use crate::platform::js;
use crate::platform::{Runtime, console, now, random, within};
use crate::providers::resolver::Lookup;
use crate::proxy::handle;
use crate::proxy::unified::door::AI;
use crate::proxy::{caller, universal_worker, websocket_worker};
use futures_util::FutureExt;
use std::rc::Rc;
use web_sys::{Request, Response};

/// Bodies of the control plane are settings; none is longer than this, in bytes.
const MAX_BODY: u64 = 1_048_576;

/// How long they may take to arrive, in seconds.
const BODY_SECONDS: u64 = 30;

pub async fn request(request: Request, runtime: &Rc<Runtime>) -> Response {
    let asked = Incoming::new(request);
    let response = answered(&asked, runtime).await;
    let (_, path, _) = split(&asked.url);
    cors::let_read(&asked, path, &response, runtime).await;
    response
}

async fn answered(asked: &Incoming, runtime: &Rc<Runtime>) -> Response {
    let (origin, path, query) = split(&asked.url);
    #[cfg(feature = "panic-on-demand")]
    crate::entry::panicking::on_demand(path);
    if !config(runtime).allowed_hosts.allow(asked.headers.get("host")) {
        return message_worker::response(&misdirected(path, asked.headers.get("host").unwrap_or_default()));
    }
    let method = asked.method.as_str();
    let route = router::route(method, path);
    if !matches!(&route, Ok(Route { access: Access::Open, .. }))
        && let Err(reason) = &config(runtime).admin
    {
        return message_worker::response(&unconfigured(path, reason));
    }
    if let Ok(route) = &route
        && dashboard::is_off(route, runtime)
    {
        return message_worker::response(&ApiError::not_found().reply());
    }
    match route {
        Ok(Route { endpoint: Endpoint::Root, .. }) => dashboard::root(asked, runtime),
        Ok(route @ Route { endpoint: Endpoint::Dashboard, .. }) => {
            dashboard::page(asked, &route, runtime).boxed_local().await
        }
        Ok(Route { endpoint: Endpoint::Health, .. }) => message_worker::response(&health(runtime)),
        Ok(Route { endpoint: Endpoint::OpenApi, .. }) => openapi::document(runtime).boxed_local().await,
        Ok(route @ Route { endpoint: Endpoint::Proxy, .. }) => {
            let origin = Some(config(runtime).public_origin(&asked.url));
            let caller = caller::Caller { origin, ..caller::Caller::default() };
            let answer = handle::handle(asked, route, query, caller, runtime).await;
            batches::behind(asked, &route, &answer, runtime);
            answer
        }
        Ok(route @ Route { endpoint: Endpoint::AccountAi, .. }) => {
            let route = Route { gateway: named_gateway(&asked.headers), provider: AI, ..route };
            handle::handle(asked, route, query, caller::Caller::default(), runtime).boxed_local().await
        }
        Ok(route @ Route { endpoint: Endpoint::Universal, .. }) => {
            universal_worker::request(asked, route, runtime).boxed_local().await
        }
        Ok(route @ Route { endpoint: Endpoint::Socket, .. }) => {
            websocket_worker::opened(asked, route, runtime).boxed_local().await
        }
        Ok(route) => controlled(asked, route, origin, query, runtime).boxed_local().await,
        Err(NoRoute::Asked(allowed)) => {
            message_worker::response(&cors::asked(asked, path, &allowed.join(", "), runtime).boxed_local().await)
        }
        Err(NoRoute::NotFound(Plane::Data)) => {
            message_worker::response(&Refusal::not_found(path.get(..200).unwrap_or(path)).reply())
        }
        Err(NoRoute::NotFound(Plane::Control)) => message_worker::response(&ApiError::not_found().reply()),
        Err(NoRoute::MethodNotAllowed(Plane::Data, allowed)) if path.starts_with("/v1/") => {
            let allowed = allowed.join(", ");
            message_worker::response(
                &Refusal::method_not_allowed(method, &allowed).reply().with_header("allow", allowed),
            )
        }
        Err(NoRoute::MethodNotAllowed(_, allowed)) => message_worker::response(
            &ApiError::method_not_allowed(method).reply().with_header("allow", allowed.join(", ")),
        ),
    }
}

/// `(scheme and host, path, query with its '?')`.
fn split(url: &str) -> (&str, &str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    let (origin, rest) = url.split_at_checked(path).unwrap_or((url, ""));
    let (path, query) = rest.find('?').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
    (origin, if path.is_empty() { "/" } else { path }, query)
}

/// `GET /health`
fn health(runtime: &Runtime) -> Reply {
    let (lost, cut) = writer_worker::lost();
    let aside = cron::aside();
    let version = env!("CARGO_PKG_VERSION");
    match &config(runtime).admin {
        Ok(_) => Reply::json(
            200,
            &json!({ "status": if writer_worker::is_losing() { "degraded" } else { "ok" }, "version": version, "wasm_sha256": build::wasm_sha256(), "prices_as_of": table::AS_OF, "logs_lost": lost, "bodies_lost": cut, "rows_put_aside": aside }),
        ),
        Err(reason) => Reply::json(
            200,
            &json!({ "status": "unconfigured", "reason": reason, "version": version, "wasm_sha256": build::wasm_sha256(), "logs_lost": lost, "bodies_lost": cut, "rows_put_aside": aside }),
        ),
    }
}

fn unconfigured(path: &str, reason: &str) -> Reply {
    match is_for_models(path) {
        true => Refusal::unavailable(reason).reply(),
        false => ApiError::unavailable(reason).reply(),
    }
}

fn misdirected(path: &str, host: &str) -> Reply {
    let refusal = Refusal::misdirected(host);
    if is_for_models(path) { refusal.reply() } else { ApiError::misdirected(refusal.description.as_str()).reply() }
}

/// Whether a path is one of those that applications call.
fn is_for_models(path: &str) -> bool {
    path.starts_with("/v1/") || (path.contains("/accounts/") && router::plane(path) == Plane::Data)
}

async fn controlled(
    incoming: &Incoming,
    route: Route<'_>,
    origin: &str,
    query: &str,
    runtime: &Rc<Runtime>,
) -> Response {
    let answered = async {
        match route.endpoint {
            Endpoint::SignIn => {
                let body = body(&incoming.request, MAX_BODY, BODY_SECONDS).await?;
                return Ok(message_worker::response(&dashboard::sign_in(incoming, &body, runtime).await?));
            }
            Endpoint::SignOut => return Ok(message_worker::response(&dashboard::sign_out(incoming, runtime).await?)),
            _ => {}
        }
        let identified = dashboard::identified(incoming, runtime).await?;
        let response = carried(incoming, route, origin, query, &identified, runtime).await?;
        if let Some(cookie) = dashboard::renewal(incoming, &identified, runtime) {
            let _ = response.headers().append("set-cookie", &cookie);
        }
        Ok(response)
    };
    let response = answered.await.unwrap_or_else(|error| message_worker::response(&refused(error)));
    if response.status() != 101 && route.endpoint != Endpoint::Playground {
        // What is answered is for this caller and this moment.
        let _ = response.headers().set("cache-control", "no-store");
    }
    response
}

/// A request of the control plane whose caller is known.
async fn carried(
    incoming: &Incoming,
    route: Route<'_>,
    origin: &str,
    query: &str,
    identified: &dashboard::Identified,
    runtime: &Rc<Runtime>,
) -> Result<Response, ApiError> {
    let caller = &identified.caller;
    match route.endpoint {
        Endpoint::GetMe => return Ok(message_worker::response(&dashboard::show_me(identified, runtime).await?)),
        Endpoint::Playground => return dashboard::play(incoming, route, query, caller, runtime).await,
        _ => {}
    }
    let asked = asked(caller, route, origin, query, runtime)?;
    if route.endpoint == Endpoint::ExportLogs && asked.query.get("limit").is_none() {
        writer_worker::flush(runtime, attach_worker::written).await;
        let (export, shard) = control::export(&runtime.database(), &asked).await?;
        return Ok(reply::exported(export, shard, Rc::clone(runtime)));
    }
    let most = if asked.route.endpoint == Endpoint::IngestLogs { log_ingest::MAX_BODY } else { MAX_BODY };
    let body = body(&incoming.request, most, BODY_SECONDS).await?;
    let header = |name| incoming.headers.get(name);
    let reply = carried_out(
        control::Request { body: &body, if_match: header("if-match"), accept: header("accept"), ..asked },
        runtime,
    )
    .await?;
    match &reply.object {
        Some(span) => reply::streamed(&reply, span, runtime).await,
        None => Ok(message_worker::response(&reply)),
    }
}

/// A request of the control plane by a Worker that the operator bound to this one: it needs no token.
pub async fn trusted(method: &str, path: &str, body: &[u8], runtime: &Rc<Runtime>) -> Reply {
    let answered = async {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let route = router::route(method, path).map_err(|_| ApiError::not_found())?;
        let asked = asked(&Caller::Admin, route, "", query, runtime)?;
        carried_out(control::Request { body, ..asked }, runtime).await
    };
    answered.await.unwrap_or_else(refused)
}

fn refused(error: ApiError) -> Reply {
    if let Some(cause) = &error.cause {
        console::error(&json!({ "level": "error", "event": "request_failed", "cause": cause }));
    }
    error.reply()
}

/// A request as the control plane takes it, still without its body.
fn asked<'a>(
    caller: &'a Caller,
    route: Route<'a>,
    origin: &'a str,
    query: &str,
    runtime: &'a Runtime,
) -> Result<control::Request<'a>, ApiError> {
    let admin = config(runtime).admin.as_ref().map_err(|reason| ApiError::unavailable(reason.clone()))?;
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
    Ok(control::Request {
        route,
        query: Query::parse(query.strip_prefix('?').unwrap_or(query)),
        body: &[],
        if_match: None,
        accept: None,
        caller,
        origin,
        now_ms: now(),
        new_id: id::mint(now(), random()),
        entropy,
        mark: admin.mark_key(),
        metadata_entries: config(runtime).max_metadata_entries,
        bounds: &config(runtime).bounds,
        guard: Guard { internal_allowed: config(runtime).allow_internal_upstreams, found: Lookup::NotAsked },
    })
}

async fn carried_out(asked: control::Request<'_>, runtime: &Rc<Runtime>) -> Result<Reply, ApiError> {
    // A caller finds what it has done, and of several logs with the same event id the newest is meant.
    writer_worker::flush(runtime, attach_worker::written).await;
    let Handled { reply, effects } = control::handle(&runtime.databases(), &RuntimeShell(runtime), &asked).await;
    effects::perform(effects, runtime).await;
    reply
}

/// Takes in a body, which has so many seconds to arrive.
async fn body(request: &Request, most: u64, seconds: u64) -> Result<Vec<u8>, ApiError> {
    if request.body().is_none() {
        return Ok(Vec::new());
    }
    let too_long = || ApiError::too_large(format!("The body must not be longer than {most} bytes"));
    let whole = within(seconds * 1_000, blocks::bounded(request, most, 1)).await;
    let (whole, _share) = whole.ok_or_else(|| ApiError::too_slow(seconds))?.map_err(|untaken| match untaken {
        Untaken::NoRoom => ApiError::unavailable(
            "Tollgate is taking in so many long bodies just now that there is no memory for this one. Try again in a moment.",
        ),
        Untaken::TooLong => too_long(),
        Untaken::Broken(error) => {
            ApiError::invalid(["body"], format!("The body could not be read: {}", js::message(&error)))
        }
    })?;
    Ok(js::bytes(&whole))
}
