//! Anthropic's Messages API.

pub mod decode;
pub mod encode;
pub mod read;
pub mod write;
