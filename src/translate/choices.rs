//! Several answers to one request, of which each goes its own way through a reader and a writer: chat completions and Gemini have them.

use crate::translate::Format;
use crate::translate::json::Json;

/// No more answers to a request are told apart.
pub const MOST: u64 = 128;

/// What names an answer, or a piece of one.
const NAMES: &[&str] = &["id", "model", "responseId", "modelVersion"];

/// The member that has the answers; `None` where a format has one alone.
pub fn list(format: Format) -> Option<&'static str> {
    match format {
        Format::Chat => Some("choices"),
        Format::Gemini => Some("candidates"),
        _ => None,
    }
}

/// The field by which a format asks for several answers.
pub fn field(format: Format) -> &'static str {
    if format == Format::Gemini { "generationConfig.candidateCount" } else { "n" }
}

/// An answer, or an event of a stream, with the first choice alone, and those of the others, by their number, as if each were the
/// first.
pub fn split(data: &Json, list: &str) -> (Json, Vec<(usize, Json)>) {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (place, choice) in data.list(list).iter().enumerate() {
        match choice.count("index").map_or(place, |index| usize::try_from(index).unwrap_or(usize::MAX)) {
            0 => own.push(choice.clone()),
            index => {
                let mut part = Json::object();
                for name in NAMES {
                    part.set_some(name, data.get(name).cloned());
                }
                let mut choice = choice.clone();
                choice.set("index", 0_u64);
                others.push((index, part.with(list, vec![choice])));
            }
        }
    }
    let mut first = data.clone();
    if data.get(list).is_some() {
        first.set(list, own);
    }
    (first, others)
}

/// Adds the only choice of an answer to those of another.
pub fn join(all: &mut Json, more: &Json, list: &str, index: usize) {
    let mut choices = all.list(list).to_vec();
    choices.extend(more.list(list).first().map(|choice| choice.clone().with("index", index as u64)));
    all.set(list, choices);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::{Return, request};
    use serde_json::{Value, json};

    fn parsed(value: &Value) -> Json {
        Json::parse(&value.to_string()).unwrap()
    }

    fn back(from: Format, to: Format, asked: &Value) -> Return {
        let body = parsed(asked);
        let translated = request(from, to, &body, "m", false, "m").unwrap();
        Return::new(from, to, &translated, &body, "id", "m", 7)
    }

    fn chat() -> Value {
        json!({ "model": "m", "n": 2, "messages": [{ "role": "user", "content": "hi" }] })
    }

    fn gemini() -> Value {
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }], "generationConfig": { "candidateCount": 2 } })
    }

    fn events(answer: &mut Return, all: &[Value]) -> Vec<Value> {
        let mut text = String::new();
        all.iter().for_each(|event| answer.event("", &parsed(event), &mut text));
        answer.end(&mut text);
        let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
    }

    #[test]
    fn each_format_asks_for_several_in_its_own_words() {
        let translated = |from, to, body: &Value| {
            let translated = request(from, to, &parsed(body), "m", false, "m").unwrap();
            serde_json::from_str::<Value>(&translated.body.to_string()).unwrap()
        };
        assert_eq!(translated(Format::Chat, Format::Gemini, &chat())["generationConfig"]["candidateCount"], 2);
        assert_eq!(translated(Format::Gemini, Format::Chat, &gemini())["n"], 2);
        for (from, body, field) in
            [(Format::Chat, chat(), "n"), (Format::Gemini, gemini(), "generationConfig.candidateCount")]
        {
            for to in [Format::Messages, Format::Responses, Format::Converse] {
                assert_eq!(request(from, to, &parsed(&body), "m", false, "m").unwrap_err().field, field);
            }
        }
    }

    #[test]
    fn whole_answers_keep_all_and_their_order() {
        let usage = json!({ "promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7 });
        let call = json!({ "functionCall": { "name": "f", "args": {} } });
        let given = json!({ "responseId": "r", "modelVersion": "g", "usageMetadata": usage, "candidates": [
            { "content": { "parts": [{ "text": "a" }] }, "finishReason": "STOP" },
            { "index": 1, "content": { "parts": [{ "text": "b" }, call] }, "finishReason": "STOP" },
            { "index": 9, "content": { "parts": [{ "text": "unasked" }] } },
        ] });
        let (answer, status, _) = back(Format::Chat, Format::Gemini, &chat()).answered(&parsed(&given));
        let answer: Value = serde_json::from_str(&answer.to_string()).unwrap();
        assert_eq!((status, &answer["id"], &answer["usage"]["completion_tokens"]), (None, &json!("r"), &json!(4)));
        let all = answer["choices"].as_array().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (&all[0]["index"], &all[0]["message"]["content"], &all[0]["finish_reason"]),
            (&json!(0), &json!("a"), &json!("stop"))
        );
        assert_eq!(
            (&all[1]["index"], &all[1]["message"]["content"], &all[1]["finish_reason"]),
            (&json!(1), &json!("b"), &json!("tool_calls"))
        );
        let choice = |index, text| json!({ "index": index, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" });
        let given = json!({ "id": "c", "model": "m", "choices": [choice(1, "b"), choice(0, "a")], "usage": { "prompt_tokens": 3, "completion_tokens": 4 } });
        let (answer, ..) = back(Format::Gemini, Format::Chat, &gemini()).answered(&parsed(&given));
        let answer: Value = serde_json::from_str(&answer.to_string()).unwrap();
        let texts: Vec<_> = answer["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| (own["index"].clone(), own["content"]["parts"][0]["text"].clone()))
            .collect();
        assert_eq!(texts, [(json!(0), json!("a")), (json!(1), json!("b"))]);
    }

    #[test]
    fn streams_keep_them_apart_and_end_once() {
        let piece = |index: u64, text: &str, finish: Value| json!({ "responseId": "r", "candidates": [{ "index": index, "content": { "parts": [{ "text": text }] }, "finishReason": finish }], "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 4 } });
        let pieces = [
            piece(0, "a", Value::Null),
            piece(1, "x", Value::Null),
            piece(0, "b", json!("STOP")),
            piece(1, "y", json!("MAX_TOKENS")),
        ];
        let all = events(&mut back(Format::Chat, Format::Gemini, &chat()), &pieces);
        let of = |index: u64| {
            let own = all
                .iter()
                .flat_map(|chunk| chunk["choices"].as_array().into_iter().flatten())
                .filter(|choice| choice["index"] == index)
                .collect::<Vec<_>>();
            let text: String = own.iter().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
            let roles = own.iter().filter(|choice| choice["delta"]["role"] == "assistant").count();
            (text, roles, own.last().unwrap()["finish_reason"].clone())
        };
        assert_eq!((of(0), of(1)), (("ab".to_owned(), 1, json!("stop")), ("xy".to_owned(), 1, json!("length"))));
        assert_eq!((all.last().unwrap(), all.iter().filter(|event| *event == "[DONE]").count()), (&json!("[DONE]"), 1));
        let chunk = |index: u64, text: &str, finish: Value| json!({ "id": "c", "choices": [{ "index": index, "delta": { "content": text }, "finish_reason": finish }] });
        let chunks = [
            chunk(1, "x", Value::Null),
            chunk(0, "a", json!("stop")),
            chunk(1, "y", json!("stop")),
            json!({ "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }),
        ];
        let all = events(&mut back(Format::Gemini, Format::Chat, &gemini()), &chunks);
        let text = |index: u64| {
            all.iter()
                .map(|one| &one["candidates"][0])
                .filter(|own| own["index"] == index)
                .filter_map(|own| own["content"]["parts"][0]["text"].as_str())
                .collect::<String>()
        };
        assert_eq!((text(0), text(1)), ("a".to_owned(), "xy".to_owned()));
        assert_eq!(all.iter().filter(|one| !one["candidates"][0]["finishReason"].is_null()).count(), 2);
        assert_eq!(all.last().unwrap()["usageMetadata"]["candidatesTokenCount"], 2);
    }

    #[test]
    fn one_that_breaks_off_is_no_clean_end() {
        let piece = |index: u64, finish: Value| json!({ "candidates": [{ "index": index, "content": { "parts": [{ "text": "a" }] }, "finishReason": finish }] });
        let all =
            events(&mut back(Format::Chat, Format::Gemini, &chat()), &[piece(0, json!("STOP")), piece(1, Value::Null)]);
        assert!(all.last().unwrap()["error"].is_object() && !all.contains(&json!("[DONE]")), "{all:?}");
        let failed = json!({ "error": { "code": 503, "message": "full" } });
        let all = events(&mut back(Format::Chat, Format::Gemini, &chat()), &[piece(1, Value::Null), failed]);
        assert_eq!(all.last().unwrap()["error"]["message"], "full");
        // Fewer than were asked for are no fault.
        let all = events(&mut back(Format::Chat, Format::Gemini, &chat()), &[piece(0, json!("STOP"))]);
        assert_eq!(all.last().unwrap(), "[DONE]");
    }
}
