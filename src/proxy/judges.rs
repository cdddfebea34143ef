//! What judges a request and its answer.

use crate::base::join_all::{Work, join_all};
use crate::guardrails::{Engine, Guardrails, Phase, Question, Verdict, chunks};
use crate::http::refusal::Refusal;
use crate::logs::call::Call;
use crate::platform::Runtime;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

pub struct Judges {
    pub guardrails: Rc<Guardrails>,
    pub account: String,
    pub gateway: String,
    /// What was asked, as far as a judge of the answer needs it.
    pub asked: String,
    pub ask: Ask,
}

/// What is asked of a model, and of which gateway.
pub struct Asked {
    pub question: Question,
    pub account: String,
    pub gateway: String,
    pub event_id: String,
    pub runtime: Rc<Runtime>,
}

/// Asks a model, and waits for all that it says. Its future is one of a size that is known, for a request leads to another one by it.
pub type Ask = fn(Asked) -> Pin<Box<dyn Future<Output = Result<String, String>>>>;

/// So many parts of a text are judged at once.
const AT_ONCE: usize = 4;

const NO_VERDICT: &str = "its answer is no verdict";

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
            Some(why) if self.guardrails.blocks(phase) => Err(Refusal::unjudged(phase.name(), why)),
            _ => Ok(()),
        }
    }

    /// What the models say of a text.
    pub async fn judged(&self, phase: Phase, text: &str, event_id: &str, runtime: &Rc<Runtime>) -> Verdict {
        let all = RefCell::new(Verdict::default());
        if text.trim().is_empty() {
            return Verdict::default();
        }
        let parts: Vec<(&Engine, &str)> = self
            .guardrails
            .engines(phase)
            .flat_map(|engine| chunks(text).into_iter().map(move |part| (engine, part)))
            .collect();
        for some in parts.chunks(AT_ONCE) {
            let works = some.iter().map(|(engine, part)| {
                let question = engine.question(phase, part, &self.asked);
                let asked = (self.ask)(Asked {
                    question,
                    account: self.account.clone(),
                    gateway: self.gateway.clone(),
                    event_id: event_id.to_owned(),
                    runtime: Rc::clone(runtime),
                });
                let all = &all;
                let work: Work<'_> = Box::pin(async move {
                    let found =
                        asked.await.and_then(|said| engine.categories(&said).ok_or_else(|| NO_VERDICT.to_owned()));
                    let verdict = match found {
                        Ok(found) => self.guardrails.verdict(phase, &found),
                        Err(why) => Verdict {
                            error: Some(format!("{}/{}: {why}", engine.provider, engine.model)),
                            ..Verdict::default()
                        },
                    };
                    all.borrow_mut().add(verdict);
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
