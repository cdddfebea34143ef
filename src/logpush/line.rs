//! What is pushed of a log: the fields of Cloudflare's dataset `ai_gateway_events`, and the ids by which it is found here.

use crate::base::json::json;
use crate::base::timestamp;
use crate::db::store::{Statement, Store, StoreError, row};
use serde_json::Value;

/// Longer bodies stay behind, request and answer together, in bytes: each is in memory several times while it is sealed.
const MOST_BODIES: u64 = 8_000_000;

/// Logs whose bodies are read at once, and how long these may be together.
const AT_ONCE: usize = 100;
const BYTES_AT_ONCE: u64 = 2_000_000;

row! {
    /// A log that is to be pushed.
    #[derive(Debug)]
    pub struct Pushed {
        pub id: String,
        created_at: u64,
        provider: String,
        model: Option<String>,
        answer_model: Option<String>,
        path: String,
        status_code: Option<u16>,
        cached: u8,
        error: Option<String>,
        duration: u64,
        tokens_in: Option<u64>,
        tokens_out: Option<u64>,
        cost: Option<f64>,
        event_id: String,
        session_id: Option<String>,
        request_size: Option<u64>,
        response_size: Option<u64>,
        pub metadata: Option<String>,
    }
}

/// The logs of a batch that are still there.
pub async fn logs(store: &impl Store, gateway: i64, ids: &str) -> Result<Vec<Pushed>, StoreError> {
    let sql = "SELECT id, created_at, provider, model, answer_model, path, status_code, cached, error, duration, tokens_in, tokens_out, cost, \
         event_id, session_id, request_size, response_size, metadata FROM logs \
         WHERE id IN (SELECT value FROM json_each(?1)) AND gateway = ?2 ORDER BY id";
    store.rows(Statement::new(sql, [ids.into(), gateway.into()])).await
}

/// Cuts the logs of a batch into those whose bodies are read together.
pub fn together(logs: &[Pushed]) -> Vec<&[Pushed]> {
    let (mut all, mut rest) = (Vec::new(), logs);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |log: &&Pushed| {
            bytes += log.bytes();
            bytes <= BYTES_AT_ONCE
        };
        let length = rest.iter().take(AT_ONCE).take_while(fits).count().max(1);
        let (these, others) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        all.push(these);
        rest = others;
    }
    all
}

/// The object of a batch: its name sorts by time, and is the same whenever the batch is sent again.
pub fn object_name(account: &str, gateway: &str, batch_id: &str, made_ms: u64) -> String {
    let time = timestamp::basic(made_ms);
    let day: String = time.chars().take(8).collect();
    format!("{account}/{gateway}/{day}/{time}_{batch_id}.log.gz")
}

// === impl Pushed ===

impl Pushed {
    fn bytes(&self) -> u64 {
        self.request_size.unwrap_or(0).saturating_add(self.response_size.unwrap_or(0))
    }

    /// Whether its bodies are pushed with it.
    pub fn brings_bodies(&self) -> bool {
        self.bytes() <= MOST_BODIES
    }

    /// All but metadata and bodies.
    pub fn fields(&self, gateway: &str) -> Value {
        let is_own = self.error.as_deref().is_some_and(|error| error.starts_with("gateway:"));
        let asked = self.model.as_deref().unwrap_or("");
        json!({
            "ID": self.id,
            "Timestamp": timestamp::format(self.created_at),
            "Gateway": gateway,
            "Provider": self.provider,
            "Model": self.answer_model.as_deref().unwrap_or(asked),
            "RequestedModel": asked,
            "Endpoint": self.path,
            "StatusCode": self.status_code.unwrap_or(0),
            "Cached": self.cached == 1,
            "RateLimited": is_own && self.status_code == Some(429),
            "Metrics": { "cost": self.cost, "durationMs": self.duration, "tokensIn": self.tokens_in, "tokensOut": self.tokens_out },
            "EventID": self.event_id,
            "SessionID": self.session_id,
            "BodiesLeftOut": !self.brings_bodies(),
        })
    }
}
