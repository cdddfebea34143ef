//! One proxied request. `handle` is the file to read first.

pub mod answer_links;
pub mod cache;
pub mod capability;
pub mod capability_worker;
pub mod circuit_breaker;
pub mod circuits;
pub mod compat;
pub mod compat_worker;
pub mod copy;
pub mod credentials;
pub mod exchange;
pub mod handle;
pub mod limits;
pub mod options;
pub mod proven;
pub mod response;
pub mod retry;
pub mod session;
pub mod session_worker;
pub mod stream_usage_worker;
pub mod universal;
pub mod universal_worker;
pub mod upstream_request;
pub mod websocket;
pub mod websocket_worker;
