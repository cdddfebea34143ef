//! Checks the assertions of Cloudflare Access with the runtime's cryptography, and keeps the team's public keys.

use crate::auth::access::{Access, Assertion};
use crate::auth::caller::Caller;
use crate::base::json::json;
use crate::platform::subtle::import_key;
use crate::platform::{console, js, now, within};
use js_sys::{Array, JSON, Promise, Uint8Array};
use serde_json::{Map, Value};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, RequestRedirect};

/// How long the keys hold, in milliseconds. A key that Access replaces is valid for seven more days.
const FRESH_MS: u64 = 60 * 60 * 1_000;

/// Keys are asked for no more often than this, whatever keys assertions name.
const PAUSE_MS: u64 = 60_000;

const PATIENCE_MS: u64 = 5_000;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = verify, catch)]
    fn verify(algorithm: &JsValue, key: &JsValue, signature: &JsValue, data: &JsValue) -> Result<Promise, JsValue>;
}

/// The keys of the team, as JWKs with their ids.
#[derive(Default)]
struct Keys {
    keys: Vec<(String, Value)>,
    read_at: u64,
    asked_at: u64,
}

thread_local! {
    static KEYS: RefCell<Keys> = RefCell::default();
}

/// Who the assertion in a request's header is of, if it is valid.
pub async fn identify(access: &Access, header: &str) -> Option<Caller> {
    let assertion = Assertion::parse(header)?;
    // What would be refused anyway costs no key and no signature.
    let caller = access.caller(&assertion, now())?;
    let key = key(access, &assertion.key_id).await?;
    is_signed(&key, &assertion).await.then_some(caller)
}

/// What policies know of the person of an assertion, if it is valid.
pub async fn person(access: &Access, header: &str) -> Option<Map<String, Value>> {
    let assertion = Assertion::parse(header)?;
    let person = access.person(&assertion, now())?;
    let key = key(access, &assertion.key_id).await?;
    is_signed(&key, &assertion).await.then_some(person)
}

async fn key(access: &Access, id: &str) -> Option<Value> {
    let kept = || KEYS.with_borrow(|keys| keys.keys.iter().find(|(known, _)| known == id).map(|(_, key)| key.clone()));
    let (read_at, asked_at) = KEYS.with_borrow(|keys| (keys.read_at, keys.asked_at));
    let is_fresh = now().saturating_sub(read_at) < FRESH_MS;
    let may_ask = now().saturating_sub(asked_at) >= PAUSE_MS;
    if may_ask && (!is_fresh || kept().is_none()) {
        KEYS.with_borrow_mut(|keys| keys.asked_at = now());
        match fetched(&access.certs_url()).await {
            Ok(found) => KEYS.with_borrow_mut(|keys| {
                keys.keys = found;
                keys.read_at = now();
            }),
            // The keys that are known go on to hold while the team's address does not answer.
            Err(cause) => {
                console::error(&json!({ "level": "error", "event": "access_keys_unreadable", "cause": cause }))
            }
        }
    }
    kept()
}

async fn fetched(url: &str) -> Result<Vec<(String, Value)>, String> {
    let init = RequestInit::new();
    init.set_redirect(RequestRedirect::Manual);
    let asked = async {
        let answer = js::fetch(url, &init).await?;
        if answer.status() != 200 {
            return Err(format!("{url} answered {}", answer.status()));
        }
        let text = JsFuture::from(answer.text().map_err(|error| js::message(&error))?).await;
        text.map_err(|error| js::message(&error))
    };
    let text = within(PATIENCE_MS, asked).await.unwrap_or_else(|| Err(format!("{url} did not answer in time")))?;
    let whole: Value =
        serde_json::from_str(&text.as_string().unwrap_or_default()).map_err(|error| error.to_string())?;
    let keys = whole.get("keys").and_then(Value::as_array).ok_or("it has no keys")?;
    let named = |key: &Value| Some((key.get("kid")?.as_str()?.to_owned(), key.clone()));
    Ok(keys.iter().filter_map(named).take(16).collect())
}

async fn is_signed(key: &Value, assertion: &Assertion<'_>) -> bool {
    let part = |name: &str| key.get(name).cloned().unwrap_or(Value::Null);
    // Made anew of what RS256 needs, so that nothing else in it decides.
    let jwk = json!({ "kty": "RSA", "alg": "RS256", "n": part("n"), "e": part("e"), "ext": true });
    let checked = async {
        let algorithm = js::object(&[("name", "RSASSA-PKCS1-v1_5".into()), ("hash", "SHA-256".into())]);
        let jwk = JSON::parse(&jwk.to_string())?;
        let usages = Array::of1(&JsValue::from_str("verify"));
        let key = JsFuture::from(import_key("jwk", &jwk, &algorithm, false, &usages)?).await?;
        let signature = Uint8Array::from(assertion.signature.as_slice());
        let signed = Uint8Array::from(assertion.signed.as_bytes());
        JsFuture::from(verify(&algorithm, &key, &signature, &signed)?).await
    };
    checked.await.is_ok_and(|is_right: JsValue| is_right == JsValue::TRUE)
}
