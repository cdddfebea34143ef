//! What an answer used, times rates.

pub mod costing;
pub mod price;
pub mod rates;
pub mod rules;
