//! Bodies that came packed, by the decoders of the runtime. All of them stop at a bound.

use crate::http::headers::Headers;
use crate::http::refusal::Refusal;
use crate::wire::body::{self, Packed};
use js_sys::{ArrayBuffer, Promise};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = unpacked)]
    fn unpack(buffer: &ArrayBuffer, codings: &str, most: f64) -> Promise;
}

/// What was packed in some ways, one after the other, as far as a body may grow.
pub async fn unpacked(buffer: &ArrayBuffer, codings: &[String]) -> Result<ArrayBuffer, Packed> {
    let most = body::unpacked_limit(buffer.byte_length() as usize);
    let unpacked = JsFuture::from(unpack(buffer, &codings.join(","), most as f64)).await;
    match unpacked.map(|unpacked| unpacked.dyn_into()) {
        Ok(Ok(unpacked)) => Ok(unpacked),
        Ok(Err(why)) if why.as_string().as_deref() == Some("unknown") => Err(Packed::Unknown),
        Ok(Err(why)) if why.as_string().as_deref() == Some("long") => Err(Packed::TooLong),
        Ok(Err(_)) | Err(_) => Err(Packed::Broken),
    }
}

/// A body that has to be read before anything can be done with it. `whose` names what it is for.
pub async fn plain(buffer: ArrayBuffer, headers: &Headers, whose: &str) -> Result<ArrayBuffer, Refusal> {
    let codings = headers.content_codings();
    if codings.is_empty() {
        return Ok(buffer);
    }
    unpacked(&buffer, &codings).await.map_err(|packed| {
        let why = packed.of_request();
        let description = format!(
            "Tollgate has to read a request to {whose} itself: {why}. Send it without content-encoding, or with gzip, deflate, \
             br or zstd; up to 10 MB when it is unpacked."
        );
        match packed {
            Packed::Unknown => Refusal::unsupported_encoding(description),
            Packed::TooLong => Refusal::body_too_large(description),
            Packed::Broken => Refusal::bad_request(description),
        }
    })
}
