//! Filters as SQL. Every value is bound; the text is made of constants.

use crate::base::id;
use crate::db::store::{Bind, Statement};
use crate::logs::filter::conditions::Binds;
use crate::logs::filter::index_choice::{self, BY_TIME, LOGS, Source};
use crate::logs::filter::terms::{Field, Filter, FilterKey, Filters, Operator, bound};

/// Which logs are meant, as the `FROM` and `WHERE` of a statement on `logs`.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The table and the columns that are read in order of time: an index on the pair where a metadata or feedback pair
    /// is asked for, else `logs` itself.
    source: Source,
    /// Whether nothing but `logs` in order of time can tell what is meant.
    walked: bool,
    /// Whether an id tells which logs are meant.
    looked_up: bool,
    /// Whether only logs with feedback are meant, which are few enough to be sorted.
    judged: bool,
    conditions: Vec<Condition>,
    /// Which of the conditions bound the time, and from which side.
    bounds: Vec<(usize, Direction)>,
    binds: Binds,
}

#[derive(Clone, Debug)]
struct Condition {
    sql: String,
    /// Whether the index answers it: what it leaves out is not looked at.
    indexed: bool,
}

/// The direction of a list in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

// === impl Selection ===

impl Selection {
    pub fn new(gateway: i64, filters: &Filters) -> Self {
        Self::led_by(gateway, filters, None)
    }

    /// The same, read by the index of one of the [`lead::candidates`].
    pub fn led_by(gateway: i64, filters: &Filters, wanted: Option<usize>) -> Self {
        let looked_up = index_choice::looked_up(filters);
        let leading = wanted.or_else(|| index_choice::candidates(filters).first().copied());
        let filter = leading.and_then(|at| filters.0.get(at)).and_then(|clause| clause.first());
        let source = filter.and_then(Filter::source).unwrap_or(LOGS);
        let walked = source.from == LOGS.from
            && !looked_up
            && !filters.0.iter().any(|clause| clause.iter().all(Filter::is_covered));
        let judged = source.from == LOGS.from && filters.0.iter().any(|clause| clause.iter().all(Filter::is_of_judged));
        let mut selection = Self {
            source,
            walked,
            looked_up,
            judged,
            conditions: Vec::new(),
            bounds: Vec::new(),
            binds: Binds::default(),
        };
        let own = selection.bind(gateway);
        // The plus keeps SQLite from walking through the gateway in order of time when an id tells where to look.
        let plus = if looked_up { "+" } else { "" };
        selection.push(format!("{plus}logs.gateway = {own}"), true);
        let pair = filter.filter(|_| source.alone.is_some()).and_then(Filter::pair);
        if let Some((_, key, value)) = pair {
            let (key, value) = (selection.bind(key), selection.bind(bound(value)));
            selection.push(format!("pair.gateway = {own} AND pair.key = {key} AND pair.value = {value}"), true);
        }
        for (at, clause) in filters.0.iter().enumerate() {
            if Some(at) != leading || pair.is_none() {
                selection.require(clause);
            }
            if Some(at) == leading
                && let Some(own) = selection.conditions.last_mut()
            {
                own.indexed = true;
            }
        }
        if let Some(also) = source.also() {
            selection.push(also.to_owned(), true);
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
                let clauses: Vec<String> = filters
                    .0
                    .iter()
                    .map(|clause| selection.binds.any_of_filters(clause, selection.source.time))
                    .collect();
                if clauses.is_empty() { "1".to_owned() } else { format!("({})", clauses.join(" AND ")) }
            })
            .collect();
        selection.push(format!("({})", sets.join(" OR ")), false);
        selection
    }

    /// Binds a value and returns its placeholder.
    pub fn bind(&mut self, value: impl Into<Bind>) -> String {
        self.binds.bind(value)
    }

    pub fn binds(&self) -> &[Bind] {
        &self.binds.0
    }

    /// Requires a condition on `logs` that is made of constants and placeholders of [`Selection::bind`].
    pub fn and(&mut self, condition: String) {
        self.push(condition, false);
    }

    fn push(&mut self, sql: String, indexed: bool) {
        self.conditions.push(Condition { sql, indexed });
    }

    /// Requires one of the filters.
    pub fn require(&mut self, clause: &[Filter]) {
        let condition = self.binds.any_of_filters(clause, self.source.time);
        if let [Filter { key: FilterKey::Field(Field { name: "created_at", .. }), operator, .. }] = clause {
            let from = match operator {
                Operator::Lt | Operator::AtMost => Some(Direction::Descending),
                Operator::Gt | Operator::AtLeast => Some(Direction::Ascending),
                _ => None,
            };
            self.bounds.extend(from.map(|from| (self.conditions.len(), from)));
            return self.push(condition, from.is_some());
        }
        self.push(condition, false);
    }

    /// Requires a text in a metadata key or value.
    pub fn search(&mut self, text: &str) {
        let text = self.bind(text.to_ascii_lowercase());
        let found = format!(
            "EXISTS (SELECT 1 FROM log_metadata AS entry WHERE entry.log_id = logs.id \
             AND (instr(lower(entry.key), {text}) > 0 OR instr(lower(entry.value), {text}) > 0))"
        );
        self.push(found, false);
    }

    /// Only logs beyond the one with this id, in a direction. Ids begin with their time, so the id says it all.
    pub fn beyond(&mut self, last: &str, direction: Direction) {
        self.bound(last, direction, if direction == Direction::Ascending { ">" } else { "<" });
    }

    /// Only logs that are as new as the one with this id, or newer.
    pub fn down_to(&mut self, last: &str) {
        self.bound(last, Direction::Ascending, ">=");
    }

    /// Only logs up to the one with this id, in a direction.
    pub fn up_to(&mut self, last: &str, direction: Direction) {
        match direction {
            Direction::Descending => self.down_to(last),
            Direction::Ascending => self.bound(last, Direction::Descending, "<="),
        }
    }

    fn bound(&mut self, id: &str, from: Direction, than: &str) {
        // SQLite begins at one bound only. If that were an earlier one, every page would read again what was before it.
        for (at, _) in self.bounds.iter().filter(|(_, known)| *known == from) {
            if let Some(condition) = self.conditions.get_mut(*at) {
                condition.sql.insert(0, '+');
                condition.indexed = false;
            }
        }
        self.bounds.retain(|(_, known)| *known != from);
        let time = self.bind(id::minted_at(id).unwrap_or(0) as i64);
        let id = self.bind(id);
        let Source { time: column, id: own, .. } = self.source;
        self.push(format!("({column}, {own}) {than} ({time}, {id})"), true);
    }

    /// Only logs of this time or before.
    pub fn until(&mut self, time_ms: u64) {
        let time = self.bind(time_ms as i64);
        self.bounds.push((self.conditions.len(), Direction::Descending));
        self.push(format!("{} <= {time}", self.source.time), true);
    }

    /// `ORDER BY` time, with the id to break ties.
    pub fn in_time(&self, direction: Direction) -> String {
        let word = direction.sql();
        format!("{} {word}, {} {word}", self.source.time, self.source.id)
    }

    /// `SELECT <columns> FROM … WHERE … <rest>`. `rest` is made as the condition of [`Selection::and`] is.
    pub fn select(&self, columns: &str, rest: &str) -> Statement {
        let conditions: Vec<&str> = self.conditions.iter().map(|condition| condition.sql.as_str()).collect();
        let sql = format!("SELECT {columns} FROM {} WHERE {} {rest}", self.source.from, conditions.join(" AND "));
        Statement::new(sql, self.binds.0.as_slice())
    }

    /// [`Selection::select`] of something that has no order, such as a count. Left alone, SQLite likes the index of models,
    /// which leads it back and forth through the table; the table itself is in order of time.
    pub fn gather(&self, columns: &str, rest: &str) -> Statement {
        let mut alone = self.clone();
        alone.stand_alone(columns);
        if self.walked {
            alone.source.from = BY_TIME;
        }
        alone.select(columns, rest)
    }

    /// Reads the index of the pair alone where nothing else is asked for: every pair belongs to a log.
    fn stand_alone(&mut self, columns: &str) {
        let asks = |text: &str| text.contains("logs.");
        if let Some(alone) = self.source.alone
            && !asks(columns)
            && !self.conditions.iter().skip(1).any(|condition| asks(&condition.sql))
        {
            self.source.from = alone;
            self.conditions.remove(0);
        }
    }

    /// The logs of a page in the order of a field of which most logs have the same value, if it is such a field: of those
    /// and of the others each in order, and merged. Within a value they follow in time.
    pub fn merged(
        &self,
        columns: &str,
        field: &str,
        direction: Direction,
        limit: u64,
        offset: u64,
    ) -> Option<Statement> {
        let (_, common, other, index) = index_choice::LOPSIDED.iter().find(|(name, ..)| *name == field)?;
        let arm = |condition: &str, from: &'static str| {
            let mut arm = self.clone();
            arm.and(condition.to_owned());
            if arm.source.from == LOGS.from && !arm.looked_up {
                arm.source.from = from;
            }
            let Source { time, id, .. } = arm.source;
            arm.select(&format!("logs.{field} AS value, {time} AS time, {id} AS id"), "").sql
        };
        let word = direction.sql();
        let sql = format!(
            "SELECT {columns} FROM ({} UNION ALL {} ORDER BY 1 {word}, 2 {word}, 3 {word} LIMIT {limit} OFFSET {offset}) AS page \
             CROSS JOIN logs ON logs.id = page.id ORDER BY page.value {word}, page.time {word}, page.id {word}",
            arm(common, BY_TIME),
            arm(other, index),
        );
        Some(Statement::new(sql, self.binds.0.as_slice()))
    }

    /// Whether anything but the gateway is asked for.
    pub fn is_narrowed(&self) -> bool {
        self.conditions.len() > 1
    }

    /// Whether the index has logs that are not meant, so that finding those that are may take long.
    pub fn looks_through(&self) -> bool {
        let indexed = self.conditions.iter().all(|condition| condition.indexed);
        !indexed && !self.looked_up && !self.judged
    }

    /// Counts what is meant among the next `most` logs that the index has: how many logs these are, how many of them are
    /// meant, and the id of the last.
    pub fn window(&self, direction: Direction, most: u64) -> Statement {
        let mut all = self.clone();
        let meant: Vec<String> =
            all.conditions.extract_if(.., |condition| !condition.indexed).map(|own| own.sql).collect();
        // A pair knows the id of its log, which saves looking the log up where another pair of it is asked for.
        let meant = meant.join(" AND ").replace(LOGS.id, all.source.id);
        let columns = format!("{} AS id, {meant} AS meant", all.source.id);
        let logs = all.in_index(&columns, &format!("ORDER BY {} LIMIT {most}", self.in_time(direction)));
        let last = if direction == Direction::Descending { "min" } else { "max" };
        let sql = format!("SELECT count(*) AS seen, total(meant) AS n, {last}(id) AS last FROM ({})", logs.sql);
        Statement { sql: sql.into(), ..logs }
    }

    /// The id of the last of the next `most` logs that the index has, whether they are meant or not; no row where it has
    /// fewer.
    pub fn end(&self, direction: Direction, most: u64) -> Statement {
        let mut all = self.clone();
        all.conditions.retain(|condition| condition.indexed);
        // The last bind has to be named: a database expects as many as the highest number that a statement names.
        let columns = format!("{} AS id, ?{} AS bound", all.source.id, all.binds.0.len());
        let rest = format!("ORDER BY {} LIMIT 1 OFFSET {}", self.in_time(direction), most.saturating_sub(1));
        all.in_index(&columns, &rest)
    }

    /// [`Selection::select`] by the index whose order is that of time.
    fn in_index(&mut self, columns: &str, rest: &str) -> Statement {
        self.stand_alone(columns);
        if self.source.from == LOGS.from {
            self.source.from = BY_TIME;
        }
        self.select(columns, rest)
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
