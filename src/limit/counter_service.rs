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
                Ok(message::readings_to_text(&self.ledger.readings(&demands, now)))
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
mod tests;
