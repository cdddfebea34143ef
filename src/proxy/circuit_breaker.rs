//! Circuit breaking: a provider that failed again and again is left alone for a while, and then tried by one request.
//!
//! The circuits are in an isolate's memory. Each isolate finds out for itself, which costs some failures more and no
//! request a way to another place.

use crate::base::json::json;
use crate::base::timestamp;
use crate::gateways::settings::{CIRCUIT_BOUNDS, TIMEOUT_FLOOR};
use crate::providers::address;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This many failures…
    pub failures: usize,
    /// …within so many milliseconds open the circuit…
    pub window_ms: u64,
    /// …for so many.
    pub cooldown_ms: u64,
    /// Of a provider that was given less time than this, a request that ran out of it says nothing.
    pub timeout_floor_ms: u64,
}

/// How a request ended, as far as that speaks of its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was an answer.
    Answered,
    /// The provider was not reached.
    Unreached,
    /// It answered with a fault of its own, or took too long, where it is known to work.
    Failed,
    /// The same, for something that may be of this caller's making: it takes another one to believe it.
    Doubtful { caller: u64 },
    /// Its caller ended it.
    Unknown,
}

const DEFAULT_FLOOR_MS: u64 = 10_000;

/// Doubtful failures that are kept of a circuit.
const MAX_DOUBTFUL: usize = 200;

/// More circuits than this are not kept: the one that was quiet for the longest time makes room.
const MAX_CIRCUITS: usize = 500;

/// More of a gateway's circuits than this are not shown.
const MAX_SHOWN: usize = 50;

/// Statuses of a provider that is out of order. Not 429: it speaks of the caller's key, and others have other keys.
pub fn is_failure(status: u16) -> bool {
    status >= 500
}

/// What a circuit is for. Requests name the hosts of some providers, and no caller may cut others off from a provider by
/// naming one that does not exist.
pub fn name(provider: &str, origin: &str) -> String {
    format!("{provider} {origin}")
}

/// What tells callers apart: who has a token by that, all others by the network they are in. Where that is unknown they are
/// one. `network` has to be what the connection says, for a request could name any.
pub fn caller(identity: Option<&str>, network: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let network = network.filter(|_| identity.is_none()).and_then(address::network);
    (identity, network).hash(&mut hasher);
    hasher.finish()
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
    /// Failures that may be of their callers' making: when, and whose.
    doubtful: Vec<(u64, u64)>,
    /// True while the request is under way that finds out how the provider is.
    is_on_trial: bool,
    /// While the circuit is open: until when no request is let through. After that one is, and has this time set anew, so
    /// that no other follows before it is known how it ended.
    open_until: Option<u64>,
    used_at: u64,
}

// === impl Settings ===

impl Settings {
    /// Reads the setting as it is stored; `None` when there is to be no circuit.
    pub fn of(stored: &Value) -> Option<Self> {
        let number = |(name, min, max): (&str, u64, u64)| {
            stored.get(name).and_then(Value::as_u64).filter(|number| (min..=max).contains(number))
        };
        let [failures, window, cooldown] = CIRCUIT_BOUNDS.map(number);
        Some(Self {
            failures: failures? as usize,
            window_ms: window? * 1_000,
            cooldown_ms: cooldown? * 1_000,
            timeout_floor_ms: number(TIMEOUT_FLOOR).map_or(DEFAULT_FLOOR_MS, |seconds| seconds * 1_000),
        })
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
            circuit.is_on_trial = true;
            circuit.used_at = now;
        }
        Ok(())
    }

    /// Takes note of how a request ended. True when no other is to be sent for now.
    pub fn note(&mut self, gateway: i64, provider: &str, settings: Settings, end: End, now: u64) -> bool {
        if matches!(end, End::Answered | End::Unknown) {
            let Some(circuit) = self.find(gateway, provider) else { return false };
            if end == End::Unknown {
                circuit.waive(now);
            } else if circuit.open_until.take().is_some() {
                circuit.close();
            }
            return circuit.open_until.is_some_and(|until| until > now);
        }
        let circuit = self.at(gateway, provider, now);
        circuit.used_at = now;
        match end {
            End::Doubtful { caller } => circuit.doubt(caller, settings, now),
            _ => circuit.failures.push(now),
        }
        circuit.failures.retain(|at| now.saturating_sub(*at) < settings.window_ms);
        circuit.doubtful.retain(|(at, _)| now.saturating_sub(*at) < settings.window_ms);
        let is_doubtful = matches!(end, End::Doubtful { .. }) && !circuit.is_believed();
        if is_doubtful {
            circuit.waive(now);
        } else if circuit.counted() >= settings.failures || circuit.open_until.is_some() {
            // One trial that failed is enough to stay open.
            circuit.close();
            circuit.open_until = Some(now + settings.cooldown_ms);
        }
        circuit.open_until.is_some_and(|until| until > now)
    }

    /// Until when a circuit lets no request through, if it is open.
    pub fn open_until(&mut self, gateway: i64, provider: &str) -> Option<u64> {
        self.find(gateway, provider)?.open_until
    }

    /// Where a gateway's circuits stand, as `GET …/limits` shows them: open ones first, then those that failed most.
    pub fn shown(&self, gateway: i64, settings: Settings, now: u64) -> Value {
        let of_gateway = self.circuits.iter().filter(|circuit| circuit.gateway == gateway);
        let mut all: Vec<(Option<u64>, usize, &str)> = of_gateway
            .map(|circuit| (circuit.open_until, circuit.failed(settings, now), circuit.provider.as_str()))
            .collect();
        all.retain(|(open_until, failed, _)| open_until.is_some() || *failed > 0);
        all.sort_by(|(open, failed, name), (other_open, other_failed, other_name)| {
            (other_open, other_failed, name).cmp(&(open, failed, other_name))
        });
        let shown = all.into_iter().take(MAX_SHOWN).map(|(open_until, failed, name)| {
            let (provider, origin) = name.split_once(' ').unwrap_or((name, ""));
            let state = match open_until {
                None => "closed",
                Some(until) if until > now => "open",
                Some(_) => "trial",
            };
            // A cooldown that was shortened meanwhile holds at once.
            let tried_at =
                open_until.map(|until| timestamp::format(until.min(now.saturating_add(settings.cooldown_ms))));
            json!({
                "provider": provider, "origin": origin, "state": state, "failures": failed,
                "limit": (settings.failures), "tried_at": tried_at,
            })
        });
        shown.collect()
    }

    /// The circuit to forget: of the gateway that has most of them, the one that was quiet for the longest time.
    fn quietest(&self) -> Option<usize> {
        let mut counts: Vec<(i64, usize)> = Vec::new();
        for circuit in &self.circuits {
            match counts.iter_mut().find(|(gateway, _)| *gateway == circuit.gateway) {
                Some((_, count)) => *count += 1,
                None => counts.push((circuit.gateway, 1)),
            }
        }
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let own = self.circuits.iter().enumerate().filter(|(_, circuit)| circuit.gateway == most);
        own.min_by_key(|(_, circuit)| circuit.used_at).map(|(place, _)| place)
    }

    fn find(&mut self, gateway: i64, provider: &str) -> Option<&mut Circuit> {
        self.circuits.iter_mut().find(|circuit| circuit.gateway == gateway && circuit.provider == provider)
    }

    fn at(&mut self, gateway: i64, provider: &str, now: u64) -> &mut Circuit {
        let known = self.circuits.iter().position(|known| known.gateway == gateway && known.provider == provider);
        let place = known.unwrap_or_else(|| {
            if self.circuits.len() >= MAX_CIRCUITS
                && let Some(quietest) = self.quietest()
            {
                self.circuits.swap_remove(quietest);
            }
            self.circuits.push(Circuit {
                gateway,
                provider: provider.to_owned(),
                failures: Vec::new(),
                doubtful: Vec::new(),
                is_on_trial: false,
                open_until: None,
                used_at: now,
            });
            self.circuits.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "a circuit was found or made at this place")]
        &mut self.circuits[place]
    }
}

// === impl Circuit ===

impl Circuit {
    /// Failures that are only believed of several callers. One of them alone fills no more than its share.
    fn doubt(&mut self, caller: u64, settings: Settings, now: u64) {
        let own = |(_, whose): &&(u64, u64)| *whose == caller;
        let crowded = self.doubtful.iter().filter(own).count() >= settings.failures;
        let place = match crowded {
            true => self.doubtful.iter().position(|(_, whose)| *whose == caller),
            false => (self.doubtful.len() >= MAX_DOUBTFUL).then_some(0),
        };
        if let Some(place) = place {
            self.doubtful.remove(place);
        }
        self.doubtful.push((now, caller));
    }

    /// Whether several callers had failures that may have been of their own making.
    fn is_believed(&self) -> bool {
        self.doubtful.first().is_some_and(|(_, first)| self.doubtful.iter().any(|(_, caller)| caller != first))
    }

    fn counted(&self) -> usize {
        self.failures.len() + if self.is_believed() { self.doubtful.len() } else { 0 }
    }

    /// The failures that count at a moment.
    fn failed(&self, settings: Settings, now: u64) -> usize {
        let is_late = |at: &u64| now.saturating_sub(*at) < settings.window_ms;
        let doubtful = if self.is_believed() { self.doubtful.iter().filter(|(at, _)| is_late(at)).count() } else { 0 };
        self.failures.iter().filter(|at| is_late(at)).count() + doubtful
    }

    /// Forgets what failed.
    fn close(&mut self) {
        self.failures.clear();
        self.doubtful.clear();
        self.is_on_trial = false;
    }

    /// A trial that says nothing is followed by another at once: no caller may keep a circuit open by making it.
    fn waive(&mut self, now: u64) {
        if std::mem::take(&mut self.is_on_trial) {
            self.open_until = self.open_until.map(|_| now);
        }
    }
}

#[cfg(test)]
mod tests;
