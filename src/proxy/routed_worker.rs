//! A request whose model is a dynamic route: it goes from element to element of the route's graph, and is sent to one model after
//! another until one answers. Each model is an attempt like any other, with its own key, cache, limits and row.

use crate::auth::presented::Presented;
use crate::config::isolate_worker::config;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::router::Route;
use crate::logs::{metadata, session};
use crate::pattern::budget::Meter;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::{Runtime, now, random};
use crate::proxy::caller::Caller;
use crate::proxy::failures::Failed;
use crate::proxy::hop::{self, Hop};
use crate::proxy::limits;
use crate::routes::asked::{self, Asked, Draw, Token};
use crate::routes::deployed::{self, Deployed, PREFIX};
use crate::routes::graph::{Graph, Model};
use crate::routes::learn::Dice;
use crate::routes::walk::{Stop, Walk};
use futures_util::future::LocalBoxFuture;
use js_sys::Uint8Array;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use web_sys::{Request, RequestInit, Response};

/// Graphs that an isolate keeps. A version never changes, so that its id is enough.
const MOST_GRAPHS: usize = 200;

thread_local! {
    static GRAPHS: RefCell<HashMap<String, Rc<Graph>>> = RefCell::default();
}

/// A request that names a route.
pub struct Begun {
    pub route: Deployed,
    /// The body, unpacked.
    pub body: Vec<u8>,
    pub _share: GrowingAllotment,
}

/// Sends a request as one attempt. Handed over, because an attempt may begin with a route.
pub type Attempting = for<'a> fn(
    &'a Incoming,
    Route<'a>,
    &'a str,
    Caller,
    &'a Rc<Runtime>,
    &'a mut Vec<Failed>,
) -> LocalBoxFuture<'a, Option<Response>>;

/// What came with the request.
pub struct Around<'a> {
    pub asked: &'a Incoming,
    pub route: Route<'a>,
    pub query: &'a str,
    pub snapshot: &'a GatewaySnapshot,
    pub presented: &'a Presented,
    pub attempting: Attempting,
}

/// Walks the route. As with other attempts, what failed is added to `failures`.
pub async fn walked(
    begun: Begun,
    around: &Around<'_>,
    caller: Caller,
    runtime: &Rc<Runtime>,
    failures: &mut Vec<Failed>,
) -> Option<Response> {
    let Begun { route, body, .. } = begun;
    let headers = &around.asked.headers;
    let most = config(runtime).max_metadata_entries;
    let mut tags = headers.get("cf-aig-metadata").map(|text| metadata::parse(text, most)).unwrap_or_default();
    // What the caller's token says of it no header can change.
    if let Some(terms) = &around.presented.terms {
        tags.pin(&terms.metadata, most);
    }
    let tags = tags.entries;
    let model = format!("{PREFIX}{}", route.name);
    let facts = Asked {
        metadata: &tags,
        headers: &headers.0,
        body: &body,
        model: &model,
        provider: around.route.provider,
        path: around.route.rest,
        token: token(around.presented),
        now_ms: now(),
        read: OnceCell::new(),
    };
    let mut chance = Draw {
        dice: Dice(random() as u64),
        metadata: &tags,
        session: session::of_call(headers, facts.body(), &around.snapshot.gateway.session_from),
        event_id: headers.get("cf-aig-event-id").map(str::to_owned),
        learned: if route.learned.len() > 2 {
            serde_json::from_str(&route.learned).unwrap_or_default()
        } else {
            serde_json::Value::Null
        },
    };
    let mut sender = Sender { around, caller, runtime, route: &route, body: &body, hops: 0 };
    let Some(graph) = graph(&route) else {
        let refusal = Refusal::unavailable(format!(
            "This version of Tollgate cannot read the route '{}': deploy a version anew.",
            route.name
        ));
        return sender.refused(refusal, &Walk::new(&Graph { start: 0, elements: Vec::new() }, ""), failures).await;
    };
    let meter = Meter::new(asked::STEPS, asked::no_rest);
    let mut walk = Walk::new(&graph, &route.name);
    let mut rates = Vec::new();
    let before = failures.len();
    let wants_way = headers.get(deployed::WAY).is_some();
    let mut limit = None;
    loop {
        let Ok(stop) = walk.next(&facts, &mut chance, &meter).await else {
            let why =
                format!("The conditions of the route '{}' want more steps than a request has for them.", route.name);
            return sender.refused(Refusal::unavailable(why), &walk, failures).await;
        };
        match stop {
            Stop::Rate(element, rate) => {
                let part = rate.key.as_ref().map(|key| asked::tag_text(&tags, key));
                let is_within = match part {
                    // What has no such tag is not counted.
                    Some(None) => true,
                    part => {
                        let rule = (route.id.as_str(), element);
                        let gateway = around.snapshot.gateway.key;
                        let passed = limits::within_rate(runtime, gateway, rule, part.flatten(), rate).await;
                        rates.extend(passed.clone().flatten());
                        passed.is_some()
                    }
                };
                if !is_within {
                    limit = Some(element);
                }
                walk.go_on(is_within, (!is_within).then(|| "limit".to_owned()));
            }
            Stop::Model(element, model) => {
                let told = wants_way.then(|| hop::told(&walk.passed, element));
                let log = hop::logged(&route.name, &route.version, walk.shown(), element);
                let answered = sender.sent(model, (log, told), &rates, failures).await;
                let capped = failures.last().is_some_and(|failed| failed.capped().is_some());
                if answered.is_some() || capped {
                    return answered;
                }
                walk.go_on(false, failures.last().map(Failed::reason));
            }
            Stop::End { .. } if failures.len() > before => return None,
            Stop::End { .. } => {
                let refusal = match limit {
                    Some(element) => Refusal::rate_limited(format!(
                        "The route '{}' ended at its element '{element}': its limit is reached.",
                        route.name
                    )),
                    None => Refusal::unreachable(format!(
                        "The route '{}' ended for this request before any model.",
                        route.name
                    )),
                };
                return sender.refused(refusal, &walk, failures).await;
            }
        }
    }
}

/// What conditions see of the caller's token.
fn token(presented: &Presented) -> Token<'_> {
    let Some((id, terms)) = presented.token_id().zip(presented.terms.as_deref()) else {
        return Token { id: presented.token_id(), ..Token::default() };
    };
    Token { id: Some(id), name: Some(&terms.name), owner: terms.owner.as_deref(), metadata: &terms.metadata }
}

fn graph(route: &Deployed) -> Option<Rc<Graph>> {
    if let Some(known) = GRAPHS.with_borrow(|graphs| graphs.get(&route.version).cloned()) {
        return Some(known);
    }
    let elements = serde_json::from_str(&route.elements).ok()?;
    let graph = Rc::new(Graph::parse(&elements).ok()?);
    GRAPHS.with_borrow_mut(|graphs| {
        if graphs.len() >= MOST_GRAPHS {
            graphs.clear();
        }
        graphs.insert(route.version.clone(), Rc::clone(&graph));
    });
    Some(graph)
}

/// Sends the same request to one model after another.
struct Sender<'a> {
    around: &'a Around<'a>,
    caller: Caller,
    runtime: &'a Rc<Runtime>,
    route: &'a Deployed,
    body: &'a [u8],
    /// How many models were asked.
    hops: u32,
}

// === impl Sender ===

impl Sender<'_> {
    async fn sent(
        &mut self,
        model: &Model,
        (log, told): (String, Option<String>),
        rates: &[Rc<limits::Admission>],
        failures: &mut Vec<Failed>,
    ) -> Option<Response> {
        let route_id = self.route.id.clone();
        let (model, rates) = (Some(model.clone()), rates.to_vec());
        self.attempt(Hop { route_id, log, told, model, refusal: None, rates }, failures).await
    }

    /// Refuses the request as one whose way ended, with a row that has the way.
    async fn refused(&mut self, refusal: Refusal, walk: &Walk<'_>, failures: &mut Vec<Failed>) -> Option<Response> {
        let log = hop::logged(&self.route.name, &self.route.version, walk.shown(), "");
        let told = self.around.asked.headers.get(deployed::WAY).map(|_| hop::told(&walk.passed, ""));
        let route_id = self.route.id.clone();
        self.attempt(Hop { route_id, log, told, model: None, refusal: Some(refusal), rates: Vec::new() }, failures)
            .await
    }

    async fn attempt(&mut self, hop: Hop, failures: &mut Vec<Failed>) -> Option<Response> {
        let Around { asked, route, query, presented, attempting, .. } = self.around;
        let has_fallback = hop.model.as_ref().is_some_and(|model| model.fallback.is_some());
        let caller = Caller {
            trusted: presented.let_in,
            identity: presented.let_in.then(|| Rc::clone(&presented.identity)),
            terms: presented.terms.clone(),
            step: self.caller.step + self.hops,
            is_followed: self.caller.is_followed || has_fallback,
            trace: failures.first().and_then(Failed::trace).or(self.caller.trace),
            hop: Some(Rc::new(hop)),
            ..self.caller.clone()
        };
        self.hops += 1;
        let init = RequestInit::new();
        init.set_body(&Uint8Array::from(self.body));
        let request = Request::new_with_request_and_init(&asked.request, &init).ok()?;
        let _ = request.headers().delete("content-encoding");
        let mut headers = asked.headers.clone();
        headers.0.retain(|(name, _)| !matches!(name.as_str(), "content-encoding" | "content-length"));
        headers.0.push(("content-length".to_owned(), self.body.len().to_string()));
        // All attempts are found under one event.
        if let (None, Some(first)) = (headers.get("cf-aig-event-id"), failures.first()) {
            headers.0.push(("cf-aig-event-id".to_owned(), first.event_id().to_owned()));
        }
        let incoming = Incoming { request, method: asked.method.clone(), url: String::new(), headers };
        attempting(&incoming, *route, query, caller, self.runtime, failures).await
    }
}
