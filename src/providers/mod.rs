//! The providers, a row each: addresses, models, and where a request goes.

pub mod address;
pub mod fault;
pub mod format;
pub mod formats;
pub mod links;
pub mod model;
pub mod paths;
pub mod resolver;
pub mod resolver_worker;
pub mod stream_usage;
pub mod table;
pub mod upstream;
