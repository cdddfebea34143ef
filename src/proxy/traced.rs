//! A request as its spans will tell it, where its gateway sends spans anywhere.

use crate::gateways::exporters::Exporter;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::Headers;
use crate::logs::call::{Call, Failure, Outcome};
use crate::logs::record::LogRecord;
use crate::platform::{Runtime, random};
use crate::telemetry::context::{Trace, TraceContext, span_id};
use crate::tracing::send_worker;
use crate::tracing::spans::Sent;
use std::rc::Rc;

#[derive(Clone)]
pub struct Traced {
    pub trace: Trace,
    exporters: Rc<[Rc<Exporter>]>,
    /// Where the request is sent, once that is known.
    pub url: Option<Rc<str>>,
}

/// The call of a provider, without what is secret of its URL.
pub struct Called {
    pub url: String,
    method: String,
}

// === impl Traced ===

impl Traced {
    /// `known` is the trace that a request around this one has begun.
    pub fn begin(snapshot: &GatewaySnapshot, known: Option<Trace>, headers: &Headers, at: u64) -> Option<Box<Self>> {
        let exporters = Rc::clone(snapshot.exporters.as_ref()?);
        let named = |name: &str| headers.get(name).map(str::trim);
        let trace = known.or_else(|| {
            let own = (named("cf-aig-otel-trace-id"), named("cf-aig-otel-parent-span-id"));
            let context = TraceContext::of(own.0, own.1, named("traceparent"));
            Trace::begin(context, [random(), random()], at)
        })?;
        Some(Box::new(Self { trace, exporters, url: None }))
    }

    /// A response of the same connection.
    pub fn within(&self, at: u64) -> Box<Self> {
        Box::new(Self { trace: self.trace.within(random(), at), exporters: Rc::clone(&self.exporters), url: None })
    }

    /// The call that a request has led to, if it has led to one.
    pub fn called(&self, call: &Call, outcome: &Outcome) -> Option<Called> {
        let url = self.url.as_ref().filter(|_| !call.cached)?;
        if matches!(outcome.failure, Some(Failure::Gateway(_))) {
            return None;
        }
        let url = url.split(['?', '#']).next().unwrap_or_default().to_owned();
        Some(Called { url: call.secrets.for_storage().said(url), method: call.method.clone() })
    }

    /// Hands in what the request, or an attempt of it, was.
    pub fn tell(&self, runtime: &Rc<Runtime>, record: &LogRecord, called: Option<&Called>) {
        let sent = called.map(|called| Sent { url: &called.url, method: &called.method, id: span_id(random()) });
        send_worker::submit(runtime, &self.exporters, (record, &self.trace), sent.as_ref());
    }
}
