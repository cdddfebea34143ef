//! Cloudflare Access in front of the dashboard: which person the signed header `cf-access-jwt-assertion` names, and what
//! the operator lets such a person do. <https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/validating-json/>

use crate::auth::caller::{Caller, Permission, Token};
use crate::base::object;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::rc::Rc;

/// The header that Access adds to each request. Its cookie may be missing.
pub const HEADER: &str = "cf-access-jwt-assertion";

/// Longer assertions are not read, in bytes.
const MAX_LENGTH: usize = 16_384;

/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 30;

const ROLES: &str = "ACCESS_ROLES is not a JSON object of people and what they may do, such as \
    {\"ann@example.com\": \"admin\", \"@example.com\": {\"account\": \"my-account\", \"permissions\": [\"read\"]}}. A person is an \
    e-mail address, @ and a domain, group: and a group, or service: and the name of a service token.";

/// `ACCESS_TEAM`, `ACCESS_AUD` and `ACCESS_ROLES`.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Such as `https://team.cloudflareaccess.com`; the issuer of the assertions.
    pub team_url: String,
    /// The tag of the application, which the assertions are made for.
    aud: String,
    /// In the order in which they are looked through.
    roles: Vec<(Person, Role)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Person {
    Email(String),
    Domain(String),
    Group(String),
    Service(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Admin,
    /// What a token may do as well.
    Limited {
        account: String,
        gateways: Option<Vec<String>>,
        permissions: Vec<Permission>,
    },
}

/// An assertion before its signature has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion<'a> {
    pub key_id: String,
    /// What is signed.
    pub signed: &'a str,
    pub signature: Vec<u8>,
    claims: Map<String, Value>,
}

// === impl Access ===

impl Access {
    /// Reads the three variables. Without a team there is no Access.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let given = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let Some(team) = given("ACCESS_TEAM") else {
            return match given("ACCESS_AUD").or(given("ACCESS_ROLES")) {
                Some(_) => {
                    Err("ACCESS_AUD and ACCESS_ROLES mean nothing without ACCESS_TEAM, the name of your Access team."
                        .to_owned())
                }
                None => Ok(None),
            };
        };
        let aud = given("ACCESS_AUD").filter(|aud| aud.bytes().all(|byte| byte.is_ascii_graphic()));
        let aud =
            aud.ok_or("ACCESS_AUD is missing: copy the application audience (AUD) tag of your Access application.")?;
        let roles = roles(given("ACCESS_ROLES").as_deref().unwrap_or("{}")).ok_or(ROLES)?;
        Ok(Some(Self { team_url: team_url(&team)?, aud, roles }))
    }

    /// Where the keys of the team are published.
    pub fn certs_url(&self) -> String {
        format!("{}/cdn-cgi/access/certs", self.team_url)
    }

    /// When an assertion ends; `None` where it is not for us, or not valid now.
    fn expires(&self, assertion: &Assertion<'_>, now_ms: u64) -> Option<f64> {
        let claims = &assertion.claims;
        let time = |name: &str| claims.get(name).and_then(Value::as_f64);
        let now = now_ms / 1_000;
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => *one == self.aud,
            Some(Value::Array(all)) => all.iter().any(|one| *one == *self.aud),
            _ => false,
        };
        let expires = time("exp")?;
        let is_valid = ((now.saturating_sub(LEEWAY)) as f64) < expires
            && time("nbf").is_none_or(|begins| begins <= (now + LEEWAY) as f64);
        let is_of_team = claims.get("iss").and_then(Value::as_str) == Some(self.team_url.as_str());
        (is_for_us && is_valid && is_of_team).then_some(expires)
    }

    /// What policies know of the person that an assertion with a good signature is of: the member `cf` of their fields, without
    /// the country.
    pub fn person(&self, assertion: &Assertion<'_>, now_ms: u64) -> Option<Map<String, Value>> {
        self.expires(assertion, now_ms)?;
        let claim = |name: &str| assertion.claims.get(name).filter(|value| !value.is_null() && *value != "").cloned();
        let named = [("id", "sub"), ("email", "email"), ("groups", "groups")];
        let user = named.into_iter().filter_map(|(name, from)| Some((name.to_owned(), claim(from)?)));
        let user = ("user".to_owned(), Value::Object(object::of(user)));
        Some(object::of([user].into_iter().chain(claim("custom").map(|custom| ("custom".to_owned(), custom)))))
    }

    /// Who an assertion with a good signature is of; `None` where it is not for us, not valid now, or of a person without a role.
    pub fn caller(&self, assertion: &Assertion<'_>, now_ms: u64) -> Option<Caller> {
        let claims = &assertion.claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let expires = self.expires(assertion, now_ms)?;
        let email = text("email").map(str::to_lowercase);
        let service = text("common_name").filter(|_| email.is_none());
        let groups: Vec<&str> =
            claims.get("groups").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let is_of = |person: &Person| match person {
            Person::Email(known) => email.as_deref() == Some(known),
            Person::Domain(known) => {
                email.as_deref().and_then(|email| email.rsplit_once('@')).is_some_and(|(_, domain)| domain == known)
            }
            Person::Group(known) => groups.contains(&known.as_str()),
            Person::Service(known) => service == Some(known),
        };
        let name = email.as_deref().or(service)?;
        // An address counts before a group, and a group before a domain, wherever they stand.
        let role = |rank: fn(&Person) -> bool| self.roles.iter().find(|(person, _)| rank(person) && is_of(person));
        let (_, role) = role(|person| matches!(person, Person::Email(_) | Person::Service(_)))
            .or_else(|| role(|person| matches!(person, Person::Group(_))))
            .or_else(|| role(|person| matches!(person, Person::Domain(_))))?;
        let id = format!("access:{}", name.chars().take(200).collect::<String>());
        Some(match role {
            Role::Admin => Caller::Operator(id),
            Role::Limited { account, gateways, permissions } => Caller::Token(Token {
                id,
                account: account.clone(),
                gateways: gateways.clone(),
                permissions: permissions.clone(),
                expires_at: Some((expires * 1_000.0) as u64),
                terms: Rc::default(),
            }),
        })
    }
}

fn team_url(team: &str) -> Result<String, String> {
    let fits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // A URL is for tests, and for a team with a domain of its own.
    if let Some((scheme, host)) = team.trim_end_matches('/').split_once("://") {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
        if matches!(scheme, "https" | "http") && !host.is_empty() && host.bytes().all(plain) {
            return Ok(format!("{scheme}://{host}"));
        }
    }
    let name = team.strip_suffix(".cloudflareaccess.com").unwrap_or(team);
    match fits(name) {
        true => Ok(format!("https://{name}.cloudflareaccess.com")),
        false => Err("ACCESS_TEAM is neither the name of an Access team, such as my-team, nor its URL.".to_owned()),
    }
}

fn roles(text: &str) -> Option<Vec<(Person, Role)>> {
    let given: Map<String, Value> = serde_json::from_str(text).ok()?;
    given.iter().map(|(name, role)| Some((Person::parse(name)?, Role::parse(role)?))).collect()
}

// === impl Person ===

impl Person {
    fn parse(name: &str) -> Option<Self> {
        if let Some(group) = name.strip_prefix("group:") {
            return (!group.is_empty()).then(|| Self::Group(group.to_owned()));
        }
        if let Some(service) = name.strip_prefix("service:") {
            return (!service.is_empty()).then(|| Self::Service(service.to_owned()));
        }
        let (local, domain) = name.rsplit_once('@').filter(|(_, domain)| !domain.is_empty())?;
        Some(match local {
            "" => Self::Domain(domain.to_lowercase()),
            _ => Self::Email(name.to_lowercase()),
        })
    }
}

// === impl Role ===

impl Role {
    fn parse(value: &Value) -> Option<Self> {
        let object = match value {
            Value::String(word) => return (word == "admin").then_some(Self::Admin),
            other => other.as_object()?,
        };
        let known = |name: &String| matches!(name.as_str(), "account" | "gateways" | "permissions");
        let account = object.get("account")?.as_str()?.to_owned();
        let texts = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let gateways = match object.get("gateways") {
            None | Some(Value::Null) => None,
            Some(list) => Some(texts(list)?),
        };
        let names = texts(object.get("permissions")?)?;
        let permissions = names.iter().map(|name| Permission::parse(name)).collect::<Option<Vec<_>>>()?;
        (object.keys().all(known) && !account.is_empty() && !permissions.is_empty()).then_some(Self::Limited {
            account,
            gateways,
            permissions,
        })
    }
}

// === impl Assertion ===

impl<'a> Assertion<'a> {
    /// Reads an assertion. Only RS256 is what Access signs with: a token that chooses its algorithm is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let object = |part: &str| -> Option<Map<String, Value>> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let head = object(head)?;
        if head.get("alg").and_then(Value::as_str) != Some("RS256") {
            return None;
        }
        let key_id = head.get("kid")?.as_str().filter(|id| !id.is_empty() && id.len() <= 256)?.to_owned();
        let signature = URL_SAFE_NO_PAD.decode(signature).ok().filter(|signature| !signature.is_empty())?;
        Some(Self { key_id, signed, signature, claims: object(claims)? })
    }
}

#[cfg(test)]
mod tests;
