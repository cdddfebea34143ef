//! Sums that grow slice by slice, and the figures they give, each with a 95 % confidence interval.

use super::keyed::Keyed;
use super::{Figure, Metric, Timing};
use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// Count, sum and sum of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    pub n: f64,
    pub sum: f64,
    pub squares: f64,
}

/// Cost and thumbs-up of the same logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pairs {
    pub n: f64,
    pub cost: f64,
    pub cost_squares: f64,
    pub ups: f64,
    pub cost_of_ups: f64,
}

/// How many logs took how long. Times from a second on are kept to three digits, so that their number stays small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram(pub Keyed<u64, u64>);

/// A figure, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The logs behind it.
    pub n: u64,
    /// `None` without any log to measure.
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
}

/// All that the figures of one group of logs need. Keys are those of [`key`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub logs: u64,
    pub sums: Keyed<String, Sums>,
    pub histograms: Keyed<String, Histogram>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Pairs>,
}

/// SQL that brings a time to the form of [`Histogram`].
pub fn bucket_sql(timing: Timing) -> String {
    let t = timing.sql();
    format!(
        "CASE WHEN {t} < 1000 THEN {t} WHEN {t} < 10000 THEN {t} / 10 * 10 WHEN {t} < 100000 THEN {t} / 100 * 100 \
         WHEN {t} < 1000000 THEN {t} / 1000 * 1000 ELSE {t} / 10000 * 10000 END"
    )
}

// === impl Tally ===

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.logs += other.logs;
        for (key, sums) in other.sums.iter() {
            self.sums.at(key.clone()).add(sums);
        }
        for (key, histogram) in other.histograms.iter() {
            let own = self.histograms.at(key.clone());
            for (time, n) in histogram.0.iter() {
                *own.0.at(*time) += n;
            }
        }
        if let Some(pairs) = &other.pairs {
            self.pairs.get_or_insert_default().add(pairs);
        }
    }

    /// The figure that an evaluator with this id shows of the group.
    pub fn figure(&self, id: &str, figure: &Figure) -> Measured {
        match figure {
            Figure::Mean(metric) => {
                let mut mean = self.sums.get(&id.to_owned()).copied().unwrap_or_default().mean();
                // Of what cannot be negative the mean cannot be either; feedback can.
                if let (Some((low, _)), false) = (&mut mean.interval, matches!(metric, Metric::Feedback(_))) {
                    *low = low.max(0.0);
                }
                mean
            }
            Figure::Share(_) => self.sums.get(&id.to_owned()).copied().unwrap_or_default().share(),
            Figure::Percentile(timing, p) => {
                self.histograms.get(&timing.sql().to_owned()).cloned().unwrap_or_default().percentile(*p)
            }
            Figure::CostPerThumbsUp => self.pairs.unwrap_or_default().ratio(),
        }
    }
}

// === impl Sums ===

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Of several groups together.
    pub fn of<'a>(groups: impl Iterator<Item = &'a Self>) -> Self {
        groups.fold(Self::default(), |mut whole, sums| {
            whole.add(sums);
            whole
        })
    }

    pub fn push(&mut self, value: f64) {
        self.add(&Self { n: 1.0, sum: value, squares: value * value });
    }

    pub fn mean(self) -> Measured {
        if self.n == 0.0 {
            return Measured::nothing();
        }
        let mean = self.sum / self.n;
        let interval = (self.n > 1.0).then(|| {
            let variance = ((self.squares - self.sum * mean) / (self.n - 1.0)).max(0.0);
            let half = Z * (variance / self.n).sqrt();
            (mean - half, mean + half)
        });
        Measured { n: self.n as u64, value: Some(mean), interval }
    }

    /// A share in percent of values that are 0 or 1, with Wilson's interval, which holds for few logs as well.
    pub fn share(self) -> Measured {
        if self.n == 0.0 {
            return Measured::nothing();
        }
        let (n, share) = (self.n, self.sum / self.n);
        let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let interval = Some(((middle - half).max(0.0) * 100.0, (middle + half).min(1.0) * 100.0));
        Measured { n: n as u64, value: Some(share * 100.0), interval }
    }
}

// === impl Pairs ===

impl Pairs {
    pub fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.cost += other.cost;
        self.cost_squares += other.cost_squares;
        self.ups += other.ups;
        self.cost_of_ups += other.cost_of_ups;
    }

    /// Cost over thumbs-up, with the usual interval of a ratio of means.
    fn ratio(self) -> Measured {
        if self.ups == 0.0 {
            return Measured { n: self.n as u64, ..Measured::nothing() };
        }
        let ratio = self.cost / self.ups;
        let interval = (self.n > 1.0).then(|| {
            let rest = self.cost_squares - 2.0 * ratio * self.cost_of_ups + ratio * ratio * self.ups;
            let half = Z * (rest.max(0.0) / (self.n - 1.0) * self.n).sqrt() / self.ups;
            ((ratio - half).max(0.0), ratio + half)
        });
        Measured { n: self.n as u64, value: Some(ratio), interval }
    }
}

// === impl Histogram ===

impl Histogram {
    /// The smallest time that a share `p` of the logs did not exceed, with the interval of the order statistics.
    fn percentile(&self, p: f64) -> Measured {
        let n: u64 = self.0.values().sum();
        if n == 0 {
            return Measured::nothing();
        }
        let count = n as f64;
        let spread = Z * (count * p * (1.0 - p)).sqrt();
        let at = |rank: f64| self.ranked(rank.clamp(1.0, count) as u64) as f64;
        let interval = (n > 1).then(|| (at((count * p - spread).floor()), at((count * p + spread).ceil() + 1.0)));
        Measured { n, value: Some(at((count * p).ceil())), interval }
    }

    /// The time of the log with this rank, counted from 1.
    fn ranked(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for (time, n) in self.0.iter() {
            seen += n;
            if seen >= rank {
                return *time;
            }
        }
        0
    }
}

// === impl Measured ===

impl Measured {
    fn nothing() -> Self {
        Self { n: 0, value: None, interval: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(values: &[f64]) -> Sums {
        let mut sums = Sums::default();
        values.iter().for_each(|value| sums.push(*value));
        sums
    }

    fn close(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() < 1e-3
    }

    #[test]
    fn means_have_the_usual_interval() {
        let measured = sums(&[1.0, 2.0, 3.0, 4.0]).mean();
        let (low, high) = measured.interval.unwrap();
        assert!(measured.n == 4 && measured.value == Some(2.5) && close(low, 1.2348) && close(high, 3.7652));
        assert_eq!(sums(&[5.0]).mean(), Measured { n: 1, value: Some(5.0), interval: None });
        assert_eq!(sums(&[]).mean(), Measured::nothing());
    }

    #[test]
    fn shares_have_wilsons_interval() {
        // 8 of 10: 49.02 % to 94.33 %.
        let measured = sums(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]).share();
        let (low, high) = measured.interval.unwrap();
        assert!(close(measured.value.unwrap(), 80.0) && close(low, 49.0162) && close(high, 94.3318), "{low} {high}");
        assert_eq!(sums(&[0.0]).share().value, Some(0.0));
    }

    #[test]
    fn a_ratio_needs_a_thumb() {
        let pairs = Pairs { n: 4.0, cost: 0.4, cost_squares: 0.04, ups: 2.0, cost_of_ups: 0.2 };
        assert!(close(pairs.ratio().value.unwrap(), 0.2));
        assert_eq!(Pairs { ups: 0.0, ..pairs }.ratio(), Measured { n: 4, value: None, interval: None });
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_list(mut times in prop::collection::vec(0u64..1_000, 1..200), p in 0.01f64..0.999) {
            let mut histogram = Histogram::default();
            times.iter().for_each(|time| *histogram.0.at(*time) += 1);
            times.sort_unstable();
            let rank = (times.len() as f64 * p).ceil() as usize;
            let measured = histogram.percentile(p);
            prop_assert_eq!(measured.value, Some(times[rank - 1] as f64));
            if let Some((low, high)) = measured.interval {
                prop_assert!(low <= measured.value.unwrap() && measured.value.unwrap() <= high);
            }
        }

        #[test]
        fn slices_add_up(left in prop::collection::vec(0.0f64..100.0, 0..20), right in prop::collection::vec(0.0f64..100.0, 0..20)) {
            let mut both = sums(&left);
            both.add(&sums(&right));
            let whole = sums(&[left, right].concat());
            prop_assert!(close(both.sum, whole.sum) && both.n == whole.n && (both.squares - whole.squares).abs() < 1e-6);
        }
    }
}
