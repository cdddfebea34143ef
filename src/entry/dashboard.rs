//! The dashboard's own addresses: the page and its files, the session, and requests that are run from the page.

use crate::auth::access_worker;
use crate::auth::caller::{Caller, Permission};
use crate::auth::presented::{self, ADMIN, TokenDigest};
use crate::auth::session::{self, Holder, Place, Session};
use crate::auth::tokens_worker::{self, Who};
use crate::auth::{access, session_worker, wrong_tokens};
use crate::base::json::json;
use crate::config::isolate_worker::config;
use crate::gateways::gateway;
use crate::http::bundle::{self, Asked, PAGE_HEADERS};
use crate::http::envelope::{ApiError, Reply};
use crate::http::headers::Headers;
use crate::http::message_worker::{self, Incoming};
use crate::http::query;
use crate::http::router::{Endpoint, Route};
use crate::platform::{Runtime, assets, now};
use crate::proxy::guard::OriginFacts;
use crate::proxy::{caller, handle};
use serde_json::{Map, Value};
use std::rc::Rc;
use web_sys::{Request, RequestInit, Response, ResponseInit};

/// The headers that a request of the playground goes on with, beside those for the gateway. None of them is a credential.
const PLAYED: &[&str] = &[
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "content-encoding",
    "content-type",
    "openai-beta",
];

/// Who calls, and by what it was proven.
pub struct Identified {
    pub caller: Caller,
    /// The session of the cookie, where one was used.
    pub session: Option<Session>,
}

/// The answer to `GET /`: browsers are led to the page, and programs are told what is here.
pub fn root(asked: &Incoming, runtime: &Runtime) -> Response {
    let has_dashboard = config(runtime).dashboard;
    let is_browser = asked.headers.get("accept").is_some_and(|accept| accept.contains("text/html"));
    if is_browser && has_dashboard {
        let moved = Reply { status: 302, content_type: "", headers: Vec::new(), body: String::new(), object: None };
        return message_worker::response(&moved.with_header("location", "/dashboard/").with_header("vary", "accept"));
    }
    let mut shown = json!({
        "name": "tollgate",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/openapi.json",
        "health": "/health",
    });
    if let Some(shown) = shown.as_object_mut().filter(|_| has_dashboard) {
        shown.insert("dashboard".to_owned(), json!("/dashboard/"));
    }
    message_worker::response(&Reply::json(200, &shown).with_header("vary", "accept"))
}

/// `GET /dashboard` and `GET /dashboard/{rest...}`: the page, or one of its files.
pub async fn page(asked: &Incoming, route: &Route<'_>, runtime: &Runtime) -> Response {
    let wanted = bundle::asked(route.rest);
    let (name, content_type) = match wanted {
        Asked::Page => (bundle::PAGE, bundle::PAGE_TYPE),
        Asked::File { name, content_type } => (name, content_type),
        Asked::Missing => return no_file(),
    };
    let file = match assets::fetch(&runtime.env, name).await {
        Ok(Some(file)) => file,
        Ok(None) if wanted != Asked::Page => return no_file(),
        Ok(None) => {
            return not_there("it has not been built. `node scripts/setup.mjs build` builds it with the Worker");
        }
        Err(reason) => return not_there(&reason),
    };
    let mut others: Vec<(&'static str, String)> =
        PAGE_HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    others.push(("cache-control", wanted.cache_control().to_owned()));
    others.push(("vary", "accept-encoding".to_owned()));
    // The runtime compresses what says that it is compressed.
    if asked.headers.get("accept-encoding").is_some_and(|accepted| accepted.contains("gzip")) {
        others.push(("content-encoding", "gzip".to_owned()));
    }
    let init = ResponseInit::new();
    if let Ok(headers) = message_worker::made_headers(content_type, &others) {
        init.set_headers(&headers);
    }
    let body = file.body().filter(|_| asked.method != "HEAD");
    Response::new_with_opt_readable_stream_and_init(body.as_ref(), &init).unwrap_or_else(|_| Response::error())
}

fn no_file() -> Response {
    let reply = ApiError::not_found().reply().with_header("cache-control", Asked::Missing.cache_control());
    message_worker::response(&reply)
}

fn not_there(reason: &str) -> Response {
    message_worker::response(&ApiError::unavailable(format!("The dashboard's page is not there: {reason}")).reply())
}

/// Whether a request for the dashboard is one to answer at all.
pub fn is_off(route: &Route<'_>, runtime: &Runtime) -> bool {
    let is_own = matches!(
        route.endpoint,
        Endpoint::Dashboard | Endpoint::SignIn | Endpoint::SignOut | Endpoint::GetMe | Endpoint::Playground
    );
    is_own && !config(runtime).dashboard
}

/// Who calls the control plane: by a token, or from the page by its session, or as Cloudflare Access says.
pub async fn identified(asked: &Incoming, runtime: &Rc<Runtime>) -> Result<Identified, ApiError> {
    let config = config(runtime);
    let admin = config.admin.as_ref().map_err(|reason| ApiError::unavailable(reason.clone()))?;
    let headers = &asked.headers;
    let presented = presented::control(headers, admin);
    match tokens_worker::identify(runtime, headers, &presented, config.client_address_header.as_deref()).await? {
        Who::Known(caller) => return Ok(Identified { caller, session: None }),
        Who::Barred(seconds) => return Err(ApiError::barred(seconds)),
        // A wrong token is not made good by a cookie.
        Who::Stranger if presented.token.is_some() || presented.is_wrong => return Err(ApiError::unauthenticated()),
        Who::Stranger => {}
    }
    let place = Place::of_url(&asked.url);
    let found = match config.dashboard {
        true => session_worker::identify(runtime, &place.cookies(headers), &admin.session_key()).await?,
        false => None,
    };
    let found = match (found, &config.access, headers.get(access::HEADER)) {
        (Some((caller, session)), ..) => Some(Identified { caller, session: Some(session) }),
        (None, Some(access), Some(header)) => {
            access_worker::identify(access, header).await.map(|caller| Identified { caller, session: None })
        }
        _ => None,
    };
    let found = found.ok_or_else(ApiError::unauthenticated)?;
    if !session::is_own_request(&asked.method, headers, place) {
        return Err(ApiError::forbidden(
            "A browser sent this for another site. Requests that change something and carry no token have to come from the \
             dashboard itself, which the header sec-fetch-site: same-origin says",
        ));
    }
    Ok(found)
}

/// The header that prolongs a session, where that is due.
pub fn renewal(asked: &Incoming, identified: &Identified, runtime: &Runtime) -> Option<String> {
    let admin = config(runtime).admin.as_ref().ok()?;
    let renewed = identified.session.as_ref()?.renewed(now())?;
    Some(renewed.set_cookie(&admin.session_key(), Place::of_url(&asked.url)))
}

/// `POST /dashboard/session`: a token, or the code of a sign-in link, becomes a session.
pub async fn sign_in(asked: &Incoming, body: &[u8], runtime: &Rc<Runtime>) -> Result<Reply, ApiError> {
    let config = config(runtime);
    let admin = config.admin.as_ref().map_err(|reason| ApiError::unavailable(reason.clone()))?;
    if asked.headers.get("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(ApiError::forbidden("A page of another site may not sign in here"));
    }
    let address = wrong_tokens::address(&asked.headers, config.client_address_header.as_deref());
    if let Some(seconds) = session_worker::barred(&address) {
        return Err(ApiError::barred(seconds));
    }
    let given: Map<String, Value> = serde_json::from_slice(body).map_err(|_| expected())?;
    let text = |name: &str| given.get(name).and_then(Value::as_str).map(str::trim);
    let place = Place::of_url(&asked.url);
    let proven = match (text("token"), text("code")) {
        (Some(token), None) => by_token(token, admin, runtime).await?,
        // The code is in a terminal of this machine, so it is worth nothing anywhere else.
        (None, Some(code)) if place.is_loopback() => match admin.session_key().sign_in(code, now()) {
            Some((id, until)) => {
                session_worker::use_up(runtime, &id, until).await?.then_some((Caller::Admin, Holder::Admin))
            }
            None => None,
        },
        (None, Some(_)) => None,
        _ => return Err(expected()),
    };
    let Some((caller, holder)) = proven else {
        session_worker::failed(&address);
        return Err(ApiError::unauthenticated());
    };
    if !caller.sees_anything() {
        return Err(ApiError::forbidden(
            "The token lacks the permission read, read_metadata or edit, without which there is nothing to see",
        ));
    }
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
    let session = Session::new(holder, &entropy, now());
    let me = me(&caller, Some(&session), runtime).await?;
    Ok(Reply::result(json!({ "me": me })).with_header("set-cookie", session.set_cookie(&admin.session_key(), place)))
}

async fn by_token(
    token: &str,
    admin: &TokenDigest,
    runtime: &Rc<Runtime>,
) -> Result<Option<(Caller, Holder)>, ApiError> {
    let headers = Headers(vec![("authorization".to_owned(), format!("Bearer {token}"))]);
    let presented = presented::control(&headers, admin);
    if presented.is_admin {
        return Ok(Some((Caller::Admin, Holder::Admin)));
    }
    let Some(token) = &presented.token else { return Ok(None) };
    let digest = presented::digest_text(token);
    let found = tokens_worker::of_digest(runtime, &digest).await?;
    Ok(found.map(|token| (Caller::Token(token), Holder::Token(digest))))
}

fn expected() -> ApiError {
    ApiError::invalid(["body"], "Expected {\"token\": \"…\"} or {\"code\": \"…\"}")
}

/// `DELETE /dashboard/session`: the cookie goes, and a copy of it proves nothing any more.
pub async fn sign_out(asked: &Incoming, runtime: &Rc<Runtime>) -> Result<Reply, ApiError> {
    let place = Place::of_url(&asked.url);
    let cookies = place.cookies(&asked.headers);
    if !cookies.is_empty() && !session::is_own_request(&asked.method, &asked.headers, place) {
        return Err(ApiError::forbidden("A page of another site may not sign anybody out here"));
    }
    let admin = config(runtime).admin.as_ref().map_err(|reason| ApiError::unavailable(reason.clone()))?;
    for cookie in cookies {
        if let Some(session) = Session::open(cookie, &admin.session_key(), now()) {
            session_worker::end(runtime, &session).await?;
        }
    }
    let gone = Reply { status: 204, content_type: "", headers: Vec::new(), body: String::new(), object: None };
    Ok(gone.with_header("set-cookie", place.clear_cookie()))
}

/// `GET /dashboard/me`.
pub async fn show_me(identified: &Identified, runtime: &Runtime) -> Result<Reply, ApiError> {
    Ok(Reply::result(me(&identified.caller, identified.session.as_ref(), runtime).await?))
}

/// Who the caller is, what it may do, and where.
async fn me(caller: &Caller, session: Option<&Session>, runtime: &Runtime) -> Result<Value, ApiError> {
    let (kind, name, token_id, expires_at) = match caller {
        Caller::Admin => ("admin", "admin".to_owned(), None, None),
        Caller::Operator(id) => ("access", person(id), None, None),
        Caller::Token(token) if token.id.starts_with("access:") => {
            ("access", person(&token.id), None, token.expires_at)
        }
        Caller::Token(token) => {
            let row = crate::auth::tokens::named(&runtime.database(), &token.account, &token.id).await?;
            ("token", row.unwrap_or_else(|| token.id.clone()), Some(token.id.clone()), token.expires_at)
        }
    };
    let permissions: Vec<&str> =
        Permission::ALL.iter().filter(|(_, permission)| caller.has(*permission)).map(|(name, _)| *name).collect();
    let gateways = caller.gateways().and_then(|all| serde_json::from_str::<Value>(&all).ok());
    let accounts = match caller.account() {
        Some(account) => vec![account.to_owned()],
        None => gateway::accounts(&runtime.database()).await?,
    };
    let until = [session.map(|session| session.until), expires_at].into_iter().flatten().min();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": crate::base::timestamp::format(now()),
        "actor": {
            "kind": kind,
            "name": name,
            "token_id": token_id,
            "permissions": permissions,
            "account": caller.account(),
            "gateways": gateways,
            "expires_at": until.map(crate::base::timestamp::format),
        },
        "accounts": accounts,
        "features": { "playground": caller.has(Permission::Run), "bodies": caller.sees_bodies() },
    }))
}

fn person(id: &str) -> String {
    id.strip_prefix("access:").unwrap_or(id).to_owned()
}

/// `POST /dashboard/playground/{account}/{gateway}/{provider}/{rest...}`
///
/// What the same path below `/v1` would do, with keys that the gateway stores.
pub async fn play(
    asked: &Incoming,
    route: Route<'_>,
    query: &str,
    caller: &Caller,
    runtime: &Rc<Runtime>,
) -> Result<Response, ApiError> {
    if !gateway::is_account_id(route.account) {
        return Err(ApiError::not_found());
    }
    caller.admit(&route)?;
    let names = query.trim_start_matches('?').split('&').filter_map(|pair| pair.split('=').next());
    if let Some(name) = names.into_iter().find(|name| query::is_credential(name)) {
        return Err(ApiError::invalid(
            ["query", name],
            "The playground sends stored keys only. Store this one with POST …/provider_configs",
        ));
    }
    let is_kept =
        |name: &str| PLAYED.contains(&name) || (name.starts_with("cf-aig-") && name != "cf-aig-authorization");
    let headers = Headers(asked.headers.0.iter().filter(|(name, _)| is_kept(name)).cloned().collect());
    let made = || {
        let carried = web_sys::Headers::new()?;
        for (name, value) in &headers.0 {
            carried.set(name, value)?;
        }
        let init = RequestInit::new();
        init.set_headers(&carried);
        Request::new_with_request_and_init(&asked.request, &init)
    };
    let request = made().map_err(|error| ApiError::internal(crate::platform::js::message(&error)))?;
    let made = Incoming { request, method: asked.method.clone(), url: asked.url.clone(), headers };
    let identity = if caller.is_admin() { ADMIN } else { caller.actor() };
    let runs = caller::Caller {
        trusted: true,
        identity: Some(identity.into()),
        terms: caller.terms(),
        origin_facts: Some(Rc::new(OriginFacts::of(&asked.headers, runtime))),
        network: caller::network(&asked.headers, runtime),
        signal: Some(asked.request.signal()),
        origin: Some(config(runtime).public_origin(&asked.url)),
        ..caller::Caller::default()
    };
    let route = Route { endpoint: Endpoint::Proxy, ..route };
    Ok(handle::handle(&made, route, query, runs, runtime).await)
}
