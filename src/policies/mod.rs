//! Policies: who may call which models, and for how much. <https://developers.cloudflare.com/ai-gateway/features/policies/>
//!
//! A gateway without policies lets everything through. With one, a request passes only where a policy matches it.

pub mod decide;
pub mod expression;
pub mod names;
pub mod simulate;
pub mod stored;
