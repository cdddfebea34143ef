//! The credential of a request, from its choice to the headers that the provider gets.

use super::job::Job;
use super::outgoing::Taken;
use super::{Around, background, js, now, vault, within};
use crate::auth::{self, Presented};
use crate::credential::{self, AWS_HEADERS, Asked, AwsKeys, Choice, Held, KEY_HEADERS, KeyLimit, Material, StoredKey};
use crate::google_token::{self, Account};
use crate::headers::Headers;
use crate::options::Options;
use crate::providers::KeyForm;
use crate::record;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::sigv4::{self, Signed};
use crate::timestamp;
use crate::upstream::Upstream;
use crate::vault::{Bound, Vault};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Request, RequestInit, RequestRedirect};

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

/// What a request is sent with.
pub struct Credential {
    /// `None` leaves the request with what it came with.
    material: Option<Material>,
    /// True when no key of the caller's goes along.
    pub replaces: bool,
    /// True when the credentials go along that an account gave a custom provider as headers.
    pub with_secrets: bool,
    /// How many requests may be sent with the stored key, if one is used and it has a limit.
    pub limit: Option<KeyLimit>,
}

/// Chooses the credential and gets hold of it. What was chosen is noted for the log.
pub async fn resolve(
    headers: &Headers,
    upstream: Upstream<'_>,
    scope: &Scope,
    presented: &Presented,
    options: &Options,
    job: &mut Job,
) -> Result<Credential, Refusal> {
    let around = Rc::clone(&job.around);
    let config = &around.config;
    let slug = upstream.slug();
    let (form, base, is_built_in) = match upstream {
        Upstream::BuiltIn(provider) => (provider.key, config.base_url(slug), true),
        Upstream::Custom(provider) => (KeyForm::Bearer, Some(provider.base_url.as_str()), false),
    };
    let operators = config.provider_key(slug);
    let asked = Asked {
        provider: slug,
        upstream: base.map(credential::origin),
        brings_key: credential::brings_key(headers, &job.call.query, |text| is_ours(&around, text)),
        alias: options.byok_alias.as_deref(),
        let_in: presented.let_in,
        // What a custom provider is sent is the account's own, or it wants no key at all.
        own_keys_only: is_built_in && (options.no_wholesale || scope.gateway.settings.byok_only),
        operator_has_key: operators.is_some() || upstream.has_secrets(),
    };
    let rest = job.call.rest.clone();
    let material = |whose: &str, secret: &str| {
        credential::material(form, &rest, secret.trim())
            .map(Some)
            .map_err(|fault| Refusal::unavailable(format!("{whose} key of {slug} is none: {fault}.")))
    };
    let nothing = Credential { material: None, replaces: false, with_secrets: false, limit: None };
    let (chosen, credential) = match credential::choose(&asked, &scope.keys)? {
        Choice::Request => {
            let material = credential::account_of_client(form, headers).map(Material::Google);
            (record::Credential::Request, Credential { material, ..nothing })
        }
        Choice::Stored(key) => {
            // Noted before it is opened, so that the log of a failure says which key it was.
            let chosen = record::Credential::Stored(key.alias.clone());
            job.call.credential = chosen.clone();
            let secret = opened(key, scope, &around).await?;
            let material = material("The stored", &secret)?;
            (chosen, Credential { material, replaces: true, limit: key.limit.clone(), ..nothing })
        }
        Choice::Operator => {
            let material = operators.map_or(Ok(None), |secret| material("The operator's", secret))?;
            (record::Credential::Operator, Credential { material, replaces: true, with_secrets: true, ..nothing })
        }
        Choice::None => (record::Credential::None, nothing),
    };
    if asked.alias.is_some() && chosen == record::Credential::Request {
        job.warn("cf-aig-byok-alias: not used, for the request brings a key of its own");
    }
    job.call.credential = chosen;
    Ok(credential)
}

/// Gets a stored key. When that is not possible the request is refused, and the operator is told: with another key than the
/// one that was meant it must not be sent.
async fn opened(key: &StoredKey, scope: &Scope, around: &Rc<Around>) -> Result<String, Refusal> {
    let gateway = &scope.gateway;
    let got = match &key.held {
        Held::Sealed(sealed) => {
            let bound = Bound {
                account: &gateway.account_id,
                gateway: gateway.key,
                provider: &key.provider,
                alias: &key.alias,
                upstream: key.upstream.as_deref(),
            };
            if around.current().is_some_and(|current| current != sealed.key_id) {
                let later = Rc::clone(around);
                around.context.wait_until(async move { background::reseal(&later).await });
            }
            around.open(sealed, &bound).await
        }
        Held::Reference(reference) => around.look_up(reference).await,
        Held::Nothing => Err("it was thrown away".to_owned()),
    };
    got.map_err(|cause| {
        let line = json!({
            "level": "error", "event": "stored_key_unreadable", "gateway": gateway.id, "account": gateway.account_id,
            "provider": key.provider, "alias": key.alias, "cause": cause,
        });
        worker::console_error!("{line}");
        Refusal::unavailable(format!(
            "Tollgate cannot get at the key '{}' that it stores for {}; its operator's log says why.",
            key.alias, key.provider
        ))
    })
}

fn is_ours(around: &Around, text: &str) -> bool {
    around.config.admin.as_ref().is_ok_and(|admin| auth::is_ours(text, admin))
}

// === impl Credential ===

impl Credential {
    /// Whether the body has to be at hand as a whole, to be signed.
    pub fn signs(&self) -> bool {
        matches!(self.material, Some(Material::Aws(_)))
    }

    /// The query as it goes upstream.
    pub fn query<'a>(&self, query: &'a str, job: &Job) -> Cow<'a, str> {
        credential::outgoing_query(query, self.replaces, |text| is_ours(&job.around, text))
    }

    /// Takes away what a client sends in the place of a key that it has not.
    pub fn clear(&self, outgoing: &web_sys::Headers) {
        if self.replaces {
            for name in KEY_HEADERS {
                let _ = outgoing.delete(name);
            }
        }
    }

    /// Puts the credential into the outgoing headers, which have been cleared. Returns the URL, which a signature may have
    /// brought into another form.
    pub async fn present(
        self,
        request: &Request,
        url: String,
        outgoing: &web_sys::Headers,
        body: &Taken,
        job: &Job,
    ) -> Result<String, Refusal> {
        if self.replaces
            && let Ok(Some(protocols)) = outgoing.get("sec-websocket-protocol")
        {
            let _ = match credential::without_keys(&protocols) {
                protocols if protocols.is_empty() => outgoing.delete("sec-websocket-protocol"),
                protocols => outgoing.set("sec-websocket-protocol", &protocols),
            };
        }
        match self.material {
            None => {}
            Some(Material::Header(name, value)) => {
                let _ = outgoing.set(name, &value);
            }
            Some(Material::Google(account)) => {
                let token = minted(&account, job).await?;
                let _ = outgoing.set("authorization", &format!("Bearer {token}"));
            }
            Some(Material::Aws(keys)) => return signed(&keys, &request.method(), &url, outgoing, body, job).await,
        }
        Ok(url)
    }
}

/// Signs a request to Bedrock. The region and the service are those of the path, which the provider's row has checked.
async fn signed(
    keys: &AwsKeys,
    method: &str,
    url: &str,
    outgoing: &web_sys::Headers,
    body: &Taken,
    job: &Job,
) -> Result<String, Refusal> {
    let hash = match body {
        Taken::Nothing => sigv4::hex(&Sha256::digest([])),
        Taken::Whole(buffer) => vault::sha256(buffer)
            .await
            .map_err(|cause| Refusal::unavailable(format!("The request could not be signed: {cause}.")))?,
        Taken::Stream(_) => {
            return Err(Refusal::body_too_large("A body of that length cannot be signed for Bedrock."));
        }
    };
    let origin = credential::origin(url);
    let (path, query) = url.get(origin.len()..).unwrap_or("").split_once('?').unzip();
    let path = sigv4::sent_path(path.or_else(|| url.get(origin.len()..)).unwrap_or(""));
    let query = query.unwrap_or("");
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let mut of_path = job.call.rest.split('/');
    let service = if of_path.next() == Some("bedrock-mantle") { "bedrock-mantle" } else { "bedrock" };
    let region = of_path.next().unwrap_or("");
    let time = timestamp::basic(now());
    for name in AWS_HEADERS {
        let _ = outgoing.delete(name);
    }
    let _ = outgoing.set("x-amz-date", &time);
    let content_type = outgoing.get("content-type").ok().flatten();
    let mut headers = Vec::with_capacity(4);
    headers.extend(content_type.as_deref().map(|kind| ("content-type", kind)));
    headers.extend([("host", host), ("x-amz-date", time.as_str())]);
    if let Some(token) = &keys.session_token {
        let _ = outgoing.set("x-amz-security-token", token);
        headers.push(("x-amz-security-token", token));
    }
    let request = Signed { method, path: &path, query, headers: &headers, body: &hash, time: &time, region, service };
    let authorization = sigv4::authorization(&request, &keys.access_key_id, &keys.secret_access_key);
    let _ = outgoing.set("authorization", &authorization);
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("{origin}{path}{mark}{query}"))
}

/// A token for a service account: one that this isolate has, or a new one.
async fn minted(account: &Account, job: &Job) -> Result<String, Refusal> {
    let id = account.digest();
    let at_hand = TOKENS.with_borrow(|tokens| {
        let found = tokens.iter().find(|minted| minted.account == id && now() < minted.token.usable_until);
        found.map(|minted| minted.token.value.clone())
    });
    if let Some(token) = at_hand {
        return Ok(token);
    }
    let refused =
        |cause: String| Refusal::unreachable(format!("Google gave no access token for the service account: {cause}."));
    let token = asked(account, job.around.config.google_token_url()).await.map_err(refused)?;
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
    let signature = vault::sign(&account.private_key, &assertion)
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
