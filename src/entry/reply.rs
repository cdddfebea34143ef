//! Replies of the control plane that are more than a text: a body out of the bucket, and an export.

use crate::api::log_export::Export;
use crate::http::envelope::{ApiError, Reply, Span};
use crate::http::message_worker::{made_headers, own_headers};
use crate::platform::bodies::Bodies;
use crate::platform::js::{self, IdentityTransformStream};
use crate::platform::{Carried, Runtime, console};
use js_sys::Uint8Array;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Response, ResponseInit};

/// An answer whose body comes from the bucket, without a copy of it here.
pub async fn streamed(reply: &Reply, span: &Span, runtime: &Runtime) -> Result<Response, ApiError> {
    let bodies = Bodies::new(&runtime.env);
    if !bodies.is_bound() {
        return Err(ApiError::unavailable(
            "The body of this log is in an R2 bucket that is not bound to the Worker as BODIES any more",
        ));
    }
    let range = js::object(&[("offset", (span.offset as f64).into()), ("length", (span.length as f64).into())]);
    let Some(stored) = bodies.get(&span.id, &js::object(&[("range", range.into())])).await? else {
        let message = "The body of this log is not in the bucket any more".to_owned();
        return Err(ApiError::not_found().with(|error| error.message = message));
    };
    let made = own_headers(reply).and_then(|headers| js::answer(&stored.body(), reply.status, "", &headers));
    made.map_err(ApiError::internal)
}

/// An export as a file that is written while it is read. When the database fails, the file breaks off visibly.
pub fn exported(mut export: Export, shard: u32, runtime: Rc<Runtime>) -> Response {
    let pipe = IdentityTransformStream::new();
    let init = ResponseInit::new();
    if let Ok(headers) = made_headers(export.content_type(), &export.headers()) {
        init.set_headers(&headers);
    }
    let response = Response::new_with_opt_readable_stream_and_init(Some(&pipe.readable()), &init);
    let kept = Rc::clone(&runtime);
    let carried = Carried::begin();
    kept.beside(async move {
        let _carried = carried;
        let Ok(writer) = pipe.writable().get_writer() else { return };
        let store = runtime.database_of(shard);
        loop {
            match export.next(&store).await {
                Ok(Some(piece)) => {
                    let bytes = Uint8Array::from(piece.as_bytes());
                    if JsFuture::from(writer.write_with_chunk(&bytes)).await.is_err() {
                        // The reader left.
                        return;
                    }
                }
                Ok(None) => {
                    let _ = JsFuture::from(writer.close()).await;
                    return;
                }
                Err(error) => {
                    let line =
                        crate::base::json::json!({ "level": "error", "event": "export_failed", "cause": error.0 });
                    console::error(&line);
                    let _ = JsFuture::from(writer.abort_with_reason(&JsValue::from_str("the database failed"))).await;
                    return;
                }
            }
        }
    });
    response.unwrap_or_else(|_| Response::error())
}
