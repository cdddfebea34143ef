//! Where a base URL that an operator configured leads: which host it names, and whether that host is inside a network that
//! the gateway must not be a way into.
//!
//! The runtime reads URLs as browsers do, where `https://0x7f.1`, `https://2130706433` and `https://127.0.0.1` are one
//! address. What is read otherwise here than there would be a hole, so everything that is not plainly a host is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The part of a base URL that decides who is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub secure: bool,
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

/// Names that mean this machine or this network wherever they are asked for, with everything below them.
const INTERNAL_NAMES: &[&str] =
    &["localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa", "metadata.google.internal"];

/// (first address, bits of the prefix) of what IANA has not given to the public Internet.
const INTERNAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, and all that is reserved behind it.
    ([224, 0, 0, 0], 3),
];

/// Within 2000::/3, which is all of IPv6 that is public: protocols (Teredo among them), documentation, and 6to4, which
/// carries an IPv4 address.
const INTERNAL_V6: &[(u128, u32)] = &[
    (0x2001_0000_0000_0000_0000_0000_0000_0000, 23),
    (0x2001_0db8_0000_0000_0000_0000_0000_0000, 32),
    (0x2002_0000_0000_0000_0000_0000_0000_0000, 16),
    (0x3fff_0000_0000_0000_0000_0000_0000_0000, 20),
];

const PUBLIC_V6: (u128, u32) = (0x2000_0000_0000_0000_0000_0000_0000_0000, 3);

/// What tells one network of clients from another: an IPv4 address, or the first 48 bits of an IPv6 one, of which every client
/// has as many addresses as it likes.
pub fn network(text: &str) -> Option<String> {
    match text.trim().parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some(format!("{a:x}:{b:x}:{c:x}"))
        }
    }
}

/// Whether an address is anything but a public one.
pub fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            INTERNAL_V4.iter().any(|(first, prefix)| (bits ^ Ipv4Addr::from(*first).to_bits()) >> (32 - prefix) == 0)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let within = |(first, prefix): &(u128, u32)| (bits ^ first) >> (128 - prefix) == 0;
            !within(&PUBLIC_V6) || INTERNAL_V6.iter().any(within)
        }
    }
}

/// Reads a base URL: scheme, host, port and path, and nothing else. The error says what is wrong with it.
pub fn origin(url: &str) -> Result<Origin, &'static str> {
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err("base_url must be a valid HTTPS URL starting with https://"),
    };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#' | b'@')) {
        return Err("base_url must have only a host, a port and a path: no user, no query, no '#', no '\\' and no \
                    blanks; international names go in their xn-- form");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if crate::providers::paths::checked(path).is_err() {
        return Err("the path of base_url must have no '.' or '..' segments and no encoded line breaks");
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((inner, after)) => (literal(inner)?, after),
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (named(&name.to_ascii_lowercase())?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Ok(if secure { 443 } else { 80 }),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| ()),
        _ => Err(()),
    };
    match port {
        Ok(port) if port > 0 => Ok(Origin { secure, host, port }),
        _ => Err("the port of base_url must be a number from 1 to 65535"),
    }
}

fn literal(text: &str) -> Result<Host, &'static str> {
    let address: Result<Ipv6Addr, _> = text.parse();
    address
        .map(|address| Host::Address(address.into()))
        .map_err(|_| "base_url must have an IPv6 address between [ and ]")
}

/// A name, or an IPv4 address in any of the spellings that the runtime takes for one.
fn named(host: &str) -> Result<Host, &'static str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(
            "base_url must name a host: labels of letters, digits and inner hyphens, with single dots between them",
        );
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    if number(last).is_none() && !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Host::Name(host.to_owned()));
    }
    match v4(host) {
        Some(address) => Ok(Host::Address(address.into())),
        None => Err("base_url must have a whole IPv4 address, or a name whose last part is no number"),
    }
}

/// Up to four numbers, decimal, octal or hexadecimal, the last of which fills what is left of the 32 bits.
fn v4(host: &str) -> Option<Ipv4Addr> {
    let mut address = 0;
    let mut left = 4;
    let mut parts = host.split('.').peekable();
    while let Some(part) = parts.next() {
        let value = number(part)?;
        if parts.peek().is_none() {
            address |= Some(value).filter(|value| left > 0 && *value < 1 << (8 * left))?;
        } else {
            left = Some(left).filter(|left| *left > 0 && value < 256)? - 1;
            address |= value << (8 * left);
        }
    }
    u32::try_from(address).ok().map(Ipv4Addr::from_bits)
}

/// As browsers read the parts of an address: `0x` for hexadecimal, a leading `0` for octal. What is too large for any
/// part is the largest number.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    match digits.trim_start_matches('0') {
        "" => (!text.is_empty()).then_some(0),
        digits if digits.len() > 12 => Some(u64::MAX),
        digits => u64::from_str_radix(digits, radix).ok(),
    }
}

// === impl Origin ===

impl Origin {
    /// Whether the host says by itself that it is internal. A name that does not may still lead to such an address.
    pub fn is_internal(&self) -> bool {
        match &self.host {
            Host::Address(address) => is_internal(*address),
            Host::Name(name) => {
                !name.contains('.')
                    || INTERNAL_NAMES.iter().any(|known| {
                        name == known || name.strip_suffix(known).is_some_and(|before| before.ends_with('.'))
                    })
            }
        }
    }

    /// The name whose addresses have to be looked up.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }
}

/// Scheme and host of a base URL.
pub fn origin_of(base: &str) -> &str {
    let host = base.find("://").map_or(0, |at| at + 3);
    let end = base.get(host..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| host + at);
    base.get(..end).unwrap_or(base)
}

#[cfg(test)]
mod tests;
