//! Judges are asked through the gateway itself, as any application would, so that their calls are logged and priced. The
//! proxy gives them a stored key or the operator's, for they bring none.

use crate::evaluate::run::{Call, Heard, MAX_SAID, World};
use crate::http::message_worker::Incoming;
use crate::http::router::{Access, Endpoint, Route};
use crate::platform::js::{self, Watch};
use crate::platform::{Runtime, blocks, now, turns};
use crate::proxy::caller::Caller;
use crate::proxy::handle;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{AbortSignal, Request, RequestInit};

/// A judge that takes longer than this has no verdict, in milliseconds. Less than a runner's lease.
const PATIENCE_MS: u32 = 20_000;

pub struct Gateway<'a> {
    runtime: &'a Rc<Runtime>,
}

impl<'a> Gateway<'a> {
    pub fn new(runtime: &'a Rc<Runtime>) -> Self {
        Self { runtime }
    }
}

impl World for Gateway<'_> {
    fn now(&self) -> u64 {
        now()
    }

    async fn rest(&self) {
        turns::rest().await;
    }

    async fn ask(&self, call: &Call<'_>) -> Result<Heard, String> {
        let said = |error: JsValue| js::message(&error);
        let headers = web_sys::Headers::new().map_err(said)?;
        let provider = call.question.provider.as_str();
        if provider == "anthropic" {
            headers.set("anthropic-version", "2023-06-01").map_err(said)?;
        }
        headers.set("content-type", "application/json").map_err(said)?;
        headers.set("cf-aig-collect-log", "true").map_err(said)?;
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(&call.question.body.to_string()));
        let request = Request::new_with_str_and_init("https://tollgate/", &init).map_err(said)?;
        let route = Route {
            endpoint: Endpoint::Proxy,
            access: Access::Gateway,
            account: call.account,
            gateway: call.gateway,
            provider,
            id: "",
            version: "",
            rest: &call.question.path,
        };
        let caller = Caller {
            trusted: true,
            signal: Some(AbortSignal::timeout_with_u32(PATIENCE_MS)),
            evaluation_id: Some(call.evaluation_id.to_owned()),
            ..Caller::default()
        };
        let answer = handle::handle(&Incoming::new(request), route, "", caller, self.runtime).await;
        let log_id = answer.headers().get("cf-aig-log-id").ok().flatten();
        let (body, is_whole) = match answer.body() {
            None => (String::new(), true),
            Some(stream) => {
                let taken = blocks::beginning(&stream, MAX_SAID as u64, &Watch::default()).await;
                let (buffer, is_whole, _share) = taken.map_err(said)?;
                let bytes = js_sys::Uint8Array::new(&buffer).to_vec();
                (String::from_utf8_lossy(&bytes).into_owned(), is_whole)
            }
        };
        Ok(Heard { status: answer.status(), body, is_whole, log_id })
    }
}
