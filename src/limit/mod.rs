//! Limits: how many requests a gateway lets pass, and how much they may cost.
//!
//! `rules` are what an operator writes, `plan` is what a rule means for one request, and the rest is what the Durable
//! Object of a gateway does with it: `ledger` holds the counters, `rate` and `spend` are the two kinds of them.

pub mod cap;
pub mod charge;
pub mod charge_of;
pub mod counter_service;
pub mod estimate;
pub mod ledger;
pub mod message;
pub mod models;
mod part;
pub mod plan;
pub mod rate;
pub mod refused;
pub mod rules;
pub mod show;
pub mod spend;
pub mod watch;
pub mod window;

use window::Window;

/// What a request wants of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Whose counter: `gateway`, `rate/<id>`, `spend/<id>`, `key`. Without blanks.
    pub rule: String,
    /// Which of the rule's counters; empty where all requests share one.
    pub part: String,
    pub window: Window,
    /// Requests, or millionths of a millionth of a dollar.
    pub limit: u64,
    pub takes: Takes,
}

/// What is taken from a counter when a request is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    One,
    /// Nothing yet: the cost comes when it is known.
    Later,
    /// What the request will probably cost, until it is known.
    Reserve(u64),
}

/// Where a counter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub used: u64,
    pub reserved: u64,
    pub remaining: u64,
    /// When the window ends, or the next part of it is free again.
    pub resets_in_ms: u64,
    /// 0 where the request is admitted; otherwise how long it would have to wait.
    pub retry_in_ms: u64,
}

// === impl Demand ===

impl Demand {
    /// The counter's name in the store. Rules have no blanks, so no two counters share one.
    pub fn key(&self) -> String {
        format!("{} {}", self.rule, self.part)
    }
}
