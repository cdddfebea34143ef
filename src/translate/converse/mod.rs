//! Bedrock's Converse.

pub mod decode;
pub mod encode;
pub mod read;
