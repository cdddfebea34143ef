//! What the answer to a request has to know of how the request was looked at.

use crate::dlp::{Check, Dlp, Examiner, Redactor, Report};
use crate::logs::call::Call;
use serde_json::Value;
use std::rc::Rc;

/// Tells the client what was found.
pub const HEADER: &str = "cf-aig-dlp";

/// What an answer is refused with in which something must not leave.
pub const BLOCKED: &str = "The answer has something in it that this gateway's setting dlp keeps from leaving; the log says which \
     profiles it belongs to.";

pub struct Screening {
    pub dlp: Rc<Dlp>,
    /// What the placeholders of the request stand for. It is in memory only, and for this request only.
    pub redactor: Redactor,
}

// === impl Screening ===

impl Screening {
    /// Of a request that was not looked at yet.
    pub fn of(dlp: &Rc<Dlp>) -> Rc<Self> {
        Rc::new(Self { dlp: Rc::clone(dlp), redactor: Redactor::default() })
    }

    /// What stands for what, where the client wants its own texts back.
    pub fn restores(&self) -> Option<&Redactor> {
        Some(&self.redactor).filter(|redactor| self.dlp.restores && !redactor.is_empty())
    }

    /// A text of the request as it may be kept, with the placeholders that the request has; `None` where it may be as it is.
    pub fn kept(&self, text: &str) -> Option<String> {
        let mut examiner = self.other_examiner();
        if !self.dlp.is_for(Check::Request) {
            return None;
        }
        examiner.body(text.as_bytes()).map(|kept| String::from_utf8_lossy(&kept).into_owned())
    }

    /// The same for what guardrails tell their judges.
    pub fn conceal_words(&self, metadata: &mut [(String, Value)], event_id: &mut String) {
        if self.dlp.is_for(Check::Request) {
            words(&mut self.other_examiner(), metadata, event_id);
        }
    }

    /// An address that was called, for a trace.
    pub fn word(&self, text: &str) -> Option<String> {
        if self.dlp.is_for(Check::Request) {
            self.other_examiner().text(text, "path", true, text.as_bytes())
        } else {
            None
        }
    }

    /// Puts placeholders into what a row has beside the bodies: metadata, names of events and sessions, query and path. Limits and routes
    /// need them as they were, so that this is done when the row is made. `report` is what it is told to.
    pub fn conceal(&self, call: &mut Call, report: Report) -> Examiner {
        let mut examiner = Examiner::new(Rc::clone(&self.dlp), Check::Request, self.redactor.clone(), report);
        if !self.dlp.is_for(Check::Request) {
            return examiner;
        }
        words(&mut examiner, &mut call.metadata.entries, &mut call.event_id);
        let mut other = |text: &str, path: &str| examiner.text(text, path, true, text.as_bytes());
        if let Some(path) = other(&call.rest, "path") {
            call.rest = path;
        }
        for session in call.session.iter_mut().flatten() {
            if let Some(other) = other(session, "session_id") {
                *session = other;
            }
        }
        if let Some(query) = examiner.query(&call.query) {
            call.query = query;
        }
        examiner
    }

    /// A header that goes to the provider, with placeholders; `None` where it stays as it is. Credentials stay.
    pub fn header(&self, name: &str, value: &str) -> Option<String> {
        if !self.dlp.is_for(Check::Request) || !is_looked_at(name) {
            return None;
        }
        self.other_examiner().text(value, name, true, value.as_bytes())
    }

    /// A query that goes to the provider, with placeholders.
    pub fn address(&self, url: &str) -> Option<String> {
        let (address, query) = url.split_once('?').filter(|_| self.dlp.is_for(Check::Request))?;
        self.other_examiner().query(query).map(|query| format!("{address}?{query}"))
    }

    fn other_examiner(&self) -> Examiner {
        Examiner::new(Rc::clone(&self.dlp), Check::Request, self.redactor.clone(), Report::default())
    }

    /// What looks through the answer; its report goes on from that of the request.
    pub fn examiner(&self, report: Report) -> Examiner {
        Examiner::new(Rc::clone(&self.dlp), Check::Response, self.redactor.clone(), report)
    }
}

/// Whether a header may have what must not leave. Credentials, addresses of clients and the ids of traces are what they are.
pub fn is_looked_at(name: &str) -> bool {
    const OTHERS: [&str; 8] = ["key", "token", "auth", "cookie", "secret", "sign", "trace", "span"];
    let is_own = name.starts_with("x-") && !name.starts_with("x-forwarded") && name != "x-real-ip";
    is_own && !OTHERS.iter().any(|part| name.contains(part))
}

fn words(examiner: &mut Examiner, metadata: &mut [(String, Value)], event_id: &mut String) {
    let mut other = |text: &str, path: &str| examiner.text(text, path, true, text.as_bytes());
    for (key, value) in metadata {
        let text = if let Value::String(text) = &value { text.clone() } else { value.to_string() };
        if let Some(text) = other(&text, &format!("metadata.{key}")) {
            *value = Value::String(text);
        }
        if let Some(text) = other(key, "metadata") {
            *key = text;
        }
    }
    if let Some(text) = other(event_id, "event_id") {
        *event_id = text;
    }
}
