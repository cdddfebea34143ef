//! What a provider keeps and can be asked for again: responses, batches, runs, predictions. Each answer about it repeats what it
//! used, and that is paid once.
//!
//! Which log counts is decided in the database, in the transaction that writes the log, because polls of one thing reach many
//! isolates. Answers that cannot be asked for again take no part and cost no statement.

use crate::db::store::{Bind, Statement};
use crate::db::write_once::{WriteKey, is_new};
use crate::limit::charge::KNOWN_MS;
use crate::logs::claim::Claim;
use serde_json::Value;

/// SQL for the claims `?1`, a JSON array of arrays as [`row`] makes them.
macro_rules! claims {
    () => {
        "claims AS MATERIALIZED (SELECT value->>0 AS log, value->>1 AS gateway, value->>2 AS provider, value->>3 AS thing, \
           value->>4 AS at, value->>5 AS model, value->>6 AS creates, value->>7 AS used, value->8 AS tally, value->9 AS figures \
         FROM json_each(?1)) "
    };
}

/// How the thing of a claim is found.
macro_rules! its_thing {
    () => {
        "things.gateway = claims.gateway AND things.provider = claims.provider AND things.id = claims.thing "
    };
}

/// A request that makes a thing makes a new one, whatever its id: some servers give the same to all. But a poll that came to
/// the database before it may have been of this one.
const MADE: &str = concat!(
    "INSERT INTO things (gateway, provider, id, log_id, counted_by, is_found, time, model) WITH ",
    claims!(),
    "SELECT gateway, provider, thing, log, iif(used, log, NULL), 0, at, model FROM claims WHERE creates = 1 AND ",
    is_new!(),
    " ON CONFLICT DO UPDATE SET log_id = excluded.log_id, counted_by = excluded.counted_by, is_found = 0, time = excluded.time, \
       model = excluded.model WHERE things.is_found = 0 OR things.time < excluded.time"
);

/// A thing that was made unseen belongs to the first log that shows its usage. What was answered at once and is asked for
/// again is known by its log.
const FOUND: &str = concat!(
    "INSERT OR IGNORE INTO things (gateway, provider, id, log_id, counted_by, is_found, time, model) WITH ",
    claims!(),
    "SELECT gateway, provider, thing, coalesce(earlier, log), coalesce(earlier, log), 1, at, model FROM \
       (SELECT claims.*, (SELECT logs.id FROM logs WHERE logs.response_id = claims.thing AND logs.gateway = claims.gateway \
          AND logs.provider = claims.provider AND logs.id < claims.log AND logs.cost > 0 ORDER BY logs.id LIMIT 1) AS earlier \
        FROM claims WHERE creates = 0 AND used = 1 ORDER BY log) WHERE ",
    is_new!()
);

const SHOWN: &str = concat!(
    "WITH ",
    claims!(),
    "UPDATE things SET counted_by = first.log FROM \
       (SELECT gateway, provider, thing, min(log) AS log FROM claims WHERE used = 1 GROUP BY 1, 2, 3) AS first \
     WHERE things.gateway = first.gateway AND things.provider = first.provider AND things.id = first.thing \
       AND things.counted_by IS NULL AND ",
    is_new!()
);

/// Charts have the usage where the thing was made.
const COUNT: &str = concat!(
    "INSERT OR IGNORE INTO tallies (id, tallies) WITH ",
    claims!(),
    "SELECT ?3 || '/' || log, json_set(tally, '$[0][1]', things.time - things.time % 60000, '$[0][3]', coalesce(things.model, '')) \
     FROM claims JOIN things ON ",
    its_thing!(),
    "WHERE used = 1 AND things.counted_by = log AND ",
    is_new!()
);

/// The log that the usage belongs to shows it.
const MOVE: &str = concat!(
    "WITH ",
    claims!(),
    "UPDATE logs SET tokens_in = figures->>0, tokens_out = figures->>1, total_tokens = figures->>2, tokens_cached = figures->>3, \
       tokens_cache_write = figures->>4, tokens_reasoning = figures->>5, cost = figures->>6, price_rule = figures->>7, \
       cost_unknown = figures->>8, usage_details = figures->>9, cached_beside = figures->>10, provider_cost = figures->>11, \
       answer_model = coalesce(figures->>12, logs.answer_model), finish_reason = coalesce(logs.finish_reason, figures->>13) \
     FROM claims JOIN things ON ",
    its_thing!(),
    "WHERE logs.id = things.log_id AND used = 1 AND things.counted_by = log AND things.log_id <> log AND ",
    is_new!()
);

/// The others say whose it is. Where that log is not kept, the one that was counted stands for it.
const REFER: &str = concat!(
    "WITH ",
    claims!(),
    "UPDATE logs SET usage_of = owner, cost = 0, price_rule = NULL, cost_unknown = NULL FROM \
       (SELECT log, iif(EXISTS (SELECT 1 FROM logs AS own WHERE own.id = things.log_id), things.log_id, things.counted_by) AS owner \
        FROM claims JOIN things ON ",
    its_thing!(),
    "WHERE used = 1) AS shown WHERE logs.id = shown.log AND shown.owner <> shown.log AND ",
    is_new!()
);

/// The statements that settle claims. They come behind those that write the logs.
pub fn statements(key: &WriteKey<'_>, claims: &[String]) -> Vec<Statement> {
    let claims = format!("[{}]", claims.join(","));
    let settle = |sql: &'static str| Statement::new(sql, key.binds([Bind::Text(claims.clone())]));
    [MADE, FOUND, SHOWN, COUNT, MOVE, REFER].map(settle).into()
}

/// Removes things that providers no longer keep.
pub fn forgotten(now_ms: u64, limit: u64) -> Statement {
    let sql = "DELETE FROM things WHERE (gateway, provider, id) IN \
         (SELECT gateway, provider, id FROM things WHERE time < ?1 ORDER BY time LIMIT ?2)";
    Statement::new(sql, [Bind::Int(now_ms.saturating_sub(KNOWN_MS) as i64), Bind::Int(limit as i64)])
}

/// A claim as the statements take it. `tally` is what the usage adds to charts, as `tallies` has it.
pub fn row(record: &crate::logs::record::LogRecord, claim: &Claim, tally: &str) -> String {
    let text = |text: Option<&str>| Value::from(text).to_string();
    let answer_model = record.answer_model.as_deref().or(record.model.as_deref());
    let figures = crate::base::json::json!([
        record.tokens_in,
        record.tokens_out,
        record.total_tokens,
        record.tokens_cached,
        record.tokens_cache_write,
        record.tokens_reasoning,
        record.cost,
        record.price_rule,
        record.cost_unknown,
        record.usage_details,
        record.cached_beside,
        record.provider_cost,
        answer_model,
        record.finish_reason,
    ]);
    format!(
        "[{},{},{},{},{},{},{},{},{tally},{figures}]",
        text(Some(&record.id)),
        record.gateway,
        text(Some(&record.provider)),
        text(Some(&claim.thing)),
        record.created_at,
        text(record.model.as_deref()),
        u8::from(claim.creates),
        u8::from(claim.has_usage),
    )
}

#[cfg(test)]
mod tests;
