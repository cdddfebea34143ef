//! Times as the API shows them: RFC 3339 in UTC with milliseconds. In the database they are milliseconds since 1970.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// `2026-11-21T06:48:53.123Z`. Times outside of the years 1 to 9999 do not occur, and become 1970.
pub fn format(milliseconds: u64) -> String {
    let since = i64::try_from(milliseconds).unwrap_or(0);
    let time =
        OffsetDateTime::UNIX_EPOCH.checked_add(Duration::milliseconds(since)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, millisecond) = time.to_hms_milli();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", u8::from(month))
}

/// `20261121T064853Z`: the form that AWS signs.
pub fn basic(milliseconds: u64) -> String {
    let whole = format(milliseconds);
    let seconds = whole.split_once('.').map_or(whole.as_str(), |(seconds, _)| seconds);
    seconds.chars().filter(|char| !matches!(char, '-' | ':')).chain(['Z']).collect()
}

/// The end of the year 9999, after which there are no dates of this form.
const LATEST: u64 = 253_402_300_799_999;

/// Milliseconds of an RFC 3339 time, of one without a zone or of a date alone (both are in UTC), or of digits alone.
pub fn parse(text: &str) -> Option<u64> {
    if text.len() > 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|milliseconds| *milliseconds <= LATEST);
    }
    let time = match text.len() {
        10 => OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339),
        // Python's `isoformat()` of a time that does not know its zone.
        _ => OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339)),
    };
    u64::try_from(time.ok()?.unix_timestamp_nanos() / 1_000_000).ok()
}

/// What [`parse`] wants instead of a text that it does not read.
pub fn expected(text: &str) -> &'static str {
    // `+` means a space in a query, so the zone of `…T06:48:53+02:00` arrives as ` 02:00` if it was not encoded.
    let zoned = text.rsplit_once(' ').map(|(time, zone)| format!("{time}+{zone}"));
    if zoned.is_some_and(|zoned| zoned.contains('T') && parse(&zoned).is_some()) {
        return "The '+' before the zone arrived as a space: write it as %2B in a URL, or send the time in UTC with a Z";
    }
    "Expected a time such as 2026-11-21T06:48:53Z, or milliseconds since 1970"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn milliseconds_always_have_three_digits() {
        assert_eq!(format(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format(1_795_246_348_081), "2026-11-21T07:32:28.081Z");
        assert_eq!(basic(1_795_246_348_081), "20261121T073228Z");
        assert_eq!(format(u64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn times_of_other_zones_and_dates_alone_are_read() {
        for text in [
            "2026-11-21T01:00:00+01:00",
            "2026-11-21",
            "1795219200000",
            "2026-11-21T00:00:00.000Z",
            "2026-11-21T00:00:00",
            "2026-11-21T00:00:00.000000",
        ] {
            assert_eq!(parse(text), Some(1_795_219_200_000), "{text}");
        }
        for text in ["", "today", "2026-13-01", "1969-12-31", "2026-11-21T00:00:00 02:00", "2026-11-21T00:00:00ZZ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_plus_that_became_a_space_is_recognised() {
        assert!(expected("2026-11-21T00:00:00 02:00").contains("%2B"));
        assert!(expected("2026-11-21T00:00:00.123456 02:00").contains("%2B"));
        for text in ["today", "a b", "2026-11-21 02:00", " ", "T T"] {
            assert!(expected(text).starts_with("Expected"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_back(milliseconds in 0u64..253_402_300_799_999) {
            prop_assert_eq!(parse(&format(milliseconds)), Some(milliseconds));
        }
    }
}
