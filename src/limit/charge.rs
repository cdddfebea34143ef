//! What is paid once, however often it is asked for: which budgets pay for it, and what they have paid so far.

use super::Demand;
use super::ledger::Saved;
use super::message::{Charge, demand, demand_to_json};
use super::spend::Change;
use crate::base::json::json;
use serde_json::Value;

/// How long a thing is known, in milliseconds.
pub const KNOWN_MS: u64 = 40 * 24 * 60 * 60 * 1_000;

/// A thing as the object keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The budgets that pay.
    pub demands: Vec<Demand>,
    /// What was counted, and when.
    counted: u64,
    at: u64,
    /// Whether that is what it did cost.
    is_final: bool,
    /// True where the request that made it was not seen.
    is_found: bool,
}

impl Account {
    /// The name of a thing among the counters. No rule begins like this.
    pub fn key(thing: &str) -> String {
        format!("thing/ {thing}")
    }

    /// The account after a charge, and what is to be counted in its budgets; `None` where it is paid already. `own` are the
    /// budgets of the request that brings the charge.
    pub fn settled(known: Option<Self>, charge: &Charge, own: &[Demand], now: u64) -> Option<(Self, Change)> {
        let fresh = |is_found| {
            let amount = charge.cost.unwrap_or(charge.meanwhile);
            let account =
                Self { demands: own.to_vec(), counted: amount, at: now, is_final: charge.cost.is_some(), is_found };
            (account, Change { amount, before: 0, at: now })
        };
        match (known, charge.made_at) {
            // It was asked for, and paid, before the request that made it had ended.
            (Some(known), Some(made_at)) if known.is_found && known.at >= made_at => None,
            (_, Some(_)) => Some(fresh(false)),
            (None, None) => Some(fresh(true)),
            (Some(known), None) if known.is_final => None,
            (Some(known), None) => {
                let amount = charge.cost?;
                let change = Change { amount, before: known.counted, at: known.at };
                Some((Self { counted: amount, at: now, is_final: true, ..known }, change))
            }
        }
    }

    pub fn parse(stored: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(stored).ok()?;
        Some(Self {
            demands: value.get("demands")?.as_array()?.iter().map(demand).collect::<Option<Vec<Demand>>>()?,
            counted: value.get("counted")?.as_u64()?,
            at: value.get("at")?.as_u64()?,
            is_final: value.get("final")?.as_bool()?,
            is_found: value.get("found")?.as_bool()?,
        })
    }

    pub fn saved(&self, key: String, now: u64) -> Saved {
        let demands: Value = self.demands.iter().map(demand_to_json).collect();
        let state = json!({ "demands": demands, "counted": self.counted, "at": self.at, "final": self.is_final, "found": self.is_found });
        Saved { key, state: state.to_string(), expires_at: now.saturating_add(KNOWN_MS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Takes;
    use crate::limit::window::{Technique, Window};

    fn budget(part: &str) -> Vec<Demand> {
        let window = Window { length_ms: 60_000, technique: Technique::Fixed };
        vec![Demand { rule: "spend/a".to_owned(), part: part.to_owned(), window, limit: 100, takes: Takes::Later }]
    }

    fn charge(made_at: Option<u64>, cost: Option<u64>, meanwhile: u64) -> Charge {
        Charge { thing: "openai resp_1".to_owned(), made_at, cost, meanwhile }
    }

    /// What is counted, by whom, charge after charge.
    fn run(charges: &[(Charge, &str)]) -> Vec<(String, i64)> {
        let mut known = None;
        let mut counted = Vec::new();
        for (now, (charge, part)) in charges.iter().enumerate() {
            if let Some((account, change)) = Account::settled(known.clone(), charge, &budget(part), 10 + now as u64) {
                counted.push((account.demands[0].part.clone(), change.amount as i64 - change.before as i64));
                let saved = account.saved("k".to_owned(), 0);
                known = Account::parse(&saved.state);
                assert_eq!(known.as_ref(), Some(&account));
            }
        }
        counted
    }

    #[test]
    fn a_thing_is_paid_once_by_whoever_made_it() {
        let poll = |cost| charge(None, Some(cost), 0);
        let by = |part: &str, amount: i64| (part.to_owned(), amount);
        let made = charge(Some(1), None, 0);
        let polls = [(made.clone(), "a"), (poll(7), "b"), (poll(7), "b"), (poll(9), "c")];
        assert_eq!(run(&polls), [by("a", 0), by("a", 7)]);
        assert_eq!(run(&[(charge(Some(1), Some(7), 0), "a"), (poll(7), "b")]), [by("a", 7)]);
        // What was set aside counts until more is known, and is corrected in both directions.
        assert_eq!(run(&[(charge(Some(1), None, 5), "a"), (poll(7), "b")]), [by("a", 5), by("a", 2)]);
        assert_eq!(run(&[(charge(Some(1), None, 5), "a"), (poll(3), "b")]), [by("a", 5), by("a", -2)]);
        // No request of this gateway saw it being made.
        assert_eq!(run(&[(poll(7), "b"), (poll(7), "c")]), [by("b", 7)]);
        assert_eq!(run(&[(poll(7), "b"), (charge(Some(1), Some(7), 0), "a")]), [by("b", 7)]);
        // A server that gives all of them the same id is paid for each.
        let again = charge(Some(11), Some(7), 0);
        assert_eq!(run(&[(again.clone(), "a"), (again, "b")]), [by("a", 7), by("b", 7)]);
    }
}
