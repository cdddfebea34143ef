//! What everything else is built of: ids, times, numbers. It imports nothing of ours.

pub mod fault;
pub mod given;
pub mod hex;
pub mod hmac;
pub mod id;
pub mod join_all;
pub mod json;
pub mod mask;
pub mod number;
pub mod object;
pub mod patience;
pub mod sorted;
pub mod timestamp;
