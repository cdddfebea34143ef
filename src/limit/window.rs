//! Windows of time.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technique {
    /// Windows begin at whole multiples of their length since 1970.
    Fixed,
    /// The window is the time that has just passed.
    Sliding,
    /// Weeks of UTC, from Monday on. Rules of an operator's have no such windows; caps of policies do.
    Week,
    /// Months of UTC.
    Month,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub length_ms: u64,
    pub technique: Technique,
}

// === impl Technique ===

impl Technique {
    /// Those that an operator can choose.
    pub const NAMES: &[&str] = &["fixed", "sliding"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "fixed" => Some(Self::Fixed),
            "sliding" => Some(Self::Sliding),
            "week" => Some(Self::Week),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Sliding => "sliding",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

// === impl Window ===

impl Window {
    pub fn seconds(seconds: u64, technique: Technique) -> Self {
        Self { length_ms: seconds.saturating_mul(1_000).max(1), technique }
    }

    /// A calendar window of UTC, by the name that policies have for it.
    pub fn calendar(period: &str) -> Self {
        match period {
            "hourly" => Self::seconds(3_600, Technique::Fixed),
            "daily" => Self::seconds(86_400, Technique::Fixed),
            "weekly" => Self::week(),
            _ => Self::month(),
        }
    }

    /// The name that policies have for a calendar window.
    pub fn period(self) -> &'static str {
        match self.technique {
            Technique::Week => "weekly",
            Technique::Month => "monthly",
            _ if self.length_ms == 3_600_000 => "hourly",
            _ => "daily",
        }
    }

    pub fn week() -> Self {
        Self { length_ms: 7 * DAY_MS, technique: Technique::Week }
    }

    /// Its length is that of the longest.
    pub fn month() -> Self {
        Self { length_ms: 31 * DAY_MS, technique: Technique::Month }
    }

    /// When the fixed window that a time is in began.
    pub fn start(&self, now: u64) -> u64 {
        match self.technique {
            Technique::Fixed | Technique::Sliding => now - now % self.length_ms.max(1),
            Technique::Week => {
                let day = now / DAY_MS;
                // The first day of 1970 was a Thursday.
                day.saturating_sub((day + 3) % 7) * DAY_MS
            }
            Technique::Month => (now / DAY_MS + 1 - day_of_month(now / DAY_MS)) * DAY_MS,
        }
    }

    /// How long until it ends.
    pub fn left(&self, now: u64) -> u64 {
        let start = self.start(now);
        let end = match self.technique {
            // A day within the next month, whichever this one is.
            Technique::Month => self.start(start.saturating_add(self.length_ms)),
            _ => start.saturating_add(self.length_ms),
        };
        end.saturating_sub(now)
    }
}

const DAY_MS: u64 = 86_400_000;

/// The day of its month, from 1, of a day since 1970. Years are counted from March, so that a leap day is the last of one.
fn day_of_month(day: u64) -> u64 {
    let day = (day + 719_468) % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::timestamp;

    #[test]
    fn weeks_begin_on_mondays_and_months_on_their_first_day() {
        let at = |text: &str| timestamp::parse(text).unwrap();
        let shown = |window: Window, text: &str| {
            let now = at(text);
            let start = window.start(now);
            let day = |time| timestamp::format(time).chars().take(10).collect::<String>();
            (day(start), day(now + window.left(now)))
        };
        let both = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        let (week, month) = (Window::week(), Window::month());
        assert_eq!(shown(week, "2026-11-27T21:00:00Z"), both("2026-11-23", "2026-11-30"));
        assert_eq!(shown(week, "2026-11-30T00:00:00Z"), both("2026-11-30", "2026-12-07"));
        assert_eq!(shown(week, "2026-11-29T23:59:59Z"), both("2026-11-23", "2026-11-30"));
        assert_eq!(shown(month, "2026-11-27T21:00:00Z"), both("2026-11-01", "2026-12-01"));
        assert_eq!(shown(month, "2028-02-29T00:00:00Z"), both("2028-02-01", "2028-03-01"));
        assert_eq!(shown(month, "2026-12-31T23:59:59Z"), both("2026-12-01", "2027-01-01"));
        assert_eq!(shown(month, "2027-02-01T00:00:00Z"), both("2027-02-01", "2027-03-01"));
        assert_eq!(shown(month, "2100-02-28T00:00:00Z"), both("2100-02-01", "2100-03-01"));
    }
}
