//! The data sets: what each can be asked for, and what that is in SQL.

use crate::logs::rollup::MINUTE_MS;
use crate::logs::rollup::figures::summed;
use crate::logs::rollup::merge::{DAY_MS, HOUR_MS};

/// Where a set's rows come from. Each has `gateway` and `time`.
pub struct Set {
    pub name: &'static str,
    source: Source,
    /// Dimensions beside times and the gateway.
    own: &'static [&'static str],
    measures: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Rollup,
    /// Each row of a roll-up twice: what the cache answered, and what it did not.
    Cache,
    Storage,
}

/// A column that rows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Times, cut to so many milliseconds.
    Time(u64),
    Column(&'static str),
}

/// (name, milliseconds)
const TIMES: &[(&str, u64)] = &[
    ("datetimeMinute", MINUTE_MS),
    ("datetimeFiveMinutes", 5 * MINUTE_MS),
    ("datetimeFifteenMinutes", 15 * MINUTE_MS),
    ("datetimeHour", HOUR_MS),
    ("date", DAY_MS),
];

/// Names of dimensions, and what they are of a row.
const COLUMNS: &[(&str, &str)] = &[
    ("gateway", "own.value->>1"),
    ("provider", "provider"),
    ("model", "model"),
    ("cacheOp", "op.value"),
    ("cacheStatus", "op.value"),
    ("logManagement", "own.value->>2"),
];

/// A measure is named with the object that it stands in; `count` stands alone.
pub const SETS: &[Set] = &[
    Set {
        name: "aiGatewayRequestsAdaptiveGroups",
        source: Source::Rollup,
        own: &["provider", "model"],
        measures: &[
            ("count", "requests"),
            ("sum.cachedRequests", "cached"),
            ("sum.erroredRequests", ERRORS),
            // An answer of the cache uses no tokens.
            ("sum.cachedTokensIn", "0"),
            ("sum.cachedTokensOut", "0"),
            ("sum.uncachedTokensIn", "tokens_in"),
            ("sum.uncachedTokensOut", "tokens_out"),
            ("sum.cost", "cost"),
        ],
    },
    Set {
        name: "aiGatewayErrorsAdaptiveGroups",
        source: Source::Rollup,
        own: &["provider", "model"],
        measures: &[("count", ERRORS)],
    },
    Set {
        name: "aiGatewayCacheAdaptiveGroups",
        source: Source::Cache,
        own: &["provider", "model", "cacheOp", "cacheStatus"],
        measures: &[("count", "iif(op.value = 'hit', cached, requests - cached)")],
    },
    Set {
        name: "aiGatewaySizeAdaptiveGroups",
        source: Source::Storage,
        own: &["logManagement"],
        measures: &[("max.rows", "logs")],
    },
];

const ERRORS: &str =
    "errors_client + errors_gateway + errors_limit + errors_upstream + errors_provider_4xx + errors_provider_5xx";

// === impl Set ===

impl Set {
    pub fn find(name: &str) -> Result<&'static Self, String> {
        SETS.iter().find(|set| set.name == name).ok_or_else(|| unknown(name, SETS.iter().map(|set| set.name)))
    }

    /// A dimension of this set.
    pub fn dimension(&self, name: &str) -> Result<Dimension, String> {
        if let Some((_, span)) = TIMES.iter().find(|(known, _)| *known == name) {
            return Ok(Dimension::Time(*span));
        }
        let column = COLUMNS.iter().find(|(known, _)| *known == name && self.has(known));
        column.map(|(_, sql)| Dimension::Column(sql)).ok_or_else(|| {
            let columns = COLUMNS.iter().map(|(name, _)| *name).filter(|name| self.has(name));
            unknown(name, TIMES.iter().map(|(name, _)| *name).chain(columns))
        })
    }

    fn has(&self, column: &str) -> bool {
        column == "gateway" || self.own.contains(&column)
    }

    /// The place of a measure, such as `sum.cost`.
    pub fn measure(&self, name: &str) -> Result<usize, String> {
        let place = self.measures.iter().position(|(known, _)| *known == name);
        place.ok_or_else(|| unknown(name, self.measures.iter().map(|(name, _)| *name)))
    }

    /// The expression that adds up a measure.
    pub fn adds_up(&self, place: usize) -> String {
        let (name, sql) = self.measures.get(place).copied().unwrap_or_default();
        if self.is_most(place) { format!("max({sql})") } else { summed(name, &format!("({sql})")) }
    }

    /// Whether a measure is the greatest value, and no sum.
    pub fn is_most(&self, place: usize) -> bool {
        self.measures.get(place).is_some_and(|(name, _)| name.starts_with("max."))
    }

    pub fn is_money(&self, place: usize) -> bool {
        self.measures.get(place).is_some_and(|(_, sql)| *sql == "cost")
    }

    /// What follows FROM: the gateways of `?1`, a JSON array of their keys, ids and limits, with their rows. `?2` is the time.
    pub fn from(&self) -> &'static str {
        match self.source {
            Source::Rollup => "json_each(?1) AS own CROSS JOIN rollup AS r ON r.gateway = own.value->>0 AND ?2 > 0",
            Source::Cache => {
                "json_each(?1) AS own CROSS JOIN rollup AS r ON r.gateway = own.value->>0 AND ?2 > 0 \
                 CROSS JOIN json_each('[\"hit\",\"miss\"]') AS op ON iif(op.value = 'hit', cached, requests - cached) > 0"
            }
            Source::Storage => {
                "json_each(?1) AS own CROSS JOIN (SELECT gateway, logs, ?2 - ?2 % 60000 AS time FROM log_storage) AS r \
                 ON r.gateway = own.value->>0"
            }
        }
    }

    /// Whether rows of which nothing is counted are left out.
    pub fn leaves_out(&self) -> &'static str {
        if self.name == "aiGatewayErrorsAdaptiveGroups" { " HAVING m0 > 0" } else { "" }
    }
}

// === impl Dimension ===

impl Dimension {
    pub fn sql(self) -> String {
        match self {
            Self::Time(span) => format!("time - time % {span}"),
            Self::Column(sql) => sql.to_owned(),
        }
    }
}

/// An error that names what there is instead.
pub fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    format!("unknown field {name:?}: expected one of {}", known.join(", "))
}
