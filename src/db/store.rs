//! The database as the rest of the code sees it: bound SQL in, typed rows out.
//!
//! Two implementations: D1 in the Worker (`platform::d1`) and SQLite on the host, where every statement runs
//! in the unit tests against the real migrations.

use crate::base::fault::{Fault, Kind};
use crate::base::number::Finite;
use crate::db::pace::Pace;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// One value bound to a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    Null,
    /// D1 takes no 64-bit integers; up to 2^53 they travel as floating point without loss.
    Int(i64),
    Real(Finite),
    Text(String),
}

/// SQL with its values. The text is made of constants only; whatever comes from outside is bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub sql: Cow<'static, str>,
    pub binds: Vec<Bind>,
}

/// Why the database did not answer, in its own words, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

/// A row as the database gave it: columns by name.
pub type Row = Map<String, Value>;

/// Rows that can be read, and those that cannot, each with the reason.
pub type Sorted<T> = (Vec<T>, Vec<(Row, StoreError)>);

/// A type that rows are read into; [`row!`] makes them. Not serde's: its visitors for thirty small types were a tenth of
/// the Worker.
pub trait FromRow: Sized {
    fn from_row(row: Row) -> Result<Self, StoreError>;
}

/// A type that a column is read into.
pub trait Column: Sized {
    fn read(value: Value) -> Option<Self>;
}

/// Takes a column out of a row.
pub fn column<T: Column>(row: &mut Row, name: &str) -> Result<T, StoreError> {
    let value = row.get_mut(name).map(Value::take).unwrap_or(Value::Null);
    T::read(value).ok_or_else(|| unexpected(name))
}

/// The same for one column of many: what cannot be read is left out, and the first of such names kept.
pub fn taken<T: Column + Default>(row: &mut Row, name: &'static str, unread: &mut Option<&'static str>) -> T {
    let value = row.get_mut(name).map(Value::take).unwrap_or(Value::Null);
    T::read(value).unwrap_or_else(|| {
        unread.get_or_insert(name);
        T::default()
    })
}

/// A row that was read, unless one of its columns could not be.
pub fn whole<T>(read: T, unread: Option<&str>) -> Result<T, StoreError> {
    unread.map_or(Ok(read), |name| Err(unexpected(name)))
}

fn unexpected(name: &str) -> StoreError {
    StoreError(format!("the column {name} is missing or of another type"))
}

/// Declares a struct whose fields are the columns of a row, each named like its column.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$about:meta])* $seen:vis $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$about])* $seen $field: $kind,)* }

        impl $crate::db::store::FromRow for $name {
            fn from_row(mut row: $crate::db::store::Row) -> Result<Self, $crate::db::store::StoreError> {
                let mut unread = None;
                let read = Self { $($field: $crate::db::store::taken(&mut row, stringify!($field), &mut unread),)* };
                $crate::db::store::whole(read, unread)
            }
        }
    };
}
pub(crate) use row;

pub trait Store {
    /// Runs one statement and returns its rows, and how many rows of tables and indexes the database read for them.
    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError>;

    /// Runs statements in one transaction: all take effect or none. Returns how many rows each changed.
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError>;

    /// From now on nothing is written, or everything again: a handler that comes to [`Store::batch`] in a rehearsal has found nothing
    /// wrong with its request, and is stopped there by [`StoreError::rehearsed`]. A store that cannot do that leaves it.
    fn rehearse(&self, _is_on: bool) {}

    fn is_rehearsal(&self) -> bool {
        false
    }

    /// How much it is asked for at once.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// The object of a log in the bucket, if there is one: what is too long for its rows.
    async fn object(&self, _id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    /// [`Store::select`] with typed rows.
    async fn counted<T: FromRow>(&self, statement: Statement) -> Result<(Vec<T>, u64), StoreError> {
        let (rows, read) = self.select(statement).await?;
        Ok((typed(rows)?, read))
    }

    async fn rows<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>, StoreError> {
        typed(self.select(statement).await?.0)
    }

    /// [`Store::rows`] for work that goes on without the rows that cannot be read.
    async fn readable<T: FromRow>(&self, statement: Statement) -> Result<Sorted<T>, StoreError> {
        let (mut readable, mut others) = (Vec::new(), Vec::new());
        for row in self.select(statement).await?.0 {
            match T::from_row(row.clone()) {
                Ok(read) => readable.push(read),
                Err(reason) => others.push((row, reason)),
            }
        }
        Ok((readable, others))
    }

    /// The column `id` of whatever a statement yields.
    async fn ids(&self, statement: Statement) -> Result<Vec<String>, StoreError> {
        let rows = self.select(statement).await?.0;
        rows.into_iter().map(|mut row| column(&mut row, "id")).collect()
    }

    /// Runs a statement that yields at most one row.
    async fn row<T: FromRow>(&self, statement: Statement) -> Result<Option<T>, StoreError> {
        first(self.select(statement).await?.0).map(T::from_row).transpose()
    }
}

/// Not `collect()`, whose code for each type is three times as long.
fn typed<T: FromRow>(rows: Vec<Row>) -> Result<Vec<T>, StoreError> {
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        read.push(T::from_row(row)?);
    }
    Ok(read)
}

fn first(mut rows: Vec<Row>) -> Option<Row> {
    rows.truncate(1);
    rows.pop()
}

const REHEARSED: &str = "this is a rehearsal: nothing is written";

// === impl StoreError ===

impl StoreError {
    pub fn rehearsed() -> Self {
        Self(REHEARSED.to_owned())
    }

    /// Whether the cause of an error is that a rehearsal came to its end.
    pub fn is_rehearsed(cause: Option<&str>) -> bool {
        cause.is_some_and(|cause| cause.ends_with(REHEARSED))
    }

    /// Whether the reason is in the rows: then the same statement fails again, however often it is tried. These are SQLite's
    /// own words, which D1 repeats.
    pub fn is_of_the_rows(&self) -> bool {
        // These two say that what was looked up has changed meanwhile.
        if self.0.contains("piece_refs.refs") || self.0.contains("body_pieces.key") {
            return false;
        }
        ["malformed JSON", "constraint failed", "integer overflow", "is missing or of another type"]
            .iter()
            .any(|words| self.0.contains(words))
    }
}

impl Fault for StoreError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }

    fn message(&self) -> String {
        "Internal Error".to_owned()
    }

    fn cause(&self) -> Option<String> {
        Some(format!("database: {}", self.0))
    }
}

// === impl Column ===

impl Column for String {
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Column for f64 {
    fn read(value: Value) -> Option<Self> {
        value.as_f64()
    }
}

impl Column for i64 {
    fn read(value: Value) -> Option<Self> {
        value.as_i64().or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as Self))
    }
}

impl Column for u64 {
    fn read(value: Value) -> Option<Self> {
        i64::read(value).and_then(|number| number.try_into().ok())
    }
}

impl Column for u32 {
    fn read(value: Value) -> Option<Self> {
        i64::read(value).and_then(|number| number.try_into().ok())
    }
}

impl Column for u16 {
    fn read(value: Value) -> Option<Self> {
        i64::read(value).and_then(|number| number.try_into().ok())
    }
}

impl Column for u8 {
    fn read(value: Value) -> Option<Self> {
        i64::read(value).and_then(|number| number.try_into().ok())
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }
}

// === impl Bind ===

impl From<&str> for Bind {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Bind {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for Bind {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Bind {
    fn from(value: f64) -> Self {
        Finite::new(value).map_or(Self::Null, Self::Real)
    }
}

impl From<bool> for Bind {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl<T: Into<Bind>> From<Option<T>> for Bind {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

// === impl Statement ===

impl Statement {
    pub fn new(sql: impl Into<Cow<'static, str>>, binds: impl Into<Vec<Bind>>) -> Self {
        Self { sql: sql.into(), binds: binds.into() }
    }
}
