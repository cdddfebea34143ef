//! What a client's messages do: begin a response, say something for one, or neither.

use super::ledger::Ledger;
use super::terms::{Begun, Dialect, Origin, Step, kept};
use super::{body, frame};
use crate::wire::places::Node;
use crate::wire::request;

// === impl Ledger ===

impl<T> Ledger<T> {
    /// Reads a client's message, before it goes on.
    pub fn client(&mut self, message: &[u8]) -> Step {
        let bytes = &*frame::plain(message);
        let short = frame::short(bytes);
        let Some(node) = frame::of_client(&short, self.dialect) else {
            let may_begin = frame::may_begin(bytes, self.dialect);
            return if may_begin { Step::Unreadable } else { Step::Pass };
        };
        if frame::is_begin(&node, self.dialect) {
            return match self.dialect {
                Dialect::Live => self.live_input(&node, bytes),
                dialect => Step::Begins(Box::new(self.begun(dialect, &node, bytes))),
            };
        }
        match (self.dialect, node.text("type")) {
            (Dialect::Realtime, Some("session.update")) => self.take_session(&node, false),
            (Dialect::Realtime, Some("conversation.item.create")) if self.has_room(bytes.len()) => {
                let item = body::member(bytes, &["item"]);
                item.into_iter().for_each(|item| self.said.add(body::without_audio(item)));
            }
            (Dialect::Live, _) => {
                if let Some(model) = node.get("setup").and_then(|setup| setup.text("model")) {
                    let name = model.rsplit_once("models/").map_or(model, |(_, name)| name);
                    self.model = kept(Some(name));
                }
            }
            _ => {}
        }
        Step::Pass
    }

    fn begun(&self, dialect: Dialect, node: &Node<'_>, bytes: &[u8]) -> Begun {
        let is_steer = node.texts("type").all(|kind| kind == "response.steer");
        let parent = kept(node.text("previous_response_id"));
        let before =
            parent.as_ref().and_then(|parent| self.open.iter().find(|entry| entry.id.as_ref() == Some(parent)));
        let facts = match dialect {
            // What follows from a response is made as that was.
            Dialect::Responses if is_steer => before.map(|entry| entry.begun.facts.clone()).unwrap_or_default(),
            Dialect::Responses => {
                let mut scanner = request::Scanner::new(None);
                scanner.push(bytes);
                scanner.finish()
            }
            _ => self.of_conversation(),
        };
        let lane = match is_steer {
            true => before.and_then(|entry| entry.begun.lane.clone()),
            false => kept(node.text("stream_id")),
        };
        let origin = if is_steer { Origin::Steered } else { Origin::Asked };
        Begun { facts, id: None, lane, event_id: kept(node.text("event_id")), parent, origin }
    }
}
