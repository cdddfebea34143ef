//! [`Store`] on SQLite, for tests on the host, with D1's limits where they are tighter.

use crate::db::pace::Pace;
use crate::db::store::{Bind, Row, Statement, Store, StoreError};
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, MAIN_DB, StatementStatus, params_from_iter};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::sync::LazyLock;

/// D1 allows no more bound parameters in a statement.
const MAX_BINDS: usize = 100;

/// A database in memory with all migrations applied.
pub struct Sqlite {
    connection: RefCell<Connection>,
    /// What the bucket has: ids of logs, and their objects.
    pub objects: RefCell<Vec<(String, Vec<u8>)>>,
    /// The most steps of SQLite's that a single statement took to read.
    pub steps: Cell<i32>,
    /// The most bytes of text that a single statement gave out.
    pub texts: Cell<usize>,
    rehearses: Cell<bool>,
}

/// A database that notes how it runs each statement it is asked for.
pub struct Planned {
    pub inner: Sqlite,
    /// The plan and the SQL of every statement that read, since they were last taken.
    pub plans: RefCell<Vec<(String, String)>>,
}

/// A database that takes and gives nothing.
pub struct Down;

/// A store whose n-th call fails, before or after it took effect.
pub struct Faulty<S> {
    /// The store itself, to look at it past the faults.
    pub inner: S,
    calls: Cell<u32>,
    before: Cell<Option<u32>>,
    after: Cell<Option<u32>>,
}

// === impl Sqlite ===

impl Sqlite {
    pub fn new() -> Self {
        // Every ALTER TABLE reads the whole schema again, so that the migrations take longer than most tests.
        static MIGRATED: LazyLock<Vec<u8>> = LazyLock::new(migrated);
        let mut connection = Connection::open_in_memory().unwrap();
        connection.deserialize_read_exact(MAIN_DB, MIGRATED.as_slice(), MIGRATED.len(), false).unwrap();
        Self {
            connection: RefCell::new(connection),
            objects: RefCell::default(),
            steps: Cell::default(),
            texts: Cell::default(),
            rehearses: Cell::default(),
        }
    }

    /// How SQLite would run a statement, for tests that no table is scanned.
    pub fn plan(&self, statement: &Statement) -> String {
        let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {}", statement.sql).into(), ..statement.clone() };
        let (steps, _) = select(&self.connection.borrow(), &explain).unwrap();
        let details: Vec<_> = steps.iter().filter_map(|step| step.get("detail")?.as_str().map(str::to_owned)).collect();
        details.join("\n")
    }
}

impl Store for Sqlite {
    fn rehearse(&self, is_on: bool) {
        self.rehearses.set(is_on);
    }

    fn is_rehearsal(&self) -> bool {
        self.rehearses.get()
    }

    /// Tests have few rows, and yet go on from statement to statement.
    fn pace(&self) -> Pace {
        Pace {
            first_look: 3,
            look: 4,
            looks: 10_000,
            added_up: 7,
            texts: 3,
            answer: 100,
            changed: 5,
            removed: 1_000,
            merged: 7,
        }
    }

    /// SQLite itself does not count rows read; what is returned counts at least.
    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        let (rows, steps) = select(&self.connection.borrow(), &statement)?;
        self.steps.set(self.steps.get().max(steps));
        let texts = rows.iter().flat_map(Map::values).filter_map(|value| value.as_str().map(str::len)).sum();
        self.texts.set(self.texts.get().max(texts));
        let count = rows.len() as u64;
        Ok((rows, count))
    }

    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        if self.rehearses.get() {
            return Err(StoreError::rehearsed());
        }
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction().map_err(failed)?;
        let mut changed = Vec::new();
        for statement in &statements {
            assert!(statement.binds.len() <= MAX_BINDS, "D1 refuses {} binds", statement.binds.len());
            let values = params_from_iter(statement.binds.iter().map(value));
            changed.push(transaction.execute(&statement.sql, values).map_err(failed)? as u64);
        }
        transaction.commit().map_err(failed)?;
        Ok(changed)
    }

    async fn object(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.objects.borrow().iter().find(|(name, _)| name == id).map(|(_, object)| object.clone()))
    }
}

/// The bytes of a database with all migrations applied.
fn migrated() -> Vec<u8> {
    let mut connection = Connection::open_in_memory().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "sql")).collect();
    files.sort();
    for file in files {
        connection.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    connection.serialize(MAIN_DB).unwrap().to_vec()
}

/// The rows that a statement finds, and how many steps that took.
fn select(connection: &Connection, statement: &Statement) -> Result<(Vec<Map<String, Value>>, i32), StoreError> {
    assert!(statement.binds.len() <= MAX_BINDS, "D1 refuses {} binds", statement.binds.len());
    let mut prepared = connection.prepare(&statement.sql).map_err(failed)?;
    let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    let mut rows = prepared.query(params_from_iter(statement.binds.iter().map(value))).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let columns = names.iter().enumerate().map(|(index, name)| (name.clone(), json(row.get_ref(index).unwrap())));
        found.push(columns.collect());
    }
    drop(rows);
    Ok((found, prepared.get_status(StatementStatus::VmStep)))
}

fn value(bind: &Bind) -> Sql {
    match bind {
        Bind::Null => Sql::Null,
        // As D1 does it: every number arrives as floating point.
        Bind::Int(value) => Sql::Real(*value as f64),
        Bind::Real(value) => Sql::Real(value.get()),
        Bind::Text(value) => Sql::Text(value.clone()),
    }
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => value.into(),
        ValueRef::Real(value) => value.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(_) => panic!("no column holds a blob"),
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError(error.to_string())
}

// === impl Down ===

impl Store for Down {
    async fn select(&self, _: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        Err(StoreError("down".to_owned()))
    }

    async fn batch(&self, _: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        Err(StoreError("down".to_owned()))
    }
}

// === impl Planned ===

impl Planned {
    pub fn new(inner: Sqlite) -> Self {
        Self { inner, plans: RefCell::new(Vec::new()) }
    }
}

impl Store for Planned {
    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        self.plans.borrow_mut().push((self.inner.plan(&statement), statement.sql.clone().into_owned()));
        self.inner.select(statement).await
    }

    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        for statement in &statements {
            self.plans.borrow_mut().push((self.inner.plan(statement), statement.sql.clone().into_owned()));
        }
        self.inner.batch(statements).await
    }

    async fn object(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.object(id).await
    }
}

// === impl Faulty ===

impl<S> Faulty<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Cell::new(0), before: Cell::new(None), after: Cell::new(None) }
    }

    /// The n-th call from now fails and leaves no trace.
    pub fn fail_before(&self, n: u32) {
        self.before.set(Some(self.calls.get() + n));
    }

    /// The n-th call from now takes effect, and reports a failure.
    pub fn fail_after(&self, n: u32) {
        self.after.set(Some(self.calls.get() + n));
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u32 {
        self.calls.get()
    }

    fn fault(&self, at: &Cell<Option<u32>>) -> Result<(), StoreError> {
        if at.get() == Some(self.calls.get()) { Err(StoreError("the test pulled the plug".to_owned())) } else { Ok(()) }
    }
}

impl<S: Store> Store for Faulty<S> {
    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        self.calls.set(self.calls.get() + 1);
        self.fault(&self.before)?;
        let rows = self.inner.select(statement).await?;
        self.fault(&self.after)?;
        Ok(rows)
    }

    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        self.calls.set(self.calls.get() + 1);
        self.fault(&self.before)?;
        let changed = self.inner.batch(statements).await?;
        self.fault(&self.after)?;
        Ok(changed)
    }

    async fn object(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.object(id).await
    }
}
