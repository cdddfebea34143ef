//! A WebSocket to a provider whose messages are understood: each of its responses passes the limits before it begins, and leaves
//! a row when it has ended. What messages mean is in [`crate::websocket`]; here they are moved.

use crate::auth::presented::{self, Presented};
use crate::config::isolate_worker::config;
use crate::gateways::snapshot::Scope;
use crate::http::headers::Headers;
use crate::http::message_worker;
use crate::http::refusal::Refusal;
use crate::http::router::{Access, Endpoint, Route};
use crate::limit::plan::Refused;
use crate::logs::crash_worker::Mark;
use crate::logs::record::{Call, Failure, Outcome};
use crate::platform::growing::Growing;
use crate::platform::{Around, Carried, js, now, random};
use crate::proxy::exchange::{self, Job};
use crate::proxy::session::refused::{self, Told};
use crate::proxy::session::{Begun, Closed, Dialect, Ended, Ledger, Step};
use crate::proxy::{handle, limits};
use crate::wire::body::MAX_BODY;
use js_sys::{ArrayBuffer, JsString, Reflect};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Response;

#[wasm_bindgen]
extern "C" {
    type WebSocketPair;
    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<WebSocketPair, JsValue>;
}

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = join, catch)]
    fn join(
        client: &JsValue,
        provider: &JsValue,
        may_show_key: bool,
        from_client: &JsValue,
        from_provider: &JsValue,
        ended: &JsValue,
    ) -> Result<(), JsValue>;

    #[wasm_bindgen(js_name = deliver)]
    fn deliver(socket: &JsValue, data: &JsValue) -> bool;

    #[wasm_bindgen(js_name = shut)]
    fn shut(socket: &JsValue, code: u16, reason: &str);
}

/// Whoever opened the connection, and with what.
pub struct Caller {
    pub headers: Headers,
    pub account: String,
    pub gateway: String,
    pub trusted: bool,
    pub identity: String,
}

/// One connection.
struct Connection {
    client: JsValue,
    provider: JsValue,
    caller: Caller,
    dialect: Dialect,
    /// What the rows of all its responses have in common; none of it is a row of its own.
    template: Job,
    ledger: RefCell<Ledger<Rc<Work>>>,
    /// Messages of the client behind one that waits for the limits.
    waiting: RefCell<VecDeque<JsValue>>,
    waiting_bytes: Cell<u64>,
    is_asking: Cell<bool>,
    has_ended: Cell<bool>,
    /// Whether a row was left by a response.
    has_rows: Cell<bool>,
    /// What the sockets call. They hold the connection, so they go when it ends.
    listeners: RefCell<Option<Listeners>>,
}

type Listeners = (Closure<dyn Fn(JsValue)>, Closure<dyn Fn(JsValue) -> JsValue>, Closure<dyn Fn(bool, u16, String)>);

/// A response under way, with what its row will need. One that the provider began by itself may end before its limits are known.
struct Work {
    job: RefCell<Option<Job>>,
    is_asking: Cell<bool>,
    outcome: RefCell<Option<Outcome>>,
}

/// Messages that wait take no more than this, in bytes: as much as two of the longest.
const MAX_WAITING: u64 = 64 * 1024 * 1024;

/// What a message takes that is being read: it is there as a text of JavaScript's, and as bytes.
const COPIES: u64 = 2;

/// Gives a client the WebSocket that the provider has accepted.
pub fn relayed(
    upstream: &Response,
    theirs: &Headers,
    dialect: Dialect,
    caller: Caller,
    job: Job,
) -> Result<Response, (Box<Job>, String)> {
    let mut edits = job.marks(101, theirs);
    // The rows are those of its responses.
    edits.remove("cf-aig-log-id");
    if theirs.get("sec-websocket-protocol").is_none()
        && let Some(protocol) = caller.headers.get("sec-websocket-protocol").and_then(presented::answered_protocol)
    {
        // A browser that offered subprotocols gives up unless one of them is taken.
        edits.set("sec-websocket-protocol", protocol.to_owned());
    }
    let made = || {
        let pair = WebSocketPair::new()?;
        let (theirs, ours) = (Reflect::get_u32(&pair, 0)?, Reflect::get_u32(&pair, 1)?);
        let provider = Reflect::get(upstream, &JsValue::from_str("webSocket"))?;
        let response = message_worker::switched_as(upstream, &theirs, &edits)?;
        Ok((ours, provider, response))
    };
    let (client, provider, response) = match made() {
        Ok(made) => made,
        Err(error) => {
            let error: JsValue = error;
            drop(edits);
            return Err((Box::new(job), js::message(&error)));
        }
    };
    drop(edits);
    let may_show_key = job.call.secrets.has_kept();
    let mut template = job;
    // It is a row only where no response is one.
    template.mark = None;
    let connection = Rc::new(Connection {
        client,
        provider,
        caller,
        dialect,
        ledger: RefCell::new(Ledger::new(dialect, template.collect_payload)),
        template,
        waiting: RefCell::default(),
        waiting_bytes: Cell::new(0),
        is_asking: Cell::new(false),
        has_ended: Cell::new(false),
        has_rows: Cell::new(false),
        listeners: RefCell::default(),
    });
    match connection.listen(may_show_key) {
        Ok(()) => Ok(response),
        Err(error) => Err((Box::new(connection.template.clone()), js::message(&error))),
    }
}

/// A message as bytes, if there is room to read it.
fn bytes(data: &JsValue) -> Option<(Vec<u8>, Growing)> {
    let mut room = Growing::default();
    if !room.add(COPIES * length(data)) {
        return None;
    }
    let bytes = match data.dyn_ref::<JsString>() {
        Some(text) => String::from(text).into_bytes(),
        None => js::bytes(data.unchecked_ref::<ArrayBuffer>()),
    };
    Some((bytes, room))
}

fn length(data: &JsValue) -> u64 {
    match data.dyn_ref::<JsString>() {
        Some(text) => u64::from(text.length()),
        None => u64::from(data.unchecked_ref::<ArrayBuffer>().byte_length()),
    }
}

// === impl Connection ===

impl Connection {
    fn listen(self: &Rc<Self>, may_show_key: bool) -> Result<(), JsValue> {
        let (asking, answering, ending) = (Rc::clone(self), Rc::clone(self), Rc::clone(self));
        let from_client = Closure::<dyn Fn(JsValue)>::new(move |data| asking.receive(data));
        let from_provider = Closure::<dyn Fn(JsValue) -> JsValue>::new(move |data: JsValue| answering.heard(&data));
        let ended = Closure::<dyn Fn(bool, u16, String)>::new(move |by_client, code, reason: String| {
            Rc::clone(&ending).end(by_client, code, &reason);
        });
        let joined = join(
            &self.client,
            &self.provider,
            may_show_key,
            from_client.as_ref(),
            from_provider.as_ref(),
            ended.as_ref(),
        );
        self.listeners.replace(Some((from_client, from_provider, ended)));
        joined
    }

    /// A message of the client. While one waits for the limits, those behind it wait as well, so that they stay in order.
    fn receive(self: &Rc<Self>, data: JsValue) {
        if !self.is_asking.get() {
            return self.read(data);
        }
        let all = self.waiting_bytes.get() + length(&data);
        if all > MAX_WAITING {
            return self.shut(1009, "Tollgate is still looking at the messages before this one");
        }
        self.waiting_bytes.set(all);
        self.waiting.borrow_mut().push_back(data);
    }

    fn read(self: &Rc<Self>, data: JsValue) {
        let Some((message, room)) = bytes(&data) else {
            let refusal = Refusal::no_room("a message of that length");
            return self.refuse(&refusal, &Begun::default(), None);
        };
        let step = self.ledger.borrow_mut().client(&message);
        let begun = match step {
            Step::Pass => {
                deliver(&self.provider, &data);
                return;
            }
            Step::Unreadable => {
                let refusal = Refusal::bad_request(refused::UNREADABLE);
                let job = self.job(&Begun::default(), message);
                return self.refuse(&refusal, &Begun::default(), Some(job));
            }
            Step::Begins(begun) => *begun,
        };
        self.is_asking.set(true);
        let connection = Rc::clone(self);
        self.template.around.context.wait_until(async move {
            connection.begin(begun, &data, message).await;
            drop(room);
            connection.go_on();
        });
    }

    /// Sends on what waited, up to the next message that has to wait for the limits itself.
    fn go_on(self: &Rc<Self>) {
        self.is_asking.set(false);
        while !self.is_asking.get() && !self.has_ended.get() {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(length(&next)));
            self.read(next);
        }
    }

    /// Asks the limits, and sends the message if they let the response begin.
    async fn begin(self: &Rc<Self>, begun: Begun, data: &JsValue, message: Vec<u8>) {
        let found = self.authorised().await;
        let mut job = self.job(&begun, Vec::new());
        let admitted = match found {
            Ok((scope, presented)) => {
                job.call.prices = Rc::clone(&scope.prices);
                let room = self.ledger.borrow().admits();
                match room {
                    Ok(()) => {
                        job.call.request_size = Some(message.len() as u64);
                        let passed = limits::pass(&mut job, &scope.gateway, &presented, false).await;
                        passed.map_err(|Refused { refusal, .. }| refusal)
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        self.keep(&mut job, &message);
        if self.has_ended.get() {
            job.admission = None;
            let refusal = Refusal { status: 499, ..Refusal::unreachable("the client went away") };
            return self.leave(job, exchange::refused(&refusal, Failure::ClientLeft));
        }
        if let Err(refusal) = admitted {
            return self.refuse(&refusal, &begun, Some(job));
        }
        self.ledger.borrow_mut().begin(begun, Work::new(job, false), &message);
        deliver(&self.provider, data);
    }

    /// Whoever loses the right to run loses it at the next response.
    async fn authorised(&self) -> Result<(Rc<Scope>, Presented), Refusal> {
        let Caller { headers, account, gateway, trusted, identity } = &self.caller;
        let route = Route {
            endpoint: Endpoint::Proxy,
            access: Access::Gateway,
            account,
            gateway,
            provider: &self.template.call.provider,
            id: "",
            rest: &self.template.call.rest,
        };
        let (scope, mut presented) = handle::authorised(headers, &route, *trusted, &self.template.around).await?;
        if *trusted {
            presented.identity.clone_from(identity);
        }
        Ok((scope, presented))
    }

    /// What a response's row has from its connection, and of itself.
    fn job(&self, begun: &Begun, message: Vec<u8>) -> Job {
        let template = &self.template;
        let arrived = now();
        let id = config(&template.around).log_id(arrived, random(), template.collect_log);
        let mark = template.collect_log.then(|| Rc::new(Mark::new(&id)));
        // It makes something, however the connection was opened.
        let method = "POST".to_owned();
        let facts = begun.facts.clone();
        let call = Call { id, created_at: arrived, method, facts, request_size: None, ..template.call.clone() };
        let mut job = Job { call, admission: None, mark, share: None, arrived, ..template.clone() };
        if !message.is_empty() {
            self.keep(&mut job, &message);
        }
        job
    }

    /// Keeps the message that asks for a response for its row.
    fn keep(&self, job: &mut Job, message: &[u8]) {
        job.call.request_size = Some(message.len() as u64);
        job.call.request_content_type = Some("application/json".to_owned());
        let mut room = Growing::default();
        let fits = message.len() <= MAX_BODY && room.add(message.len() as u64);
        if job.collect_payload && self.dialect == Dialect::Responses && fits {
            job.call.body = Some(String::from_utf8_lossy(message).into_owned());
            job.share = Some(Rc::new(room));
        }
    }

    /// Tells the client why a response does not begin. Other responses go on.
    fn refuse(self: &Rc<Self>, refusal: &Refusal, begun: &Begun, job: Option<Job>) {
        if let Some(job) = job {
            self.leave(job, exchange::refused(refusal, Failure::Gateway(refusal.description.clone())));
        }
        self.tell(refusal, begun);
    }

    fn tell(self: &Rc<Self>, refusal: &Refusal, begun: &Begun) {
        match refused::told(self.dialect, refusal, begun) {
            Told::Message(message) => {
                deliver(&self.client, &JsValue::from_str(&message));
            }
            Told::Close { code, reason } => self.shut(code, &reason),
        }
    }

    /// A message of the provider, which the client has by now. Gives what it is to get instead, if there is a key in an error.
    fn heard(self: &Rc<Self>, data: &JsValue) -> JsValue {
        let Some((message, _room)) = bytes(data) else { return JsValue::UNDEFINED };
        let unasked = RefCell::new(Vec::new());
        let make = |begun: &Begun| {
            let work = Work::new(self.job(begun, Vec::new()), begun.id.is_some());
            if begun.id.is_some() {
                unasked.borrow_mut().push((begun.clone(), Rc::clone(&work)));
            }
            work
        };
        let ended = self.ledger.borrow_mut().server(&message, now(), make);
        let unasked = unasked.take();
        for (begun, work) in unasked {
            let connection = Rc::clone(self);
            self.template.around.context.wait_until(async move { connection.catch_up(&begun, &work).await });
        }
        ended.into_iter().for_each(|ended| self.ended(ended));
        self.without_key(&message)
    }

    fn without_key(&self, message: &[u8]) -> JsValue {
        let secrets = &self.template.call.secrets;
        if !secrets.has_kept() || memchr::memmem::find(message, b"rror").is_none() {
            return JsValue::UNDEFINED;
        }
        match secrets.for_caller().bytes(message) {
            Some(masked) => JsValue::from_str(&String::from_utf8_lossy(&masked)),
            None => JsValue::UNDEFINED,
        }
    }

    /// Asks the limits about a response that the provider has begun by itself, and ends it where they do not let it pass.
    async fn catch_up(self: &Rc<Self>, begun: &Begun, work: &Rc<Work>) {
        let Some(mut job) = work.job.take() else { return };
        if let Ok((scope, presented)) = self.authorised().await {
            job.call.prices = Rc::clone(&scope.prices);
            if let Err(Refused { refusal, .. }) = limits::pass(&mut job, &scope.gateway, &presented, false).await {
                limits::count(&mut job, &scope.gateway, &presented).await;
                if let Some(id) = begun.id.as_ref().filter(|_| self.dialect == Dialect::Realtime) {
                    let cancel = serde_json::json!({ "type": "response.cancel", "response_id": id });
                    deliver(&self.provider, &JsValue::from_str(&cancel.to_string()));
                }
                self.tell(&refusal, begun);
            }
        }
        work.job.replace(Some(job));
        work.is_asking.set(false);
        if let Some(outcome) = work.outcome.take() {
            self.log(work, outcome);
        }
    }

    fn ended(self: &Rc<Self>, ended: Ended<Rc<Work>>) {
        let Ended { work, mut outcome, first_at, request } = ended;
        if let Some(job) = work.job.borrow_mut().as_mut() {
            outcome.first_byte = first_at.map(|at| at.saturating_sub(job.arrived));
            if request.is_some() {
                job.call.body = request;
            }
        }
        self.has_rows.set(true);
        match work.is_asking.get() {
            true => drop(work.outcome.replace(Some(outcome))),
            false => self.log(&work, outcome),
        }
    }

    fn log(self: &Rc<Self>, work: &Work, outcome: Outcome) {
        if let Some(job) = work.job.take() {
            self.leave(job, outcome);
        }
    }

    fn leave(&self, job: Job, outcome: Outcome) {
        self.has_rows.set(true);
        let around: Rc<Around> = Rc::clone(&job.around);
        let carried = Carried::begin();
        around.context.wait_until(async move {
            job.log(outcome).await;
            drop(carried);
        });
    }

    /// Ends the connection on both sides.
    fn shut(self: &Rc<Self>, code: u16, reason: &str) {
        shut(&self.client, code, reason);
        shut(&self.provider, 1000, "");
        let connection = Rc::clone(self);
        let how = Closed::ByClient;
        // Apart from whatever called, which may be a listener that goes.
        wasm_bindgen_futures::spawn_local(async move { connection.over(&how) });
    }

    /// One of the two has ended the connection, and the other one learns of it.
    fn end(self: Rc<Self>, by_client: bool, code: u16, reason: &str) {
        let how = match by_client {
            true => Closed::ByClient,
            false => Closed::ByProvider { code, reason: reason.to_owned() },
        };
        // A client that is just cut off says nothing, which no provider need take for a fault.
        let told = if by_client && code == 1006 { 1001 } else { code };
        shut(&self.client, told, reason);
        shut(&self.provider, told, reason);
        self.over(&how);
    }

    fn over(self: &Rc<Self>, how: &Closed) {
        if self.has_ended.replace(true) {
            return;
        }
        self.waiting.take();
        let ended = self.ledger.borrow_mut().close(how);
        ended.into_iter().for_each(|ended| self.ended(ended));
        if !self.has_rows.get() && !self.is_asking.get() {
            // Of a connection without a response there is nothing else to show.
            let outcome = Outcome { status: Some(101), ..Outcome::default() };
            self.leave(self.template.clone(), outcome);
        }
        drop(self.listeners.take());
    }
}

// === impl Work ===

impl Work {
    fn new(job: Job, is_asking: bool) -> Rc<Self> {
        let (job, is_asking) = (RefCell::new(Some(job)), Cell::new(is_asking));
        Rc::new(Self { job, is_asking, outcome: RefCell::default() })
    }
}
