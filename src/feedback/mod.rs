//! What people say of an answer.

pub mod model;
