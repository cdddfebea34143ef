//! Alerts: what an operator is told before a budget stops its callers, and when something breaks. Events are kept in the database,
//! each once for its window, and delivered to webhooks behind requests and once a minute.

pub mod event;
pub mod journal;
pub mod send_worker;
