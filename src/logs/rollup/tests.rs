use crate::base::id;
use crate::db::store::{Store, row};
use crate::logs::call::{Call, Failure, Outcome};
use crate::logs::group_commit;
use crate::logs::part::Group;
use crate::logs::record::tests::{answered, call};
use crate::logs::rollup::merge::{DAY_MS, DAYS_MS, HOUR_MS, HOURS_MS, MINUTES_MS, merge_tallies, run};
use crate::logs::rollup::*;
use crate::testing::sqlite::{Faulty, Planned, Sqlite};
use crate::wire::{Facts, Usage};
use pollster::block_on;
use proptest::prelude::*;

/// Half past some hour, some weeks after a midnight.
const NOW: u64 = 1_700_000_000_000 / DAY_MS * DAY_MS + 10 * HOUR_MS + 30 * MINUTE_MS;

row! {
    #[derive(Debug, PartialEq)]
    struct Summed {
        rows: u64,
        requests: u64,
        cost: f64,
    }
}

fn record(n: u64, at: u64, model: &str) -> LogRecord {
    let usage = Usage { tokens_in: Some(100), tokens_out: Some(10), ..Usage::default() };
    let mut made = call(&id::mint(at, n.into()));
    made.created_at = at;
    made.facts.model = Some(model.to_owned());
    LogRecord::new(made, answered(Facts { usage, ..Facts::default() }))
}

fn group(n: u64, records: Vec<LogRecord>) -> Group {
    Group { id: id::mint(NOW, n.into()), shard: 0, records, unlogged: Tally::default() }
}

fn written(store: &impl Store, group: Group) {
    assert_eq!(block_on(group_commit::write(store, group, async |_| {})), []);
}

fn settled(store: &impl Store) {
    block_on(merge_tallies(store, NOW)).unwrap();
}

fn summed(store: &impl Store, condition: &str) -> (u64, u64) {
    let sql = format!(
        "SELECT count(*) AS rows, coalesce(sum(requests), 0) AS requests, coalesce(sum(cost), 0.0) AS cost FROM rollup WHERE {condition}"
    );
    let found = block_on(store.row::<Summed>(Statement::new(sql, []))).unwrap().unwrap();
    (found.rows, found.requests)
}

fn sum(record: &LogRecord, sum: Sum) -> f64 {
    let mut tally = Tally::default();
    tally.count(record);
    tally.0[0].figures.get(sum)
}

#[test]
fn failures_are_told_apart_by_who_made_them() {
    let of = |status, failure: Option<Failure>| {
        let outcome = Outcome { status, failure, ..answered(Facts::default()) };
        layer(&LogRecord::new(call("a"), outcome))
    };
    let gateway = || Some(Failure::Gateway("no".to_owned()));
    assert_eq!(of(Some(499), Some(Failure::ClientLeft)), Sum::ByClient);
    assert_eq!((of(Some(429), gateway()), of(Some(401), gateway())), (Sum::ByLimit, Sum::ByGateway));
    assert_eq!(of(Some(502), Some(Failure::Upstream("reset".to_owned()))), Sum::ByUpstream);
    assert_eq!((of(Some(429), None), of(Some(503), None)), (Sum::By4xx, Sum::By5xx));
    // A stream that began well, and ended with an error.
    let facts = Facts { error: Some("overloaded".to_owned()), ..Facts::default() };
    let record = LogRecord::new(call("a"), answered(facts));
    assert_eq!((layer(&record), sum(&record, Sum::By5xx), sum(&record, Sum::Requests)), (Sum::By5xx, 1.0, 1.0));
}

#[test]
fn attempts_and_kept_answers_are_counted_as_what_they_are() {
    let usage = Usage { tokens_in: Some(7), tokens_out: Some(1), ..Usage::default() };
    let facts = Facts { usage, ..Facts::default() };
    let superseded =
        LogRecord::new(call("a"), Outcome { superseded: true, status: Some(500), ..answered(facts.clone()) });
    assert_eq!(
        (sum(&superseded, Sum::Attempts), sum(&superseded, Sum::Requests), sum(&superseded, Sum::By5xx)),
        (1.0, 0.0, 0.0)
    );
    // Its tokens were paid for all the same.
    assert_eq!(sum(&superseded, Sum::TokensIn), 7.0);
    let kept = LogRecord::new(Call { cached: true, ..call("b") }, answered(facts.clone()));
    assert_eq!((sum(&kept, Sum::Cached), sum(&kept, Sum::Cost), sum(&kept, Sum::TokensIn)), (1.0, 0.0, 0.0));
    assert!(sum(&kept, Sum::SavedCost) > 0.0);
    let mut tally = Tally::default();
    tally.count(&kept);
    assert_eq!(tally.0[0].figures.show()["duration"]["count"], 0);
    let mut unheard = call("c");
    unheard.facts.model = Some("unheard-of".to_owned());
    assert_eq!(sum(&LogRecord::new(unheard, answered(facts)), Sum::Unpriced), 1.0);
}

#[test]
fn a_group_is_added_once_however_often_it_is_written() {
    for took_effect in [false, true] {
        let store = Faulty::new(Sqlite::new());
        let group = group(1, vec![record(1, NOW, "a"), record(2, NOW + 1, "a"), record(3, NOW + MINUTE_MS, "b")]);
        if took_effect {
            store.fail_after(1)
        } else {
            store.fail_before(1)
        }
        written(&store, group.clone());
        settled(&store);
        // Delivered again, before and after it was added up.
        written(&store, group.clone());
        settled(&store);
        assert_eq!(summed(&store, "true"), (2, 3));
        assert_eq!(summed(&store, "model = 'a'"), (1, 2));
    }
}

/// What an older version left: an infinity was written as nothing.
fn left(store: &impl Store, id: &str, tallies: &str) {
    let sql = "INSERT INTO tallies (id, tallies) VALUES (?1, ?2)";
    block_on(store.batch(vec![Statement::new(sql, [id.into(), tallies.into()])])).unwrap();
}

#[test]
fn a_row_that_cannot_be_read_keeps_no_other_from_being_added() {
    let faulty = ["", "{}", "[5]", "[[1,2]", r#"[[null,5,"openai","a",1]]"#, r#"[["x",5,null,"a",1]]"#];
    for places in ["0", "5", "Z"] {
        let store = Sqlite::new();
        // Around the good rows: ids begin with the time.
        for (n, text) in faulty.iter().enumerate() {
            left(&store, &format!("{places}{n}"), text);
        }
        for n in 0..20 {
            written(&store, group(n, vec![record(n, NOW, "a")]));
        }
        let mut tally = Tally::default();
        tally.count(&record(99, NOW, "a"));
        tally.count(&record(98, NOW, "b"));
        let whole = tally.json();
        let broken = whole.replacen(",0,0,", ",,0,", 1).replacen(",0]", ",]", 1);
        assert!(serde_json::from_str::<Value>(&broken).is_err());
        left(&store, "3", &broken);
        settled(&store);
        assert_eq!((summed(&store, "model = 'a'"), summed(&store, "true")), ((1, 21), (2, 22)), "{places}");
        let (told, n) = block_on(crate::db::put_aside::report(&store, NOW)).unwrap();
        assert_eq!((told.len(), n), (faulty.len(), faulty.len() as u64));
        assert!(told.iter().all(|row| row.source == "tallies" && row.reason.len() > 5), "{told:?}");
        assert_eq!(block_on(store.ids(Statement::new("SELECT id FROM tallies", []))).unwrap(), Vec::<String>::new());
        block_on(run(&store, NOW, &|| false)).unwrap();
    }
}

#[test]
fn what_is_no_cost_is_not_added_and_not_shown() {
    let store = Sqlite::new();
    let mut tally = Tally::default();
    tally.count(&LogRecord { cost: Some(0.0625), ..record(1, NOW, "a") });
    let text = tally.json();
    let cost = crate::base::number::text(tally.0[0].figures.get(Sum::Cost));
    assert!(text.contains(&cost));
    for (n, strange) in ["1e300", "-1e300", "1e16", &cost].iter().enumerate() {
        left(&store, &n.to_string(), &text.replace(&cost, strange));
    }
    settled(&store);
    // As an older version has added them up.
    block_on(store.batch(vec![Statement::new("UPDATE rollup SET saved_cost = 9e999", [])])).unwrap();
    let shown = || {
        let rows = block_on(store.select(Statement::new(format!("SELECT {} FROM rollup", figures::gathered()), [])));
        let figures = Figures::read(&rows.unwrap().0[0]);
        (figures.get(Sum::Requests), crate::base::number::text(figures.get(Sum::Cost)), figures.get(Sum::SavedCost))
    };
    assert_eq!(shown(), (4.0, cost.clone(), 0.0));
    left(&store, "x", &text.replace(&cost, "0"));
    settled(&store);
    assert_eq!(shown(), (5.0, cost, 0.0));
    block_on(run(&store, NOW + DAYS_MS, &|| false)).unwrap();
}

#[test]
fn counts_beyond_64_bits_add_up() {
    let store = Sqlite::new();
    let mut tally = Tally::default();
    tally.count(&record(1, NOW, "a"));
    for n in 0..30 {
        left(&store, &n.to_string(), &tally.json().replace(",100,", ",999999999999999999,"));
    }
    settled(&store);
    block_on(run(&store, NOW + HOURS_MS, &|| false)).unwrap();
    assert_eq!(summed(&store, "tokens_in > 2e19"), (1, 30));
}

proptest! {
    /// Whatever figures records have, and a provider or a caller may say anything, what is written of them can be read.
    #[test]
    fn a_tally_is_json_whatever_was_said(costs in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..20)) {
        let mut tally = Tally::default();
        for (n, (cost, saved, tokens)) in (0..).zip(costs) {
            let of = |bits| Some(f64::from_bits(bits));
            tally.count(&LogRecord { cost: of(cost), saved_cost: of(saved), tokens_in: Some(tokens), ..record(n, NOW, "a") });
        }
        let rows: Vec<Vec<Value>> = serde_json::from_str(&tally.json()).unwrap();
        prop_assert!(rows.iter().flatten().skip(4).all(Value::is_number));
    }
}

#[test]
fn a_group_that_is_written_in_parts_is_added_once() {
    /// Refuses what has several records, after it took effect or before.
    struct Apart(Sqlite, bool);
    impl Store for Apart {
        fn pace(&self) -> crate::db::pace::Pace {
            self.0.pace()
        }

        async fn select(
            &self,
            statement: Statement,
        ) -> Result<(Vec<crate::db::store::Row>, u64), crate::db::store::StoreError> {
            self.0.select(statement).await
        }
        async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, crate::db::store::StoreError> {
            let is_whole = statements.iter().any(|statement| matches!(statement.binds.last(), Some(Bind::Text(id)) if !id.contains('/') && statement.sql.contains("written_groups (id)")));
            let done = if is_whole && !self.1 { Ok(Vec::new()) } else { self.0.batch(statements).await };
            if is_whole { Err(crate::db::store::StoreError("refused".to_owned())) } else { done }
        }
    }
    for took_effect in [false, true] {
        let store = Apart(Sqlite::new(), took_effect);
        let mut group = group(1, vec![record(1, NOW, "a"), record(2, NOW, "b")]);
        group.unlogged.count(&record(3, NOW, "c"));
        written(&store, group);
        settled(&store.0);
        assert_eq!(summed(&store.0, "true"), (3, 3));
    }
}

#[test]
fn what_has_no_log_is_counted_with_the_others_or_alone() {
    let store = Sqlite::new();
    let mut waiting = group_commit::Waiting::default();
    assert!(waiting.count(&record(1, NOW, "a"), NOW, 50) && !waiting.count(&record(2, NOW, "a"), NOW, 50));
    let alone = waiting.take(|| id::mint(NOW, 1));
    assert!(waiting.push(record(3, NOW, "a"), NOW, 50) && !waiting.count(&record(4, NOW, "b"), NOW, 50));
    let beside = waiting.take(|| id::mint(NOW, 2));
    assert_eq!((alone.len(), beside.len(), waiting.take(String::new).len()), (1, 1, 0));
    alone.into_iter().chain(beside).for_each(|group| written(&store, group));
    settled(&store);
    assert_eq!((summed(&store, "model = 'a'"), summed(&store, "model = 'b'")), ((1, 3), (1, 1)));
    assert_eq!(block_on(store.select(Statement::new("SELECT id FROM logs", []))).unwrap().0.len(), 1);
}

#[test]
fn adding_up_can_be_broken_off_anywhere() {
    for n in 1..12 {
        for after in [false, true] {
            let store = Faulty::new(Sqlite::new());
            (0..20).for_each(|n| written(&store.inner, group(n, vec![record(n, NOW, "a")])));
            if after {
                store.fail_after(n)
            } else {
                store.fail_before(n)
            }
            let _ = block_on(merge_tallies(&store, NOW));
            settled(&store.inner);
            assert_eq!(summed(&store.inner, "true"), (1, 20), "{n} {after}");
        }
    }
}

#[test]
fn a_caller_cannot_make_rows_without_end() {
    let store = Sqlite::new();
    // A usual model first; then thousands of names, some of them under names of providers that do not exist.
    written(&store, group(0, vec![record(0, NOW, "usual")]));
    settled(&store);
    for n in 1..60 {
        let records = (0..100).map(|m| {
            let mut record = record(n * 1_000 + m, NOW, &format!("model {n} {m}"));
            if m % 2 == 0 {
                record.provider = format!("provider {n} {m}");
            }
            record
        });
        written(&store, group(n, records.collect()));
    }
    written(&store, group(60, vec![record(1, NOW, "usual")]));
    settled(&store);
    let (rows, requests) = summed(&store, "true");
    assert!(rows <= 60, "{rows}");
    assert_eq!(requests, 5_902);
    assert_eq!(summed(&store, "model = 'usual'"), (1, 2));
    let (_, known) = summed(&store, "provider = 'openai' AND model = 'other'");
    let (_, unknown) = summed(&store, "provider = 'other' AND model = 'other'");
    assert!(known > 2_800 && unknown > 2_800, "{known} {unknown}");
}

#[test]
fn old_rows_become_coarser_and_keep_their_sums() {
    let store = Sqlite::new();
    let midnight = NOW / DAY_MS * DAY_MS;
    // Every 20 minutes of three days, in two models.
    let times: Vec<u64> = (0..3 * 24 * 3).map(|n| midnight + n * 20 * MINUTE_MS).collect();
    for (n, time) in (0_u64..).zip(&times) {
        written(&store, group(n, vec![record(2 * n, *time, "a"), record(2 * n + 1, *time + 5, "b")]));
    }
    settled(&store);
    let all = 2 * times.len() as u64;
    assert_eq!(summed(&store, "true"), (all, all));
    // A run has an end; the next one goes on.
    let aged = |now: u64| (0..3).for_each(|_| block_on(run(&store, now, &|| false)).unwrap());
    let minutes = "time % 3600000 <> 0";
    aged(midnight + MINUTES_MS + HOUR_MS - 1);
    assert_eq!(summed(&store, "true"), (all, all));
    // The first hour is old; the second is not.
    aged(midnight + MINUTES_MS + 2 * HOUR_MS);
    assert_eq!((summed(&store, "true"), summed(&store, minutes).0), ((all - 4, all), 2 * 3 * 24 * 2 - 4));
    aged(midnight + 10 * DAY_MS);
    assert_eq!((summed(&store, "true"), summed(&store, minutes).0), ((2 * 3 * 24, all), 0));
    // What comes late finds its way to the others.
    written(&store, group(999, vec![record(999, midnight + 7 * MINUTE_MS, "a")]));
    settled(&store);
    aged(midnight + 10 * DAY_MS);
    assert_eq!(summed(&store, "true"), (2 * 3 * 24, all + 1));
    aged(midnight + HOURS_MS + 3 * DAY_MS);
    assert_eq!(summed(&store, "true"), (2 + 2 + 2 * 24, all + 1));
    aged(midnight + HOURS_MS + 10 * DAY_MS);
    assert_eq!(summed(&store, "true"), (6, all + 1));
    assert_eq!(summed(&store, &format!("time = {midnight} AND model = 'a'")), (1, 24 * 3 + 1));
    aged(midnight + DAYS_MS + DAY_MS);
    assert_eq!(summed(&store, "true").0, 6);
    aged(midnight + DAYS_MS + 2 * DAY_MS);
    assert_eq!(summed(&store, "true").0, 4);
}

#[test]
fn the_search_for_old_rows_reads_no_others() {
    let planned = Planned::new(Sqlite::new());
    block_on(run(&planned, NOW, &|| false)).unwrap();
    let plans = planned.plans.into_inner();
    assert_eq!(plans.len(), 8);
    for (plan, sql) in plans {
        for line in plan.lines().filter(|line| line.contains("rollup") && !line.contains("PRIMARY KEY")) {
            assert!(line.contains("rollup_by_age (<expr>=? AND time"), "{line}\n{sql}");
        }
    }
}

#[test]
fn corrections_change_costs_and_count_nothing() {
    let mut correction = Correction::default();
    correction.note((1, NOW, "openai", "a"), (None, Some(2.0)), NOW);
    correction.note((1, NOW, "openai", "a"), (Some(1.0), Some(0.5)), NOW);
    correction.note((1, NOW - 3 * DAY_MS, "openai", "a"), (Some(1.0), None), NOW);
    let store = Sqlite::new();
    let insert = "INSERT INTO tallies (id, tallies) VALUES ('x', ?1)";
    block_on(store.batch(vec![Statement::new(insert, [Bind::Text(correction.json())])])).unwrap();
    settled(&store);
    let costs = "SELECT time AS rows, requests, cost FROM rollup ORDER BY time";
    let found: Vec<Summed> = block_on(store.rows(Statement::new(costs, []))).unwrap();
    let hour = (NOW - 3 * DAY_MS) / HOUR_MS * HOUR_MS;
    assert_eq!(found, [Summed { rows: hour, requests: 0, cost: -1.0 }, Summed { rows: NOW, requests: 0, cost: 1.5 }]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the split into groups, the sums are those of the records.
    #[test]
    fn the_split_does_not_matter(records in prop::collection::vec((0u64..200, 0u8..4, 0u64..100_000), 1..60), size in 1usize..20) {
        let records: Vec<LogRecord> = (0..).zip(records).map(|(n, (minute, model, duration))| {
            let mut record = record(n, NOW + minute * MINUTE_MS, &format!("m{model}"));
            record.duration = duration;
            record
        }).collect();
        let figures = |size: usize| {
            let store = Sqlite::new();
            for (n, part) in (0..).zip(records.chunks(size)) {
                written(&store, group(n, part.to_vec()));
                if n % 3 == 0 {
                    settled(&store);
                }
            }
            settled(&store);
            let sql = "SELECT time / 60000 AS at, model, requests, tokens_in, duration_sum, d5 + d9 AS d FROM rollup ORDER BY 1, 2";
            block_on(store.select(Statement::new(sql, []))).unwrap().0
        };
        prop_assert_eq!(figures(size), figures(1_000));
    }
}
