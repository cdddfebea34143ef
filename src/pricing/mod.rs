//! What an answer used, times rates.

pub mod price;
pub mod rates;
pub mod rules;
