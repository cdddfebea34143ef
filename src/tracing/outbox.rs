//! Spans on their way, as plain data: what waits to be packed, what waits to be taken, and which destinations are left alone for a
//! moment. All of it has bounds; what is dropped is counted.

use crate::gateways::exporters::Exporter;
use crate::telemetry::otlp::{Attribute, Span};
use crate::tracing::parcel::{self, Parcel};
use std::rc::Rc;

/// How long the first span waits for others, in milliseconds.
pub const WINDOW_MS: u64 = 1_000;

/// How late a leader may be until another is elected, in milliseconds.
const LATE_MS: u64 = 2_000;

/// Spans that are sent in one call, and about how many bytes.
const MOST_SPANS: usize = 512;
pub const MOST_BYTES: usize = 1_000_000;

/// What may wait to be packed in an isolate, and what may wait to be taken, in bytes.
const MAX_WAITING: usize = 4 * 1024 * 1024;
const MAX_HELD: usize = 4 * 1024 * 1024;

/// Older spans are dropped, in milliseconds.
const MAX_AGE_MS: u64 = 15 * 60_000;

/// The pauses between attempts, in milliseconds, and how long one run goes on, because the platform ends background work 30 s after
/// the answer.
const FIRST_PAUSE_MS: u64 = 500;
pub const RUN_MS: u64 = 18_000;

/// How long a destination that failed to the end of a run is left alone, in milliseconds.
const REST_MS: u64 = 10_000;

/// How long a run may be silent until it counts as ended by the platform, in milliseconds.
const LOST_MS: u64 = 40_000;

/// What became of spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub exported: u64,
    pub rejected: u64,
    pub dropped: u64,
    /// The last of what went wrong.
    pub error: Option<String>,
}

pub struct Counted {
    pub exporter: Rc<Exporter>,
    pub count: Count,
}

#[derive(Default)]
pub struct Outbox {
    waiting: Vec<(Rc<Exporter>, Span)>,
    weight: usize,
    due_at: Option<u64>,
    held: Vec<(Rc<Exporter>, Parcel)>,
    /// Destinations to which nothing is sent, or is being sent by another run, until then.
    resting: Vec<(Rc<Exporter>, u64)>,
    counted: Vec<Counted>,
}

fn is_same(one: &Exporter, other: &Exporter) -> bool {
    one.gateway == other.gateway && one.destination.id == other.destination.id
}

/// About how long a span is when it is sent.
fn weight(span: &Span) -> usize {
    let value = |value: &Attribute| match value {
        Attribute::Text(text) => text.len(),
        _ => 16,
    };
    300 + span.attributes.iter().map(|(name, one)| name.len() + value(one) + 50).sum::<usize>()
}

/// The pause after so many failed attempts, with up to a quarter more by chance.
pub fn pause(failures: u32, random: u64) -> u64 {
    let pause = FIRST_PAUSE_MS << failures.saturating_sub(1).min(6);
    pause + pause / 4 * (random % 1_000) / 1_000
}

// === impl Outbox ===

impl Outbox {
    /// Adds a span. True means: the caller leads, and has to send what waits within [`WINDOW_MS`].
    pub fn push(&mut self, exporter: &Rc<Exporter>, span: Span, now_ms: u64) -> bool {
        let own = weight(&span);
        if self.weight + own > MAX_WAITING {
            self.drop_spans(exporter, 1, "more spans came than can be sent");
            return false;
        }
        self.weight += own;
        self.waiting.push((Rc::clone(exporter), span));
        let leads = self.due_at.is_none_or(|due| now_ms.saturating_sub(due) > LATE_MS);
        if leads {
            self.due_at = Some(now_ms + WINDOW_MS);
        }
        leads
    }

    /// Packs what waits, each parcel with about so many bytes at most.
    pub fn pack(&mut self, most: usize, now_ms: u64) -> Vec<(Rc<Exporter>, Parcel)> {
        (self.due_at, self.weight) = (None, 0);
        let mut groups: Vec<(Rc<Exporter>, Vec<Span>)> = Vec::new();
        for (exporter, span) in self.waiting.drain(..) {
            match groups.iter_mut().rfind(|(other, spans)| is_same(other, &exporter) && spans.len() < MOST_SPANS) {
                Some((_, spans)) => spans.push(span),
                None => groups.push((exporter, vec![span])),
            }
        }
        let pack = |(exporter, spans): (Rc<Exporter>, Vec<Span>)| {
            let parcels = parcel::packed(&exporter, &spans, most, now_ms);
            parcels.into_iter().map(|parcel| (Rc::clone(&exporter), parcel)).collect::<Vec<_>>()
        };
        groups.into_iter().flat_map(pack).collect()
    }

    /// Keeps a parcel until it is taken. Where too much waits, the oldest goes.
    pub fn hold(&mut self, exporter: Rc<Exporter>, parcel: Parcel) {
        self.held.push((exporter, parcel));
        let mut length: usize = self.held.iter().map(|(_, parcel)| parcel.body.length()).sum();
        while length > MAX_HELD && self.held.len() > 1 {
            let (exporter, parcel) = self.held.remove(0);
            length -= parcel.body.length();
            self.drop_spans(&exporter, parcel.spans, "more spans waited for the destination than can be kept");
        }
    }

    /// The destinations that parcels wait for and that may be called. The caller sends to them, and lets each [`Outbox::rest`] afterwards.
    pub fn due(&mut self, now_ms: u64) -> Vec<Rc<Exporter>> {
        self.expire(now_ms);
        self.resting.retain(|(_, until)| *until > now_ms);
        let mut due: Vec<Rc<Exporter>> = Vec::new();
        for (exporter, _) in &self.held {
            let is_same = |other: &Rc<Exporter>| is_same(other, exporter);
            if !due.iter().any(is_same) && !self.resting.iter().any(|(other, _)| is_same(other)) {
                due.push(Rc::clone(exporter));
            }
        }
        self.resting.extend(due.iter().map(|exporter| (Rc::clone(exporter), now_ms + LOST_MS)));
        due
    }

    /// The next parcel for a destination, to be settled or held again.
    pub fn next(&mut self, exporter: &Exporter) -> Option<(Rc<Exporter>, Parcel)> {
        let place = self.held.iter().position(|(other, _)| is_same(other, exporter))?;
        Some(self.held.remove(place))
    }

    /// A run has ended. After a failure the destination is left alone: for as long as it wants, or for a moment.
    pub fn rest(&mut self, exporter: &Rc<Exporter>, failed: Option<u64>, now_ms: u64) {
        self.resting.retain(|(other, _)| !is_same(other, exporter));
        if let Some(wanted) = failed {
            self.resting.push((Rc::clone(exporter), now_ms + wanted.max(REST_MS)));
        }
    }

    /// A destination has failed, unless it is left alone already.
    pub fn rest_anew(&mut self, exporter: &Rc<Exporter>, now_ms: u64) {
        if !self.is_resting(exporter, now_ms) {
            self.rest(exporter, Some(0), now_ms);
        }
    }

    pub fn is_resting(&self, exporter: &Exporter, now_ms: u64) -> bool {
        self.resting.iter().any(|(other, until)| is_same(other, exporter) && *until > now_ms)
    }

    pub fn count(&mut self, exporter: &Rc<Exporter>, more: Count) {
        let place = self.counted.iter().position(|one| is_same(&one.exporter, exporter));
        let Some(known) = place.and_then(|place| self.counted.get_mut(place)) else {
            return self.counted.push(Counted { exporter: Rc::clone(exporter), count: more });
        };
        let Count { exported, rejected, dropped, error } = &mut known.count;
        *exported += more.exported;
        *rejected += more.rejected;
        *dropped += more.dropped;
        *error = more.error.or(error.take());
    }

    pub fn drop_spans(&mut self, exporter: &Rc<Exporter>, dropped: u64, why: &str) {
        self.count(exporter, Count { dropped, error: Some(why.to_owned()), ..Count::default() });
    }

    /// What was counted since the last time.
    pub fn counted(&mut self) -> Vec<Counted> {
        std::mem::take(&mut self.counted)
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty()
    }

    /// Drops everything, for the process that ends.
    pub fn abandon(&mut self, now_ms: u64) {
        for (exporter, parcel) in self.pack(MOST_BYTES, now_ms).into_iter().chain(std::mem::take(&mut self.held)) {
            self.drop_spans(&exporter, parcel.spans, "the Worker was stopped before the destination took them");
        }
    }

    fn expire(&mut self, now_ms: u64) {
        let is_old = |parcel: &Parcel| now_ms.saturating_sub(parcel.packed_at) > MAX_AGE_MS;
        let (old, held) = std::mem::take(&mut self.held).into_iter().partition(|(_, parcel)| is_old(parcel));
        self.held = held;
        let old: Vec<(Rc<Exporter>, Parcel)> = old;
        for (exporter, parcel) in old {
            self.drop_spans(&exporter, parcel.spans, "the destination did not take them within 15 minutes");
        }
    }
}

#[cfg(test)]
mod tests;
