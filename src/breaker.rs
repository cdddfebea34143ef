//! Circuit breaking: a provider that failed again and again is left alone for a while, and then tried by one request.
//!
//! The circuits are in an isolate's memory. Each isolate finds out for itself, which costs some failures more and no
//! request a way to another place.

use serde_json::Value;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This many failures…
    pub failures: usize,
    /// …within so many milliseconds open the circuit…
    pub window_ms: u64,
    /// …for so many.
    pub cooldown_ms: u64,
}

/// (name in a gateway's settings, smallest, greatest). The times are in seconds.
pub const BOUNDS: [(&str, u64, u64); 3] = [("failures", 1, 100), ("window", 1, 3_600), ("cooldown", 1, 3_600)];

/// More circuits than this are not kept: the one that was quiet for the longest time makes room.
const MAX_CIRCUITS: usize = 500;

/// Statuses of a provider that is out of order. Not 429: it speaks of the caller's key, and others have other keys.
pub fn is_failure(status: u16) -> bool {
    status >= 500
}

/// What a circuit is for. Requests name the hosts of some providers, and nobody is to cut others off from a provider by
/// naming one that does not exist.
pub fn name(provider: &str, origin: &str) -> String {
    format!("{provider} {origin}")
}

/// The circuits of an isolate.
#[derive(Debug, Default)]
pub struct Breaker {
    circuits: Vec<Circuit>,
}

#[derive(Debug)]
struct Circuit {
    gateway: i64,
    provider: String,
    /// When the latest failures were, oldest first.
    failures: Vec<u64>,
    /// While the circuit is open: until when no request is let through. After that one is, and has this time set anew, so
    /// that no other follows before it is known how it ended.
    open_until: Option<u64>,
    used_at: u64,
}

// === impl Settings ===

impl Settings {
    /// Reads the setting as it is stored; `None` when there is to be no circuit.
    pub fn of(stored: &Value) -> Option<Self> {
        let [failures, window, cooldown] = BOUNDS.map(|(name, min, max)| {
            stored.get(name).and_then(Value::as_u64).filter(|number| (min..=max).contains(number))
        });
        Some(Self { failures: failures? as usize, window_ms: window? * 1_000, cooldown_ms: cooldown? * 1_000 })
    }
}

// === impl Breaker ===

impl Breaker {
    /// Whether a request might be sent; if not, in how many milliseconds the next one might.
    pub fn check(&mut self, gateway: i64, provider: &str, settings: Settings, now: u64) -> Result<(), u64> {
        let until = self.find(gateway, provider).and_then(|circuit| circuit.open_until).unwrap_or(0);
        // A cooldown that was shortened meanwhile holds at once.
        match until.min(now.saturating_add(settings.cooldown_ms)).checked_sub(now) {
            Some(left @ 1..) => Err(left),
            _ => Ok(()),
        }
    }

    /// Lets a request be sent, or does not, as `check` says. The one that is let through by an open circuit is its trial.
    pub fn admit(&mut self, gateway: i64, provider: &str, settings: Settings, now: u64) -> Result<(), u64> {
        self.check(gateway, provider, settings, now)?;
        if let Some(circuit) = self.find(gateway, provider).filter(|circuit| circuit.open_until.is_some()) {
            circuit.open_until = Some(now + settings.cooldown_ms);
            circuit.used_at = now;
        }
        Ok(())
    }

    /// Takes note of how a request ended. True when no other is to be sent for now.
    pub fn note(&mut self, gateway: i64, provider: &str, settings: Settings, failed: bool, now: u64) -> bool {
        if !failed {
            if let Some(circuit) = self.find(gateway, provider)
                && circuit.open_until.take().is_some()
            {
                circuit.failures.clear();
            }
            return false;
        }
        let circuit = self.at(gateway, provider, now);
        circuit.used_at = now;
        circuit.failures.push(now);
        circuit.failures.retain(|at| now.saturating_sub(*at) < settings.window_ms);
        // One trial that failed is enough to stay open.
        if circuit.failures.len() >= settings.failures || circuit.open_until.is_some() {
            circuit.failures.clear();
            circuit.open_until = Some(now + settings.cooldown_ms);
        }
        circuit.open_until.is_some()
    }

    fn find(&mut self, gateway: i64, provider: &str) -> Option<&mut Circuit> {
        self.circuits.iter_mut().find(|circuit| circuit.gateway == gateway && circuit.provider == provider)
    }

    fn at(&mut self, gateway: i64, provider: &str, now: u64) -> &mut Circuit {
        let known = self.circuits.iter().position(|known| known.gateway == gateway && known.provider == provider);
        let place = known.unwrap_or_else(|| {
            if self.circuits.len() >= MAX_CIRCUITS
                && let Some((quietest, _)) = self.circuits.iter().enumerate().min_by_key(|(_, circuit)| circuit.used_at)
            {
                self.circuits.swap_remove(quietest);
            }
            let provider = provider.to_owned();
            self.circuits.push(Circuit { gateway, provider, failures: Vec::new(), open_until: None, used_at: now });
            self.circuits.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "a circuit was found or made at this place")]
        &mut self.circuits[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SETTINGS: Settings = Settings { failures: 3, window_ms: 10_000, cooldown_ms: 30_000 };

    /// Notes an outcome and returns whether the circuit is open after it.
    fn note(breaker: &mut Breaker, failed: bool, now: u64) -> bool {
        breaker.note(1, "openai", SETTINGS, failed, now)
    }

    fn admits(breaker: &mut Breaker, now: u64) -> bool {
        breaker.admit(1, "openai", SETTINGS, now).is_ok()
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        assert_eq!([0, 1, 2].map(|now| note(&mut breaker, true, now)), [false, false, true]);
        breaker
    }

    #[test]
    fn settings_are_read_as_they_are_stored() {
        let stored = json!({ "failures": 3, "window": 10, "cooldown": 30 });
        assert_eq!(Settings::of(&stored), Some(SETTINGS));
        for wrong in [json!(null), json!({}), json!({ "failures": 0, "window": 10, "cooldown": 30 }), json!(5)] {
            assert_eq!(Settings::of(&wrong), None);
        }
    }

    #[test]
    fn failures_within_the_window_open_the_circuit_for_the_cooldown() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(1, "openai", SETTINGS, 10), Err(29_992));
        assert_eq!(breaker.admit(1, "openai", SETTINGS, 30_001), Err(1));
        assert!(breaker.admit(1, "groq", SETTINGS, 10).is_ok() && breaker.admit(2, "openai", SETTINGS, 10).is_ok());
    }

    #[test]
    fn a_host_that_a_request_names_has_a_circuit_of_its_own() {
        let url = |resource: &str| format!("https://{resource}.openai.azure.com/openai/deployments/d/chat/completions");
        let circuit = |resource: &str| name("azure-openai", crate::credential::origin(&url(resource)));
        let mut breaker = Breaker::default();
        for now in 0..3 {
            breaker.note(1, &circuit("nowhere"), SETTINGS, true, now);
        }
        assert!(breaker.check(1, &circuit("nowhere"), SETTINGS, 3).is_err());
        assert!(breaker.check(1, &circuit("ours"), SETTINGS, 3).is_ok());
    }

    #[test]
    fn failures_that_are_further_apart_do_not() {
        let mut breaker = Breaker::default();
        for now in [0, 5_000, 10_000, 15_000, 20_000] {
            assert!(!note(&mut breaker, true, now), "{now}");
        }
        // A success between failures does not hide them: a provider that fails every other time is out of order.
        assert!(!note(&mut breaker, false, 20_001));
        assert!(note(&mut breaker, true, 20_002));
    }

    #[test]
    fn after_the_cooldown_one_request_finds_out() {
        let mut breaker = opened();
        assert_eq!([30_002, 30_002].map(|now| breaker.check(1, "openai", SETTINGS, now)), [Ok(()), Ok(())]);
        assert!(admits(&mut breaker, 30_002));
        assert!(!admits(&mut breaker, 30_003), "one at a time");
        assert!(!note(&mut breaker, false, 30_004));
        assert!(admits(&mut breaker, 30_005) && admits(&mut breaker, 30_006));
        // Whatever was before is forgiven.
        assert!(!note(&mut breaker, true, 30_007));
    }

    #[test]
    fn a_trial_that_fails_opens_the_circuit_again() {
        let mut breaker = opened();
        assert!(admits(&mut breaker, 30_002));
        assert!(note(&mut breaker, true, 40_000));
        assert!(!admits(&mut breaker, 69_999));
        assert!(admits(&mut breaker, 70_000));
    }

    #[test]
    fn a_trial_of_which_nothing_is_heard_is_followed_by_another() {
        let mut breaker = opened();
        assert!(admits(&mut breaker, 30_002));
        assert!(!admits(&mut breaker, 60_001));
        assert!(admits(&mut breaker, 60_002));
    }

    #[test]
    fn a_shorter_cooldown_holds_at_once() {
        let mut breaker = opened();
        let shorter = Settings { cooldown_ms: 1_000, ..SETTINGS };
        assert_eq!(breaker.admit(1, "openai", shorter, 10), Err(1_000));
    }

    #[test]
    fn the_memory_is_bounded_and_the_quietest_goes() {
        let mut breaker = Breaker::default();
        for provider in 0..MAX_CIRCUITS + 10 {
            for now in 0..200 {
                breaker.note(1, &provider.to_string(), SETTINGS, true, provider as u64 * 1_000 + now);
            }
        }
        assert_eq!(breaker.circuits.len(), MAX_CIRCUITS);
        assert!(breaker.find(1, "9").is_none() && breaker.find(1, "10").is_some());
        assert!(breaker.circuits.iter().all(|circuit| circuit.failures.len() < SETTINGS.failures));
    }

    #[test]
    fn providers_that_are_limited_or_asked_wrongly_are_in_order() {
        for (status, wanted) in [(200, false), (404, false), (408, false), (429, false), (500, true), (529, true)] {
            assert_eq!(is_failure(status), wanted, "{status}");
        }
    }
}
