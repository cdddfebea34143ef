//! The trail of changes: who changed which resource, in the same transaction as the change.

use crate::db::store::{Bind, Statement};
use serde_json::{Map, Value};

/// Who changes something, and when.
#[derive(Clone, Debug)]
pub struct Actor<'a> {
    pub name: &'a str,
    pub now_ms: u64,
    /// The id of the audit row.
    pub entry: String,
}

/// A change of one resource.
pub struct Change<'a> {
    /// Such as `gateway.update`.
    pub action: &'static str,
    pub account: &'a str,
    pub gateway: Option<&'a str>,
    pub target: &'a str,
    /// The names of the fields that were given. Their values are not kept, for some are secret.
    pub fields: Vec<&'a str>,
}

/// The names of a body's fields.
pub fn fields(body: &Map<String, Value>) -> Vec<&str> {
    body.keys().map(String::as_str).take(100).collect()
}

impl Actor<'_> {
    /// The row of a change. It has to follow the changing statement in its batch, and is only written if that one changed
    /// something.
    pub fn row(&self, change: &Change<'_>) -> Statement {
        Statement::new(
            "INSERT OR IGNORE INTO audit (id, account_id, at, actor, action, gateway_id, target, fields) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE changes() > 0",
            [
                self.entry.as_str().into(),
                change.account.into(),
                Bind::Int(self.now_ms as i64),
                self.name.into(),
                change.action.into(),
                change.gateway.into(),
                change.target.into(),
                Value::from(change.fields.as_slice()).to_string().into(),
            ],
        )
    }
}
