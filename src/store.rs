//! The database as the rest of the code sees it: bound SQL in, typed rows out.
//!
//! Two implementations: D1 in the Worker (`platform::d1`) and SQLite on the host, where every statement runs
//! in the unit tests against the real migrations.

use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// One value bound to a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    Null,
    /// D1 takes no 64-bit integers; up to 2^53 they travel as floating point without loss.
    Int(i64),
    Real(f64),
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

pub trait Store {
    /// Runs one statement and returns its rows.
    async fn rows<T: DeserializeOwned>(&self, statement: Statement) -> Result<Vec<T>, StoreError> {
        Ok(self.counted(statement).await?.0)
    }

    /// Runs one statement and returns its rows, and how many rows of tables and indexes the database read for them.
    async fn counted<T: DeserializeOwned>(&self, statement: Statement) -> Result<(Vec<T>, u64), StoreError>;

    /// Runs statements in one transaction: all take effect or none. Returns how many rows each changed.
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError>;

    /// Runs a statement that yields at most one row.
    async fn row<T: DeserializeOwned>(&self, statement: Statement) -> Result<Option<T>, StoreError> {
        Ok(self.rows(statement).await?.into_iter().next())
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
        Self::Real(value)
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
    pub fn new(sql: impl Into<Cow<'static, str>>, binds: impl IntoIterator<Item = Bind>) -> Self {
        Self { sql: sql.into(), binds: binds.into_iter().collect() }
    }
}

#[cfg(test)]
pub mod sqlite;
