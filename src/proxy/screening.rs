//! What the answer to a request has to know of how the request was looked at.

use crate::dlp::{Check, Dlp, Examiner, Redactor, Report};
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
        let redactor = self.redactor.clone();
        let mut examiner = Examiner::new(Rc::clone(&self.dlp), Check::Request, redactor, Report::default());
        if !self.dlp.is_for(Check::Request) {
            return None;
        }
        examiner.body(text.as_bytes()).map(|kept| String::from_utf8_lossy(&kept).into_owned())
    }

    /// What looks through the answer; its report goes on from that of the request.
    pub fn examiner(&self, report: Report) -> Examiner {
        Examiner::new(Rc::clone(&self.dlp), Check::Response, self.redactor.clone(), report)
    }
}
