//! Words of letters and digits: account numbers, personal numbers that have letters, wallets.

use crate::dlp::checks;
use crate::dlp::entry::Entry;
use crate::dlp::text::{Hit, Scan};
use sha2::{Digest, Sha256};

/// A word that begins with a digit and has letters.
pub(super) fn mixed(scan: &Scan<'_>, at: usize, end: usize) -> Option<Hit> {
    let word = scan.slice(at, end);
    let hit = |entry: Entry| scan.wants(entry).then_some((entry, at, end));
    if let Some(hex) = word.strip_prefix(b"0x") {
        return if hex.len() == 40 && hex.iter().all(u8::is_ascii_hexdigit) { hit(Entry::Ethereum) } else { None };
    }
    if let Some((letter, digits)) = word.split_last()
        && digits.len() == 8
        && digits.iter().all(u8::is_ascii_digit)
        && checks::spain_letter(digits) == Some(*letter)
    {
        return hit(Entry::SpainDni);
    }
    if is_base58_wallet(word) { hit(Entry::Bitcoin) } else { None }
}

/// A word that begins with a letter.
pub(super) fn lettered(scan: &Scan<'_>, at: usize, end: usize) -> Option<Hit> {
    let word = scan.slice(at, end);
    let hit = |entry: Entry, to: usize| scan.wants(entry).then_some((entry, at, to));
    let first = *word.first()?;
    if !first.is_ascii_uppercase() {
        let is_wallet = word.starts_with(b"bc1") && is_bech32_wallet(word);
        return if is_wallet { hit(Entry::Bitcoin, end) } else { None };
    }
    if scan.wants(Entry::Iban)
        && let Some(to) = iban(scan, at)
    {
        return hit(Entry::Iban, to);
    }
    match word.len() {
        2 => spaced_nino(scan, at).and_then(|to| hit(Entry::UkNino, to)),
        9 if is_nino(word) => hit(Entry::UkNino, end),
        9 if is_nie(word) => hit(Entry::SpainDni, end),
        10 if is_pan(word) => hit(Entry::IndiaPan, end),
        8 | 11 if is_swift(word) && scan.has_context(at, &["swift", "bic"]) => hit(Entry::Swift, end),
        _ => None,
    }
}

/// Where an account's number ends that begins here, with or without a space before each four characters.
fn iban(scan: &Scan<'_>, at: usize) -> Option<usize> {
    let head = scan.slice(at, at + 4);
    let [a, b, c, d] = head else { return None };
    if !(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    let mut text = Vec::with_capacity(checks::IBAN_LONGEST);
    let mut place = at;
    let mut found = None;
    while text.len() < checks::IBAN_LONGEST {
        let byte = scan.byte(place);
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' => text.push(byte),
            b'a'..=b'z' => text.push(byte.to_ascii_uppercase()),
            b' ' | b'-' | b'.' | b'/' | b'_' | b'+' | b'\n'
                if text.len().is_multiple_of(4) && scan.byte(place + 1).is_ascii_alphanumeric() => {}
            _ => break,
        }
        place += 1;
        if !scan.byte(place).is_ascii_alphanumeric() && scan.byte(place) != b'_' && checks::iban(&text) {
            found = Some(place);
        }
    }
    found
}

fn is_nino(word: &[u8]) -> bool {
    let [a, b, digits @ .., last] = word else { return false };
    let fits = |byte: &u8, without: &[u8]| byte.is_ascii_uppercase() && !without.contains(byte);
    fits(a, b"DFIQUV")
        && fits(b, b"DFIOQUV")
        && !matches!(
            [*a, *b],
            [b'B', b'G'] | [b'G', b'B'] | [b'N', b'K'] | [b'K', b'N'] | [b'T', b'N'] | [b'N', b'T'] | [b'Z', b'Z']
        )
        && digits.len() == 6
        && digits.iter().all(u8::is_ascii_digit)
        && matches!(last, b'A'..=b'D')
}

/// `AB 12 34 56 C`.
fn spaced_nino(scan: &Scan<'_>, at: usize) -> Option<usize> {
    let text = scan.slice(at, at + 13);
    let are_spaces = [2, 5, 8, 11].iter().all(|place| text.get(*place) == Some(&b' '));
    let joined: Vec<u8> = text.iter().filter(|byte| **byte != b' ').copied().collect();
    (are_spaces && is_nino(&joined) && scan.word_end(at + 12) == at + 13).then_some(at + 13)
}

fn is_nie(word: &[u8]) -> bool {
    let [first @ b'X'..=b'Z', digits @ .., letter] = word else { return false };
    let mut number = vec![first - b'X' + b'0'];
    number.extend_from_slice(digits);
    digits.len() == 7 && digits.iter().all(u8::is_ascii_digit) && checks::spain_letter(&number) == Some(*letter)
}

/// India's permanent account number. The fourth letter says what kind of holder it is.
fn is_pan(word: &[u8]) -> bool {
    let (letters, rest) = word.split_at_checked(5).unwrap_or((&[], &[]));
    let [digits @ .., last] = rest else { return false };
    letters.iter().chain([last]).all(u8::is_ascii_uppercase)
        && letters.get(3).is_some_and(|kind| b"ABCFGHLJPT".contains(kind))
        && digits.len() == 4
        && digits.iter().all(u8::is_ascii_digit)
}

fn is_swift(word: &[u8]) -> bool {
    let (letters, rest) = word.split_at_checked(6).unwrap_or((&[], &[]));
    letters.iter().all(u8::is_ascii_uppercase)
        && rest.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// 25 bytes in base 58, of which four are the head of a hash of the others: <https://en.bitcoin.it/wiki/Base58Check_encoding>
fn is_base58_wallet(word: &[u8]) -> bool {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    if !(26..=35).contains(&word.len()) || !matches!(word.first(), Some(b'1' | b'3')) {
        return false;
    }
    let mut bytes = [0_u8; 25];
    for character in word {
        let Some(value) = ALPHABET.iter().position(|known| known == character) else { return false };
        let mut carry = value as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return false;
        }
    }
    let (body, check) = bytes.split_at(21);
    Sha256::digest(Sha256::digest(body)).starts_with(check)
}

/// The checksum of BIP 173 or BIP 350, over the part before the last 1 and the part behind it.
fn is_bech32_wallet(word: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let Some(data) = word.strip_prefix(b"bc1").filter(|data| (38..=87).contains(&data.len())) else { return false };
    let mut sum = 1_u32;
    let mut push = |value: u32| {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ value;
        for (bit, generator) in GENERATORS.iter().enumerate() {
            sum ^= if top >> bit & 1 == 1 { *generator } else { 0 };
        }
    };
    // "bc", as BIP 173 expands the part that people read.
    for value in [3, 3, 0, 2, 3] {
        push(value);
    }
    for character in data {
        let Some(value) = ALPHABET.iter().position(|known| known == character) else { return false };
        push(value as u32);
    }
    matches!(sum, 1 | 0x2bc8_30a3)
}
