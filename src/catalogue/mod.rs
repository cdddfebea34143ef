//! The models that are known: what they cost, how long their answers may be, what they accept, and what a name means.

pub mod aliases;
pub mod facts;
pub mod line;
pub mod merge;
pub mod resolve;
pub mod show;
pub mod table;
