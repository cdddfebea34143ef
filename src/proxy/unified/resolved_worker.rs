//! A request of the unified API becomes one to the provider that its model names, before anything else is asked about it.

use crate::auth::presented::{self, Presented};
use crate::config::isolate_worker::config;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::Edits;
use crate::http::message_worker::{self, Incoming};
use crate::http::refusal::Refusal;
use crate::http::router::Route;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::blocks::{self, Untaken};
use crate::platform::{Runtime, js};
use crate::providers::fault::Fault;
use crate::providers::table::{COMPAT, KeyForm};
use crate::proxy::exchange::Exchange;
use crate::proxy::hop::Hop;
use crate::proxy::models::task::{self, Sent, Task};
use crate::proxy::reach::Reach;
use crate::proxy::responses::{self as asked_for, stored_worker};
use crate::proxy::routed_worker::Begun;
use crate::proxy::unified::Unified;
use crate::proxy::unified::door::{self, AI, Door};
use crate::proxy::unified::headers;
use crate::proxy::unified::plan::{self, Asked, Mode, Past, Plan};
use crate::proxy::unified::translation::Translation;
use crate::proxy::upstream_request::{MAX_KEPT, Unsent};
use crate::routes::deployed;
use crate::translate::Format;
use crate::wire::unpack_worker;
use futures_util::FutureExt;
use js_sys::Uint8Array;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use web_sys::{Request, RequestInit};

/// How a caller wants its request translated.
const MODE: &str = "cf-aig-translate";

/// How often the body of a request is in memory while it is translated: as it came, as it is read, and as it goes on.
const TIMES: u64 = 4;

/// What errors call it.
const UNIFIED: &str = "the unified API";

/// A longer request is not translated, in bytes.
const MAX_TRANSLATED: u64 = 12 * 1024 * 1024;

pub struct Resolved {
    pub asked: Incoming,
    pub unified: Rc<Unified>,
    /// What was left out of the request; empty where nothing was.
    pub dropped: String,
    provider: String,
    rest: String,
    query: Option<&'static str>,
    /// Room for the body as it came and as it is read.
    _share: GrowingAllotment,
}

/// What a caller is who asks at an address of the unified API.
struct Caller<'a> {
    snapshot: &'a GatewaySnapshot,
    presented: &'a Presented,
    query: &'a str,
    hop: Option<&'a Hop>,
    runtime: &'a Runtime,
}

/// What a request turns out to be.
pub enum Found {
    /// One that names its provider in the path.
    Native,
    Resolved(Resolved),
    /// One whose model is a dynamic route.
    Routed(Box<Begun>),
}

/// The request and the provider behind it. `hop` is the model that a route has chosen for it.
pub async fn resolved(
    asked: &Incoming,
    route: &Route<'_>,
    query: &str,
    (snapshot, presented, hop): (&GatewaySnapshot, &Presented, Option<&Hop>),
    runtime: &Runtime,
) -> Result<Found, Unsent> {
    if let Some(refusal) = hop.and_then(|hop| hop.refusal.clone()) {
        return Err(refusal.into());
    }
    let caller = Caller { snapshot, presented, query, hop, runtime };
    if route.provider == AI
        && asked.method == "POST"
        && let Some(task) = task::of_ai(route.rest)
    {
        return tasked(asked, &task, &caller).boxed_local().await.map(Found::Resolved);
    }
    if route.provider == AI
        && let Some((id, below)) = asked_for::of_openai(route.rest, &asked.method)
    {
        return forwarded(asked, &id, below, &caller).map(Found::Resolved).map_err(Unsent::from);
    }
    let door = match route.provider {
        COMPAT => door::of_compat(route.rest).ok_or_else(|| {
            Refusal::bad_path("compat serves chat/completions only; call the provider by its own name for the rest")
        })?,
        AI if asked.method == "POST" => door::of_ai(route.rest).ok_or_else(|| unserved(route.rest))?.asked(query),
        AI => return Err(unserved(route.rest).into()),
        _ => return Ok(Found::Native),
    };
    understood(asked, route.provider == COMPAT, &door, &caller).boxed_local().await
}

fn unknown_route(name: &str) -> Fault {
    let name = name.get(..100).unwrap_or(name);
    Fault::Model(format!(
        "This gateway has no route '{name}'. Make one: POST …/routes; docs/dynamic-routes.md tells how."
    ))
}

fn unserved(rest: &str) -> Refusal {
    Refusal::not_found(rest.get(..200).unwrap_or(rest))
}

fn mode(asked: &Incoming) -> Result<Mode, Refusal> {
    match asked.headers.get(MODE).map(str::trim) {
        None | Some("") => Ok(Mode::WhereNeeded),
        Some("always") => Ok(Mode::Always),
        Some("strict") => Ok(Mode::Strict),
        Some(_) => Err(Refusal::bad_request(format!("{MODE}: wants always or strict"))),
    }
}

async fn understood(asked: &Incoming, is_compat: bool, door: &Door, caller: &Caller<'_>) -> Result<Found, Unsent> {
    let what = if is_compat { COMPAT } else { UNIFIED };
    let (times, bound) = if is_compat { (1, MAX_KEPT) } else { (TIMES, MAX_TRANSLATED) };
    let (bytes, allotment) = taken(asked, what, times, bound).await?;
    let reach = Reach::new(&asked.headers, caller.query, caller.snapshot, caller.presented, caller.runtime);
    let route = OnceCell::new();
    let resolve = |model: &str| match (caller.hop, model.trim().strip_prefix(deployed::PREFIX)) {
        (Some(hop), _) => Ok(hop.named()),
        (None, None) => reach.resolve(model),
        (None, Some(name)) => {
            let found = caller.snapshot.routes.iter().find(|route| route.name == name);
            let _ = found.map(|found| route.set(found.clone()));
            Err(unknown_route(name))
        }
    };
    let whose = (caller.snapshot, caller.presented);
    let (mut gone_on, mut owner) = (None, None);
    if door.format == Format::Responses {
        gone_on = stored_worker::gone_on(&bytes, &asked.headers, whose, caller.runtime).boxed_local().await?;
        owner = stored_worker::owner(caller.presented, &asked.headers);
    }
    let past = Past {
        owner: owner.as_deref(),
        previous_id: gone_on.as_ref().and_then(|gone_on| gone_on.previous_id.as_deref()),
        own: gone_on.as_ref().map(|gone_on| gone_on.own),
    };
    let body = gone_on.as_ref().map_or(&*bytes, |gone_on| gone_on.body.as_bytes());
    let allotment = RefCell::new(allotment);
    // What has to be translated is known here only where the older address is asked.
    let room = || {
        let length = bytes.len() as u64;
        if is_compat && length > MAX_TRANSLATED {
            let description = format!(
                "A request to {COMPAT} that is translated must not be longer than {bound} bytes.",
                bound = MAX_TRANSLATED
            );
            return Err(Refusal::body_too_large(description));
        }
        let has_room = !is_compat || allotment.borrow_mut().add(length * (TIMES - 1));
        has_room.then_some(()).ok_or_else(|| Refusal::no_room("a request of that length that is translated"))
    };
    let planned = Asked { door, is_compat, body, mode: mode(asked)?, past, resolve: &resolve, room: &room };
    let planned = plan::plan(&planned, &caller.snapshot.custom);
    let allotment = allotment.into_inner();
    if let Some(route) = route.into_inner() {
        return Ok(Found::Routed(Box::new(Begun { route, body: bytes, _share: allotment })));
    }
    drop((bytes, gone_on));
    let Plan { provider, rest, query, body, unified, dropped } = planned?;
    let (asked, unified) = rewritten(asked, caller, body.as_bytes(), unified)?;
    Ok(Found::Resolved(Resolved { asked, unified, dropped, provider, rest, query, _share: allotment }))
}

/// A request for what models do beside conversing.
async fn tasked(asked: &Incoming, task: &Task, caller: &Caller<'_>) -> Result<Resolved, Unsent> {
    let (bytes, allotment) = taken(asked, UNIFIED, 2, MAX_KEPT).await?;
    let reach = Reach::new(&asked.headers, caller.query, caller.snapshot, caller.presented, caller.runtime);
    let resolve = |model: &str| reach.resolve(model);
    let content_type = asked.headers.get("content-type");
    let Sent { provider, rest, body, key_form, mapped, dropped } =
        task::sent(task, content_type, &bytes, &caller.snapshot.custom, &resolve)?;
    drop(bytes);
    let dropped = plan::left_out(&dropped, mode(asked)?, &provider)?;
    let mut unified = Unified::of_task(task, key_form);
    unified.translation = mapped.map(Translation::of_task);
    let query = unified.translation.is_some().then_some("");
    let (asked, unified) = rewritten(asked, caller, &body, unified)?;
    Ok(Resolved { asked, unified, dropped, provider, rest, query, _share: allotment })
}

/// A request about a response that is not kept here, on its way to OpenAI.
fn forwarded(asked: &Incoming, id: &str, below: &str, caller: &Caller<'_>) -> Result<Resolved, Refusal> {
    let made = Request::new_with_request_and_init(&asked.request, &RequestInit::new())
        .map_err(|error| Refusal::unreachable(format!("{UNIFIED}: {}", js::message(&error))))?;
    let key_form = KeyForm::Bearer;
    let unified = Unified { caller: Format::Responses, speaks_it: true, session: None, key_form, translation: None };
    let edits = edits(asked, caller, &unified);
    message_worker::edit(&made.headers(), &edits);
    let headers = edits.applied(&asked.headers);
    let asked = Incoming { request: made, method: asked.method.clone(), url: String::new(), headers };
    let rest = format!("responses/{id}{below}");
    let (provider, unified, _share) = (stored_worker::OPENAI.to_owned(), Rc::new(unified), GrowingAllotment::default());
    Ok(Resolved { asked, unified, dropped: String::new(), provider, rest, query: None, _share })
}

/// Takes in a body that is read before it is sent on.
async fn taken(asked: &Incoming, what: &str, times: u64, bound: u64) -> Result<(Vec<u8>, GrowingAllotment), Unsent> {
    let request = &asked.request;
    if request.body().is_none() {
        return Ok((Vec::new(), GrowingAllotment::default()));
    }
    let (whole, allotment) = blocks::bounded(request, bound, times).await.map_err(|untaken| match untaken {
        Untaken::Broken(_) => Unsent::ClientLeft,
        Untaken::NoRoom => Refusal::no_room(&format!("a request to {what} of that length")).into(),
        Untaken::TooLong => {
            let description = format!("A request to {what} must not be longer than {bound} bytes.");
            Refusal::body_too_large(description).into()
        }
    })?;
    Ok((js::bytes(&unpack_worker::plain(whole, &asked.headers, COMPAT).await?), allotment))
}

/// What changes in the caller's headers.
fn edits(asked: &Incoming, caller: &Caller<'_>, unified: &Unified) -> Edits<'static> {
    let admin = config(caller.runtime).admin.as_ref();
    let is_ours = |name: &str, value: &str| {
        caller.presented.carries(name) || admin.is_ok_and(|admin| presented::is_ours(value, admin))
    };
    let to = unified.translation.as_ref().map(|translation| translation.to());
    headers::changed(&asked.headers, caller.query, unified.key_form, to, is_ours)
}

/// The caller's request with another body, and its key where the provider looks for it.
fn rewritten(
    asked: &Incoming,
    caller: &Caller<'_>,
    body: &[u8],
    unified: Unified,
) -> Result<(Incoming, Rc<Unified>), Refusal> {
    let init = RequestInit::new();
    // As bytes, because a string would bring a content type of its own.
    init.set_body(&Uint8Array::from(body));
    let made = Request::new_with_request_and_init(&asked.request, &init)
        .map_err(|error| Refusal::unreachable(format!("{UNIFIED}: {}", js::message(&error))))?;
    let mut edits = edits(asked, caller, &unified);
    // Its headers are those of the client, but for how the body is packed: it is written anew.
    edits.remove("content-encoding");
    message_worker::edit(&made.headers(), &edits);
    edits.set("content-length", body.len().to_string());
    let headers = edits.applied(&asked.headers);
    let asked = Incoming { request: made, method: asked.method.clone(), url: String::new(), headers };
    Ok((asked, Rc::new(unified)))
}

// === impl Resolved ===

impl Resolved {
    /// The route to the real provider.
    pub fn route<'a>(&'a self, given: Route<'a>) -> Route<'a> {
        Route { provider: &self.provider, rest: &self.rest, ..given }
    }

    /// Lets the exchange know how its answer is to be given, and what the caller is to be told.
    pub fn tell(&self, exchange: &mut Exchange) {
        exchange.unified = Some(Rc::clone(&self.unified));
        if let [own @ None, _] = &mut exchange.call.session {
            own.clone_from(&self.unified.session);
        }
        // The words of embeddings and images have no names.
        let translated = self.unified.translation.as_ref().is_some_and(|own| own.mapped().is_none());
        exchange.call.translated_from = translated.then(|| self.unified.caller.name());
        if let Some(keeping) = self.unified.translation.as_ref().and_then(|translation| translation.keeping()) {
            stored_worker::decide(keeping, exchange);
        }
        if !self.dropped.is_empty() {
            exchange.warn(&format!("dropped={}", self.dropped));
        }
    }

    /// The query that goes on.
    pub fn query<'a>(&self, given: &'a str) -> &'a str {
        self.query.unwrap_or(given)
    }
}
