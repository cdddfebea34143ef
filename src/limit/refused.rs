//! Why a limit does not let a request in.

use super::cap::Cap;
use super::spend;
use crate::base::fault::{Fault, Kind};
use crate::base::json::json;
use crate::base::number;
use serde_json::Value;

/// What stands in the way of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// A rate limit of the gateway is used up, for so many seconds.
    Rate { rule: String, wait: u64 },
    /// The rate limit of the stored key that the request would use is.
    Key { wait: u64 },
    /// A budget is, in the words that tell of it.
    Spend { exceeded: String, wait: u64 },
    /// The cap of a policy is. What was spent is in millionths of a millionth of a dollar.
    Cap { cap: Cap, spent: u64, wait: u64 },
    /// A budget is for certain models, and which one the request is for cannot be told.
    ModelUnknown { rule: String, doubt: String },
    /// Money has to be set aside, and the counters do not answer.
    CountersUnavailable,
}

/// A request that is not let in.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub reason: Reason,
    /// The headers that tell of the limits.
    pub headers: Vec<(&'static str, String)>,
    /// True when no other step of a universal request would be let in either: another key or a cheaper model might be.
    pub is_final: bool,
}

// === impl Refused ===

impl Fault for Refused {
    fn kind(&self) -> Kind {
        match self.reason {
            Reason::Rate { .. } | Reason::Key { .. } => Kind::RateLimited,
            Reason::Spend { .. } | Reason::Cap { .. } => Kind::SpendLimited,
            Reason::ModelUnknown { .. } => Kind::ModelUnknown,
            Reason::CountersUnavailable => Kind::Unavailable,
        }
    }

    fn message(&self) -> String {
        match &self.reason {
            Reason::Rate { rule, wait } => {
                format!("Tollgate's rate limit '{rule}' of this gateway is used up. Try again in {wait} s.")
            }
            Reason::Key { wait } => format!(
                "Tollgate's rate limit of the stored key that this request would use is used up. Try again in {wait} s."
            ),
            Reason::Spend { exceeded, wait } => format!("{exceeded}. Try again in {wait} s."),
            Reason::Cap { cap, spent, wait } => format!(
                "The policy '{}' of this gateway allows {} US dollars for '{}', and with {} spent and what is under way the request \
                 may cost more than is left. Try again in {wait} s.",
                cap.policy,
                number::text(cap.limit),
                cap.bucket,
                spend::text(*spent),
            ),
            Reason::ModelUnknown { rule, doubt } => format!(
                "{}: {doubt}. Tollgate did not send it. Name one model, as a text and once, in plain UTF-8 JSON or a plain \
                 form field of a body of at most 32 MB; or set unknown_model of this gateway to allow, and the rule learns of \
                 the cost from the answer.",
                model_unknown(rule)
            ),
            Reason::CountersUnavailable => {
                "Tollgate cannot look at the spend limits of this gateway now, and one of them sets \
                 money aside for each request (reserve), so the request was not sent. Try again."
                    .to_owned()
            }
        }
    }

    /// Clients read the rule from the title, as the original writes it.
    fn title(&self) -> Option<String> {
        match &self.reason {
            Reason::Spend { exceeded, .. } => Some(exceeded.clone()),
            Reason::ModelUnknown { rule, .. } => Some(model_unknown(rule)),
            Reason::Cap { .. } => Some("Spending limit exceeded".to_owned()),
            Reason::Rate { .. } | Reason::Key { .. } | Reason::CountersUnavailable => None,
        }
    }

    fn error(&self) -> Option<Value> {
        let Reason::Cap { cap, spent, .. } = &self.reason else { return None };
        let spent = spend::dollars(*spent);
        Some(json!({ "message": "Spending limit exceeded", "bucket": cap.bucket, "spent": spent, "limit": cap.limit }))
    }

    fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }
}

fn model_unknown(rule: &str) -> String {
    format!("Spend limit: rule '{rule}' is about models, and the model of this request is not known")
}
