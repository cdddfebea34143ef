//! The runtime's cryptography: AES-256-GCM for stored keys, RS256 for service accounts, SHA-256 of bodies that stay outside
//! of wasm.

use crate::credentials::stored;
use crate::credentials::vault::{Bound, EncryptionKey, EncryptionKeys, Reference, Sealed, Vault};
use crate::platform::runtime::variable;
use crate::platform::subtle::import_key;
use crate::platform::{Runtime, console, js, within};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use js_sys::{Array, ArrayBuffer, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

/// How long a request waits for the Secrets Store, in milliseconds.
const PATIENCE_MS: u64 = 2_000;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = encrypt, catch)]
    fn encrypt(algorithm: &JsValue, key: &JsValue, data: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = decrypt, catch)]
    fn decrypt(algorithm: &JsValue, key: &JsValue, data: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = sign, catch)]
    fn subtle_sign(algorithm: &JsValue, key: &JsValue, data: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = digest, catch)]
    fn digest(algorithm: &str, data: &JsValue) -> Result<Promise, JsValue>;

    /// A binding of the Secrets Store. Its method cannot be taken off it and called: it may live in another process.
    type StoreSecret;
    #[wasm_bindgen(method, catch)]
    fn get(this: &StoreSecret) -> Result<Promise, JsValue>;
}

const NONCE: usize = 12;

/// SHA-256 of a body, hexadecimal. The body is not copied into wasm.
pub async fn sha256(buffer: &JsValue) -> Result<String, String> {
    let hash = done(digest("SHA-256", buffer)).await?;
    Ok(crate::base::hex::hex(&js::bytes(hash.unchecked_ref())))
}

/// The RS256 signature of a text, by a key in PKCS #8.
pub async fn sign(private_key: &[u8], text: &str) -> Result<Vec<u8>, String> {
    let algorithm = js::object(&[("name", "RSASSA-PKCS1-v1_5".into()), ("hash", "SHA-256".into())]);
    let bytes = Uint8Array::from(private_key);
    let key = done(import_key("pkcs8", &bytes, &algorithm, false, &Array::of1(&JsValue::from_str("sign")))).await?;
    let signature = done(subtle_sign(&algorithm, &key, &Uint8Array::from(text.as_bytes()))).await?;
    Ok(js::bytes(signature.unchecked_ref()))
}

/// Seals with the operator's encryption keys, and finds what references mean in the bindings.
pub struct EnvVault<'a> {
    pub env: &'a Env,
    pub keys: &'a Result<EncryptionKeys, String>,
}

// === impl EnvVault ===

impl Vault for EnvVault<'_> {
    async fn seal(&self, plain: &str, bound: &Bound<'_>) -> Result<Sealed, String> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        let key = keys.first().ok_or("there is no encryption key")?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| format!("no randomness: {error}"))?;
        let algorithm = gcm(&nonce, bound);
        let sealed =
            done(encrypt(&algorithm, &imported(key, "encrypt").await?, &Uint8Array::from(plain.as_bytes()))).await?;
        let mut bytes = nonce.to_vec();
        bytes.extend(js::bytes(sealed.unchecked_ref()));
        Ok(Sealed { text: URL_SAFE_NO_PAD.encode(bytes), key_id: key.id.clone() })
    }

    async fn open(&self, sealed: &Sealed, bound: &Bound<'_>) -> Result<String, String> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        let key = keys
            .iter()
            .find(|key| key.id == sealed.key_id)
            .ok_or_else(|| format!("ENCRYPTION_KEY does not list the key {} that it was sealed with. List that key, or store the secret anew", sealed.key_id))?;
        let broken = || "its ciphertext is damaged or belongs elsewhere".to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed.text).map_err(|_| broken())?;
        let (nonce, rest) = bytes.split_at_checked(NONCE).ok_or_else(broken)?;
        let key = imported(key, "decrypt").await?;
        let plain = done(decrypt(&gcm(nonce, bound), &key, &Uint8Array::from(rest))).await.map_err(|_| broken())?;
        String::from_utf8(js::bytes(plain.unchecked_ref::<ArrayBuffer>())).map_err(|_| broken())
    }

    async fn look_up(&self, reference: &Reference) -> Result<String, String> {
        let (name, found) = match reference {
            Reference::Variable(name) => (name, variable(self.env, name)),
            Reference::Store(name) => {
                let binding = Reflect::get(self.env, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED);
                if !binding.is_object() {
                    return Err(format!("The Worker has no Secrets Store binding {name}; see wrangler.toml"));
                }
                let asked = binding.unchecked_ref::<StoreSecret>().get();
                let text = within(PATIENCE_MS, done(asked)).await;
                let text = text.unwrap_or_else(|| Err(format!("no answer within {PATIENCE_MS} ms")));
                let text = text.map_err(|error| format!("The Secrets Store did not give {name}: {error}"));
                (name, text?.as_string())
            }
        };
        found
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| format!("The Worker has no secret {name}. Set it with `npx wrangler secret put {name}`"))
    }

    fn current(&self) -> Option<&str> {
        let keys = self.keys.as_ref().ok()?;
        keys.first().map(|key| key.id.as_str())
    }
}

async fn imported(key: &EncryptionKey, usage: &str) -> Result<JsValue, String> {
    let usages = Array::of1(&JsValue::from_str(usage));
    let bytes = Uint8Array::from(key.bytes.as_slice());
    done(import_key("raw", &bytes, &JsValue::from_str("AES-GCM"), false, &usages)).await
}

fn gcm(nonce: &[u8], bound: &Bound<'_>) -> JsValue {
    js::object(&[
        ("name", "AES-GCM".into()),
        ("iv", Uint8Array::from(nonce).into()),
        ("additionalData", Uint8Array::from(bound.text().as_bytes()).into()),
    ])
    .into()
}

async fn done(promise: Result<Promise, JsValue>) -> Result<JsValue, String> {
    let promise = promise.map_err(|error| js::message(&error))?;
    JsFuture::from(promise).await.map_err(|error| js::message(&error))
}

/// Seals stored keys with the newest encryption key.
pub async fn reseal(runtime: &Runtime, keys: &Result<EncryptionKeys, String>) {
    let vault = EnvVault { env: &runtime.env, keys };
    console::failed("reseal_failed", stored::reseal(&runtime.database(), &vault).await);
}
