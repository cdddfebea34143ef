//! The turns of Gemini's Live sessions. A turn begins with what the client says after the last one, and ends when the provider
//! says that it is complete. What it used may be told beside that, or in a message of its own behind it.

use super::body;
use super::ledger::{Ended, Entry, Ledger};
use super::terms::{Begun, Origin, Step};
use crate::base::json::json;
use crate::wire::places::Node;

// === impl Ledger ===

impl<T> Ledger<T> {
    /// What a client says in a turn, or to begin one.
    pub(super) fn live_input(&mut self, node: &Node<'_>, bytes: &[u8]) -> Step {
        let is_result = node.has("toolResponse") || node.has("tool_response");
        let typed = |name: &str| node.get(name).and_then(|input| input.text("text"));
        let typed = typed("realtimeInput").or_else(|| typed("realtime_input"));
        let is_content = ["clientContent", "client_content"].iter().any(|name| node.has(name));
        let is_said = is_result || typed.is_some() || is_content;
        let item = match (self.has_room(bytes.len()), typed) {
            (false, _) => None,
            (true, Some(text)) => Some(json!({ "role": "user", "parts": [{ "text": text }] }).to_string()),
            (true, None) if is_said => body::member(bytes, &["clientContent", "toolResponse"]).map(body::without_audio),
            (true, None) => None,
        };
        if let Some(entry) = self.open.iter_mut().find(|entry| !entry.turn.is_complete) {
            if is_result {
                entry.turn.next_generation();
            }
            if is_said && entry.begun.origin == Origin::Heard {
                entry.begun.origin = Origin::Asked;
            }
            item.into_iter().for_each(|item| entry.said.add(item));
            return Step::Pass;
        }
        item.into_iter().for_each(|item| self.said.add(item));
        let facts = self.of_conversation();
        let origin = if is_said { Origin::Asked } else { Origin::Heard };
        Step::Begins(Box::new(Begun { facts, origin, ..Begun::default() }))
    }

    pub(super) fn live_output(
        &mut self,
        node: &Node<'_>,
        [bytes, short]: [&[u8]; 2],
        now: u64,
        make: &mut impl FnMut(&Begun) -> T,
    ) -> Vec<Ended<T>> {
        let content = node.get("serverContent");
        let says = content.is_some_and(|content| content.has("modelTurn")) || node.has("toolCall");
        let counts = node.has("usageMetadata");
        if content.is_none() && !says && !counts {
            return Vec::new();
        }
        // Of a turn that is over only its count is still to come.
        let waiting = self.open.iter().position(|entry| entry.turn.is_complete);
        if let (Some(at), true) = (waiting, counts && content.is_none() && !says) {
            let mut entry = self.open.remove(at);
            entry.turn.count(short);
            return vec![entry.turned(self.collects)];
        }
        let is_open = self.open.iter().any(|entry| !entry.turn.is_complete);
        if !is_open && !says && !counts {
            return Vec::new();
        }
        let mut ended = Vec::new();
        if !is_open {
            let facts = self.of_conversation();
            let begun = Begun { facts, origin: Origin::Unasked, ..Begun::default() };
            self.open.push(Entry::new(begun.clone(), make(&begun)));
        }
        // Whatever follows a turn, its count does not come any more.
        if let Some(at) = waiting {
            ended.push(self.open.remove(at).turned(self.collects));
        }
        let Some(at) = self.open.iter().position(|entry| !entry.turn.is_complete) else { return ended };
        let Some(entry) = self.open.get_mut(at) else { return ended };
        let is_said = says || counts || content.is_some_and(|content| content.has("outputTranscription"));
        if is_said {
            entry.first_at.get_or_insert(now);
        }
        entry.size += bytes.len() as u64;
        entry.turn.take(node, short);
        if entry.turn.is_complete {
            if entry.turn.is_counted() {
                ended.push(self.open.remove(at).turned(self.collects));
            } else if !entry.turn.is_begun() && entry.begun.origin == Origin::Heard {
                // The provider found that there was nothing to answer.
                drop(self.open.remove(at));
            }
        }
        ended
    }
}
