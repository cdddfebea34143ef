//! How long a provider may take to begin its answer, and how long the answer may come to a stop.

/// The times that a call to a provider is given, in milliseconds; 0 is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// From the request to the head of the answer.
    pub first_byte_ms: u64,
    /// Whether that is the gateway's setting, and not what the caller asked for.
    pub is_of_gateway: bool,
    /// Between bytes of the answer.
    pub idle_ms: u64,
}

/// A day. The settings are in seconds.
pub const MAX_SECONDS: u64 = 86_400;

pub const FIRST_BYTE_SECONDS: u64 = 1_800;
pub const IDLE_SECONDS: u64 = 600;

// === impl Patience ===

impl Patience {
    /// `asked_ms` is what the caller wants for this attempt: it makes the time to the first byte shorter, and never longer.
    pub fn of(first_byte_seconds: u64, idle_seconds: u64, asked_ms: Option<u64>) -> Self {
        let most_ms = first_byte_seconds.saturating_mul(1_000);
        let asked_ms = asked_ms.filter(|asked| most_ms == 0 || *asked < most_ms);
        Self {
            first_byte_ms: asked_ms.unwrap_or(most_ms),
            is_of_gateway: asked_ms.is_none(),
            idle_ms: idle_seconds.saturating_mul(1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::retry::RetryPolicy;

    #[test]
    fn a_caller_makes_the_first_byte_come_sooner_and_never_later() {
        for (setting, asked, wanted) in [
            (1_800, None, (1_800_000, true)),
            (1_800, Some(250), (250, false)),
            (2, Some(1_999), (1_999, false)),
            (2, Some(2_000), (2_000, true)),
            (2, Some(3_600_000), (2_000, true)),
            (0, Some(3_600_000), (3_600_000, false)),
            (0, None, (0, true)),
        ] {
            let patience = Patience::of(setting, IDLE_SECONDS, asked);
            assert_eq!((patience.first_byte_ms, patience.is_of_gateway), wanted, "{setting} {asked:?}");
            assert_eq!(patience.idle_ms, 600_000);
        }
    }

    #[test]
    fn the_last_attempt_has_all_the_time_that_the_gateway_gives() {
        let plan = RetryPolicy { attempts: 2, timeout_ms: Some(100), ..RetryPolicy::default() };
        let times = [1, 2].map(|attempt| Patience::of(5, IDLE_SECONDS, plan.timeout(attempt, false)).first_byte_ms);
        assert_eq!(times, [100, 5_000]);
    }
}
