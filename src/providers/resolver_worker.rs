//! Which addresses names lead to, as the operator's resolver tells, kept in the isolate for a moment.

use crate::platform::{js, now, within};
use crate::providers::fault::Fault;
use crate::providers::resolver::{self, KINDS, Lookup};
use crate::providers::upstream::CustomProvider;
use futures_util::FutureExt;
use futures_util::future::join;
use std::cell::RefCell;
use std::net::IpAddr;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, RequestRedirect};

/// How long an answer holds, in milliseconds. A name that changes between two looks is noticed at the second.
const FRESH_MS: u64 = 30_000;

/// How long a resolver that failed is left alone.
const FAILED_MS: u64 = 5_000;

const PATIENCE_MS: u64 = 2_000;

/// Names of custom providers are few; more than these means that they change all the time.
const MAX_ENTRIES: usize = 200;

struct Entry {
    name: String,
    found: Lookup,
    until: u64,
}

thread_local! {
    static KNOWN: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Lets a request go to a custom provider, unless its host is inside a network that is none of the gateway's callers' business.
/// `endpoint` is the resolver's URL, and `internal_allowed` what the operator says of such hosts.
pub async fn admit(provider: &CustomProvider, internal_allowed: bool, endpoint: &str) -> Result<(), Fault> {
    match provider.name_to_check(internal_allowed)? {
        Some(name) => provider.admit(&known(&name, endpoint).boxed_local().await),
        None => Ok(()),
    }
}

/// Asks for the addresses of a name.
pub async fn look_up(name: &str, endpoint: &str) -> Lookup {
    let [(first, _), (second, _)] = KINDS;
    let (first, second) = join(asked(endpoint, name, first), asked(endpoint, name, second)).await;
    Lookup::together([first, second])
}

async fn known(name: &str, endpoint: &str) -> Lookup {
    let kept = KNOWN.with_borrow(|known| {
        known.iter().find(|entry| entry.name == name).map(|entry| (entry.found.clone(), entry.until))
    });
    if let Some((found, until)) = &kept
        && now() < *until
    {
        return found.clone();
    }
    let (found, fresh_ms) = match (look_up(name, endpoint).await, kept) {
        // What was known before goes on to hold.
        (Lookup::Failed(_), Some((found @ Lookup::Found(_), _))) => (found, FAILED_MS),
        (failed @ Lookup::Failed(_), _) => (failed, FAILED_MS),
        (found, _) => (found, FRESH_MS),
    };
    KNOWN.with_borrow_mut(|known| {
        known.retain(|entry| entry.name != name);
        if known.len() >= MAX_ENTRIES {
            known.clear();
        }
        known.push(Entry { name: name.to_owned(), found: found.clone(), until: now() + fresh_ms });
    });
    found
}

async fn asked(endpoint: &str, name: &str, kind: &str) -> Result<Vec<IpAddr>, String> {
    let asked = async {
        let init = RequestInit::new();
        let headers = web_sys::Headers::new().map_err(|error| js::message(&error))?;
        headers.set("accept", "application/dns-json").map_err(|error| js::message(&error))?;
        init.set_headers(&headers);
        init.set_redirect(RequestRedirect::Manual);
        let answer = js::fetch(&resolver::question(endpoint, name, kind), &init).await?;
        let text = answer.text().map_err(|error| js::message(&error))?;
        let text = JsFuture::from(text).await.map_err(|error| js::message(&error))?;
        let text = text.dyn_ref::<js_sys::JsString>().map(String::from).unwrap_or_default();
        resolver::answer(answer.status(), &text)
    };
    within(PATIENCE_MS, asked).await.unwrap_or_else(|| Err(format!("it did not answer within {PATIENCE_MS} ms")))
}
