//! `…/sessions`: requests that belong together, as their clients say. Those of different callers never do.

use crate::base::json::json;
use crate::base::timestamp;
use crate::conversation::turns::{self, Turn};
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::number;
use crate::http::query::Query;
use crate::logs::pieces::read;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Turns of a session beyond so many are on the next page.
const MAX_TURNS: u64 = 200;

/// So many of the newest logs with a session are looked at for the list.
const EXAMINED: u64 = 20_000;

const MAX_SESSIONS: u64 = 100;

/// Bodies that are longer are not compared with those before them, in bytes, all of a page together.
const MAX_COMPARED: usize = 8 * 1024 * 1024;

row! {
    struct Session {
        session_id: String,
        caller: String,
        first_at: u64,
        last_at: u64,
        turns: u64,
        models: String,
        tokens_in: f64,
        tokens_out: f64,
        cached_tokens: f64,
        cost: f64,
        unpriced: u64,
        errors: u64,
    }
}

row! {
    struct Log {
        id: String,
        /// The id that callers know it by.
        name: String,
        created_at: u64,
        model: Option<String>,
        provider: String,
        status_code: Option<u16>,
        success: u8,
        duration: u64,
        tokens_in: Option<u64>,
        tokens_out: Option<u64>,
        tokens_cached: Option<u64>,
        cost: Option<f64>,
        input_preview: Option<String>,
        output_preview: Option<String>,
    }
}

const SUMS: &str = "session_id, coalesce(caller, '') AS caller, min(created_at) AS first_at, max(created_at) AS last_at, count(*) AS turns, \
     json_group_array(DISTINCT model) AS models, total(tokens_in) AS tokens_in, total(tokens_out) AS tokens_out, \
     total(tokens_cached) AS cached_tokens, total(cost) AS cost, sum(success = 1 AND cost IS NULL) AS unpriced, sum(success = 0) AS errors";

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/sessions`
///
/// The sessions with the newest requests first.
pub async fn list(store: &impl Store, gateway: i64, query: &Query) -> Result<Reply, ApiError> {
    let limit = number(query, "limit", 1, MAX_SESSIONS)?.unwrap_or(50);
    let time = |name: &str, default: i64| match query.get(name) {
        None => Ok(default),
        Some(text) => match timestamp::parse(text) {
            Some(time) => Ok(time as i64),
            None => Err(ApiError::invalid(["query", name], timestamp::expected(text))),
        },
    };
    let (start, end) = (time("start", 0)?, time("end", i64::MAX >> 11)?);
    let sql = format!(
        "SELECT {SUMS} FROM (SELECT * FROM logs INDEXED BY logs_by_time WHERE gateway = ?1 AND created_at >= ?2 AND created_at < ?3 \
         ORDER BY created_at DESC, id DESC LIMIT {EXAMINED}) WHERE session_id IS NOT NULL AND answered = 1 \
         GROUP BY session_id, caller ORDER BY last_at DESC LIMIT {limit}"
    );
    let rows: Vec<Session> =
        store.rows(Statement::new(sql, [gateway.into(), Bind::Int(start), Bind::Int(end)])).await?;
    Ok(Reply::result(rows.iter().map(Session::show).collect::<Vec<_>>()))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/sessions/{id}`
///
/// One session with its requests in order, and where each left what the one before it had said.
pub async fn get(
    store: &impl Store,
    gateway: i64,
    id: &str,
    query: &Query,
    with_text: bool,
) -> Result<Reply, ApiError> {
    let id = percent_decode_str(id).decode_utf8().map_err(|_| ApiError::not_found())?.into_owned();
    let offset = number(query, "offset", 0, 1_000_000)?.unwrap_or(0);
    let limit = number(query, "limit", 1, MAX_TURNS)?.unwrap_or(MAX_TURNS);
    let sums = |and: &str| {
        format!(
            "SELECT {SUMS} FROM logs INDEXED BY logs_by_session WHERE gateway = ?1 AND session_id = ?2 AND answered = 1 {and} \
             GROUP BY session_id, caller ORDER BY last_at DESC LIMIT 1"
        )
    };
    // Without a caller that of the newest request is meant.
    let found = match query.get("caller") {
        Some(caller) => {
            let sql = sums("AND coalesce(caller, '') = ?3");
            store.row::<Session>(Statement::new(sql, [gateway.into(), id.as_str().into(), caller.into()])).await?
        }
        None => store.row::<Session>(Statement::new(sums(""), [gateway.into(), id.as_str().into()])).await?,
    };
    let session = found.ok_or_else(ApiError::not_found)?;
    let sql = format!(
        "SELECT id, coalesce(ingested_id, id) AS name, created_at, model, provider, status_code, success, duration, tokens_in, tokens_out, tokens_cached, cost, \
         input_preview, output_preview FROM logs INDEXED BY logs_by_session WHERE gateway = ?1 AND session_id = ?2 AND answered = 1 \
         AND coalesce(caller, '') = ?3 ORDER BY created_at, id LIMIT {limit} OFFSET {offset}"
    );
    let logs: Vec<Log> =
        store.rows(Statement::new(sql, [gateway.into(), id.as_str().into(), session.caller.as_str().into()])).await?;
    let mut shown = Vec::new();
    let mut before: Option<Vec<Turn>> = None;
    let mut compared = 0;
    for log in &logs {
        let mut entry = log.show(with_text);
        let mut asked = None;
        if with_text && compared < MAX_COMPARED {
            let [request, _] = read::whole(store, &log.id).await?;
            compared += request.as_ref().map_or(0, String::len);
            asked = request.filter(|_| compared < MAX_COMPARED).map(|request| turns::read(Some(&request), None).turns);
        }
        if let (Some(entry), Some(asked)) = (entry.as_object_mut(), &asked) {
            let shared = before
                .as_ref()
                .map_or(0, |before| before.iter().zip(asked).take_while(|(one, other)| one == other).count());
            // Where the turn before went on otherwise, its provider has to read everything behind it anew.
            let is_whole = before.as_ref().is_none_or(|before| shared >= before.len());
            entry.insert("messages".to_owned(), json!(asked.len()));
            entry.insert("shared_prefix".to_owned(), json!(shared));
            entry.insert("diverges_at".to_owned(), if is_whole { Value::Null } else { json!(shared) });
        }
        shown.push(entry);
        before = asked;
    }
    let mut whole = session.show();
    if let Some(whole) = whole.as_object_mut() {
        whole.insert("logs".to_owned(), Value::Array(shown));
    }
    Ok(Reply::result(whole))
}

// === impl Session ===

impl Session {
    fn show(&self) -> Value {
        let models: Vec<Option<String>> = serde_json::from_str(&self.models).unwrap_or_default();
        let models: Vec<String> = models.into_iter().flatten().collect();
        json!({
            "id": self.session_id,
            "caller": self.caller,
            "first_at": timestamp::format(self.first_at),
            "last_at": timestamp::format(self.last_at),
            "turns": self.turns,
            "models": models,
            "tokens_in": self.tokens_in as u64,
            "tokens_out": self.tokens_out as u64,
            "cached_tokens": self.cached_tokens as u64,
            "cost": self.cost,
            "unpriced": self.unpriced,
            "errors": self.errors,
        })
    }
}

// === impl Log ===

impl Log {
    fn show(&self, with_text: bool) -> Value {
        json!({
            "id": self.name,
            "created_at": timestamp::format(self.created_at),
            "model": self.model,
            "provider": self.provider,
            "status": self.status_code,
            "success": self.success == 1,
            "duration": self.duration,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cached_tokens": self.tokens_cached,
            "cost": self.cost,
            "input_preview": self.input_preview.as_ref().filter(|_| with_text),
            "output_preview": self.output_preview.as_ref().filter(|_| with_text),
            "messages": null,
            "shared_prefix": null,
            "diverges_at": null,
        })
    }
}

#[cfg(test)]
mod tests;
