//! What is found in a prompt or an answer: by checks, or by a model or a webhook that says whether it belongs to one of some
//! categories. Which of them there are is up to the gateway.

mod checks;
mod engine;
mod setting;
mod text;
mod verdict;

pub use checks::Seen;
pub use engine::{About, Engine, Question};
pub use setting::Guardrails;
pub use text::{Texts, chunks, is_too_long};
pub use verdict::{Mode, Phase, Verdict};
