//! The figures of a row of `rollup`, in the order of its columns, and what is shown of them.

use crate::db::store::Row;
use crate::pricing::rates;
use serde_json::{Map, Value};

/// The columns that are sums.
const SUMS: [&str; 19] = [
    "requests",
    "attempts",
    "errors_client",
    "errors_gateway",
    "errors_limit",
    "errors_upstream",
    "errors_provider_4xx",
    "errors_provider_5xx",
    "cached",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "tokens_cache_write",
    "tokens_reasoning",
    "cost",
    "unpriced",
    "saved_cost",
    "duration_sum",
    "first_byte_sum",
];

/// The upper bounds of the buckets of times, in milliseconds; what is above them all has one more bucket. Each is at most
/// 1.5 times the one before it, and so is what a percentile can be off by.
pub const BOUNDS: [u64; 30] = [
    10, 15, 22, 33, 47, 68, 100, 150, 220, 330, 470, 680, 1_000, 1_500, 2_200, 3_300, 4_700, 6_800, 10_000, 15_000,
    22_000, 33_000, 47_000, 68_000, 100_000, 150_000, 220_000, 330_000, 470_000, 680_000,
];

pub const BUCKETS: usize = BOUNDS.len() + 1;

pub const LENGTH: usize = SUMS.len() + 2 * BUCKETS;

/// Those that are shown of times.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// Where the counts of durations begin among the figures, and those of times to the first byte.
pub const DURATIONS: usize = SUMS.len();
pub const FIRST_BYTES: usize = DURATIONS + BUCKETS;

/// The two histograms: their columns begin with these letters.
const HISTOGRAMS: [char; 2] = ['d', 'f'];

/// What requests add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures([f64; LENGTH]);

/// A sum, by its place among the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    Requests,
    Attempts,
    ByClient,
    ByGateway,
    ByLimit,
    ByUpstream,
    By4xx,
    By5xx,
    Cached,
    TokensIn,
    TokensOut,
    TokensCached,
    TokensCacheWrite,
    TokensReasoning,
    Cost,
    Unpriced,
    SavedCost,
    Durations,
    FirstBytes,
}

/// Which of the two times of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Duration,
    FirstByte,
}

/// The names of all columns that hold figures.
pub fn columns() -> Vec<String> {
    let mut names: Vec<String> = SUMS.iter().map(|&name| name.to_owned()).collect();
    for letter in HISTOGRAMS {
        names.extend((0..BUCKETS).map(|bucket| format!("{letter}{bucket}")));
    }
    names
}

/// No sum of costs is beyond this, in US dollars. What an older version counted beyond it was no cost.
const MAX_SUM: &str = "1e15";

/// SQL for the sum of a figure, which `value` yields. Not `sum`: that one ends with an error where whole numbers add up to more
/// than 64 bits.
pub fn summed(name: &str, value: &str) -> String {
    format!("total({})", sane(name, value))
}

/// SQL for a figure without what cannot be one.
pub fn sane(name: &str, value: &str) -> String {
    if name.ends_with("cost") { format!("iif(abs({value}) <= {MAX_SUM}, {value}, 0)") } else { value.to_owned() }
}

/// The columns of [`gathered`], and how many figures each has.
const GATHERED: [(&str, usize); 3] = [("sums", SUMS.len()), ("durations", BUCKETS), ("first_bytes", BUCKETS)];

/// SQL for the figures of many rows together, as columns that [`Figures::read`] takes: D1's functions have at most 32
/// arguments, and its rows cost memory by the column.
pub fn gathered() -> String {
    let names = columns();
    let mut rest = names.iter();
    let arrays = GATHERED.map(|(name, length)| {
        let sums: Vec<String> = rest.by_ref().take(length).map(|column| summed(column, column)).collect();
        format!("json_array({}) AS {name}", sums.join(", "))
    });
    arrays.join(", ")
}

// === impl Figures ===

impl Default for Figures {
    fn default() -> Self {
        Self([0.0; LENGTH])
    }
}

impl Figures {
    /// From a row with the columns of [`gathered`].
    pub fn read(row: &Row) -> Self {
        let mut figures = Self::default();
        let mut place = 0;
        for (name, length) in GATHERED {
            let text = row.get(name).and_then(Value::as_str).unwrap_or("");
            let values: Value = serde_json::from_str(text).unwrap_or_default();
            for (number, value) in values.as_array().into_iter().flatten().enumerate() {
                figures.add_at(place + number, value.as_f64().unwrap_or(0.0));
            }
            place += length;
        }
        figures
    }

    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    pub fn get(&self, sum: Sum) -> f64 {
        self.at(sum as usize)
    }

    pub fn add(&mut self, sum: Sum, value: f64) {
        self.add_at(sum as usize, value);
    }

    pub fn add_all(&mut self, other: &Self) {
        for (place, value) in other.iter().enumerate() {
            self.add_at(place, value);
        }
    }

    /// Adds a time in milliseconds.
    pub fn time(&mut self, time: Time, ms: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < ms);
        self.add_at(Sum::Durations as usize + time as usize, ms as f64);
        self.add_at(SUMS.len() + time as usize * BUCKETS + bucket, 1.0);
    }

    /// The row as charts are given it. Names come from the columns: a macro for each of them would weigh on the Worker.
    pub fn show(&self) -> Map<String, Value> {
        let (mut shown, mut layers, mut errors) = (Map::new(), Map::new(), 0);
        for (name, value) in SUMS.iter().zip(self.iter()) {
            if let Some(layer) = name.strip_prefix("errors_") {
                errors += value as i64;
                layers.insert(layer.to_owned(), Value::from(value as i64));
            } else if name.ends_with("cost") {
                shown.insert((*name).to_owned(), Value::from(rates::rounded(value)));
            } else if !name.ends_with("_sum") {
                shown.insert((*name).to_owned(), Value::from(value as i64));
            }
        }
        shown.insert("errors".to_owned(), Value::from(errors));
        shown.insert("errors_by_layer".to_owned(), Value::Object(layers));
        for (name, time) in [("duration", Time::Duration), ("first_byte", Time::FirstByte)] {
            shown.insert(name.to_owned(), Value::Object(self.times(time)));
        }
        shown
    }

    fn times(&self, time: Time) -> Map<String, Value> {
        let from = SUMS.len() + time as usize * BUCKETS;
        let counts = self.0.get(from..from + BUCKETS).unwrap_or_default();
        let count: f64 = counts.iter().sum();
        let sum = self.at(Sum::Durations as usize + time as usize);
        let mut shown = Map::new();
        shown.insert("count".to_owned(), Value::from(count as i64));
        shown.insert("avg".to_owned(), Value::from((count > 0.0).then(|| (sum / count).round() as i64)));
        for (name, share) in PERCENTILES {
            shown.insert(name.to_owned(), Value::from(percentile(counts, share)));
        }
        shown
    }

    fn at(&self, place: usize) -> f64 {
        self.0.get(place).copied().unwrap_or(0.0)
    }

    fn add_at(&mut self, place: usize, value: f64) {
        if let Some(own) = self.0.get_mut(place) {
            let sum = *own + value;
            if sum.is_finite() {
                *own = sum;
            }
        }
    }
}

/// The time in milliseconds that a share of all does not exceed, as if those of a bucket were spread evenly over it. In the
/// bucket above all bounds nothing is known but that they were exceeded.
fn percentile(counts: &[f64], share: f64) -> Option<i64> {
    let total: f64 = counts.iter().sum();
    let rank = total * share;
    let mut before = 0.0;
    let mut low = 0;
    for (place, count) in counts.iter().enumerate() {
        if *count > 0.0 && before + count >= rank {
            let high = BOUNDS.get(place).copied().unwrap_or(low);
            return Some((low as f64 + (high - low) as f64 * (rank - before) / count).round() as i64);
        }
        before += count;
        low = BOUNDS.get(place).copied().unwrap_or(low);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn every_sum_has_its_column() {
        let names = columns();
        assert_eq!(names.len(), LENGTH);
        assert_eq!(
            (names[Sum::Cost as usize].as_str(), names[Sum::SavedCost as usize].as_str()),
            ("cost", "saved_cost")
        );
        assert_eq!((SUMS[17], SUMS[18], Sum::SavedCost as usize), ("duration_sum", "first_byte_sum", 16));
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1] && pair[1] as f64 <= pair[0] as f64 * 1.5));
    }

    #[test]
    fn what_is_gathered_is_read() {
        let row = json!({ "sums": "[3,4]", "durations": "[0,2]", "first_bytes": "[1]" });
        let figures = Figures::read(row.as_object().unwrap());
        assert_eq!((figures.get(Sum::Requests), figures.get(Sum::Attempts)), (3.0, 4.0));
        assert_eq!(figures.show()["duration"]["count"], 2);
        assert_eq!(figures.show()["first_byte"]["count"], 1);
        let nothing = Figures::default().show();
        assert_eq!((&nothing["duration"]["p50"], &nothing["duration"]["avg"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn times_above_all_bounds_are_the_last_bound() {
        let mut figures = Figures::default();
        figures.time(Time::Duration, 3_600_000);
        assert_eq!(
            figures.show()["duration"],
            json!({ "count": 1, "avg": 3_600_000, "p50": 680_000, "p90": 680_000, "p95": 680_000, "p99": 680_000 })
        );
    }

    /// The smallest of the sorted times that the share of all does not exceed.
    fn exact(sorted: &[u64], share: f64) -> u64 {
        sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1]
    }

    proptest! {
        /// Whatever the times are, an estimate is within the bucket of the exact one.
        #[test]
        fn a_percentile_is_off_by_less_than_half(mut times in prop::collection::vec(0u64..700_000, 1..400), spread in 0u32..16) {
            let mut figures = Figures::default();
            times.iter_mut().for_each(|time| *time >>= spread);
            times.iter().for_each(|time| figures.time(Time::FirstByte, *time));
            times.sort_unstable();
            let shown = figures.show();
            for (name, share) in PERCENTILES {
                let (found, exact) = (shown["first_byte"][name].as_f64().unwrap(), exact(&times, share).min(680_000) as f64);
                let close = (found - exact).abs() <= 10.0;
                prop_assert!(close || (found <= exact * 1.5 + 1.0 && exact <= found * 1.5 + 1.0), "{name}: {found} {exact}");
            }
            prop_assert_eq!(&shown["first_byte"]["count"], &json!(times.len()));
        }
    }

    /// Of times as they are spread in practice (log-normal), the estimates are within a tenth.
    #[test]
    fn percentiles_of_usual_times_are_close() {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        let mut times: Vec<u64> = (0..20_000)
            .map(|_| {
                let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
                (1_200.0 * (0.8 * normal).exp()) as u64
            })
            .collect();
        let mut figures = Figures::default();
        times.iter().for_each(|time| figures.time(Time::Duration, *time));
        times.sort_unstable();
        let shown = figures.show();
        for (name, share) in PERCENTILES {
            let ratio = shown["duration"][name].as_f64().unwrap() / exact(&times, share) as f64;
            assert!((0.9..1.1).contains(&ratio), "{name}: {ratio}");
        }
    }
}
