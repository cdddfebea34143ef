//! The first words of what was asked and answered, for lists that load no bodies.

use crate::conversation::Conversation;
use crate::wire::elide::Elider;

/// In characters.
pub const LENGTH: usize = 120;

/// A longer answer is not parsed for a preview, in bytes. Of a stream the beginning is enough.
const MAX_WHOLE: usize = 64 * 1024;
const MAX_STREAM: usize = 8 * 1024;

/// So much of a text is read for a preview, in bytes.
const MAX_TEXT: usize = 1_000;

/// A shorter answer is not worth cutting its texts, in bytes.
const SHORT: usize = 4 * MAX_TEXT;

/// A text in one line, cut.
pub fn of(text: &str) -> Option<String> {
    let words = text.split(|char: char| char.is_whitespace() || char.is_control()).filter(|word| !word.is_empty());
    let mut line = String::new();
    let mut length = 0;
    for word in words {
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        for char in word.chars() {
            line.push(char);
            length += 1;
        }
        if length > LENGTH {
            break;
        }
    }
    if length > LENGTH {
        line = line.chars().take(LENGTH - 1).chain(['…']).collect();
    }
    (!line.is_empty()).then_some(line)
}

/// What an answer begins with, as it is stored: its text, or the names of the functions that it calls.
pub fn of_answer(body: &str) -> Option<String> {
    let is_stream = ["data:", "event:", "id:", ":"].iter().any(|start| body.trim_start().starts_with(start));
    let read = match is_stream {
        true => Conversation::read(None, Some(beginning(body, MAX_STREAM))),
        false if body.len() > MAX_WHOLE => return None,
        false if body.len() > SHORT => {
            let mut short = Vec::new();
            Elider::keeping(MAX_TEXT).push(body.as_bytes(), &mut short);
            Conversation::read(None, Some(&String::from_utf8_lossy(&short)))
        }
        false => Conversation::read(None, Some(body)),
    };
    if let Some(text) = read.output().and_then(of) {
        return Some(text);
    }
    let calls = read.answer.as_ref()?.get("tool_calls")?.as_array()?;
    let names = calls.iter().filter_map(|call| call.pointer("/function/name")?.as_str());
    let names: Vec<String> = names.map(|name| format!("{name}()")).collect();
    of(&names.join(" "))
}

fn beginning(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(of("  a\n\tb\u{0}c  ").as_deref(), Some("a b c"));
        assert_eq!(of(" \n "), None);
        let long = of(&"ü".repeat(10_000)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with("ü…")), (LENGTH, true));
        assert_eq!(of(&"x".repeat(LENGTH)).unwrap().len(), LENGTH);
    }

    #[test]
    fn an_answer_tells_its_text_or_its_calls() {
        let chat = |message: serde_json::Value| json!({ "choices": [{ "message": message }] }).to_string();
        assert_eq!(of_answer(&chat(json!({ "content": "Soup." }))).as_deref(), Some("Soup."));
        let calls = json!({ "content": null, "tool_calls": [{ "function": { "name": "find", "arguments": "{}" } }] });
        assert_eq!(of_answer(&chat(calls)).as_deref(), Some("find()"));
        let long = "ü\n\"".repeat(5_000);
        let shown = of_answer(&chat(json!({ "content": long, "tool_calls": [] }))).unwrap();
        assert_eq!(shown, of(&long).unwrap());
        let event = format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": "word " } }] }));
        let shown = of_answer(&event.repeat(100_000)).unwrap();
        assert_eq!(shown.chars().count(), LENGTH);
        assert_eq!(of_answer(&chat(json!({ "content": "x".repeat(MAX_WHOLE) }))), None);
        for none in ["", "{", "<html>", "data: [DONE]", &json!({ "data": [{ "embedding": [0.1] }] }).to_string()] {
            assert_eq!(of_answer(none), None, "{none}");
        }
    }
}
