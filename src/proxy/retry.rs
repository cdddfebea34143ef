//! When a request is tried again, after how long, and how long an attempt may take to begin its answer.

use crate::http::headers::Headers;
use time::{Date, Month, OffsetDateTime, Time};

/// How often and with which pauses a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in total, the first included.
    pub attempts: u32,
    /// Milliseconds before the second attempt.
    pub delay_ms: u64,
    pub backoff: Backoff,
    /// Milliseconds to the head of an answer.
    pub timeout_ms: Option<u64>,
}

/// How pauses grow from attempt to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    Constant,
    Linear,
    Exponential,
}

pub const MAX_ATTEMPTS: u64 = 5;

/// The pause when attempts are asked for and no pause is, in milliseconds.
pub const DELAY_MS: u64 = 500;

/// No pause is longer, in milliseconds. A provider that asks for more is not tried again: it would refuse once more.
const MAX_PAUSE_MS: u64 = 60_000;

/// Statuses after which the same request may succeed: the provider was busy, limited, or had a fault of its own.
pub fn is_retried(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429 | 500..)
}

/// How long a provider wants to be left alone, in milliseconds: `retry-after-ms`, which OpenAI and Azure send, or
/// `retry-after` in seconds or as a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &Headers, now_ms: u64) -> Option<u64> {
    if let Some(milliseconds) = headers.get("retry-after-ms").and_then(|value| value.trim().parse().ok()) {
        return Some(milliseconds);
    }
    let value = headers.get("retry-after")?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(seconds.saturating_mul(1_000)),
        Err(_) => Some(http_date(value)?.saturating_sub(now_ms)),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, in milliseconds since 1970.
fn http_date(value: &str) -> Option<u64> {
    let mut parts = value.split_once(", ")?.1.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let mut clock = parts.next()?.split(':').map(|part| part.parse().ok());
    let time = Time::from_hms(clock.next()??, clock.next()??, clock.next()??).ok()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = Month::try_from(months.iter().position(|name| *name == month)? as u8 + 1).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    u64::try_from(OffsetDateTime::new_utc(date, time).unix_timestamp()).ok()?.checked_mul(1_000)
}

// === impl Plan ===

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 1, delay_ms: DELAY_MS, backoff: Backoff::Constant, timeout_ms: None }
    }
}

impl RetryPolicy {
    /// Milliseconds to wait after the failure of an attempt, counted from 1; `None` when there is no other. `random` is
    /// any number: up to a quarter is added by it, so that many callers who failed together do not return together.
    pub fn pause(&self, attempt: u32, retry_after: Option<u64>, random: u64) -> Option<u64> {
        if attempt >= self.attempts {
            return None;
        }
        let growth = match self.backoff {
            Backoff::Constant => 1,
            Backoff::Linear => u64::from(attempt),
            Backoff::Exponential => 1 << attempt.saturating_sub(1).min(16),
        };
        let own = self.delay_ms.saturating_mul(growth).min(MAX_PAUSE_MS);
        let pause = own.max(retry_after.unwrap_or(0));
        if pause > MAX_PAUSE_MS {
            return None;
        }
        Some(pause + pause / 4 * (random % 1_000) / 1_000)
    }

    /// Milliseconds that an attempt, counted from 1, may take to begin its answer. The last of several has all the time it
    /// needs, unless another provider is going to be asked after it.
    pub fn timeout(&self, attempt: u32, is_followed: bool) -> Option<u64> {
        self.timeout_ms.filter(|_| self.attempts == 1 || attempt < self.attempts || is_followed)
    }
}

// === impl Backoff ===

impl Backoff {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "constant" => Some(Self::Constant),
            "linear" => Some(Self::Linear),
            "exponential" => Some(Self::Exponential),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let retried: Vec<u16> = (100..600).filter(|status| is_retried(*status)).collect();
        assert_eq!(retried.split_first_chunk().unwrap().0, &[408, 409, 425, 429, 500]);
        assert_eq!(retried.len(), 104);
    }

    #[test]
    fn pauses_grow_as_asked() {
        let plan = |backoff| RetryPolicy { attempts: 5, delay_ms: 100, backoff, timeout_ms: None };
        for (backoff, wanted) in [
            (Backoff::Constant, [100, 100, 100, 100]),
            (Backoff::Linear, [100, 200, 300, 400]),
            (Backoff::Exponential, [100, 200, 400, 800]),
        ] {
            for (attempt, wanted) in (1..).zip(wanted) {
                assert_eq!(plan(backoff).pause(attempt, None, 0), Some(wanted), "{backoff:?} {attempt}");
                let most = plan(backoff).pause(attempt, None, 999).unwrap();
                assert!(most > wanted && most < wanted + wanted / 4, "{most}");
            }
            assert_eq!(plan(backoff).pause(5, None, 0), None);
        }
        let long = RetryPolicy { delay_ms: 60_000, ..plan(Backoff::Exponential) };
        assert_eq!(long.pause(4, None, 0), Some(60_000));
    }

    #[test]
    fn a_provider_that_says_when_is_not_asked_earlier() {
        let plan = RetryPolicy { attempts: 2, delay_ms: 100, ..RetryPolicy::default() };
        assert_eq!(plan.pause(1, Some(2_000), 0), Some(2_000));
        assert_eq!(plan.pause(1, Some(50), 0), Some(100));
        assert_eq!(plan.pause(1, Some(60_001), 0), None);
        for (given, wanted) in [
            (&[("retry-after", "7")][..], Some(7_000)),
            (&[("retry-after", "7"), ("retry-after-ms", "250")], Some(250)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], Some(3_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0)),
            (&[("retry-after", "99999999999999999999")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "Sun, 66 Nov 1994 08:49:00 GMT")], None),
            (&[], None),
        ] {
            assert_eq!(retry_after(&headers(given), 784_111_777_000), wanted, "{given:?}");
        }
    }

    #[test]
    fn the_last_of_several_attempts_has_all_the_time_it_needs() {
        let plan = RetryPolicy { attempts: 3, timeout_ms: Some(500), ..RetryPolicy::default() };
        assert_eq!([1, 2, 3].map(|attempt| plan.timeout(attempt, false)), [Some(500), Some(500), None]);
        assert_eq!(plan.timeout(3, true), Some(500));
        assert_eq!(RetryPolicy { attempts: 1, ..plan }.timeout(1, false), Some(500));
    }
}
