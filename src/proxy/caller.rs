//! Whose request it is that is proxied, and how it came.

use crate::auth::terms::Terms;
use crate::auth::wrong_tokens;
use crate::config::isolate_worker::config;
use crate::http::headers::Headers;
use crate::platform::Runtime;
use crate::proxy::guard::OriginFacts;
use crate::proxy::hop::Hop;
use crate::telemetry::context::Trace;
use std::cell::Cell;
use std::rc::Rc;
use web_sys::AbortSignal;

/// What is known of a caller beside its request.
#[derive(Clone, Default)]
pub struct Caller {
    /// True for a caller that has been let in before, or that the operator bound to this Worker: no token is wanted.
    pub trusted: bool,
    /// True for a request that is a message of a WebSocket.
    pub by_message: bool,
    /// Who a caller is that has been let in before, as [`Presented::identity`] says it.
    pub identity: Option<Rc<str>>,
    /// What its token may be used for.
    pub terms: Option<Rc<Terms>>,
    /// What policies may ask of where the request came from, where the request itself does not say.
    pub origin_facts: Option<Rc<OriginFacts>>,
    /// Which element of a universal request this is.
    pub step: u32,
    /// True when another element is tried should this one fail.
    pub is_followed: bool,
    /// How many calls of providers the request has caused, all its steps and attempts together.
    pub calls: Rc<Cell<u64>>,
    /// Where the request came from, as the connection says.
    pub network: Option<String>,
    /// Tells when the caller leaves, if the request does not: one that was made here has a signal of its own.
    pub signal: Option<AbortSignal>,
    /// True for a model that is asked whether another request may go on: nothing is asked about that.
    pub is_check: bool,
    /// True where the stored key of the provider signs the body, and is not sent.
    pub is_signed: bool,
    /// The evaluation that asks a judge.
    pub evaluation_id: Option<String>,
    /// True for a browser that means to show or run the answer.
    pub navigates: bool,
    /// What the gateway's addresses begin with for the caller, if it named any host.
    pub origin: Option<Rc<str>>,
    /// True where the request around this one has our token in a header that its client takes to other hosts.
    pub token_travels: bool,
    /// The trace that a request around this one has begun.
    pub trace: Option<Trace>,
    /// The model that a route sends the request to.
    pub hop: Option<Rc<Hop>>,
}

/// Where a request came from. Not to be asked of what a request carries inside, such as the elements of a universal one.
pub fn network(headers: &Headers, runtime: &Runtime) -> Option<String> {
    wrong_tokens::forwarded_address(headers, config(runtime).client_address_header.as_deref()).map(str::to_owned)
}
