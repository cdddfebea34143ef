//! The WebSocket API: every message is a universal request, and what becomes of it is told in messages. How these look
//! is in `crate::proxy::websocket`.

use crate::auth::presented;
use crate::config::isolate_worker::config;
use crate::http::headers::Headers;
use crate::http::message_worker;
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::router::{Access, Endpoint, Route};
use crate::platform::Runtime;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::js;
use crate::proxy::authorization;
use crate::proxy::caller::{self, Caller};
use crate::proxy::guard::OriginFacts;
use crate::proxy::universal_worker;
use crate::proxy::websocket::{self, Create, Decoder, Fault, InFlight, MAX_ANSWER, MAX_MESSAGE, Metadata};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use js_sys::{JsString, Reflect};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader, Response};

#[wasm_bindgen]
extern "C" {
    type WebSocketPair;
    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<WebSocketPair, JsValue>;

    /// The runtime's own WebSocket, which has `accept`.
    type Socket;
    #[wasm_bindgen(method, catch)]
    fn accept(this: &Socket) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, message: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &Socket) -> Result<(), JsValue>;
}

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = listen)]
    fn listen(socket: &Socket, received: &JsValue, ended: &JsValue);
}

/// One connection.
struct Session {
    socket: Socket,
    account: String,
    gateway: String,
    origin: Rc<str>,
    /// The headers it was opened with: a caller who loses the right to run loses it at the next message.
    headers: Headers,
    /// Those of them that go with every request.
    outer: Headers,
    in_flight: RefCell<InFlight>,
    /// Aborted when the client leaves.
    left: AbortController,
    /// What the socket calls. They hold the session, so they go when it ends.
    listeners: RefCell<Option<(Received, Ended)>>,
    runtime: Rc<Runtime>,
}

type Received = Closure<dyn Fn(JsValue)>;
type Ended = Closure<dyn Fn()>;

/// Opens a connection.
pub async fn opened(asked: &Incoming, route: Route<'_>, runtime: &Rc<Runtime>) -> Response {
    let headers = &asked.headers;
    let presented = match authorization::authorised(headers, &route, false, runtime).await {
        Ok((_, presented)) => presented,
        Err(refusal) => return message_worker::response(&refusal.reply()),
    };
    if !headers.get("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return message_worker::response(
            &Refusal::upgrade_required().reply().with_header("upgrade", "websocket".to_owned()),
        );
    }
    let mut outer = headers.clone();
    outer.0.retain(|(name, _)| name != "accept-encoding" && !presented.carries(name));
    outer.0.push(("accept-encoding".to_owned(), "identity".to_owned()));
    let origin = config(runtime).public_origin(&asked.url);
    let made = connected(headers.clone(), outer, route, origin, runtime);
    made.unwrap_or_else(|error| message_worker::response(&Refusal::unavailable(js::message(&error)).reply()))
}

fn connected(
    headers: Headers,
    outer: Headers,
    route: Route<'_>,
    origin: Rc<str>,
    runtime: &Rc<Runtime>,
) -> Result<Response, JsValue> {
    let pair = WebSocketPair::new()?;
    let (theirs, ours) = (Reflect::get_u32(&pair, 0)?, Reflect::get_u32(&pair, 1)?);
    let answering = web_sys::Headers::new()?;
    // A browser that offered subprotocols gives up unless one of them is taken.
    if let Some(protocol) = headers.get("sec-websocket-protocol").and_then(presented::answered_protocol) {
        answering.set("sec-websocket-protocol", protocol)?;
    }
    let session = Rc::new(Session {
        socket: ours.unchecked_into(),
        account: route.account.to_owned(),
        gateway: route.gateway.to_owned(),
        origin,
        headers,
        outer,
        in_flight: RefCell::default(),
        left: AbortController::new()?,
        listeners: RefCell::default(),
        runtime: Rc::clone(runtime),
    });
    session.listen();
    session.socket.accept()?;
    js::switched(&theirs, &answering)
}

// === impl Session ===

impl Session {
    fn listen(self: &Rc<Self>) {
        let (receiving, ending) = (Rc::clone(self), Rc::clone(self));
        let received = Received::new(move |data: JsValue| receiving.receive(&data));
        let ended = Ended::new(move || Rc::clone(&ending).end());
        listen(&self.socket, received.as_ref(), ended.as_ref());
        self.listeners.replace(Some((received, ended)));
    }

    /// The client left, or the connection broke: what was asked for is taken back.
    fn end(&self) {
        self.left.abort();
        let _ = self.socket.close();
        drop(self.listeners.take());
    }

    fn receive(self: &Rc<Self>, data: &JsValue) {
        let refused = match data.dyn_ref::<JsString>() {
            Some(text) if text.length() as usize <= MAX_MESSAGE => return self.begin(String::from(text)),
            Some(_) => Refusal::body_too_large(format!("A message must not be longer than {MAX_MESSAGE} bytes.")),
            None => Refusal::bad_request("A message is JSON and comes as text."),
        };
        self.say(&Fault { event_id: None, refusal: refused }.message());
    }

    fn begin(self: &Rc<Self>, text: String) {
        let admitted = websocket::read(&text).and_then(|Create { event_id, .. }| {
            let key = self.in_flight.borrow_mut().admit(event_id.as_deref(), text.len());
            key.map_err(|refusal| Fault { event_id, refusal })
        });
        match admitted {
            Err(fault) => self.say(&fault.message()),
            Ok(key) => {
                let mut allotment = GrowingAllotment::default();
                // The text, and the elements that are made from it.
                if !allotment.add(2 * text.len() as u64) {
                    self.in_flight.borrow_mut().release(key);
                    let event_id = websocket::read(&text).ok().and_then(|create| create.event_id);
                    let refusal = Refusal::no_room("a message of that length");
                    return self.say(&Fault { event_id, refusal }.message());
                }
                let session = Rc::clone(self);
                // As background work, so that its row is written even when the client leaves.
                self.runtime.beside(async move {
                    session.carry_out(&text).await;
                    session.in_flight.borrow_mut().release(key);
                    drop(allotment);
                });
            }
        }
    }

    async fn carry_out(&self, text: &str) {
        let Ok(Create { event_id, request }) = websocket::read(text) else { return };
        let route = Route {
            endpoint: Endpoint::Universal,
            access: Access::Gateway,
            account: &self.account,
            gateway: &self.gateway,
            provider: "",
            id: "",
            version: "",
            rest: "",
        };
        let presented = match authorization::authorised(&self.headers, &route, false, &self.runtime).await {
            Ok((_, presented)) => presented,
            Err(refusal) => return self.say(&Fault { event_id, refusal }.message()),
        };
        let mut outer = self.outer.clone();
        if let Some(event_id) = &event_id {
            outer.0.retain(|(name, _)| name != "cf-aig-event-id");
            outer.0.push(("cf-aig-event-id".to_owned(), event_id.clone()));
        }
        let caller = Caller {
            trusted: presented.let_in,
            identity: Some(presented.identity),
            terms: presented.terms,
            origin_facts: Some(Rc::new(OriginFacts::of(&self.headers, &self.runtime))),
            by_message: true,
            signal: Some(self.left.signal()),
            network: caller::network(&self.headers, &self.runtime),
            origin: Some(Rc::clone(&self.origin)),
            ..Caller::default()
        };
        let response = universal_worker::run(request, &outer, route, &caller, &self.runtime).await;
        let headers = message_worker::headers(&response.headers());
        let metadata = Metadata::of(event_id, &headers);
        let content_type = headers.get("content-type").unwrap_or("").to_ascii_lowercase();
        let is_stream = response.status() < 400 && content_type.starts_with("text/event-stream");
        if is_stream {
            self.say(&metadata.created(None));
        }
        let relayed = match is_stream {
            true => self.stream(&response, &metadata).await.map(|()| metadata.done()),
            false => whole(&response, &content_type).await.map(|json| match response.status() {
                status @ 400.. => metadata.error(status, &json),
                _ => metadata.created(Some(&json)),
            }),
        };
        let message = relayed.unwrap_or_else(|cause| {
            let reply = Refusal::unreachable(cause).reply();
            metadata.error(reply.status, &reply.body)
        });
        self.say(&message);
    }

    /// Passes the events of a stream on as they come.
    async fn stream(&self, response: &Response, metadata: &Metadata) -> Result<(), String> {
        let Some(body) = response.body() else { return Ok(()) };
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let mut decoder = Decoder::default();
        while let Some(chunk) = js::chunk(&reader).await.map_err(|error| broke_off(&error))? {
            let events = decoder.push(&chunk.to_vec());
            if events.is_none() || self.left.signal().aborted() {
                // Ends the request upstream: the caller does not pay for what no client reads.
                let _ = JsFuture::from(reader.cancel()).await;
                return Err("an event of the stream was too long".to_owned());
            }
            events.iter().flatten().for_each(|json| self.say(&metadata.stream(json)));
        }
        decoder.end().iter().for_each(|json| self.say(&metadata.stream(json)));
        Ok(())
    }

    fn say(&self, message: &str) {
        if !self.left.signal().aborted() {
            // A client that is just leaving hears nothing.
            let _ = self.socket.send(message);
        }
    }
}

/// An answer as JSON: itself, or a string of its text, or of its bytes in base64.
async fn whole(response: &Response, content_type: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut allotment = GrowingAllotment::default();
    if let Some(body) = response.body() {
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        while let Some(chunk) = js::chunk(&reader).await.map_err(|error| broke_off(&error))? {
            if bytes.len() + chunk.length() as usize > MAX_ANSWER {
                let _ = JsFuture::from(reader.cancel()).await;
                return Err(format!("the answer is longer than {MAX_ANSWER} bytes, which is too much for a message"));
            }
            if !allotment.add(u64::from(chunk.length())) {
                let _ = JsFuture::from(reader.cancel()).await;
                return Err("there is no memory just now for an answer of that length".to_owned());
            }
            bytes.extend_from_slice(&chunk.to_vec());
        }
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => "null".to_owned(),
        Ok(text) if content_type.contains("json") => websocket::json(&text).into_owned(),
        Ok(text) => websocket::quoted(&text),
        Err(binary) => websocket::quoted(&STANDARD.encode(binary.as_bytes())),
    })
}

fn broke_off(error: &JsValue) -> String {
    format!("the answer broke off: {}", js::message(error))
}
