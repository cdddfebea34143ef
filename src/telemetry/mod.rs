//! What other systems are told of requests.

pub mod context;
pub mod otlp;
