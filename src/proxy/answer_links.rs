//! The addresses of an answer on its way to the client, led below the gateway.

use crate::config::isolate_worker::config;
use crate::credentials::select;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::{Edits, Headers};
use crate::logs::call::Credential;
use crate::platform::now;
use crate::providers::links::fields::Act;
use crate::providers::links::fields::{self, Fields};
use crate::providers::links::{self, Site, body};
use crate::providers::upstream::Upstream;
use crate::proxy::capability::{self, Bound, Grant, LIFETIME_MS, PARAMETER, SentWith};
use crate::proxy::exchange::Exchange;
use std::rc::Rc;

/// A longer answer goes to the client as it came, in bytes.
pub const MAX_READ: u64 = 8 * 1024 * 1024;

/// What a caller is told of an answer with addresses in it that is too long to be read.
pub const TOO_LONG: &str =
    "the answer is too long to be looked through, so addresses in it lead to the provider and not to this gateway";

/// Where a client gets a redirect's address that it must not follow by itself.
pub const WITHHELD: &str = "cf-aig-location";

/// The way that a request came.
pub struct Door {
    /// What the gateway's addresses begin with for the client. `None` for a call that names no host.
    pub origin: Option<Rc<str>>,
    pub account: String,
    pub gateway: String,
    /// The provider as the path names it.
    pub provider: String,
    pub snapshot: Rc<GatewaySnapshot>,
    /// Who was let in; empty for a stranger.
    pub identity: String,
    /// True where a client that follows an address takes our token along, wherever it leads.
    pub token_travels: bool,
    /// `x-fal-target-url`.
    pub target: Option<String>,
}

/// Leads the addresses in headers below the gateway. Returns what the caller is to be warned of.
pub fn rewrite_headers(
    exchange: &Exchange,
    status: u16,
    theirs: &Headers,
    edits: &mut Edits<'_>,
) -> Option<&'static str> {
    let mut warning = None;
    for (name, value) in &theirs.0 {
        if !links::may_hold_one(name, value) || edits.get(theirs, name).is_none() {
            continue;
        }
        if name == "link" {
            if let Some(other) = links::relinked(value, |address| below(exchange, address, None, false)) {
                edits.set(name.clone(), other);
            }
            continue;
        }
        // What the older protocol of uploads says in a location is what the newer has a header for.
        let is_upload = links::is_of_upload(name, status) && exchange.call.rest.split('/').any(|part| part == "upload");
        let act = is_upload.then_some(Act::Upload);
        match below(exchange, value.trim(), act, name == "location") {
            Some(other) => edits.set(name.clone(), other),
            None if exchange.door.token_travels && links::is_followed(name, status) && links::is_absolute(value) => {
                let masked = exchange.call.secrets.for_caller().header(value);
                edits.set(WITHHELD, masked.unwrap_or_else(|| value.clone()));
                edits.remove(name.clone());
                warning = Some(
                    "the provider names an address on another host, where the client would take its Tollgate token; it is in \
                     cf-aig-location instead",
                );
            }
            None => {}
        }
    }
    warning
}

/// The fields of an answer whose addresses are led below the gateway.
pub fn fields(exchange: &Exchange, status: u16, headers: &Headers) -> Vec<&'static Fields> {
    let is_json = || headers.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    if !(200..300).contains(&status) || exchange.door.origin.is_none() {
        return Vec::new();
    }
    let is_queued =
        exchange.call.provider == "fal" && fields::is_queued(&exchange.call.rest, exchange.door.target.as_deref());
    let found = fields::of(&exchange.call.provider, &exchange.call.rest, is_queued);
    if found.is_empty() || !is_json() { Vec::new() } else { found }
}

/// A body with its addresses below the gateway; `None` if it has none of the provider's.
pub fn rewritten(exchange: &Exchange, fields: &[&'static Fields], bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let places = fields.iter().flat_map(|fields| fields.places.iter().copied());
    body::rewritten(text, places, |address, place| {
        let of_place = fields.iter().find(|fields| fields.places.contains(&place));
        below(exchange, address, of_place.and_then(|fields| fields.without_token), false)
    })
}

/// Where an address of the provider's is below the gateway. For `act` it can be followed without a token.
fn below(exchange: &Exchange, address: &str, act: Option<Act>, is_relative: bool) -> Option<String> {
    let door = &exchange.door;
    let origin = door.origin.as_deref()?;
    let upstream = Upstream::find(&door.provider, &door.snapshot.custom).ok()?;
    let site =
        Site::of(upstream, config(&exchange.runtime).base_url(upstream.slug()), &door.account, &exchange.call.rest);
    let below = site.below(address);
    let below = below.or_else(|| is_relative.then(|| site.below_relative(address)).flatten())?;
    // Some providers put the key that they were sent into the address. It is sent again, and its caller does not know it.
    let mut query = below.query;
    if exchange.call.secrets.has_kept() {
        let masker = exchange.call.secrets.for_caller();
        let without = select::outgoing_query(&query, false, |value| masker.header(value).is_some(), |_| false);
        query = without.into_owned().into();
    }
    let mut query = query.into_owned();
    if let Some(act) = act.filter(|_| !door.identity.is_empty()) {
        let admin = config(&exchange.runtime).admin.as_ref().ok()?;
        let url = site.url(&below.rest, &query, site.base_override)?;
        let bound =
            Bound { account: &door.account, gateway: door.snapshot.gateway.key, provider: upstream.slug(), url: &url };
        let sent_with = match &exchange.call.credential {
            Credential::Request | Credential::None => SentWith::Own,
            Credential::Stored(alias) => SentWith::Kept(Some(alias.clone())),
            Credential::Operator => SentWith::Kept(None),
        };
        let grant = Grant { act, identity: door.identity.clone(), sent_with, until: now() + LIFETIME_MS };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&format!("{PARAMETER}={}", capability::issue(&admin.capability_key(), &bound, &grant)));
    }
    let (account, gateway, provider, rest) = (&door.account, &door.gateway, &door.provider, &below.rest);
    let led = format!("{origin}/v1/{account}/{gateway}/{provider}/{rest}{query}");
    Some(exchange.call.secrets.for_caller().header(&led).filter(|_| exchange.call.secrets.has_kept()).unwrap_or(led))
}
