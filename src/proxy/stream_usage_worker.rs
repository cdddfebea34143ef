//! Asking a stream for its usage in the client's place, and taking the answer to that out of what the client gets. Which requests
//! that is done for is in `crate::providers::stream_usage`; what is taken out of a stream, in `usageless.js`.

use crate::gateways::settings::ASK;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::{Edits, Headers};
use crate::limit::plan;
use crate::platform::{blocks, js};
use crate::providers::stream_usage::{self, Target};
use crate::proxy::exchange::Exchange;
use crate::proxy::request_body::Taken;
use crate::wire::Framing;
use crate::wire::body::MAX_BODY;
use js_sys::{ArrayBuffer, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, WritableStream};

#[wasm_bindgen(module = "/src/proxy/usageless.js")]
extern "C" {
    #[wasm_bindgen(js_name = usageless)]
    fn move_usageless(stream: &ReadableStream, writable: &WritableStream) -> Promise;
    #[wasm_bindgen(js_name = usagelessWhole)]
    fn usageless_whole(buffer: &ArrayBuffer) -> ArrayBuffer;
}

/// Sums over a body that no longer hold when it is changed.
const DIGESTS: &[&str] = &["content-digest", "content-md5", "digest", "repr-digest", "x-amz-content-sha256"];

/// The body with the option in it, if it is to be added; then the job knows that its answer is to be cut. A body that is
/// compressed, or too long to be read, goes on as it came.
pub fn asked(
    body: Taken,
    target: &Target<'_>,
    headers: &Headers,
    snapshot: &GatewaySnapshot,
    exchange: &mut Exchange,
) -> Taken {
    if !exchange.call.facts.stream || !target.knows_option() || !is_wanted(target, snapshot, exchange) {
        return body;
    }
    with_option(body, headers, exchange)
}

#[inline(never)]
fn with_option(body: Taken, headers: &Headers, exchange: &mut Exchange) -> Taken {
    let Taken::Whole(buffer, allotment) = body else { return body };
    let is_readable = buffer.byte_length() as usize <= MAX_BODY && headers.content_codings().is_empty();
    let edits = if is_readable { stream_usage::edits(&js::bytes(&buffer)).unwrap_or_default() } else { Vec::new() };
    if edits.is_empty() {
        return Taken::Whole(buffer, allotment);
    }
    exchange.call.usage_asked = true;
    let mut parts = Vec::new();
    let mut from = 0;
    for edit in &edits {
        parts.push(Uint8Array::new(&buffer).subarray(from, edit.at.start as u32));
        parts.push(Uint8Array::from(edit.text.as_bytes()));
        from = edit.at.end as u32;
    }
    parts.push(Uint8Array::new(&buffer).subarray(from, buffer.byte_length()));
    let whole = Uint8Array::new_with_length(parts.iter().map(Uint8Array::length).sum());
    let mut at = 0;
    for part in &parts {
        whole.set(part, at);
        at += part.length();
    }
    Taken::Whole(whole.buffer(), allotment)
}

/// Whether the setting says so, or a budget is about the request: without usage, a stream would pass it.
fn is_wanted(target: &Target<'_>, snapshot: &GatewaySnapshot, exchange: &Exchange) -> bool {
    let asked = plan::LimitSubject {
        metadata: &exchange.call.metadata.entries,
        provider: &exchange.call.provider,
        ..plan::LimitSubject::default()
    };
    snapshot.gateway.settings.stream_usage == ASK
        || (!target.is_custom && (exchange.counts_money || snapshot.gateway.limits.have_budget_for(&asked)))
}

/// Removes from a request what does not hold of a body that was changed.
pub fn without_digests(outgoing: &mut Edits<'_>) {
    for name in DIGESTS {
        outgoing.remove(*name);
    }
}

/// Whether an answer with this head is a stream that is to be cut.
pub fn is_cut(exchange: &Exchange, status: u16, headers: &Headers) -> bool {
    exchange.call.usage_asked
        && exchange.translation().is_none()
        && status < 300
        && headers.get("content-encoding").is_none()
        && headers.get("content-type").and_then(Framing::of) == Some(Framing::Sse)
}

/// Puts a pipe that cuts between a stream and the client, as `piped` does one that does not.
pub fn piped(stream: &ReadableStream) -> (JsValue, Option<JsFuture>) {
    let (readable, writable) = blocks::pipe(None);
    (readable.into(), Some(JsFuture::from(move_usageless(stream, &writable))))
}

/// A stream that is there as a whole, cut.
pub fn cut(buffer: &ArrayBuffer) -> ArrayBuffer {
    usageless_whole(buffer)
}
