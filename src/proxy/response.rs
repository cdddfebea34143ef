//! The provider's answer on its way to the client: the same status, headers and bytes, with a copy for the log where the
//! log wants one.

mod held;
mod judge;
mod passed;
mod readdressed;
mod reader;
mod screened;
mod screened_stream;
mod translated;
mod ways;

use crate::credentials::client_signature;
use crate::http::message_worker::{self, Answer};
use crate::logs::call::{Credential, Outcome};
use crate::platform::allotment::Allotment;
use crate::platform::js;
use crate::platform::{blocks, within};
use crate::proxy::exchange::Exchange;
use crate::proxy::response::reader::{Broken, HELD_PATIENCE_MS, MAX_SHORT, Reader, without_key};
use crate::proxy::response::ways::{short, teed};
use crate::proxy::stream_usage_worker;
use crate::wire::body::{self, Copying};
pub use held::Held;

use futures_util::FutureExt;
use passed::passed;
use readdressed::readdressed;
use translated::translated;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{ReadableStream, Response};

/// Turns the provider's answer into ours: the same status, headers and bytes, with our headers beside them.
pub async fn give(upstream: Answer, is_head: bool, mut exchange: Exchange) -> Result<Response, Broken> {
    let (upstream, reader, whole) = Reader::of(upstream, &exchange);
    let status = reader.status;
    if exchange.call.provider == "aws-bedrock"
        && client_signature::is_refused(status, &reader.headers)
        && exchange.call.credential == Credential::Request
    {
        exchange.warn(client_signature::REFUSED);
    }
    if !is_head && screened::is_wanted(&reader, &exchange) {
        return screened::screened(upstream, whole, reader, exchange).boxed_local().await;
    }
    if exchange.translation().is_some() {
        return translated(upstream, whole, reader, exchange).boxed_local().await;
    }
    if !is_head
        && reader.may_show_key(&exchange)
        && let Some(stream) = upstream.body()
    {
        return masked(&upstream, stream, reader, exchange).boxed_local().await;
    }
    let fields = if is_head { Vec::new() } else { exchange.links().fields(status, &reader.headers) };
    if !fields.is_empty() {
        return readdressed(&upstream, whole, &fields, reader, exchange).boxed_local().await;
    }
    let mut edits = exchange.marks(status, &reader.headers);
    if status == 101 {
        return match message_worker::upgraded(&upstream, &edits) {
            Ok(response) => Ok(exchange.finish(reader.outcome, response)),
            Err(cause) => Err((Box::new(exchange), cause)),
        };
    }
    if stream_usage_worker::is_cut(&exchange, status, &reader.headers) {
        edits.remove("content-length");
    }
    let edits = edits.to_json();
    let made = |body: &JsValue| js::answered(&upstream, body, &edits);
    if let Some(whole) = whole {
        exchange.cache.keeps(status, &reader.headers);
        // It is there already, and no longer than what is not counted or little more.
        let allotment = Allotment::of(whole.as_ref().map_or(0, |buffer| buffer.byte_length().into()));
        return short(whole, allotment.unwrap_or_default(), reader, exchange, made);
    }
    let Some(stream) = upstream.body() else {
        let size = reader.headers.content_length().filter(|_| is_head).map_or(Some(0), |_| None);
        return match made(&JsValue::NULL) {
            Ok(response) => Ok(exchange.finish(Outcome { size, ..reader.outcome }, response)),
            Err(cause) => Err((Box::new(exchange), cause)),
        };
    };
    let keeps = exchange.cache.keeps(status, &reader.headers);
    let taken_whole = reader.is_short() || reader.is_at_hand(&exchange);
    let allotment = if taken_whole { Allotment::of(reader.headers.content_length().unwrap_or(0)) } else { None };
    match (body::response_copying(&reader.headers), allotment) {
        (Copying::Whole, Some(allotment)) => {
            let length = reader.headers.content_length().filter(|_| reader.is_plain()).unwrap_or(0);
            let whole = js::whole(&upstream, length, &reader.watch).await;
            let whole = whole.map(JsCast::unchecked_into).map_err(|error| js::message(&error));
            short(whole, allotment, reader, exchange, made)
        }
        (Copying::Whole, None) => Ok(teed(stream, exchange.client.clone(), reader, exchange, made)),
        _ if keeps && reader.headers.content_length().is_some() => {
            Ok(teed(stream, exchange.client.clone(), reader, exchange, made))
        }
        _ => Ok(passed(stream, exchange.client.clone(), reader, exchange, made)),
    }
}

/// An error may tell what the provider was sent, and its caller does not know the key: it is taken whole, and goes on without
/// the key. One that is too long goes on as it comes.
async fn masked(
    upstream: &Response,
    stream: ReadableStream,
    mut reader: Reader,
    mut exchange: Exchange,
) -> Result<Response, Broken> {
    // No other request waits for an error to be kept.
    exchange.cache.keeps(reader.status, &reader.headers);
    let broken =
        |exchange: Exchange, cause: String| Err((Box::new(exchange), format!("the answer broke off: {cause}")));
    let taken = match within(HELD_PATIENCE_MS, blocks::short(&stream, MAX_SHORT)).await {
        Some(Ok(taken)) => taken,
        Some(Err(error)) => return broken(exchange, js::message(&error)),
        None => return broken(exchange, format!("it was an error, and did not end within {HELD_PATIENCE_MS} ms")),
    };
    // The runtime unpacks a compressed body for its reader.
    reader.headers.0.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    let mut edits = exchange.marks(reader.status, &reader.headers);
    edits.remove("content-encoding");
    edits.remove("content-length");
    match taken {
        Ok(buffer) => {
            let buffer = without_key(buffer, &exchange, &mut edits);
            let edits = edits.to_json();
            let allotment = Allotment::of(u64::from(buffer.byte_length())).unwrap_or_default();
            short(Ok(buffer), allotment, reader, exchange, |body| js::answered(upstream, body, &edits))
        }
        Err(stream) => {
            let edits = edits.to_json();
            let made = |body: &JsValue| js::answered(upstream, body, &edits);
            let client = exchange.client.clone();
            Ok(match body::response_copying(&reader.headers) {
                Copying::Whole => teed(stream, client, reader, exchange, made),
                _ => passed(stream, client, reader, exchange, made),
            })
        }
    }
}
