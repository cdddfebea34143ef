//! Which index a list begins with. SQLite has no statistics on D1, and would take a range of time for more telling than
//! any value.

use crate::logs::filter::terms::{Filter, FilterKey, Filters, Operator};
use serde_json::Value;

#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) from: &'static str,
    /// The index alone, where it has all that is asked for.
    pub(super) alone: Option<&'static str>,
    pub(super) time: &'static str,
    pub(super) id: &'static str,
}

/// The logs of a gateway in order of time.
pub(super) const BY_TIME: &str = "logs INDEXED BY logs_by_time";

const FAILED: &str = "logs INDEXED BY logs_failed";
const CACHED: &str = "logs INDEXED BY logs_cached";
/// Has the logs that are of no chat.
const BY_TYPE: &str = "logs INDEXED BY logs_by_type";
const OTHER_TYPE: &str = "logs.model_type IS NOT 'chat'";

pub(super) const LOGS: Source = Source { from: "logs", alone: None, time: "logs.created_at", id: "logs.id" };

// CROSS JOIN is how SQLite is told to begin with the left table.
const METADATA: Source = Source {
    alone: Some("log_metadata AS pair"),
    from: "log_metadata AS pair CROSS JOIN logs ON logs.id = pair.log_id",
    time: "pair.created_at",
    id: "pair.log_id",
};

const FEEDBACK: Source = Source {
    alone: Some("log_feedback AS pair"),
    from: "log_feedback AS pair CROSS JOIN logs ON logs.id = pair.log_id",
    time: "pair.created_at",
    id: "pair.log_id",
};

/// Fields whose index has the logs with one value in order of time, what the value must be, and the table read by it; those
/// with few logs to a value come first. Without statistics SQLite takes a range of time for more telling than a value, and
/// would walk through all providers to find the logs of one.
const INDEXED: &[(&str, Option<bool>, &str)] = &[
    ("session_id", None, "logs INDEXED BY logs_by_session"),
    ("dlp_action", None, "logs INDEXED BY logs_by_dlp"),
    ("score", None, "logs INDEXED BY logs_by_score"),
    ("feedback", None, "logs INDEXED BY logs_by_feedback"),
    ("success", Some(false), FAILED),
    ("cached", Some(true), CACHED),
    ("model_type", None, BY_TYPE),
    ("model", None, "logs INDEXED BY logs_by_model"),
    ("provider", None, "logs INDEXED BY logs_by_provider"),
];

/// Fields of which one value is that of most logs: the condition for these, that for the others, and the others' index.
pub(super) const LOPSIDED: &[(&str, &str, &str, &str)] = &[
    ("success", "logs.success = 1", "logs.success = 0", FAILED),
    ("cached", "logs.cached = 0", "logs.cached = 1", CACHED),
    ("model_type", "logs.model_type = 'chat'", OTHER_TYPE, BY_TYPE),
];

/// Fields by which an index finds the few logs that have a value, and their columns.
pub(super) const LOOKED_UP: &[(&str, &str)] = &[
    ("id", "logs.id"),
    ("id", "logs.ingested_id"),
    ("response_id", "logs.response_id"),
    ("event_id", "logs.event_id"),
];

impl Source {
    /// What has to be said so that SQLite knows that the index has all that is asked for.
    pub(super) fn also(&self) -> Option<&'static str> {
        (self.from == BY_TYPE).then_some(OTHER_TYPE)
    }
}

/// Whether a filter asks for the logs of certain ids.
pub(super) fn looked_up(filters: &Filters) -> bool {
    alone(filters).any(|(_, filter)| filter.looks_up())
}

/// The filters that must hold by themselves: of alternatives none can lead.
fn alone(filters: &Filters) -> impl Iterator<Item = (usize, &Filter)> {
    filters.0.iter().enumerate().filter_map(|(at, clause)| match clause.as_slice() {
        [one] => Some((at, one)),
        _ => None,
    })
}

/// The places of the filters by whose index a list can be read, the best guess first: a pair, or the field of which a value
/// has the fewest logs.
pub fn candidates(filters: &Filters) -> Vec<usize> {
    if looked_up(filters) {
        return Vec::new();
    }
    let pairs = alone(filters).filter(|(_, filter)| filter.pair().is_some());
    let fields = INDEXED
        .iter()
        .flat_map(|(name, wanted, _)| alone(filters).filter(|(_, filter)| filter.is_one(name, *wanted)).take(1));
    pairs.chain(fields).map(|(at, _)| at).collect()
}

// === impl Filter ===

impl Filter {
    /// The table, the key and the value of a pair that it asks for.
    pub(super) fn pair(&self) -> Option<(&'static str, &str, &Value)> {
        match (&self.key, self.operator, self.values.as_slice()) {
            (_, _, [Value::Null]) => None,
            (FilterKey::Metadata(key), Operator::Eq, [value]) => Some(("log_metadata", key, value)),
            (FilterKey::Feedback(key), Operator::Eq, [value]) => Some(("log_feedback", key, value)),
            _ => None,
        }
    }

    /// Where the logs that it describes are in order of time.
    pub(super) fn source(&self) -> Option<Source> {
        match self.pair() {
            Some(("log_metadata", _, _)) => Some(METADATA),
            Some(_) => Some(FEEDBACK),
            None => {
                let mut single = INDEXED.iter().filter(|(name, wanted, _)| self.is_one(name, *wanted));
                single.next().map(|(_, _, from)| Source { from, ..LOGS })
            }
        }
    }

    /// Whether it asks for one value of a field, and for this one if it says which; for a kind of model, one that is in its
    /// index.
    fn is_one(&self, name: &str, wanted: Option<bool>) -> bool {
        matches!(self.key, FilterKey::Field(field) if field.name == name)
            && self.operator == Operator::Eq
            && matches!(self.values.as_slice(), [value] if !value.is_null() && (wanted.is_none() || value.as_bool() == wanted)
                && (name != "model_type" || value != "chat"))
    }

    /// Whether an index tells which logs it describes, without the table, although not in order of time.
    pub(super) fn is_covered(&self) -> bool {
        self.is_of_judged() || matches!(self.key, FilterKey::Field(field) if matches!(field.name, "model" | "provider"))
    }

    /// Whether it describes logs with a score or a thumb in some range.
    pub(super) fn is_of_judged(&self) -> bool {
        matches!(self.key, FilterKey::Field(field) if matches!(field.name, "score" | "feedback"))
            && matches!(self.operator, Operator::Lt | Operator::Gt)
    }

    /// Whether it asks for the logs of certain ids.
    pub(super) fn looks_up(&self) -> bool {
        matches!(self.key, FilterKey::Field(field) if LOOKED_UP.iter().any(|(name, _)| *name == field.name))
            && self.operator == Operator::Eq
            && !self.values.iter().any(Value::is_null)
    }
}
