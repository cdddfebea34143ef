use super::*;
use crate::dlp::{Check, Dlp, Report};
use proptest::prelude::*;
use serde_json::json;
use std::rc::Rc;

fn examiner(action: &str) -> Examiner {
    let dlp =
        Dlp::of(&json!({ "action": action, "profiles": ["financial", "contact", "secrets", "national_ids"] })).unwrap();
    Examiner::new(Rc::new(dlp), Check::Response, Redactor::default(), Report::default())
}

/// The events of a text in the format of one of the APIs, cut at some places.
fn stream(format: usize, parts: &[&str]) -> String {
    let mut made = String::new();
    for (at, part) in parts.iter().enumerate() {
        made += &match format {
            0 => format!(
                "data: {}\n\n",
                json!({"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": null}]})
            ),
            1 => format!(
                "event: content_block_delta\ndata: {}\n\n",
                json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": part}})
            ),
            2 => format!(
                "event: response.output_text.delta\r\ndata: {}\r\n\r\n",
                json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": part, "sequence_number": at})
            ),
            _ => format!(
                "data: {}\n\n",
                json!({"candidates": [{"content": {"parts": [{"text": part}], "role": "model"}}]})
            ),
        };
        if at % 3 == 1 && format == 1 {
            made += "event: ping\ndata: {\"type\": \"ping\"}\n\n: a comment\n\n";
        }
    }
    made += match format {
        0 => "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        1 => "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
        2 => "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n",
        _ => "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
    };
    made
}

/// The text that a client makes of a stream.
fn said(stream: &str) -> String {
    let mut said = String::new();
    for line in stream.lines() {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let Ok(value) = serde_json::from_str::<Value>(data) else { continue };
        for pointer in ["/choices/0/delta/content", "/delta/text", "/delta", "/candidates/0/content/parts/0/text"] {
            said += value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        }
    }
    said
}

fn screened(stream: &str, work: &mut dyn Work, block: usize) -> String {
    let (mut screen, mut out) = (Screen::default(), Vec::new());
    for block in stream.as_bytes().chunks(block.max(1)) {
        screen.push(block, work, &mut out);
    }
    screen.end(work, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_number_in_several_parts_is_found_in_each_format() {
    for format in 0..4 {
        let parts = ["My card ", "is 41", "11 1111 ", "1111", " 1111, and", " yours ann@", "example.com?"];
        let whole = stream(format, &parts);
        let mut work = examiner("REDACT");
        let given = screened(&whole, &mut work, 7);
        assert_eq!(said(&given), "My card is [CARD_1], and yours [EMAIL_1]?", "{given}");
        assert_eq!(given.matches("data: ").count(), whole.matches("data: ").count(), "{given}");
        assert_eq!(work.report.action(), Some("REDACT"));
        // What is flagged goes on byte by byte as it came.
        let mut work = examiner("FLAG");
        assert_eq!(said(&screened(&whole, &mut work, 1000)), parts.concat());
        assert_eq!(work.report.action(), Some("FLAG"));
        // Nothing of what is blocked has gone on.
        let mut work = examiner("BLOCK");
        let given = screened(&whole, &mut work, 64);
        assert!(work.is_blocked() && !given.contains("41") && said(&given).starts_with("My card"), "{given}");
    }
}

#[test]
fn a_clean_stream_goes_on_as_it_came_and_soon() {
    for format in 0..4 {
        let whole = stream(format, &["Hello ", "there, how ", "are you? ", "你好", "，世界"]);
        let mut work = examiner("BLOCK");
        assert_eq!(screened(&whole, &mut work, 10), whole);
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        let first = stream(format, &["Hello there, "]);
        let first = first.split_inclusive("\n\n").next().unwrap().split_inclusive("\r\n\r\n").next().unwrap();
        screen.push(first.as_bytes(), &mut work, &mut out);
        assert_eq!(out, first.as_bytes(), "{format}");
    }
}

#[test]
fn texts_beside_each_other_are_told_apart() {
    let chunk = |index: u32, text: &str| {
        format!("data: {}\n\n", json!({"choices": [{"index": index, "delta": {"content": text}}]}))
    };
    let whole =
        [chunk(0, "4111 1111 "), chunk(1, "1111 1111"), chunk(0, "1111 1111"), chunk(1, " no"), chunk(0, " end")]
            .concat();
    let given = screened(&whole, &mut examiner("REDACT"), 1000);
    let of = |index: u32| -> String {
        let all = given.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        all.filter(|value| value["choices"][0]["index"] == index)
            .map(|value| value["choices"][0]["delta"]["content"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((of(0), of(1)), ("[CARD_1] end".to_owned(), "1111 1111 no".to_owned()));
}

#[test]
fn arguments_of_tools_are_looked_at() {
    let part = |text: &str| {
        format!(
            "data: {}\n\n",
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}]})
        )
    };
    let whole = [part("{\"note\":\"a\\n41"), part("11 1111 1111 1111\",\"n\":41"), part("11111111111111}")].concat();
    let given = screened(&whole, &mut examiner("REDACT"), 1000);
    let arguments: String = given
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .map(|value| {
            value["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(arguments, "{\"note\":\"a\\n[CARD_1]\",\"n\":\"[CARD_2]\"}");
}

/// A number of which each digit is an escape is found wherever the parts are cut.
#[test]
fn escapes_in_arguments_are_read_over_parts() {
    let digits: String = "4111111111111111".chars().map(|digit| format!("\\u{:04x}", digit as u32)).collect();
    let arguments = format!("{{\"note\":\"é\\n{digits} and 4111\\u00201111 1111\\u00201111\"}}");
    for size in [1, 2, 3, 5, 7, 11, 200] {
        let letters: Vec<char> = arguments.chars().collect();
        let part = |part: &[char]| {
            let part: String = part.iter().collect();
            format!(
                "event: content_block_delta\ndata: {}\n\n",
                json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": part}})
            )
        };
        let end = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n";
        let whole = letters.chunks(size).map(part).collect::<String>() + end;
        let given = screened(&whole, &mut examiner("REDACT"), 1000);
        let said: String = given
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
            .filter_map(|value| Some(value["delta"]["partial_json"].as_str()?.to_owned()))
            .collect();
        assert_eq!(said, "{\"note\":\"é\\n[CARD_1] and [CARD_2]\"}", "{size}");
    }
}

proptest! {
    #[test]
    fn any_parts_say_what_the_whole_says(
        words in proptest::collection::vec(prop::sample::select(vec![
            "4111 1111 1111 1111", "4111-1111-1111-1111", "5555555555554444", "GB82 WEST 1234 5698 7654 32", "ann@example.com", "123-45-6789",
            "sk-ant-api03-Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4fGh7jKl0nPq", "ssn 123456789", "hello", "the", "Word,", "2024", "X", "你好", "\u{a0}", "call", "+49 30 1234-5678",
        ]), 0..12),
        cuts in proptest::collection::vec(0_usize..400, 0..12),
        format in 0_usize..4,
        block in 1_usize..300,
    ) {
        let text = words.join(" ");
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).filter(|cut| text.is_char_boundary(*cut)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let parts: Vec<&str> = cuts.windows(2).map(|pair| text.get(pair[0]..pair[1]).unwrap()).collect();
        let mut one = examiner("REDACT");
        let whole = one.text(&text, "", true, text.as_bytes()).unwrap_or_else(|| text.clone());
        let mut work = examiner("REDACT");
        let given = screened(&stream(format, &parts), &mut work, block);
        prop_assert_eq!(said(&given), whole);
    }

    #[test]
    fn an_answer_in_any_parts_is_put_back_alike(answer in "(\\[CARD_1\\]|\\[EMAIL_1\\]|\\[|CARD_|[a-z1\\]]){0,12}", cuts in proptest::collection::vec(0_usize..200, 0..6), format in 0_usize..4) {
        let mut work = examiner("REDACT");
        work.text("4111111111111111 ab@example.com", "", true, b"");
        let redactor = work.redactor;
        let whole = redactor.restored(&answer, false).unwrap_or_else(|| answer.clone());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (answer.len() + 1)).collect();
        cuts.extend([0, answer.len()]);
        cuts.sort_unstable();
        let parts: Vec<&str> = cuts.windows(2).map(|pair| answer.get(pair[0]..pair[1]).unwrap()).collect();
        prop_assert_eq!(said(&screened(&stream(format, &parts), &mut Restorer(&redactor), 50)), whole);
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(prop::sample::select(b"data: {}[]\"\\\n\r:,x14".to_vec()), 0..200), block in 1_usize..20) {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        let mut work = examiner("FLAG");
        for block in bytes.chunks(block) {
            screen.push(block, &mut work, &mut out);
        }
        screen.end(&mut work, &mut out);
        prop_assert_eq!(out, bytes);
    }
}
