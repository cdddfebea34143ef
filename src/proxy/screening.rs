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

    /// Puts placeholders into what a row has beside the bodies: metadata, names of events and sessions, query and path. Limits and routes
    /// need them as they were, so that this is done when the row is made. `report` is what it is told to.
    pub fn conceal(&self, call: &mut Call, report: Report) -> Examiner {
        let mut examiner = Examiner::new(Rc::clone(&self.dlp), Check::Request, self.redactor.clone(), report);
        if !self.dlp.is_for(Check::Request) {
            return examiner;
        }
        let mut other = |text: &str, path: &str| examiner.text(text, path, true, text.as_bytes());
        for (key, value) in &mut call.metadata.entries {
            let text = if let Value::String(text) = &value { text.clone() } else { value.to_string() };
            if let Some(text) = other(&text, &format!("metadata.{key}")) {
                *value = Value::String(text);
            }
            if let Some(text) = other(key, "metadata") {
                *key = text;
            }
        }
        for (text, path) in [(&mut call.event_id, "event_id"), (&mut call.rest, "path")] {
            if let Some(other) = other(text, path) {
                *text = other;
            }
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
        const OTHERS: [&str; 6] = ["key", "token", "auth", "cookie", "secret", "sign"];
        let is_own = name.starts_with("x-") && !name.starts_with("x-forwarded") && name != "x-real-ip";
        let is_looked_at = is_own && self.dlp.is_for(Check::Request) && !OTHERS.iter().any(|part| name.contains(part));
        if !is_looked_at {
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
