//! How much the database is asked for at once: it has one thread, so that a long statement or transaction has everything else wait.

/// What a store takes. Work that is larger goes on with the next statement, or the next transaction.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rows that the first statement of a search looks through, and each that follows: some 10 and 20 ms of work.
    pub first_look: u64,
    pub look: u64,
    /// Statements of a search. D1 allows a thousand in an invocation.
    pub looks: u32,
    /// Rows that a statement adds up. D1 ends a statement after 30 s.
    pub added_up: u32,
    /// Long texts that are read at once, if they fit.
    pub texts: u32,
    /// Rows of an answer.
    pub answer: usize,
    /// Rows that a transaction changes, removes, or merges into others.
    pub changed: u64,
    pub removed: u32,
    pub merged: u32,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_look: 5_000,
            look: 10_000,
            looks: 450,
            added_up: 10_000,
            texts: 10,
            answer: 3_000,
            changed: 500,
            removed: 500,
            merged: 250,
        }
    }
}
