//! `/openapi.json`: what Tollgate serves, for programs that read such descriptions. It is written by hand in `src/openapi.json`, and
//! lies with the dashboard's files, because the Worker itself never reads it.

use crate::http::envelope::ApiError;
use crate::http::message_worker;
use crate::platform::{Runtime, assets, js};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

/// Its name among the files, which `scripts/setup.mjs` writes it under.
const FILE: &str = "openapi.json";

/// `GET /openapi.json`
pub async fn document(runtime: &Runtime) -> Response {
    given(runtime).await.unwrap_or_else(|reason| {
        let message = format!("The description of the API is not there: {reason}");
        message_worker::response(&ApiError::unavailable(message).reply())
    })
}

async fn given(runtime: &Runtime) -> Result<Response, String> {
    let failed = |error: JsValue| js::message(&error);
    let file = assets::fetch(&runtime.env, FILE).await?.ok_or(
        "the files of the binding ASSETS have no openapi.json. `node scripts/setup.mjs build` writes it into dashboard/dist",
    )?;
    // As a buffer, so that the runtime knows how long the answer is.
    let text = JsFuture::from(file.array_buffer().map_err(failed)?).await.map_err(failed)?;
    js::answer(&text, 200, "", &message_worker::made_headers("application/json", &[])?)
}
