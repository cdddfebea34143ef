//! `…/logs/{id}/conversation`, and `…/attempts`: one request as people look at it.

use crate::base::json::json;
use crate::base::timestamp;
use crate::conversation::part::Shown;
use crate::conversation::turns;
use crate::db::store::{Statement, Store};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::number;
use crate::http::query::Query;
use crate::logs::pieces::read;
use crate::logs::row::{COLUMNS, LogRow};
use serde_json::Value;

const MAX_TURNS: u64 = 1_000;
const TURNS: u64 = 200;
const MAX_TEXT: u64 = 1_000_000;
const TEXT: u64 = 20_000;

/// Longer data of one image are left out, in characters of base64.
const MAX_DATA: usize = 4 * 1024 * 1024;

/// Longer bodies are not read as a conversation, in bytes: what they say takes many times their length while it is read.
const MAX_BODY: usize = 6 * 1024 * 1024;

const MAX_ATTEMPTS: u32 = 200;

async fn existing(store: &impl Store, gateway: i64, id: &str) -> Result<LogRow, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM logs WHERE logs.id = ?1 AND logs.gateway = ?2");
    store.row::<LogRow>(Statement::new(sql, [id.into(), gateway.into()])).await?.ok_or_else(ApiError::not_found)
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/conversation`
pub async fn get(store: &impl Store, gateway: i64, id: &str, query: &Query) -> Result<Reply, ApiError> {
    let offset = number(query, "offset", 0, u64::from(u32::MAX))?.unwrap_or(0) as usize;
    let limit = number(query, "limit", 1, MAX_TURNS)?.unwrap_or(TURNS) as usize;
    let text = number(query, "text_limit", 100, MAX_TEXT)?.unwrap_or(TEXT) as usize;
    let row = existing(store, gateway, id).await?;
    let [request, response] = read::whole(store, id).await?;
    let mut warnings = Vec::new();
    let mut readable = |name: &str, body: Option<String>, size: Option<u64>| {
        if body.is_none() && size.is_some_and(|size| size > 0) {
            warnings.push(format!("The {name}'s body is not stored"));
        }
        let fits = body.as_ref().is_none_or(|body| body.len() <= MAX_BODY);
        if !fits {
            warnings.push(format!(
                "The {name} is too long to be read as a conversation; it is there as a whole at …/{name}"
            ));
        }
        body.filter(|_| fits)
    };
    let request = readable("request", request, row.request_size);
    let response = readable("response", response, row.response_size);
    let view = turns::read(request.as_deref(), response.as_deref());
    warnings.extend(view.warnings);
    let shown = Shown { text, data: MAX_DATA };
    let page = view.turns.iter().enumerate().skip(offset).take(limit);
    let turns: Vec<Value> = page
        .map(|(index, turn)| {
            let parts: Vec<Value> = turn.parts.iter().map(|part| part.show(shown)).collect();
            json!({ "index": index, "role": turn.role, "answered": turn.answered, "parts": parts })
        })
        .collect();
    Ok(Reply::result(json!({
        "format": view.format,
        "turns": turns,
        "total": view.turns.len(),
        "tools": view.tools,
        "params": view.params,
        "finish": row.finish_reason,
        "usage": {
            "input_tokens": row.tokens_in,
            "output_tokens": row.tokens_out,
            "cached_tokens": row.tokens_cached,
            "reasoning_tokens": row.tokens_reasoning,
        },
        "warnings": warnings,
    })))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/attempts`
///
/// All attempts of the request that a log is of, in the order in which they were made.
pub async fn attempts(store: &impl Store, gateway: i64, id: &str) -> Result<Reply, ApiError> {
    let row = existing(store, gateway, id).await?;
    // Logs without an event id of their own repeat their id, and are not in the index of event ids.
    let sql = format!(
        "SELECT {COLUMNS} FROM logs WHERE logs.event_id = ?1 AND logs.event_id <> logs.id AND logs.gateway = ?2 \
         UNION ALL SELECT {COLUMNS} FROM logs WHERE logs.id = ?1 AND logs.gateway = ?2 AND logs.event_id = logs.id \
         ORDER BY 2, 1 LIMIT {MAX_ATTEMPTS}"
    );
    let rows: Vec<LogRow> = store.rows(Statement::new(sql, [row.event_id.as_str().into(), gateway.into()])).await?;
    let shown: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "log_id": row.known_as(), "step": row.step, "attempt": row.attempt, "answered": row.answered == 1,
                "provider": row.provider, "model": row.model, "status": row.status_code,
                "started_at": timestamp::format(row.created_at), "duration": row.duration, "ttfb": row.first_byte,
                "error": row.error, "cost": row.cost, "cached": row.cached == 1,
            })
        })
        .collect();
    Ok(Reply::result(shown))
}

#[cfg(test)]
mod tests;
