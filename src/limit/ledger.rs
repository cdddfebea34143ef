//! All counters of a gateway, and the one step in which a request passes all of its limits or takes from none.

use super::rate::Counts;
use super::spend::{Change, Spent};
use super::{Demand, Reading, Takes};
use serde_json::Value;

/// The counters that are in memory, in the order of their keys. The others are in the store.
#[derive(Default)]
pub struct Ledger {
    counters: Vec<Counter>,
}

struct Counter {
    key: String,
    state: State,
    expires_at: u64,
    is_changed: bool,
}

enum State {
    Counts(Counts),
    Spent(Spent),
}

/// A counter as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub key: String,
    pub state: String,
    pub expires_at: u64,
}

/// With more counters than this, those that are stored leave the memory.
const MAX_COUNTERS: usize = 2_000;

// === impl Ledger ===

impl Ledger {
    pub fn has(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    /// Takes up a counter from the store, or a new one.
    pub fn take_up(&mut self, demand: &Demand, stored: Option<&str>) {
        let key = demand.key();
        if let Err(place) = self.place(&key) {
            let state = State::read(demand, stored);
            self.counters.insert(place, Counter { key, state, expires_at: 0, is_changed: false });
        }
    }

    /// Lets a request pass if every demand can be met, and then takes all of them. The counters have to be in memory.
    pub fn admit(&mut self, id: &str, demands: &[Demand], now: u64) -> Vec<Reading> {
        let readings: Vec<Reading> = demands.iter().map(|demand| self.reading(demand, now)).collect();
        if readings.iter().any(|reading| reading.retry_in_ms > 0) {
            return readings;
        }
        for demand in demands {
            let Some(counter) = self.counter(demand) else { continue };
            match (&mut counter.state, demand.takes) {
                (State::Counts(counts), Takes::One) => counts.take(&demand.window, now),
                (State::Spent(spent), Takes::Reserve(amount)) => spent.reserve(&demand.window, id, amount, now),
                _ => continue,
            }
            counter.changed(demand, now);
        }
        let taken = |demand: &Demand| Reading { retry_in_ms: 0, ..self.reading(demand, now) };
        demands.iter().map(taken).collect()
    }

    /// Where counters stand.
    pub fn readings(&self, demands: &[Demand], now: u64) -> Vec<Reading> {
        demands.iter().map(|demand| self.reading(demand, now)).collect()
    }

    /// Counts what a request did cost.
    pub fn settle(&mut self, id: &str, cost: u64, demands: &[Demand], now: u64) {
        for demand in demands {
            let Some(counter) = self.counter(demand) else { continue };
            if let State::Spent(spent) = &mut counter.state {
                spent.settle(&demand.window, id, cost, now);
                counter.changed(demand, now);
            }
        }
    }

    /// Puts one amount into the place of another that was counted at some time.
    pub fn correct(&mut self, demands: &[Demand], change: Change, now: u64) {
        for demand in demands {
            let Some(counter) = self.counter(demand) else { continue };
            if let State::Spent(spent) = &mut counter.state {
                spent.correct(&demand.window, change, now);
                counter.changed(demand, now);
            }
        }
    }

    pub fn has_changes(&self) -> bool {
        self.counters.iter().any(|counter| counter.is_changed)
    }

    /// What has to be stored. From here on it counts as stored.
    pub fn changes(&mut self) -> Vec<Saved> {
        let mut saved = Vec::new();
        for counter in self.counters.iter_mut().filter(|counter| counter.is_changed) {
            counter.is_changed = false;
            saved.push(Saved {
                key: counter.key.clone(),
                state: counter.state.to_json().to_string(),
                expires_at: counter.expires_at,
            });
        }
        if self.counters.len() > MAX_COUNTERS {
            self.counters.clear();
        }
        saved
    }

    /// A change that could not be stored is stored with the next.
    pub fn unsaved(&mut self, key: &str) {
        if let Ok(place) = self.place(key)
            && let Some(counter) = self.counters.get_mut(place)
        {
            counter.is_changed = true;
        }
    }

    fn reading(&self, demand: &Demand, now: u64) -> Reading {
        let state = self.place(&demand.key()).ok().and_then(|place| self.counters.get(place)).map(|found| &found.state);
        state.map(|state| state.reading(demand, now)).unwrap_or_default()
    }

    fn counter(&mut self, demand: &Demand) -> Option<&mut Counter> {
        let place = self.place(&demand.key()).ok()?;
        self.counters.get_mut(place)
    }

    /// Where a key is, or would be.
    fn place(&self, key: &str) -> Result<usize, usize> {
        let place = self.counters.partition_point(|counter| counter.key.as_str() < key);
        if self.counters.get(place).is_some_and(|counter| counter.key == key) { Ok(place) } else { Err(place) }
    }
}

// === impl Counter ===

impl Counter {
    fn changed(&mut self, demand: &Demand, now: u64) {
        self.is_changed = true;
        self.expires_at = match &self.state {
            State::Counts(_) => now.saturating_add(demand.window.length_ms),
            State::Spent(spent) => spent.expires_at(&demand.window),
        };
    }
}

// === impl State ===

impl State {
    fn read(demand: &Demand, stored: Option<&str>) -> Self {
        let value: Value = stored.and_then(|stored| serde_json::from_str(stored).ok()).unwrap_or_default();
        match demand.takes {
            Takes::One => Self::Counts(Counts::read(&value)),
            Takes::Later | Takes::Reserve(_) => Self::Spent(Spent::read(&value)),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Counts(counts) => counts.to_json(),
            Self::Spent(spent) => spent.to_json(),
        }
    }

    fn reading(&self, demand: &Demand, now: u64) -> Reading {
        match (self, demand.takes) {
            (Self::Counts(counts), _) => counts.reading(&demand.window, demand.limit, now),
            (Self::Spent(spent), Takes::Reserve(amount)) => spent.reading(&demand.window, demand.limit, amount, now),
            (Self::Spent(spent), _) => spent.reading(&demand.window, demand.limit, 0, now),
        }
    }
}

/// A stored counter's reading, without taking it up.
pub fn reading(demand: &Demand, stored: &str, now: u64) -> Reading {
    State::read(demand, Some(stored)).reading(demand, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::window::{Technique, Window};

    const MINUTE: Window = Window { length_ms: 60_000, technique: Technique::Fixed };
    const NOW: u64 = 60_000;

    fn count(rule: &str, limit: u64) -> Demand {
        Demand { rule: rule.to_owned(), part: String::new(), window: MINUTE, limit, takes: Takes::One }
    }

    fn spend(limit: u64, takes: Takes) -> Demand {
        Demand { takes, ..count("spend/a", limit) }
    }

    fn ledger(demands: &[Demand]) -> Ledger {
        let mut ledger = Ledger::default();
        demands.iter().for_each(|demand| ledger.take_up(demand, None));
        ledger
    }

    fn passes(ledger: &mut Ledger, demands: &[Demand]) -> bool {
        ledger.admit("id", demands, NOW).iter().all(|reading| reading.retry_in_ms == 0)
    }

    #[test]
    fn a_request_that_fails_one_limit_takes_from_none() {
        let demands = [count("gateway", 10), count("rate/a", 2), spend(100, Takes::Reserve(40))];
        let mut ledger = ledger(&demands);
        let passed = (0..5).filter(|_| passes(&mut ledger, &demands)).count();
        assert_eq!(passed, 2);
        assert_eq!(ledger.reading(&demands[0], NOW).used, 2);
        assert_eq!(ledger.reading(&demands[2], NOW).reserved, 80);
        // The spend limit holds as well: 20 are left of it.
        assert!(!passes(&mut ledger, &demands[2..]));
    }

    #[test]
    fn a_cost_that_comes_later_counts_for_the_next() {
        let demand = [spend(100, Takes::Later)];
        let mut ledger = ledger(&demand);
        assert!(passes(&mut ledger, &demand));
        ledger.settle("id", 99, &demand, NOW);
        assert!(passes(&mut ledger, &demand));
        ledger.settle("id", 50, &demand, NOW);
        assert!(!passes(&mut ledger, &demand));
        assert_eq!(ledger.reading(&demand[0], NOW).used, 149);
    }

    #[test]
    fn what_changed_is_stored_once_and_read_back() {
        let demands = [count("gateway", 10), spend(100, Takes::Reserve(40)), spend(100, Takes::Later)];
        let mut first = ledger(&demands[..2]);
        assert!(!first.has_changes());
        first.admit("id", &demands[..2], NOW);
        let saved = first.changes();
        assert_eq!(saved.iter().map(|saved| saved.key.as_str()).collect::<Vec<_>>(), ["gateway ", "spend/a "]);
        assert!(saved.iter().all(|saved| saved.expires_at >= NOW + 60_000) && first.changes().is_empty());
        first.unsaved("gateway ");
        assert_eq!(first.changes(), saved[..1]);
        let mut second = Ledger::default();
        for (demand, saved) in demands.iter().zip(&saved) {
            second.take_up(demand, Some(&saved.state));
            assert_eq!(second.reading(demand, NOW), first.reading(demand, NOW));
        }
        assert_eq!(reading(&demands[0], &saved[0].state, NOW).used, 1);
        // What is in memory is newer than what is stored.
        second.take_up(&demands[0], None);
        assert_eq!(second.reading(&demands[0], NOW).used, 1);
    }

    #[test]
    fn the_memory_stays_small() {
        let mut ledger = Ledger::default();
        for n in 0..MAX_COUNTERS + 10 {
            let demand = Demand { part: n.to_string(), ..count("rate/a", 1) };
            ledger.take_up(&demand, None);
            ledger.admit("id", &[demand], NOW);
        }
        assert_eq!(ledger.changes().len(), MAX_COUNTERS + 10);
        assert!(ledger.counters.is_empty());
    }
}
