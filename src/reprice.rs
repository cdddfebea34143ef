//! Prices past logs anew, a slice at a time. Each slice is one transaction: the new costs, what was counted, and how far the
//! job is. It can end at any moment, and whoever goes on begins where the last slice ended.

use crate::api::log_list;
use crate::envelope::ApiError;
use crate::filter::{Direction, Selection};
use crate::price;
use crate::price_rules::{self, PriceRule};
use crate::query::Query;
use crate::store::{Bind, Statement, Store, StoreError, row};
use crate::wire::Usage;
use serde_json::{Value, json};

/// Logs in a slice. Their new costs travel as one bound value.
const SLICE: u64 = 500;

/// How long one who works on a job may be silent before another takes over, in milliseconds.
const LEASE_MS: u64 = 30_000;

row! {
    struct Job {
        id: String,
        gateway: i64,
        query: String,
        dry_run: u8,
        cursor: Option<String>,
        logs_seen: u64,
        logs_changed: u64,
        cost_before: f64,
        cost_after: f64,
        created_at: u64,
        prices: Option<String>,
    }
}

row! {
    struct Log {
        id: String,
        provider: String,
        model: Option<String>,
        answer_model: Option<String>,
        error: Option<String>,
        finish_reason: Option<String>,
        cached: u8,
        custom_cost: u8,
        tokens_in: Option<u64>,
        tokens_out: Option<u64>,
        total_tokens: Option<u64>,
        tokens_cached: Option<u64>,
        tokens_cache_write: Option<u64>,
        tokens_reasoning: Option<u64>,
        cached_beside: Option<u8>,
        provider_cost: Option<f64>,
        cost: Option<f64>,
        price_rule: Option<String>,
    }
}

const COLUMNS: &str = "logs.id, logs.provider, logs.model, logs.answer_model, logs.error, logs.finish_reason, logs.cached, \
     logs.custom_cost, logs.tokens_in, logs.tokens_out, logs.total_tokens, logs.tokens_cached, logs.tokens_cache_write, \
     logs.tokens_reasoning, logs.cached_beside, logs.provider_cost, logs.cost, logs.price_rule";

/// The parameters of a job, which are stored as names and values in turn.
pub fn query(words: &str) -> Query {
    let words: Vec<Value> = serde_json::from_str(words).unwrap_or_default();
    let text = |word: Option<&Value>| word.and_then(Value::as_str).unwrap_or_default().to_owned();
    Query::of(words.chunks(2).map(|pair| (text(pair.first()), text(pair.get(1)))).collect())
}

/// The logs that a job's parameters mean.
pub fn selection(gateway: i64, query: &Query) -> Result<Selection, ApiError> {
    log_list::selection(gateway, query)
}

/// Goes on with the jobs that nobody works on, until it is time to end.
pub async fn run_all(store: &impl Store, now: impl Fn() -> u64, until_ms: u64) -> Result<(), StoreError> {
    row! {
        struct Id {
            id: String,
        }
    }
    while now() < until_ms {
        let sql = "SELECT id FROM reprices WHERE processed = 0 AND lease_until < ?1 ORDER BY lease_until LIMIT 1";
        let Some(Id { id }) = store.row::<Id>(Statement::new(sql, [Bind::Int(now() as i64)])).await? else { break };
        run(store, &id, &now, until_ms).await?;
    }
    Ok(())
}

/// Works on a job until it is done or `until_ms` has come. Does nothing while somebody else does.
async fn run(store: &impl Store, id: &str, now: &impl Fn() -> u64, until_ms: u64) -> Result<(), StoreError> {
    let lease = "UPDATE reprices SET lease_until = ?2 WHERE id = ?1 AND processed = 0 AND lease_until < ?3";
    let lease = Statement::new(lease, [id.into(), Bind::Int((now() + LEASE_MS) as i64), Bind::Int(now() as i64)]);
    if store.batch(vec![lease]).await?.first() != Some(&1) {
        return Ok(());
    }
    while now() < until_ms {
        if !slice(store, id, now).await? {
            return Ok(());
        }
    }
    // Whoever comes next need not wait for the lease to end.
    let release = Statement::new("UPDATE reprices SET lease_until = 0 WHERE id = ?1", [id.into()]);
    store.batch(vec![release]).await.map(drop)
}

/// Prices the next logs. True when there may be more, and nobody else has taken over.
async fn slice(store: &impl Store, id: &str, now: &impl Fn() -> u64) -> Result<bool, StoreError> {
    // Prices are read with every slice, so that a rule that is changed meanwhile holds for the rest.
    let sql = format!(
        "SELECT reprices.id, gateway, query, dry_run, cursor, logs_seen, logs_changed, cost_before, cost_after, \
         reprices.created_at, (SELECT {} FROM gateways WHERE key = gateway) AS prices FROM reprices WHERE id = ?1 AND processed = 0",
        price_rules::select().replace("?1", "gateways.account_id"),
    );
    let Some(job) = store.row::<Job>(Statement::new(sql, [id.into()])).await? else { return Ok(false) };
    let Some(prices) = &job.prices else { return job.end(store, "the gateway was deleted", now()).await };
    let rules = price_rules::from_json(prices);
    let Ok(mut selection) = selection(job.gateway, &query(&job.query)) else {
        return job.end(store, "this version of Tollgate does not understand which logs are meant", now()).await;
    };
    selection.until(job.created_at);
    if let Some(cursor) = &job.cursor {
        selection.beyond(cursor, Direction::Ascending);
    }
    let limit = selection.bind(SLICE as i64);
    let order = selection.in_time(Direction::Ascending);
    let logs: Vec<Log> = store.rows(selection.select(COLUMNS, &format!("ORDER BY {order} LIMIT {limit}"))).await?;
    job.commit(store, &logs, &rules, now()).await
}

// === impl Job ===

impl Job {
    async fn commit(
        &self,
        store: &impl Store,
        logs: &[Log],
        rules: &[PriceRule],
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut changes = Vec::new();
        let (mut changed, mut before, mut after) = (self.logs_changed, self.cost_before, self.cost_after);
        for log in logs {
            let (cost, rule) = log.priced(rules);
            before += log.cost.unwrap_or(0.0);
            after += cost.unwrap_or(0.0);
            changed += u64::from(cost != log.cost);
            if cost != log.cost || rule != log.price_rule {
                changes.push(json!([log.id, cost, rule]));
            }
        }
        let done = (logs.len() as u64) < SLICE;
        let cursor = logs.last().map(|log| log.id.as_str()).or(self.cursor.as_deref());
        // Of two who work on the same slice the second finds the cursor moved, and changes nothing.
        let progress = Statement::new(
            "UPDATE reprices SET cursor = ?3, logs_seen = ?4, logs_changed = ?5, cost_before = ?6, cost_after = ?7, \
             processed = ?8, lease_until = ?9, modified_at = ?10 WHERE id = ?1 AND cursor IS ?2 AND processed = 0",
            [
                self.id.as_str().into(),
                self.cursor.as_deref().into(),
                cursor.into(),
                Bind::Int((self.logs_seen + logs.len() as u64) as i64),
                Bind::Int(changed as i64),
                price::rounded(before).into(),
                price::rounded(after).into(),
                done.into(),
                Bind::Int((now_ms + LEASE_MS) as i64),
                Bind::Int(now_ms as i64),
            ],
        );
        let mut statements = vec![progress];
        if self.dry_run == 0 && !changes.is_empty() {
            statements.push(Statement::new(
                "UPDATE logs SET cost = new.value ->> 1, price_rule = new.value ->> 2 FROM json_each(?1) AS new \
                 WHERE logs.id = new.value ->> 0 AND changes() > 0",
                [Value::from(changes).to_string().into()],
            ));
        }
        let moved = store.batch(statements).await?.first() == Some(&1);
        Ok(moved && !done)
    }

    async fn end(&self, store: &impl Store, error: &str, now_ms: u64) -> Result<bool, StoreError> {
        let sql = "UPDATE reprices SET processed = 1, error = ?2, modified_at = ?3 WHERE id = ?1";
        store
            .batch(vec![Statement::new(sql, [self.id.as_str().into(), error.into(), Bind::Int(now_ms as i64)])])
            .await?;
        Ok(false)
    }
}

// === impl Log ===

impl Log {
    /// What the log costs by today's prices, and what says so. It keeps what it has where its caller said the cost, where the
    /// answer came from the cache, and where it is too old to tell.
    fn priced(&self, rules: &[PriceRule]) -> (Option<f64>, Option<String>) {
        let kept = || (self.cost, self.price_rule.clone());
        let of_gateway =
            |error: &String| ["client: ", "upstream: ", "gateway: "].iter().any(|layer| error.starts_with(layer));
        let broken = self.finish_reason.is_none() && self.error.as_ref().is_some_and(of_gateway);
        if self.custom_cost == 1 || self.cached == 1 || broken {
            return kept();
        }
        let models = [self.answer_model.as_deref(), self.model.as_deref()];
        let quote = price_rules::quote(rules, &self.provider, models, &self.usage());
        let from_rule = quote.as_ref().is_some_and(|(_, from)| from.starts_with("rule:"));
        match quote {
            // A log from before does not say whether its cost was the provider's own.
            _ if self.cached_beside.is_none() && self.cost.is_some() && !from_rule => kept(),
            Some((cost, from)) => (Some(cost), Some(from)),
            None => (None, None),
        }
    }

    fn usage(&self) -> Usage {
        let beside = || matches!(self.provider.as_str(), "anthropic" | "aws-bedrock");
        Usage {
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            total_tokens: self.total_tokens,
            cached: self.tokens_cached,
            cache_write: self.tokens_cache_write,
            reasoning: self.tokens_reasoning,
            cached_outside: self.cached_beside.map_or_else(beside, |beside| beside == 1),
            cost: self.provider_cost,
        }
    }
}
