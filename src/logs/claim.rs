//! What an answer claims of a thing that a provider keeps: that it was made, and what it used.

use crate::logs::call::Call;
use crate::providers::model;
use crate::wire::{Facts, Usage};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What a log has to do with a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The thing's id.
    pub thing: String,
    /// True for the request that made it.
    pub creates: bool,
    /// True when the answer says what it used.
    pub has_usage: bool,
}

/// Why a log has no cost whose answer is still to come.
pub const OPEN: &str = "the provider is still at work on it: what it used is told by a later answer";

/// Longer ids are kept by their digest.
const MAX_ID: usize = 200;

/// What an answer has to do with a thing, if it is about one. `usage` is what is known for certain.
pub fn claim(call: &Call, facts: &Facts, usage: &Usage, is_priced: bool) -> Option<Claim> {
    let counts = [usage.tokens_in, usage.tokens_out, usage.total_tokens];
    let is_used = counts.iter().flatten().any(|count| *count > 0)
        || usage.cost.is_some_and(|cost| cost > 0.0)
        || usage.details.has_counts();
    let has_usage = is_priced || (is_used && !facts.thing.is_open);
    let looks = model::is_free(&call.method, &call.rest) || model::continues(&call.rest);
    let named = facts.thing.id.as_ref().or(facts.response_id.as_ref());
    let id = if looks {
        // What has no id is known by where it was asked for.
        has_usage.then(|| named.cloned().unwrap_or_else(|| model::looked_at(&call.rest).to_owned()))?
    } else {
        // Replicate's predictions and Gemini's interactions, whose objects have no kind.
        let last = call.rest.trim_end_matches('/').rsplit('/').next();
        let is_prediction = matches!(last, Some("predictions" | "interactions"));
        match (&facts.thing.id, facts.response_id.as_ref()) {
            (Some(id), _) if !facts.thing.is_dropped => id.clone(),
            (None, Some(id)) if facts.thing.is_open || is_prediction => id.clone(),
            _ => return None,
        }
    };
    let thing = match id.len() {
        0..=MAX_ID => id,
        _ => format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(id.as_bytes()))),
    };
    Some(Claim { thing, creates: !looks, has_usage })
}
