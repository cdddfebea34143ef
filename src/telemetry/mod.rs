//! What other systems are told of requests.

pub mod answer;
pub mod context;
pub mod destination;
pub mod exposition;
pub mod otlp;
