//! Whose key a request is sent with: the caller's own, one that the gateway stores, or the operator's; and how a key is
//! presented to a provider.

use crate::base::mask;
use crate::credentials::google_token::{self, Account};
use crate::credentials::key::{Held, StoredKey};
use crate::credentials::share::{self, Turn};
use crate::http::headers::Headers;
use crate::http::refusal::Refusal;
use crate::providers::paths;
use crate::providers::table::KeyForm;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Every header that a key can come in.
pub const KEY_HEADERS: &[&str] = &["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"];

/// What clients sign a request to AWS with; it goes when the gateway signs.
pub const AWS_HEADERS: &[&str] = &["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// Parameters that a key can come in.
const KEY_PARAMETERS: &[&str] =
    &["key", "api_key", "api-key", "apikey", "x-api-key", "x-goog-api-key", "access_token", "token"];

/// Subprotocols by which browsers bring a key to a WebSocket, such as `xi-api-key.<key>`.
const KEY_PROTOCOL: &str = "api-key.";

/// The alias that is meant where none is named.
pub const DEFAULT_ALIAS: &str = "default";

/// What decides about the credential of a request.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    pub provider: &'a str,
    /// Scheme and host of the upstream, where these are not Tollgate's own for the provider.
    pub upstream: Option<&'a str>,
    pub brings_key: bool,
    /// `cf-aig-byok-alias`.
    pub alias: Option<&'a str>,
    /// Whether the caller proved itself.
    pub let_in: bool,
    /// `byok_only` of the gateway, or `cf-aig-no-wholesale` of the request.
    pub own_keys_only: bool,
    pub operator_has_key: bool,
    /// Which of several keys it is sent with.
    pub turn: Turn<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    Request,
    Stored(&'a StoredKey),
    Operator,
    None,
}

/// A key in the form that its provider takes.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    Header(&'static str, String),
    Aws(AwsKeys),
    Google(Account),
    /// Signs the body, and is not sent.
    Hmac(String),
}

#[derive(Clone, PartialEq, Eq)]
pub struct AwsKeys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

/// A key of Azure's, and the only resource that it may be sent to.
struct AzureKey {
    key: String,
    resource: String,
}

/// Chooses the credential of a request: the caller's own, else a stored one, else the operator's.
pub fn choose<'a>(asked: &KeyRequest<'_>, stored: &'a [StoredKey]) -> Result<Choice<'a>, Refusal> {
    if asked.brings_key {
        return Ok(Choice::Request);
    }
    if !asked.let_in {
        // A caller who has not proved itself does not even learn which aliases there are.
        return match asked.alias {
            Some(_) => Err(Refusal::unauthorized(
                "cf-aig-byok-alias names a stored key, and those are used for callers with a Tollgate token only: send \
                 one that may run, in the header cf-aig-authorization: Bearer <token>.",
            )),
            None if asked.own_keys_only => without(asked),
            None => Ok(Choice::None),
        };
    }
    let mut of_provider = stored.iter().filter(|key| key.provider == asked.provider);
    let found = match asked.alias {
        Some(alias) => {
            let found = of_provider.clone().find(|key| key.alias == alias);
            Some(
                found
                    .ok_or_else(|| Refusal::unknown_alias(asked.provider, alias, of_provider.map(|key| &*key.alias)))?,
            )
        }
        None if share::is_shared(of_provider.clone()) => {
            // One that cannot be used is left out while there are others.
            let usable = of_provider.clone().filter(|key| usable(key, asked).is_ok());
            share::next(usable, &asked.turn).or_else(|| share::next(of_provider, &asked.turn))
        }
        None => {
            let default = of_provider.clone().find(|key| key.is_default);
            default.or_else(|| of_provider.find(|key| key.alias == DEFAULT_ALIAS))
        }
    };
    match found {
        Some(key) => usable(key, asked).map(Choice::Stored),
        None if asked.own_keys_only => without(asked),
        None if asked.operator_has_key => Ok(Choice::Operator),
        None => Ok(Choice::None),
    }
}

/// Whether another stored key may be tried where the provider turns this one away.
pub fn has_next(asked: &KeyRequest<'_>, stored: &[StoredKey], key: &StoredKey) -> bool {
    let mut of_provider = stored.iter().filter(|key| key.provider == asked.provider);
    if asked.alias.is_some() || !share::is_shared(of_provider.clone()) {
        return false;
    }
    let is_left = |other: &StoredKey| {
        let has_part = other.weight > 0 || other.is_default;
        has_part && other.id != key.id && !asked.turn.tried.contains(&other.id) && usable(other, asked).is_ok()
    };
    of_provider.any(is_left)
}

/// A key goes only where it was stored for: else an editor who can change an address could have the key sent to it.
fn usable<'a>(key: &'a StoredKey, asked: &KeyRequest<'_>) -> Result<&'a StoredKey, Refusal> {
    if key.held != Held::Nothing && key.upstream.as_deref() == asked.upstream {
        return Ok(key);
    }
    Err(Refusal::no_credential(format!(
        "The key '{}' was stored for another address of {}, which has changed since, and is sent nowhere else. Store it \
         again: PUT …/provider_configs/{}.",
        key.alias, asked.provider, key.id
    )))
}

/// What may only be sent with a key of the caller's or the gateway's has none. Workers AI is Cloudflare's own.
fn without<'a>(asked: &KeyRequest<'_>) -> Result<Choice<'a>, Refusal> {
    if asked.provider == "workers-ai" {
        return Ok(Choice::None);
    }
    Err(Refusal::no_credential(format!(
        "Tollgate has no key to send this request to {} with: the request brings none, no stored key applies, and \
         byok_only or cf-aig-no-wholesale forbids the operator's. Send a key of the provider's, or store one: POST \
         …/provider_configs.",
        asked.provider
    )))
}

/// Whether a request brings a key of its own for the provider. `ours` tells our own tokens.
pub fn brings_key(headers: &Headers, query: &str, ours: impl Fn(&str) -> bool) -> bool {
    let is_key = |value: &str| !is_placeholder(value) && !ours(mask::bare(value)) && !ours(value);
    KEY_HEADERS.iter().filter_map(|name| headers.get(name)).any(&is_key)
        || parameters(query).any(|(_, value)| is_key(&value))
        || headers.get("sec-websocket-protocol").is_some_and(|all| {
            all.split(',').filter_map(|entry| entry.split_once(KEY_PROTOCOL)).any(|(_, key)| is_key(key))
        })
}

/// Values that SDKs put where a key has to be and there is none.
pub fn is_placeholder(value: &str) -> bool {
    let scheme_alone = ["bearer", "token", "key"].iter().any(|scheme| value.trim().eq_ignore_ascii_case(scheme));
    let key = mask::bare(value);
    scheme_alone || key.is_empty() || key.eq_ignore_ascii_case("unused") || value.contains("CF_TEMP_TOKEN")
}

/// Subprotocols without those that bring a key.
pub fn without_keys(protocols: &str) -> String {
    let kept: Vec<&str> = protocols.split(',').map(str::trim).filter(|entry| !entry.contains(KEY_PROTOCOL)).collect();
    kept.join(", ")
}

/// The query as it goes upstream: without tokens of ours, wherever they are in it, and without any key when another takes
/// its place. `ours` tells whether a key is one, and `holds` whether a text has one in it.
pub fn outgoing_query<'a>(
    query: &'a str,
    replaced: bool,
    ours: impl Fn(&str) -> bool,
    holds: impl Fn(&str) -> bool,
) -> Cow<'a, str> {
    let goes = |pair: &str| match key_parameter(pair) {
        Some((_, value)) => replaced || ours(&value) || holds(pair),
        None => holds(pair),
    };
    let given = query.strip_prefix('?').unwrap_or(query);
    if !given.split('&').any(goes) {
        return Cow::Borrowed(query);
    }
    let mut kept = String::new();
    for pair in given.split('&') {
        if !goes(pair) {
            kept.push(if kept.is_empty() { '?' } else { '&' });
            kept.push_str(pair);
        }
    }
    Cow::Owned(kept)
}

fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.strip_prefix('?').unwrap_or(query).split('&').filter_map(key_parameter)
}

/// The name and value of a parameter that is a key.
fn key_parameter(pair: &str) -> Option<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = decoded(name).to_ascii_lowercase();
    KEY_PARAMETERS.contains(&name.as_str()).then(|| (name, decoded(value)))
}

/// A key as its provider takes it. `rest` is the path of the request, for Bedrock's two services differ.
pub fn material(form: KeyForm, rest: &str, secret: &str) -> Result<Material, &'static str> {
    let bearer = || Material::Header("authorization", format!("Bearer {secret}"));
    Ok(match (form, structured(secret)) {
        (KeyForm::Resource(name), Some(object)) => Material::Header(name, AzureKey::read(&object)?.key),
        (KeyForm::Resource(_), None) => return Err(AzureKey::WANTED),
        (KeyForm::Aws, Some(object)) => Material::Aws(AwsKeys::read(&object)?),
        (KeyForm::Google, Some(object)) => Material::Google(Account::read(&object)?),
        (KeyForm::Aws, None) if rest.starts_with("bedrock-mantle/") => Material::Header("x-api-key", secret.to_owned()),
        (KeyForm::Header(name), _) => Material::Header(name, secret.to_owned()),
        (KeyForm::Scheme(scheme), _) => Material::Header("authorization", format!("{scheme} {secret}")),
        (KeyForm::Bearer | KeyForm::Aws | KeyForm::Google, _) => bearer(),
    })
}

/// Refuses a key for a host that the path of the request chooses, unless it is the one that the key was kept for.
pub fn admit_resource(form: KeyForm, rest: &str, secret: &str) -> Result<(), Refusal> {
    let KeyForm::Resource(_) = form else { return Ok(()) };
    let kept = structured(secret).and_then(|object| AzureKey::read(&object).ok());
    let named = paths::azure_resource(rest);
    match kept {
        Some(kept) if kept.resource.eq_ignore_ascii_case(named) => Ok(()),
        Some(_) => Err(Refusal::no_credential(
            "The key that Tollgate keeps for azure-openai is for another resource than the one in the path, and is sent to \
             no other. Name its resource, store a key for this one under another alias, or send a key of your own.",
        )),
        None => Err(Refusal::no_credential(format!(
            "The key that Tollgate keeps for azure-openai cannot be used: {}.",
            AzureKey::WANTED
        ))),
    }
}

/// The service account that a client sent itself, for Vertex.
pub fn account_of_client(form: KeyForm, headers: &Headers) -> Option<Account> {
    let value = headers.get("authorization").filter(|_| form == KeyForm::Google)?;
    google_token::of_header(value)
}

/// The members of a secret that is a JSON object.
pub fn structured(secret: &str) -> Option<Map<String, Value>> {
    if !secret.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(secret).ok()
}

/// A few last characters to recognise a key by, of one that is long enough to spare them. Of credentials in several parts
/// it is the end of the part that is no secret.
pub fn preview(secret: &str) -> String {
    let object = structured(secret);
    let named = object.as_ref().map(|object| {
        let id = ["accessKeyId", "private_key_id", "resource"].iter().find_map(|name| object.get(*name)?.as_str());
        id.unwrap_or("")
    });
    let shown = named.unwrap_or(secret);
    let start = shown.len().saturating_sub(4);
    match shown.get(start..).filter(|_| shown.len() >= 20) {
        Some(end) => format!("…{end}"),
        None => String::new(),
    }
}

// === impl AzureKey ===

impl AzureKey {
    /// What is said of a key that names no resource.
    const WANTED: &str = "azure-openai wants {\"apiKey\", \"resource\"}, for the host is named by the path";

    fn read(object: &Map<String, Value>) -> Result<Self, &'static str> {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let key = text("apiKey").filter(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()));
        let resource = text("resource").filter(|resource| paths::is_azure_resource(resource));
        Ok(Self {
            key: key.ok_or("apiKey is missing")?.to_owned(),
            resource: resource.ok_or("resource is missing or no name of one")?.to_owned(),
        })
    }
}

// === impl AwsKeys ===

impl AwsKeys {
    /// Reads `{accessKeyId, secretAccessKey, region, sessionToken?}`. The region of a request is that of its path.
    pub fn read(object: &Map<String, Value>) -> Result<Self, &'static str> {
        let text = |name: &str| {
            let text = object.get(name).and_then(Value::as_str)?;
            (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
        };
        let session_token = match object.get("sessionToken") {
            None | Some(Value::Null) => None,
            Some(_) => Some(text("sessionToken").ok_or("sessionToken is no text")?),
        };
        Ok(Self {
            access_key_id: text("accessKeyId").ok_or("accessKeyId is missing")?,
            secret_access_key: text("secretAccessKey").ok_or("secretAccessKey is missing")?,
            session_token,
        })
    }
}

#[cfg(test)]
mod tests;
