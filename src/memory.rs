//! The memory of an isolate, which all its requests share: how much of it bodies may take that are kept for later.

/// What the bodies of one isolate may take together, in bytes. It has 128 MB, in which the rest has to find room, too.
pub const TOGETHER: u64 = 48 * 1024 * 1024;

/// Bodies up to this length are not counted.
pub const SMALL: u64 = 256 * 1024;

/// The platform ends requests without a word; what they held is forgotten after this many milliseconds.
const FORGOTTEN_MS: u64 = 15 * 60 * 1_000;

/// Who holds how much. Short: only long bodies are in it.
#[derive(Default)]
pub struct Shares {
    held: Vec<Share>,
    last: u64,
}

struct Share {
    number: u64,
    bytes: u64,
    at: u64,
}

impl Shares {
    /// A share of so many bytes; `None` when there is not so much left.
    pub fn take(&mut self, bytes: u64, now_ms: u64) -> Option<u64> {
        self.held.retain(|share| now_ms.saturating_sub(share.at) < FORGOTTEN_MS);
        if self.total() + bytes > TOGETHER {
            return None;
        }
        self.last += 1;
        self.held.push(Share { number: self.last, bytes, at: now_ms });
        Some(self.last)
    }

    /// Makes a share larger, if there is so much left.
    pub fn grow(&mut self, number: u64, bytes: u64) -> bool {
        let fits = self.total() + bytes <= TOGETHER;
        match self.held.iter_mut().find(|share| share.number == number) {
            Some(share) if fits => share.bytes += bytes,
            _ => return false,
        }
        true
    }

    pub fn give_back(&mut self, number: u64) {
        self.held.retain(|share| share.number != number);
    }

    fn total(&self) -> u64 {
        self.held.iter().map(|share| share.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_room_and_give_it_back() {
        let mut shares = Shares::default();
        let first = shares.take(TOGETHER / 2, 0).unwrap();
        let second = shares.take(TOGETHER / 4, 0).unwrap();
        assert!(shares.take(TOGETHER / 2, 0).is_none());
        assert!(shares.grow(second, TOGETHER / 4) && !shares.grow(second, 1));
        shares.give_back(first);
        assert!(shares.grow(second, TOGETHER / 2) && !shares.grow(first, 0));
    }

    #[test]
    fn what_nobody_gives_back_is_forgotten_in_the_end() {
        let mut shares = Shares::default();
        let lost = shares.take(TOGETHER, 0).unwrap();
        assert!(shares.take(1, FORGOTTEN_MS - 1).is_none());
        assert!(shares.take(1, FORGOTTEN_MS).is_some());
        assert!(!shares.grow(lost, 1));
    }
}
