//! Answers in another format than the caller's. The client alone gets them translated: the row and the cache have what the provider
//! said, for another client may speak another format.

use crate::http::headers::Edits;
use crate::platform::allotment::Allotment;
use crate::platform::js;
use crate::platform::now;
use crate::proxy::exchange::Exchange;
use crate::proxy::response::reader::{Broken, DIGESTS, Reader};
use crate::proxy::response::ways::{short, teed};
use crate::proxy::unified::translation::{Given, JSON, Translation};
use crate::wire::{Framing, usage};
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::Response;

/// A longer answer that is no stream is not translated, in bytes.
const MAX_WHOLE: u64 = 12 * 1024 * 1024;

pub async fn translated(
    upstream: Response,
    whole: Option<Result<ArrayBuffer, String>>,
    mut reader: Reader,
    mut exchange: Exchange,
) -> Result<Response, Broken> {
    exchange.cache.keeps(reader.status, &reader.headers);
    let framing = reader.form().map_or(Framing::Json, |(framing, _)| framing);
    let is_stream = reader.status < 300 && matches!(framing, Framing::Sse | Framing::AwsEventStream);
    let at_hand = reader.is_at_hand(&exchange);
    if is_stream
        && !at_hand
        && whole.is_none()
        && let Some(stream) = upstream.body()
    {
        // The runtime unpacks a compressed body for its reader.
        reader.headers.0.retain(|(name, _)| name != "content-encoding" && name != "content-length");
        let mut edits = exchange.marks(reader.status, &reader.headers);
        exchange.translation().into_iter().for_each(|own| changed_stream(&mut edits, own));
        let edits = edits.to_json();
        let client = exchange.client.clone();
        return Ok(teed(stream, client, reader, exchange, |body| js::answered(&upstream, body, &edits)));
    }
    let taken = reader.whole(&upstream, whole, MAX_WHOLE).await;
    reader.headers.0.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    let buffer = match taken {
        Ok(Ok(buffer)) => buffer,
        Ok(Err(_)) => {
            let cause = format!("the answer is longer than {MAX_WHOLE} bytes, and cannot be translated");
            return Err((Box::new(exchange), cause));
        }
        Err(cause) => return Err((Box::new(exchange), format!("the answer broke off: {cause}"))),
    };
    let buffer = match reader.status >= 400 && exchange.call.secrets.has_kept() {
        true => without_key(buffer, &exchange),
        false => buffer,
    };
    let given = given(&exchange, &reader, framing, &js::bytes(&buffer));
    if !given.dropped.is_empty() {
        exchange.warn(&given.dropped);
    }
    let mut edits = exchange.marks(reader.status, &reader.headers);
    changed(&mut edits, given.content_type);
    let edits = edits.to_json();
    let base = match given.status {
        None => upstream,
        Some(status) => match js::answer(&JsValue::NULL, status, "", &upstream.headers()) {
            Ok(base) => base,
            Err(cause) => return Err((Box::new(exchange), cause)),
        },
    };
    let body = Uint8Array::from(given.text.as_bytes()).buffer();
    let allotment = Allotment::of(u64::from(buffer.byte_length())).unwrap_or_default();
    short(Ok(buffer), allotment, reader, exchange, |_| js::answered(&base, &body, &edits))
}

/// What a client gets of an answer that is there as a whole.
pub fn given(exchange: &Exchange, reader: &Reader, framing: Framing, body: &[u8]) -> Given {
    let status = reader.status;
    match exchange.translation() {
        None => Given { text: String::new(), content_type: JSON, status: None, dropped: String::new() },
        Some(own) if status >= 300 => {
            Given { text: own.error(status, body), content_type: JSON, status: None, dropped: String::new() }
        }
        Some(own) => {
            let tokens = usage::from_headers(|name| reader.headers.get(name)).tokens_in;
            own.whole(&exchange.call.id, now() / 1_000, framing, (body, tokens))
        }
    }
}

/// What is said of the body holds for another one.
pub fn changed(edits: &mut Edits<'_>, content_type: &'static str) {
    for name in ["content-encoding", "content-length"].iter().chain(DIGESTS) {
        edits.remove(*name);
    }
    edits.set("content-type", content_type);
}

/// The same for a stream that goes on event by event.
pub fn changed_stream(edits: &mut Edits<'_>, translation: &Translation) {
    changed(edits, translation.stream_type());
    if translation.is_array {
        // JSON is compressed on its way, and the compressor keeps elements back.
        edits.set("content-encoding", "identity");
    }
}

fn without_key(buffer: ArrayBuffer, exchange: &Exchange) -> ArrayBuffer {
    match exchange.call.secrets.for_caller().bytes(&js::bytes(&buffer)) {
        None => buffer,
        Some(masked) => Uint8Array::from(masked.as_slice()).buffer(),
    }
}
