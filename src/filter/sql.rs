//! Filters as SQL. Every value is bound; the text is made of constants.

use super::{Field, Filter, Filters, Key, Kind, Operator};
use crate::id;
use crate::store::{Bind, Statement};
use serde_json::Value;

/// Which logs are meant, as the `FROM` and `WHERE` of a statement on `logs`.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The table and the columns that are read in order of time: an index on the pair where a metadata or feedback pair
    /// is asked for, else `logs` itself.
    source: Source,
    /// Whether nothing but `logs` in order of time can tell what is meant.
    walked: bool,
    conditions: Vec<String>,
    /// Which of the conditions bound the time, and from which side.
    bounds: Vec<(usize, Direction)>,
    binds: Vec<Bind>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    from: &'static str,
    /// The index alone, where it has all that is asked for.
    alone: Option<&'static str>,
    time: &'static str,
    id: &'static str,
}

const LOGS: Source = Source { from: "logs", alone: None, time: "logs.created_at", id: "logs.id" };

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
    ("score", None, "logs INDEXED BY logs_by_score"),
    ("feedback", None, "logs INDEXED BY logs_by_feedback"),
    ("success", Some(false), "logs INDEXED BY logs_failed"),
    ("cached", Some(true), "logs INDEXED BY logs_cached"),
    ("model", None, "logs INDEXED BY logs_by_model"),
    ("provider", None, "logs INDEXED BY logs_by_provider"),
];

/// Fields by which an index finds the few logs that have a value, and their columns.
const LOOKED_UP: &[(&str, &str)] =
    &[("id", "logs.id"), ("response_id", "logs.response_id"), ("event_id", "logs.event_id")];

/// The direction of a list in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

// === impl Selection ===

impl Selection {
    pub fn new(gateway: i64, filters: &Filters) -> Self {
        // Of alternatives none can lead.
        let alone = |clause: &&Vec<Filter>| clause.len() == 1;
        let looked_up = filters.0.iter().filter(alone).flatten().any(Filter::looks_up);
        let leads = |clause: &Vec<Filter>| !looked_up && alone(&clause) && clause.iter().all(Filter::leads);
        let leading = filters.0.iter().position(leads);
        let lead = leading.and_then(|at| filters.0.get(at)).and_then(|clause| clause.first());
        let source = match lead.map(|filter| &filter.key) {
            Some(Key::Metadata(_)) => METADATA,
            Some(Key::Feedback(_)) => FEEDBACK,
            _ if looked_up => LOGS,
            _ => {
                let mut single = INDEXED.iter().filter(|(name, wanted, _)| {
                    filters.0.iter().filter(alone).flatten().any(|filter| filter.is_one(name, *wanted))
                });
                single.next().map_or(LOGS, |(_, _, from)| Source { from, ..LOGS })
            }
        };
        let walked = source.from == LOGS.from
            && !looked_up
            && !filters.0.iter().any(|clause| clause.iter().all(Filter::is_covered));
        let mut selection = Self { source, walked, conditions: Vec::new(), bounds: Vec::new(), binds: Vec::new() };
        let own = selection.bind(gateway);
        // The plus keeps SQLite from walking through the gateway in order of time when an id tells where to look.
        let plus = if looked_up { "+" } else { "" };
        selection.conditions.push(format!("{plus}logs.gateway = {own}"));
        if let Some(Filter { key: Key::Metadata(key) | Key::Feedback(key), values, .. }) = lead {
            let key = selection.bind(key.as_str());
            let value = selection.bind(values.first().map_or(Bind::Null, bound));
            selection.conditions.push(format!("pair.gateway = {own} AND pair.key = {key} AND pair.value = {value}"));
        }
        for (at, clause) in filters.0.iter().enumerate() {
            if Some(at) != leading {
                selection.require(clause);
            }
        }
        selection
    }

    /// The logs of a gateway that any of several sets of filters describes.
    pub fn any(gateway: i64, sets: &[Filters]) -> Self {
        if let [one] = sets {
            return Self::new(gateway, one);
        }
        let mut selection = Self::new(gateway, &Filters::default());
        let sets: Vec<String> = sets
            .iter()
            .map(|filters| {
                let clauses: Vec<String> = filters.0.iter().map(|clause| selection.clause(clause)).collect();
                if clauses.is_empty() { "1".to_owned() } else { format!("({})", clauses.join(" AND ")) }
            })
            .collect();
        selection.conditions.push(format!("({})", sets.join(" OR ")));
        selection
    }

    /// Binds a value and returns its placeholder. D1 allows a hundred, so equal values share one.
    pub fn bind(&mut self, value: impl Into<Bind>) -> String {
        let value = value.into();
        let known = self.binds.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.binds.push(value);
            self.binds.len() - 1
        });
        format!("?{}", known + 1)
    }

    /// Requires a condition on `logs` that is made of constants and placeholders of [`Selection::bind`].
    pub fn and(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// Requires one of the filters.
    pub fn require(&mut self, clause: &[Filter]) {
        let condition = self.clause(clause);
        if let [Filter { key: Key::Field(Field { name: "created_at", .. }), operator, .. }] = clause {
            let from = match operator {
                Operator::Lt | Operator::AtMost => Some(Direction::Descending),
                Operator::Gt | Operator::AtLeast => Some(Direction::Ascending),
                _ => None,
            };
            self.bounds.extend(from.map(|from| (self.conditions.len(), from)));
        }
        self.conditions.push(condition);
    }

    /// Requires a text in a metadata key or value.
    pub fn search(&mut self, text: &str) {
        let text = self.bind(text.to_ascii_lowercase());
        self.conditions.push(format!(
            "EXISTS (SELECT 1 FROM log_metadata AS entry WHERE entry.log_id = logs.id \
             AND (instr(lower(entry.key), {text}) > 0 OR instr(lower(entry.value), {text}) > 0))"
        ));
    }

    /// Only logs beyond the one with this id, in a direction. Ids begin with their time, so the id says it all.
    pub fn beyond(&mut self, last: &str, direction: Direction) {
        self.bound(last, direction, if direction == Direction::Ascending { ">" } else { "<" });
    }

    /// Only logs that are as new as the one with this id, or newer.
    pub fn down_to(&mut self, last: &str) {
        self.bound(last, Direction::Ascending, ">=");
    }

    fn bound(&mut self, id: &str, from: Direction, than: &str) {
        // SQLite begins at one bound only. If that were an earlier one, every page would read again what was before it.
        for (at, _) in self.bounds.iter().filter(|(_, known)| *known == from) {
            if let Some(condition) = self.conditions.get_mut(*at) {
                condition.insert(0, '+');
            }
        }
        self.bounds.retain(|(_, known)| *known != from);
        let time = self.bind(id::minted_at(id).unwrap_or(0) as i64);
        let id = self.bind(id);
        let Source { time: column, id: own, .. } = self.source;
        self.conditions.push(format!("({column}, {own}) {than} ({time}, {id})"));
    }

    /// Only logs of this time or before.
    pub fn until(&mut self, time_ms: u64) {
        let time = self.bind(time_ms as i64);
        self.bounds.push((self.conditions.len(), Direction::Descending));
        self.conditions.push(format!("{} <= {time}", self.source.time));
    }

    /// `ORDER BY` time, with the id to break ties.
    pub fn in_time(&self, direction: Direction) -> String {
        let word = direction.sql();
        format!("{} {word}, {} {word}", self.source.time, self.source.id)
    }

    /// `SELECT <columns> FROM … WHERE … <rest>`. `rest` is made as the condition of [`Selection::and`] is.
    pub fn select(&self, columns: &str, rest: &str) -> Statement {
        let sql = format!("SELECT {columns} FROM {} WHERE {} {rest}", self.source.from, self.conditions.join(" AND "));
        Statement::new(sql, self.binds.as_slice())
    }

    /// [`Selection::select`] of something that has no order, such as a count. Left alone, SQLite likes the index of models,
    /// which leads it back and forth through the table; the table itself is in order of time.
    pub fn gather(&self, columns: &str, rest: &str) -> Statement {
        let mut walked = self.clone();
        // Every pair belongs to a log, which need not be looked at when nothing of it is asked for.
        let asks = |text: &str| text.contains("logs.");
        if let Some(alone) = self.source.alone
            && !asks(columns)
            && !self.conditions.iter().skip(1).any(|condition| asks(condition))
        {
            walked.source.from = alone;
            walked.conditions.remove(0);
        }
        if self.walked {
            walked.source.from = "logs INDEXED BY logs_by_time";
        }
        walked.select(columns, rest)
    }

    fn clause(&mut self, clause: &[Filter]) -> String {
        let alternatives: Vec<String> = clause.iter().map(|filter| self.condition(filter)).collect();
        if let [one] = alternatives.as_slice() { one.clone() } else { format!("({})", alternatives.join(" OR ")) }
    }

    fn condition(&mut self, filter: &Filter) -> String {
        let entry = |condition: &str, table: &str| {
            format!("EXISTS (SELECT 1 FROM {table} AS entry WHERE entry.log_id = logs.id{condition})")
        };
        // Without a value of its own to compare, an entry is compared by being there.
        let (table, column, given) = match &filter.key {
            Key::Field(Field { name: "event_id", .. }) if filter.looks_up() => {
                // Logs without an event id of their own are not in the index of event ids, but found by the id they repeat.
                let [own, events] = ["logs.id", "logs.event_id"].map(|column| self.any_of(column, &filter.values));
                return format!("({own} AND logs.event_id = logs.id OR {events} AND logs.event_id <> logs.id)");
            }
            Key::Field(field) => {
                let column = if field.name == "created_at" { self.source.time } else { field.sql };
                return self.compared(column, field.kind, filter);
            }
            Key::AnyName => ("log_metadata", "entry.key", String::new()),
            Key::AnyValue => ("log_metadata", "entry.value", String::new()),
            Key::Metadata(key) => {
                let key = self.bind(key.as_str());
                ("log_metadata", "entry.value", format!(" AND entry.key = {key}"))
            }
            Key::Feedback(key) => {
                let key = self.bind(key.as_str());
                ("log_feedback", "entry.value", format!(" AND entry.key = {key}"))
            }
        };
        let (operator, negated) = match filter.operator {
            Operator::Present => return entry(&given, table),
            Operator::Absent => return format!("NOT {}", entry(&given, table)),
            Operator::Neq => (Operator::Eq, true),
            operator => (operator, false),
        };
        let (nulls, values): (Vec<_>, Vec<_>) = filter.values.iter().cloned().partition(Value::is_null);
        let mut alternatives = Vec::new();
        if !nulls.is_empty() {
            alternatives.push(format!("NOT {}", entry(&given, table)));
        }
        // SQLite puts every number before every text, so that the two are compared each with its own.
        let ranges = matches!(operator, Operator::Lt | Operator::Gt);
        let (numbers, texts): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| ranges && value.is_number());
        for (values, kind, types) in [(numbers, Kind::Number, "'integer', 'real'"), (texts, Kind::Text, "'text'")] {
            if values.is_empty() {
                continue;
            }
            let mut condition = self.compared(column, kind, &Filter { operator, values, key: filter.key.clone() });
            if ranges {
                condition = format!("{condition} AND typeof({column}) IN ({types})");
            }
            alternatives.push(entry(&format!("{given} AND {condition}"), table));
        }
        let any = format!("({})", alternatives.join(" OR "));
        if negated { format!("NOT {any}") } else { any }
    }

    fn compared(&mut self, column: &str, kind: Kind, filter: &Filter) -> String {
        let values = &filter.values;
        match filter.operator {
            Operator::Present => format!("{column} IS NOT NULL"),
            Operator::Absent => format!("{column} IS NULL"),
            Operator::Eq => self.any_of(column, values),
            Operator::Neq => {
                let equal = self.any_of(column, values);
                format!("({equal}) IS NOT TRUE")
            }
            Operator::Contains => {
                let text = match kind {
                    Kind::Time => format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')"),
                    _ => format!("CAST({column} AS TEXT)"),
                };
                let texts: Vec<String> = values
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|value| if kind == Kind::Time { value.to_owned() } else { value.to_ascii_lowercase() })
                    .collect();
                let text = if kind == Kind::Time { text } else { format!("lower({text})") };
                match texts.as_slice() {
                    [one] => {
                        let one = self.bind(one.as_str());
                        format!("instr({text}, {one}) > 0")
                    }
                    all => {
                        let all = self.bind(Value::from(all).to_string());
                        format!("EXISTS (SELECT 1 FROM json_each({all}) AS part WHERE instr({text}, part.value) > 0)")
                    }
                }
            }
            // Less than any of several is less than the greatest.
            Operator::Lt | Operator::AtMost => {
                let sign = if filter.operator == Operator::Lt { "<" } else { "<=" };
                let bound = self.bind(extreme(values, std::cmp::Ordering::Greater).map_or(Bind::Null, bound));
                format!("{column} {sign} {bound}")
            }
            Operator::Gt | Operator::AtLeast => {
                let sign = if filter.operator == Operator::Gt { ">" } else { ">=" };
                let bound = self.bind(extreme(values, std::cmp::Ordering::Less).map_or(Bind::Null, bound));
                format!("{column} {sign} {bound}")
            }
        }
    }

    fn any_of(&mut self, column: &str, values: &[Value]) -> String {
        let mut alternatives = Vec::new();
        if values.iter().any(Value::is_null) {
            alternatives.push(format!("{column} IS NULL"));
        }
        let values: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
        match values.as_slice() {
            [] => {}
            // Written out, because an index with a condition is only used for a condition that is known beforehand.
            [Value::Bool(value)] => alternatives.push(format!("{column} = {}", u8::from(*value))),
            [one] => {
                let one = self.bind(bound(one));
                alternatives.push(format!("{column} = {one}"));
            }
            several => {
                let list: Vec<Value> = several.iter().map(|value| plain(value)).collect();
                let list = self.bind(Value::from(list).to_string());
                // The plus keeps SQLite from gathering and sorting the matches of every value: in order of time the
                // first page is found at once. Ids have few matches, and are to be looked up.
                let plus = if LOOKED_UP.iter().any(|(_, known)| *known == column) { "" } else { "+" };
                alternatives.push(format!("{plus}{column} IN (SELECT value FROM json_each({list}))"));
            }
        }
        if let [one] = alternatives.as_slice() { one.clone() } else { format!("({})", alternatives.join(" OR ")) }
    }
}

fn bound(value: &Value) -> Bind {
    match value {
        Value::Null => Bind::Null,
        Value::Bool(value) => Bind::from(*value),
        Value::Number(number) => number.as_f64().map_or(Bind::Null, Bind::Real),
        Value::String(text) => Bind::from(text.as_str()),
        other => Bind::from(other.to_string()),
    }
}

/// As SQLite stores it: booleans are numbers.
fn plain(value: &Value) -> Value {
    match value {
        Value::Bool(value) => Value::from(u8::from(*value)),
        other => other.clone(),
    }
}

/// The greatest or the least of values of one kind.
fn extreme(values: &[Value], wanted: std::cmp::Ordering) -> Option<&Value> {
    values.iter().reduce(|best, value| {
        let order = match (value.as_f64(), best.as_f64()) {
            (Some(value), Some(best)) => value.total_cmp(&best),
            _ => value.as_str().cmp(&best.as_str()),
        };
        if order == wanted { value } else { best }
    })
}

// === impl Filter ===

impl Filter {
    /// Whether an index has the matches of this filter in order of time.
    fn leads(&self) -> bool {
        matches!(self.key, Key::Metadata(_) | Key::Feedback(_))
            && self.operator == Operator::Eq
            && matches!(self.values.as_slice(), [value] if !value.is_null())
    }

    /// Whether it asks for one value of a field, and for this one if it says which.
    fn is_one(&self, name: &str, wanted: Option<bool>) -> bool {
        matches!(self.key, Key::Field(field) if field.name == name)
            && self.operator == Operator::Eq
            && matches!(self.values.as_slice(), [value] if !value.is_null() && (wanted.is_none() || value.as_bool() == wanted))
    }

    /// Whether an index tells which logs it describes, without the table, although not in order of time.
    fn is_covered(&self) -> bool {
        match self.key {
            Key::Field(field) if matches!(field.name, "model" | "provider") => true,
            Key::Field(field) if matches!(field.name, "score" | "feedback") => {
                matches!(self.operator, Operator::Lt | Operator::Gt)
            }
            _ => false,
        }
    }

    /// Whether it asks for the logs of certain ids.
    fn looks_up(&self) -> bool {
        matches!(self.key, Key::Field(field) if LOOKED_UP.iter().any(|(name, _)| *name == field.name))
            && self.operator == Operator::Eq
            && !self.values.iter().any(Value::is_null)
    }
}

// === impl Direction ===

impl Direction {
    pub fn sql(self) -> &'static str {
        match self {
            Self::Ascending => "ASC",
            Self::Descending => "DESC",
        }
    }
}
