//! A request of the control plane, as handlers are given what they need of it.

use crate::api::Place;
use crate::api::custom_providers::Guard;
use crate::auth::caller::Caller;
use crate::base::id::{self, MarkKey};
use crate::config::bounds::Bounds;
use crate::db::audit::Actor;
use crate::feedback::locate;
use crate::gateways::gateway::{self, Gateway};
use crate::http::envelope::ApiError;
use crate::http::query::Query;
use crate::http::router::Route;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// A request of the control plane whose caller is known.
#[derive(Clone)]
pub struct Request<'a> {
    pub route: Route<'a>,
    pub query: Query,
    pub body: &'a [u8],
    /// The header `if-match`: the versions of a resource that may be changed.
    pub if_match: Option<&'a str>,
    /// The header `accept`.
    pub accept: Option<&'a str>,
    pub caller: &'a Caller,
    /// Scheme and host the caller used, for URLs in answers.
    pub origin: &'a str,
    pub now_ms: u64,
    /// An id for whatever the request creates.
    pub new_id: String,
    /// Randomness for a token.
    pub entropy: [u8; 32],
    /// What log ids are marked with.
    pub mark: MarkKey,
    /// What decides where a custom provider may lead.
    pub guard: Guard,
    /// How many entries of a request's metadata are kept.
    pub metadata_entries: usize,
    /// How many of each kind can be made.
    pub bounds: &'a Bounds,
}

// === impl Request ===

impl<'a> Request<'a> {
    /// Whether its caller has a right to it.
    pub(super) fn admitted(&self) -> Result<(), ApiError> {
        let account = self.route.account;
        if !account.is_empty() && !gateway::is_account_id(account) {
            return Err(ApiError::not_found());
        }
        self.caller.admit(&self.route)
    }

    /// A request by the same caller, at the same moment, with ids and randomness of its own.
    pub(super) fn another<'b>(&'b self, route: Route<'b>, query: Query, body: &'b [u8], number: u32) -> Request<'b> {
        let digest = Sha256::new().chain_update(self.entropy).chain_update(number.to_be_bytes()).finalize();
        let random = digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u128::from(*byte));
        // What one document makes is listed in its order: all of it has one time, and the ids decide.
        let random = random | (u128::from(number & 0xfff) << 64);
        let entropy = Sha256::digest(digest).into();
        Request {
            route,
            query,
            body,
            if_match: None,
            accept: None,
            caller: self.caller,
            origin: self.origin,
            now_ms: self.now_ms,
            new_id: id::mint(self.now_ms, random),
            entropy,
            mark: self.mark,
            guard: self.guard.clone(),
            metadata_entries: self.metadata_entries,
            bounds: self.bounds,
        }
    }

    pub(super) fn place(&self, found: &Gateway) -> Place<'a> {
        Place { account: self.route.account, gateway: self.route.gateway, key: found.key }
    }

    /// The id of a request for feedback. Providers' and callers' ids may have characters that paths escape.
    pub(super) fn feedback_id(&self) -> Result<String, ApiError> {
        let decoded = percent_decode_str(self.route.id).decode_utf8();
        decoded.map(Cow::into_owned).map_err(|_| ApiError::not_found())
    }

    pub(super) fn actor(&self) -> Actor<'_> {
        Actor { name: self.caller.actor(), now_ms: self.now_ms, entry: self.new_id.clone() }
    }

    pub(super) fn feedback_context(&self) -> locate::Context<'_> {
        locate::Context {
            caller: self.caller,
            query: &self.query,
            mark: &self.mark,
            now_ms: self.now_ms,
            entry: self.new_id.clone(),
        }
    }
}
