//! What is asked of a data set, as one statement: groups, measures, filters and orders.

use crate::api::graphql::parse::Field;
use crate::api::graphql::sets::{Dimension, Set, unknown};
use crate::base::timestamp;
use crate::db::store::{Bind, Statement};
use crate::logs::rollup::MINUTE_MS;
use serde_json::{Map, Value};

/// Rows of an answer, where the query does not say how many, and at most.
const USUAL_LIMIT: u64 = 100;
pub const MOST_ROWS: u64 = 10_000;

/// Conditions of a filter.
const MOST_CONDITIONS: usize = 40;

/// The operators that a name in a filter may end with. None is equality.
const OPERATORS: &[&str] = &["geq", "leq", "gt", "lt", "neq", "in", "notin"];

/// A question to a data set.
pub struct Asked {
    pub set: &'static Set,
    pub limit: u64,
    pub dimensions: Vec<Dimension>,
    /// Places of measures in the set.
    pub measures: Vec<usize>,
    /// What rows are sorted by, columns first to last, and whether downwards.
    pub order: Vec<(Column, bool)>,
    conditions: String,
    binds: Vec<Bind>,
}

/// A column of an answer, by its place among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Dimension(usize),
    Measure(usize),
}

/// What a filter comes to.
struct Conditions<'s> {
    set: &'s Set,
    binds: Vec<Bind>,
    count: usize,
}

// === impl Asked ===

impl Asked {
    pub fn read(field: &Field) -> Result<Self, String> {
        let set = Set::find(&field.name)?;
        let mut asked = Self {
            set,
            limit: USUAL_LIMIT,
            dimensions: Vec::new(),
            measures: Vec::new(),
            order: Vec::new(),
            conditions: "1".to_owned(),
            binds: Vec::new(),
        };
        asked.columns(field)?;
        let known = ["limit", "filter", "orderBy"];
        if let Some(name) = field.arguments.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(unknown(name, known.into_iter()));
        }
        let given = |name: &str| field.arguments.get(name).filter(|value| !value.is_null());
        if let Some(limit) = given("limit") {
            let limit = limit.as_u64().filter(|limit| (1..=MOST_ROWS).contains(limit));
            asked.limit = limit.ok_or_else(|| format!("limit has to be a number from 1 to {MOST_ROWS}"))?;
        }
        if let Some(filter) = given("filter") {
            // The gateways and the time come before.
            let mut conditions = Conditions { set, binds: vec![Bind::Null, Bind::Null], count: 0 };
            asked.conditions = conditions.all(filter)?;
            asked.binds = conditions.binds.split_off(2);
        }
        asked.sort(given("orderBy"))?;
        Ok(asked)
    }

    fn columns(&mut self, field: &Field) -> Result<(), String> {
        if field.fields.is_empty() {
            return Err(format!("{} has fields that have to be named: count, dimensions, sum or max", field.name));
        }
        for part in &field.fields {
            if !part.arguments.is_empty() {
                return Err(format!("{} takes no arguments", part.name));
            }
            match (part.name.as_str(), part.fields.as_slice()) {
                ("__typename", []) => {}
                ("dimensions", [_, ..]) => {
                    for field in &part.fields {
                        let dimension = self.set.dimension(leaf(field)?)?;
                        if !self.dimensions.contains(&dimension) {
                            self.dimensions.push(dimension);
                        }
                    }
                }
                (block @ ("sum" | "max"), [_, ..]) => {
                    for field in &part.fields {
                        let place = self.set.measure(&format!("{block}.{}", leaf(field)?))?;
                        self.measures.push(place);
                    }
                }
                (name, []) => {
                    let place = self.set.measure(name)?;
                    self.measures.push(place);
                }
                (name, _) => return Err(unknown(name, ["count", "dimensions", "sum", "max"].into_iter())),
            }
        }
        // Errors are told by their number.
        if self.measures.is_empty() || !self.set.leaves_out().is_empty() {
            self.measures.insert(0, 0);
        }
        Ok(())
    }

    fn sort(&mut self, given: Option<&Value>) -> Result<(), String> {
        let words: Vec<&Value> = match given {
            None => Vec::new(),
            Some(Value::Array(words)) => words.iter().collect(),
            Some(word) => vec![word],
        };
        for word in words {
            let rule = "orderBy has to be a list such as [datetimeHour_ASC, sum_cost_DESC]";
            let (name, direction) = word.as_str().and_then(|word| word.rsplit_once('_')).ok_or(rule)?;
            let down = match direction {
                "ASC" => false,
                "DESC" => true,
                _ => return Err(rule.to_owned()),
            };
            let measure = self.set.measure(&name.replacen('_', ".", 1));
            let column = match measure {
                Ok(measure) => self.measures.iter().position(|asked| *asked == measure).map(Column::Measure),
                Err(_) => {
                    let dimension = self.set.dimension(name)?;
                    self.dimensions.iter().position(|asked| *asked == dimension).map(Column::Dimension)
                }
            };
            let column = column.ok_or_else(|| format!("orderBy names {name:?}, which the query does not ask for"))?;
            self.order.push((column, down));
        }
        // What is the same in these is told apart by the rest, so that every answer has one order.
        self.order.extend((0..self.dimensions.len()).map(|place| (Column::Dimension(place), false)));
        Ok(())
    }

    /// Whether rows are sorted by dimensions alone: then the first rows of each database are enough to find the first of all.
    pub fn is_sorted_by_groups(&self) -> bool {
        self.order.iter().all(|(column, _)| matches!(column, Column::Dimension(_)))
    }

    /// `gateways` is a JSON array of keys, ids and limits.
    pub fn statement(&self, gateways: String, now_ms: u64, limit: u64) -> Statement {
        let mut columns = vec!["0 AS none".to_owned()];
        let mut groups = vec!["none".to_owned()];
        for (place, dimension) in self.dimensions.iter().enumerate() {
            columns.push(format!("{} AS g{place}", dimension.sql()));
            groups.push(format!("g{place}"));
        }
        for (place, measure) in self.measures.iter().enumerate() {
            columns.push(format!("{} AS m{place}", self.set.adds_up(*measure)));
        }
        let order = self.order.iter().map(|(column, down)| {
            let down = if *down { " DESC" } else { "" };
            match column {
                Column::Dimension(place) => format!("g{place}{down}"),
                Column::Measure(place) => format!("m{place}{down}"),
            }
        });
        let order: Vec<String> = order.chain(["none".to_owned()]).collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {} GROUP BY {}{} ORDER BY {} LIMIT {limit}",
            columns.join(", "),
            self.set.from(),
            self.conditions,
            groups.join(", "),
            self.set.leaves_out(),
            order.join(", "),
        );
        let first = [Bind::Text(gateways), Bind::Int(now_ms as i64)];
        Statement::new(sql, first.into_iter().chain(self.binds.iter().cloned()).collect::<Vec<Bind>>())
    }
}

/// A field that has nothing in it.
pub fn leaf(field: &Field) -> Result<&str, String> {
    if field.fields.is_empty() && field.arguments.is_empty() {
        Ok(&field.name)
    } else {
        Err(format!("{} has neither fields nor arguments", field.name))
    }
}

// === impl Conditions ===

impl Conditions<'_> {
    fn bind(&mut self, bind: Bind) -> String {
        self.binds.push(bind);
        format!("?{}", self.binds.len())
    }

    fn all(&mut self, filter: &Value) -> Result<String, String> {
        let members: &Map<String, Value> = filter.as_object().ok_or("filter has to be an object")?;
        let mut all = vec!["1".to_owned()];
        for (name, value) in members {
            self.count += 1;
            if self.count > MOST_CONDITIONS {
                return Err(format!("a filter may have {MOST_CONDITIONS} conditions"));
            }
            all.push(match name.as_str() {
                "AND" | "OR" => {
                    let parts = value.as_array().filter(|parts| !parts.is_empty());
                    let parts = parts.ok_or_else(|| format!("{name} has to be a list of filters"))?;
                    let parts = parts.iter().map(|part| self.all(part)).collect::<Result<Vec<String>, String>>()?;
                    format!("({})", parts.join(&format!(" {name} ")))
                }
                _ => self.one(name, value)?,
            });
        }
        Ok(format!("({})", all.join(" AND ")))
    }

    fn one(&mut self, name: &str, value: &Value) -> Result<String, String> {
        let (field, operator) = match name.rsplit_once('_') {
            Some((field, operator)) if OPERATORS.contains(&operator) => (field, operator),
            _ => (name, "eq"),
        };
        // Rows are of whole minutes: the time itself can be compared, and not asked for.
        let dimension = if field == "datetime" { Dimension::Time(1) } else { self.set.dimension(field)? };
        match dimension {
            Dimension::Time(span) => {
                let at = value.as_str().and_then(timestamp::parse);
                let at = at.ok_or_else(|| format!("{name} has to be a time such as 2026-11-28T10:00:00Z"))?;
                let (floor, ceil) = (at - at % span, at.div_ceil(span) * span);
                let is_exact = span == 1;
                let mut compared = |operator: &str, ms: u64| {
                    let place = self.bind(Bind::Int(ms as i64));
                    format!("time {operator} {place}")
                };
                Ok(match operator {
                    // The row that a time lies in has it.
                    "geq" if is_exact => compared(">=", at - at % MINUTE_MS),
                    "geq" => compared(">=", ceil),
                    "gt" => compared(">=", floor + span),
                    "leq" => compared("<", floor + span),
                    "lt" => compared("<", ceil),
                    "eq" if floor == at => format!("({} AND {})", compared(">=", at), compared("<", at + span)),
                    "eq" => "0".to_owned(),
                    _ => return Err(format!("{name} compares no times: expected geq, gt, leq, lt or none of them")),
                })
            }
            Dimension::Column(sql) => {
                let negates = if matches!(operator, "neq" | "notin") { "NOT " } else { "" };
                let values = match (operator, value) {
                    ("in" | "notin", Value::Array(values)) => values.clone(),
                    ("eq" | "neq", value) => vec![value.clone()],
                    ("in" | "notin", _) => return Err(format!("{name} has to be a list of texts")),
                    _ => return Err(format!("{name} orders texts: expected neq, in, notin or none of them")),
                };
                if !values.iter().all(Value::is_string) {
                    return Err(format!("{name} has to be a text, or a list of texts for in and notin"));
                }
                let place = self.bind(Bind::Text(Value::Array(values).to_string()));
                Ok(format!("coalesce({sql}, '') {negates}IN (SELECT value FROM json_each({place}))"))
            }
        }
    }
}
