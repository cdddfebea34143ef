//! The unified API: one address for the models of all providers. A request in the format of one API goes to a provider of that
//! format as it is, or to one of another format translated, and so does its answer.

pub mod array;
pub mod beyond;
pub mod blocks;
#[cfg(test)]
mod blocks_tests;
pub mod door;
pub mod headers;
pub mod plan;
pub mod pump;
pub mod resolved_worker;
pub mod translation;

use crate::http::envelope::Reply;
use crate::http::refusal::{Refusal, Refused};
use crate::http::router::Route;
use crate::providers::table::KeyForm;
use crate::proxy::models::task::{self, Task};
use crate::translate::model::Failure;
use crate::translate::{self, Format};
use translation::Translation;

/// What a request of the unified API has to know until it is answered.
#[derive(Debug)]
pub struct Unified {
    /// The format in which the caller is answered.
    pub caller: Format,
    /// True for a caller who gets what the gateway itself refuses in that format, too.
    pub speaks_it: bool,
    /// The session that the caller's body names, in the place that its own format has for it.
    pub session: Option<String>,
    /// How the provider takes a key at the address that is asked.
    pub key_form: KeyForm,
    /// `None` where the provider speaks the caller's format.
    pub translation: Option<Translation>,
}

// === impl Unified ===

impl Unified {
    /// What is known of a request that asks a model for something beside conversing.
    pub fn of_task(task: &Task, key_form: KeyForm) -> Self {
        let speaks_it = !matches!(task, Task::Run(_));
        Self { caller: Format::Chat, speaks_it, session: None, key_form, translation: None }
    }

    /// What is known of a request that got no further, if its address is one of the unified API.
    pub fn of_refused(route: &Route<'_>) -> Option<Self> {
        if route.provider != door::AI {
            return None;
        }
        if let Some(task) = task::of_ai(route.rest) {
            return Some(Self::of_task(&task, KeyForm::Bearer));
        }
        let caller = door::of_ai(route.rest)?.format;
        Some(Self { caller, speaks_it: true, session: None, key_form: KeyForm::Bearer, translation: None })
    }

    /// What the gateway itself refuses, as this caller expects it.
    pub fn reply(&self, refusal: &Refusal) -> Reply {
        if !self.speaks_it {
            return refusal.reply();
        }
        let Refused { status, code, message, description, headers, .. } = &**refusal;
        let said = if description.is_empty() { message.to_string() } else { format!("{message}: {description}") };
        let failure = Failure { status: *status, kind: Some(code.to_string()), message: said };
        let body = translate::error(self.caller, &failure).to_string();
        let headers = headers.clone();
        Reply { status: *status, content_type: "application/json", headers, body, object: None }
    }
}
