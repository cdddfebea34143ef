//! What OpenTelemetry's receivers are told of requests: the spans of a log, with what was asked where that is wanted, and their way there.

pub mod attributes;
pub mod messages;
pub mod named;
pub mod outbox;
pub mod parcel;
pub mod presets;
pub mod send_worker;
pub mod spans;
