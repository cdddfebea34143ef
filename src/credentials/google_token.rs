//! Google service accounts: the signed request by which one becomes an access token for Vertex AI (RFC 7523).
//! <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>

use crate::base::json::json;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Where tokens come from. Never what an account's own `token_uri` says, for its author could have our signature
/// sent anywhere.
pub const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The longest life that Google gives a token, in seconds.
const LIFE_S: u64 = 3_600;

/// A token is not used in its last minute: the request that carries it takes time as well.
const SPARE_S: u64 = 60;

/// A service account's key file.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    client_email: String,
    key_id: Option<String>,
    /// PKCS #8.
    pub private_key: Vec<u8>,
}

/// What Google answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub value: String,
    /// Milliseconds since 1970.
    pub usable_until: u64,
}

/// The signing input of an assertion: its header and its claims. Its signature follows after a further `.`.
pub fn assertion(account: &Account, now_ms: u64) -> String {
    let mut header = crate::base::object::of([("alg".to_owned(), json!("RS256")), ("typ".to_owned(), json!("JWT"))]);
    if let Some(key_id) = &account.key_id {
        header.insert("kid".to_owned(), json!(key_id));
    }
    let now = now_ms / 1_000;
    let claims = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": TOKEN_URL,
        "iat": now,
        "exp": now + LIFE_S,
    });
    format!("{}.{}", encoded(&Value::Object(header)), encoded(&claims))
}

/// The body of the request for a token.
pub fn form(assertion: &str, signature: &[u8]) -> String {
    let signature = URL_SAFE_NO_PAD.encode(signature);
    format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}.{signature}")
}

/// Reads the answer to that. The error is Google's own word for it, such as `invalid_grant`.
pub fn read_answer(status: u16, body: &str, now_ms: u64) -> Result<Token, String> {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| is_visible(text));
    match text("access_token") {
        Some(value) if status == 200 => {
            let life = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(0).min(LIFE_S);
            Ok(Token { value: value.to_owned(), usable_until: now_ms + life.saturating_sub(SPARE_S) * 1_000 })
        }
        _ => {
            let reason: String = text("error").unwrap_or("no access token in the answer").chars().take(60).collect();
            Err(format!("{status}, {reason}"))
        }
    }
}

/// The account in the `authorization` of a client: the base64 of its key file, with or without `Bearer`.
pub fn of_header(value: &str) -> Option<Account> {
    let value = value.trim();
    let text = match value.split_once(' ') {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => text.trim(),
        Some(_) => return None,
        None => value,
    };
    // Access tokens of Google are no base64, and no other base64 is a JSON object.
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='))).ok()?;
    let object = serde_json::from_slice(&decoded).ok()?;
    Account::read(&object).ok()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

// === impl Account ===

impl Account {
    /// Reads a key file; the error says what is wrong with it and quotes nothing.
    pub fn read(object: &Map<String, Value>) -> Result<Self, &'static str> {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let client_email = text("client_email").filter(|email| is_visible(email)).ok_or("client_email is missing")?;
        let private_key =
            text("private_key").and_then(pkcs8).ok_or("private_key is missing or no PEM of a PRIVATE KEY")?;
        let key_id = text("private_key_id").filter(|id| is_visible(id)).map(str::to_owned);
        Ok(Self { client_email: client_email.to_owned(), key_id, private_key })
    }

    /// What tokens of the account are remembered by: all of its address and key, so that no caller gets a token by knowing
    /// a part of them.
    pub fn digest(&self) -> [u8; 32] {
        let digest = Sha256::new().chain_update(&self.client_email).chain_update([0]).chain_update(&self.private_key);
        digest.finalize().into()
    }
}

/// The bytes of a PEM. Some tools keep its line breaks as `\n` in text.
fn pkcs8(pem: &str) -> Option<Vec<u8>> {
    let inner = pem.split_once("-----BEGIN PRIVATE KEY-----")?.1.split_once("-----END PRIVATE KEY-----")?.0;
    let text: String = inner.replace("\\n", "").split_ascii_whitespace().collect();
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_300_815_780_000;

    fn file() -> Value {
        json!({
            "type": "service_account",
            "client_email": "sa@p.iam.gserviceaccount.com",
            "private_key_id": "k1",
            "private_key": "-----BEGIN PRIVATE KEY-----\nAQID\nBA==\n-----END PRIVATE KEY-----\n",
            "token_uri": "https://evil.example/token",
        })
    }

    fn account() -> Account {
        Account::read(file().as_object().unwrap()).ok().unwrap()
    }

    fn part(text: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_claims_what_google_wants_and_goes_to_google_only() {
        let text = assertion(&account(), NOW);
        let (header, claims) = text.split_once('.').unwrap();
        assert_eq!(part(header), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        assert_eq!(
            part(claims),
            json!({
                "iss": "sa@p.iam.gserviceaccount.com",
                "scope": "https://www.googleapis.com/auth/cloud-platform",
                "aud": "https://oauth2.googleapis.com/token",
                "iat": 1_300_815_780,
                "exp": 1_300_819_380,
            })
        );
    }

    /// The signature of RFC 7515, A.2.1, in its form.
    #[test]
    fn a_signature_is_joined_as_the_rfc_has_it() {
        let signature = [112, 46, 33, 137, 67, 232, 143, 209, 30, 181, 216, 45, 191, 120, 69, 243];
        assert!(form("h.c", &signature).ends_with("&assertion=h.c.cC4hiUPoj9Eetdgtv3hF8w"));
    }

    #[test]
    fn key_files_are_read_and_others_refused() {
        assert_eq!(account().private_key, [1, 2, 3, 4]);
        for (name, wrong) in [
            ("client_email", json!(null)),
            ("client_email", json!("a b")),
            ("private_key", json!("x")),
            ("private_key", json!("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----")),
            ("private_key", json!("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----")),
            ("private_key", json!("-----BEGIN RSA PRIVATE KEY-----\nAQID\n-----END RSA PRIVATE KEY-----")),
        ] {
            let mut file = file();
            file[name] = wrong;
            assert!(Account::read(file.as_object().unwrap()).err().unwrap().contains(name));
        }
    }

    #[test]
    fn an_account_is_known_by_all_of_its_parts() {
        let (one, mut other) = (account(), account());
        other.private_key.push(5);
        assert_ne!(one.digest(), other.digest());
        other = Account { client_email: "x@y".to_owned(), ..account() };
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn a_client_may_send_the_key_file_itself() {
        let text = STANDARD.encode(file().to_string());
        for value in [text.clone(), format!("Bearer {text}"), format!("bearer  {text} ")] {
            assert!(of_header(&value).is_some_and(|found| found == account()));
        }
        for value in ["Bearer ya29.a0AfH6", "", "Bearer ", "Basic eyJhIjoxfQ==", "Bearer eyJhIjoxfQ=="] {
            assert!(of_header(value).is_none(), "{value}");
        }
    }

    #[test]
    fn tokens_are_used_until_a_minute_before_their_end() {
        let read = |status, body: &str| read_answer(status, body, NOW);
        let good = r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#;
        let token = Token { value: "ya29.x".to_owned(), usable_until: NOW + 3_539_000 };
        assert_eq!(read(200, good), Ok(token));
        assert_eq!(read(200, r#"{"access_token":"t"}"#).unwrap().usable_until, NOW);
        assert_eq!(
            read(400, r#"{"error":"invalid_grant","error_description":"Bad"}"#),
            Err("400, invalid_grant".into())
        );
        for (status, body) in [(200, "{}"), (500, "<html>"), (200, r#"{"access_token":"a\nb"}"#), (401, good)] {
            assert!(read(status, body).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_header_and_answer_is_read_without_harm(text in "\\PC{0,120}", status in 0u16..600) {
            let _ = (of_header(&text), read_answer(status, &text, NOW));
        }
    }
}
