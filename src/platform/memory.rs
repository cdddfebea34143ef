//! The memory of an isolate, which all its requests share: how much of it bodies may take that are kept for later.

use std::collections::VecDeque;

/// What the bodies of one isolate may take together, in bytes. It has 128 MB, in which the rest has to find room, too.
pub const TOGETHER: u64 = 48 * 1024 * 1024;

/// What short bodies may take beyond that, so that long ones leave them room.
pub const FOR_SHORT: u64 = 16 * 1024 * 1024;

/// A body up to this length is short.
pub const SHORT: u64 = 256 * 1024;

/// Bodies up to this length are not counted: what else a request takes is more.
pub const SMALL: u64 = 16 * 1024;

/// The platform ends requests without a word; what they held is forgotten after this many milliseconds.
const FORGOTTEN_MS: u64 = 15 * 60 * 1_000;

/// Who holds how much, in the order of numbers, which is that of times.
#[derive(Default)]
pub struct Allotments {
    held: VecDeque<Allotment>,
    total: u64,
    last: u64,
}

struct Allotment {
    number: u64,
    bytes: u64,
    at: u64,
}

impl Allotments {
    /// A share of so many bytes; `None` when there is not so much left.
    pub fn take(&mut self, bytes: u64, now_ms: u64) -> Option<u64> {
        while let Some(first) =
            self.held.front().filter(|allotment| now_ms.saturating_sub(allotment.at) >= FORGOTTEN_MS)
        {
            self.total -= first.bytes;
            self.held.pop_front();
        }
        if !self.fits(bytes, bytes) {
            return None;
        }
        self.last += 1;
        self.total += bytes;
        self.held.push_back(Allotment { number: self.last, bytes, at: now_ms });
        Some(self.last)
    }

    /// Makes a share larger, if there is so much left.
    pub fn grow(&mut self, number: u64, bytes: u64) -> bool {
        let Some(at) = self.place(number) else { return false };
        let all = self.held.get(at).map_or(0, |allotment| allotment.bytes) + bytes;
        if !self.fits(bytes, all) {
            return false;
        }
        self.total += bytes;
        if let Some(allotment) = self.held.get_mut(at) {
            allotment.bytes = all;
        }
        true
    }

    pub fn give_back(&mut self, number: u64) {
        if let Some(allotment) = self.place(number).and_then(|at| self.held.remove(at)) {
            self.total -= allotment.bytes;
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.held.binary_search_by_key(&number, |allotment| allotment.number).ok()
    }

    /// Whether there is room for so many bytes more of a body that then has `all`.
    fn fits(&self, more: u64, all: u64) -> bool {
        self.total + more <= TOGETHER + if all <= SHORT { FOR_SHORT } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_room_and_give_it_back() {
        let mut allotments = Allotments::default();
        let first = allotments.take(TOGETHER / 2, 0).unwrap();
        let second = allotments.take(TOGETHER / 4, 0).unwrap();
        assert!(allotments.take(TOGETHER / 2, 0).is_none());
        assert!(allotments.grow(second, TOGETHER / 4) && !allotments.grow(second, 1));
        allotments.give_back(first);
        assert!(allotments.grow(second, TOGETHER / 2) && !allotments.grow(first, 0));
    }

    #[test]
    fn what_nobody_gives_back_is_forgotten_in_the_end() {
        let mut allotments = Allotments::default();
        let lost = allotments.take(TOGETHER, 0).unwrap();
        assert!(allotments.take(SHORT + 1, FORGOTTEN_MS - 1).is_none());
        assert!(allotments.take(1, FORGOTTEN_MS).is_some());
        assert!(!allotments.grow(lost, 1));
    }

    #[test]
    fn long_bodies_leave_room_for_short_ones() {
        let mut allotments = Allotments::default();
        allotments.take(TOGETHER, 0).unwrap();
        assert!(allotments.take(SHORT + 1, 0).is_none());
        let short: Vec<u64> = std::iter::from_fn(|| allotments.take(SHORT, 0)).collect();
        assert_eq!(short.len() as u64, FOR_SHORT / SHORT);
        allotments.give_back(short[0]);
        let last = allotments.take(SHORT / 2, 0).unwrap();
        assert!(allotments.grow(last, SHORT / 2) && !allotments.grow(last, 1));
    }
}
