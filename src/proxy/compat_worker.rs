//! A request to `compat` becomes one to the provider that its model names, before anything else is asked about it.

use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::router::Route;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::blocks::{self, Untaken};
use crate::platform::js;
use crate::providers::table::COMPAT;
use crate::providers::upstream::CustomProvider;
use crate::proxy::compat;
use crate::proxy::upstream_request::{MAX_KEPT, Unsent};
use crate::wire::unpack_worker;
use futures_util::FutureExt;
use js_sys::Uint8Array;
use web_sys::{Request, RequestInit};

pub struct Resolved {
    pub asked: Incoming,
    provider: String,
    rest: &'static str,
    /// Room for the body as it came and as it is read.
    _share: GrowingAllotment,
}

/// The request and the provider behind it; `None` for a request that is not for `compat`.
pub async fn resolved(
    asked: &Incoming,
    route: &Route<'_>,
    custom: &[CustomProvider],
) -> Result<Option<Resolved>, Unsent> {
    match route.provider {
        COMPAT => understood(asked, route, custom).boxed_local().await.map(Some),
        _ => Ok(None),
    }
}

async fn understood(asked: &Incoming, route: &Route<'_>, custom: &[CustomProvider]) -> Result<Resolved, Unsent> {
    let request = &asked.request;
    let (bytes, allotment) = match request.body() {
        None => (Vec::new(), GrowingAllotment::default()),
        Some(_) => {
            let (whole, allotment) = blocks::bounded(request, MAX_KEPT, 1).await.map_err(|untaken| match untaken {
                Untaken::Broken(_) => Unsent::ClientLeft,
                Untaken::NoRoom => Refusal::no_room("a request to compat of that length").into(),
                Untaken::TooLong => {
                    let description = format!("A request to compat must not be longer than {MAX_KEPT} bytes.");
                    Refusal::body_too_large(description).into()
                }
            })?;
            (js::bytes(&unpack_worker::plain(whole, &asked.headers, COMPAT).await?), allotment)
        }
    };
    let compat::Resolved { provider, rest, body } = compat::resolve(route.rest, &bytes, custom)?;
    let init = RequestInit::new();
    // As bytes, because a string would bring a content type of its own.
    init.set_body(&Uint8Array::from(body.as_bytes()));
    let made = Request::new_with_request_and_init(request, &init)
        .map_err(|error| Refusal::unreachable(format!("compat: {}", js::message(&error))))?;
    // Its headers are those of the client, but for how the body is packed: it is written anew.
    let _ = made.headers().delete("content-encoding");
    let mut headers = asked.headers.clone();
    headers.0.retain(|(name, _)| name != "content-encoding");
    let asked = Incoming { request: made, method: asked.method.clone(), url: String::new(), headers };
    Ok(Resolved { asked, provider, rest, _share: allotment })
}

// === impl Resolved ===

impl Resolved {
    /// The route to the real provider.
    pub fn route<'a>(&'a self, given: Route<'a>) -> Route<'a> {
        Route { provider: &self.provider, rest: self.rest, ..given }
    }
}
