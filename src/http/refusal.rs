//! Why the gateway itself, and not a provider, answers a request on the data plane.

use crate::base::fault::{Fault, Kind, shortened};
use crate::base::json::json;
use crate::http::envelope::Reply;
use crate::http::kinds;
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Deref;

/// A refusal in the terms of Cloudflare AI Gateway: clients map its numbers to typed errors. It is on the heap, as an
/// [`ApiError`](crate::http::envelope::ApiError) is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Box<Refused>);

/// What a [`Refusal`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub code: u32,
    /// The general text that goes with the code; some clients compare it.
    pub message: Cow<'static, str>,
    /// What was wrong with this request, and what to do about it.
    pub description: String,
    /// Further headers, such as `retry-after`.
    pub headers: Vec<(&'static str, String)>,
    /// The member `error`, where it is no list of the code and the message.
    pub error: Option<Box<Value>>,
}

/// The code of [`Refusal::too_many_calls`].
pub const TOO_MANY_CALLS: u32 = 2046;

// === impl Refusal ===

impl Refusal {
    fn new(status: u16, code: u32, message: impl Into<Cow<'static, str>>, description: impl Into<String>) -> Self {
        let (message, description) = (message.into(), description.into());
        Self(Box::new(Refused { status, code, message, description, headers: Vec::new(), error: None }))
    }

    /// The same refusal with something said otherwise.
    pub fn with(mut self, change: impl FnOnce(&mut Refused)) -> Self {
        change(&mut self.0);
        self
    }

    /// A refusal of a sort, as all topics have them.
    pub(super) fn of(kind: Kind, description: impl Into<String>) -> Self {
        let (status, code, message) = kinds::data(kind);
        Self::new(status, code, message, description)
    }

    pub fn unknown_gateway(account: &str, gateway: &str) -> Self {
        let description = format!(
            "Tollgate has no gateway '{gateway}' in account '{account}'. Create it with POST \
             /accounts/{account}/ai-gateway/gateways, or use the gateway 'default' with a token.",
            account = shortened(account),
            gateway = shortened(gateway),
        );
        Self::new(400, 2001, "Please configure AI Gateway in the Cloudflare dashboard", description)
    }

    pub fn unreachable(description: impl Into<String>) -> Self {
        Self::new(400, 2005, "Failed to get response from provider", description)
    }

    /// A provider that failed too often lately is not asked at all.
    pub fn circuit_open(provider: &str, seconds: u64) -> Self {
        let description = format!(
            "circuit open: {provider} failed repeatedly, so this gateway leaves it alone for {seconds} s more; see the \
             setting circuit_breaker."
        );
        Self::new(503, 2005, "Failed to get response from provider", description)
    }

    /// A path, or a header that stands for one, that cannot be sent upstream.
    pub fn bad_path(description: impl Into<String>) -> Self {
        Self::of(Kind::NoProvider, description)
    }

    /// A body that has to be kept, when the bodies of others take all the memory there is for that.
    pub fn no_room(what: &str) -> Self {
        let description = format!(
            "Tollgate is taking in so many long bodies just now that there is no memory for {what}. Try again in a moment."
        );
        let refusal = Self::unavailable(description);
        refusal.with(|refusal| refusal.headers.push(("retry-after", "1".to_owned())))
    }

    pub fn unauthorized(description: impl Into<String>) -> Self {
        Self::new(401, 2009, "Unauthorized", description)
    }

    /// A body that is no chat completion, for the endpoint that takes nothing else.
    pub fn bad_chat(description: impl Into<String>) -> Self {
        Self::new(400, 2019, "Chat completion bad format", description)
    }

    /// A provider that does not count the tokens of a request without answering it. Clients then count themselves.
    pub fn uncounted(provider: &str) -> Self {
        let description = format!("{} does not count tokens in this format; leave the count out.", shortened(provider));
        Self::new(404, 7002, "Not Found", description)
    }

    /// A request that a policy, or the caller's own token, does not let pass. Cloudflare's policies answer with such an `error`.
    pub fn denied(description: impl Into<String>) -> Self {
        Self::of(Kind::Denied, description).with(|refusal| {
            refusal.error = Some(Box::new(json!({ "message": (refusal.message.as_ref()) })));
        })
    }

    /// What must not leave was found in a request, or in the answer to one.
    pub fn data_loss(is_answer: bool, description: impl Into<String>) -> Self {
        match is_answer {
            false => Self::new(400, 2029, "Request content blocked due to DLP policy violations", description),
            true => Self::new(400, 2030, "Response content blocked due to DLP policy violations", description),
        }
    }

    /// A prompt, or an answer, that a model takes for harmful.
    pub fn guarded(is_answer: bool, categories: &str) -> Self {
        let description = format!("It belongs to {categories}, which this gateway's setting guardrails blocks.");
        match is_answer {
            false => Self::new(424, 2016, "Prompt blocked due to security configurations", description),
            true => Self::new(424, 2017, "Response blocked due to security configurations", description),
        }
    }

    /// What a rule may block, and no model has judged.
    pub fn unjudged(phase: &str, why: &str) -> Self {
        let description = format!(
            "This gateway lets no {phase} pass that its guardrails have not judged, and that was not possible: {}. Try again; \
             the setting guardrails says which model is asked.",
            why.chars().take(300).collect::<String>()
        );
        Self::new(503, 7013, "Guardrails are unavailable", description)
    }

    pub fn rate_limited(description: impl Into<String>) -> Self {
        Self::of(Kind::RateLimited, description)
    }

    /// A request that has caused as many calls as it may.
    pub fn too_many_calls(max_calls: u64) -> Self {
        let description = format!(
            "This request has caused as many calls of providers as the gateway's setting max_calls allows ({max_calls}), so it \
             ends with what it has."
        );
        Self::new(429, TOO_MANY_CALLS, "Too many calls", description)
    }

    /// Too many wrong tokens came from where this one comes from.
    pub fn barred(seconds: u64) -> Self {
        let refusal = Self::rate_limited(format!(
            "Tollgate (not the provider) does not look at the token: too many wrong ones came from this address. Try again \
             in {seconds} s, and mend what sends them."
        ));
        refusal.with(|refusal| refusal.headers.push(("retry-after", seconds.to_string())))
    }

    /// A page on another site, in a visitor's browser, wants to use a gateway that asks for no token.
    pub fn of_another_site() -> Self {
        let description = "Tollgate refused the WebSocket: its Origin is another site, and this gateway asks for no token. Send a \
             token, as the subprotocol cf-aig-authorization.<token>, or call from a server.";
        Self::new(403, 2009, "Unauthorized", description)
    }

    /// A compressed body that has to be read and cannot be.
    pub fn unsupported_encoding(description: impl Into<String>) -> Self {
        Self::new(415, 7001, "Unsupported content encoding", description)
    }

    /// A stored key that there is not. Clients show the message, so the aliases are in it.
    pub fn unknown_alias<'a>(provider: &str, alias: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let mut aliases = String::new();
        for alias in known {
            let comma = if aliases.is_empty() { "" } else { ", " };
            aliases.push_str(&format!("{comma}'{alias}'"));
        }
        let aliases = if aliases.is_empty() { "none" } else { &aliases };
        let alias: String = alias
            .chars()
            .take(64)
            .map(|char| if matches!(char, ' '..='~') && char != '"' { char } else { '?' })
            .collect();
        let message =
            format!("Provider '{provider}' has no BYOK credential named '{alias}'. Configured aliases: {aliases}");
        let description =
            format!("{message}. The alias comes from cf-aig-byok-alias; store a key with POST …/provider_configs.");
        Self::new(400, 2040, message, description)
    }

    /// A request that no key may be sent with.
    pub fn no_credential(description: impl Into<String>) -> Self {
        Self::new(400, 2040, "No provider credential for this request", description)
    }

    /// A request whose signature AWS would refuse. Its clients show the message and nothing else.
    pub fn bad_signature(description: impl Into<String>) -> Self {
        let description = description.into();
        Self::new(400, 2040, description.clone(), description)
    }

    pub fn not_found(path: &str) -> Self {
        let description = format!(
            "Tollgate serves nothing at {path}. Requests to providers go to /v1/<account>/<gateway>/<provider>/…"
        );
        Self::new(404, 7002, "Not Found", description)
    }

    /// A request that was meant for another host, as far as Tollgate can tell.
    pub fn misdirected(host: &str) -> Self {
        let description = format!(
            "ALLOWED_HOSTS does not name the host '{}', so nothing is served under it. Use another address, or add the host.",
            shortened(host)
        );
        Self::new(421, 7003, "Misdirected request", description)
    }

    /// A request that is no universal one.
    pub fn bad_request(description: impl Into<String>) -> Self {
        Self::of(Kind::Invalid, description)
    }

    /// A plain request to the address of a WebSocket.
    pub fn upgrade_required() -> Self {
        let description = "This address takes POST, or a WebSocket: GET with the header 'upgrade: websocket'.";
        Self::new(426, 7001, "Upgrade required", description)
    }

    pub fn method_not_allowed(method: &str, allowed: &str) -> Self {
        let description = format!("{} is not served here, but {allowed} is.", shortened(method));
        Self::new(405, 7001, "Method not allowed", description)
    }

    pub fn body_too_large(description: impl Into<String>) -> Self {
        Self::new(413, 7001, "Request body too large", description)
    }

    /// The gateway cannot work now: it is not configured, or its database does not answer.
    pub fn unavailable(description: impl Into<String>) -> Self {
        Self::of(Kind::Unavailable, description)
    }

    pub fn reply(&self) -> Reply {
        let error = match &self.error {
            Some(error) => (**error).clone(),
            None => json!([{ "code": self.code, "message": self.message }]),
        };
        let mut reply = Reply::json(
            self.status,
            &json!({
                "success": false,
                "result": [],
                "messages": [],
                "error": error,
                "name": "AiGatewayError",
                "httpCode": self.status,
                "internalCode": self.code,
                "message": self.message,
                "description": self.description,
            }),
        );
        reply.headers.clone_from(&self.headers);
        reply
    }
}

impl<F: Fault> From<F> for Refusal {
    fn from(fault: F) -> Self {
        Self::of(fault.kind(), fault.message()).with(|refusal| {
            refusal.headers = fault.headers().to_vec();
            refusal.error = fault.error().map(Box::new);
            if let Some(title) = fault.title() {
                refusal.message = title.into();
            }
        })
    }
}

impl Deref for Refusal {
    type Target = Refused;

    fn deref(&self) -> &Refused {
        &self.0
    }
}
