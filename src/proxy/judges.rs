//! What judges a request and its answer: checks of the gateway's own, models, and a webhook.

use crate::base::join_all::{Work, join_all};
use crate::guardrails::{About, Engine, Guardrails, Phase, Question, Seen, Verdict, chunks, is_too_long};
use crate::http::refusal::Refusal;
use crate::logs::call::Call;
use crate::platform::Runtime;
use crate::telemetry::context::Trace;
use serde_json::Value;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

pub struct Judges {
    pub guardrails: Rc<Guardrails>,
    pub account: String,
    pub gateway: String,
    /// What was asked, as far as a judge of the answer needs it.
    pub asked: String,
    /// As the row has it, and the event's name, too: they leave for other hosts.
    pub metadata: Value,
    pub event_id: String,
    /// The keys of the metadata.
    pub names: Vec<String>,
    pub ask: Ask,
    /// The trace of the request that is judged.
    pub trace: Option<Trace>,
}

/// What is asked of a model, and of which gateway.
pub struct Asked {
    pub question: Question,
    pub account: String,
    pub gateway: String,
    pub event_id: String,
    pub trace: Option<Trace>,
    pub runtime: Rc<Runtime>,
}

/// Asks a model, and waits for all that it says. Its future is one of a size that is known, for a request leads to another one by it.
pub type Ask = fn(Asked) -> Pin<Box<dyn Future<Output = Result<String, String>>>>;

/// So many parts of a text are judged at once.
const AT_ONCE: usize = 4;

const TOO_LONG: &str = "the text is longer than models are asked about, and its end was not judged";

// === impl Judges ===

impl Judges {
    /// Keeps a verdict for the row, and refuses what must not go on.
    pub fn noted(&self, phase: Phase, verdict: &Verdict, call: &mut Call) -> Result<(), Refusal> {
        call.guardrails = Some(verdict.row(phase, call.guardrails.as_deref()));
        self.refused(phase, verdict)
    }

    pub fn refused(&self, phase: Phase, verdict: &Verdict) -> Result<(), Refusal> {
        match &verdict.error {
            _ if verdict.is_blocked => Err(Refusal::guarded(phase == Phase::Response, &verdict.categories.join(", "))),
            Some(why) if verdict.is_refused => Err(Refusal::unjudged(phase.name(), why)),
            _ => Ok(()),
        }
    }

    /// What is found in a text. Models and the webhook are not asked about one that a check blocks.
    pub async fn judged(&self, phase: Phase, seen: &Seen<'_>, runtime: &Rc<Runtime>) -> Verdict {
        let checked = self.guardrails.checked(phase, seen, &self.names).await;
        if checked.is_blocked || seen.text.trim().is_empty() {
            return checked;
        }
        let all = RefCell::new(checked);
        let mut parts: Vec<(&Engine, &str)> = Vec::new();
        for engine in self.guardrails.engines(phase) {
            match engine.is_asked_whole() {
                true => parts.push((engine, seen.text)),
                false => parts.extend(chunks(seen.text).into_iter().map(|part| (engine, part))),
            }
            if !engine.is_asked_whole() && is_too_long(seen.text) {
                all.borrow_mut().add(self.guardrails.heard(engine, phase, Err(TOO_LONG)));
            }
        }
        for some in parts.chunks(AT_ONCE) {
            let works = some.iter().map(|(engine, part)| {
                let about = About {
                    phase,
                    text: part,
                    before: &self.asked,
                    gateway: &self.gateway,
                    event_id: &self.event_id,
                    metadata: &self.metadata,
                };
                let asked = (self.ask)(Asked {
                    question: engine.question(&about),
                    account: self.account.clone(),
                    gateway: self.gateway.clone(),
                    event_id: self.event_id.clone(),
                    trace: self.trace,
                    runtime: Rc::clone(runtime),
                });
                let all = &all;
                let work: Work<'_> = Box::pin(async move {
                    let said = asked.await;
                    let said = said.as_deref().map_err(String::as_str);
                    all.borrow_mut().add(self.guardrails.heard(engine, phase, said));
                });
                work
            });
            join_all(works.collect()).await;
            if all.borrow().is_blocked {
                break;
            }
        }
        all.take()
    }
}
