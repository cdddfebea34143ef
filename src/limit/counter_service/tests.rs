use super::*;
use crate::limit::message::{readings, shown};
use crate::limit::window::{Technique, Window};
use crate::limit::{Reading, Takes};
use rusqlite::{Connection, OptionalExtension};
use std::cell::Cell;

/// The real SQL on a real SQLite.
struct Memory {
    database: Connection,
    fails: Cell<bool>,
}

impl Memory {
    fn new() -> Self {
        let database = Connection::open_in_memory().unwrap();
        database.execute(sql::CREATE, []).unwrap();
        Self { database, fails: Cell::new(false) }
    }

    fn rows(&self) -> i64 {
        self.database.query_row("SELECT count(*) FROM counters", [], |row| row.get(0)).unwrap()
    }
}

impl CounterStore for Memory {
    fn load(&self, key: &str) -> Result<Option<String>, String> {
        let found = self.database.query_row(sql::LOAD, [key], |row| row.get(0)).optional();
        found.map_err(|error| error.to_string())
    }

    fn list(&self, prefix: &str, now: u64, limit: usize) -> Result<Vec<(String, String)>, String> {
        let mut statement = self.database.prepare(sql::LIST).unwrap();
        let rows =
            statement.query_map((prefix, now as i64, limit as i64), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        Ok(rows.map(Result::unwrap).collect())
    }

    fn save(&self, saved: &Saved, now: u64) -> Result<(), String> {
        if self.fails.get() {
            return Err("full".to_owned());
        }
        self.database.execute(sql::SAVE, (&saved.key, &saved.state, now as i64, saved.expires_at as i64)).unwrap();
        Ok(())
    }

    fn tidy(&self, now: u64) -> Result<(), String> {
        self.database.execute(sql::TIDY, [now as i64]).unwrap();
        Ok(())
    }

    fn clear(&self) -> Result<(), String> {
        self.database.execute(sql::CLEAR, []).unwrap();
        Ok(())
    }
}

const NOW: u64 = 1_700_000_000_000;
const HOUR: Window = Window { length_ms: 3_600_000, technique: Technique::Sliding };

fn demand(rule: &str, part: &str, takes: Takes) -> Demand {
    Demand { rule: rule.to_owned(), part: part.to_owned(), window: HOUR, limit: 3, takes }
}

fn admit(counters: &mut CounterService, counter_store: &Memory, demands: &[Demand], now: u64) -> Vec<Reading> {
    let message = Message::Admit { id: "id".to_owned(), demands: demands.to_vec() };
    readings(&counters.answer(&message.to_text(), counter_store, now).unwrap(), demands.len()).unwrap()
}

fn show(counters: &mut CounterService, counter_store: &Memory, demands: &[Demand], now: u64) -> Vec<Vec<Shown>> {
    let message = Message::Show { demands: demands.to_vec() };
    shown(&counters.answer(&message.to_text(), counter_store, now).unwrap()).unwrap()
}

#[test]
fn counters_survive_the_end_of_the_object() {
    let counter_store = Memory::new();
    let demands = [demand("gateway", "", Takes::One), demand("spend/a", "[\"x\"]", Takes::Reserve(1))];
    let mut remaining = Vec::new();
    for _ in 0..4 {
        // Each time a new object with the same store.
        let mut counters = CounterService::default();
        remaining.push(admit(&mut counters, &counter_store, &demands, NOW)[0].remaining);
        counters.store(&counter_store, NOW).unwrap();
        assert!(!counters.has_changes());
    }
    assert_eq!(remaining, [2, 1, 0, 0]);
    let mut counters = CounterService::default();
    assert!(admit(&mut counters, &counter_store, &demands, NOW).iter().all(|reading| reading.retry_in_ms > 0));
    assert_eq!(admit(&mut counters, &counter_store, &demands[..1], NOW + HOUR.length_ms)[0].remaining, 2);
}

#[test]
fn the_counters_of_a_rule_are_shown_without_those_of_others() {
    let counter_store = Memory::new();
    let mut counters = CounterService::default();
    for (n, (rule, part)) in [("rate/a", "[\"x\"]"), ("rate/a", "[\"y\"]"), ("rate/ab", "[\"z\"]")].iter().enumerate() {
        admit(&mut counters, &counter_store, &[demand(rule, part, Takes::One)], NOW + n as u64);
        counters.store(&counter_store, NOW + n as u64).unwrap();
    }
    let rules = [demand("rate/a", "", Takes::One), demand("rate/ab", "", Takes::One), demand("rate/c", "", Takes::One)];
    let parts = |all: Vec<Vec<Shown>>| -> Vec<Vec<String>> {
        all.into_iter().map(|rule| rule.into_iter().map(|shown| shown.part).collect()).collect()
    };
    assert_eq!(
        parts(show(&mut counters, &counter_store, &rules, NOW)),
        [vec!["[\"y\"]", "[\"x\"]"], vec!["[\"z\"]"], vec![]]
    );
    assert!(parts(show(&mut counters, &counter_store, &rules, NOW + HOUR.length_ms + 5)).concat().is_empty());
}

#[test]
fn what_no_longer_counts_is_removed() {
    let counter_store = Memory::new();
    let mut counters = CounterService::default();
    admit(&mut counters, &counter_store, &[demand("gateway", "", Takes::One)], NOW);
    counters.store(&counter_store, NOW).unwrap();
    assert_eq!(counter_store.rows(), 1);
    counters.store(&counter_store, NOW + HOUR.length_ms).unwrap();
    assert_eq!(counter_store.rows(), 0);
    admit(&mut counters, &counter_store, &[demand("gateway", "", Takes::One)], NOW);
    counters.store(&counter_store, NOW).unwrap();
    counters.answer(&Message::Forget.to_text(), &counter_store, NOW).unwrap();
    assert_eq!(counter_store.rows(), 0);
    assert_eq!(admit(&mut counters, &counter_store, &[demand("gateway", "", Takes::One)], NOW)[0].remaining, 2);
}

#[test]
fn a_store_that_fails_is_tried_again_and_the_limit_holds_meanwhile() {
    let counter_store = Memory::new();
    let mut counters = CounterService::default();
    counter_store.fails.set(true);
    let remaining: Vec<u64> = (0..4)
        .map(|_| {
            let reading = admit(&mut counters, &counter_store, &[demand("gateway", "", Takes::One)], NOW)[0];
            assert!(counters.store(&counter_store, NOW).is_err() && counters.has_changes());
            reading.remaining
        })
        .collect();
    assert_eq!(remaining, [2, 1, 0, 0]);
    counter_store.fails.set(false);
    counters.store(&counter_store, NOW).unwrap();
    assert_eq!(
        admit(&mut CounterService::default(), &counter_store, &[demand("gateway", "", Takes::One)], NOW)[0].remaining,
        0
    );
}

#[test]
fn a_message_of_another_version_is_refused() {
    assert!(CounterService::default().answer("[\"dance\",\"\",0,[]]", &Memory::new(), NOW).is_err());
    assert!(CounterService::default().answer("x", &Memory::new(), NOW).is_err());
}
