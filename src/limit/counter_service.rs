//! A gateway's Durable Object without the runtime: a message comes in, an answer goes out, and now and then what changed
//! is stored. Nothing in between waits, so no two requests are ever looked at at once.

use super::Demand;
use super::charge::Account;
use super::ledger::{self, Ledger, Saved};
use super::message::{self, Charge, Message, Shown};

/// Where counters are kept while no request needs them.
pub trait CounterStore {
    fn load(&self, key: &str) -> Result<Option<String>, String>;
    /// Up to so many counters whose key begins with this and whose window has not passed, those used last first.
    fn list(&self, prefix: &str, now: u64, limit: usize) -> Result<Vec<(String, String)>, String>;
    fn save(&self, saved: &Saved, now: u64) -> Result<(), String>;
    /// Removes what no longer counts.
    fn tidy(&self, now: u64) -> Result<(), String>;
    fn clear(&self) -> Result<(), String>;
}

/// SQL of the object's own database.
pub mod sql {
    pub const CREATE: &str = "CREATE TABLE IF NOT EXISTS counters \
         (key TEXT PRIMARY KEY, state TEXT NOT NULL, used_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID";
    pub const LOAD: &str = "SELECT state FROM counters WHERE key = ?1";
    pub const LIST: &str = "SELECT key, state FROM counters WHERE substr(key, 1, length(?1)) = ?1 AND expires_at > ?2 \
         ORDER BY used_at DESC, key LIMIT ?3";
    pub const SAVE: &str = "INSERT INTO counters (key, state, used_at, expires_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (key) DO UPDATE SET state = ?2, used_at = ?3, expires_at = ?4";
    pub const TIDY: &str = "DELETE FROM counters WHERE expires_at <= ?1";
    pub const CLEAR: &str = "DELETE FROM counters";
}

/// How many counters of a rule are shown.
pub const MAX_SHOWN: usize = 100;

/// How often the store is tidied, in milliseconds.
const TIDY_EVERY_MS: u64 = 10 * 60 * 1_000;

#[derive(Default)]
pub struct CounterService {
    ledger: Ledger,
    tidied_at: u64,
}

// === impl CounterService ===

impl CounterService {
    /// Answers a message, or says why not.
    pub fn answer(&mut self, text: &str, counter_store: &impl CounterStore, now: u64) -> Result<String, String> {
        let message = Message::parse(text).ok_or("no message that this version knows")?;
        match &message {
            Message::Admit { demands, .. } | Message::Settle { demands, .. } => self.take_up(demands, counter_store)?,
            Message::Show { .. } | Message::Forget => {}
        }
        match message {
            Message::Admit { id, demands } => Ok(message::readings_to_text(&self.ledger.admit(&id, &demands, now))),
            Message::Settle { id, cost, demands, charges } => {
                self.ledger.settle(&id, cost, &demands, now);
                for charge in charges {
                    self.charge(&charge, &demands, counter_store, now)?;
                }
                Ok(String::new())
            }
            Message::Show { demands } => {
                // What is shown is also stored.
                self.store(counter_store, now)?;
                let rules = demands.iter().map(|demand| Self::shown(demand, counter_store, now));
                Ok(message::shown_to_text(&rules.collect::<Result<Vec<_>, String>>()?))
            }
            Message::Forget => {
                self.ledger = Ledger::default();
                counter_store.clear()?;
                Ok(String::new())
            }
        }
    }

    /// True when there is something to store.
    pub fn has_changes(&self) -> bool {
        self.ledger.has_changes()
    }

    /// Stores what changed.
    pub fn store(&mut self, counter_store: &impl CounterStore, now: u64) -> Result<(), String> {
        let mut stored = Ok(());
        for saved in self.ledger.changes() {
            if let Err(cause) = counter_store.save(&saved, now) {
                self.ledger.unsaved(&saved.key);
                stored = Err(cause);
            }
        }
        if now.saturating_sub(self.tidied_at) >= TIDY_EVERY_MS {
            self.tidied_at = now;
            counter_store.tidy(now)?;
        }
        stored
    }

    /// Has a thing paid once: from the budgets of the request that made it, or else of the first that showed what it cost.
    fn charge(
        &mut self,
        charge: &Charge,
        own: &[Demand],
        counter_store: &impl CounterStore,
        now: u64,
    ) -> Result<(), String> {
        let key = Account::key(&charge.thing);
        let known = counter_store.load(&key)?.and_then(|stored| Account::parse(&stored));
        let Some((account, change)) = Account::settled(known, charge, own, now) else { return Ok(()) };
        self.take_up(&account.demands, counter_store)?;
        self.ledger.correct(&account.demands, change, now);
        counter_store.save(&account.saved(key, now), now)
    }

    fn take_up(&mut self, demands: &[Demand], counter_store: &impl CounterStore) -> Result<(), String> {
        for demand in demands {
            let key = demand.key();
            if !self.ledger.has(&key) {
                let stored = counter_store.load(&key)?;
                self.ledger.take_up(demand, stored.as_deref());
            }
        }
        Ok(())
    }

    fn shown(demand: &Demand, counter_store: &impl CounterStore, now: u64) -> Result<Vec<Shown>, String> {
        let prefix = demand.key();
        let stored = counter_store.list(&prefix, now, MAX_SHOWN + 1)?;
        let counter = |(key, state): &(String, String)| Shown {
            part: key.strip_prefix(&prefix).unwrap_or("").to_owned(),
            reading: ledger::reading(demand, state, now),
        };
        Ok(stored.iter().map(counter).collect())
    }
}

#[cfg(test)]
mod tests {
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
        for (n, (rule, part)) in
            [("rate/a", "[\"x\"]"), ("rate/a", "[\"y\"]"), ("rate/ab", "[\"z\"]")].iter().enumerate()
        {
            admit(&mut counters, &counter_store, &[demand(rule, part, Takes::One)], NOW + n as u64);
            counters.store(&counter_store, NOW + n as u64).unwrap();
        }
        let rules =
            [demand("rate/a", "", Takes::One), demand("rate/ab", "", Takes::One), demand("rate/c", "", Takes::One)];
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
            admit(&mut CounterService::default(), &counter_store, &[demand("gateway", "", Takes::One)], NOW)[0]
                .remaining,
            0
        );
    }

    #[test]
    fn a_message_of_another_version_is_refused() {
        assert!(CounterService::default().answer("[\"dance\",\"\",0,[]]", &Memory::new(), NOW).is_err());
        assert!(CounterService::default().answer("x", &Memory::new(), NOW).is_err());
    }
}
