//! What an operator wants to be told of its limits before they stop a request.

use super::{Demand, Reading, Takes};

/// Who wants to be told, and at which shares of a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    pub account: String,
    /// The gateway's id.
    pub gateway: String,
    pub thresholds: Vec<f64>,
}

/// A share of a limit that has been used.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossed {
    pub threshold: f64,
    /// When the window began.
    pub window: u64,
    pub is_money: bool,
}

// === impl Watch ===

impl Watch {
    /// The shares that a counter has reached. A request that it refuses finds all of it used.
    pub fn crossed(&self, demand: &Demand, reading: &Reading, now: u64) -> Vec<Crossed> {
        let is_money = demand.takes != Takes::One;
        let used = if reading.retry_in_ms > 0 { demand.limit.max(reading.used) } else { reading.used };
        let share = used as f64 / demand.limit.max(1) as f64;
        let window = demand.window.start(now);
        // What was added up in money may lack the last billionth.
        let reached = self.thresholds.iter().filter(|threshold| share >= **threshold - 1e-9);
        reached.map(|threshold| Crossed { threshold: *threshold, window, is_money }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::window::{Technique, Window};

    #[test]
    fn each_share_that_was_reached_is_told_of() {
        let watch = Watch { account: String::new(), gateway: String::new(), thresholds: vec![0.8, 1.0] };
        let window = Window::seconds(60, Technique::Fixed);
        let demand = Demand { rule: "r".into(), part: String::new(), window, limit: 10, takes: Takes::One };
        let reached = |used, retry_in_ms| {
            let reading = Reading { used, retry_in_ms, ..Reading::default() };
            let crossed = watch.crossed(&demand, &reading, 61_000);
            assert!(crossed.iter().all(|crossed| crossed.window == 60_000 && !crossed.is_money));
            crossed.iter().map(|crossed| crossed.threshold).collect::<Vec<f64>>()
        };
        assert_eq!((reached(7, 0), reached(8, 0), reached(10, 0)), (vec![], vec![0.8], vec![0.8, 1.0]));
        assert_eq!(reached(9, 5), [0.8, 1.0]);
    }
}
