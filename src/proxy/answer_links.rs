//! The addresses of an answer on its way to the client, led below the gateway.

use crate::base::mask::Masker;
use crate::config::isolate_worker::config;
use crate::credentials::select;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::{Edits, Headers};
use crate::logs::call::{Call, Credential};
use crate::platform::{Runtime, now};
use crate::providers::links::fields::Act;
use crate::providers::links::fields::{self, Fields};
use crate::providers::links::{self, Site, body};
use crate::providers::upstream::Upstream;
use crate::proxy::capability::{self, Bound, Grant, LIFETIME_MS, PARAMETER, SentWith};
use std::cell::OnceCell;
use std::rc::Rc;

/// A longer answer goes to the client as it came, in bytes.
pub const MAX_READ: u64 = 8 * 1024 * 1024;

/// What a caller is told of an answer with addresses in it that is too long to be read.
pub const TOO_LONG: &str =
    "the answer is too long to be looked through, so addresses in it lead to the provider and not to this gateway";

/// Where a client gets a redirect's address that it must not follow by itself.
pub const WITHHELD: &str = "cf-aig-location";

/// The way that a request came. Every request has one, and few answers have an address: nothing is copied for it.
#[derive(Clone)]
pub struct Door {
    /// What the gateway's addresses begin with for the client. `None` for a call that names no host.
    pub origin: Option<Rc<str>>,
    pub snapshot: Rc<GatewaySnapshot>,
    /// The provider as the path names it, where that is not the name that the call has of it.
    pub provider: Option<Rc<str>>,
    /// Who was let in; empty for a stranger.
    pub identity: Rc<str>,
    /// True where a client that follows an address takes our token along, wherever it leads.
    pub token_travels: bool,
    /// `x-fal-target-url`.
    pub target: Option<Rc<str>>,
}

/// Leads the addresses of one answer below the gateway.
pub struct Links<'a> {
    pub call: &'a Call,
    pub door: &'a Door,
    pub runtime: &'a Runtime,
    /// Found out at the first address.
    ways: OnceCell<Option<Ways<'a>>>,
}

/// From where addresses lead, and to where.
struct Ways<'a> {
    origin: &'a str,
    provider: &'a str,
    site: Site<'a>,
    /// Knows the keys that the provider was sent and the client does not know, if there are any.
    masker: Option<Masker>,
}

// === impl Door ===

impl Door {
    /// How a path names the provider, to be kept beside what the call has for it.
    pub fn provider_beside(call: &Call, named: &str) -> Option<Rc<str>> {
        (call.provider != named).then(|| named.into())
    }
}

// === impl Links ===

impl<'a> Links<'a> {
    pub fn new(call: &'a Call, door: &'a Door, runtime: &'a Runtime) -> Self {
        Self { call, door, runtime, ways: OnceCell::new() }
    }

    /// Leads the addresses in headers below the gateway. Returns what the caller is to be warned of.
    pub fn rewrite_headers(&self, status: u16, theirs: &Headers, edits: &mut Edits<'_>) -> Option<&'static str> {
        let mut warning = None;
        for (name, value) in &theirs.0 {
            if !links::may_hold_one(name, value) || edits.get(theirs, name).is_none() {
                continue;
            }
            if name == "link" {
                if let Some(other) = links::relinked(value, |address| self.below(address, None, false)) {
                    edits.set(name.clone(), other);
                }
                continue;
            }
            // What the older protocol of uploads says in a location is what the newer has a header for.
            let is_upload = links::is_of_upload(name, status) && self.call.rest.split('/').any(|part| part == "upload");
            let act = is_upload.then_some(Act::Upload);
            match self.below(value.trim(), act, name == "location") {
                Some(other) => edits.set(name.clone(), other),
                None if self.door.token_travels && links::is_followed(name, status) && links::is_absolute(value) => {
                    let masked = self.call.secrets.for_caller().header(value);
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
    pub fn fields(&self, status: u16, headers: &Headers) -> Vec<&'static Fields> {
        let is_json = || headers.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
        if !(200..300).contains(&status) || self.door.origin.is_none() {
            return Vec::new();
        }
        let Call { provider, rest, .. } = self.call;
        let is_queued = provider == "fal" && fields::is_queued(rest, self.door.target.as_deref());
        let found = fields::of(provider, rest, is_queued);
        if found.is_empty() || !is_json() { Vec::new() } else { found }
    }

    /// A body with its addresses below the gateway; `None` if it has none of the provider's.
    pub fn rewritten(&self, fields: &[&'static Fields], bytes: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(bytes).ok()?;
        let places = fields.iter().flat_map(|fields| fields.places.iter().copied());
        body::rewritten(text, places, |address, place| {
            let of_place = fields.iter().find(|fields| fields.places.contains(&place));
            self.below(address, of_place.and_then(|fields| fields.without_token), false)
        })
    }

    /// `None` where no address leads anywhere.
    fn ways(&self) -> Option<&Ways<'a>> {
        let find = || {
            let Self { call, door, runtime, .. } = *self;
            let origin = door.origin.as_deref()?;
            let provider = door.provider.as_deref().unwrap_or(&call.provider);
            let upstream = Upstream::find(provider, &door.snapshot.custom).ok()?;
            let base = config(runtime).base_url(upstream.slug());
            let site = Site::of(upstream, base, &door.snapshot.gateway.account_id, &call.rest);
            let masker = call.secrets.has_kept().then(|| call.secrets.for_caller());
            Some(Ways { origin, provider, site, masker })
        };
        self.ways.get_or_init(find).as_ref()
    }

    /// Where an address of the provider's is below the gateway. For `act` it can be followed without a token.
    fn below(&self, address: &str, act: Option<Act>, is_relative: bool) -> Option<String> {
        let Ways { origin, provider, site, masker } = self.ways()?;
        let gateway = &self.door.snapshot.gateway;
        let below = site.below(address);
        let below = below.or_else(|| is_relative.then(|| site.below_relative(address)).flatten())?;
        // Some providers put the key that they were sent into the address. It is sent again, and its caller does not know it.
        let mut query = below.query;
        if let Some(masker) = masker {
            let without = select::outgoing_query(&query, false, |value| masker.header(value).is_some(), |_| false);
            query = without.into_owned().into();
        }
        let mut query = query.into_owned();
        if let Some(act) = act.filter(|_| !self.door.identity.is_empty()) {
            let admin = config(self.runtime).admin.as_ref().ok()?;
            let url = site.url(&below.rest, &query, site.base_override)?;
            let provider = site.upstream.slug();
            let bound = Bound { account: &gateway.account_id, gateway: gateway.key, provider, url: &url };
            let sent_with = match &self.call.credential {
                Credential::Request | Credential::None => SentWith::Own,
                Credential::Stored(alias) => SentWith::Kept(Some(alias.clone())),
                Credential::Operator => SentWith::Kept(None),
            };
            let identity = self.door.identity.to_string();
            let grant = Grant { act, identity, sent_with, until: now() + LIFETIME_MS };
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(&format!("{PARAMETER}={}", capability::issue(&admin.capability_key(), &bound, &grant)));
        }
        let (account, gateway, rest) = (&gateway.account_id, &gateway.id, &below.rest);
        let led = format!("{origin}/v1/{account}/{gateway}/{provider}/{rest}{query}");
        Some(masker.as_ref().and_then(|masker| masker.header(&led)).unwrap_or(led))
    }
}
