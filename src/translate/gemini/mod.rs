//! Gemini's generateContent.

pub mod decode;
pub mod encode;
pub mod read;
pub mod write;
