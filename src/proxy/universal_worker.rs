//! The universal endpoint: the elements of a request in turn, until a provider answers with success.

use crate::config::isolate_worker::config;
use crate::http::headers::Headers;
use crate::http::message_worker;
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::response_headers;
use crate::http::router::{Endpoint, Route};
use crate::platform::Runtime;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::blocks::{self, Untaken};
use crate::platform::js;
use crate::proxy::authorization;
use crate::proxy::caller::{self, Caller};
use crate::proxy::failures::{self, Failed};
use crate::proxy::guard::OriginFacts;
use crate::proxy::handle;
use crate::proxy::universal::{self, Element};
use crate::wire::unpack_worker;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{Request, RequestInit, Response};

/// The memory of an isolate is 128 MB, and a body is in it several times.
const MAX_BODY: u64 = 16 * 1024 * 1024;

/// A universal request by HTTP.
pub async fn request(asked: &Incoming, route: Route<'_>, runtime: &Rc<Runtime>) -> Response {
    let Incoming { request, headers, .. } = asked;
    // Before the body is looked at, so that no caller learns anything without the token.
    let presented = match authorization::authorised(headers, &route, false, runtime).await {
        Ok((_, presented)) => presented,
        Err(refusal) => return message_worker::response(&refusal.reply()),
    };
    // The room is given back when the answer is there: until then each element is made from it.
    let (body, _share) = match text(request, headers).await {
        Ok(taken) => taken,
        Err(refusal) => return message_worker::response(&refusal.reply()),
    };
    let accepted = js::client_accept_encoding(request).filter(|accepted| !accepted.trim().is_empty());
    let mut headers = headers.clone();
    headers.0.retain(|(name, _)| name != "accept-encoding" && !presented.carries(name));
    let token_travels = presented.travels();
    headers.0.push(("accept-encoding".to_owned(), accepted.unwrap_or_else(|| "identity".to_owned())));
    let caller = Caller {
        trusted: presented.let_in,
        identity: Some(presented.identity),
        terms: presented.terms,
        origin_facts: Some(Rc::new(OriginFacts::of(&asked.headers, runtime))),
        signal: Some(request.signal()),
        network: caller::network(&asked.headers, runtime),
        navigates: response_headers::navigates(&asked.headers),
        origin: Some(config(runtime).public_origin(&asked.url)),
        token_travels,
        ..Caller::default()
    };
    run(&body, &headers, route, &caller, runtime).await
}

/// Tries the elements of a body. `outer` are the headers of the request around them, which `caller` sent.
pub async fn run(body: &str, outer: &Headers, route: Route<'_>, caller: &Caller, runtime: &Rc<Runtime>) -> Response {
    let elements = match universal::parse(body) {
        Ok(elements) => elements,
        Err(fault) => return message_worker::response(&Refusal::bad_request(fault).reply()),
    };
    // What the runtime refuses as a header is refused before anything is sent.
    for (step, element) in elements.iter().enumerate() {
        if let Err(cause) = carried(&universal::merged(outer, element)) {
            let fault = format!("Element {step}: {}.", js::message(&cause));
            return message_worker::response(&Refusal::bad_request(fault).reply());
        }
    }
    let mut outer = outer.clone();
    let mut failures = Vec::new();
    for (step, element) in (0..).zip(&elements) {
        // All steps of a request are found under one event: the caller's, or else that of the first.
        if let (None, Some(first)) = (outer.get("cf-aig-event-id"), failures.first()) {
            let event = Failed::event_id(first).to_owned();
            outer.0.push(("cf-aig-event-id".to_owned(), event));
        }
        let is_followed = step as usize + 1 < elements.len();
        let trace = failures.first().and_then(Failed::trace).or(caller.trace);
        let caller = Caller { step, is_followed, trace, ..caller.clone() };
        let Ok(request) = made(element, &universal::merged(&outer, element)) else { break };
        let route = Route { endpoint: Endpoint::Proxy, provider: &element.provider, rest: &element.path, ..route };
        let answered =
            handle::attempt(&Incoming::new(request), route, &element.query, caller, runtime, &mut failures).await;
        // What may cause no more calls ends here, with what it has.
        if answered.is_some() || failures.last().is_some_and(|failed| failed.capped().is_some()) {
            return concluded(answered, failures).await;
        }
    }
    concluded(None, failures).await
}

/// Ends a request, and names the steps whose providers were left alone.
async fn concluded(answered: Option<Response>, failures: Vec<Failed>) -> Response {
    let skipped: Vec<String> = failures.iter().filter_map(Failed::skipped_step).map(|step| step.to_string()).collect();
    let response = failures::conclude(answered, failures).await;
    if !skipped.is_empty() {
        let _ = response.headers().set("cf-aig-skipped", &skipped.join(", "));
    }
    response
}

fn carried(headers: &Headers) -> Result<web_sys::Headers, JsValue> {
    let carried = web_sys::Headers::new()?;
    for (name, value) in &headers.0 {
        carried.set(name, value)?;
    }
    Ok(carried)
}

/// An element as the request it stands for. Where it goes is told by its route, so its URL means nothing.
fn made(element: &Element<'_>, headers: &Headers) -> Result<Request, JsValue> {
    let init = RequestInit::new();
    init.set_method("POST");
    let carried = carried(headers)?;
    init.set_headers(&carried);
    if let Some(body) = element.body {
        init.set_body(&JsValue::from_str(body));
    }
    Request::new_with_str_and_init("https://tollgate/", &init)
}

async fn text(request: &Request, headers: &Headers) -> Result<(String, GrowingAllotment), Refusal> {
    let unreadable =
        |error: JsValue| Refusal::bad_request(format!("The body could not be read: {}.", js::message(&error)));
    if request.body().is_none() {
        return Ok((String::new(), GrowingAllotment::default()));
    }
    let (buffer, allotment) = blocks::bounded(request, MAX_BODY, 2).await.map_err(|untaken| match untaken {
        Untaken::Broken(error) => unreadable(error),
        Untaken::NoRoom => Refusal::no_room("a universal request of that length"),
        Untaken::TooLong => {
            Refusal::body_too_large(format!("A universal request must not be longer than {MAX_BODY} bytes."))
        }
    })?;
    let buffer = unpack_worker::plain(buffer, headers, "the universal endpoint").await?;
    let text = String::from_utf8(js::bytes(&buffer));
    let mut text = text.map_err(|_| Refusal::bad_request("The body is not JSON: it is not UTF-8."))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok((text, allotment))
}
