//! Adding up: what transactions left in `tallies` becomes rows of minutes, these become rows of hours, and these of days.
//!
//! Each step is one transaction that adds rows to others and removes them, so that whoever repeats it, or does it at the
//! same time, finds nothing more to add.

use super::figures::columns;
use super::{MINUTE_MS, OTHER};
use crate::providers::PROVIDERS;
use crate::store::{Bind, Statement, Store, StoreError, row};
use serde_json::Value;

pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// How far back charts can be asked for by the minute, by the hour and by the day, in milliseconds.
pub const MINUTES_MS: u64 = 2 * DAY_MS;
pub const HOURS_MS: u64 = 62 * DAY_MS;
pub const DAYS_MS: u64 = 400 * DAY_MS;

/// How many pairs of provider and model are told apart in a minute, an hour or a day of a gateway. Those with the most
/// requests are.
const MAX_PAIRS: u32 = 50;

/// Rows of `tallies` in one transaction: other requests wait for D1 meanwhile.
const AT_ONCE: u32 = if cfg!(test) { 7 } else { 250 };

/// Transactions in one run.
const MAX_SLICES: u32 = 50;

/// Whether a row is one of minutes (2), hours (1) or days (0); an index has the same expression.
const AGE: &str = "(time % 3600000 <> 0) + (time % 86400000 <> 0)";

/// What is to be done from time to time.
pub async fn run(store: &impl Store, now_ms: u64, is_over: impl Fn() -> bool) -> Result<(), StoreError> {
    settle(store, &is_over).await?;
    age(store, now_ms, &is_over).await
}

/// Adds what transactions left, until nothing is left. True when there may be more.
pub async fn settle(store: &impl Store, is_over: impl Fn() -> bool) -> Result<bool, StoreError> {
    row! {
        struct Waiting {
            waits: u8,
        }
    }
    let some = "SELECT EXISTS (SELECT 1 FROM tallies) AS waits";
    for _ in 0..MAX_SLICES {
        let waiting = store.row::<Waiting>(Statement::new(some, [])).await?;
        if waiting.is_none_or(|waiting| waiting.waits == 0) {
            return Ok(false);
        }
        if is_over() {
            break;
        }
        let first = format!("SELECT id FROM tallies ORDER BY id LIMIT {AT_ONCE}");
        // Without MATERIALIZED, SQLite would write each row out again for every figure that is taken out of it.
        let rows = format!(
            "WITH rows AS MATERIALIZED (SELECT row.value AS v FROM tallies, json_each(tallies.tallies) AS row \
             WHERE tallies.id IN ({first})) "
        );
        let figure = |place: usize| format!("v->>{}", place + 4);
        let sums = |place: usize, _: &str| figure(place);
        let added = added(&rows, "rows", ["v->>0", "v->>1", "v->>2", "v->>3"], sums, Vec::new());
        store.batch(vec![added, Statement::new(format!("DELETE FROM tallies WHERE id IN ({first})"), [])]).await?;
    }
    Ok(true)
}

/// Adds rows that have become old to coarser ones, and removes those that are older than anybody can ask for.
pub async fn age(store: &impl Store, now_ms: u64, is_over: impl Fn() -> bool) -> Result<(), StoreError> {
    row! {
        struct Oldest {
            time: Option<u64>,
        }
    }
    // An hour, and a day, longer than they can be asked for: whoever asks for the oldest gets them whole.
    for (level, span, kept) in [(2, HOUR_MS, MINUTES_MS + HOUR_MS), (1, DAY_MS, HOURS_MS + DAY_MS)] {
        let end = now_ms.saturating_sub(kept) / span * span;
        for _ in 0..MAX_SLICES {
            let oldest = Statement::new(
                format!("SELECT min(time) AS time FROM rollup WHERE {AGE} = {level} AND time < ?1"),
                [Bind::Int(end as i64)],
            );
            let Some(Oldest { time: Some(oldest) }) = store.row::<Oldest>(oldest).await? else { break };
            if is_over() {
                return Ok(());
            }
            let from = oldest / span * span;
            let range = [Bind::Int(from as i64), Bind::Int((from + span) as i64)];
            let rows = format!("rollup WHERE {AGE} = {level} AND time >= ?2 AND time < ?3");
            let time = format!("time - time % {span}");
            let added =
                added("", &rows, ["gateway", &time, "provider", "model"], |_, name| name.to_owned(), range.to_vec());
            let removed = format!("DELETE FROM rollup WHERE {AGE} = {level} AND time >= ?1 AND time < ?2");
            store.batch(vec![added, Statement::new(removed, range)]).await?;
        }
    }
    let last = Bind::Int((now_ms.saturating_sub(DAYS_MS + DAY_MS) / DAY_MS * DAY_MS) as i64);
    store.batch(vec![Statement::new(format!("DELETE FROM rollup WHERE {AGE} = 0 AND time < ?1"), [last])]).await?;
    Ok(())
}

/// Adds rows to those of `rollup`. `with` is what `rows` needs to be there before it, `keys` and `figure` are the expressions
/// that yield their columns; the values of `rows` begin with `?2`.
fn added(
    with: &str,
    rows: &str,
    keys: [&str; 4],
    figure: impl Fn(usize, &str) -> String,
    binds: Vec<Bind>,
) -> Statement {
    let names = columns();
    let list = names.join(", ");
    let summed: Vec<String> =
        names.iter().enumerate().map(|(place, name)| format!("sum({}) AS {name}", figure(place, name))).collect();
    let summed = summed.join(", ");
    let updated: Vec<String> = names.iter().map(|name| format!("{name} = {name} + excluded.{name}")).collect();
    let updated = updated.join(", ");
    let [gateway, time, provider, model] = keys;
    let sql = format!(
        "{with}INSERT INTO rollup (gateway, time, provider, model, {list}) \
         SELECT gateway, time, \
           iif(told OR provider IN (SELECT value FROM json_each(?1)), provider, '{OTHER}'), iif(told, model, '{OTHER}'), {list} \
         FROM (SELECT *, known OR taken + row_number() OVER (PARTITION BY gateway, time, known ORDER BY requests DESC, provider, model) \
             <= {MAX_PAIRS} AS told \
           FROM (SELECT fresh.*, \
               EXISTS (SELECT 1 FROM rollup WHERE rollup.gateway = fresh.gateway AND rollup.time = fresh.time \
                 AND rollup.provider = fresh.provider AND rollup.model = fresh.model) AS known, \
               (SELECT count(*) FROM rollup WHERE rollup.gateway = fresh.gateway AND rollup.time = fresh.time) AS taken \
             FROM (SELECT {gateway} AS gateway, {time} AS time, {provider} AS provider, {model} AS model, {summed} \
               FROM {rows} GROUP BY 1, 2, 3, 4) AS fresh)) \
         WHERE true ON CONFLICT DO UPDATE SET {updated}"
    );
    let slugs: Vec<&str> = PROVIDERS.iter().map(|provider| provider.slug).collect();
    let mut all = vec![Bind::Text(Value::from(slugs).to_string())];
    all.extend(binds);
    Statement::new(sql, all)
}
