//! What an answer used, times rates.

pub mod bill;
pub mod price;
pub mod rates;
pub mod rules;
