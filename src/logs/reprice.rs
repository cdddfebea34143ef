//! Prices past logs anew, a slice at a time. Each slice is one transaction: the new costs, what was counted, and how far the
//! job is. It can end at any moment, and the isolate that goes on begins where the last slice ended.

use crate::db::databases::Databases;
use crate::db::put_aside::{self, REPRICES};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::db::whose::Whose;
use crate::http::envelope::ApiError;
use crate::http::query::Query;
use crate::logs::filter::search;
use crate::logs::filter::{Ahead, Direction, Next, Selection};
use crate::logs::rollup::Correction;
use crate::pricing::price;
use crate::pricing::rates;
use crate::pricing::rules::{self, PriceRule, Quote};
use crate::wire::Usage;
use serde_json::{Value, json};

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
    struct Log {
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

const COLUMNS: &str = "logs.id, logs.created_at, logs.provider, logs.model, logs.answer_model, logs.error, logs.finish_reason, logs.cached, \
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
    let prices =
        Statement::new(format!("SELECT {prices} AS prices FROM gateways WHERE key = ?1"), [job.gateway.into()]);
    let Some(Prices { prices }) = first.row(prices).await? else {
        return job.end(store, "the gateway was deleted", now()).await;
    };
    let rules = rules::from_json(&prices);
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
    job.commit(store, &logs, &next, &rules, now()).await
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
        rules: &[PriceRule],
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut changes = Vec::new();
        let mut correction = Correction::default();
        let (mut changed, mut before, mut after) = (self.logs_changed, self.cost_before, self.cost_after);
        for log in logs {
            let (cost, rule, unknown) = log.priced(rules);
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
    fn priced(&self, rules: &[PriceRule]) -> Priced {
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
        let Quote { bill, from } = rules::quote(rules, &self.provider, models, &usage);
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
mod tests {
    use super::*;
    use crate::api::{Place, costs, reprices};
    use crate::base::id;
    use crate::db::audit::Actor;
    use crate::logs::call::Call;
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::pricing::price::CustomCost;
    use crate::pricing::rates;
    use crate::testing::sqlite::{Faulty, Sqlite};
    use crate::wire::Facts;
    use pollster::block_on;
    use std::cell::Cell;

    const NOW: u64 = 1_700_000_000_000;

    const PLACE: Place<'static> = Place { account: "a", gateway: "gw", key: 1 };

    fn actor() -> Actor<'static> {
        Actor { name: "admin", now_ms: NOW + 1_000_000, entry: id::mint(NOW, 1) }
    }

    /// `count` logs of 100 and 10 tokens, the first of them priced by their callers.
    fn with_logs(count: u64) -> Sqlite {
        let store = Sqlite::new();
        let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 0, 0, '{}')";
        block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
        let records: Vec<LogRecord> = (0..count)
            .map(|n| {
                let usage = Usage { tokens_in: Some(100), tokens_out: Some(10), ..Usage::default() };
                let custom_cost = (n == 0).then_some(CustomCost::Total(7.0));
                let made = Call { created_at: NOW + n, custom_cost, ..call(&id::mint(NOW + n, n.into())) };
                LogRecord::new(made, answered(Facts { usage, ..Facts::default() }))
            })
            .collect();
        for group in records.chunks(100) {
            assert!(block_on(group_commit::write(&store, group.to_vec().into(), async |_| {})).is_empty());
        }
        store
    }

    fn rule(store: &impl Store, model: &str) {
        let body = json!({ "account_provider_id": "openai", "model": model, "cost_in": 1e-5, "cost_out": 1e-4 });
        block_on(costs::create(
            store,
            "a",
            body.to_string().as_bytes(),
            &id::mint(NOW, 5),
            &actor(),
            &crate::config::bounds::Bounds::USUAL.costs,
        ))
        .reply
        .unwrap();
    }

    fn begin(store: &impl Store, body: Value) -> String {
        let id = id::mint(NOW, 9);
        let made = block_on(reprices::create(
            store,
            &PLACE,
            body.to_string().as_bytes(),
            &id,
            &actor(),
            &crate::config::bounds::Bounds::USUAL.reprices,
        ));
        assert_eq!(made.reply.unwrap().status, 200);
        id
    }

    /// What charts say that all logs cost.
    fn charted(store: &impl Store) -> f64 {
        row! {
            struct Charted {
                cost: f64,
            }
        }
        block_on(crate::logs::rollup::merge::settle(store, NOW)).unwrap();
        let sum = Statement::new("SELECT sum(cost) AS cost FROM rollup", []);
        rates::rounded(block_on(store.row::<Charted>(sum)).unwrap().unwrap().cost)
    }

    fn state(store: &impl Store, id: &str) -> Value {
        let reply = block_on(reprices::get(store, &PLACE, id)).reply.unwrap();
        serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone()
    }

    fn costs(store: &impl Store) -> Vec<(Option<f64>, Option<String>)> {
        row! {
            struct Cost {
                cost: Option<f64>,
                price_rule: Option<String>,
            }
        }
        let all = Statement::new("SELECT cost, price_rule FROM logs ORDER BY created_at, id", []);
        block_on(store.rows::<Cost>(all)).unwrap().into_iter().map(|row| (row.cost, row.price_rule)).collect()
    }

    /// A clock that goes on by a second with every look.
    fn clock() -> impl Fn() -> u64 {
        let now = Cell::new(NOW + 2_000_000);
        move || {
            now.set(now.get() + 1_000);
            now.get()
        }
    }

    #[test]
    fn past_logs_get_todays_prices_but_those_their_callers_priced() {
        let store = with_logs(13);
        let listed = costs(&store)[1].clone();
        rule(&store, "gpt-4o");
        let dry = begin(&store, json!({ "dry_run": true }));
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let seen = state(&store, &dry);
        assert_eq!(
            (&seen["processed"], &seen["logs_seen"], &seen["logs_changed"]),
            (&json!(true), &json!(13), &json!(12))
        );
        assert_eq!(costs(&store)[1], listed);
        assert_eq!(seen["cost_after"], json!(rates::rounded(7.0 + 12.0 * 0.002)));
        assert_eq!(charted(&store), seen["cost_before"].as_f64().unwrap());
        block_on(store.batch(vec![Statement::new("DELETE FROM reprices", [])])).unwrap();
        let wet = begin(&store, json!({}));
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let now = costs(&store);
        assert_eq!(now[0], (Some(7.0), Some("request".to_owned())));
        assert!(
            now[1..].iter().all(|(cost, rule)| *cost == Some(0.002) && rule.as_ref().unwrap().starts_with("rule:"))
        );
        let changed = state(&store, &wet);
        assert_eq!(charted(&store), changed["cost_after"].as_f64().unwrap());
        assert_eq!((&changed["cost_before"], &changed["cost_after"]), (&seen["cost_before"], &seen["cost_after"]));
        // Once more there is nothing to change; without the rule all is as it was.
        block_on(
            store
                .batch(vec![Statement::new("DELETE FROM reprices", []), Statement::new("DELETE FROM price_rules", [])]),
        )
        .unwrap();
        begin(&store, json!({}));
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        assert_eq!(costs(&store)[1], listed);
    }

    #[test]
    fn only_the_logs_that_are_meant_are_seen() {
        let store = with_logs(20);
        rule(&store, "gpt-4o");
        let from = crate::base::timestamp::format(NOW + 15);
        let id = begin(
            &store,
            json!({ "start_date": from, "filters": [{ "key": "provider", "operator": "eq", "value": ["openai"] }] }),
        );
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let changed: Vec<bool> = costs(&store).iter().map(|(cost, _)| *cost == Some(0.002)).collect();
        assert_eq!(changed, (0..20).map(|n| n >= 15).collect::<Vec<_>>());
        assert_eq!(state(&store, &id)["logs_seen"], 5);
        for wrong in [
            json!({ "dry_run": 1 }),
            json!({ "filter": [] }),
            json!({ "start_date": "" }),
            json!({ "filters": "x" }),
            json!({ "filters": [{ "key": "nothing" }] }),
        ] {
            let refused = block_on(reprices::create(
                &store,
                &PLACE,
                wrong.to_string().as_bytes(),
                "x",
                &actor(),
                &crate::config::bounds::Bounds::USUAL.reprices,
            ))
            .reply
            .unwrap_err();
            assert_eq!((refused.status, refused.path.first().map(String::as_str)), (400, Some("body")), "{wrong}");
        }
        assert!(block_on(reprices::get(&store, &Place { key: 2, ..PLACE }, &id)).reply.is_err());
    }

    #[test]
    fn logs_that_a_rare_filter_means_are_found_window_by_window() {
        let store = with_logs(40);
        rule(&store, "gpt-4o");
        let rare =
            "UPDATE logs SET user_agent = 'rare' WHERE id IN (SELECT id FROM logs ORDER BY id LIMIT 3 OFFSET 30)";
        block_on(store.batch(vec![Statement::new(rare, [])])).unwrap();
        let id =
            begin(&store, json!({ "filters": [{ "key": "user_agent", "operator": "contains", "value": ["rar"] }] }));
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let changed: Vec<bool> = costs(&store).iter().map(|(cost, _)| *cost == Some(0.002)).collect();
        assert_eq!(changed, (0..40).map(|n| (30..33).contains(&n)).collect::<Vec<_>>());
        let seen = state(&store, &id);
        assert_eq!(
            (&seen["processed"], &seen["logs_seen"], &seen["logs_changed"]),
            (&json!(true), &json!(3), &json!(3))
        );
    }

    #[test]
    fn a_job_that_is_broken_off_anywhere_counts_every_log_once() {
        let whole = with_logs(13);
        rule(&whole, "gpt-4o");
        let id = begin(&whole, json!({}));
        block_on(run_all(&whole, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let wanted = (state(&whole, &id), costs(&whole));
        let wanted_sum = charted(&whole);
        for after in [false, true] {
            for call in 0..15 {
                let store = with_logs(13);
                rule(&store, "gpt-4o");
                let id = begin(&store, json!({}));
                let faulty = Faulty::new(store);
                if after {
                    faulty.fail_after(call)
                } else {
                    faulty.fail_before(call)
                }
                let first = block_on(run_all(&faulty, 0, &Whose::All, clock(), u64::MAX));
                // The next isolate waits for the lease of one that is gone to end.
                let later = clock();
                block_on(run_all(&faulty.inner, 0, &Whose::All, || later() + LEASE_MS + 1_000_000, u64::MAX)).unwrap();
                let mut found = state(&faulty.inner, &id);
                found["modified_at"] = wanted.0["modified_at"].clone();
                assert_eq!((found, costs(&faulty.inner)), wanted, "{call} {after} {first:?}");
                assert_eq!(charted(&faulty.inner), wanted_sum, "{call} {after}");
            }
        }
    }

    #[test]
    fn of_two_who_work_on_a_slice_one_counts() {
        let store = with_logs(3);
        rule(&store, "gpt-4o");
        let id = begin(&store, json!({}));
        assert!(!block_on(slice(&store, &store, &id, &clock(), &mut Ahead::default())).unwrap());
        let before = state(&store, &id);
        let job = Job {
            id: id.clone(),
            gateway: 1,
            query: "[]".to_owned(),
            dry_run: 0,
            cursor: None,
            logs_seen: 0,
            logs_changed: 0,
            cost_before: 0.0,
            cost_after: 0.0,
            created_at: NOW,
        };
        assert!(!block_on(job.commit(&store, &[], &Next::Nothing, &[], NOW)).unwrap());
        assert_eq!(state(&store, &id), before);
        // While an isolate holds the lease no other begins.
        block_on(store.batch(vec![Statement::new("UPDATE reprices SET processed = 0, lease_until = 9e15", [])]))
            .unwrap();
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        assert_eq!(state(&store, &id)["processed"], false);
    }

    #[test]
    fn a_job_that_cannot_be_read_ends_and_the_others_go_on() {
        let store = with_logs(7);
        rule(&store, "gpt-4o");
        let id = begin(&store, json!({}));
        for (name, fault) in [("a", "cost_before = 9e999"), ("b", "query = '{'"), ("c", "cursor = 5, logs_seen = 'x'")]
        {
            let copy = "INSERT INTO reprices SELECT ?1, gateway, query, dry_run, processed, error, cursor, logs_seen, logs_changed, cost_before, \
                 cost_after, -1, created_at, modified_at FROM reprices WHERE id = ?2";
            let broken = format!("UPDATE reprices SET {fault} WHERE id = ?1");
            let statements =
                vec![Statement::new(copy, [name.into(), id.as_str().into()]), Statement::new(broken, [name.into()])];
            block_on(store.batch(statements)).unwrap();
        }
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let left = block_on(store.ids(Statement::new("SELECT id FROM reprices WHERE processed = 0", []))).unwrap();
        assert_eq!((left, &state(&store, &id)["logs_changed"]), (Vec::new(), &json!(6)));
        assert!(block_on(put_aside::report(&store, NOW)).unwrap().1 >= 2);
    }

    #[test]
    fn what_an_older_version_took_for_a_cost_is_in_no_sum() {
        let store = with_logs(3);
        block_on(store.batch(vec![Statement::new("UPDATE logs SET cost = 1e300", [])])).unwrap();
        charted(&store);
        block_on(store.batch(vec![Statement::new("UPDATE rollup SET cost = 1", [])])).unwrap();
        rule(&store, "gpt-4o");
        let id = begin(&store, json!({}));
        block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
        let seen = state(&store, &id);
        assert_eq!((&seen["cost_before"], &seen["cost_after"]), (&json!(0.0), &json!(0.004)));
        assert_eq!(charted(&store), 1.004);
    }

    #[test]
    fn logs_that_cannot_be_priced_anew_keep_what_they_have() {
        let log = |change: fn(&mut Log)| {
            let mut log = Log {
                id: "x".to_owned(),
                created_at: NOW,
                provider: "openai".to_owned(),
                model: Some("gpt-4o".to_owned()),
                answer_model: None,
                error: None,
                finish_reason: None,
                cached: 0,
                custom_cost: 0,
                tokens_in: Some(100),
                tokens_out: Some(10),
                total_tokens: None,
                tokens_cached: None,
                tokens_cache_write: None,
                tokens_reasoning: None,
                cached_beside: Some(0),
                provider_cost: None,
                cost: Some(5.0),
                usage_details: None,
                usage_of: None,
                cost_unknown: None,
                price_rule: None,
            };
            change(&mut log);
            log
        };
        let rules = rules::from_json(r#"[["r","openai","gpt-4o","equals",1e-5,1e-4,null,1]]"#);
        let priced = |change: fn(&mut Log), rules: &[PriceRule]| log(change).priced(rules);
        let kept = (Some(5.0), None, None);
        assert_eq!(priced(|_| (), &rules), (Some(0.002), Some("rule:r".to_owned()), None));
        for change in [
            |log: &mut Log| log.cached = 1,
            |log: &mut Log| log.custom_cost = 1,
            |log: &mut Log| log.usage_of = Some("another".to_owned()),
            |log: &mut Log| log.error = Some("upstream: the answer broke off".to_owned()),
        ] {
            assert_eq!(priced(change, &rules), kept);
        }
        // A log from before may have the provider's own cost: only a rule is better than that.
        assert_eq!(priced(|log| log.cached_beside = None, &[]), kept);
        assert_eq!(priced(|log| log.cached_beside = None, &rules).0, Some(0.002));
        assert_eq!(priced(|log| log.provider_cost = Some(0.25), &[]), (Some(0.25), Some("provider".to_owned()), None));
        assert_eq!(
            priced(|log| log.provider_cost = Some(1e300), &[]),
            (None, Some("provider".to_owned()), Some(price::BEYOND.to_owned()))
        );
        let unheard_of = priced(|log| log.model = Some("unheard-of".to_owned()), &[]);
        assert_eq!(unheard_of, (None, None, Some("there is no price for this model".to_owned())));
        // What has a price of its own is priced by the row alone.
        let flex = |log: &mut Log| {
            (log.model, log.usage_details) = (Some("gpt-5".to_owned()), Some(r#"{"service_tier":"flex"}"#.to_owned()))
        };
        assert_eq!(priced(flex, &[]).0, Some((100.0 * 0.625 + 10.0 * 5.0) / 1e6));
        // The answer's own name of the model counts first.
        let named = |log: &mut Log| {
            (log.model, log.answer_model) = (Some("my-deployment".to_owned()), Some("gpt-4o".to_owned()))
        };
        assert_eq!(priced(named, &rules).0, Some(0.002));
        let beside = |log: &mut Log| {
            (log.provider, log.cached_beside, log.cost, log.tokens_cached) =
                ("anthropic".to_owned(), None, None, Some(50))
        };
        assert!(log(beside).usage().cached_outside);
    }
}
