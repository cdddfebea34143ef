//! A turn of Gemini's Live sessions: what was said in it, and what it used.

use super::body;
use super::terms;
use crate::base::json::json;
use crate::wire::places::Node;
use crate::wire::{self, Facts, Framing, Usage, counts, usage};
use serde_json::Value;

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
    pub heard: String,
    calls: Vec<Value>,
    /// What the generations before the last one used: each result of a tool begins another.
    before: Option<Usage>,
    last: Option<Usage>,
    told: Option<String>,
    model: Option<String>,
}

/// So many calls of tools are kept of a turn.
const MAX_CALLS: usize = 64;

// === impl Turn ===

impl Turn {
    pub fn is_begun(&self) -> bool {
        self.is_counted() || !self.text.is_empty() || !self.spoken.is_empty() || !self.calls.is_empty()
    }

    pub fn is_counted(&self) -> bool {
        self.last.is_some() || self.before.is_some()
    }

    pub fn take(&mut self, node: &Node<'_>, bytes: &[u8]) {
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
            self.reason = terms::kept(content.text("turnCompleteReason")).or(self.reason.take());
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
    pub fn count(&mut self, bytes: &[u8]) {
        let Facts { usage, model, .. } = wire::read(Framing::Json, 200, bytes);
        let mut last = self.last.take().unwrap_or_default();
        usage::merge(&mut last, usage);
        self.last = Some(last);
        self.model = model.or(self.model.take());
        self.told = body::member(bytes, &["usageMetadata"]).map(str::to_owned);
    }

    pub fn next_generation(&mut self) {
        if let Some(last) = self.last.take() {
            self.before = Some(self.before.map_or(last, |before| added(before, last)));
        }
    }

    pub fn facts(&mut self) -> Facts {
        self.next_generation();
        let reason = if self.is_interrupted { Some("interrupted".to_owned()) } else { self.reason.take() };
        let ended = self.is_complete.then(|| reason.unwrap_or_else(|| "turn_complete".to_owned()));
        let usage = self.before.unwrap_or_default();
        Facts { model: self.model.take(), usage, finish_reason: ended, ..Facts::default() }
    }

    /// As Gemini answers who asks over HTTP.
    pub fn body(&self, reason: Option<&str>) -> String {
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
        total_tokens: counts::sum(before.total_tokens, last.total_tokens),
        reasoning: counts::sum(before.reasoning, last.reasoning),
        ..all
    }
}
