//! Which responses of a connection are under way: what begins one, which messages are about it, and how it ends. Each has
//! something of its caller's with it, which is given back with what became of the response.

use super::body::{self, Said};
use super::frame;
use super::live::Turn;
use super::{Begun, Dialect, MAX_OPEN, Origin, Step, kept};
use crate::http::refusal::Refusal;
use crate::logs::record::{Failure, Outcome};
use crate::wire::places::Node;
use crate::wire::request::{self, RequestFacts};
use crate::wire::{self, Facts, Framing};
use std::collections::VecDeque;

/// The responses of a connection that are not complete.
pub struct Ledger<T> {
    pub(super) dialect: Dialect,
    /// Whether bodies are wanted.
    pub(super) collects: bool,
    pub(super) open: Vec<Entry<T>>,
    /// The ids of those that ended last, for what is told of them afterwards.
    ended: VecDeque<String>,
    /// The model of a conversation, as the provider tells it, or else as the client asks for it.
    pub(super) model: Option<String>,
    /// The model that writes down what is said in a conversation.
    transcriber: Option<String>,
    /// What was said since the last response.
    pub(super) said: Said,
}

pub(super) struct Entry<T> {
    pub work: T,
    pub begun: Begun,
    pub id: Option<String>,
    pub facts: Facts,
    /// The events so far, for a response that is not told as a whole.
    pub events: String,
    pub size: u64,
    pub first_at: Option<u64>,
    pub said: Said,
    /// What the client's message says of the response, as JSON.
    pub asked: String,
    pub turn: Turn,
}

/// A response that has ended.
pub struct Ended<T> {
    pub work: T,
    pub outcome: Outcome,
    /// When the provider first said something of it.
    pub first_at: Option<u64>,
    /// What was asked, where no one message says it.
    pub request: Option<String>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    ByClient,
    ByProvider { code: u16, reason: String },
}

/// So many ids of ended responses are kept.
const MAX_ENDED: usize = 64;

/// The status of a response whose client left before there was anything of it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

// === impl Ledger ===

impl<T> Ledger<T> {
    pub fn new(dialect: Dialect, collects: bool) -> Self {
        let (open, ended, said) = (Vec::new(), VecDeque::new(), Said::default());
        Self { dialect, collects, open, ended, model: None, transcriber: None, said }
    }

    /// Reads a client's message, before it goes on.
    pub fn client(&mut self, message: &[u8]) -> Step {
        let bytes = &*frame::plain(message);
        let Some(node) = frame::of_client(bytes, self.dialect) else {
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
            (Dialect::Realtime, Some("session.update")) => self.take_session(&node),
            (Dialect::Realtime, Some("conversation.item.create")) if self.collects => {
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
            Dialect::Responses => request::read_request(None, bytes),
            _ => RequestFacts { model: self.model.clone(), ..RequestFacts::default() },
        };
        let lane = match is_steer {
            true => before.and_then(|entry| entry.begun.lane.clone()),
            false => kept(node.text("stream_id")),
        };
        let origin = if is_steer { Origin::Steered } else { Origin::Asked };
        Begun { facts, id: None, lane, event_id: kept(node.text("event_id")), parent, origin }
    }

    /// Whether there is room for another response.
    pub fn admits(&self) -> Result<(), Refusal> {
        if self.open.len() < MAX_OPEN {
            return Ok(());
        }
        Err(Refusal::rate_limited(format!(
            "{MAX_OPEN} responses of this WebSocket are not complete, which is as many as Tollgate keeps in mind. Wait for one to \
             end, or open another connection."
        )))
    }

    /// Takes note of a response that its limits let begin. `message` is what asks for it.
    pub fn begin(&mut self, begun: Begun, work: T, message: &[u8]) {
        let asked = match self.dialect {
            Dialect::Realtime if self.collects => body::member(message, &["response"]).map(body::without_audio),
            _ => None,
        };
        if begun.origin == Origin::Asked && begun.parent.is_some() {
            // What waited to be told comes with this one.
            self.open.retain(|entry| entry.begun.origin != Origin::Steered || entry.begun.parent != begun.parent);
        }
        let mut entry = Entry::new(begun, work);
        entry.asked = asked.unwrap_or_default();
        entry.said = std::mem::take(&mut self.said);
        self.open.push(entry);
    }

    /// Reads a provider's message. `make` makes what belongs to a response that nobody asked for.
    pub fn server(&mut self, message: &[u8], now: u64, mut make: impl FnMut(&Begun) -> T) -> Vec<Ended<T>> {
        let bytes = &*frame::plain(message);
        let Some(node) = frame::of_server(bytes) else { return Vec::new() };
        if self.dialect == Dialect::Live {
            return self.live_output(&node, bytes, now, &mut make);
        }
        match node.text("type").unwrap_or("") {
            "session.created" | "session.updated" => {
                self.take_session(&node);
                Vec::new()
            }
            "conversation.item.input_audio_transcription.completed" => {
                self.transcribed(&node, bytes, now, &mut make).into_iter().collect()
            }
            "error" => self.failed(&node, bytes).into_iter().collect(),
            "response.created" => {
                let evicted = self.created(&node, now, &mut make);
                self.touch(&node, bytes, now);
                evicted.into_iter().collect()
            }
            "response.completed"
            | "response.failed"
            | "response.incomplete"
            | "response.cancelled"
            | "response.done" => self.completed(&node, bytes, now, &mut make),
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

    fn take_session(&mut self, node: &Node<'_>) {
        let Some(session) = node.get("session") else { return };
        self.model = kept(session.text("model")).or(self.model.take());
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
        let facts = RequestFacts { model: self.model.clone(), ..RequestFacts::default() };
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
        let Some(entry) = self.about(node).and_then(|at| self.open.get_mut(at)) else { return };
        entry.first_at.get_or_insert(now);
        entry.size += bytes.len() as u64;
        if self.collects && !kind.ends_with("audio.delta") {
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
        bytes: &[u8],
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
        entry.facts = super::ending::facts(node, bytes, std::mem::take(&mut entry.facts));
        if self.dialect == Dialect::Realtime && entry.facts.model.is_none() {
            entry.facts.model.clone_from(&self.model);
        }
        let body = self.collects.then(|| super::ending::body(node, bytes, &entry.events));
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
        if self.collects && !transcript.is_empty() {
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
            body: self.collects.then(|| serde_json::json!({ "text": transcript }).to_string()),
            facts,
            ..Outcome::default()
        };
        Some(Ended { work: entry.work, outcome, first_at: Some(now), request: None })
    }

    pub(super) fn note_ended(&mut self, id: Option<String>) {
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.extend(id);
    }

    /// The connection is over: what has not ended does so now.
    pub fn close(&mut self, how: &Closed) -> Vec<Ended<T>> {
        let collects = self.collects;
        let dialect = self.dialect;
        let all = std::mem::take(&mut self.open).into_iter();
        // What might have followed, and did not, leaves no row.
        let begun = all.filter(|entry| match entry.begun.origin {
            Origin::Steered => entry.first_at.is_some(),
            Origin::Heard => entry.first_at.is_some(),
            Origin::Asked | Origin::Unasked => true,
        });
        begun
            .map(|entry| {
                if dialect == Dialect::Live && entry.turn.is_complete {
                    return entry.turned(collects);
                }
                let failure = how.failure(entry.first_at.is_some());
                entry.broken(failure, collects)
            })
            .collect()
    }
}

fn position<T>(all: &mut [Entry<T>], mut is_it: impl FnMut(&&mut Entry<T>) -> bool) -> Option<usize> {
    all.iter_mut().position(|entry| is_it(&entry))
}

// === impl Entry ===

impl<T> Entry<T> {
    pub fn new(begun: Begun, work: T) -> Self {
        let (facts, turn) = (Facts::default(), Turn::default());
        let (events, asked, said) = (String::new(), String::new(), Said::default());
        Self { work, begun, id: None, facts, events, size: 0, first_at: None, said, asked, turn }
    }

    pub fn ended(self, outcome: Outcome, dialect: Dialect, collects: bool) -> Ended<T> {
        let request = (collects && dialect == Dialect::Realtime).then(|| {
            let asked = if self.asked.is_empty() { "{}" } else { &self.asked };
            format!(r#"{{"type":"response.create","input":{},"response":{asked}}}"#, self.said.list())
        });
        Ended { work: self.work, outcome, first_at: self.first_at, request }
    }

    /// A response that was not told to its end.
    fn broken(mut self, failure: Failure, collects: bool) -> Ended<T> {
        if self.turn.is_begun() {
            let Ended { work, outcome, first_at, request } = self.turned(collects);
            return Ended { work, outcome: Outcome { failure: Some(failure), ..outcome }, first_at, request };
        }
        let status = match (self.first_at, &failure) {
            (Some(_), _) => Some(200),
            (None, Failure::ClientLeft) => Some(CLIENT_CLOSED_REQUEST),
            (None, _) => None,
        };
        let (events, facts) = (std::mem::take(&mut self.events), std::mem::take(&mut self.facts));
        let outcome = Outcome {
            status,
            content_type: (!events.is_empty()).then(|| "text/event-stream".to_owned()),
            size: Some(self.size),
            body: (collects && !events.is_empty()).then_some(events),
            facts,
            failure: Some(failure),
            ..Outcome::default()
        };
        // What was said for it is what the row of a conversation has.
        let dialect =
            if self.said.is_empty() && self.asked.is_empty() { Dialect::Responses } else { Dialect::Realtime };
        self.ended(outcome, dialect, collects)
    }
}

// === impl Closed ===

impl Closed {
    fn failure(&self, has_begun: bool) -> Failure {
        match self {
            Self::ByClient => Failure::ClientLeft,
            Self::ByProvider { code, reason } => {
                let reason: String = reason.chars().take(MAX_REASON).collect();
                let what = if has_begun { "the answer broke off" } else { "the connection ended before an answer" };
                Failure::Upstream(
                    format!("{what}: the provider closed the WebSocket with {code} {reason}").trim_end().to_owned(),
                )
            }
        }
    }
}

/// Longer reasons of a provider lose their end, in characters.
const MAX_REASON: usize = 200;
