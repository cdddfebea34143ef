//! What people say of an answer.

pub mod attach_worker;
pub mod fault;
pub mod locate;
pub mod model;
pub mod pending;
