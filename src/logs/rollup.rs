//! What charts show: requests added up by gateway, time, provider and model, so that no chart has to look at logs.
//!
//! Each transaction that writes logs leaves one row in `tallies`, with what its requests add up to; those whose logs are
//! off are in it, too. [`merge`] adds these rows to `rollup`, whose width would cost every such transaction more than its
//! logs do.

pub mod by_metadata;
pub mod figures;
mod mend;
pub mod merge;
pub mod totals;

use crate::db::store::{Bind, Statement};
use crate::db::write_once::{WriteKey, is_new};
use crate::logs::claim;
use crate::logs::paid_once;
use crate::logs::record::LogRecord;
use figures::{Figures, Sum, Time};
use serde_json::Value;

pub const MINUTE_MS: u64 = 60_000;

/// What is counted for models, and for providers that Tollgate does not know, beyond the number that is told apart. Their
/// names come from requests, and each would be a row.
pub const OTHER: &str = "other";

/// Rows of a gateway and a minute in one tally. What a group of logs has beyond them counts as [`OTHER`].
const MAX_ROWS: usize = 40;

/// Requests of a gateway, a minute, a provider and a model, added up.
#[derive(Clone, Debug, PartialEq)]
pub struct RollupRow {
    gateway: i64,
    time: u64,
    provider: String,
    model: String,
    figures: Figures,
    statuses: Statuses,
}

/// Requests by the first digit of their status; 0 for those without one. Kept answers are not among them. Totals alone have them.
pub type Statuses = [f64; STATUSES];

pub const STATUSES: usize = 6;

/// The requests of some records, added up, and the claims of those whose usage may have been counted before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally(Vec<RollupRow>, Vec<String>);

// === impl Tally ===

impl Tally {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many requests were counted, with every attempt.
    pub fn attempts(&self) -> u64 {
        self.0.iter().map(|row| row.figures.get(Sum::Attempts) as u64).sum()
    }

    pub fn count(&mut self, record: &LogRecord) {
        let model = record.model.as_deref().unwrap_or("");
        let time = record.created_at - record.created_at % MINUTE_MS;
        if let Some(row) = self.row(record.gateway, time, &record.provider, model)
            && record.answered
            && !record.cached
            && let Some(number) = row.statuses.get_mut(usize::from(record.status_code.unwrap_or(0) / 100))
        {
            *number += 1.0;
        }
        let is_paid = record.claim.as_ref().is_some_and(|claim| claim.has_usage);
        if let Some(figures) = self.figures(record.gateway, time, &record.provider, model) {
            count(record, figures);
            if record.claim.is_none() {
                pay(record, figures);
            }
        }
        if let Some(claim) = &record.claim {
            let mut own = Self::default();
            if let Some(figures) = own.figures(record.gateway, time, &record.provider, model).filter(|_| is_paid) {
                pay(record, figures);
            }
            self.1.push(paid_once::row(record, claim, &own.json()));
        }
    }

    /// What is to be settled where all logs are known.
    pub fn claims(&self) -> &[String] {
        &self.1
    }

    /// The figures of a row, which is made if there is none.
    fn figures(&mut self, gateway: i64, time: u64, provider: &str, model: &str) -> Option<&mut Figures> {
        self.row(gateway, time, provider, model).map(|row| &mut row.figures)
    }

    fn row(&mut self, gateway: i64, time: u64, provider: &str, model: &str) -> Option<&mut RollupRow> {
        let place = |rows: &[RollupRow], provider: &str, model: &str| {
            let wanted = (gateway, time, provider, model);
            rows.iter().position(|row| (row.gateway, row.time, row.provider.as_str(), row.model.as_str()) == wanted)
        };
        let (mut provider, mut model) = (provider, model);
        let mut found = place(&self.0, provider, model);
        if found.is_none() && self.0.iter().filter(|row| (row.gateway, row.time) == (gateway, time)).count() >= MAX_ROWS
        {
            provider = crate::providers::table::find(provider).map_or(OTHER, |known| known.slug);
            model = OTHER;
            found = place(&self.0, provider, model);
        }
        let place = found.unwrap_or(self.0.len());
        if found.is_none() {
            let (provider, model) = (provider.to_owned(), model.to_owned());
            let (figures, statuses) = (Figures::default(), Statuses::default());
            self.0.push(RollupRow { gateway, time, provider, model, figures, statuses });
        }
        self.0.get_mut(place)
    }

    /// A JSON array of rows: gateway, time, provider, model, the figures in the order of their columns, and the statuses.
    pub fn json(&self) -> String {
        self.written(true)
    }

    fn written(&self, with_statuses: bool) -> String {
        let mut text = String::from("[");
        for row in &self.0 {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&format!("[{},{},", row.gateway, row.time));
            text.push_str(&Value::from(row.provider.as_str()).to_string());
            text.push(',');
            text.push_str(&Value::from(row.model.as_str()).to_string());
            let statuses = row.statuses.iter().copied().filter(|_| with_statuses);
            for figure in row.figures.iter().chain(statuses) {
                match figure {
                    0.0 => text.push_str(",0"),
                    figure => {
                        text.push(',');
                        text.push_str(&crate::base::number::text(figure));
                    }
                }
            }
            text.push(']');
        }
        text.push(']');
        text
    }
}

/// The statement that leaves what the requests of a transaction add up to.
pub fn leave(key: &WriteKey<'_>, tally: &str) -> Statement {
    Statement::new(LEAVE, key.binds([Bind::from(tally)]))
}

const LEAVE: &str = concat!("INSERT OR IGNORE INTO tallies (id, tallies) SELECT ?3, ?1 WHERE ", is_new!());

/// A change of costs that were counted, as a row of `tallies`: what the logs of a gateway cost more or less than before.
#[derive(Default)]
pub struct Correction(Tally);

// === impl Correction ===

impl Correction {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a log's cost before and after. Rows of minutes are kept for a while only, so that older logs need none.
    pub fn note(&mut self, log: (i64, u64, &str, &str), costs: (Option<f64>, Option<f64>), now_ms: u64) {
        let (gateway, created_at, provider, model) = log;
        let span = if now_ms.saturating_sub(created_at) < merge::MINUTES_MS { MINUTE_MS } else { merge::HOUR_MS };
        let time = created_at - created_at % span;
        let (before, after) = costs;
        if let Some(figures) = self.0.figures(gateway, time, provider, model) {
            figures.add(Sum::Cost, after.unwrap_or(0.0) - before.unwrap_or(0.0));
        }
    }

    /// Rows without statuses: what was counted once does not become less, so that totals leave them out.
    pub fn json(&self) -> String {
        self.0.written(false)
    }
}

/// Adds what a record used to the figures of its row.
fn pay(record: &LogRecord, figures: &mut Figures) {
    let mut sum = |sum: Sum, value: Option<u64>| {
        if let Some(value) = value {
            figures.add(sum, value as f64);
        }
    };
    sum(Sum::TokensIn, record.tokens_in);
    sum(Sum::TokensOut, record.tokens_out);
    sum(Sum::TokensCached, record.tokens_cached);
    sum(Sum::TokensCacheWrite, record.tokens_cache_write);
    sum(Sum::TokensReasoning, record.tokens_reasoning);
    let is_unpriced = record.success && record.cost.is_none() && record.model.is_some();
    let is_unpriced = is_unpriced && record.cost_unknown.as_deref() != Some(claim::OPEN);
    sum(Sum::Unpriced, is_unpriced.then_some(1));
    figures.add(Sum::Cost, record.cost.unwrap_or(0.0));
}

/// Adds a record to the figures of its row, without what it used.
fn count(record: &LogRecord, figures: &mut Figures) {
    let mut sum = |sum: Sum, value: Option<u64>| {
        if let Some(value) = value {
            figures.add(sum, value as f64);
        }
    };
    // Also an attempt whose answer the client did not get was paid for.
    sum(Sum::Attempts, Some(1));
    if record.answered {
        sum(Sum::Requests, Some(1));
        sum(Sum::Cached, record.cached.then_some(1));
        sum(layer(record), (!record.success).then_some(1));
    }
    figures.add(Sum::SavedCost, record.saved_cost.unwrap_or(0.0));
    // How fast the providers are: refusals and kept answers take no time, and would hide it.
    if record.answered && record.success && !record.cached {
        figures.time(Time::Duration, record.duration);
        if let Some(first_byte) = record.first_byte {
            figures.time(Time::FirstByte, first_byte);
        }
    }
}

/// Who made a request fail, as [`LogRecord::error`] names the layer. An error inside of an answer that has a good status is
/// the provider's fault.
fn layer(record: &LogRecord) -> Sum {
    let error = record.error.as_deref().unwrap_or("");
    let status = record.status_code.unwrap_or(0);
    match error.split_once(':').map_or("", |(layer, _)| layer) {
        "client" => Sum::ByClient,
        "gateway" if status == 429 => Sum::ByLimit,
        "gateway" => Sum::ByGateway,
        "upstream" => Sum::ByUpstream,
        _ if (400..500).contains(&status) => Sum::By4xx,
        _ => Sum::By5xx,
    }
}

#[cfg(test)]
mod tests;
