//! What a filter is made of: keys, operators and values, and the fields of a log.

use crate::db::store::Bind;
use serde_json::Value;

/// All of the clauses must hold; of a clause any filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters(pub Vec<Vec<Filter>>);

#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub key: FilterKey,
    pub operator: Operator,
    /// Of the type that the key's [`Kind`] wants, or null.
    pub values: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FilterKey {
    Field(&'static Field),
    /// Any metadata entry's key, and any entry's value: two such filters need not meet in one entry.
    AnyName,
    AnyValue,
    /// Any category that guardrails have found in the prompt or in the answer.
    Category,
    /// The value of one entry.
    Metadata(String),
    Feedback(String),
}

/// A property of a log that can be filtered by.
#[derive(Debug, PartialEq)]
pub struct Field {
    pub name: &'static str,
    /// SQL for it; a constant where Tollgate has no such thing, so that such filters match accordingly.
    pub sql: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Bool,
    /// RFC 3339 or milliseconds since 1970 outside, milliseconds inside.
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Eq,
    Neq,
    Contains,
    Lt,
    Gt,
    Present,
    Absent,
    /// Only behind the deprecated parameters `min_…`, `start_date` and `max_…`, `end_date`.
    AtLeast,
    AtMost,
}

const fn field(name: &'static str, sql: &'static str, kind: Kind) -> Field {
    Field { name, sql, kind }
}

/// Constants that SQLite does not see through: of `0 IS NULL` it concludes that nothing is to be read, and then complains that
/// the index it is told to use is of no use.
const NO: &str = "abs(0)";
const NOTHING: &str = "nullif(0, 0)";

/// The stronger of the two actions that guardrails took. Within a text of JSON no quote stands without a backslash.
const GUARDED: &str = "CASE WHEN instr(logs.guardrails, '\"action\":\"BLOCK\"') THEN 'BLOCK' \
     WHEN instr(logs.guardrails, '\"action\":\"FLAG\"') THEN 'FLAG' \
     WHEN instr(logs.guardrails, '\"action\":\"UNSCANNED\"') THEN 'UNSCANNED' WHEN logs.guardrails IS NOT NULL THEN 'PASS' END";

pub static FIELDS: &[Field] = &[
    field("id", "coalesce(logs.ingested_id, logs.id)", Kind::Text),
    field("created_at", "logs.created_at", Kind::Time),
    field("request_content_type", "logs.request_content_type", Kind::Text),
    field("response_content_type", "logs.response_content_type", Kind::Text),
    field("request_type", "logs.request_type", Kind::Text),
    field("success", "logs.success", Kind::Bool),
    field("cached", "logs.cached", Kind::Bool),
    field("provider", "logs.provider", Kind::Text),
    field("model", "logs.model", Kind::Text),
    field("model_type", "logs.model_type", Kind::Text),
    field("cost", "logs.cost", Kind::Number),
    field("tokens", "logs.total_tokens", Kind::Number),
    field("tokens_in", "logs.tokens_in", Kind::Number),
    field("tokens_out", "logs.tokens_out", Kind::Number),
    field("duration", "logs.duration", Kind::Number),
    field("feedback", "logs.feedback", Kind::Number),
    field("event_id", "logs.event_id", Kind::Text),
    field("authentication", "logs.authentication", Kind::Bool),
    field("wholesale", NO, Kind::Bool),
    field("compatibilityMode", NO, Kind::Bool),
    field("dlp_action", "logs.dlp_action", Kind::Text),
    field("user_agent", "logs.user_agent", Kind::Text),
    // Of older SDKs.
    field("prompts.prompt_id", NOTHING, Kind::Text),
    field("prompts.version_id", NOTHING, Kind::Text),
    // Tollgate's own.
    field("score", "logs.score", Kind::Number),
    field("status_code", "logs.status_code", Kind::Number),
    field("response_id", "logs.response_id", Kind::Text),
    field("error", "logs.error", Kind::Text),
    field("finish_reason", "logs.finish_reason", Kind::Text),
    field("evaluation_id", "logs.evaluation_id", Kind::Text),
    field("step", "logs.step", Kind::Number),
    field("attempt", "logs.attempt", Kind::Number),
    field("answered", "logs.answered", Kind::Bool),
    field("saved_cost", "logs.saved_cost", Kind::Number),
    field("credential", "logs.credential", Kind::Text),
    field("credential_alias", "logs.credential_alias", Kind::Text),
    field("price_rule", "logs.price_rule", Kind::Text),
    field("cost_unknown", "logs.cost_unknown", Kind::Text),
    field("usage_of", "logs.usage_of", Kind::Text),
    field("session_id", "logs.session_id", Kind::Text),
    field("caller", "logs.caller", Kind::Text),
    field("translated_from", "logs.translated_from", Kind::Text),
    field("route_id", "logs.route_id", Kind::Text),
    field("guardrails_action", GUARDED, Kind::Text),
    field("ingested", "(logs.ingested_id IS NOT NULL)", Kind::Bool),
];

// === impl Filters ===

impl Filters {
    /// Requires one more filter.
    pub fn and(&mut self, filter: Filter) {
        self.0.push(vec![filter]);
    }

    pub fn count(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether any filter is about what people said.
    pub fn judge(&self) -> bool {
        self.0.iter().flatten().any(|filter| match &filter.key {
            FilterKey::Field(field) => matches!(field.name, "feedback" | "score"),
            FilterKey::Feedback(_) => true,
            _ => false,
        })
    }
}

// === impl Key ===

impl FilterKey {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "metadata.key" => return Some(Self::AnyName),
            "metadata.value" => return Some(Self::AnyValue),
            "guardrails_category" => return Some(Self::Category),
            _ => {}
        }
        if let Some(field) = FIELDS.iter().find(|field| field.name == name) {
            return Some(Self::Field(field));
        }
        let (table, key) = name.split_once('.').filter(|(_, key)| !key.is_empty())?;
        match table {
            "metadata" => Some(Self::Metadata(key.to_owned())),
            "feedback" => Some(Self::Feedback(key.to_owned())),
            _ => None,
        }
    }

    /// The field of a name that is known to be one.
    pub fn field(name: &str) -> Option<Self> {
        FIELDS.iter().find(|field| field.name == name).map(Self::Field)
    }

    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Field(field) => Some(field.kind),
            Self::AnyName | Self::Category => Some(Kind::Text),
            _ => None,
        }
    }

    /// What may be written as a key, for error messages.
    pub fn allowed() -> String {
        let mut names: Vec<String> = FIELDS.iter().map(|field| format!("'{}'", field.name)).collect();
        names.extend(
            ["guardrails_category", "metadata.key", "metadata.value", "metadata.<key>", "feedback.<key>"]
                .map(|name| format!("'{name}'")),
        );
        names.join(" | ")
    }
}

// === impl Operator ===

impl Operator {
    pub const PUBLIC: &[(&str, Self)] = &[
        ("eq", Self::Eq),
        ("neq", Self::Neq),
        ("contains", Self::Contains),
        ("lt", Self::Lt),
        ("gt", Self::Gt),
        ("present", Self::Present),
        ("absent", Self::Absent),
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::PUBLIC.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    pub fn wants_values(self) -> bool {
        !matches!(self, Self::Present | Self::Absent)
    }

    pub fn allowed(kind: Option<Kind>) -> String {
        let names = Self::PUBLIC.iter().filter(|(_, operator)| operator.fits(kind));
        names.map(|(name, _)| format!("'{name}'")).collect::<Vec<_>>().join(" | ")
    }

    /// Nothing is smaller than true.
    pub fn fits(self, kind: Option<Kind>) -> bool {
        kind != Some(Kind::Bool) || !matches!(self, Self::Lt | Self::Gt | Self::Contains)
    }
}

/// A value as a statement gets it.
pub(super) fn bound(value: &Value) -> Bind {
    match value {
        Value::Null => Bind::Null,
        Value::Bool(value) => Bind::from(*value),
        Value::Number(number) => number.as_f64().into(),
        Value::String(text) => Bind::from(text.as_str()),
        other => Bind::from(other.to_string()),
    }
}
