//! What the Worker prints: a line of JSON for each thing that its operator has to know, without what looks like a key.

use crate::base::json::json;
use crate::base::mask;
use crate::db::store::StoreError;
use serde_json::Value;

pub fn error(line: &Value) {
    let line = line.to_string();
    worker::console_error!("{}", mask::line(&line));
}

pub fn info(line: &Value) {
    let line = line.to_string();
    worker::console_log!("{}", mask::line(&line));
}

/// Tells the operator of work behind answers that failed.
pub fn failed(event: &str, result: Result<(), StoreError>) {
    if let Err(error) = result {
        self::error(&json!({ "level": "error", "event": event, "cause": error.0 }));
    }
}
