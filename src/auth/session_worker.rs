//! Sessions in the isolate: who a cookie is of, what was ended or used up, and who tries too often to sign in.

use crate::auth::caller::Caller;
use crate::auth::session::{self, Holder, Session, SessionKey};
use crate::auth::spent;
use crate::auth::tokens_worker;
use crate::auth::wrong_tokens::WrongTokens;
use crate::db::store::StoreError;
use crate::platform::{Runtime, d1, now};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How long a session that was ended through another isolate may go on here, in milliseconds.
const FRESH_MS: u64 = 5_000;

const MAX_ENTRIES: usize = 1_000;

thread_local! {
    /// Sessions that were not ended when that was last looked for.
    static GOING_ON: RefCell<HashMap<String, u64>> = RefCell::default();
    static ATTEMPTS: RefCell<WrongTokens> = RefCell::new(WrongTokens::of(session::ATTEMPTS));
}

/// The caller that a session's cookie proves, and the session. `None` where it proves no caller.
pub async fn identify(
    runtime: &Rc<Runtime>,
    cookies: &[&str],
    key: &SessionKey,
) -> Result<Option<(Caller, Session)>, StoreError> {
    let Some(session) = cookies.iter().find_map(|cookie| Session::open(cookie, key, now())) else { return Ok(None) };
    let is_known =
        GOING_ON.with_borrow(|known| known.get(&session.id).is_some_and(|at| now().saturating_sub(*at) < FRESH_MS));
    if !is_known {
        if spent::is_spent(&store(runtime), &ended(&session.id)).await? {
            GOING_ON.with_borrow_mut(|known| known.remove(&session.id));
            return Ok(None);
        }
        GOING_ON.with_borrow_mut(|known| {
            if known.len() >= MAX_ENTRIES {
                known.clear();
            }
            known.insert(session.id.clone(), now());
        });
    }
    let caller = match &session.holder {
        Holder::Admin => Some(Caller::Admin),
        Holder::Token(digest) => tokens_worker::of_digest(runtime, digest).await?.map(Caller::Token),
    };
    Ok(caller.map(|caller| (caller, session)))
}

/// Ends a session before its time.
pub async fn end(runtime: &Runtime, session: &Session) -> Result<(), StoreError> {
    GOING_ON.with_borrow_mut(|known| known.remove(&session.id));
    spent::spend(&store(runtime), &ended(&session.id), session.begun.saturating_add(session::MOST_MS), now())
        .await
        .map(drop)
}

/// Uses a sign-in code up; false where that was done before.
pub async fn use_up(runtime: &Runtime, code: &str, until: u64) -> Result<bool, StoreError> {
    spent::spend(&store(runtime), code, until, now()).await
}

/// For how many seconds no client is signed in from an address.
pub fn barred(address: &str) -> Option<u64> {
    ATTEMPTS.with_borrow(|attempts| attempts.barred(address, now()))
}

pub fn failed(address: &str) {
    ATTEMPTS.with_borrow_mut(|attempts| attempts.note(address, now()));
}

fn ended(id: &str) -> String {
    format!("session {id}")
}

fn store(runtime: &Runtime) -> d1::D1Store {
    runtime.database().within(d1::REQUEST_PATIENCE_MS)
}
