//! The credential of a request, from its choice to the headers that the provider gets.

use crate::alerts::event::signature;
use crate::auth::presented::{self, Presented};
use crate::base::json::json;
use crate::base::timestamp;
use crate::config::isolate_worker::config;
use crate::credentials::client_signature::{self, Use};
use crate::credentials::key::{Held, KeyLimit, StoredKey};
use crate::credentials::select::{self, AWS_HEADERS, AwsKeys, Choice, KEY_HEADERS, KeyRequest, Material};
use crate::credentials::share::{self, Turn};
use crate::credentials::sigv4::{self, Signed};
use crate::credentials::vault::{Bound, Vault};
use crate::credentials::vault_worker::{self, EnvVault};
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::{Edits, Headers};
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::logs::call;
use crate::platform::js;
use crate::platform::{Runtime, console, now, random};
use crate::providers::address;
use crate::providers::formats;
use crate::providers::table::KeyForm;
use crate::providers::upstream::{self, Upstream};
use crate::proxy::exchange::Exchange;
use crate::proxy::google_tokens_worker;
use crate::proxy::options::Options;
use crate::proxy::request_body::Taken;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::rc::Rc;

/// What a request is sent with.
pub struct Credential {
    /// `None` leaves the request with what it came with.
    material: Option<Material>,
    /// True when no key of the caller's goes along.
    pub replaces: bool,
    /// What the provider is sent beside it: the headers that a custom provider was given.
    beside: Vec<(String, String)>,
    /// How many requests may be sent with the stored key, if one is used and it has a limit.
    pub limit: Option<KeyLimit>,
    /// The id of the key, where its provider has several that share the requests.
    pub shared: Option<String>,
    /// Whether another one may be tried where the provider turns this one away.
    pub has_next: bool,
    /// True when a client's signature goes, and another takes its place.
    is_signed_anew: bool,
}

/// Whether a provider has several stored keys that share its requests.
pub fn are_shared(snapshot: &GatewaySnapshot, upstream: Upstream<'_>) -> bool {
    share::is_shared(snapshot.keys.iter().filter(|key| key.provider == upstream.slug()))
}

/// Chooses the credential and gets hold of it. What was chosen is noted for the log. `tried` has the ids of the keys that the provider
/// has turned away.
pub async fn resolve(
    headers: &Headers,
    upstream: Upstream<'_>,
    snapshot: &GatewaySnapshot,
    presented: &Presented,
    options: &Options,
    tried: &[String],
    exchange: &mut Exchange,
) -> Result<Credential, Refusal> {
    let runtime = Rc::clone(&exchange.runtime);
    let config = config(&runtime);
    let slug = upstream.slug();
    // The endpoints that providers have for OpenAI's clients take what those send.
    let form = match &exchange.unified {
        Some(unified) => unified.key_form,
        None if formats::wants_bearer(slug, &exchange.call.rest) => KeyForm::Bearer,
        None => upstream.key_form(),
    };
    let operators = config.provider_key(slug);
    // Headers with a credential are the account's own key, whatever `byok_only` says of the operator's.
    let has_secrets = upstream.has_secrets();
    let signature =
        (upstream.key_form() == KeyForm::Aws).then(|| client_signature::of(headers, &exchange.call.query)).flatten();
    let shares = are_shared(snapshot, upstream);
    let session = if shares { exchange.call.session_for_keys() } else { None };
    let turn = Turn {
        session: session.as_deref(),
        is_for_account: !exchange.call.runs_a_model,
        random: if shares { random() } else { 0 },
        tried,
    };
    let mut asked = KeyRequest {
        provider: slug,
        upstream: upstream.origin(config.base_url(slug)),
        brings_key: false,
        alias: options.byok_alias.as_deref(),
        let_in: presented.let_in,
        own_keys_only: !has_secrets && (options.no_wholesale || snapshot.gateway.settings.byok_only),
        operator_has_key: operators.is_some() || has_secrets,
        turn,
    };
    let used = signature.map(|signature| {
        let kept = select::choose(&asked, &snapshot.keys);
        signature.used(snapshot.gateway.settings.resign, matches!(kept, Ok(Choice::Stored(_) | Choice::Operator)))
    });
    if used == Some(Use::Misdirected) {
        return Err(client_signature::misdirected());
    }
    let is_void = used == Some(Use::Void);
    let is_no_key = |text: &str| (is_void && client_signature::is_signature(text)) || is_ours(&runtime, text);
    asked.brings_key = presented.goes_on_with_own || select::brings_key(headers, &exchange.call.query, is_no_key);
    let beside = upstream.headers(presented.let_in && !asked.brings_key);
    let beside = beside.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut credential = Credential {
        material: None,
        replaces: false,
        beside,
        limit: None,
        shared: None,
        has_next: false,
        is_signed_anew: is_void,
    };
    let unfit = |whose: &str, fault: &str| Refusal::unavailable(format!("{whose} key of {slug} is none: {fault}."));
    match select::choose(&asked, &snapshot.keys)? {
        Choice::Request => {
            exchange.call.credential = call::Credential::Request;
            if asked.alias.is_some() {
                exchange.warn("cf-aig-byok-alias: not used, for the request brings a key of its own");
            }
            credential.material = select::account_of_client(form, headers).map(Material::Google);
        }
        Choice::Stored(key) => {
            exchange.call.credential = call::Credential::Stored(key.alias.clone());
            let secret = opened(key, snapshot, &runtime).boxed_local().await?;
            select::admit_resource(form, &exchange.call.rest, secret.trim())?;
            let material = material(form, secret.trim(), exchange);
            credential.material = Some(material.map_err(|fault| unfit("The stored", fault))?);
            credential.replaces = true;
            credential.limit = key.limit.clone();
            credential.shared = (shares && asked.alias.is_none()).then(|| key.id.clone());
            credential.has_next = select::has_next(&asked, &snapshot.keys, key);
        }
        Choice::Operator => {
            exchange.call.credential = call::Credential::Operator;
            credential.replaces = true;
            if let Some(key) = operators {
                select::admit_resource(form, &exchange.call.rest, key.trim())?;
                let material = material(form, key.trim(), exchange);
                credential.material = Some(material.map_err(|fault| unfit("The operator's", fault))?);
            }
        }
        Choice::None => {}
    }
    if exchange.is_signed && credential.material.is_none() {
        return Err(unsigned(slug));
    }
    // Another key of the caller's may be beside a signature that is none.
    if is_void && credential.material.is_none() && !asked.brings_key {
        return Err(client_signature::unsignable(presented.let_in));
    }
    Ok(credential)
}

fn material(form: KeyForm, secret: &str, exchange: &Exchange) -> Result<Material, &'static str> {
    match exchange.is_signed {
        true => Ok(Material::Hmac(secret.to_owned())),
        false => select::material(form, &exchange.call.rest, secret),
    }
}

fn unsigned(slug: &str) -> Refusal {
    Refusal::no_credential(format!(
        "The webhook of this gateway's setting guardrails gets signed requests only, and there is no secret to sign with: store one as \
         the key of {slug}, POST …/provider_configs."
    ))
}

/// Gets a stored key. When that is not possible the request is refused, and the operator is told: with another key than the
/// one that was meant it must not be sent.
async fn opened(key: &StoredKey, snapshot: &GatewaySnapshot, runtime: &Rc<Runtime>) -> Result<String, Refusal> {
    let gateway = &snapshot.gateway;
    let keys = &config(runtime).encryption_keys;
    let vault = EnvVault { env: &runtime.env, keys };
    let got = match &key.held {
        Held::Sealed(sealed) => {
            let bound = Bound {
                account: &gateway.account_id,
                gateway: gateway.key,
                provider: &key.provider,
                alias: &key.alias,
                upstream: key.upstream.as_deref(),
            };
            if vault.current().is_some_and(|current| current != sealed.key_id) {
                let later = Rc::clone(runtime);
                runtime.beside(async move { vault_worker::reseal(&later, keys).await });
            }
            vault.open(sealed, &bound).await
        }
        Held::Reference(reference) => vault.look_up(reference).await,
        Held::Nothing => Err("it was thrown away".to_owned()),
    };
    got.map_err(|cause| {
        let line = json!({
            "level": "error", "event": "stored_key_unreadable", "gateway": gateway.id, "account": gateway.account_id,
            "provider": key.provider, "alias": key.alias, "cause": cause,
        });
        console::error(&line);
        Refusal::unavailable(format!(
            "Tollgate cannot get at the key '{}' that it stores for {}; its operator's log says why.",
            key.alias, key.provider
        ))
    })
}

pub fn is_ours(runtime: &Runtime, text: &str) -> bool {
    config(runtime).admin.as_ref().is_ok_and(|admin| presented::is_ours(text, admin))
}

// === impl Credential ===

impl Credential {
    /// Whether the body has to be at hand as a whole, to be signed.
    pub fn signs(&self) -> bool {
        matches!(self.material, Some(Material::Aws(_) | Material::Hmac(_)))
    }

    /// The query as it goes upstream.
    pub fn query<'a>(&self, query: &'a str, exchange: &Exchange) -> Cow<'a, str> {
        let holds = |text: &str| config(&exchange.runtime).holds_token(text);
        let ours = |text: &str| is_ours(&exchange.runtime, text);
        if self.is_signed_anew {
            let unsigned = client_signature::without(query);
            return select::outgoing_query(&unsigned, self.replaces, ours, holds).into_owned().into();
        }
        select::outgoing_query(query, self.replaces, ours, holds)
    }

    /// Puts the credential into the outgoing headers, in place of whatever a client that has none sends instead. Returns
    /// the URL, which a signature may have brought into another form.
    pub async fn present(
        self,
        asked: &Incoming,
        url: String,
        outgoing: &mut Edits<'_>,
        body: &Taken,
        exchange: &mut Exchange,
    ) -> Result<String, Refusal> {
        if self.is_signed_anew {
            // Without its signature the rest of it would only contradict another key.
            for name in AWS_HEADERS {
                outgoing.remove(*name);
            }
        }
        if self.replaces {
            for name in KEY_HEADERS {
                outgoing.remove(*name);
            }
            if let Some(protocols) = outgoing.get(&asked.headers, "sec-websocket-protocol") {
                match select::without_keys(protocols) {
                    protocols if protocols.is_empty() => outgoing.remove("sec-websocket-protocol"),
                    protocols => outgoing.set("sec-websocket-protocol", protocols),
                }
            }
        }
        for (name, value) in self.beside {
            if upstream::is_secret(&name, &value) {
                exchange.call.secrets.keep(&value);
            }
            outgoing.set(name, value);
        }
        match self.material {
            None => {}
            Some(Material::Header(name, value)) => {
                exchange.call.secrets.keep(&value);
                outgoing.set(name, value);
            }
            Some(Material::Hmac(secret)) => {
                let Taken::Whole(buffer, _) = body else {
                    return Err(Refusal::body_too_large("A body of that length cannot be signed."));
                };
                exchange.call.secrets.keep(&secret);
                let body = String::from_utf8_lossy(&js::bytes(buffer)).into_owned();
                outgoing.set("tollgate-signature", signature(&secret, now() / 1_000, &body));
            }
            Some(Material::Google(account)) => {
                let token = google_tokens_worker::minted(&account, exchange).boxed_local().await?;
                exchange.call.secrets.keep(&token);
                outgoing.set("authorization", format!("Bearer {token}"));
            }
            Some(Material::Aws(keys)) => {
                let secrets = [&keys.access_key_id, &keys.secret_access_key].into_iter().chain(&keys.session_token);
                secrets.for_each(|secret| exchange.call.secrets.keep(secret));
                return signed(&keys, asked, &url, outgoing, body, exchange).boxed_local().await;
            }
        }
        Ok(url)
    }
}

/// Signs a request to Bedrock. The region and the service are those of the path, which the provider's row has checked.
async fn signed(
    keys: &AwsKeys,
    asked: &Incoming,
    url: &str,
    outgoing: &mut Edits<'_>,
    body: &Taken,
    exchange: &mut Exchange,
) -> Result<String, Refusal> {
    let hash = match body {
        Taken::Nothing => crate::base::hex::hex(&Sha256::digest([])),
        Taken::Whole(buffer, _) => vault_worker::sha256(buffer)
            .await
            .map_err(|cause| Refusal::unavailable(format!("The request could not be signed: {cause}.")))?,
        Taken::Stream(_) => {
            return Err(Refusal::body_too_large("A body of that length cannot be signed for Bedrock."));
        }
    };
    let origin = address::origin_of(url);
    let (path, query) = url.get(origin.len()..).unwrap_or("").split_once('?').unzip();
    let path = sigv4::sent_path(path.or_else(|| url.get(origin.len()..)).unwrap_or(""));
    let query = query.unwrap_or("");
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let mut of_path = exchange.call.rest.split('/');
    let service = if of_path.next() == Some("bedrock-mantle") { "bedrock-mantle" } else { "bedrock" };
    let region = of_path.next().unwrap_or("");
    let time = timestamp::basic(now());
    for name in AWS_HEADERS {
        outgoing.remove(*name);
    }
    outgoing.set("x-amz-date", time.clone());
    let content_type = outgoing.get(&asked.headers, "content-type").map(str::to_owned);
    let mut headers = Vec::with_capacity(4);
    headers.extend(content_type.as_deref().map(|kind| ("content-type", kind)));
    headers.extend([("host", host), ("x-amz-date", time.as_str())]);
    if let Some(token) = &keys.session_token {
        outgoing.set("x-amz-security-token", token.clone());
        headers.push(("x-amz-security-token", token));
    }
    let method = asked.method.as_str();
    let request = Signed { method, path: &path, query, headers: &headers, body: &hash, time: &time, region, service };
    let authorization = sigv4::authorization(&request, &keys.access_key_id, &keys.secret_access_key);
    if let Some((_, signature)) = authorization.rsplit_once("Signature=") {
        exchange.call.secrets.keep(signature);
    }
    outgoing.set("authorization", authorization);
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("{origin}{path}{mark}{query}"))
}
