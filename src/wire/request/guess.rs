//! The models that a body seems to name which is no JSON as all parsers read it, or which names them deep inside.

use memchr::memmem;

/// More are not looked for.
const MAX_FOUND: usize = 16;

/// Blanks and comments between a name and its value, in bytes.
const MAX_BETWEEN: usize = 200;

const MAX_VALUE: usize = 1_024;

/// Every text behind a key that is `model` or one like it, at whatever depth. Keys within texts have escaped quotes.
pub fn models(text: &[u8]) -> Vec<String> {
    let lower = text.to_ascii_lowercase();
    let mut found: Vec<String> = Vec::new();
    for at in memmem::find_iter(&lower, b"model") {
        let begins = match at.checked_sub(1).and_then(|before| lower.get(before)) {
            Some(b'"' | b'\'') => at.checked_sub(2).and_then(|before| lower.get(before)) != Some(&b'\\'),
            Some(byte) => byte.is_ascii_whitespace() || matches!(byte, b'{' | b',' | b'/'),
            None => true,
        };
        let Some(value) = begins.then(|| value(text.get(at + 5..)?)).flatten() else { continue };
        if !value.is_empty() && !found.contains(&value) {
            found.push(value);
        }
        if found.len() == MAX_FOUND {
            break;
        }
    }
    found
}

pub fn asks_for_stream(text: &[u8]) -> bool {
    [&b"\"stream\":true"[..], b"\"stream\": true"].iter().any(|wanted| memmem::find(text, wanted).is_some())
}

/// The text that follows the rest of a key.
fn value(rest: &[u8]) -> Option<String> {
    let rest = [&b"_id"[..], b"Id", b"s"].iter().find_map(|end| rest.strip_prefix(*end)).unwrap_or(rest);
    let rest = match rest {
        [b'"' | b'\'', rest @ ..] => rest,
        _ => rest,
    };
    let rest = skipped(rest).strip_prefix(b":")?;
    let rest = skipped(rest);
    let (quote, rest) = rest.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
    let within = rest.get(..MAX_VALUE).unwrap_or(rest);
    let end = within.iter().position(|byte| byte == quote)?;
    let value = within.get(..end)?;
    let quoted = [b"\"", value, b"\""].concat();
    let read: Option<String> = serde_json::from_slice(&quoted).ok();
    Some(read.unwrap_or_else(|| String::from_utf8_lossy(value).into_owned()).trim().to_owned())
}

/// What follows blanks, comments and brackets.
fn skipped(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while text.len() - rest.len() < MAX_BETWEEN {
        rest = match rest {
            [first, after @ ..] if first.is_ascii_whitespace() || *first == b'[' => after,
            [b'/', b'*', after @ ..] => match memmem::find(after, b"*/") {
                Some(end) => after.get(end + 2..).unwrap_or_default(),
                None => return rest,
            },
            [b'/', b'/', after @ ..] => match memchr::memchr(b'\n', after) {
                Some(end) => after.get(end + 1..).unwrap_or_default(),
                None => return rest,
            },
            _ => return rest,
        };
    }
    rest
}
