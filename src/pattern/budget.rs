//! How much may be computed for one of many who share an isolate: steps are counted inside the loop, and others go first between
//! some of them.

use std::cell::Cell;

/// Steps between which no other request gets a turn: a few milliseconds of work.
const AT_ONCE: u64 = 250_000;

/// Steps that may be taken without a word.
#[derive(Debug)]
pub struct Steps {
    left: u64,
}

/// Steps that may be taken for a work in all. `rest` lets others go first.
pub struct Meter<R> {
    left: Cell<u64>,
    at_once: Cell<u64>,
    rest: R,
}

/// More steps would have been needed than there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

// === impl Steps ===

impl Steps {
    pub fn new(left: u64) -> Self {
        Self { left }
    }

    pub fn take(&mut self, steps: u64) {
        self.left = self.left.saturating_sub(steps);
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

// === impl Meter ===

impl<R: AsyncFn()> Meter<R> {
    pub fn new(left: u64, rest: R) -> Self {
        Self { left: Cell::new(left), at_once: Cell::new(AT_ONCE), rest }
    }

    /// Allows more steps. What was left before counts no further than `most`.
    pub fn allow(&self, more: u64, most: u64) {
        self.left.set(self.left.get().min(most) + more);
    }

    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// As many steps as may be taken before they have to be told by [`Meter::spend`].
    pub fn some(&self) -> Steps {
        Steps::new(self.at_once.get().min(self.left.get()).max(1))
    }

    /// Counts steps that were taken, and lets others go first when it is their turn.
    pub async fn spend(&self, steps: u64) -> Result<(), Exhausted> {
        let left = self.left.get().saturating_sub(steps);
        self.left.set(left);
        match self.at_once.get().checked_sub(steps).filter(|left| *left > 0) {
            Some(left) => self.at_once.set(left),
            None => {
                self.at_once.set(AT_ONCE);
                (self.rest)().await;
            }
        }
        if left == 0 { Err(Exhausted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    #[test]
    fn steps_end_and_others_go_first() {
        let rests = Cell::new(0);
        let meter = Meter::new(3 * AT_ONCE, async || rests.set(rests.get() + 1));
        for _ in 0..2 {
            assert_eq!(meter.some().left(), AT_ONCE);
            assert_eq!(block_on(meter.spend(AT_ONCE)), Ok(()));
        }
        assert_eq!((block_on(meter.spend(1)), rests.get()), (Ok(()), 2));
        assert_eq!(block_on(meter.spend(AT_ONCE)), Err(Exhausted));
        meter.allow(10, 100);
        assert_eq!((block_on(meter.spend(1)), meter.left()), (Ok(()), 9));
        meter.allow(10, 5);
        assert_eq!(meter.left(), 15);
    }
}
