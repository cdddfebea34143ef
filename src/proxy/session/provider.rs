//! What a provider's messages tell of the responses of a connection: which of them has begun, which a message is about, and
//! that one has ended.

use super::ledger::{Ended, Entry, Ledger};
use super::terms::{Begun, Dialect, MAX_OPEN, Origin, kept};
use super::{body, ending, frame};
use crate::logs::call::{Failure, Outcome};
use crate::wire::body::MAX_BODY;
use crate::wire::places::Node;
use crate::wire::request::RequestFacts;
use crate::wire::{self, Framing};

// === impl Ledger ===

impl<T> Ledger<T> {
    /// Reads a provider's message. `make` makes what belongs to a response that the client did not ask for.
    pub fn server(&mut self, message: &[u8], now: u64, mut make: impl FnMut(&Begun) -> T) -> Vec<Ended<T>> {
        let bytes = &*frame::plain(message);
        let short = &*frame::short(bytes);
        let Some(node) = frame::of_server(short) else { return Vec::new() };
        if self.dialect == Dialect::Live {
            return self.live_output(&node, [bytes, short], now, &mut make);
        }
        match node.text("type").unwrap_or("") {
            "session.created" | "session.updated" => {
                self.take_session(&node, true);
                Vec::new()
            }
            "conversation.item.input_audio_transcription.completed" => {
                self.transcribed(&node, short, now, &mut make).into_iter().collect()
            }
            "error" => self.failed(&node, short).into_iter().collect(),
            "response.created" => {
                let evicted = self.created(&node, now, &mut make);
                self.touch(&node, bytes, now);
                evicted.into_iter().collect()
            }
            "response.completed"
            | "response.failed"
            | "response.incomplete"
            | "response.cancelled"
            | "response.done" => self.completed(&node, [bytes, short], now, &mut make),
            "response.steer.failed" => {
                let parent = node.get("steer").and_then(|steer| kept(steer.text("previous_response_id")));
                let is_it = |entry: &Entry<T>| entry.begun.origin == Origin::Steered && entry.begun.parent == parent;
                if let Some(at) = self.open.iter().position(is_it) {
                    // Nothing begins, so that nothing is paid for.
                    drop(self.open.remove(at));
                }
                Vec::new()
            }
            _ => {
                self.touch(&node, bytes, now);
                Vec::new()
            }
        }
    }

    pub(super) fn take_session(&mut self, node: &Node<'_>, is_reported: bool) {
        let Some(session) = node.get("session") else { return };
        let model = if is_reported { &mut self.told } else { &mut self.model };
        *model = kept(session.text("model")).or(model.take());
        let input = session.get("audio").and_then(|audio| audio.get("input")?.get("transcription"));
        let transcription = input.or_else(|| session.get("input_audio_transcription"));
        let named = transcription.and_then(|transcription| kept(transcription.text("model")));
        self.transcriber = named.or(self.transcriber.take());
    }

    /// Finds which of those that were asked for has begun, or takes note of one that was not. The other response is the oldest
    /// one, where there are too many.
    fn created(&mut self, node: &Node<'_>, now: u64, make: &mut impl FnMut(&Begun) -> T) -> Option<Ended<T>> {
        let response = node.get("response")?;
        let id = kept(response.text("id"));
        if id.is_some() && self.open.iter().any(|entry| entry.id == id) {
            return None;
        }
        let lane = kept(node.text("stream_id"));
        let parent = kept(response.text("previous_response_id"));
        let waits = |entry: &&mut Entry<T>| entry.id.is_none() && entry.first_at.is_none();
        let fits = |entry: &&mut Entry<T>| waits(entry) && entry.begun.lane == lane;
        let asked = |entry: &&mut Entry<T>| fits(entry) && entry.begun.origin == Origin::Asked;
        // A provider tells what a response goes on from, which tells apart those that were asked for at once.
        let follows = |entry: &&mut Entry<T>| asked(entry) && entry.begun.parent == parent;
        let steered = |entry: &&mut Entry<T>| {
            waits(entry) && entry.begun.origin == Origin::Steered && parent.is_some() && entry.begun.parent == parent
        };
        let at = position(&mut self.open, follows)
            .or_else(|| position(&mut self.open, steered))
            .or_else(|| position(&mut self.open, asked))
            // Not every provider knows of lanes.
            .or_else(|| {
                position(&mut self.open, |entry| lane.is_none() && waits(entry) && entry.begun.origin == Origin::Asked)
            });
        if let Some(entry) = at.and_then(|at| self.open.get_mut(at)) {
            (entry.id, entry.first_at, entry.begun.lane) = (id, Some(now), lane);
            return None;
        }
        let facts = self.of_conversation();
        let begun = Begun { facts, id: id.clone(), lane, event_id: None, parent, origin: Origin::Unasked };
        let evicted = (self.open.len() >= MAX_OPEN).then(|| self.open.remove(0));
        let mut entry = Entry::new(begun.clone(), make(&begun));
        (entry.id, entry.first_at) = (id, Some(now));
        entry.said = std::mem::take(&mut self.said);
        self.open.push(entry);
        let reason = "the provider began more responses at once than Tollgate keeps in mind";
        evicted.map(|entry| entry.broken(Failure::Upstream(reason.to_owned()), self.collects))
    }

    /// The response that a message is about.
    fn about(&self, node: &Node<'_>) -> Option<usize> {
        let id = node.get("response").and_then(|response| response.text("id")).or_else(|| node.text("response_id"));
        if let Some(id) = kept(id) {
            return self.open.iter().position(|entry| entry.id.as_ref() == Some(&id));
        }
        if self.dialect == Dialect::Realtime {
            return None;
        }
        let lane = kept(node.text("stream_id"));
        self.open.iter().position(|entry| entry.first_at.is_some() && entry.begun.lane == lane)
    }

    /// Takes note of an event of a response.
    fn touch(&mut self, node: &Node<'_>, bytes: &[u8], now: u64) {
        let kind = node.text("type").unwrap_or("");
        if !kind.starts_with("response.") {
            return;
        }
        let has_room = self.has_room(bytes.len());
        let Some(entry) = self.about(node).and_then(|at| self.open.get_mut(at)) else { return };
        entry.first_at.get_or_insert(now);
        entry.size += bytes.len() as u64;
        if has_room && !kind.ends_with("audio.delta") {
            body::gather(&mut entry.events, bytes);
        }
        if let Some(response) = node.get("response") {
            let read = wire::read(Framing::Json, 200, bytes);
            if response.has("usage") {
                entry.facts = read;
            } else {
                entry.facts.model = read.model.or(entry.facts.model.take());
                entry.facts.response_id = read.response_id;
                entry.facts.thing = read.thing;
            }
        }
    }

    fn completed(
        &mut self,
        node: &Node<'_>,
        [bytes, short]: [&[u8]; 2],
        now: u64,
        make: &mut impl FnMut(&Begun) -> T,
    ) -> Vec<Ended<T>> {
        let id = node.get("response").and_then(|response| kept(response.text("id")));
        let mut ended = Vec::new();
        if id.as_ref().is_some_and(|id| self.ended.contains(id)) {
            return ended;
        }
        let at = self.about(node).or_else(|| {
            ended.extend(self.created(node, now, make));
            self.about(node)
        });
        let Some(at) = at else { return ended };
        let mut entry = self.open.remove(at);
        self.note_ended(id);
        entry.size += bytes.len() as u64;
        entry.facts = ending::facts(node, short, std::mem::take(&mut entry.facts));
        if self.dialect == Dialect::Realtime && entry.facts.model.is_none() {
            entry.facts.model.clone_from(&self.told);
        }
        let is_kept = self.collects && bytes.len() <= MAX_BODY;
        let body = is_kept.then(|| ending::body(node, bytes, &entry.events));
        let outcome = Outcome {
            status: Some(200),
            content_type: Some("application/json".to_owned()),
            size: Some(entry.size),
            body,
            facts: std::mem::take(&mut entry.facts),
            ..Outcome::default()
        };
        ended.push(entry.ended(outcome, self.dialect, self.collects));
        ended
    }

    fn failed(&mut self, node: &Node<'_>, bytes: &[u8]) -> Option<Ended<T>> {
        let at = self.faulty(node)?;
        let mut entry = self.open.remove(at);
        self.note_ended(entry.id.clone());
        let began = entry.id.is_some();
        let status = frame::status(bytes).unwrap_or(if began { 200 } else { 400 });
        let mut facts = std::mem::take(&mut entry.facts);
        facts.error = wire::read(Framing::Json, 400, bytes).error.or_else(|| Some("it told of an error".to_owned()));
        let mut body = std::mem::take(&mut entry.events);
        if self.collects && !body.is_empty() {
            body::gather(&mut body, bytes);
        } else if self.collects {
            body = String::from_utf8_lossy(bytes).into_owned();
        }
        let outcome = Outcome {
            status: Some(status),
            content_type: Some("application/json".to_owned()),
            size: Some(entry.size + bytes.len() as u64),
            body: self.collects.then_some(body),
            facts,
            ..Outcome::default()
        };
        Some(entry.ended(outcome, self.dialect, self.collects))
    }

    /// Which response an error is about, if it is about one.
    fn faulty(&self, node: &Node<'_>) -> Option<usize> {
        let waits = |entry: &Entry<T>| entry.first_at.is_none() && entry.begun.origin != Origin::Steered;
        if self.dialect == Dialect::Realtime {
            let error = node.get("error")?;
            let event_id = kept(error.text("event_id"));
            let named = self.open.iter().position(|entry| event_id.is_some() && entry.begun.event_id == event_id);
            let is_busy = error.text("code") == Some("conversation_already_has_active_response");
            return named.or_else(|| self.open.iter().rposition(waits).filter(|_| is_busy && event_id.is_none()));
        }
        if let Some(at) = self.about(node).filter(|_| node.has("response_id") || node.has("sequence_number")) {
            return Some(at);
        }
        let lane = kept(node.text("stream_id"));
        let of_lane = |entry: &Entry<T>| entry.begun.lane == lane || (lane.is_none() && entry.first_at.is_none());
        let waiting = self.open.iter().position(|entry| of_lane(entry) && waits(entry));
        waiting.or_else(|| self.open.iter().position(|entry| of_lane(entry) && entry.begun.origin != Origin::Steered))
    }

    /// What was said, and what it cost to write it down: another model than that of the responses did.
    fn transcribed(
        &mut self,
        node: &Node<'_>,
        bytes: &[u8],
        now: u64,
        make: &mut impl FnMut(&Begun) -> T,
    ) -> Option<Ended<T>> {
        let transcript = node.text("transcript").unwrap_or("");
        if self.has_room(transcript.len()) && !transcript.is_empty() {
            match self.open.last_mut() {
                Some(entry) => entry.said.heard(transcript),
                None => self.said.heard(transcript),
            }
        }
        if !node.has("usage") {
            return None;
        }
        let facts = RequestFacts { model: self.transcriber.clone(), ..RequestFacts::default() };
        let begun = Begun { facts, origin: Origin::Unasked, ..Begun::default() };
        let entry = Entry::new(begun.clone(), make(&begun));
        let mut facts = wire::read(Framing::Json, 200, bytes);
        facts.model.clone_from(&self.transcriber);
        let outcome = Outcome {
            status: Some(200),
            content_type: Some("application/json".to_owned()),
            size: Some(bytes.len() as u64),
            body: self.collects.then(|| crate::base::json::json!({ "text": transcript }).to_string()),
            facts,
            ..Outcome::default()
        };
        Some(Ended { work: entry.work, outcome, first_at: Some(now), request: None })
    }
}

fn position<T>(all: &mut [Entry<T>], mut is_it: impl FnMut(&&mut Entry<T>) -> bool) -> Option<usize> {
    all.iter_mut().position(|entry| is_it(&entry))
}
