//! The filter language that lists, exports, deletions and datasets share: which logs are meant.
//!
//! A filter is `{key, operator, value[]}`; several values mean any of them, several filters mean all of them, and
//! `{"or": [filter, …]}` stands for any of its filters. The format is that of Cloudflare AI Gateway
//! (<https://developers.cloudflare.com/api/resources/ai_gateway/subresources/logs/methods/list/>), with more keys,
//! `present`, `absent` and `or` beside it.

mod ahead;
mod conditions;
mod index_choice;
#[cfg(test)]
mod model_tests;
mod parse;
#[cfg(test)]
pub mod plan_tests;
mod probe;
pub mod search;
mod sql;
mod terms;

pub use ahead::{Ahead, Next};
pub use index_choice::candidates;
pub use parse::{MAX_FILTERS, from_json, from_query, is_parameter};
pub use probe::probe;
pub use sql::{Direction, Selection};
pub use terms::{Filter, FilterKey, Filters, Operator};
