//! What a caller presents, who that is, and what it may do.

pub mod access;
pub mod access_worker;
pub mod caller;
pub mod presented;
pub mod secrets;
pub mod session;
pub mod session_worker;
pub mod spent;
pub mod terms;
pub mod tokens;
pub mod tokens_worker;
pub mod wrong_tokens;
