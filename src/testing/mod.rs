//! What tests share: SQLite in the place of D1, plans of statements, recorded fixtures.

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
pub mod grammar;
#[cfg(test)]
pub mod plans;
#[cfg(test)]
pub mod shell;
pub mod sqlite;
