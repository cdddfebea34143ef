//! A counter of requests. One log serves both techniques, so that changing a rule's technique or interval keeps what was
//! counted.

use super::Reading;
use super::window::{Technique, Window};
use serde_json::Value;

/// Admitted requests, oldest first. An entry stands for some of them, none of which came later than its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(u64, u64)>);

/// Up to so many requests of a window have an entry each. More are put together by the window's 64th parts: a request then
/// counts up to a 64th of the window longer than it would have to, and never less.
const EXACT: usize = 64;

// === impl Counts ===

impl Counts {
    pub fn read(value: &Value) -> Self {
        let entry = |entry: &Value| Some((entry.get(0)?.as_u64()?, entry.get(1)?.as_u64()?));
        Self(value.as_array().map(|entries| entries.iter().filter_map(entry).collect()).unwrap_or_default())
    }

    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(at, n)| Value::Array(vec![(*at).into(), (*n).into()])).collect()
    }

    /// Counts a request.
    pub fn take(&mut self, window: &Window, now: u64) {
        self.0.retain(|(at, _)| is_inside(window, *at, now));
        self.0.push((now, 1));
        let slot = if self.0.len() > EXACT { (window.length_ms / EXACT as u64).max(1) } else { 1 };
        let mut kept: Vec<(u64, u64)> = Vec::with_capacity(self.0.len());
        for (at, n) in self.0.drain(..) {
            match kept.last_mut() {
                Some(last) if last.0 / slot == at / slot => *last = (at.max(last.0), last.1.saturating_add(n)),
                _ => kept.push((at, n)),
            }
        }
        self.0 = kept;
    }

    pub fn reading(&self, window: &Window, limit: u64, now: u64) -> Reading {
        let inside = || self.0.iter().filter(|(at, _)| is_inside(window, *at, now));
        let used = inside().fold(0u64, |sum, (_, n)| sum.saturating_add(*n));
        let free_at = |at: u64| at.saturating_add(window.length_ms).saturating_sub(now).max(1);
        let resets_in_ms = match window.technique {
            Technique::Fixed | Technique::Week | Technique::Month => window.left(now),
            Technique::Sliding => inside().next().map_or(window.length_ms, |(at, _)| free_at(*at)),
        };
        let retry_in_ms = match window.technique {
            _ if used < limit => 0,
            Technique::Fixed | Technique::Week | Technique::Month => window.left(now),
            Technique::Sliding => {
                let mut left = used;
                let freed = inside().find(|(_, n)| {
                    left = left.saturating_sub(*n);
                    left < limit
                });
                freed.map_or(window.length_ms, |(at, _)| free_at(*at))
            }
        };
        Reading { used, reserved: 0, remaining: limit.saturating_sub(used), resets_in_ms, retry_in_ms }
    }
}

/// Times after `now` are inside: clocks of different machines differ, and a counter must not be emptied by that.
fn is_inside(window: &Window, at: u64, now: u64) -> bool {
    match window.technique {
        Technique::Fixed | Technique::Week | Technique::Month => at >= window.start(now),
        Technique::Sliding => at.saturating_add(window.length_ms) > now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000;

    fn window(length_ms: u64, technique: Technique) -> Window {
        Window { length_ms, technique }
    }

    /// The times at which requests were let in.
    fn admitted(window: &Window, limit: u64, times: &[u64]) -> Vec<u64> {
        let mut counts = Counts::default();
        times
            .iter()
            .copied()
            .filter(|now| {
                // As after an eviction.
                counts = Counts::read(&counts.to_json());
                let admitted = counts.reading(window, limit, *now).retry_in_ms == 0;
                if admitted {
                    counts.take(window, *now);
                }
                admitted
            })
            .collect()
    }

    #[test]
    fn ten_before_and_ten_after_a_boundary_pass_a_fixed_window_only() {
        let at = |minute: u64| 12 * 60 * MINUTE + minute * MINUTE;
        let times: Vec<u64> = [at(9), at(11)].into_iter().flat_map(|start| (0..10).map(move |n| start + n)).collect();
        assert_eq!(admitted(&window(10 * MINUTE, Technique::Fixed), 10, &times).len(), 20);
        assert_eq!(admitted(&window(10 * MINUTE, Technique::Sliding), 10, &times).len(), 10);
    }

    #[test]
    fn a_reading_tells_when_to_come_again() {
        let (fixed, sliding) = (window(1_000, Technique::Fixed), window(1_000, Technique::Sliding));
        let mut counts = Counts::default();
        for now in [10_100, 10_300] {
            counts.take(&sliding, now);
        }
        let wanted =
            |resets_in_ms, retry_in_ms| Reading { used: 2, reserved: 0, remaining: 0, resets_in_ms, retry_in_ms };
        assert_eq!(counts.reading(&fixed, 2, 10_400), wanted(600, 600));
        assert_eq!(counts.reading(&sliding, 2, 10_400), wanted(700, 700));
        // Two places have to become free when the limit was lowered meanwhile.
        assert_eq!(counts.reading(&sliding, 1, 10_400), wanted(700, 900));
        assert_eq!(counts.reading(&sliding, 2, 11_099).retry_in_ms, 1);
        assert_eq!(counts.reading(&sliding, 2, 11_100).retry_in_ms, 0);
        assert_eq!(
            counts.reading(&fixed, 2, 11_000),
            Reading { remaining: 2, resets_in_ms: 1_000, ..Reading::default() }
        );
        assert_eq!(Counts::default().reading(&sliding, 2, 5).resets_in_ms, 1_000);
    }

    #[test]
    fn a_change_of_technique_keeps_what_was_counted() {
        let mut counts = Counts::default();
        for n in 0..5 {
            counts.take(&window(MINUTE, Technique::Fixed), 90 * MINUTE + n);
        }
        assert_eq!(counts.reading(&window(MINUTE, Technique::Sliding), 5, 90 * MINUTE + 10).used, 5);
        assert_eq!(counts.reading(&window(10 * MINUTE, Technique::Fixed), 5, 90 * MINUTE + 10).used, 5);
    }

    #[test]
    fn many_requests_take_little_room() {
        for technique in [Technique::Fixed, Technique::Sliding] {
            let mut counts = Counts::default();
            for n in 0..10_000 {
                counts.take(&window(MINUTE, technique), MINUTE + n * 5);
            }
            assert!(counts.0.len() <= EXACT + 1, "{}", counts.0.len());
            assert_eq!(counts.reading(&window(MINUTE, technique), 1, MINUTE + 50_000).used, 10_000);
        }
    }

    #[test]
    fn a_clock_that_goes_back_frees_nothing() {
        for technique in [Technique::Fixed, Technique::Sliding] {
            let mut counts = Counts::default();
            counts.take(&window(MINUTE, technique), 10 * MINUTE);
            counts.take(&window(MINUTE, technique), 8 * MINUTE);
            assert_eq!(counts.reading(&window(MINUTE, technique), 2, 8 * MINUTE).used, 2);
        }
    }

    proptest! {
        #[test]
        fn no_window_ever_has_more_than_its_limit(
            steps in prop::collection::vec(0u64..400, 1..400), limit in 1u64..150, length in 1u64..5_000, fixed: bool,
        ) {
            let mut now = 1_000_000;
            let times: Vec<u64> = steps.iter().map(|step| { now += step; now }).collect();
            let window = window(length, if fixed { Technique::Fixed } else { Technique::Sliding });
            let let_in = admitted(&window, limit, &times);
            for at in &let_in {
                let within = |other: &u64| match window.technique {
                    Technique::Fixed | Technique::Week | Technique::Month => window.start(*other) == window.start(*at),
                    Technique::Sliding => *other <= *at && other + length > *at,
                };
                prop_assert!(let_in.iter().filter(|other| within(other)).count() as u64 <= limit);
            }
            // And none is kept out for nothing: the first ones always pass, and all of a window that is not full.
            prop_assert!(let_in.len() as u64 >= limit.min(times.len() as u64));
        }

        #[test]
        fn whoever_waits_as_told_is_let_in(
            steps in prop::collection::vec(0u64..400, 1..200), limit in 1u64..100, length in 1u64..5_000, fixed: bool,
        ) {
            let window = window(length, if fixed { Technique::Fixed } else { Technique::Sliding });
            let mut counts = Counts::default();
            let mut now = 1_000_000;
            for step in steps {
                now += step;
                match counts.reading(&window, limit, now).retry_in_ms {
                    0 => counts.take(&window, now),
                    wait => {
                        prop_assert!(counts.reading(&window, limit, now + wait).retry_in_ms == 0);
                        prop_assert!(counts.reading(&window, limit, now + wait - 1).retry_in_ms > 0);
                    }
                }
            }
        }

        #[test]
        fn any_state_is_read_without_harm(text in "\\PC{0,40}") {
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let _ = Counts::read(&value).reading(&window(1, Technique::Fixed), 1, u64::MAX);
        }
    }
}
