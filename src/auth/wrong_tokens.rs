//! Who sends wrong tokens too often, whatever they look like. Only what this isolate does not know is refused for it: neither the
//! admin nor a token that is known to be right waits for the mistakes of others.

use crate::http::headers::Headers;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// So many wrong tokens are answered with 401.
pub const ALLOWED: u32 = 20;

/// The time that they are counted in, in milliseconds. It begins with the first of them.
pub const WINDOW_MS: u64 = 60_000;

/// More addresses than these share one count: the memory for them is bounded.
const MAX_ADDRESSES: usize = 4_096;

/// The header that tells an address where the operator says nothing else. Cloudflare sets it, whatever the client sent.
pub const DEFAULT_HEADER: &str = "cf-connecting-ip";

/// How many wrong tokens came from where.
pub struct WrongTokens {
    /// How many are answered.
    allowed: u32,
    of_addresses: HashMap<String, Window>,
    of_others: Window,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    from: u64,
    count: u32,
}

/// The address of a client as the header with that name tells it. A list is of proxies, and its last entry is what the nearest
/// of them saw; the others may be made up.
pub fn forwarded_address<'a>(headers: &'a Headers, header: Option<&str>) -> Option<&'a str> {
    let last = headers.get(header?)?.rsplit(',').next()?.trim();
    match last.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(address, _)| address),
        None if last.matches(':').count() == 1 => last.split_once(':').map(|(address, _)| address),
        None => Some(last),
    }
}

/// The same as it is counted by: a client with IPv6 has at least 64 bits of it. Without an address it is empty.
pub fn address(headers: &Headers, header: Option<&str>) -> String {
    match forwarded_address(headers, header).unwrap_or("").parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        Err(_) => String::new(),
    }
}

// === impl WrongTokens ===

impl Default for WrongTokens {
    fn default() -> Self {
        Self::of(ALLOWED)
    }
}

impl WrongTokens {
    pub fn of(allowed: u32) -> Self {
        Self { allowed, of_addresses: HashMap::new(), of_others: Window::default() }
    }

    /// For how many seconds unknown tokens from an address are not looked at.
    pub fn barred(&self, address: &str, now_ms: u64) -> Option<u64> {
        let window = self.of_addresses.get(address).unwrap_or(&self.of_others);
        let is_over = window.is_open(now_ms) && window.count >= self.allowed;
        is_over.then(|| (window.from + WINDOW_MS).saturating_sub(now_ms).div_ceil(1_000).max(1))
    }

    /// Takes note of a wrong token.
    pub fn note(&mut self, address: &str, now_ms: u64) {
        if !self.of_addresses.contains_key(address) && self.of_addresses.len() >= MAX_ADDRESSES {
            self.of_addresses.retain(|_, window| window.is_open(now_ms));
        }
        let is_one_more = self.of_addresses.len() >= MAX_ADDRESSES && !self.of_addresses.contains_key(address);
        let window = match is_one_more {
            true => &mut self.of_others,
            false => self.of_addresses.entry(address.to_owned()).or_default(),
        };
        if !window.is_open(now_ms) {
            *window = Window { from: now_ms, count: 0 };
        }
        window.count = window.count.saturating_add(1);
    }
}

// === impl Window ===

impl Window {
    fn is_open(&self, now_ms: u64) -> bool {
        self.count > 0 && now_ms.saturating_sub(self.from) < WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn after_twenty_in_a_minute_an_address_waits_for_the_rest_of_it() {
        let mut wrong = WrongTokens::default();
        for n in 0..u64::from(ALLOWED) {
            assert_eq!(wrong.barred("a", NOW + n), None, "{n}");
            wrong.note("a", NOW + n);
        }
        assert_eq!(wrong.barred("a", NOW + 100), Some(60));
        assert_eq!(wrong.barred("a", NOW + 59_500), Some(1));
        assert_eq!(wrong.barred("b", NOW + 100), None);
        assert_eq!(wrong.barred("a", NOW + WINDOW_MS), None);
        wrong.note("a", NOW + WINDOW_MS);
        assert_eq!(wrong.barred("a", NOW + WINDOW_MS), None);
    }

    #[test]
    fn any_number_of_addresses_takes_little_memory_and_nobody_gets_around() {
        let mut wrong = WrongTokens::default();
        for n in 0..3 * MAX_ADDRESSES {
            wrong.note(&format!("address {n}"), NOW);
        }
        assert_eq!(wrong.of_addresses.len(), MAX_ADDRESSES);
        assert!(wrong.barred("another one", NOW).is_some());
        // Who is counted already has a count of its own.
        assert_eq!(wrong.barred("address 1", NOW), None);
        wrong.note("another one", NOW + WINDOW_MS);
        assert_eq!(wrong.of_addresses.len(), 1);
        assert_eq!(wrong.barred("another one", NOW + WINDOW_MS), None);
    }

    #[test]
    fn addresses_are_read_as_the_nearest_proxy_saw_them() {
        let read = |value: &str| address(&Headers(vec![("x-real-ip".to_owned(), value.to_owned())]), Some("x-real-ip"));
        for (value, wanted) in [
            ("203.0.113.7", "203.0.113.7"),
            ("1.2.3.4, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:5000", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("[2001:db8:1:2:ffff::1]:443", "2001:db8:1:2::"),
            ("", ""),
            ("unknown", ""),
            ("[", ""),
        ] {
            assert_eq!(read(value), wanted, "{value}");
        }
        assert_eq!(address(&Headers::default(), Some("x-real-ip")), "");
        assert_eq!(address(&Headers(vec![("cf-connecting-ip".to_owned(), "1.2.3.4".to_owned())]), None), "");
    }
}
