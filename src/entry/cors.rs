//! What pages of other origins get: answers to their preflights, and the headers by which they may read an answer. The rules
//! are in `crate::http::cors`.

use crate::db::store::StoreError;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::gateways::snapshot_worker;
use crate::http::cors::{self, Allowed, Subject};
use crate::http::envelope::Reply;
use crate::http::headers::{Edits, Headers};
use crate::http::message_worker;
use crate::http::message_worker::Incoming;
use crate::platform::Runtime;
use futures_util::FutureExt;
use std::rc::Rc;
use web_sys::Response;

/// The answer to OPTIONS of a path that has these methods. It is not for providers to say.
pub async fn asked(asked: &Incoming, path: &str, methods: &str, runtime: &Runtime) -> Reply {
    let reply = Reply { status: 204, content_type: "", headers: Vec::new(), body: String::new(), object: None };
    let mut reply = reply.with_header("allow", methods.to_owned());
    if cors::is_preflight(&asked.method, &asked.headers) {
        match Subject::of(path, &asked.headers) {
            Some(Subject::Feedback | Subject::Unnamed) => {
                reply.headers.extend(cors::granted_to_all(&asked.headers, methods))
            }
            Some(Subject::Gateway { account, gateway }) => {
                if let Ok(Some(snapshot)) = snapshot(account, gateway, runtime).await
                    && let Some(cors) = &snapshot.gateway.cors
                {
                    reply.headers.extend(cors.preflight(&asked.headers, methods));
                }
            }
            None => {}
        }
    }
    reply
}

/// Adds to an answer, or a refusal, what lets a page read it, if its origin may.
pub async fn let_read(asked: &Incoming, path: &str, response: &Response, runtime: &Runtime) {
    if cors::is_preflight(&asked.method, &asked.headers) {
        return;
    }
    let origin = asked.headers.get("origin");
    match Subject::of(path, &asked.headers) {
        None | Some(Subject::Unnamed) => {}
        Some(Subject::Feedback) => add(response, origin.map(|_| Allowed::ByAny)),
        Some(Subject::Gateway { account, gateway }) => {
            let snapshot = match snapshot_worker::known(account, gateway) {
                // What was refused before a handler looked at it.
                None if origin.is_some() => snapshot(account, gateway, runtime).boxed_local().await.ok().flatten(),
                known => known.flatten(),
            };
            if let Some(cors) = snapshot.as_ref().and_then(|snapshot| snapshot.gateway.cors.as_ref())
                && response.status() != 101
            {
                add(response, origin.and_then(|origin| cors.allows(origin)));
                let _ = response.headers().append("vary", cors::VARY);
            }
        }
    }
}

async fn snapshot(account: &str, gateway: &str, runtime: &Runtime) -> Result<Option<Rc<GatewaySnapshot>>, StoreError> {
    snapshot_worker::settings(runtime, account, gateway, false).await
}

fn add(response: &Response, allowed: Option<Allowed<'_>>) {
    let Some(allowed) = allowed else { return };
    let headers = response.headers();
    let Headers(all) = message_worker::headers(&headers);
    let mut edits = Edits::default();
    for (name, value) in cors::readable(allowed, all.iter().map(|(name, _)| name.as_str())) {
        edits.set(name, value);
    }
    message_worker::edit(&headers, &edits);
}
