//! What bodies take of the memory of an isolate: each has a share of a bounded whole while it is kept.

use crate::platform::memory::{SMALL, Shares};
use crate::platform::time::now;
use std::cell::RefCell;

thread_local! {
    static SHARES: RefCell<Shares> = RefCell::new(Shares::default());
}

/// A share of what an isolate may keep of bodies. Small ones need none.
#[derive(Default)]
pub struct Share(Option<u64>);

/// A share that grows with a body whose length is not known.
#[derive(Default)]
pub struct Growing {
    share: Share,
    all: u64,
}

// === impl Share ===

impl Share {
    /// A share of so many bytes, if there is so much left.
    pub fn of(bytes: u64) -> Option<Self> {
        if bytes <= SMALL {
            return Some(Self(None));
        }
        SHARES.with_borrow_mut(|shares| shares.take(bytes, now())).map(|number| Self(Some(number)))
    }

    /// Makes the share larger by `more`, which makes it `all`.
    pub fn grow(&mut self, all: u64, more: u64) -> bool {
        match self.0 {
            Some(number) => SHARES.with_borrow_mut(|shares| shares.grow(number, more)),
            None => Self::of(all).map(|share| *self = share).is_some(),
        }
    }
}

// === impl Growing ===

impl Growing {
    /// False when there is no room for so many bytes more.
    pub fn add(&mut self, more: u64) -> bool {
        self.all += more;
        self.share.grow(self.all, more)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(number) = self.0 {
            SHARES.with_borrow_mut(|shares| shares.give_back(number));
        }
    }
}
