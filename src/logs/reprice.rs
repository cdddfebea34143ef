//! Prices past logs anew, a slice at a time. Each slice is one transaction: the new costs, what was counted, and how far the
//! job is. It can end at any moment, and the isolate that goes on begins where the last slice ended.

use crate::base::json::json;
use crate::catalogue::table::Catalogue;
use crate::db::databases::Databases;
use crate::db::put_aside::{self, REPRICES};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::db::whose::Whose;
use crate::gateways::catalogue;
use crate::http::envelope::ApiError;
use crate::http::query::Query;
use crate::logs::filter::search;
use crate::logs::filter::{Ahead, Direction, Next, Selection};
use crate::logs::rollup::Correction;
use crate::pricing::bill::Line;
use crate::pricing::price;
use crate::pricing::rates;
use crate::pricing::rules::{self, PriceRule, Quote};
use crate::wire::Usage;
use serde_json::Value;

/// How long one who works on a job may be silent before another takes over, in milliseconds.
const LEASE_MS: u64 = 30_000;

/// How long a job is worked on before the next one gets its turn, in milliseconds.
const TURN_MS: u64 = 5_000;

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
    }
}

row! {
    pub(super) struct Log {
        id: String,
        created_at: u64,
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
        usage_details: Option<String>,
        usage_of: Option<String>,
        cost: Option<f64>,
        price_rule: Option<String>,
        cost_unknown: Option<String>,
    }
}

/// What a log costs, what says so, and why the cost is unknown.
type Priced = (Option<f64>, Option<String>, Option<String>);

pub(super) const COLUMNS: &str = "logs.id, logs.created_at, logs.provider, logs.model, logs.answer_model, logs.error, logs.finish_reason, logs.cached, \
     logs.custom_cost, logs.tokens_in, logs.tokens_out, logs.total_tokens, logs.tokens_cached, logs.tokens_cache_write, \
     logs.tokens_reasoning, logs.cached_beside, logs.provider_cost, logs.usage_details, logs.usage_of, logs.cost, logs.price_rule, logs.cost_unknown";

/// The parameters of a job, which are stored as names and values in turn.
pub fn query(words: &str) -> Query {
    let words: Vec<Value> = serde_json::from_str(words).unwrap_or_default();
    let text = |word: Option<&Value>| word.and_then(Value::as_str).unwrap_or_default().to_owned();
    Query::of(words.chunks(2).map(|pair| (text(pair.first()), text(pair.get(1)))).collect())
}

/// The logs that a job's parameters mean.
pub fn selection(gateway: i64, query: &Query) -> Result<Selection, ApiError> {
    Ok(search::selection(gateway, query)?)
}

/// Goes on with the jobs of a database that no isolate works on, until it is time to end.
pub async fn run_all(
    databases: &impl Databases,
    shard: u32,
    whose: &Whose,
    now: impl Fn() -> u64,
    until_ms: u64,
) -> Result<(), StoreError> {
    let store = databases.of(shard)?;
    // One that fails is left to the next time: those of others go on.
    let (mut failed, mut outcome) = (Vec::new(), Ok(()));
    while now() < until_ms {
        let sql = format!(
            "SELECT id FROM reprices WHERE processed = 0 AND lease_until < ?1 AND {} ORDER BY lease_until LIMIT 10",
            whose.holds("reprices.gateway", 2)
        );
        let binds: Vec<Bind> = [Bind::Int(now() as i64)].into_iter().chain(whose.binds()).collect();
        let next = store.ids(Statement::new(sql, binds)).await?;
        let Some(id) = next.into_iter().find(|id| !failed.contains(id)) else { break };
        // One after another gets its turn, however long the first one takes.
        if let Err(error) = run(databases.first(), store, &id, &now, until_ms.min(now() + TURN_MS)).await {
            outcome = Err(error);
            failed.push(id);
        }
    }
    outcome
}

/// Works on a job until it is done or `until_ms` has come. Does nothing while another isolate does.
async fn run<S: Store>(
    first: &S,
    store: &S,
    id: &str,
    now: &impl Fn() -> u64,
    until_ms: u64,
) -> Result<(), StoreError> {
    let lease = "UPDATE reprices SET lease_until = ?2 WHERE id = ?1 AND processed = 0 AND lease_until < ?3";
    let lease = Statement::new(lease, [id.into(), Bind::Int((now() + LEASE_MS) as i64), Bind::Int(now() as i64)]);
    if store.batch(vec![lease]).await?.first() != Some(&1) {
        return Ok(());
    }
    let mut ahead = Ahead::default();
    while now() < until_ms {
        if !slice(first, store, id, now, &mut ahead).await? {
            return Ok(());
        }
    }
    // The next isolate need not wait for the lease to end, and begins with the job that has waited longest.
    let released = Bind::Int(now().saturating_sub(1) as i64);
    let release = Statement::new("UPDATE reprices SET lease_until = ?2 WHERE id = ?1", [id.into(), released]);
    store.batch(vec![release]).await.map(drop)
}

/// Prices the next logs. True when there may be more, and no other isolate has taken over.
async fn slice<S: Store>(
    first: &S,
    store: &S,
    id: &str,
    now: &impl Fn() -> u64,
    ahead: &mut Ahead,
) -> Result<bool, StoreError> {
    row! {
        struct Prices {
            prices: String,
            account_id: String,
        }
    }
    let sql = "SELECT id, gateway, query, dry_run, cursor, logs_seen, logs_changed, cost_before, cost_after, created_at \
         FROM reprices WHERE id = ?1 AND processed = 0";
    let (mut jobs, others) = store.readable::<Job>(Statement::new(sql, [id.into()])).await?;
    if let Some((row, reason)) = others.first() {
        let content = Value::Object(row.clone()).to_string();
        let kept = put_aside::kept(REPRICES, id, &reason.0, &content, now());
        let end = ended(id, "the database has a row for this that cannot be read", now());
        return store.batch(vec![end, kept]).await.map(|_| false);
    }
    let Some(job) = jobs.pop() else { return Ok(false) };
    // Prices are read with every slice, so that a rule that is changed meanwhile holds for the rest.
    let prices = rules::select().replace("?1", "gateways.account_id");
    let prices = Statement::new(
        format!("SELECT {prices} AS prices, account_id FROM gateways WHERE key = ?1"),
        [job.gateway.into()],
    );
    let Some(Prices { prices, account_id }) = first.row(prices).await? else {
        return job.end(store, "the gateway was deleted", now()).await;
    };
    let rules = rules::from_json(&prices);
    let (_, catalogue) = catalogue::read(first, &account_id).await?;
    let is_list = serde_json::from_str::<Vec<Value>>(&job.query).is_ok();
    let Some(mut selection) = selection(job.gateway, &query(&job.query)).ok().filter(|_| is_list) else {
        return job.end(store, "this version of Tollgate does not understand which logs are meant", now()).await;
    };
    selection.until(job.created_at);
    if let Some(cursor) = &job.cursor {
        selection.beyond(cursor, Direction::Ascending);
    }
    ahead.bound(store, &mut selection, Direction::Ascending).await?;
    let slice = store.pace().changed;
    let limit = selection.bind(slice as i64);
    let order = selection.in_time(Direction::Ascending);
    let logs: Vec<Log> = store.rows(selection.select(COLUMNS, &format!("ORDER BY {order} LIMIT {limit}"))).await?;
    let next = ahead.next(logs.len() as u64 == slice);
    job.commit(store, &logs, &next, (&catalogue, &rules), now()).await
}

fn ended(id: &str, error: &str, now_ms: u64) -> Statement {
    let sql = "UPDATE reprices SET processed = 1, error = ?2, modified_at = ?3 WHERE id = ?1";
    Statement::new(sql, [id.into(), error.into(), Bind::Int(now_ms as i64)])
}

// === impl Job ===

impl Job {
    async fn commit(
        &self,
        store: &impl Store,
        logs: &[Log],
        next: &Next,
        (catalogue, rules): (&Catalogue, &[PriceRule]),
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut changes = Vec::new();
        let mut correction = Correction::default();
        let (mut changed, mut before, mut after) = (self.logs_changed, self.cost_before, self.cost_after);
        for log in logs {
            let (cost, rule, unknown) = log.priced(catalogue, rules);
            // What an older version took for a cost, and is none, is not in the sums either.
            let [known, new] = [log.cost, cost].map(|cost| cost.and_then(|cost| price::bounded(cost).ok()));
            before += known.unwrap_or(0.0);
            after += new.unwrap_or(0.0);
            changed += u64::from(cost != log.cost);
            if cost != log.cost {
                let place = (self.gateway, log.created_at, log.provider.as_str(), log.model.as_deref().unwrap_or(""));
                correction.note(place, (known, new), now_ms);
            }
            if cost != log.cost || rule != log.price_rule || unknown != log.cost_unknown {
                changes.push(json!([log.id, cost, rule, unknown]));
            }
        }
        let done = *next == Next::Nothing;
        let last = logs.last().map(|log| log.id.as_str()).or(self.cursor.as_deref());
        let cursor = if let Next::Behind(log) = next { Some(log.as_str()) } else { last };
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
                rates::rounded(before).into(),
                rates::rounded(after).into(),
                done.into(),
                Bind::Int((now_ms + LEASE_MS) as i64),
                Bind::Int(now_ms as i64),
            ],
        );
        let mut statements = vec![progress];
        if self.dry_run == 0 && !changes.is_empty() {
            statements.push(Statement::new(
                "UPDATE logs SET cost = new.value ->> 1, price_rule = new.value ->> 2, cost_unknown = new.value ->> 3 \
                 FROM json_each(?1) AS new \
                 WHERE logs.id = new.value ->> 0 AND changes() > 0",
                [Value::from(changes).to_string().into()],
            ));
            if !correction.is_empty() {
                statements.push(Statement::new(
                    "INSERT OR IGNORE INTO tallies (id, tallies) SELECT ?1, ?2 WHERE changes() > 0",
                    [format!("{}/{}", self.id, cursor.unwrap_or("")).into(), correction.json().into()],
                ));
            }
        }
        let moved = store.batch(statements).await?.first() == Some(&1);
        Ok(moved && !done)
    }

    async fn end(&self, store: &impl Store, error: &str, now_ms: u64) -> Result<bool, StoreError> {
        store.batch(vec![ended(&self.id, error, now_ms)]).await.map(|_| false)
    }
}

// === impl Log ===

impl Log {
    /// What the log costs by today's prices, and what says so. It keeps what it has where its caller said the cost, where the
    /// answer came from the cache, and where it is too old to tell.
    fn priced(&self, catalogue: &Catalogue, rules: &[PriceRule]) -> Priced {
        let kept = || (self.cost, self.price_rule.clone(), self.cost_unknown.clone());
        let of_gateway =
            |error: &String| ["client: ", "upstream: ", "gateway: "].iter().any(|layer| error.starts_with(layer));
        let broken = self.finish_reason.is_none() && self.error.as_ref().is_some_and(of_gateway);
        // What a log shows of another's usage costs nothing here.
        if self.custom_cost == 1 || self.cached == 1 || self.usage_of.is_some() || broken {
            return kept();
        }
        let models = [self.answer_model.as_deref(), self.model.as_deref()];
        let usage = self.usage();
        let Quote { bill, from } = rules::quote_in(catalogue, rules, &self.provider, models, &usage);
        let from_rule = from.as_ref().is_some_and(|from| from.starts_with("rule:"));
        // A log from before does not say whether its cost was the provider's own.
        if self.cached_beside.is_none() && self.cost.is_some() && !(from_rule && bill.unknown.is_none()) {
            return kept();
        }
        match bill.cost().map(price::bounded) {
            Some(Ok(cost)) => (Some(cost), from, None),
            Some(Err(reason)) => (None, from, Some(reason.to_owned())),
            None if usage.is_reported() => (None, from, bill.unknown),
            None => (None, None, self.cost_unknown.clone()),
        }
    }

    /// What the log's cost is made of, if these prices make that cost of it.
    pub(super) fn lines(&self, catalogue: &Catalogue, rules: &[PriceRule]) -> Option<Vec<Line>> {
        let cost = self.cost.filter(|_| self.custom_cost == 0 && self.cached == 0 && self.usage_of.is_none())?;
        let models = [self.answer_model.as_deref(), self.model.as_deref()];
        let Quote { bill, from } = rules::quote_in(catalogue, rules, &self.provider, models, &self.usage());
        let is_same = from == self.price_rule && bill.cost().is_some_and(|now| (now - cost).abs() < 1e-12);
        Some(bill.lines).filter(|lines| is_same && !lines.is_empty())
    }

    /// Whether a rule of the account made the cost.
    pub(super) fn is_by_rule(&self) -> bool {
        self.price_rule.as_ref().is_some_and(|from| from.starts_with("rule:"))
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
            ..Usage::default()
        }
        .with_details(self.usage_details.as_deref())
    }
}

#[cfg(test)]
mod tests;
