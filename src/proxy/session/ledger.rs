//! The responses of a connection that are under way, and how they end. Each has something of its caller's with it, which is given
//! back with what became of the response.

use super::body::{self, Said};
use super::terms::{Begun, Dialect, MAX_OPEN, Origin};
use super::turn::Turn;
use crate::base::json::json;
use crate::http::refusal::Refusal;
use crate::logs::call::{Failure, Outcome};
use crate::wire::Facts;
use crate::wire::request::RequestFacts;
use std::collections::VecDeque;

/// The responses of a connection that are not complete.
pub struct Ledger<T> {
    pub(super) dialect: Dialect,
    /// Whether bodies are wanted.
    pub(super) collects: bool,
    pub(super) open: Vec<Entry<T>>,
    /// The ids of those that ended last, for what is told of them afterwards.
    pub(super) ended: VecDeque<String>,
    /// The model of a conversation as the client asks for it, and as the provider tells it.
    pub(super) model: Option<String>,
    pub(super) told: Option<String>,
    /// The model that writes down what is said in a conversation.
    pub(super) transcriber: Option<String>,
    /// What was said since the last response.
    pub(super) said: Said,
    /// How much may be kept of what comes piece by piece, of all responses together and in bytes.
    allowed: usize,
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
    /// `model` is the one that the handshake names.
    pub fn new(dialect: Dialect, model: Option<String>, collects: bool) -> Self {
        let (open, ended, said) = (Vec::new(), VecDeque::new(), Said::default());
        Self { dialect, collects, open, ended, model, told: None, transcriber: None, said, allowed: 0 }
    }

    /// What is kept of what came piece by piece, in bytes.
    pub fn held(&self) -> usize {
        self.said.bytes() + self.open.iter().map(|entry| entry.events.len() + entry.said.bytes()).sum::<usize>()
    }

    /// Lets so much be kept. Without room rows have less for bodies, and nothing else changes.
    pub fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.collects && self.held() + bytes <= self.allowed
    }

    /// What a response of a conversation is asked for with.
    pub(super) fn of_conversation(&self) -> RequestFacts {
        RequestFacts { model: self.model.clone().or_else(|| self.told.clone()), ..RequestFacts::default() }
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
            Dialect::Realtime if self.has_room(message.len()) => {
                body::member(message, &["response"]).map(body::without_audio)
            }
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

    /// A response that was not told to its end.
    pub fn broken(mut self, failure: Failure, collects: bool) -> Ended<T> {
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
