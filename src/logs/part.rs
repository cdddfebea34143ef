//! What is written in one transaction, as plain values: a group of records, and the parts that the statements take.

use crate::logs::pieces::cut::Cuts;
use crate::logs::pieces::name::NamingKey;
use crate::logs::record::LogRecord;
use crate::logs::rollup::Tally;
use crate::logs::stored::Stored;

/// A piece of so many bytes is a value of its own, because a long text is not worth escaping.
pub const LONG: usize = 8_000;

/// What is written in one transaction.
#[derive(Clone, Debug)]
pub struct Group {
    /// Stays the same when the group is written again: see [`WriteKey`].
    pub id: String,
    /// Which database it is written to.
    pub shard: u32,
    pub records: Vec<LogRecord>,
    /// Requests that are counted and leave no log.
    pub unlogged: Tally,
}

/// What is written in one transaction, as the statements take it: it can be written again without being made anew, and sent
/// as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// What it is known by: see [`WriteKey`].
    pub id: String,
    /// What pieces of its bodies are named with.
    pub naming: NamingKey,
    pub entries: Vec<Entry>,
    /// What its requests add up to, as `tallies` has it; empty for nothing.
    pub tally: String,
    /// How many of these requests have no log.
    pub unlogged: u64,
    /// Claims to usage that can be shown again, as [`thing::row`] makes them.
    pub claims: Vec<String>,
}

/// A record as the statements take it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub id: String,
    pub gateway: i64,
    pub created_at: u64,
    /// The row of `logs`: the values of a JSON array.
    pub log: String,
    /// The rows of `log_metadata`: JSON arrays with commas between them.
    pub metadata: String,
    pub bodies: Bodies,
    /// Whether there is an object of it in the bucket.
    pub object: bool,
    /// Whether there is a limit to how many logs the gateway has.
    pub has_log_limit: bool,
    /// Whether the gateway pushes its logs.
    pub is_pushed: bool,
    /// Whether the request goes on with the response of another.
    pub continues: bool,
}

/// What was asked and answered, as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bodies {
    pub request: Option<String>,
    pub response: Option<String>,
    /// Which of them are only the beginnings.
    pub stored: Stored,
    /// Where the request can be cut, if that has been looked for.
    pub cuts: Option<Cuts>,
}

/// What could not be written, with the reason, for the operator's log: a record, or the count of requests without logs,
/// which has no id.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    pub id: Option<String>,
    pub requests: u64,
    pub reason: String,
}

// === impl Entry ===

impl Entry {
    /// What holds for it, by the names that messages have for it.
    pub fn flags(&self) -> [(&'static str, bool); 4] {
        let Self { object, has_log_limit, is_pushed, continues, .. } = *self;
        [("object", object), ("limited", has_log_limit), ("pushed", is_pushed), ("continues", continues)]
    }
}

// === impl Part ===

impl Part {
    /// What is written one by one where it cannot be written together, each under a name of its own. The counts hold whether
    /// or not a log is refused.
    pub fn apart(self) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for (number, entry) in self.entries.into_iter().enumerate() {
            let id = format!("{}/{number}", self.id);
            parts.push(Self { id, naming: self.naming, entries: vec![entry], ..Self::default() });
        }
        if !self.tally.is_empty() || !self.claims.is_empty() {
            // Behind the logs, which the claims are about.
            let id = format!("{}/{}", self.id, parts.len());
            let (tally, unlogged, claims) = (self.tally, self.unlogged, self.claims);
            parts.push(Self { id, tally, unlogged, claims, ..Self::default() });
        }
        parts
    }

    /// What is lost with it: its logs, and the count of the requests without one.
    pub fn lost(self, reason: &str) -> Vec<Lost> {
        let lost = |id, requests| Lost { id, requests, reason: reason.to_owned() };
        let unlogged = (self.unlogged > 0).then(|| lost(None, self.unlogged));
        self.entries.into_iter().map(|entry| lost(Some(entry.id), 1)).chain(unlogged).collect()
    }

    /// Whether there is anything to take apart.
    pub fn is_several(&self) -> bool {
        self.entries.len() + usize::from(!self.tally.is_empty() || !self.claims.is_empty()) > 1
    }
}
