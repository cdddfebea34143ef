//! A counter of money. Amounts are whole millionths of a millionth of a dollar, so that adding them up loses nothing.

use super::Reading;
use super::window::{Technique, Window};
use crate::base::json::json;
use crate::base::number;
use serde_json::Value;

/// What was spent in a fixed window and in the one before, and what is set aside for requests under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    start: u64,
    length: u64,
    current: u64,
    previous: u64,
    reserved: Vec<Reservation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reservation {
    id: String,
    amount: u64,
    until: u64,
}

/// An amount in the place of one that was counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub amount: u64,
    pub before: u64,
    /// When that was.
    pub at: u64,
}

/// How long something stays set aside for a request that never says what it cost, in milliseconds.
pub const RESERVATION_MS: u64 = 15 * 60 * 1_000;

/// How soon to try again when only requests under way are in the way.
const SOON_MS: u64 = 1_000;

const PER_DOLLAR: f64 = 1e12;

pub fn from_dollars(dollars: f64) -> u64 {
    // The cast turns what is no number, or below zero, into 0.
    (dollars * PER_DOLLAR).round() as u64
}

pub fn dollars(amount: u64) -> f64 {
    amount as f64 / PER_DOLLAR
}

/// To a billionth of a dollar.
pub fn text(amount: u64) -> String {
    number::text((dollars(amount) * 1e9).round() / 1e9)
}

// === impl Spent ===

impl Spent {
    pub fn read(value: &Value) -> Self {
        let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
        let reservation = |entry: &Value| {
            let id = entry.get(0)?.as_str()?.to_owned();
            Some(Reservation { id, amount: entry.get(1)?.as_u64()?, until: entry.get(2)?.as_u64()? })
        };
        let reserved = value.get("reserved").and_then(Value::as_array);
        Self {
            start: number("start"),
            length: number("length"),
            current: number("current"),
            previous: number("previous"),
            reserved: reserved.map(|all| all.iter().filter_map(reservation).collect()).unwrap_or_default(),
        }
    }

    pub fn to_json(&self) -> Value {
        let entry =
            |entry: &Reservation| Value::Array(vec![entry.id.as_str().into(), entry.amount.into(), entry.until.into()]);
        let reserved: Value = self.reserved.iter().map(entry).collect();
        json!({
            "start": self.start, "length": self.length, "current": self.current, "previous": self.previous,
            "reserved": reserved,
        })
    }

    pub fn reserve(&mut self, window: &Window, id: &str, amount: u64, now: u64) {
        self.roll(window, now);
        self.reserved.push(Reservation { id: id.to_owned(), amount, until: now.saturating_add(RESERVATION_MS) });
    }

    /// Puts what a request did cost in the place of what was set aside for it.
    pub fn settle(&mut self, window: &Window, id: &str, cost: u64, now: u64) {
        self.roll(window, now);
        self.reserved.retain(|entry| entry.id != id);
        self.current = self.current.saturating_add(cost);
    }

    /// Corrects what was counted. What was too much is given back where it was taken, as long as that window matters.
    pub fn correct(&mut self, window: &Window, change: Change, now: u64) {
        self.roll(window, now);
        self.current = self.current.saturating_add(change.amount.saturating_sub(change.before));
        let back = change.before.saturating_sub(change.amount);
        if change.at >= self.start {
            self.current = self.current.saturating_sub(back);
        } else if change.at >= self.start.saturating_sub(self.length) {
            self.previous = self.previous.saturating_sub(back);
        }
    }

    /// When nothing here matters any more.
    pub fn expires_at(&self, window: &Window) -> u64 {
        let spent = self.start.saturating_add(window.length_ms.saturating_mul(2));
        self.reserved.iter().map(|entry| entry.until).fold(spent, u64::max)
    }

    pub fn reading(&self, window: &Window, limit: u64, wants: u64, now: u64) -> Reading {
        let mut here = self.clone();
        here.roll(window, now);
        let used = here.spent(window, now);
        let reserved = here.reserved.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.amount));
        // A request that is free, or not told the price of, needs a limit that is not used up.
        let wants = wants.max(1);
        let remaining = limit.saturating_sub(used).saturating_sub(reserved);
        let resets_in_ms = window.left(now);
        let retry_in_ms = if remaining >= wants {
            0
        } else {
            limit.checked_sub(wants).map_or(window.length_ms, |allowance| here.free_in(window, allowance, now))
        };
        Reading { used, reserved, remaining, resets_in_ms, retry_in_ms }
    }

    /// Moves on to the window that it is now.
    fn roll(&mut self, window: &Window, now: u64) {
        let (start, length) = (window.start(now), window.length_ms);
        self.reserved.retain(|entry| entry.until > now);
        if self.length != length {
            // A rule that was given another window keeps what it counted lately.
            if now.saturating_sub(self.start) >= self.length.max(length) {
                self.current = 0;
            }
            (self.start, self.length, self.previous) = (start, length, 0);
        } else if start > self.start {
            let follows = start - self.start == length;
            self.previous = if follows { self.current } else { 0 };
            (self.start, self.current) = (start, 0);
        }
    }

    /// What counts as spent: under a sliding window, what was spent in the last fixed one counts by as much of it as the
    /// sliding one still covers.
    fn spent(&self, window: &Window, now: u64) -> u64 {
        match window.technique {
            Technique::Fixed | Technique::Week | Technique::Month => self.current,
            Technique::Sliding => self.current.saturating_add(part(self.previous, window.left(now), window.length_ms)),
        }
    }

    /// How long until no more than `allowance` counts as spent.
    fn free_in(&self, window: &Window, allowance: u64, now: u64) -> u64 {
        let left = window.left(now);
        if self.spent(window, now) <= allowance {
            return SOON_MS;
        }
        // What of a sum may still be covered when it has shrunk to `allowance`; one more millisecond makes up for rounding.
        let shrunk = |sum: u64, allowance: u64| part(window.length_ms, allowance, sum.max(1)).saturating_sub(1);
        match window.technique {
            Technique::Fixed | Technique::Week | Technique::Month => left,
            Technique::Sliding if self.current <= allowance => {
                left.saturating_sub(shrunk(self.previous, allowance - self.current)).max(1)
            }
            Technique::Sliding => {
                left.saturating_add(window.length_ms - shrunk(self.current, allowance).min(window.length_ms))
            }
        }
    }
}

/// `whole` × `numerator` ÷ `denominator`.
fn part(whole: u64, numerator: u64, denominator: u64) -> u64 {
    let part = u128::from(whole) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIXED: Window = Window { length_ms: 60_000, technique: Technique::Fixed };
    const SLIDING: Window = Window { length_ms: 60_000, technique: Technique::Sliding };

    fn spent(amounts: &[(u64, u64)]) -> Spent {
        let mut spent = Spent::default();
        for (now, amount) in amounts {
            spent.settle(&FIXED, "", *amount, *now);
        }
        Spent::read(&spent.to_json())
    }

    #[test]
    fn a_fixed_window_forgets_at_its_end() {
        let spent = spent(&[(60_000, 70), (90_000, 30)]);
        assert_eq!(
            spent.reading(&FIXED, 100, 0, 119_999),
            Reading { used: 100, reserved: 0, remaining: 0, resets_in_ms: 1, retry_in_ms: 1 }
        );
        assert_eq!(spent.reading(&FIXED, 100, 0, 120_000).used, 0);
        assert_eq!(spent.reading(&FIXED, 101, 0, 119_999).retry_in_ms, 0);
    }

    #[test]
    fn a_sliding_window_weighs_the_one_before() {
        // As measured of the original: 0.00252 spent, a limit of 0.002, let in again with 47 of 60 seconds left.
        let spent = spent(&[(60_000, from_dollars(0.00252))]);
        let limit = from_dollars(0.002);
        let refused = spent.reading(&SLIDING, limit, 0, 100_000);
        assert!(refused.retry_in_ms > 20_000);
        assert!(spent.reading(&SLIDING, limit, 0, 180_000 - 48_000).retry_in_ms > 0);
        assert_eq!(spent.reading(&SLIDING, limit, 0, 180_000 - 47_000).retry_in_ms, 0);
        assert_eq!(spent.reading(&SLIDING, limit, 0, 180_000).used, 0);
    }

    #[test]
    fn what_is_set_aside_counts_until_it_is_settled_or_given_up() {
        let mut spent = Spent::default();
        for n in 0..4 {
            assert_eq!(spent.reading(&FIXED, 100, 25, 60_000).retry_in_ms, 0, "{n}");
            spent.reserve(&FIXED, &n.to_string(), 25, 60_000);
        }
        let full = Reading { used: 0, reserved: 100, remaining: 0, resets_in_ms: 60_000, retry_in_ms: SOON_MS };
        assert_eq!(spent.reading(&FIXED, 100, 25, 60_000), full);
        spent.settle(&FIXED, "2", 10, 60_001);
        let settled = spent.reading(&FIXED, 100, 15, 60_001);
        assert_eq!((settled.used, settled.reserved, settled.remaining, settled.retry_in_ms), (10, 75, 15, 0));
        // A second settlement, as of a retried request, adds and releases nothing else.
        spent.settle(&FIXED, "2", 1, 60_002);
        assert_eq!(spent.reading(&FIXED, 100, 0, 60_002).remaining, 14);
        let later = spent.reading(&FIXED, 100, 0, 60_000 + RESERVATION_MS);
        assert_eq!((later.used, later.reserved), (0, 0));
        assert!(spent.expires_at(&FIXED) >= 60_000 + RESERVATION_MS);
    }

    #[test]
    fn more_than_the_limit_is_never_let_in() {
        let reading = Spent::default().reading(&SLIDING, 100, 101, 60_000);
        assert_eq!((reading.remaining, reading.retry_in_ms), (100, 60_000));
    }

    #[test]
    fn a_rule_with_another_window_keeps_what_it_counted_lately() {
        let spent = spent(&[(60_000, 70)]);
        let hour = Window { length_ms: 3_600_000, technique: Technique::Fixed };
        assert_eq!(spent.reading(&hour, 100, 0, 90_000).used, 70);
        assert_eq!(spent.reading(&Window { length_ms: 1_000, ..FIXED }, 100, 0, 60_500).used, 70);
        assert_eq!(spent.reading(&hour, 100, 0, 60_000 + 3_600_000).used, 0);
    }

    #[test]
    fn dollars_are_kept_exactly_and_shown_shortly() {
        assert_eq!((from_dollars(0.1) * 10, from_dollars(1.0)), (1_000_000_000_000, 1_000_000_000_000));
        assert_eq!((from_dollars(-1.0), from_dollars(f64::NAN)), (0, 0));
        assert_eq!(
            (text(from_dollars(0.00125)), text(from_dollars(3.0)), text(0)),
            ("0.00125".into(), "3".into(), "0".into())
        );
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_is_let_in(
            spends in prop::collection::vec((0u64..50_000, 1u64..1_000), 1..40), limit in 1u64..2_000, wants in 0u64..50, fixed: bool,
        ) {
            let window = if fixed { FIXED } else { SLIDING };
            let mut state = Spent::default();
            let mut now = 1_000_000;
            for (step, cost) in spends {
                now += step;
                let reading = state.reading(&window, limit, wants, now);
                if reading.retry_in_ms == 0 {
                    prop_assert!(reading.used + wants <= limit);
                    state.settle(&window, "", cost, now);
                } else if wants.max(1) <= limit {
                    prop_assert_eq!(state.reading(&window, limit, wants, now + reading.retry_in_ms).retry_in_ms, 0);
                }
            }
        }

        #[test]
        fn with_reservations_a_limit_holds_in_any_order(
            steps in prop::collection::vec((0u64..5_000, 0usize..20, any::<bool>()), 1..200), limit in 1u64..500, wants in 1u64..50,
        ) {
            // Each costs exactly what was set aside: then no fixed window can ever hold more than the limit.
            let mut state = Spent::default();
            let mut now = 1_000_000;
            let mut open: Vec<String> = Vec::new();
            for (n, (step, which, settles)) in steps.into_iter().enumerate() {
                now += step;
                if settles && which < open.len() {
                    state.settle(&FIXED, &open.remove(which), wants, now);
                } else if state.reading(&FIXED, limit, wants, now).retry_in_ms == 0 {
                    state.reserve(&FIXED, &n.to_string(), wants, now);
                    open.push(n.to_string());
                }
                let reading = state.reading(&FIXED, limit, 0, now);
                prop_assert!(reading.used + reading.reserved <= limit);
            }
        }

        #[test]
        fn any_state_is_read_without_harm(start: u64, length: u64, current: u64, previous: u64, now: u64, limit: u64) {
            let value = json!({ "start": start, "length": length, "current": current, "previous": previous, "reserved": [["a", current, now], 5] });
            let mut state = Spent::read(&value);
            for window in [FIXED, SLIDING, Window { length_ms: length.max(1), ..SLIDING }] {
                let _ = (state.reading(&window, limit, current, now), state.expires_at(&window));
            }
            state.settle(&SLIDING, "a", u64::MAX, now);
        }
    }
}
