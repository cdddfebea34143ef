//! Adding up: what transactions left in `tallies` becomes rows of minutes, these become rows of hours, and these of days.
//!
//! Each step is one transaction that adds rows to others and removes them, so that an isolate that repeats it, or does it at the
//! same time, finds nothing more to add.

use crate::db::store::{Bind, Statement, Store, StoreError};
use crate::logs::rollup::figures::{columns, sane, summed};
use crate::logs::rollup::{MINUTE_MS, OTHER, mend, totals};
use crate::providers::table::PROVIDERS;
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

/// Transactions in one run.
const MAX_SLICES: u32 = 50;

/// Whether a row is one of minutes (2), hours (1) or days (0); an index has the same expression.
const AGE: &str = "(time % 3600000 <> 0) + (time % 86400000 <> 0)";

/// What is to be done from time to time.
pub async fn run(store: &impl Store, now_ms: u64, is_over: &dyn Fn() -> bool) -> Result<(), StoreError> {
    repeat(store, steps(store.pace().merged, now_ms), now_ms, is_over).await
}

/// Adds what transactions left, so that nothing is missing.
pub async fn merge_tallies(store: &impl Store, now_ms: u64) -> Result<(), StoreError> {
    repeat(store, vec![left(store.pace().merged)], now_ms, &|| false).await
}

/// Carries each step out until there is nothing more to do, or no more time. The last statement of a step removes what those
/// before it have added.
async fn repeat(
    store: &impl Store,
    steps: Vec<Vec<Statement>>,
    now_ms: u64,
    is_over: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    for step in steps {
        for _ in 0..MAX_SLICES {
            let changed = match store.batch(step.clone()).await {
                Ok(changed) => changed,
                Err(error) if !error.is_of_the_rows() => return Err(error),
                Err(error) => match mend::mend(store, store.pace().merged as usize, now_ms).await? {
                    0 => return Err(error),
                    _ => continue,
                },
            };
            if changed.last() == Some(&0) {
                break;
            }
            if is_over() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// All that is to be done: what transactions left is added to minutes, old minutes to hours, old hours to days, and days that
/// are older than charts can ask for are removed.
fn steps(at_once: u32, now_ms: u64) -> Vec<Vec<Statement>> {
    let before = |kept: u64, span: u64| Bind::Int((now_ms.saturating_sub(kept) / span * span) as i64);
    let removed = format!("DELETE FROM rollup WHERE {AGE} = 0 AND time < ?1");
    // An hour, and a day, longer than they can be asked for: a chart of the oldest gets them whole.
    vec![
        left(at_once),
        coarser(2, HOUR_MS, before(MINUTES_MS + HOUR_MS, HOUR_MS)),
        coarser(1, DAY_MS, before(HOURS_MS + DAY_MS, DAY_MS)),
        vec![Statement::new(removed, [before(DAYS_MS + DAY_MS, DAY_MS)])],
    ]
}

/// Adds some of what transactions left, which is `at_once` rows of `tallies`.
fn left(at_once: u32) -> Vec<Statement> {
    let first = format!("SELECT id FROM tallies ORDER BY id LIMIT {at_once}");
    // Without MATERIALIZED, SQLite would write each row out again for every figure that is taken out of it.
    let rows = format!(
        "WITH rows AS MATERIALIZED (SELECT row.value AS v FROM tallies, json_each(tallies.tallies) AS row \
         WHERE tallies.id IN ({first})) "
    );
    let figure = |place: usize, _: &str| format!("(v->>{})", place + 4);
    let added = added(&rows, "rows", ["v->>0", "v->>1", "v->>2", "v->>3"], &figure, None);
    vec![added, totals::add(&first), Statement::new(format!("DELETE FROM tallies WHERE id IN ({first})"), [])]
}

/// Adds the oldest hour of minutes, or day of hours, to its hour or day, if it lies before `end`.
fn coarser(level: u8, span: u64, end: Bind) -> Vec<Statement> {
    let rows = |end: &str| {
        let oldest = format!("(SELECT min(time) / {span} * {span} FROM rollup WHERE {AGE} = {level} AND time < {end})");
        format!("rollup WHERE {AGE} = {level} AND time >= {oldest} AND time < {oldest} + {span}")
    };
    let time = format!("time - time % {span}");
    let keys = ["gateway", &time, "provider", "model"];
    let added = added("", &rows("?2"), keys, &|_, name| name.to_owned(), Some(end.clone()));
    vec![added, Statement::new(format!("DELETE FROM {}", rows("?1")), [end])]
}

/// Adds rows to those of `rollup`. `with` is what `rows` needs to be there before it, `keys` and `figure` are the expressions
/// that yield their columns; `end` is the value of `?2`.
fn added(
    with: &str,
    rows: &str,
    keys: [&str; 4],
    figure: &dyn Fn(usize, &str) -> String,
    end: Option<Bind>,
) -> Statement {
    let names = columns();
    let list = names.join(", ");
    let summed: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(place, name)| format!("{} AS {name}", summed(name, &figure(place, name))))
        .collect();
    let summed = summed.join(", ");
    let updated: Vec<String> =
        names.iter().map(|name| format!("{name} = {} + excluded.{name}", sane(name, name))).collect();
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
    let slugs = Bind::Text(Value::from(slugs).to_string());
    Statement::new(sql, [slugs].into_iter().chain(end).collect::<Vec<Bind>>())
}
