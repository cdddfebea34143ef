//! Long bodies in the database: in pieces, of which those that repeat are stored once. See `migrations/0021_body_pieces.sql` for the
//! tables, and docs/scale.md for what it saves.
//!
//! [`cut`] says where a body may be cut, [`name`] names what stands before a cut, [`plan`] decides which pieces a log refers to and
//! which are new, [`read`] puts bodies together again, [`release`] removes pieces that nothing refers to, and [`moves`] brings the
//! long rows of older versions here.
//!
//! A reference is counted in the transaction that writes the log or the piece that has it. Between the look-up and that transaction
//! pieces may be removed, or written by another isolate. The transaction then fails as a whole, and is planned anew.

pub mod cut;
pub mod layout;
pub mod moves;
pub mod name;
pub mod plan;
pub mod read;
pub mod release;

#[cfg(test)]
mod tests;
