//! Check digits, as the issuers of numbers have published them. Each function takes digits only.

fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0'))
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(value(*digit))))
}

fn at(digits: &[u8], place: usize) -> u32 {
    digits.get(place).map_or(0, |digit| value(*digit))
}

fn weighted(digits: &[u8], weights: impl IntoIterator<Item = u32>) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| value(*digit) * weight).sum()
}

/// Annex B of ISO/IEC 7812-1.
pub fn luhn(digits: &[u8]) -> bool {
    let doubled = |at: usize, value: u32| match at % 2 {
        0 => value,
        _ if value > 4 => value * 2 - 9,
        _ => value * 2,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, digit)| doubled(at, value(*digit))).sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// A payment card: the ranges and lengths of its brands, and Luhn's digit.
pub fn card(digits: &[u8]) -> bool {
    let lead = |length: usize| number(digits.get(..length).unwrap_or(&[]));
    let fits = match digits.len() {
        13 => lead(1) == 4,
        14 => matches!(lead(3), 300..=305) || matches!(lead(2), 36 | 38 | 39),
        15 => matches!(lead(2), 34 | 37),
        16 => {
            lead(1) == 4
                || matches!(lead(2), 51..=55 | 65 | 62 | 36 | 38 | 39)
                || matches!(lead(4), 2221..=2720 | 3528..=3589 | 6011)
                || matches!(lead(3), 644..=649)
        }
        17 | 18 => lead(2) == 62,
        19 => matches!(lead(2), 62 | 65) || lead(1) == 4 || lead(4) == 6011 || matches!(lead(4), 3528..=3589),
        _ => false,
    };
    let is_one_digit = digits.iter().all(|digit| Some(digit) == digits.get(1));
    fits && !is_one_digit && luhn(digits)
}

/// United States, social security: <https://www.ssa.gov/employer/randomization.html>
pub fn us_ssn(digits: &[u8]) -> bool {
    let (area, group, serial) = parts(digits);
    let is_example = matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999));
    digits.len() == 9 && !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0 && !is_example
}

/// United States, individual taxpayer.
pub fn us_itin(digits: &[u8]) -> bool {
    let (area, group, _) = parts(digits);
    digits.len() == 9 && area >= 900 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

fn parts(digits: &[u8]) -> (u64, u64, u64) {
    let part = |from: usize, to: usize| number(digits.get(from..to).unwrap_or(&[]));
    (part(0, 3), part(3, 5), part(5, 9))
}

/// Canada, social insurance.
pub fn canada_sin(digits: &[u8]) -> bool {
    digits.len() == 9 && !matches!(at(digits, 0), 0 | 8) && luhn(digits)
}

/// United Kingdom, National Health Service: modulo 11.
pub fn uk_nhs(digits: &[u8]) -> bool {
    let check = (11 - weighted(digits, (2..=10).rev()) % 11) % 11;
    digits.len() == 10 && check == at(digits, 9) && !digits.iter().all(|digit| digits.first() == Some(digit))
}

/// Germany, tax identification: ISO 7064 modulo 11, 10. One digit stands twice or three times among the first ten.
pub fn german_tax_id(digits: &[u8]) -> bool {
    let product = digits.iter().take(10).fold(10, |product, digit| {
        let sum = (value(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum } * 2) % 11
    });
    let check = (11 - product) % 10;
    let most = (b'0'..=b'9').map(|digit| digits.iter().take(10).filter(|other| **other == digit).count()).max();
    digits.len() == 11 && at(digits, 0) != 0 && check == at(digits, 10) && matches!(most, Some(2 | 3))
}

/// India: Verhoeff's digit over the dihedral group of the pentagon.
pub fn aadhaar(digits: &[u8]) -> bool {
    digits.len() == 12 && at(digits, 0) > 1 && verhoeff(digits)
}

fn verhoeff(digits: &[u8]) -> bool {
    /// The permutation that is applied once more at each place.
    const STEP: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let moved = |place: usize, digit: u32| {
        (0..place % 8).fold(digit, |digit, _| STEP.get(digit as usize).copied().unwrap_or(0))
    };
    let check = digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| turned(sum, moved(place, value(*digit))));
    check == 0
}

/// One turn or flip of the pentagon after another.
fn turned(left: u32, right: u32) -> u32 {
    match (left < 5, right < 5) {
        (true, true) => (left + right) % 5,
        (true, false) => (left + right - 5) % 5 + 5,
        (false, true) => (left - 5 + 5 - right) % 5 + 5,
        (false, false) => (left + 5 - right) % 5,
    }
}

/// Brazil, people.
pub fn brazil_cpf(digits: &[u8]) -> bool {
    let check = |length: usize| {
        let rest = weighted(digits.get(..length).unwrap_or(&[]), (2..=length as u32 + 1).rev()) * 10 % 11;
        rest % 10 == at(digits, length)
    };
    let is_one_digit = digits.iter().all(|digit| digits.first() == Some(digit));
    digits.len() == 11 && !is_one_digit && check(9) && check(10)
}

/// Brazil, companies.
pub fn brazil_cnpj(digits: &[u8]) -> bool {
    let check = |length: usize| {
        let weights = (0..length as u32).rev().map(|place| place % 8 + 2);
        let rest = weighted(digits.get(..length).unwrap_or(&[]), weights) % 11;
        (if rest < 2 { 0 } else { 11 - rest }) == at(digits, length)
    };
    let is_one_digit = digits.iter().all(|digit| digits.first() == Some(digit));
    digits.len() == 14 && !is_one_digit && check(12) && check(13)
}

/// France, social security: sex, month, and 97 minus the number modulo 97.
pub fn france_nir(digits: &[u8]) -> bool {
    let month = number(digits.get(3..5).unwrap_or(&[]));
    let key = number(digits.get(13..).unwrap_or(&[]));
    let body = number(digits.get(..13).unwrap_or(&[]));
    digits.len() == 15 && matches!(at(digits, 0), 1 | 2) && matches!(month, 1..=12 | 20..=42) && 97 - body % 97 == key
}

/// United States, routing of banks.
pub fn aba_routing(digits: &[u8]) -> bool {
    let is_known = matches!(number(digits.get(..2).unwrap_or(&[])), 0..=12 | 21..=32 | 61..=72 | 80);
    digits.len() == 9
        && is_known
        && weighted(digits, [3, 7, 1].into_iter().cycle()).is_multiple_of(10)
        && number(digits) > 0
}

/// Spain: the letter of a number modulo 23.
pub fn spain_letter(digits: &[u8]) -> Option<u8> {
    b"TRWAGMYFPDXBNJZSQVHLCKE".get((number(digits) % 23) as usize).copied()
}

/// Modulo 97 of an account's number, without its blanks: ISO 13616.
pub fn iban(text: &[u8]) -> bool {
    let known = text.get(..2).and_then(|country| IBAN_LENGTHS.iter().find(|(known, _)| known.as_slice() == country));
    if known.is_none_or(|(_, length)| usize::from(*length) != text.len()) {
        return false;
    }
    let (head, rest) = text.split_at_checked(4).unwrap_or((text, &[]));
    let sum = rest.iter().chain(head).fold(0_u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + value(*byte)) % 97,
        _ => (sum * 100 + u32::from(byte.to_ascii_uppercase().wrapping_sub(b'A')) + 10) % 97,
    });
    sum == 1
}

/// The longest account's number.
pub const IBAN_LONGEST: usize = 34;

/// How long an account's number is: <https://www.swift.com/standards/data-standards/iban-international-bank-account-number>
const IBAN_LENGTHS: &[(&[u8; 2], u8)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_pass_and_any_other_last_digit_fails() {
        type Check = fn(&[u8]) -> bool;
        let published: [(&str, Check); 14] = [
            ("79927398713", luhn),
            ("4111111111111111", card),
            ("378282246310005", card),
            ("30569309025904", card),
            ("6011111111111117", card),
            ("5555555555554444", card),
            ("3530111333300000", card),
            ("046454286", |digits| luhn(digits)),
            ("9434765919", uk_nhs),
            ("86095742719", german_tax_id),
            ("236", verhoeff),
            ("52998224725", brazil_cpf),
            ("11222333000181", brazil_cnpj),
            ("021000021", aba_routing),
        ];
        for (number, check) in published {
            assert!(check(number.as_bytes()), "{number}");
            let (body, last) = number.split_at(number.len() - 1);
            for other in '0'..='9' {
                let changed = format!("{body}{other}");
                assert_eq!(check(changed.as_bytes()), last.starts_with(other), "{changed}");
            }
        }
        assert!(france_nir(b"255081416802538") && !france_nir(b"255081416802539") && !france_nir(b"255141416802538"));
        assert_eq!((spain_letter(b"12345678"), spain_letter(b"01234567")), (Some(b'Z'), Some(b'L')));
        for account in [
            "GB82WEST12345698765432",
            "DE89370400440532013000",
            "FR1420041010050500013M02606",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert!(iban(account.as_bytes()), "{account}");
            assert!(!iban(account.replace('1', "2").as_bytes()), "{account}");
        }
    }

    #[test]
    fn numbers_that_are_not_given_out_fail() {
        for digits in ["000123456", "666123456", "900123456", "123004567", "123450000", "078051120", "219099999"] {
            assert!(!us_ssn(digits.as_bytes()), "{digits}");
        }
        assert!(us_ssn(b"123456789") && us_itin(b"900701234") && !us_itin(b"900691234") && !us_itin(b"899701234"));
        for digits in ["0000000000000000", "4444444444444444", "1111111111111117", "411111111111111", ""] {
            assert!(!card(digits.as_bytes()), "{digits}");
        }
        assert!(!brazil_cpf(b"11111111111") && !brazil_cnpj(b"00000000000000") && !aba_routing(b"000000000"));
    }
}
