//! How an answer ended, in the provider's own word.

use super::places::Node;
use crate::wire::facts::Facts;

/// The words for how something ended.
const ENDS: &[&str] = &["completed", "incomplete", "failed", "cancelled", "expired"];

impl Facts {
    pub(super) fn take_ends(&mut self, ended: &Node<'_>) {
        let own = ended.first_text(&["finish_reason", "stop_reason", "stopReason", "completionReason"]);
        let incomplete = ended.get("incomplete_details").and_then(|details| details.text("reason"));
        let within = [
            ("choices", "finish_reason"),
            ("candidates", "finishReason"),
            ("outputs", "stop_reason"),
            ("generations", "finish_reason"),
            ("results", "completionReason"),
        ];
        let within =
            within.iter().find_map(|(list, name)| ended.list(list).iter().rev().find_map(|entry| entry.text(name)));
        let object = ended.text("object").unwrap_or("");
        if let Some(reason) = own.or(within).or(incomplete).or_else(|| ended_by(ended, object)) {
            self.finish_reason = Some(reason.to_owned());
        }
    }

    /// An event that has all that is known of a response or an interaction so far.
    pub(super) fn take_event(&mut self, kind: &str, whole: Option<&Node<'_>>, object: &str) {
        self.take_response(whole);
        let Some(whole) = whole else { return };
        let named = kind.rsplit('.').next().filter(|end| ENDS.contains(end));
        let reason = whole.get("incomplete_details").and_then(|details| details.text("reason"));
        if let Some(ended) = reason.or_else(|| ended_by(whole, object)).or(named) {
            self.finish_reason = Some(ended.to_owned());
        }
        if named.is_some() && !whole.has("status") {
            self.thing.is_open = false;
        }
    }
}

/// How something ended that has a status for it: a response, an interaction, a run. Why it did not end well is told beside it.
fn ended_by<'a>(ended: &'a Node<'_>, object: &str) -> Option<&'a str> {
    if !["response", "realtime.response", "interaction", "thread.run"].contains(&object) {
        return None;
    }
    let reason = ended.get("status_details").and_then(|details| details.text("reason"));
    // An interaction that wants a tool's result is over: another one brings it.
    let is_end = |status: &&str| ENDS.contains(status) || (object == "interaction" && *status == "requires_action");
    reason.or_else(|| ended.text("status").filter(is_end))
}
