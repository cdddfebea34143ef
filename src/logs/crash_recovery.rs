//! What is left when an instance of the Worker crashes. Its memory is gone with it, but not the isolate, so the next
//! instance can write the logs that were on their way, and counts the others.

use crate::base::json::json;
use crate::db::store::{Bind, Statement, Store};
use crate::logs::group_commit::PAUSES_MS;
use crate::logs::part::Lost;
use serde_json::Value;

/// The requests under way that are to leave a row.
#[derive(Default)]
pub struct Underway {
    ids: Vec<Option<String>>,
    free: Vec<usize>,
}

/// A transaction that was on its way to the database, or waited for it.
#[derive(Debug, PartialEq)]
pub struct Unfinished {
    pub logs: Vec<String>,
    /// Which database it is for.
    pub shard: u32,
    pub statements: Vec<Statement>,
}

// === impl Underway ===

impl Underway {
    /// Notes a request; the number is for [`Underway::ended`].
    pub fn begun(&mut self, id: &str) -> usize {
        let place = self.free.pop().unwrap_or(self.ids.len());
        match self.ids.get_mut(place) {
            Some(free) => *free = Some(id.to_owned()),
            None => self.ids.push(Some(id.to_owned())),
        }
        place
    }

    pub fn ended(&mut self, place: usize) {
        if self.ids.get_mut(place).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }

    pub fn ids(&self) -> Vec<String> {
        self.ids.iter().flatten().cloned().collect()
    }
}

/// How many logs are lost since the isolate began, and which of them by the crash, as a line.
pub fn lost(count: u64, by_crash: &[String]) -> String {
    json!([count, by_crash]).to_string()
}

pub fn read_lost(line: &str) -> Option<(u64, Vec<String>)> {
    let read: Value = serde_json::from_str(line).ok()?;
    let ids = read.get(1)?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Some((read.get(0)?.as_u64()?, ids))
}

// === impl Unfinished ===

impl Unfinished {
    /// As a line.
    pub fn to_text(&self) -> String {
        let statements = self.statements.iter().map(|statement| json!([statement.sql, as_json(&statement.binds)]));
        json!([self.logs, Value::from_iter(statements), self.shard]).to_string()
    }

    pub fn read(text: &str) -> Option<Self> {
        let read: Value = serde_json::from_str(text).ok()?;
        let logs = read.get(0)?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let statements = read.get(1)?.as_array()?.iter().map(|statement| {
            let binds = statement.get(1)?.as_array()?.iter().map(bind).collect::<Option<Vec<Bind>>>()?;
            Some(Statement::new(statement.get(0)?.as_str()?.to_owned(), binds))
        });
        let shard = read.get(2)?.as_u64()?.try_into().ok()?;
        Some(Self { logs, shard, statements: statements.collect::<Option<_>>()? })
    }

    /// Writes it, trying again while time allows, and returns what is lost in the end. It may have been written before.
    pub async fn write(self, store: &impl Store, pause: impl AsyncFn(u64)) -> Vec<Lost> {
        let mut pauses = PAUSES_MS.iter();
        loop {
            let Err(error) = store.batch(self.statements.clone()).await else { return Vec::new() };
            match pauses.next() {
                Some(wait) => pause(*wait).await,
                None => {
                    let lost = |id| Lost { id: Some(id), requests: 1, reason: error.0.clone() };
                    return self.logs.into_iter().map(lost).collect();
                }
            }
        }
    }
}

fn as_json(row: &[Bind]) -> Value {
    row.iter()
        .map(|bind| match bind {
            Bind::Null => Value::Null,
            Bind::Int(value) => json!(value),
            Bind::Real(value) => json!(value.get()),
            Bind::Text(value) => json!(value),
        })
        .collect()
}

fn bind(value: &Value) -> Option<Bind> {
    match value {
        Value::Null => Some(Bind::Null),
        Value::Number(number) => number.as_i64().map(Bind::Int).or_else(|| number.as_f64().map(Bind::from)),
        Value::String(text) => Some(Bind::Text(text.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::store::row;
    use crate::logs::part::{Group, Part};
    use crate::logs::pieces::name::NamingKey;
    use crate::logs::pieces::plan::Plan;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::logs::rows::statements;
    use crate::testing::sqlite::{Down, Faulty, Sqlite};
    use crate::wire::Facts;
    use pollster::block_on;

    fn unfinished() -> Unfinished {
        let mut outcome = answered(Facts::default());
        outcome.body = Some("{\"a\":\"ü\n\"}".to_owned());
        let records = vec![LogRecord::new(call("a"), outcome), LogRecord::new(call("b"), answered(Facts::default()))];
        let logs = records.iter().map(|record| record.id.clone()).collect();
        let part = Part::of(&Group::from(records), NamingKey::default());
        Unfinished { logs, shard: 2, statements: statements(&part, Plan::alone(&part)) }
    }

    fn logs(store: &impl Store) -> u64 {
        row! {
            struct Count {
                n: u64,
            }
        }
        let counted = block_on(store.row::<Count>(Statement::new("SELECT count(*) AS n FROM logs", [])));
        counted.unwrap().unwrap().n
    }

    #[test]
    fn requests_under_way_are_those_that_have_not_ended() {
        let mut underway = Underway::default();
        let (a, b) = (underway.begun("a"), underway.begun("b"));
        underway.ended(a);
        underway.ended(a);
        let c = underway.begun("c");
        assert_eq!((a, underway.ids()), (c, vec!["c".to_owned(), "b".to_owned()]));
        assert_eq!(read_lost(&lost(3, &underway.ids())), Some((3, underway.ids())));
        underway.ended(b);
        assert_eq!((underway.begun("d"), underway.begun("e")), (b, 2));
    }

    #[test]
    fn what_was_on_its_way_is_written_by_the_next_instance_and_once() {
        let all = unfinished();
        let mut mixed = unfinished();
        mixed.statements.push(Statement::new("SELECT ?1, ?2, ?3", [Bind::Null, Bind::Int(-5), Bind::from(0.5)]));
        assert_eq!(Unfinished::read(&mixed.to_text()), Some(mixed));
        let store = Faulty::new(Sqlite::new());
        block_on(store.batch(all.statements.clone())).unwrap();
        store.fail_after(1);
        let read = Unfinished::read(&all.to_text()).unwrap();
        assert_eq!(block_on(read.write(&store, async |_| {})), []);
        assert_eq!(logs(&store), 2);
    }

    #[test]
    fn what_the_database_never_takes_is_lost_by_name() {
        let lost = block_on(unfinished().write(&Down, async |_| {}));
        assert_eq!(lost.iter().filter_map(|lost| lost.id.as_deref()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((Unfinished::read("[1]"), read_lost("[]")), (None, None));
        assert!(!unfinished().to_text().contains('\n'));
    }
}
