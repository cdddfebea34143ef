//! What must not leave in a prompt or in an answer: numbers of cards and people, accounts, addresses, keys. Each kind has a shape and,
//! where its issuer has published one, a check that random digits do not pass. The work is one walk over a text.
//!
//! Detectors read a text as [`folded::Folded`] shows it, and say where in the original they found something.

mod across;
mod checks;
mod contact;
mod entry;
mod examine;
mod folded;
mod form;
mod numbers;
mod own;
mod places;
mod policy;
mod redact;
mod report;
mod scan;
mod secrets;
mod stream;
mod tail;
mod text;
mod unescaped;
mod words;

pub use examine::{Body, Examiner, rewritten};
pub use form::{begins_in_text, is_media, texts as form_texts};
pub use places::{Kind, Place, decoded as unescaped, of_json as places_of_json, texts};
pub use policy::{Check, Dlp};
pub use redact::Redactor;
pub use report::Report;
#[cfg(test)]
use scan::Finding;
pub use stream::{Restorer, Screen, Work};

#[cfg(test)]
mod tests;
