//! How a response ended, by the message that ends it.

use super::body;
use crate::wire::places::Node;
use crate::wire::{self, Facts, Framing};

/// What the last message of a response says of it, and what others have said before.
pub fn facts(node: &Node<'_>, bytes: &[u8], before: Facts) -> Facts {
    let read = wire::read(Framing::Json, 200, bytes);
    let response = node.get("response");
    let text = |name: &str| response.and_then(|response| response.text(name));
    let details = |name: &str| response.and_then(|response| response.get(name)?.text("reason"));
    let status = text("status").or_else(|| node.text("type")?.rsplit('.').next().filter(|kind| *kind != "done"));
    // Why, where there is more to say than how.
    let reason = details("incomplete_details").or_else(|| details("status_details")).or(status);
    let failed = response.and_then(|response| response.get("status_details")?.get("error"));
    let told = failed.and_then(|error| error.first_text(&["message", "code", "type"])).map(str::to_owned);
    let error = read.error.clone().or(told).or_else(|| {
        (status == Some("failed")).then(|| "the response failed, and the provider does not say why".to_owned())
    });
    let usage = if read.usage.is_reported() { read.usage } else { before.usage };
    Facts {
        model: read.model.or(before.model),
        response_id: read.response_id.or(before.response_id),
        usage,
        finish_reason: read.finish_reason.or_else(|| reason.map(str::to_owned)),
        error,
        thing: read.thing,
    }
}

/// The response as the provider tells it in the end, without audio; or all of its events, where that leaves out what it said.
pub fn body(node: &Node<'_>, bytes: &[u8], events: &str) -> String {
    let has_output = node.get("response").is_some_and(|response| response.has("output"));
    let whole = body::member(bytes, &["response"]);
    match whole {
        Some(whole) if has_output || events.is_empty() => body::without_audio(whole),
        _ => {
            let mut all = events.to_owned();
            body::gather(&mut all, bytes);
            all
        }
    }
}
