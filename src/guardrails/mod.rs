//! What a model says of a prompt or an answer: whether it belongs to one of some categories of harm. Which model is asked is up to
//! the gateway.

mod engine;
mod setting;
mod text;
mod verdict;

pub use engine::{Engine, Question};
pub use setting::{Guardrails, Mode};
pub use text::{Texts, chunks};
pub use verdict::{Phase, Verdict};
