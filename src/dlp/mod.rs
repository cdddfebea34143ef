//! What must not leave in a prompt or in an answer: numbers of cards and people, accounts, addresses, keys. Each kind has a shape and,
//! where its issuer has published one, a check that random digits do not pass. The work is one walk over a text.
//!
//! Detectors read a text as [`folded::Folded`] shows it, and say where in the original they found something.

mod checks;
mod contact;
mod entry;
mod folded;
mod numbers;
mod places;
mod redact;
mod scan;
mod secrets;
mod text;
mod words;

pub use entry::{Entry, Profile};
pub use places::{Place, places};
pub use redact::{Redactor, Restored, Restorer};
pub use scan::{Finding, find};
pub use text::Wanted;

#[cfg(test)]
mod tests;
