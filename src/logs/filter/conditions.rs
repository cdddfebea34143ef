//! Filters as conditions of SQL, and the values that these bind.

use crate::db::store::Bind;
use crate::logs::filter::index_choice::LOOKED_UP;
use crate::logs::filter::terms::{Field, Filter, FilterKey, Kind, Operator, bound};
use serde_json::Value;

/// The values that a statement binds.
#[derive(Clone, Debug, Default)]
pub struct Binds(pub Vec<Bind>);

/// What guardrails have found, an element each.
const CATEGORIES: &str = "json_tree(logs.guardrails)";
const OF_CATEGORIES: &str = "entry.path IN ('$.prompt.categories', '$.response.categories')";

// === impl Binds ===

impl Binds {
    /// Binds a value and returns its placeholder. D1 allows a hundred, so equal values share one.
    pub fn bind(&mut self, value: impl Into<Bind>) -> String {
        let value = value.into();
        let known = self.0.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.0.push(value);
            self.0.len() - 1
        });
        format!("?{}", known + 1)
    }

    /// A condition that one of the filters holds. `time` is the column that logs are read in the order of.
    pub fn any_of_filters(&mut self, clause: &[Filter], time: &str) -> String {
        let alternatives: Vec<String> = clause.iter().map(|filter| self.condition(filter, time)).collect();
        if let [one] = alternatives.as_slice() { one.clone() } else { format!("({})", alternatives.join(" OR ")) }
    }

    fn condition(&mut self, filter: &Filter, time: &str) -> String {
        let entry = |condition: &str, table: &str| {
            let of_log = if table == CATEGORIES { OF_CATEGORIES } else { "entry.log_id = logs.id" };
            format!("EXISTS (SELECT 1 FROM {table} AS entry WHERE {of_log}{condition})")
        };
        // Without a value of its own to compare, an entry is compared by being there.
        let (table, column, given) = match &filter.key {
            FilterKey::Field(Field { name: "event_id", .. }) if filter.looks_up() => {
                // Logs without an event id of their own are not in the index of event ids, but found by the id they repeat.
                let [own, events] = ["logs.id", "logs.event_id"].map(|column| self.any_of(column, &filter.values));
                return format!("({own} AND logs.event_id = logs.id OR {events} AND logs.event_id <> logs.id)");
            }
            FilterKey::Field(Field { name: "id", .. }) if filter.looks_up() => {
                let [own, given] = ["logs.id", "logs.ingested_id"].map(|column| self.any_of(column, &filter.values));
                return format!("({own} OR {given})");
            }
            FilterKey::Field(field) => {
                let column = if field.name == "created_at" { time } else { field.sql };
                return self.compared(column, field.kind, filter);
            }
            FilterKey::AnyName => ("log_metadata", "entry.key", String::new()),
            FilterKey::Category => (CATEGORIES, "entry.value", String::new()),
            FilterKey::AnyValue => ("log_metadata", "entry.value", String::new()),
            FilterKey::Metadata(key) => {
                let key = self.bind(key.as_str());
                ("log_metadata", "entry.value", format!(" AND entry.key = {key}"))
            }
            FilterKey::Feedback(key) => {
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
