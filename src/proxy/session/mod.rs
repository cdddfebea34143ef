//! WebSockets to providers whose messages Tollgate understands: which of them begin a response and end one, what a response
//! used, and what was said. Nothing in here changes a message.
//!
//! - OpenAI's Responses over a WebSocket: <https://developers.openai.com/api/docs/guides/websocket-mode>
//! - OpenAI's realtime sessions: <https://developers.openai.com/api/reference/resources/realtime>
//! - Gemini's Live sessions: <https://ai.google.dev/api/live>

mod body;
mod client;
mod ending;
mod frame;
mod ledger;
mod live;
mod provider;
pub mod refused;
mod terms;
#[cfg(test)]
mod tests;
mod turn;

pub use ledger::{Closed, Ended, Ledger};
pub use terms::{Begun, Dialect, MAX_HELD, Step};
