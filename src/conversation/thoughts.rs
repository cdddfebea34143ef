//! What a model thought, out of the events of a stream: the other readers leave it out.

use crate::wire::sse::Events;
use serde_json::Value;

/// What a model thought in a stream, put together.
pub fn thoughts(response: &str) -> String {
    let mut text = String::new();
    let mut take = |event: &Value| {
        let at = |place: &str| event.pointer(place).and_then(Value::as_str);
        let is_summary = event
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.starts_with("response.reasoning") && kind.ends_with(".delta"));
        let told = [
            "/delta/thinking",
            "/choices/0/delta/reasoning_content",
            "/choices/0/delta/reasoning",
            "/contentBlockDelta/delta/reasoningContent/text",
            "/delta/reasoningContent/text",
        ];
        if let Some(piece) = told.iter().find_map(|place| at(place)).or_else(|| at("/delta").filter(|_| is_summary)) {
            text.push_str(piece);
        }
        for part in event.pointer("/candidates/0/content/parts").and_then(Value::as_array).into_iter().flatten() {
            if part.get("thought").is_some_and(|thought| thought == true) {
                text.push_str(part.get("text").and_then(Value::as_str).unwrap_or(""));
            }
        }
    };
    for data in Events::new(response.as_bytes()) {
        if let Ok(event) = serde_json::from_slice::<Value>(&data) {
            take(&event);
        }
    }
    text
}
