//! What bodies take of the memory of an isolate: each has a share of a bounded whole while it is kept.

use crate::platform::memory::{Allotments, SMALL};
use crate::platform::time::now;
use std::cell::RefCell;

thread_local! {
    static ALLOTMENTS: RefCell<Allotments> = RefCell::new(Allotments::default());
}

/// A share of what an isolate may keep of bodies. Small ones need none.
#[derive(Default)]
pub struct Allotment(Option<u64>);

/// A share that grows with a body whose length is not known.
#[derive(Default)]
pub struct GrowingAllotment {
    allotment: Allotment,
    all: u64,
}

// === impl Allotment ===

impl Allotment {
    /// A share of so many bytes, if there is so much left.
    pub fn of(bytes: u64) -> Option<Self> {
        if bytes <= SMALL {
            return Some(Self(None));
        }
        ALLOTMENTS.with_borrow_mut(|allotments| allotments.take(bytes, now())).map(|number| Self(Some(number)))
    }

    /// Makes the share larger by `more`, which makes it `all`.
    pub fn grow(&mut self, all: u64, more: u64) -> bool {
        match self.0 {
            Some(number) => ALLOTMENTS.with_borrow_mut(|allotments| allotments.grow(number, more)),
            None => Self::of(all).map(|allotment| *self = allotment).is_some(),
        }
    }
}

// === impl GrowingAllotment ===

impl GrowingAllotment {
    /// False when there is no room for so many bytes more.
    pub fn add(&mut self, more: u64) -> bool {
        self.all += more;
        self.allotment.grow(self.all, more)
    }
}

impl Drop for Allotment {
    fn drop(&mut self) {
        if let Some(number) = self.0 {
            ALLOTMENTS.with_borrow_mut(|allotments| allotments.give_back(number));
        }
    }
}
