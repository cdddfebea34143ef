//! Access tokens for Google's service accounts, which an isolate keeps while they are good.

use crate::base::mask;
use crate::config::isolate_worker::config;
use crate::credentials::google_token::{self, Account};
use crate::credentials::vault_worker;
use crate::http::refusal::Refusal;
use crate::platform::{js, now, within};
use crate::proxy::exchange::Exchange;
use std::cell::RefCell;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, RequestRedirect};

/// How long Google may take to turn a service account into a token, in milliseconds.
const TOKEN_PATIENCE_MS: u64 = 10_000;

/// Clients can send service accounts of their own; the cache starts anew rather than grow.
const MAX_TOKENS: usize = 100;

/// A token of a service account, known by the whole digest of the account's address and key.
struct Minted {
    account: [u8; 32],
    token: google_token::Token,
}

thread_local! {
    static TOKENS: RefCell<Vec<Minted>> = const { RefCell::new(Vec::new()) };
}

/// A token for a service account: one that this isolate has, or a new one.
pub async fn minted(account: &Account, exchange: &Exchange) -> Result<String, Refusal> {
    let id = account.digest();
    let at_hand = TOKENS.with_borrow(|tokens| {
        let found = tokens.iter().find(|minted| minted.account == id && now() < minted.token.usable_until);
        found.map(|minted| minted.token.value.clone())
    });
    if let Some(token) = at_hand {
        return Ok(token);
    }
    let refused = |cause: String| {
        let cause = mask::line(&cause);
        Refusal::unreachable(format!("Google gave no access token for the service account: {cause}."))
    };
    let token = asked(account, config(&exchange.runtime).google_token_url()).await.map_err(refused)?;
    let value = token.value.clone();
    TOKENS.with_borrow_mut(|tokens| {
        tokens.retain(|minted| minted.account != id && now() < minted.token.usable_until);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.push(Minted { account: id, token });
    });
    Ok(value)
}

async fn asked(account: &Account, url: &str) -> Result<google_token::Token, String> {
    let assertion = google_token::assertion(account, now());
    let signature = vault_worker::sign(&account.private_key, &assertion)
        .await
        .map_err(|_| "its private key cannot be used to sign".to_owned())?;
    let headers = web_sys::Headers::new().map_err(|error| js::message(&error))?;
    let _ = headers.set("content-type", "application/x-www-form-urlencoded");
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_redirect(RequestRedirect::Manual);
    init.set_headers(&headers);
    init.set_body(&JsValue::from_str(&google_token::form(&assertion, &signature)));
    let answered = async {
        let answer = js::fetch(url, &init).await?;
        let text = answer.text().map(JsFuture::from).map_err(|error| js::message(&error))?;
        let text = text.await.map_err(|error| js::message(&error))?.as_string().unwrap_or_default();
        google_token::read_answer(answer.status(), &text, now())
    };
    match within(TOKEN_PATIENCE_MS, answered).await {
        Some(token) => token,
        None => Err(format!("no answer within {TOKEN_PATIENCE_MS} ms")),
    }
}
