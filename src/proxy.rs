//! One proxied request, from top to bottom: authorise, understand, call, answer, log.
//!
//! The bodies stay JavaScript values all the way. What the log needs is copied once, behind the client's back: the
//! client never waits for wasm to look at a byte.

use crate::api::gateways::Gateway;
use crate::auth::{self, Presented};
use crate::body::{self, Copying};
use crate::caller::{Caller as Identity, Permission};
use crate::headers::Headers;
use crate::model;
use crate::options::{Defaults, Options};
use crate::platform::js::{self, FixedLengthStream, IdentityTransformStream};
use crate::platform::{Around, gateways, log_writer, now, random, tokens};
use crate::providers::{self, Provider, Target};
use crate::record::{Call, Failure, LogRecord, Outcome, RequestType};
use crate::refusal::Refusal;
use crate::router::Route;
use crate::store::StoreError;
use crate::wire::{self, Facts};
use js_sys::ArrayBuffer;
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, AbortSignal, ReadableStream, Request, RequestInit, RequestRedirect, Response, StreamPipeOptions,
};

/// The status of a row whose client left before there was an answer, as nginx writes it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What is known of a caller beside its request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// True for a caller that has been let in before, or that the operator bound to this Worker: no token is wanted.
    pub trusted: bool,
    /// Which element of a universal request this is.
    pub step: u32,
    /// Tells when the caller leaves, if the request does not: one that was made here has a signal of its own.
    pub signal: Option<AbortSignal>,
    /// The evaluation that asks a judge.
    pub evaluation_id: Option<String>,
}

/// Answers a request to a provider.
pub async fn handle(request: Request, route: Route<'_>, query: &str, caller: Caller, around: &Rc<Around>) -> Response {
    let arrived = now();
    let headers = js::headers(&request.headers());
    let admitted = match authorised(&headers, &route, caller.trusted, around).await {
        Ok(found) => found,
        Err(refusal) => return js::response(&refusal.reply()),
    };
    let (gateway, presented) = &admitted;
    let defaults = Defaults {
        collect_logs: gateway.settings.collect_logs,
        max_metadata_entries: around.config.max_metadata_entries,
    };
    let options = Options::parse(&headers, defaults);
    let mut job = Job {
        around: Rc::clone(around),
        call: Call {
            step: caller.step,
            evaluation_id: caller.evaluation_id,
            ..call(&headers, &route, query, &admitted, &options, arrived, around)
        },
        collect_log: options.collect_log,
        collect_payload: options.collect_payload,
        notes: notes(&options),
        arrived,
        client: caller.signal.unwrap_or_else(|| request.signal()),
        client_left: false,
    };
    let prepared = match prepare(&request, &headers, &route, query, presented, &mut job).await {
        Ok(prepared) => prepared,
        Err(_) if job.client_left => return job.abandon(),
        Err(refusal) => return job.refuse(&refusal, Failure::Gateway(refusal.description.clone())),
    };
    let upstream = match js::fetch(&prepared.url, &prepared.init).await {
        Ok(upstream) => upstream,
        Err(_) if job.client.aborted() => return job.abandon(),
        Err(cause) => {
            let refusal = Refusal::unreachable(format!("{} did not answer: {cause}", job.call.provider));
            return job.refuse(&refusal, Failure::Upstream(cause));
        }
    };
    match answer(upstream, &request, job).await {
        Ok(response) => response,
        Err(response) => response,
    }
}

/// A request under way, with what its row will need.
struct Job {
    around: Rc<Around>,
    call: Call,
    collect_log: bool,
    collect_payload: bool,
    /// Response headers that tell the caller what the gateway made of its request.
    notes: Vec<(&'static str, String)>,
    arrived: u64,
    /// Tells when the client leaves.
    client: AbortSignal,
    /// True when the client went away while it was sending.
    client_left: bool,
}

struct Prepared {
    url: String,
    init: RequestInit,
}

/// Finds the gateway and checks that the caller may use it.
pub async fn authorised(
    headers: &Headers,
    route: &Route<'_>,
    trusted: bool,
    around: &Rc<Around>,
) -> Result<(Rc<Gateway>, Presented), Refusal> {
    let admin = around.config.admin.as_ref().map_err(|reason| Refusal::unavailable(reason.clone()))?;
    let unreadable = |error: StoreError| {
        let line = serde_json::json!({ "level": "error", "event": "gateway_unreadable", "cause": error.0 });
        worker::console_error!("{line}");
        Refusal::unavailable(
            "Tollgate's database does not answer, so the settings of the gateway are unknown. Try again.",
        )
    };
    let mut presented = auth::presented(headers, admin);
    let identity = tokens::identify(around, &presented).await;
    presented.let_in = trusted
        || match &identity {
            Ok(Some(Identity::Admin)) => true,
            Ok(Some(Identity::Token(token))) => {
                token.has(Permission::Run) && token.reaches(route.account, route.gateway)
            }
            _ => false,
        };
    let found = gateways::settings(around, route.account, route.gateway, presented.let_in).await;
    let gateway = found.map_err(unreadable)?.ok_or_else(|| Refusal::unknown_gateway(route.account, route.gateway))?;
    if gateway.settings.authentication && !presented.let_in {
        identity.map_err(unreadable)?;
        return Err(Refusal::unauthorized(
            "This gateway is authenticated, and Tollgate (not the provider) refused the request: send a Tollgate token \
             that may run, in the header cf-aig-authorization: Bearer <token>.",
        ));
    }
    Ok((gateway, presented))
}

fn call(
    headers: &Headers,
    route: &Route<'_>,
    query: &str,
    (gateway, presented): &(Rc<Gateway>, Presented),
    options: &Options,
    arrived: u64,
    around: &Around,
) -> Call {
    let id = around.config.log_id(arrived, random(), options.collect_log);
    let upgrade = headers.get("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    Call {
        step: 0,
        evaluation_id: None,
        event_id: options.event_id.clone().unwrap_or_else(|| id.clone()),
        id,
        gateway: gateway.key,
        created_at: arrived,
        provider: providers::find(route.provider)
            .map_or(route.provider, |provider| provider.slug)
            .chars()
            .take(64)
            .collect(),
        rest: route.rest.to_owned(),
        query: query.to_owned(),
        request_type: if upgrade { RequestType::WebSocket } else { RequestType::Native },
        metadata: options.metadata.clone(),
        custom_cost: options.custom_cost,
        user_agent: headers.get("user-agent").map(str::to_owned),
        authentication: presented.let_in,
        request_content_type: headers.get("content-type").map(str::to_owned),
        request_size: headers.content_length(),
        facts: wire::request::RequestFacts::default(),
        body: None,
    }
}

fn notes(options: &Options) -> Vec<(&'static str, String)> {
    let notes = [("cf-aig-metadata-dropped", &options.metadata.dropped), ("cf-aig-warning", &options.warning)];
    notes.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone())).collect()
}

/// Makes the upstream request: where it goes, with which headers, and with the client's own body.
async fn prepare(
    request: &Request,
    headers: &Headers,
    route: &Route<'_>,
    query: &str,
    presented: &Presented,
    job: &mut Job,
) -> Result<Prepared, Refusal> {
    let provider = providers::find(route.provider)
        .ok_or_else(|| Refusal::unknown_provider(&job.call.provider, providers::nearest(route.provider)))?;
    let url = provider.url(&Target {
        account: route.account,
        rest: route.rest,
        query,
        base_override: job.around.config.base_url(provider.slug),
        fal_target: headers.get("x-fal-target-url"),
    })?;
    let init = RequestInit::new();
    init.set_method(&request.method());
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&job.client));
    if let Some(body) = taken(request, headers, job).await? {
        init.set_body(&body);
    }
    init.set_headers(forwarded(request, headers, provider, presented, job)?.as_ref());
    Ok(Prepared { url, init })
}

/// The headers that go upstream: the client's own, less what is between it and us.
fn forwarded(
    request: &Request,
    headers: &Headers,
    provider: &Provider,
    presented: &Presented,
    job: &Job,
) -> Result<web_sys::Headers, Refusal> {
    let copied = web_sys::Headers::new_with_headers(&request.headers());
    let outgoing = copied
        .map_err(|error| Refusal::unreachable(format!("the headers could not be copied: {}", js::message(&error))))?;
    for name in headers.not_forwarded().chain(presented.carriers.iter().copied()) {
        let _ = outgoing.delete(name);
    }
    // For callers who proved themselves and bring no key of their own.
    let brings_key =
        headers.credentials().any(|name| !presented.carriers.contains(&name)) || job.call.query.contains("key=");
    if presented.let_in
        && !brings_key
        && let Some((name, key)) = job.around.config.provider_key(provider.slug)
    {
        let _ = outgoing.set(name, &key);
    }
    if job.call.request_type == RequestType::WebSocket {
        let _ = outgoing.set("upgrade", "websocket");
        if let Some(protocols) = headers.get("sec-websocket-protocol") {
            let _ = match auth::provider_protocols(protocols) {
                protocols if protocols.is_empty() => outgoing.delete("sec-websocket-protocol"),
                protocols => outgoing.set("sec-websocket-protocol", &protocols),
            };
        }
    }
    if job.call.facts.stream || model::asks_for_stream(&job.call.rest) {
        // The runtime can only tell that a client left, and pass events on as they come, in a stream it need not unpack.
        let _ = outgoing.set("accept-encoding", "identity");
    } else if let Some(accepted) = js::client_accept_encoding(request) {
        // Without this a provider may compress for a client that cannot unpack.
        let accepted = if accepted.trim().is_empty() { "identity" } else { accepted.as_str() };
        let _ = outgoing.set("accept-encoding", accepted);
    }
    if provider.wants_bearer_as_api_key(&job.call.rest)
        && headers.get("x-api-key").is_none()
        && let Some(key) = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "))
        && !presented.carriers.contains(&"authorization")
    {
        let _ = outgoing.set("x-api-key", key);
        let _ = outgoing.delete("authorization");
    }
    Ok(outgoing)
}

/// The client's body for the upstream request. What the log wants to know is read from a copy; the bytes that go
/// upstream are the client's.
async fn taken(request: &Request, headers: &Headers, job: &mut Job) -> Result<Option<JsValue>, Refusal> {
    let Some(stream) = request.body() else { return Ok(None) };
    if matches!(request.method().as_str(), "GET" | "HEAD") {
        return Ok(None);
    }
    let copying = if job.collect_log { body::request_copying(headers) } else { Copying::Nothing };
    if copying == Copying::Nothing {
        return Ok(Some(stream.into()));
    }
    let whole = request.array_buffer().map(JsFuture::from).map_err(|error| js::message(&error));
    let whole = match whole {
        Ok(whole) => whole.await.map_err(|error| js::message(&error)),
        Err(error) => Err(error),
    };
    // The other reason for a body not to arrive is a limit of the runtime, which its message names.
    job.client_left = whole.as_ref().is_err_and(|cause| !cause.to_ascii_lowercase().contains("limit"));
    let buffer: ArrayBuffer = whole
        .map_err(|cause| Refusal::body_too_large(format!("Tollgate could not take in the request body: {cause}")))?
        .unchecked_into();
    let length = buffer.byte_length();
    job.call.request_size = Some(u64::from(length));
    let content_type = headers.get("content-type");
    match copying {
        Copying::Whole if length as usize <= crate::record::MAX_BODY => {
            let bytes = js::bytes(&buffer);
            job.call.facts = wire::request::read_request(content_type, &bytes);
            job.call.body = job.collect_payload.then(|| body::text(bytes));
        }
        _ => {
            for (from, to) in body::ends(length) {
                let facts = wire::request::read_request(content_type, &js::slice(&buffer, from, to));
                job.call.facts.model = job.call.facts.model.take().or(facts.model);
                job.call.facts.stream |= facts.stream;
            }
        }
    }
    Ok(Some(buffer.into()))
}

/// Turns the provider's answer into ours: the same status, headers and bytes, with our headers beside them.
async fn answer(upstream: Response, request: &Request, job: Job) -> Result<Response, Response> {
    let headers = js::headers(&upstream.headers());
    let status = upstream.status();
    let outgoing = match web_sys::Headers::new_with_headers(&upstream.headers()) {
        Ok(outgoing) => outgoing,
        Err(error) => return Err(job.broken(&js::message(&error))),
    };
    job.mark(&outgoing);
    let outcome = Outcome {
        status: Some(status),
        content_type: headers.get("content-type").map(str::to_owned),
        provider_request_id: headers.provider_request_id().map(str::to_owned),
        first_byte: Some(now().saturating_sub(job.arrived)),
        ..Outcome::default()
    };
    if status == 101 {
        return match js::upgraded(&upstream, &outgoing) {
            Ok(response) => Ok(job.finish(outcome, response)),
            Err(cause) => Err(job.broken(&cause)),
        };
    }
    let text = upstream.status_text();
    let made = |body: &JsValue| js::answer(body, status, &text, &outgoing);
    let Some(stream) = upstream.body() else {
        let size = headers.content_length().filter(|_| request.method() == "HEAD").map_or(Some(0), |_| None);
        return match made(&JsValue::NULL) {
            Ok(response) => Ok(job.finish(Outcome { size, ..outcome }, response)),
            Err(cause) => Err(job.broken(&cause)),
        };
    };
    if !job.collect_log {
        return made(&stream.into()).map_err(|cause| job.broken(&cause));
    }
    let reader = Reader { headers, outcome };
    match body::response_copying(&reader.headers) {
        Copying::Whole if reader.is_short() => short(&upstream, reader, job, made).await,
        Copying::Whole => Ok(teed(stream, job.client.clone(), reader, job, made)),
        _ => Ok(passed(stream, job.client.clone(), reader, job, made)),
    }
}

/// What is known of an answer before its body.
struct Reader {
    headers: Headers,
    outcome: Outcome,
}

/// A short answer of known length is taken whole: one native read is cheaper than two streams, and an answer that
/// breaks off becomes an error the client can see instead of half a document.
async fn short(
    upstream: &Response,
    reader: Reader,
    job: Job,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Result<Response, Response> {
    let whole = match upstream.array_buffer().map(JsFuture::from) {
        Ok(whole) => whole.await,
        Err(error) => Err(error),
    };
    let buffer: ArrayBuffer = match whole {
        Ok(buffer) => buffer.unchecked_into(),
        Err(error) => return Err(job.broken(&format!("the answer broke off: {}", js::message(&error)))),
    };
    let response = match made(&buffer) {
        Ok(response) => response,
        Err(cause) => return Err(job.broken(&cause)),
    };
    job.later(|job| async move {
        let outcome = reader.read(&buffer, job.collect_payload);
        job.log(outcome).await;
    });
    Ok(response)
}

/// A stream is split natively. The client's branch goes through a pipe of its own, whose end tells whether the client
/// stayed. The log's branch must not be read with `text()` or `arrayBuffer()` directly: the runtime would then fill
/// 128 KiB before either branch gets a byte, and the client would see no stream. Through a pipe there is no such wait.
fn teed(
    stream: ReadableStream,
    client: AbortSignal,
    reader: Reader,
    job: Job,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Response {
    let branches = stream.tee();
    let (ours, theirs): (ReadableStream, ReadableStream) =
        (branches.get(0).unchecked_into(), branches.get(1).unchecked_into());
    let copy = IdentityTransformStream::new();
    let options = StreamPipeOptions::new();
    // When the source breaks the copy stays usable, so that the log can tell what had come until then.
    options.set_prevent_abort(true);
    let stop = AbortController::new().ok();
    if let Some(stop) = &stop {
        options.set_signal(&stop.signal());
    }
    let copied = JsFuture::from(ours.pipe_to_with_options(&copy.writable(), &options));
    let collected = Response::new_with_opt_readable_stream(Some(&copy.readable()))
        .and_then(|copy| copy.array_buffer())
        .map(JsFuture::from);
    let (body, sent) = piped(theirs, &reader.headers);
    let response = match made(&body) {
        Ok(response) => response,
        Err(cause) => return job.broken(&cause),
    };
    job.later(|job| async move {
        let mut failure = None;
        if let Some(sent) = sent
            && sent.await.is_err()
            && client.aborted()
        {
            failure = Some(Failure::ClientLeft);
            // Ending the copy ends the last reader, and with it the upstream request: nobody pays for unread tokens.
            if let Some(stop) = stop {
                stop.abort();
            }
        }
        if let Err(error) = copied.await {
            failure =
                failure.or_else(|| Some(Failure::Upstream(format!("the answer broke off: {}", js::message(&error)))));
            let _ = JsFuture::from(copy.writable().close()).await;
        }
        let collected = match collected {
            Ok(collected) => collected.await.ok(),
            Err(_) => None,
        };
        let outcome = match collected {
            Some(buffer) => reader.read(buffer.unchecked_ref(), job.collect_payload),
            None => reader.outcome,
        };
        job.log(Outcome { failure, ..outcome }).await;
    });
    response
}

/// Audio, images and files pass untouched; of them the log knows the size and whether they arrived.
fn passed(
    stream: ReadableStream,
    client: AbortSignal,
    reader: Reader,
    job: Job,
    made: impl Fn(&JsValue) -> Result<Response, String>,
) -> Response {
    let length = reader.headers.content_length();
    let plain = reader.headers.get("content-encoding").is_none();
    let count = Cell::new(0);
    let pipe = (plain && length.is_none()).then(IdentityTransformStream::new);
    let (body, sent) = match &pipe {
        Some(pipe) => (pipe.readable().into(), None),
        None => piped(stream.clone(), &reader.headers),
    };
    let response = match made(&body) {
        Ok(response) => response,
        Err(cause) => return job.broken(&cause),
    };
    job.later(|job| async move {
        let delivered = match (pipe, sent) {
            (Some(pipe), _) => js::counted(&stream, &pipe.writable(), &count).await,
            (None, Some(sent)) => sent.await.map(|_| ()),
            (None, None) => Ok(()),
        };
        let failure = delivered.err().map(|error| {
            if client.aborted() {
                Failure::ClientLeft
            } else {
                Failure::Upstream(format!("the answer broke off: {}", js::message(&error)))
            }
        });
        let size = match length {
            Some(length) if plain && failure.is_none() => Some(length),
            None if plain => Some(count.get()),
            _ => None,
        };
        job.log(Outcome { size, failure, ..reader.outcome }).await;
    });
    response
}

/// Puts a native pipe between a stream and the client. The second value resolves when the client has everything, and
/// fails when the client left or the stream broke. A compressed body goes without, because reading would unpack it.
fn piped(stream: ReadableStream, headers: &Headers) -> (JsValue, Option<JsFuture>) {
    if headers.get("content-encoding").is_some() {
        return (stream.into(), None);
    }
    let (readable, writable) = match headers.content_length() {
        Some(length) => {
            let pipe = FixedLengthStream::new(length as f64);
            (pipe.fixed_readable(), pipe.fixed_writable())
        }
        None => {
            let pipe = IdentityTransformStream::new();
            (pipe.readable(), pipe.writable())
        }
    };
    (readable.into(), Some(JsFuture::from(stream.pipe_to(&writable))))
}

// === impl Reader ===

impl Reader {
    fn is_short(&self) -> bool {
        self.headers.get("content-encoding").is_none()
            && wire::Framing::of(self.headers.get("content-type").unwrap_or("")) != Some(wire::Framing::Sse)
            && self.headers.content_length().is_some()
    }

    /// Reads what the log wants from the copy of a body.
    fn read(self, buffer: &ArrayBuffer, collect_payload: bool) -> Outcome {
        let length = buffer.byte_length();
        let content_type = self.headers.get("content-type").unwrap_or("");
        let status = self.outcome.status.unwrap_or(0);
        let framing = wire::Framing::of(content_type).unwrap_or(wire::Framing::Json);
        let mut outcome = Outcome { size: Some(u64::from(length)), ..self.outcome };
        if length as usize <= crate::record::MAX_BODY {
            let bytes = js::bytes(buffer);
            outcome.facts = wire::read(framing, status, &bytes);
            outcome.body = (collect_payload && framing != wire::Framing::AwsEventStream).then(|| body::text(bytes));
        } else if framing == wire::Framing::Sse {
            outcome.facts = body::merged(
                body::ends(length).map(|(from, to)| wire::read(framing, status, &js::slice(buffer, from, to))),
            );
        }
        outcome.facts.usage = body::with_headers(outcome.facts.usage, &self.headers);
        outcome
    }
}

// === impl Job ===

impl Job {
    /// Sets the headers that are ours on an answer.
    fn mark(&self, headers: &web_sys::Headers) {
        if self.collect_log {
            let _ = headers.set("cf-aig-log-id", &self.call.id);
        } else {
            let _ = headers.delete("cf-aig-log-id");
        }
        for name in ["cf-aig-metadata-dropped", "cf-aig-warning"] {
            let _ = headers.delete(name);
        }
        let _ = headers.set("cf-aig-event-id", &self.call.event_id);
        let _ = headers.set("cf-aig-request-id", &self.call.id);
        let _ = headers.set("cf-aig-step", &self.call.step.to_string());
        for (name, text) in &self.notes {
            let _ = headers.set(name, text);
        }
    }

    /// Goes on after the answer is on its way.
    fn later<F: Future<Output = ()> + 'static>(self, work: impl FnOnce(Self) -> F) {
        let around = Rc::clone(&self.around);
        around.context.wait_until(work(self));
    }

    async fn log(self, outcome: Outcome) {
        let duration = now().saturating_sub(self.arrived);
        let store = self.around.database().within(log_writer::PATIENCE_MS);
        log_writer::submit(LogRecord::new(self.call, Outcome { duration, ..outcome }), &store).await;
    }

    fn finish(self, outcome: Outcome, response: Response) -> Response {
        if self.collect_log {
            self.later(|job| job.log(outcome));
        }
        response
    }

    fn refuse(self, refusal: &Refusal, failure: Failure) -> Response {
        let response = js::response(&refusal.reply());
        self.mark(&response.headers());
        let outcome = Outcome {
            status: Some(refusal.status),
            content_type: Some("application/json".to_owned()),
            failure: Some(failure),
            facts: Facts::default(),
            ..Outcome::default()
        };
        self.finish(outcome, response)
    }

    fn broken(self, cause: &str) -> Response {
        let refusal = Refusal::unreachable(format!("{}: {cause}", self.call.provider));
        self.refuse(&refusal, Failure::Upstream(cause.to_owned()))
    }

    /// Nobody is there to read an answer any more; the row still says what happened.
    fn abandon(self) -> Response {
        let refusal = Refusal { status: CLIENT_CLOSED_REQUEST, ..Refusal::unreachable("the client went away") };
        self.refuse(&refusal, Failure::ClientLeft)
    }
}
