//! Something that an operator is told, and how it is written for a webhook.

use crate::base::hex::hex;
use crate::base::hmac::hmac_sha256;
use crate::base::json::json;
use crate::base::timestamp;
use serde_json::Value;

/// The kinds of events, as webhooks choose among them.
pub const KINDS: &[&str] = &["spend", "rate", "circuit", "errors", "logs_lost", "database", "model", "telemetry"];

/// How bodies can be written.
pub const FORMATS: &[&str] = &["json", "slack"];

/// The shares of a budget or a limit that are told of where a webhook does not say otherwise.
pub const THRESHOLDS: [f64; 2] = [0.8, 1.0];

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// One of [`KINDS`].
    pub kind: &'static str,
    pub account: String,
    /// The key of the gateway and its id; `None` for what is no gateway's.
    pub gateway: Option<(i64, String)>,
    /// Tells it from others of its kind, its window included.
    pub name: String,
    /// The share that was reached, of an event that has one.
    pub threshold: Option<f64>,
    /// One sentence.
    pub summary: String,
    pub data: Value,
}

// === impl Event ===

impl Event {
    /// What no two events of an account have in common.
    pub fn key(&self) -> String {
        let gateway = self.gateway.as_ref().map_or(0, |(key, _)| *key);
        let threshold = self.threshold.map_or(String::new(), |threshold| threshold.to_string());
        format!("{} {gateway} {threshold} {}", self.kind, self.name)
    }

    /// The body as webhooks get it.
    pub fn body(&self, id: &str, now_ms: u64) -> String {
        let gateway = self.gateway.as_ref().map(|(_, id)| id);
        json!({
            "id": id, "type": self.kind, "account": self.account, "gateway": gateway, "at": timestamp::format(now_ms),
            "threshold": self.threshold, "summary": self.summary, "data": self.data,
        })
        .to_string()
    }
}

/// A body in the format of a webhook.
pub fn formatted(body: &str, format: &str) -> String {
    if format != "slack" {
        return body.to_owned();
    }
    let whole: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| whole.get(name).and_then(Value::as_str).unwrap_or("");
    let place = [text("account"), text("gateway")].join("/");
    // Slack reads these three as its own.
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "text": format!("Tollgate {}: {}", plain(place.trim_end_matches('/')), plain(text("summary"))) })
        .to_string()
}

/// The value of `tollgate-signature`: when it was made, and the HMAC-SHA256 of that, a full stop, and the body.
pub fn signature(secret: &str, seconds: u64, body: &str) -> String {
    let digest = hmac_sha256(secret.as_bytes(), format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex(&digest))
}

/// When an event that could not be delivered is tried again; `None` an hour after it happened.
pub fn next_try(happened: u64, attempts: u64, now: u64) -> Option<u64> {
    const MINUTE: u64 = 60_000;
    let next = now + MINUTE * (1 << attempts.min(4));
    (next <= happened + 60 * MINUTE).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            kind: "spend",
            account: "acct".into(),
            gateway: Some((7, "gw".into())),
            name: "spend/a [] 60".into(),
            threshold: Some(0.8),
            summary: "80 % of <a> & b".into(),
            data: json!({ "rule": "a" }),
        }
    }

    #[test]
    fn an_event_is_written_for_programs_and_for_people() {
        assert_eq!(event().key(), "spend 7 0.8 spend/a [] 60");
        assert_ne!(event().key(), Event { threshold: Some(1.0), ..event() }.key());
        let body = event().body("id", 0);
        let whole: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&whole["gateway"], &whole["at"], &whole["data"]["rule"]),
            (&json!("gw"), &json!("1970-01-01T00:00:00.000Z"), &json!("a"))
        );
        assert_eq!(formatted(&body, "json"), body);
        assert_eq!(formatted(&body, "slack"), r#"{"text":"Tollgate acct/gw: 80 % of &lt;a&gt; &amp; b"}"#);
        let whole = Event { gateway: None, ..event() }.body("id", 0);
        assert!(formatted(&whole, "slack").contains("Tollgate acct: "));
    }

    #[test]
    fn a_signature_is_over_the_time_and_the_body() {
        let one = signature("s", 7, "body");
        assert!(one.starts_with("t=7,v1=") && one.len() == 7 + 64);
        assert!(one != signature("s", 8, "body") && one != signature("t", 7, "body"));
    }

    #[test]
    fn it_is_tried_again_for_an_hour() {
        let (mut now, mut tries) = (0, 1);
        while let Some(next) = next_try(0, tries - 1, now) {
            assert!(next > now);
            (now, tries) = (next, tries + 1);
        }
        assert!(now > 30 * 60_000 && now <= 60 * 60_000 && tries >= 6, "{now} {tries}");
    }
}
