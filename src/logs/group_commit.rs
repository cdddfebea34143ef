//! Group commit: the records of an isolate are gathered for a moment and written together, one statement per table.
//!
//! A statement per request would cut the Worker's throughput to a fifth. This module holds what is waiting and how it
//! is written; the timer and the database come from the shell.

use crate::db::store::{Store, StoreError};
#[cfg(test)]
use crate::logs::part::Lost;
use crate::logs::part::{Group, Part};
#[cfg(test)]
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::Plan;
use crate::logs::record::LogRecord;
use crate::logs::rollup::Tally;
use crate::logs::rows::{self, MAX_JSON};

/// How long the first record waits for company, in milliseconds. A caller who asks for logs does not wait that long.
pub const WINDOW_MS: u64 = 50;

/// How long what is only counted waits, in milliseconds: no caller looks for a single request in a count.
pub const COUNT_WINDOW_MS: u64 = 250;

/// How much too soon a timer may wake its leader, in milliseconds.
const EARLY_MS: u64 = 10;

/// How late a leader may be until another is elected, in milliseconds.
const LATE_MS: u64 = 1_000;

/// After this long without any movement nothing is being written any more, in milliseconds.
const FORGOTTEN_MS: u64 = 60_000;

const MAX_RECORDS: usize = 100;

/// Above this many bytes waiting in an isolate of 128 MB, records are kept without their bodies.
const MAX_WAITING: usize = 32 * 1024 * 1024;

/// Pauses before a failed write is tried again, in milliseconds: 27 s, because the platform ends background work
/// 30 s after the response.
pub const PAUSES_MS: &[u64] = &[100, 250, 500, 1_000, 2_000, 4_000, 6_000, 6_000, 7_000];

/// After this many failures records are written one by one, so that one that D1 refuses does not take others along.
const FAILURES_TOGETHER: usize = 3;

/// The records of an isolate on their way to the database. Plain data: no request may touch another's JS handles.
#[derive(Default)]
pub struct Waiting {
    records: Vec<LogRecord>,
    /// The requests that are counted and leave no log, by database.
    unlogged: Vec<(u32, Tally)>,
    /// When what is waiting will be written, as some request promised, in milliseconds.
    due_at: Option<u64>,
    /// When something was last taken or settled.
    touched_at: u64,
    /// Bytes waiting or being written.
    weight: usize,
    /// Records that will never be written, since the isolate started.
    pub lost: u64,
    /// Records that were written without the whole of their bodies.
    pub cut: u64,
}

/// What could not be written.
pub struct Unwritten {
    pub parts: Vec<Part>,
    pub reason: String,
}

// === impl Waiting ===

impl Waiting {
    /// Adds a record, to be written within so many milliseconds. True means: the caller leads, and has to
    /// [`Waiting::take`] and write by then.
    pub fn push(&mut self, mut record: LogRecord, now_ms: u64, window_ms: u64) -> bool {
        if self.records.is_empty() && now_ms.saturating_sub(self.touched_at) > FORGOTTEN_MS {
            // The platform ended the request that was writing; it is not going to say that it is done.
            self.weight = 0;
        }
        self.touched_at = now_ms;
        if self.weight + record.weight() > MAX_WAITING {
            record.request_body = None;
            record.response_body = None;
        }
        self.weight += record.weight();
        self.records.push(record);
        self.leads(now_ms, window_ms)
    }

    /// Counts a request that leaves no log. True means the same as for [`Waiting::push`].
    pub fn count(&mut self, record: &LogRecord, now_ms: u64, window_ms: u64) -> bool {
        let place = self.unlogged.iter().position(|(shard, _)| *shard == record.shard).unwrap_or(self.unlogged.len());
        if place == self.unlogged.len() {
            self.unlogged.push((record.shard, Tally::default()));
        }
        if let Some((_, tally)) = self.unlogged.get_mut(place) {
            tally.count(record);
        }
        self.leads(now_ms, window_ms)
    }

    /// Whether a leader that has waited is to write: another one may have promised to do so soon.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.due_at.is_some_and(|promised| promised <= now_ms.saturating_add(EARLY_MS))
    }

    fn leads(&mut self, now_ms: u64, window_ms: u64) -> bool {
        let due_at = now_ms.saturating_add(window_ms);
        // A leader whose request was ended early has not kept its promise.
        let leads = self.due_at.is_none_or(|promised| promised > due_at || now_ms.saturating_sub(promised) > LATE_MS);
        if leads {
            self.due_at = Some(due_at);
        }
        leads
    }

    /// Everything that waits, in groups to be written each in one transaction; `mint` makes their ids. The next record
    /// elects a new leader.
    pub fn take(&mut self, mint: impl Fn() -> String) -> Vec<Group> {
        self.due_at = None;
        let mut groups: Vec<(usize, Group)> = Vec::new();
        for record in self.records.drain(..) {
            let (own, shard) = (record.weight(), record.shard);
            match groups.iter_mut().rfind(|(_, group)| group.shard == shard) {
                Some((weight, Group { records, .. })) if records.len() < MAX_RECORDS && *weight + own <= MAX_JSON => {
                    *weight += own;
                    records.push(record);
                }
                _ => {
                    let group = Group { id: mint(), shard, records: vec![record], unlogged: Tally::default() };
                    groups.push((own, group));
                }
            }
        }
        for (shard, unlogged) in self.unlogged.drain(..) {
            match groups.iter_mut().rfind(|(_, group)| group.shard == shard) {
                Some((_, group)) => group.unlogged = unlogged,
                None => groups.push((0, Group { id: mint(), shard, records: Vec::new(), unlogged })),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Whether nothing waits and nothing is being written.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.weight == 0
    }

    /// Bodies are about to be put into the bucket. False means that too much waits already.
    pub fn hold(&mut self, weight: usize, now_ms: u64) -> bool {
        let fits = self.weight + weight <= MAX_WAITING;
        if fits {
            self.touched_at = now_ms;
            self.weight += weight;
        }
        fits
    }

    /// A group has been written, or given up.
    pub fn settled(&mut self, weight: usize, lost: u64) {
        self.weight = self.weight.saturating_sub(weight);
        self.lost += lost;
    }
}

/// Writes a group, for tests.
#[cfg(test)]
pub async fn write(store: &impl Store, group: Group, pause: impl AsyncFn(u64)) -> Vec<Lost> {
    write_parts(store, vec![Part::of(&group, NamingKey::default())], &pause)
        .await
        .err()
        .map(Unwritten::lost)
        .unwrap_or_default()
}

/// Writes groups, or parts of them, trying again while time allows. `pause` waits so many milliseconds. A write that took
/// effect although it reported an error is recognised and not repeated.
pub async fn write_parts(store: &impl Store, mut parts: Vec<Part>, pause: &impl AsyncFn(u64)) -> Result<(), Unwritten> {
    let mut pauses = PAUSES_MS.iter();
    let mut failures = 0;
    loop {
        let mut failed = Vec::new();
        let mut reason = String::new();
        for part in parts {
            if let Err(error) = write_part(store, &part, failures < FAILURES_TOGETHER).await {
                reason = error.0;
                failed.push(part);
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        failures += 1;
        let Some(wait) = pauses.next() else { return Err(Unwritten { parts: failed, reason }) };
        pause(*wait).await;
        parts = if failures == FAILURES_TOGETHER { failed.into_iter().flat_map(Part::apart).collect() } else { failed };
    }
}

/// Writes a part. What it shares with other logs is looked up anew each time: between a look and the write it may have changed.
async fn write_part(store: &impl Store, part: &Part, shares: bool) -> Result<(), StoreError> {
    let plan = if shares { Plan::shared(store, part).await? } else { Plan::alone(part) };
    store.batch(rows::statements(part, plan)).await.map(drop)
}

// === impl Unwritten ===

#[cfg(test)]
impl Unwritten {
    pub fn lost(self) -> Vec<Lost> {
        self.parts.into_iter().flat_map(|part| part.lost(&self.reason)).collect()
    }
}

#[cfg(test)]
mod tests;
