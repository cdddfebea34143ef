//! Running totals, which never become less: rows of minutes end after their time, and pricing logs anew lowers sums, which a counter
//! of Prometheus may not. Each run that adds tallies to `rollup` adds them here in the same transaction.

use crate::db::store::{Bind, Statement};
use crate::logs::rollup::figures::LENGTH;
use crate::logs::rollup::{OTHER, STATUSES};
use crate::providers::table::PROVIDERS;
use serde_json::Value;

/// How many pairs of provider and model of a gateway are told apart: each is a series of every counter. Those that came first are.
pub const MAX_PAIRS: usize = 100;

/// What stands before the figures of a tally.
const KEYS: usize = 4;

/// Adds the tallies whose ids a statement yields. A correction of costs has no statuses, and is left out.
pub fn add(ids: &str) -> Statement {
    let length = KEYS + LENGTH + STATUSES;
    let sql = format!(
        "WITH rows AS MATERIALIZED (SELECT row.value AS v, row.value->>0 AS gateway, row.value->>2 AS provider, row.value->>3 AS model \
           FROM tallies, json_each(tallies.tallies) AS row WHERE tallies.id IN ({ids}) AND json_array_length(row.value) = {length}), \
         fresh AS (SELECT gateway, provider, model, total(v->>{KEYS}) AS requests FROM rows GROUP BY 1, 2, 3), \
         seen AS (SELECT fresh.*, \
           EXISTS (SELECT 1 FROM totals WHERE totals.gateway = fresh.gateway AND totals.provider = fresh.provider AND totals.model = fresh.model) AS known, \
           (SELECT count(*) FROM totals WHERE totals.gateway = fresh.gateway) AS taken FROM fresh), \
         pairs AS MATERIALIZED (SELECT gateway, provider, model, known OR taken + row_number() OVER \
           (PARTITION BY gateway, known ORDER BY requests DESC, provider, model) <= {MAX_PAIRS} AS told FROM seen), \
         sums AS (SELECT rows.gateway AS gateway, \
             iif(told OR rows.provider IN (SELECT value FROM json_each(?1)), rows.provider, '{OTHER}') AS provider, \
             iif(told, rows.model, '{OTHER}') AS model, figure.key AS place, total(max(figure.value, 0)) AS sum \
           FROM rows JOIN pairs ON pairs.gateway = rows.gateway AND pairs.provider = rows.provider AND pairs.model = rows.model, \
             json_each(rows.v) AS figure WHERE figure.key >= {KEYS} GROUP BY 1, 2, 3, 4) \
         INSERT INTO totals (gateway, provider, model, figures) \
         SELECT gateway, provider, model, json_group_array(sum ORDER BY place) FROM sums WHERE true GROUP BY 1, 2, 3 \
         ON CONFLICT DO UPDATE SET figures = (SELECT json_group_array(mine.value + coalesce(more.value, 0) ORDER BY mine.key) \
           FROM json_each(totals.figures) AS mine LEFT JOIN json_each(excluded.figures) AS more ON more.key = mine.key)"
    );
    let slugs: Vec<&str> = PROVIDERS.iter().map(|provider| provider.slug).collect();
    Statement::new(sql, [Bind::Text(Value::from(slugs).to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::store::Store;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::logs::rollup::figures::Sum;
    use crate::logs::rollup::{Correction, Tally, merge};
    use crate::testing::sqlite::Sqlite;
    use crate::wire::{Facts, Usage};
    use pollster::block_on;

    const NOW: u64 = 1_700_000_000_000;

    fn record(model: &str, status: u16) -> LogRecord {
        let usage = Usage { tokens_in: Some(1_000), tokens_out: Some(100), ..Usage::default() };
        let mut call = call("a");
        call.facts.model = Some(model.to_owned());
        let outcome = answered(Facts { usage, ..Facts::default() });
        LogRecord::new(call, crate::logs::call::Outcome { status: Some(status), ..outcome })
    }

    fn left(store: &Sqlite, id: &str, text: String) {
        let sql = "INSERT INTO tallies (id, tallies) VALUES (?1, ?2)";
        block_on(store.batch(vec![Statement::new(sql, [id.into(), text.into()])])).unwrap();
    }

    fn tally(records: &[LogRecord]) -> String {
        let mut tally = Tally::default();
        records.iter().for_each(|record| tally.count(record));
        tally.json()
    }

    fn totals(store: &Sqlite) -> Vec<(String, Vec<f64>)> {
        let rows = Statement::new("SELECT model, figures FROM totals ORDER BY model", []);
        let rows = block_on(store.select(rows)).unwrap().0;
        let read = |row: crate::db::store::Row| {
            (row["model"].as_str().unwrap().to_owned(), serde_json::from_str(row["figures"].as_str().unwrap()).unwrap())
        };
        rows.into_iter().map(read).collect()
    }

    #[test]
    fn tallies_are_added_once_and_corrections_are_not() {
        let store = Sqlite::new();
        left(&store, "1", tally(&[record("gpt-4o", 200), record("gpt-4o", 429), record("o1", 200)]));
        left(&store, "2", tally(&[record("gpt-4o", 200)]));
        block_on(merge::merge_tallies(&store, NOW)).unwrap();
        let first = totals(&store);
        assert_eq!(first.iter().map(|(model, _)| model.as_str()).collect::<Vec<_>>(), ["gpt-4o", "o1"]);
        let figures = &first[0].1;
        assert_eq!(figures.len(), LENGTH + STATUSES);
        assert_eq!((figures[Sum::Requests as usize], figures[Sum::By4xx as usize]), (3.0, 1.0));
        assert_eq!(figures[LENGTH..], [0.0, 0.0, 2.0, 0.0, 1.0, 0.0]);
        let mut correction = Correction::default();
        correction.note((1, NOW, "openai", "gpt-4o"), (Some(5.0), Some(1.0)), NOW);
        left(&store, "3", correction.json());
        block_on(merge::run(&store, NOW + 2 * merge::DAYS_MS, &|| false)).unwrap();
        assert_eq!(totals(&store), first, "neither a lower price nor the end of minutes lowers a total");
        left(&store, "4", tally(&[record("gpt-4o", 500)]));
        block_on(merge::merge_tallies(&store, NOW)).unwrap();
        let second = totals(&store);
        assert_eq!((second[0].1[Sum::Requests as usize], second[0].1[LENGTH + 5]), (4.0, 1.0));
        assert_eq!(
            second[0].1[Sum::Cost as usize],
            figures[Sum::Cost as usize] + record("gpt-4o", 500).cost.unwrap_or(0.0)
        );
    }

    #[test]
    fn names_that_callers_make_up_are_one_series() {
        let store = Sqlite::new();
        for some in 0..10 {
            let records: Vec<LogRecord> = (0..30).map(|number| record(&format!("m{some}-{number}"), 200)).collect();
            left(&store, &some.to_string(), tally(&records));
        }
        block_on(merge::merge_tallies(&store, NOW)).unwrap();
        let all = totals(&store);
        assert_eq!((all.len(), all.iter().map(|(_, figures)| figures[0]).sum::<f64>()), (MAX_PAIRS + 1, 300.0));
        assert!(all.iter().any(|(model, figures)| model == OTHER && figures[0] == 200.0));
    }
}
