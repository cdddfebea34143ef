//! What makes a repeated write harmless: the answer to a write may be lost, and the write is then repeated.

use crate::db::store::Bind;

/// What a transaction is known by in `written_groups`. When a group is written in parts, each of them looks for the whole
/// as well, which may have been written although an error came back.
pub struct WriteKey<'a> {
    pub group: &'a str,
    pub part: &'a str,
}

/// SQL for: the transaction was not carried out before. Its statements have [`WriteKey::binds`] as their last values.
macro_rules! is_new {
    () => {
        is_new!("?2, ?3")
    };
    ($binds:literal) => {
        concat!("NOT EXISTS (SELECT 1 FROM written_groups WHERE written_groups.id IN (", $binds, "))")
    };
}
pub(crate) use is_new;

// === impl Key ===

impl<'a> WriteKey<'a> {
    /// A group's id, or that of a part of it, which begins with the group's and a slash.
    pub fn of(id: &'a str) -> Self {
        Self { group: id.split_once('/').map_or(id, |(group, _)| group), part: id }
    }

    /// A statement's own values, and after them those for [`is_new!`].
    pub fn binds(&self, own: impl Into<Vec<Bind>>) -> Vec<Bind> {
        let mut binds = own.into();
        binds.extend([Bind::from(self.group), Bind::from(self.part)]);
        binds
    }
}
