//! A row of `logs` as it is read, and as the API shows it.

use crate::base::json::json;
use crate::base::timestamp;
use crate::db::store::{Statement, Store, StoreError, row};
use serde_json::{Map, Value};

/// The columns of [`LogRow`].
pub const COLUMNS: &str = "logs.id, logs.created_at, logs.provider, logs.model, logs.model_type, logs.path, logs.request_type, \
     logs.status_code, logs.success, logs.cached, logs.step, logs.error, logs.duration, logs.first_byte, logs.tokens_in, \
     logs.tokens_out, logs.total_tokens, logs.tokens_cached, logs.tokens_cache_write, logs.tokens_reasoning, logs.cost, \
     logs.custom_cost, logs.finish_reason, logs.event_id, logs.response_id, logs.provider_request_id, logs.user_agent, \
     logs.authentication, logs.request_content_type, logs.response_content_type, logs.request_size, logs.response_size, \
     logs.metadata, logs.feedback, logs.score, logs.evaluation_id, logs.attempt, logs.answered, logs.saved_cost, \
     logs.credential, logs.credential_alias, logs.price_rule, logs.cost_unknown, logs.usage_unread, \
     logs.usage_details, logs.usage_of, logs.input_preview, logs.output_preview, logs.session_id, logs.previous_response_id, logs.caller, \
     logs.translated_from, logs.dlp_action, logs.dlp, logs.guardrails, logs.route, logs.ingested_id, \
     (SELECT json_group_object(key, json(json)) FROM log_feedback WHERE log_feedback.log_id = logs.id) AS said";

row! {
    /// A row of `logs`, as the database gives it: booleans are numbers there.
    #[derive(Debug)]
    pub struct LogRow {
        pub id: String,
        pub created_at: u64,
        pub provider: String,
        pub model: Option<String>,
        pub model_type: Option<String>,
        pub path: String,
        pub request_type: String,
        pub status_code: Option<u16>,
        pub success: u8,
        pub cached: u8,
        pub step: u32,
        pub error: Option<String>,
        pub duration: u64,
        pub first_byte: Option<u64>,
        pub tokens_in: Option<u64>,
        pub tokens_out: Option<u64>,
        pub total_tokens: Option<u64>,
        pub tokens_cached: Option<u64>,
        pub tokens_cache_write: Option<u64>,
        pub tokens_reasoning: Option<u64>,
        pub cost: Option<f64>,
        pub custom_cost: u8,
        pub finish_reason: Option<String>,
        pub event_id: String,
        pub response_id: Option<String>,
        pub provider_request_id: Option<String>,
        pub user_agent: Option<String>,
        pub authentication: u8,
        pub request_content_type: Option<String>,
        pub response_content_type: Option<String>,
        pub request_size: Option<u64>,
        pub response_size: Option<u64>,
        pub metadata: Option<String>,
        pub feedback: Option<i64>,
        pub score: Option<f64>,
        pub evaluation_id: Option<String>,
        pub attempt: u32,
        pub answered: u8,
        pub saved_cost: Option<f64>,
        pub credential: Option<String>,
        pub credential_alias: Option<String>,
        pub price_rule: Option<String>,
        pub cost_unknown: Option<String>,
        pub usage_unread: Option<String>,
        pub usage_details: Option<String>,
        pub usage_of: Option<String>,
        pub input_preview: Option<String>,
        pub output_preview: Option<String>,
        pub session_id: Option<String>,
        pub previous_response_id: Option<String>,
        pub caller: Option<String>,
        pub translated_from: Option<String>,
        pub dlp_action: Option<String>,
        pub dlp: Option<String>,
        pub guardrails: Option<String>,
        pub route: Option<String>,
        pub ingested_id: Option<String>,
        /// The merged feedback, a JSON object.
        pub said: String,
    }
}

impl LogRow {
    /// The id that callers know it by.
    pub fn known_as(&self) -> &str {
        self.ingested_id.as_deref().unwrap_or(&self.id)
    }

    /// The log as lists show it. Names and types are those of Cloudflare AI Gateway; fields that only Tollgate has
    /// stand beside them.
    /// `with_text` is false for callers who may not see what was asked and answered.
    pub fn show(&self, with_text: bool) -> Map<String, Value> {
        let metadata: Value =
            self.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        let mut shown = json!({
            "id": self.known_as(),
            "created_at": timestamp::format(self.created_at),
            "provider": self.provider,
            "model": self.model.as_deref().unwrap_or(""),
            "model_type": self.model_type.as_deref().unwrap_or(""),
            "path": self.path,
            "request_type": self.request_type,
            "request_content_type": self.request_content_type.as_deref().unwrap_or(""),
            "response_content_type": self.response_content_type.as_deref().unwrap_or(""),
            "status_code": self.status_code,
            "success": self.success == 1,
            "cached": self.cached == 1,
            "duration": self.duration,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cost": self.cost,
            "custom_cost": self.custom_cost == 1,
            "metadata": metadata,
            "step": self.step,
            "event_id": self.event_id,
            "usage_metadata": {
                "input_tokens": self.tokens_in,
                "output_tokens": self.tokens_out,
                "total_tokens": self.total_tokens,
                "input_cached_tokens": self.tokens_cached,
                "input_cache_write_tokens": self.tokens_cache_write,
                "output_reasoning_tokens": self.tokens_reasoning,
            },
            "timings": { "total": self.duration, "latency": self.first_byte },
            "user_agent": self.user_agent,
            "authentication": self.authentication == 1,
            "wholesale": false,
            "feedback": self.feedback,
            "score": self.score,
            "feedback_data": serde_json::from_str(&self.said).unwrap_or(Value::Null),
            "request": "",
            "response": "",
            "error": self.error,
            "finish_reason": self.finish_reason,
            "response_id": self.response_id,
            "provider_request_id": self.provider_request_id,
            "evaluation_id": self.evaluation_id,
            "attempt": self.attempt,
            "answered": self.answered == 1,
            "saved_cost": self.saved_cost,
            "credential": self.credential,
            "credential_alias": self.credential_alias,
            "price_rule": self.price_rule,
            "cost_unknown": self.cost_unknown,
            "usage_of": self.usage_of,
        });
        let details = self.usage_details.as_deref().and_then(|details| serde_json::from_str(details).ok());
        if let (Some(Value::Object(details)), Some(Value::Object(usage))) = (details, shown.get_mut("usage_metadata")) {
            usage.extend(details);
        }
        match shown {
            Value::Object(mut fields) => {
                // The macro takes no more members than there are.
                for (name, value) in [
                    ("usage_unread", &self.usage_unread),
                    ("input_preview", if with_text { &self.input_preview } else { &None }),
                    ("output_preview", if with_text { &self.output_preview } else { &None }),
                    ("session_id", &self.session_id),
                    ("previous_response_id", &self.previous_response_id),
                    ("caller", &self.caller),
                    ("translated_from", &self.translated_from),
                    ("dlp_action", &self.dlp_action),
                ] {
                    fields.insert(name.to_owned(), value.clone().into());
                }
                fields.insert("ingested".to_owned(), self.ingested_id.is_some().into());
                for (name, json) in [("dlp", &self.dlp), ("guardrails", &self.guardrails), ("route", &self.route)] {
                    let value = json.as_deref().and_then(|json| serde_json::from_str(json).ok());
                    fields.insert(name.to_owned(), value.unwrap_or(Value::Null));
                }
                fields
            }
            _ => Map::new(),
        }
    }
}

row! {
    struct Count {
        n: u64,
    }
}

/// Whether a log's row is there, in a certain gateway or in any. Rows are written behind the answers, so `control` asks
/// before it looks.
pub async fn exists(store: &impl Store, gateway: Option<i64>, id: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) AS n FROM logs WHERE id = ?1 AND (?2 IS NULL OR gateway = ?2)";
    let count = Statement::new(sql, [id.into(), gateway.into()]);
    Ok(store.row::<Count>(count).await?.is_some_and(|count| count.n > 0))
}
