//! Counts as answers write them, and how two of them become one.

use serde_json::Value;

/// No answer has more tokens: what says so counts as unknown.
pub const MAX_COUNT: u64 = 1_000_000_000_000;

/// The later of two counts, if it says something: 0 and nothing do not take back what was counted.
pub fn latest(before: Option<u64>, later: Option<u64>) -> Option<u64> {
    match (before, later) {
        (Some(before), None | Some(0)) => Some(before),
        (before, later) => later.or(before),
    }
}

/// A whole number, however it is written: `12.0` is one.
pub fn whole(value: &Value) -> Option<u64> {
    let written = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(number));
    value.as_u64().or_else(|| written().map(|number| number as u64)).filter(|count| *count <= MAX_COUNT)
}

/// How many parts a number has that may not be whole, where so many parts are one.
pub fn parts(value: &Value, unit: u64) -> Option<u64> {
    let number = (value.as_f64()? * unit as f64).round();
    (0.0..=MAX_COUNT as f64).contains(&number).then_some(number as u64)
}

pub fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => a.checked_add(b),
        (a, b) => a.or(b),
    }
}
