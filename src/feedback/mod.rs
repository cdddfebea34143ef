//! What people say of an answer.

pub mod fault;
pub mod locate;
pub mod model;
pub mod pending;
pub mod settle_worker;
