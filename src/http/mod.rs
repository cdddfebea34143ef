//! What a request and an answer of HTTP are made of: routes, headers, queries, pages, errors.

pub mod bundle;
pub mod cors;
pub mod envelope;
pub mod headers;
pub mod hosts;
pub mod kinds;
pub mod message_worker;
pub mod page;
pub mod params;
pub mod query;
pub mod refusal;
pub mod response_headers;
pub mod router;
