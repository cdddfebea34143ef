//! Whether an answer is all that its provider wanted to say. A connection can end properly in the middle of one.

use super::places::{Node, Take, shape};
use crate::wire::facts::{Facts, Framing};
use crate::wire::{eventstream, places, sniffed, sse};
use serde::de::IgnoredAny;

/// The types of the events that end a stream, for formats that do not end in `[DONE]`.
const LAST: &[&str] = &[
    "conversation.response.done",
    "done",
    "image_edit.completed",
    "image_generation.completed",
    "interaction.complete",
    "interaction.completed",
    "message-end",
    "message_stop",
    "response.completed",
    "response.incomplete",
    "speech.audio.done",
    "stream-end",
    "transcript.text.done",
    "transcription.done",
];

/// Reads how a body ends. `body` may be the end of a longer one if that is a stream of events. A stream whose format has
/// no end that is known here is not called complete.
pub fn is_complete(framing: Framing, body: &[u8], facts: &Facts) -> bool {
    if facts.error.is_some() {
        return false;
    }
    match sniffed(framing, body) {
        Framing::Json => serde_json::from_slice::<IgnoredAny>(body).is_ok(),
        Framing::Lines => {
            let last = body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or(&[]);
            facts.finish_reason.is_some() && serde_json::from_slice::<IgnoredAny>(last).is_ok()
        }
        Framing::Sse => {
            let mut events = sse::Events::new(body);
            let last = events.by_ref().last();
            events.rest().is_none() && last.is_some_and(|data| is_last(&data))
        }
        Framing::AwsEventStream => {
            let mut frames = eventstream::Frames::new(body);
            frames.by_ref().for_each(drop);
            frames.is_at_end() && facts.finish_reason.is_some() && facts.usage.tokens_out.is_some()
        }
    }
}

fn is_last(data: &[u8]) -> bool {
    if data.trim_ascii() == b"[DONE]" {
        return true;
    }
    let mut last = false;
    places::read(data, event, &mut |event| last = ends(&event));
    last
}

shape! { event {
    "type" => Take::Text, "object" => Take::Text, "event_type" => Take::Text, "candidates" => Take::Inside(candidate),
    "token" => Take::Seen, "generated_text" => Take::Text,
} }
shape! { candidate { "finishReason" => Take::Text, } }

fn ends(event: &Node<'_>) -> bool {
    // Gemini's last event is the one that says why the model stopped.
    let stopped = event.list("candidates").iter().any(|candidate| candidate.text("finishReason").is_some());
    // Hugging Face's has the whole text.
    let told = event.has("token") && event.text("generated_text").is_some();
    stopped || told || event.first_text(&["type", "event_type", "object"]).is_some_and(|kind| LAST.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::read;
    use std::path::Path;

    fn complete(framing: Framing, body: &[u8]) -> bool {
        is_complete(framing, body, &read(framing, 200, body))
    }

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
    }

    #[test]
    fn every_providers_stream_is_complete_and_no_beginning_of_it_is() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut streams = 0;
        for provider in std::fs::read_dir(fixtures).unwrap() {
            for file in std::fs::read_dir(provider.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let framing = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("sse") => Framing::Sse,
                    Some("ndjson") => Framing::Lines,
                    Some("eventstream") => Framing::AwsEventStream,
                    _ => continue,
                };
                let body = std::fs::read(&path).unwrap();
                let failed = read(framing, 200, &body).error.is_some();
                assert_eq!(complete(framing, &body), !failed, "{}", path.display());
                streams += 1;
                // The end of the last event may be cut off by a line break or two; before that, nothing is complete.
                let text = body.trim_ascii_end();
                for cut in (0..text.len()).step_by(7).chain([text.len() - 1]) {
                    assert!(!complete(framing, &body[..cut]), "{} cut at {cut}", path.display());
                }
            }
        }
        assert!(streams > 15);
    }

    #[test]
    fn a_json_answer_is_complete_when_it_can_be_read() {
        for (body, wanted) in [(r#"{"a":1}"#, true), ("[1,2]", true), (r#"{"a":1"#, false), ("[{}", false), ("", false)]
        {
            assert_eq!(complete(Framing::Json, body.as_bytes()), wanted, "{body}");
        }
        assert!(!complete(Framing::Json, br#"{"error":{"message":"no"}}"#));
    }

    #[test]
    fn an_error_within_a_stream_is_no_answer() {
        assert!(!complete(Framing::Sse, b"data: {\"error\":{\"message\":\"overloaded\"}}\n\ndata: [DONE]\n\n"));
        assert!(!complete(Framing::Sse, b"data: {\"type\":\"response.output_text.done\"}\n\n"));
        assert!(!complete(Framing::Sse, b"data: hello\n\n"));
        assert!(!complete(Framing::Sse, b""));
        // The end of a long stream begins anywhere.
        let body = fixture("openai/chat.sse");
        assert!(complete(Framing::Sse, &body[body.len() / 2..]));
    }
}
