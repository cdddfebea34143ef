//! Answers whose addresses lead below the gateway.

use crate::platform::allotment::Allotment;
use crate::platform::blocks;
use crate::platform::js;
use crate::providers::links::fields::Fields;
use crate::proxy::answer_links;
use crate::proxy::exchange::Exchange;
use crate::proxy::response::passed::passed;
use crate::proxy::response::reader::{Broken, DIGESTS, Reader};
use crate::proxy::response::ways::{short, teed};
use crate::wire::body::{self, Copying};
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::Response;

/// An answer with addresses that its client follows. They lead below the gateway for the client alone: the row and the cache
/// have what the provider said, for another client may know the gateway by another name.
pub async fn readdressed(
    upstream: &Response,
    whole: Option<Result<ArrayBuffer, String>>,
    fields: &[&'static Fields],
    mut reader: Reader,
    mut exchange: Exchange,
) -> Result<Response, Broken> {
    exchange.cache.keeps(reader.status, &reader.headers);
    let taken = match (whole, upstream.body()) {
        (Some(whole), _) => whole.map(Ok),
        (None, Some(stream)) => {
            let taken = blocks::short(&stream, answer_links::MAX_READ).await;
            taken.map_err(|error| js::message(reader.watch.reason().as_ref().unwrap_or(&error)))
        }
        (None, None) => Ok(Ok(ArrayBuffer::new(0))),
    };
    // The runtime unpacks a compressed body for its reader.
    reader.headers.0.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    let other = match &taken {
        Ok(Ok(buffer)) => exchange.links().rewritten(fields, &js::bytes(buffer)),
        Ok(Err(_)) => {
            exchange.warn(answer_links::TOO_LONG);
            None
        }
        Err(_) => None,
    };
    let mut edits = exchange.marks(reader.status, &reader.headers);
    edits.remove("content-encoding");
    edits.remove("content-length");
    if other.is_some() {
        DIGESTS.iter().for_each(|digest| edits.remove(*digest));
    }
    let edits = edits.to_json();
    match taken {
        Ok(Err(stream)) => {
            let client = exchange.client.clone();
            let made = |body: &JsValue| js::answered(upstream, body, &edits);
            Ok(match body::response_copying(&reader.headers) {
                Copying::Whole => teed(stream, client, reader, exchange, made),
                _ => passed(stream, client, reader, exchange, made),
            })
        }
        Ok(Ok(buffer)) => {
            let allotment = Allotment::of(u64::from(buffer.byte_length())).unwrap_or_default();
            let given = other.map(|text| Uint8Array::from(text.as_bytes()).buffer());
            short(Ok(buffer), allotment, reader, exchange, |body| {
                js::answered(upstream, given.as_ref().map_or(body, |given| given.as_ref()), &edits)
            })
        }
        Err(cause) => {
            short(Err(cause), Allotment::default(), reader, exchange, |body| js::answered(upstream, body, &edits))
        }
    }
}
