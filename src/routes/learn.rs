//! Weights that follow what is known of the arms of a percentage. Thompson sampling: of each arm a value is drawn from what its
//! requests leave believable, and an arm gets the share of the draws in which it was the best.
//! <https://web.stanford.edu/~bvr/pubs/TS_Tutorial.pdf>

/// What an arm is good at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Thumbs up among thumbs.
    Feedback,
    /// The mean score that people gave; more is better.
    Score,
    /// US dollars a request; less is better.
    Cost,
    /// Milliseconds to the first byte; less is better.
    Latency,
    /// Requests that were answered.
    Success,
}

/// What is known of an arm within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    pub samples: u32,
    /// Of them, those that went well; for a goal that is a share.
    pub good: u32,
    /// The sum of their values, and of its squares; for a goal that is a mean.
    pub sum: f64,
    pub squares: f64,
}

/// An arm's weight, and between which values its goal is with nine chances in ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    pub weight: f64,
    pub low: f64,
    pub mean: f64,
    pub high: f64,
}

/// Draws of each arm.
const DRAWS: u32 = 1_000;

/// The normal distribution has a twentieth of its weight beyond.
const TWENTIETH: f64 = 1.644_853_6;

// === impl Goal ===

impl Goal {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "feedback" => Self::Feedback,
            "score" => Self::Score,
            "cost" => Self::Cost,
            "latency" => Self::Latency,
            "success" => Self::Success,
            _ => return None,
        })
    }

    fn is_share(self) -> bool {
        matches!(self, Self::Feedback | Self::Success)
    }

    fn less_is_better(self) -> bool {
        matches!(self, Self::Cost | Self::Latency)
    }
}

// === impl Known ===

impl Known {
    /// The mean of what is believable, and its deviation.
    fn believed(&self, goal: Goal) -> (f64, f64) {
        let samples = f64::from(self.samples);
        if goal.is_share() {
            // The mean and the deviation of a beta distribution that began as even.
            let (good, bad) = (f64::from(self.good) + 1.0, f64::from(self.samples.saturating_sub(self.good)) + 1.0);
            let whole = good + bad;
            return (good / whole, (good * bad / (whole * whole * (whole + 1.0))).sqrt());
        }
        if self.samples == 0 {
            return (0.0, 0.0);
        }
        let mean = self.sum / samples;
        let variance = (self.squares / samples - mean * mean).max(0.0);
        (mean, (variance / samples).sqrt())
    }
}

/// The weights of arms that were written with `written` ones, from what is known of each. The same `seed` gives the same weights.
/// Each arm keeps the floor, and until all of them have `least` samples the written weights hold.
pub fn weights(goal: Goal, known: &[Known], written: &[f64], floor: f64, least: u32, seed: u64) -> Vec<Belief> {
    let believed: Vec<(f64, f64)> = known.iter().map(|arm| arm.believed(goal)).collect();
    let wins = match known.iter().all(|arm| arm.samples >= least) {
        true => wins(goal, known, &believed, seed),
        false => written.to_vec(),
    };
    // What is above the floors is shared out as the draws say.
    let free = (1.0 - floor * known.len() as f64).max(0.0);
    let is_learned = known.iter().all(|arm| arm.samples >= least);
    let weight = |share: f64| if is_learned { floor + share * free } else { share };
    // No value is beyond what the goal can have, though the normal distribution goes on.
    let (least, most) = match goal {
        Goal::Feedback | Goal::Success => (0.0, 1.0),
        Goal::Cost | Goal::Latency => (0.0, f64::MAX),
        Goal::Score => (f64::MIN, f64::MAX),
    };
    let beliefs = believed.iter().zip(wins).map(|((mean, deviation), share)| Belief {
        weight: weight(share),
        low: (mean - TWENTIETH * deviation).max(least),
        mean: *mean,
        high: (mean + TWENTIETH * deviation).min(most),
    });
    beliefs.collect()
}

/// The share of draws in which each arm was the best.
fn wins(goal: Goal, known: &[Known], believed: &[(f64, f64)], seed: u64) -> Vec<f64> {
    let mut dice = Dice(seed);
    let mut wins = vec![0_u32; known.len()];
    for _ in 0..DRAWS {
        let mut best: Option<(usize, f64)> = None;
        for (arm, (known, (mean, deviation))) in known.iter().zip(believed).enumerate() {
            let drawn = match goal.is_share() {
                true => {
                    dice.beta(f64::from(known.good) + 1.0, f64::from(known.samples.saturating_sub(known.good)) + 1.0)
                }
                false => mean + deviation * dice.normal(),
            };
            let value = if goal.less_is_better() { -drawn } else { drawn };
            if best.is_none_or(|(_, most)| value > most) {
                best = Some((arm, value));
            }
        }
        if let Some(count) = best.and_then(|(arm, _)| wins.get_mut(arm)) {
            *count += 1;
        }
    }
    wins.into_iter().map(|count| f64::from(count) / f64::from(DRAWS)).collect()
}

/// The arm of a number from 0 to 1.
pub fn choose(weights: impl IntoIterator<Item = f64>, number: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (arm, weight) in weights.into_iter().enumerate() {
        sum += weight;
        if weight > 0.0 {
            last = arm;
            if number < sum {
                return arm;
            }
        }
    }
    last
}

/// Numbers that look random and come again with the same seed: SplitMix64.
pub struct Dice(pub u64);

// === impl Dice ===

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1.
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.part()).cos()
    }

    /// By two draws of the gamma distribution.
    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (a, b) = (self.gamma(a), self.gamma(b));
        a / (a + b)
    }

    /// Marsaglia and Tsang, for shapes of at least 1. <https://doi.org/10.1145/358407.358414>
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let normal = self.normal();
            let cube = (1.0 + c * normal).powi(3);
            if cube > 0.0 && (1.0 - self.part()).ln() < 0.5 * normal * normal + d - d * cube + d * cube.ln() {
                return d * cube;
            }
        }
    }
}

/// A number from 0 to 1 that is the same for the same text, by which a caller comes to the same arm again. The route's and the
/// element's names are part of it, so that two percentages do not split alike.
pub fn part_of(route: &str, element: &str, text: &str) -> f64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for byte in [route, "\0", element, "\0", text].iter().flat_map(|part| part.bytes()) {
        sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Dice(sum).part()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(goal: Goal, known: &[Known]) -> Vec<f64> {
        let written = vec![1.0 / known.len() as f64; known.len()];
        weights(goal, known, &written, 0.05, 20, 7).iter().map(|belief| belief.weight).collect()
    }

    #[test]
    fn the_better_arm_gets_most_and_the_worse_keeps_its_floor() {
        // Each request comes to an arm by its weight; the first arm answers well in 7 of 10, the other in 5 of 10.
        let chances = [0.7, 0.5];
        let mut known = [Known::default(); 2];
        let mut dice = Dice(42);
        let mut last = [0_u32; 2];
        let mut of = vec![0.5, 0.5];
        for request in 0..2_000_u32 {
            if request % 20 == 0 {
                of = shares(Goal::Success, &known);
            }
            assert!(of.iter().all(|weight| *weight >= 0.05 - 1e-9), "{of:?}");
            assert!((of.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{of:?}");
            let arm = choose(of.iter().copied(), dice.part());
            known[arm].samples += 1;
            known[arm].good += u32::from(dice.part() < chances[arm]);
            last[arm] += u32::from(request >= 1_500);
        }
        assert!(last[0] >= 400, "{last:?} of the last 500");
        assert!(last[1] > 0, "{last:?}");
    }

    #[test]
    fn written_weights_hold_until_every_arm_has_enough() {
        let known = [
            Known { samples: 1_000, good: 1_000, ..Known::default() },
            Known { samples: 19, good: 0, ..Known::default() },
        ];
        let beliefs = weights(Goal::Feedback, &known, &[0.1, 0.9], 0.05, 20, 1);
        assert_eq!(beliefs.iter().map(|belief| belief.weight).collect::<Vec<_>>(), [0.1, 0.9]);
        assert!(beliefs[0].low > beliefs[1].high, "{beliefs:?}");
    }

    #[test]
    fn an_interval_has_no_values_that_the_goal_cannot_have() {
        for good in [0, 1, 7] {
            let known = [Known { samples: 7, good, sum: 7.0, squares: 700.0 }];
            for goal in [Goal::Feedback, Goal::Success, Goal::Cost, Goal::Latency] {
                let Belief { low, mean, high, .. } = weights(goal, &known, &[1.0], 0.05, 5, 1)[0];
                assert!(0.0 <= low && low <= mean && mean <= high, "{goal:?} {low} {mean} {high}");
                assert!(!goal.is_share() || high <= 1.0, "{goal:?} {high}");
            }
        }
    }

    #[test]
    fn less_is_better_of_what_costs_and_one_seed_gives_one_answer() {
        let of = |mean: f64| Known { samples: 100, good: 0, sum: mean * 100.0, squares: (mean * mean + 0.01) * 100.0 };
        for goal in [Goal::Cost, Goal::Latency] {
            assert!(shares(goal, &[of(1.0), of(2.0)])[0] > 0.9);
        }
        assert!(shares(Goal::Score, &[of(1.0), of(2.0)])[1] > 0.9);
        let near = [of(1.0), of(1.001), of(0.999)];
        assert_eq!(shares(Goal::Score, &near), shares(Goal::Score, &near));
    }

    #[test]
    fn a_part_belongs_to_its_arm_and_callers_are_spread_evenly() {
        assert_eq!([0.0, 0.09, 0.1, 0.999_999, 1.0].map(|number| choose([0.1, 0.9, 0.0], number)), [0, 0, 1, 1, 1]);
        let hits = (0..10_000).filter(|caller| choose([0.1, 0.9], part_of("r", "p", &caller.to_string())) == 0).count();
        assert!((900..1_100).contains(&hits), "{hits}");
        assert_eq!(part_of("r", "p", "ann").to_bits(), part_of("r", "p", "ann").to_bits());
        assert_ne!(part_of("r", "p", "ann").to_bits(), part_of("r", "q", "ann").to_bits());
    }
}
