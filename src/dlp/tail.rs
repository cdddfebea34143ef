//! How much of the end of a text has to wait for what comes next: as much as may still become something that is looked for.

/// A key is found as one word, and no longer than this, in bytes.
const LONGEST_WORD: usize = 4_096;

/// Groups of digits and capitals that may be one number, in bytes.
const LONGEST_NUMBER: usize = 160;

/// A private key may be so long, in bytes.
const LONGEST_PEM: usize = 16 * 1024;

const PEM: &str = "-----BEGIN";

/// Where the end begins that has to wait. `longest` is how long a word of a gateway's own may be.
pub fn begin(text: &str, longest: usize) -> usize {
    let mut at = word(text, text.len());
    // Groups before the last word may belong to it: `4111 1111 1111 1111`, `GB82 WEST 1234`, `AB 12 34 56 C`.
    while let Some(before) = text.get(..at).map(str::trim_end).filter(|before| !before.is_empty()) {
        let from = word(text, before.len());
        let group = text.get(from..before.len()).unwrap_or("");
        if group.is_empty() || !is_group(group) || text.len().saturating_sub(from) > LONGEST_NUMBER {
            break;
        }
        at = from;
    }
    let pem = text.rfind(PEM).filter(|from| {
        let rest = text.get(*from..).unwrap_or("");
        rest.len() < LONGEST_PEM && !rest.contains("-----END")
    });
    let own = floor(text, text.len().saturating_sub(longest));
    at.min(pem.unwrap_or(at)).min(own)
}

/// Where the word begins that ends at a place.
fn word(text: &str, end: usize) -> usize {
    let before = text.get(..end).unwrap_or(text);
    let last = before.char_indices().rfind(|(_, char)| ends_word(*char));
    let at = last.map_or(0, |(at, char)| at + char.len_utf8());
    at.max(floor(text, end.saturating_sub(LONGEST_WORD)))
}

/// Blanks do, and characters of languages that have none between words; of those only wide digits and letters are looked for.
fn ends_word(char: char) -> bool {
    char.is_whitespace() || (char >= '\u{2e80}' && !matches!(char, '\u{ff01}'..='\u{ff5e}' | '\u{feff}'))
}

/// Whether a word may be a part of a number that goes on behind a blank.
fn is_group(word: &str) -> bool {
    word.len() <= 32 && word.chars().all(|char| !char.is_lowercase())
        || word.len() <= 32 && word.bytes().any(|byte| byte.is_ascii_digit())
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_waits_as_may_still_become_something() {
        for (goes, waits) in [
            ("my card is ", "4111 1111 11"),
            ("account ", "GB82 WEST 1234"),
            ("plain words ", "and"),
            ("write to ", "ann.b"),
            ("the key ", "sk-ant-api03-abc"),
            ("at ", "+49 30 123"),
            ("a ", "-----BEGIN RSA PRIVATE KEY-----\nMIIE abc def"),
            ("number ", "4111 "),
            ("Hello there, ", ""),
            ("你好，世界", ""),
            ("你好", "4111"),
        ] {
            let text = format!("{goes}{waits}");
            assert_eq!(begin(&text, 0), goes.len(), "{text}");
        }
        assert_eq!(begin("secret project apollo", 12), 9);
    }
}
