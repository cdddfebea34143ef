//! Bytes as lower-case hexadecimal digits.

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| DIGITS.get(usize::from(digit))).collect()
}

/// The byte that two digits of either case stand for.
pub fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_and_read() {
        for value in 0..=u8::MAX {
            let digits = hex(&[value]);
            assert_eq!(digits, format!("{value:02x}"));
            assert_eq!(byte(digits.as_bytes()), Some(value));
            assert_eq!(byte(digits.to_ascii_uppercase().as_bytes()), Some(value));
        }
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        for wrong in ["", "0", "000", "g0", "0g", "+1", "é"] {
            assert_eq!(byte(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
