//! The turns of Gemini's Live sessions. A turn begins with what the client says after the last one, and ends when the provider
//! says that it is complete. What it used may be told beside that, or in a message of its own behind it.

use super::body;
use super::ledger::{Ended, Entry, Ledger};
use crate::logs::call::Outcome;
use crate::proxy::session::terms::{Begun, Dialect, Origin, Step};
use crate::wire::places::Node;
use crate::wire::{self, Facts, Framing, Usage, usage};
use serde_json::{Value, json};

/// What was said in a turn so far.
#[derive(Debug, Default)]
pub struct Turn {
    /// True when the provider has said that it is over.
    pub is_complete: bool,
    is_interrupted: bool,
    reason: Option<String>,
    /// What the model wrote, and what it said aloud as text.
    text: String,
    spoken: String,
    heard: String,
    calls: Vec<Value>,
    /// What the generations before the last one used: each result of a tool begins another.
    before: Option<Usage>,
    last: Option<Usage>,
    told: Option<String>,
    model: Option<String>,
}

/// So many calls of tools are kept of a turn.
const MAX_CALLS: usize = 64;

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

// === impl Turn ===

impl Turn {
    pub fn is_begun(&self) -> bool {
        self.is_counted() || !self.text.is_empty() || !self.spoken.is_empty() || !self.calls.is_empty()
    }

    fn is_counted(&self) -> bool {
        self.last.is_some() || self.before.is_some()
    }

    fn take(&mut self, node: &Node<'_>, bytes: &[u8]) {
        if let Some(content) = node.get("serverContent") {
            let parts = content.get("modelTurn").map(|turn| turn.list("parts")).unwrap_or_default();
            for part in parts.iter().filter(|part| !part.has("thought")) {
                body::add(&mut self.text, part.text("text").unwrap_or(""));
            }
            let heard = |name: &str| content.get(name).and_then(|said| said.text("text")).unwrap_or("");
            body::add(&mut self.heard, heard("inputTranscription"));
            body::add(&mut self.spoken, heard("outputTranscription"));
            let is_true = |name: &str| content.json(name) == Some(&Value::Bool(true));
            self.is_interrupted |= is_true("interrupted");
            self.is_complete |= is_true("turnComplete");
            self.reason = crate::proxy::session::terms::kept(content.text("turnCompleteReason")).or(self.reason.take());
        }
        let calls = node.get("toolCall").and_then(|call| call.json("functionCalls")?.as_array());
        for call in calls.into_iter().flatten().take(MAX_CALLS.saturating_sub(self.calls.len())) {
            self.calls.push(call.clone());
        }
        if node.has("usageMetadata") {
            self.count(bytes);
        }
    }

    /// Counts of one generation are repeated while they grow.
    fn count(&mut self, bytes: &[u8]) {
        let Facts { usage, model, .. } = wire::read(Framing::Json, 200, bytes);
        let mut last = self.last.take().unwrap_or_default();
        usage::merge(&mut last, usage);
        self.last = Some(last);
        self.model = model.or(self.model.take());
        self.told = body::member(bytes, &["usageMetadata"]).map(str::to_owned);
    }

    fn next_generation(&mut self) {
        if let Some(last) = self.last.take() {
            self.before = Some(self.before.map_or(last, |before| added(before, last)));
        }
    }

    fn facts(&mut self) -> Facts {
        self.next_generation();
        let reason = if self.is_interrupted { Some("interrupted".to_owned()) } else { self.reason.take() };
        let ended = self.is_complete.then(|| reason.unwrap_or_else(|| "turn_complete".to_owned()));
        let usage = self.before.unwrap_or_default();
        Facts { model: self.model.take(), usage, finish_reason: ended, ..Facts::default() }
    }

    /// As Gemini answers who asks over HTTP.
    fn body(&self, reason: Option<&str>) -> String {
        let mut parts: Vec<Value> = Vec::new();
        for text in [&self.text, &self.spoken].into_iter().filter(|text| !text.is_empty()) {
            parts.push(json!({ "text": text }));
        }
        parts.extend(self.calls.iter().map(|call| json!({ "functionCall": call })));
        let content = json!({ "role": "model", "parts": parts });
        let candidate = json!({ "content": content, "finishReason": reason });
        let told: Option<Value> = self.told.as_ref().and_then(|told| serde_json::from_str(told).ok());
        json!({ "candidates": [candidate], "usageMetadata": told }).to_string()
    }
}

/// What two generations of a turn used.
fn added(before: Usage, last: Usage) -> Usage {
    let mut all = before;
    usage::add(&mut all, last);
    Usage {
        total_tokens: crate::wire::counts::sum(before.total_tokens, last.total_tokens),
        reasoning: crate::wire::counts::sum(before.reasoning, last.reasoning),
        ..all
    }
}

// === impl Entry ===

impl<T> Entry<T> {
    /// A turn that is over.
    pub(super) fn turned(mut self, collects: bool) -> Ended<T> {
        let facts = self.turn.facts();
        let body = collects.then(|| self.turn.body(facts.finish_reason.as_deref()));
        if collects && !self.turn.heard.is_empty() {
            self.said.add(json!({ "role": "user", "parts": [{ "text": self.turn.heard }] }).to_string());
        }
        let request = collects.then(|| format!(r#"{{"contents":{}}}"#, self.said.contents()));
        let outcome = Outcome {
            status: Some(200),
            content_type: Some("application/json".to_owned()),
            size: Some(self.size),
            body,
            facts,
            ..Outcome::default()
        };
        let ended = self.ended(outcome, Dialect::Live, collects);
        Ended { request, ..ended }
    }
}
