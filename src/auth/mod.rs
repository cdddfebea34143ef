//! What a caller presents, who that is, and what it may do.

pub mod caller;
pub mod presented;
pub mod secrets;
pub mod tokens;
pub mod tokens_worker;
pub mod wrong_tokens;
