//! The first words of what was asked and answered, for lists that load no bodies.

use crate::conversation::Conversation;
use crate::wire::elide::Elider;
use crate::wire::places::{self, Node, Take, shape};
use crate::wire::sse::Events;
use std::borrow::Cow;

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
        line.push_str(word);
        length += word.chars().count();
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
    let body = match is_stream {
        true => Cow::Borrowed(beginning(body, MAX_STREAM)),
        false if body.len() > MAX_WHOLE => return None,
        false if body.len() > SHORT => {
            let mut short = Vec::new();
            Elider::keeping(MAX_TEXT).push(body.as_bytes(), &mut short);
            Cow::Owned(String::from_utf8_lossy(&short).into_owned())
        }
        false => Cow::Borrowed(body),
    };
    match at_once(&body, is_stream) {
        Some(text) => of(&text),
        None => of_any(&body),
    }
}

/// The same by the reader of all formats.
fn of_any(body: &str) -> Option<String> {
    let read = Conversation::read(None, Some(body));
    if let Some(text) = read.output().and_then(of) {
        return Some(text);
    }
    let calls = read.answer.as_ref()?.get("tool_calls")?.as_array()?;
    let names = calls.iter().filter_map(|call| call.pointer("/function/name")?.as_str());
    let names: Vec<String> = names.map(|name| format!("{name}()")).collect();
    of(&names.join(" "))
}

shape! { spoken { "type" => Take::Text, "choices" => Take::Inside(choice), "content" => Take::Inside(part), "delta" => Take::TextOrInside(part), } }
shape! { choice { "index" => Take::Json, "message" => Take::Inside(words), "delta" => Take::Inside(words), } }
shape! { words { "content" => Take::TextOrInside(part), } }
shape! { part { "type" => Take::Text, "text" => Take::Text, } }

/// The text of an answer of the two formats that most have, read without building anything of the rest, which takes a quarter of the time.
/// `None` where there is none, or where it stands elsewhere, too: [`Conversation`] knows all places.
fn at_once(body: &str, is_stream: bool) -> Option<String> {
    let mut text = Some(String::new());
    let mut take = |node: Node<'_>| {
        let said = said(&node);
        text = text.take().and_then(|text| Some(text + said?));
    };
    if !is_stream {
        places::read(body.as_bytes(), spoken, &mut take);
    } else {
        for event in Events::new(body.as_bytes()) {
            places::read(&event, spoken, &mut take);
        }
    }
    text.filter(|text| !text.trim_ascii().is_empty())
}

/// What a document or an event says. `None` where that is not told by these places alone.
fn said<'a>(node: &'a Node<'_>) -> Option<&'a str> {
    if let Some(choices) = node.get("choices") {
        let Node::List(choices) = choices else { return None };
        let is_first = |choice: &&Node<'_>| choice.json("index").is_none_or(|index| *index == 0);
        let Some(choice) = choices.iter().find(is_first) else { return Some("") };
        let words = choice.get("message").or_else(|| choice.get("delta"));
        return match words.and_then(|words| words.get("content")) {
            Some(Node::Text(text)) => Some(text),
            Some(_) => None,
            None => Some(""),
        };
    }
    match node.text("type").unwrap_or("") {
        "" => node.get("content").is_none().then_some(""),
        "response.output_text.delta" => node.text("delta"),
        kind if kind.starts_with("response.") => Some(""),
        "message" => match node.list("content") {
            [only] if only.text("type") == Some("text") => only.text("text"),
            _ => None,
        },
        "content_block_delta" => {
            let delta = node.get("delta")?;
            Some(delta.text("text").filter(|_| delta.text("type") == Some("text_delta")).unwrap_or(""))
        }
        "message_start" | "content_block_start" | "content_block_stop" | "message_delta" | "message_stop" | "ping" => {
            Some("")
        }
        _ => None,
    }
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
    fn what_is_read_at_once_is_what_the_reader_of_all_formats_finds() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let files = std::fs::read_dir(fixtures)
            .unwrap()
            .flat_map(|provider| std::fs::read_dir(provider.unwrap().path()).unwrap());
        let mut found = 0;
        for path in files.map(|file| file.unwrap().path()) {
            let Ok(body) = std::fs::read_to_string(&path) else { continue };
            let is_stream = path.extension().is_some_and(|extension| extension == "sse");
            if let Some(text) = at_once(&body, is_stream) {
                found += 1;
                assert_eq!(of(&text), of_any(&body), "{}", path.display());
            }
        }
        assert!(found > 30, "{found}");
        let second = json!({ "choices": [{ "index": 1, "message": { "content": "no" } }, { "index": 0, "message": { "content": "yes" } }] });
        assert_eq!(at_once(&second.to_string(), false).as_deref(), Some("yes"));
        let parts = json!({ "choices": [{ "message": { "content": [{ "type": "text", "text": "in parts" }] } }] });
        assert_eq!(
            (at_once(&parts.to_string(), false), of_answer(&parts.to_string())),
            (None, Some("in parts".to_owned()))
        );
        let refused = json!({ "choices": [{ "message": { "content": null, "refusal": "No." } }] });
        assert_eq!(of_answer(&refused.to_string()).as_deref(), Some("No."));
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
