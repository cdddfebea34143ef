//! Who a request's token belongs to, remembered in the isolate for a few seconds.

use crate::auth::caller::{Caller, Token};
use crate::auth::presented::{self, Presented};
use crate::auth::tokens;
use crate::auth::wrong_tokens::{self, WrongTokens};
use crate::db::store::StoreError;
use crate::http::headers::Headers;
use crate::platform::{Runtime, d1, now};
use futures_util::FutureExt;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How long a token that was revoked through another isolate may go on to work here, in milliseconds.
const FRESH_MS: u64 = 5_000;

/// `last_used_at` is kept to the minute: a write on every request would cost more than the request.
const USED_MS: u64 = 60_000;

/// So many tokens that are right are remembered, and so many that are not. Either starts anew rather than grow, and apart from
/// the other: a caller who makes tokens up must not have the right ones forgotten.
const MAX_ENTRIES: usize = 1_000;

struct Entry {
    token: Token,
    read_at: u64,
    noted_at: u64,
    /// Something changed: it does not hold until it has been read again.
    is_doubtful: bool,
}

thread_local! {
    static RIGHT: RefCell<HashMap<String, Entry>> = RefCell::new(HashMap::new());
    /// Tokens that do not exist, and when that was found out.
    static WRONG: RefCell<HashMap<String, u64>> = RefCell::new(HashMap::new());
    static ATTEMPTS: RefCell<WrongTokens> = RefCell::new(WrongTokens::default());
}

/// Who a caller is found to be.
pub enum Who {
    Known(Caller),
    /// Without a valid token.
    Stranger,
    /// The token was not looked up, because of the wrong tokens that came from there; for so many seconds more.
    Barred(u64),
}

/// The caller that the presented token proves.
pub async fn identify(
    runtime: &Rc<Runtime>,
    headers: &Headers,
    presented: &Presented,
    address_header: Option<&str>,
) -> Result<Who, StoreError> {
    if presented.is_admin {
        return Ok(Who::Known(Caller::Admin));
    }
    let Some(value) = &presented.token else {
        return Ok(if presented.is_wrong { wrong(headers, address_header) } else { Who::Stranger });
    };
    known(runtime, headers, value, address_header).boxed_local().await
}

/// Whose a token of ours is.
async fn known(
    runtime: &Rc<Runtime>,
    headers: &Headers,
    value: &str,
    address_header: Option<&str>,
) -> Result<Who, StoreError> {
    let digest = presented::digest_text(value);
    let kept =
        RIGHT.with_borrow(|right| right.get(&digest).map(|kept| (kept.token.clone(), kept.read_at, kept.is_doubtful)));
    let token = match kept {
        Some((token, read_at, false)) if now().saturating_sub(read_at) < FRESH_MS => Some(token),
        kept => {
            let address = wrong_tokens::address(headers, address_header);
            // What is known here is asked for again, whatever others sent from there.
            if kept.is_none()
                && let Some(seconds) = barred(&address)
            {
                return Ok(Who::Barred(seconds));
            }
            let is_wrong =
                WRONG.with_borrow(|wrong| wrong.get(&digest).is_some_and(|at| now().saturating_sub(*at) < FRESH_MS));
            let token = if is_wrong { None } else { read(runtime, &digest, kept).await? };
            if token.is_none() {
                mistaken(&address);
            }
            token
        }
    };
    let token = token.filter(|token| token.is_valid(now()));
    if let Some(token) = &token {
        note(runtime, &digest, &token.id);
    }
    Ok(token.map_or(Who::Stranger, |token| Who::Known(Caller::Token(token))))
}

/// The token of a digest that a session holds, if it is still valid.
pub async fn of_digest(runtime: &Rc<Runtime>, digest: &str) -> Result<Option<Token>, StoreError> {
    let kept =
        RIGHT.with_borrow(|right| right.get(digest).map(|kept| (kept.token.clone(), kept.read_at, kept.is_doubtful)));
    let token = match kept {
        Some((token, read_at, false)) if now().saturating_sub(read_at) < FRESH_MS => Some(token),
        kept => read(runtime, digest, kept).await?,
    };
    let token = token.filter(|token| token.is_valid(now()));
    if let Some(token) = &token {
        note(runtime, digest, &token.id);
    }
    Ok(token)
}

/// Of a caller who guesses, and for whom the database need not be asked.
fn wrong(headers: &Headers, address_header: Option<&str>) -> Who {
    let address = wrong_tokens::address(headers, address_header);
    if let Some(seconds) = barred(&address) {
        return Who::Barred(seconds);
    }
    mistaken(&address);
    Who::Stranger
}

fn barred(address: &str) -> Option<u64> {
    ATTEMPTS.with_borrow(|attempts| attempts.barred(address, now()))
}

fn mistaken(address: &str) {
    ATTEMPTS.with_borrow_mut(|attempts| attempts.note(address, now()));
}

/// A token by its id, as the database has it now.
pub async fn by_id(runtime: &Runtime, account: &str, id: &str) -> Result<Option<Token>, StoreError> {
    tokens::by_id(&runtime.database().within(d1::REQUEST_PATIENCE_MS), account, id).await
}

/// Has all read again, after a change of any. They stay known, so that no caller is barred for the sake of it.
pub fn forget_all() {
    RIGHT.with_borrow_mut(|right| right.values_mut().for_each(|kept| kept.is_doubtful = true));
    WRONG.with_borrow_mut(HashMap::clear);
}

/// Reads a token from the database, of which the isolate may have an older copy.
async fn read(runtime: &Runtime, digest: &str, kept: Option<(Token, u64, bool)>) -> Result<Option<Token>, StoreError> {
    let token = match (tokens::find(&runtime.database().within(d1::REQUEST_PATIENCE_MS), digest).await, kept) {
        (Ok(token), _) => token,
        // While D1 does not answer, a token that was valid goes on to be.
        (Err(_), Some((token, _, false))) => Some(token),
        (Err(error), _) => return Err(error),
    };
    match token.clone() {
        Some(token) => RIGHT.with_borrow_mut(|right| {
            if right.len() >= MAX_ENTRIES && !right.contains_key(digest) {
                right.clear();
            }
            let noted_at = right.get(digest).map_or(0, |kept| kept.noted_at);
            let entry = Entry { token, read_at: now(), noted_at, is_doubtful: false };
            right.insert(digest.to_owned(), entry);
        }),
        None => {
            RIGHT.with_borrow_mut(|right| right.remove(digest));
            WRONG.with_borrow_mut(|wrong| {
                if wrong.len() >= MAX_ENTRIES {
                    wrong.clear();
                }
                wrong.insert(digest.to_owned(), now());
            });
        }
    }
    Ok(token)
}

fn note(runtime: &Rc<Runtime>, digest: &str, id: &str) {
    let due = RIGHT.with_borrow_mut(|right| {
        let entry = right.get_mut(digest)?;
        let due = now().saturating_sub(entry.noted_at) >= USED_MS;
        if due {
            entry.noted_at = now();
        }
        due.then_some(())
    });
    if due.is_some() {
        let (kept, id) = (Rc::clone(runtime), id.to_owned());
        // A time that is not noted is no reason to complain.
        runtime.beside(async move { tokens::used(&kept.database(), &id, now()).await.unwrap_or_default() });
    }
}
