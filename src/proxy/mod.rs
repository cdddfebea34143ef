//! One proxied request. `handle` is the file to read first.

pub mod answer_links;
pub mod arrival;
pub mod attempts;
pub mod authorization;
pub mod cache;
pub mod caller;
pub mod capability;
pub mod capability_worker;
pub mod circuit_breaker;
pub mod circuits;
pub mod copy;
pub mod credentials;
pub mod exchange;
pub mod failures;
pub mod guard;
pub mod handle;
pub mod limit_checks;
pub mod limits;
pub mod options;
pub mod proven;
#[cfg_attr(not(test), allow(dead_code, reason = "the routes that take names of models come next"))]
pub mod reach;
pub mod request_body;
pub mod response;
pub mod retry;
pub mod session;
pub mod session_worker;
pub mod stream_usage_worker;
pub mod unified;
pub mod universal;
pub mod universal_worker;
pub mod upstream_request;
pub mod websocket;
pub mod websocket_worker;
