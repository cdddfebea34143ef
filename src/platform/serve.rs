//! From the runtime's request to one of the two planes.

use super::{Around, gateways, js, log_writer, now, pause, random, universal};
use crate::api;
use crate::auth;
use crate::control;
use crate::envelope::{ApiError, Reply};
use crate::id;
use crate::price;
use crate::proxy::{self, Caller};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::router::{self, Access, Endpoint, NoRoute, Plane, Route};
use js_sys::ArrayBuffer;
use serde_json::json;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Request, Response};

/// Bodies of the control plane are settings; none is longer than this, in bytes.
const MAX_BODY: u64 = 1_048_576;

/// How many logs of a deleted gateway go in one statement; D1 ends a statement after 30 s.
const DELETED_AT_ONCE: u32 = 2_000;

pub async fn request(request: Request, around: &Rc<Around>) -> Response {
    let url = request.url();
    let (origin, path, query) = split(&url);
    let method = request.method();
    let route = router::route(&method, path);
    if !matches!(&route, Ok(Route { access: Access::Open, .. }))
        && let Err(reason) = &around.config.admin
    {
        return js::response(&unconfigured(path, reason));
    }
    match route {
        Ok(Route { endpoint: Endpoint::Health, .. }) => js::response(&health(around)),
        Ok(route @ Route { endpoint: Endpoint::Proxy, .. }) => {
            proxy::handle(request, route, query, Caller::default(), around).await
        }
        Ok(route @ Route { endpoint: Endpoint::Universal, .. }) => universal::request(request, route, around).await,
        Ok(route) => js::response(&controlled(&request, route, origin, query, around).await),
        Err(NoRoute::NotFound(Plane::Data)) => {
            js::response(&Refusal::not_found(path.get(..200).unwrap_or(path)).reply())
        }
        Err(NoRoute::NotFound(Plane::Control)) => js::response(&ApiError::not_found().reply()),
        Err(NoRoute::MethodNotAllowed(Plane::Data, allowed)) if path.starts_with("/v1/") => {
            let allowed = allowed.join(", ");
            js::response(&Refusal::method_not_allowed(&method, &allowed).reply().with_header("allow", allowed))
        }
        Err(NoRoute::MethodNotAllowed(_, allowed)) => {
            js::response(&ApiError::method_not_allowed(&method).reply().with_header("allow", allowed.join(", ")))
        }
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

fn health(around: &Around) -> Reply {
    let lost = log_writer::lost();
    let version = env!("CARGO_PKG_VERSION");
    match &around.config.admin {
        Ok(_) => Reply::json(
            200,
            &json!({ "status": "ok", "version": version, "prices_as_of": price::AS_OF, "logs_lost": lost }),
        ),
        Err(reason) => Reply::json(
            200,
            &json!({ "status": "unconfigured", "reason": reason, "version": version, "logs_lost": lost }),
        ),
    }
}

fn unconfigured(path: &str, reason: &str) -> Reply {
    if path.starts_with("/v1/") { Refusal::unavailable(reason).reply() } else { ApiError::unavailable(reason).reply() }
}

async fn controlled(request: &Request, route: Route<'_>, origin: &str, query: &str, around: &Rc<Around>) -> Reply {
    let answered = async {
        admitted(request, around)?;
        carried_out(&body(request).await?, route, origin, query, around).await
    };
    replied(answered.await)
}

/// A request of the control plane by a Worker that the operator bound to this one: it needs no token.
pub async fn trusted(method: &str, path: &str, body: &[u8], around: &Rc<Around>) -> Reply {
    let answered = async {
        around.config.admin.as_ref().map_err(|reason| ApiError::unavailable(reason.clone()))?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let route = router::route(method, path).map_err(|_| ApiError::not_found())?;
        carried_out(body, route, "", query, around).await
    };
    replied(answered.await)
}

fn replied(answered: Result<Reply, ApiError>) -> Reply {
    answered.unwrap_or_else(|error| {
        if let Some(cause) = &error.cause {
            worker::console_error!("{}", json!({ "level": "error", "event": "request_failed", "cause": cause }));
        }
        error.reply()
    })
}

fn admitted(request: &Request, around: &Around) -> Result<(), ApiError> {
    let admin = around.config.admin.as_ref().map_err(|reason| ApiError::unavailable(reason.clone()))?;
    if auth::is_control_admin(&js::headers(&request.headers()), admin) {
        Ok(())
    } else {
        Err(ApiError::unauthenticated())
    }
}

async fn carried_out(
    body: &[u8],
    route: Route<'_>,
    origin: &str,
    query: &str,
    around: &Rc<Around>,
) -> Result<Reply, ApiError> {
    let store = around.database();
    let asked = control::Request {
        route,
        query: Query::parse(query.strip_prefix('?').unwrap_or(query)),
        body,
        origin,
        now_ms: now(),
        new_id: id::mint(now(), random()),
    };
    let reply = control::handle(&store, &asked, pause).await;
    // Also after a failure, which may be reported of a change that took effect.
    match route.endpoint {
        Endpoint::CreateGateway => gateways::forget_all(),
        Endpoint::UpdateGateway => gateways::forget(route.account, route.gateway),
        Endpoint::DeleteGateway => {
            gateways::forget(route.account, route.gateway);
            let kept = Rc::clone(around);
            around.context.wait_until(async move {
                if let Err(error) = api::gateways::sweep(&kept.database(), now(), DELETED_AT_ONCE).await {
                    worker::console_error!(
                        "{}",
                        json!({ "level": "error", "event": "sweep_failed", "cause": error.0 })
                    );
                }
            });
        }
        _ => {}
    }
    reply
}

async fn body(request: &Request) -> Result<Vec<u8>, ApiError> {
    if request.body().is_none() {
        return Ok(Vec::new());
    }
    let too_long = || ApiError::invalid(["body"], format!("The body must not be longer than {MAX_BODY} bytes"));
    // Read whole although it may be refused: an answer before the end of the request would cost the client its connection.
    let unreadable = |error: &wasm_bindgen::JsValue| {
        ApiError::invalid(["body"], format!("The body could not be read: {}", js::message(error)))
    };
    let promise = request.array_buffer().map_err(|error| unreadable(&error))?;
    let buffer: ArrayBuffer = JsFuture::from(promise).await.map_err(|error| unreadable(&error))?.unchecked_into();
    if u64::from(buffer.byte_length()) > MAX_BODY { Err(too_long()) } else { Ok(js::bytes(&buffer)) }
}
