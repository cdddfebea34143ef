//! Addresses of people and of machines.

use crate::dlp::entry::Entry;
use crate::dlp::folded::is_word;
use crate::dlp::text::{Hit, Scan};
use std::net::Ipv6Addr;

/// The longest address of a mailbox, RFC 5321.
const MOST_EMAIL: usize = 254;

/// How many digits a number of ITU-T E.164 has.
const E164: std::ops::RangeInclusive<usize> = 8..=15;

const PHONE_WORDS: &[&str] =
    &["phone", "tel", "telephone", "mobile", "cell", "call", "fax", "whatsapp", "telefon", "handy"];

/// The address around an `@`.
pub(super) fn email(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if !scan.wants(Entry::Email) {
        return None;
    }
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    let before = scan.bytes.get(..at)?.iter().rev().take(MOST_EMAIL).take_while(|byte| is_local(byte)).count();
    let mut start = at - before;
    while start < at && !is_word(scan.byte(start)) {
        start += 1;
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let mut end = scan.while_is(at + 1, is_host);
    while end > at && !scan.before(end).is_ascii_alphanumeric() {
        end -= 1;
    }
    let host = scan.slice(at + 1, end);
    let top = host.rsplit(|byte| *byte == b'.').next().unwrap_or(&[]);
    let is_named = top.len() >= 2 && top.len() < host.len() && top.iter().all(u8::is_ascii_alphabetic);
    let are_labels = host.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.first() != Some(&b'-'));
    (start < at && is_named && are_labels && end - start <= MOST_EMAIL && !is_word(scan.byte(end))).then_some((
        Entry::Email,
        start,
        end,
    ))
}

/// A number that begins with `+`, or with the area in parentheses where a word says that it is a phone's.
pub(super) fn phone(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if !scan.wants(Entry::Phone) || is_word(scan.before(at)) {
        return None;
    }
    let (end, digits) = dialled(scan, at + 1)?;
    let is_number = match scan.byte(at) {
        b'+' => E164.contains(&digits) && (b'1'..=b'9').contains(&scan.byte(at + 1)),
        _ => (7..=13).contains(&digits) && scan.has_context(at, PHONE_WORDS),
    };
    is_number.then_some((Entry::Phone, at, end))
}

/// A number without a country, where a word says that it is a phone's.
pub(super) fn national_phone(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if !scan.wants(Entry::Phone) || !scan.has_context(at, PHONE_WORDS) {
        return None;
    }
    let (end, digits) = dialled(scan, at)?;
    (7..=13).contains(&digits).then_some((Entry::Phone, at, end))
}

/// Where digits end that are written as people write what they dial, and how many there are.
fn dialled(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    let (mut end, mut digits, mut place) = (at, 0, at);
    loop {
        let byte = scan.byte(place);
        if byte.is_ascii_digit() {
            digits += 1;
            end = place + 1;
        } else if !matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')') || place - end >= 3 {
            break;
        }
        place += 1;
        if digits > 20 {
            return None;
        }
    }
    (digits > 0 && !is_word(scan.byte(end))).then_some((end, digits))
}

/// What has colons: a hardware address, or an IPv6 address. It is looked at from its first colon.
pub(super) fn colons(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    let wants_any = scan.wants(Entry::Mac) || scan.wants(Entry::Ipv6);
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    if !wants_any || !is_part(scan.byte(at + 1)) {
        return None;
    }
    let before = scan.bytes.get(..at)?.iter().rev().take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let start = at - before;
    if is_word(scan.before(start)) || scan.before(start) == b':' {
        return None;
    }
    let mut end = scan.while_is(at, is_part);
    while scan.before(end) == b'.' || (scan.before(end) == b':' && end >= 2 && scan.byte(end - 2) != b':') {
        end -= 1;
    }
    if is_word(scan.byte(end)) {
        return None;
    }
    let text = std::str::from_utf8(scan.slice(start, end)).ok()?;
    let is_mac = text.len() == 17
        && text.split(':').count() == 6
        && text.split(':').all(|pair| pair.len() == 2 && !pair.contains('.'));
    if is_mac {
        return scan.wants(Entry::Mac).then_some((Entry::Mac, start, end));
    }
    // `::` alone stands in programs.
    let is_address = text.len() > 4 && text.parse::<Ipv6Addr>().is_ok();
    (is_address && scan.wants(Entry::Ipv6)).then_some((Entry::Ipv6, start, end))
}
