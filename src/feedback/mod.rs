//! What people say of an answer.

pub mod model;
pub mod settle_worker;
