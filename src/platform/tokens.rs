//! Who a request's token belongs to, remembered in the isolate for a few seconds.

use super::{Around, gateways, now};
use crate::api::tokens;
use crate::auth::{self, Presented};
use crate::caller::{Caller, Token};
use crate::store::StoreError;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How long a token that was revoked through another isolate may go on to work here, in milliseconds.
const FRESH_MS: u64 = 5_000;

/// `last_used_at` is kept to the minute: a write on every request would cost more than the request.
const USED_MS: u64 = 60_000;

/// Made-up tokens are remembered too; the cache starts anew rather than grow.
const MAX_ENTRIES: usize = 1_000;

struct Entry {
    token: Option<Token>,
    read_at: u64,
    noted_at: u64,
}

thread_local! {
    static CACHE: RefCell<HashMap<String, Entry>> = RefCell::new(HashMap::new());
}

/// The caller that the presented token proves, or `None` without a valid one.
pub async fn identify(around: &Rc<Around>, presented: &Presented) -> Result<Option<Caller>, StoreError> {
    if presented.is_admin {
        return Ok(Some(Caller::Admin));
    }
    let Some(value) = &presented.token else { return Ok(None) };
    let digest = auth::digest_text(value);
    let token = known(around, &digest).await?.filter(|token| token.is_valid(now()));
    if let Some(token) = &token {
        note(around, &digest, &token.id);
    }
    Ok(token.map(Caller::Token))
}

/// Forgets all, after a change of any.
pub fn forget_all() {
    CACHE.with_borrow_mut(HashMap::clear);
}

async fn known(around: &Around, digest: &str) -> Result<Option<Token>, StoreError> {
    let kept =
        CACHE.with_borrow(|cache| cache.get(digest).map(|entry| (entry.token.clone(), entry.read_at, entry.noted_at)));
    if let Some((token, read_at, _)) = &kept
        && now().saturating_sub(*read_at) < FRESH_MS
    {
        return Ok(token.clone());
    }
    let token = match (tokens::find(&around.database().within(gateways::PATIENCE_MS), digest).await, &kept) {
        (Ok(token), _) => token,
        // While D1 does not answer, a token that was valid goes on to be.
        (Err(_), Some((Some(token), ..))) => Some(token.clone()),
        (Err(error), _) => return Err(error),
    };
    let noted_at = kept.map_or(0, |(_, _, noted_at)| noted_at);
    CACHE.with_borrow_mut(|cache| {
        if cache.len() >= MAX_ENTRIES {
            cache.clear();
        }
        cache.insert(digest.to_owned(), Entry { token: token.clone(), read_at: now(), noted_at });
    });
    Ok(token)
}

fn note(around: &Rc<Around>, digest: &str, id: &str) {
    let due = CACHE.with_borrow_mut(|cache| {
        let entry = cache.get_mut(digest)?;
        let due = now().saturating_sub(entry.noted_at) >= USED_MS;
        if due {
            entry.noted_at = now();
        }
        due.then_some(())
    });
    if due.is_some() {
        let (kept, id) = (Rc::clone(around), id.to_owned());
        // A time that is not noted is no reason to complain.
        around.context.wait_until(async move { tokens::used(&kept.database(), &id, now()).await.unwrap_or_default() });
    }
}
