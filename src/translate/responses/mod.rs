//! OpenAI's Responses API.

pub mod decode;
pub mod encode;
pub mod read;
pub mod write;
