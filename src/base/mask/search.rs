//! Several texts are looked for at once, by Wu and Manber's method: a step is as long as the shortest of them, so that a
//! credential in seven spellings costs a fraction of a nanosecond a byte.

use crate::base::sorted;
use std::ops::Range;

/// Pairs of bytes are told apart by this many bits.
const BITS: u32 = 12;

pub struct Search {
    needles: Vec<Vec<u8>>,
    /// The length of the shortest needle.
    least: usize,
    /// How far the window may move when it ends with a pair of bytes.
    shifts: Vec<u16>,
}

// === impl Search ===

impl Search {
    /// `None` if there is nothing to look for. Needles have two bytes at least.
    pub fn new(mut needles: Vec<Vec<u8>>) -> Option<Self> {
        needles.retain(|needle| needle.len() >= 2);
        sorted::by(&mut needles, Ord::cmp);
        needles.dedup();
        // The longest match counts.
        sorted::by_key(&mut needles, |needle| std::cmp::Reverse(needle.len()));
        let least = needles.last()?.len();
        let most = u16::try_from(least - 1).unwrap_or(u16::MAX);
        let mut shifts = vec![most; 1 << BITS];
        for needle in &needles {
            for (at, pair) in needle.windows(2).take(least - 1).enumerate() {
                let [one, two] = pair else { continue };
                let shift = u16::try_from(least - 2 - at).unwrap_or(u16::MAX);
                if let Some(known) = shifts.get_mut(slot(*one, *two)) {
                    *known = shift.min(*known);
                }
            }
        }
        Some(Self { needles, least, shifts })
    }

    /// Whether a needle begins with a byte.
    pub fn begins(&self, byte: u8) -> bool {
        self.needles.iter().any(|needle| needle.first() == Some(&byte))
    }

    /// Where the needles are in a text, none within another.
    pub fn ranges(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        // The window's last pair begins here.
        let mut pair = self.least - 2;
        while let (Some(one), Some(two)) = (text.get(pair), text.get(pair + 1)) {
            let shift = self.shifts.get(slot(*one, *two)).copied().unwrap_or(0);
            if shift > 0 {
                pair += usize::from(shift);
                continue;
            }
            let start = pair + 2 - self.least;
            let window = text.get(start..).unwrap_or_default();
            match self.needles.iter().find(|needle| window.starts_with(needle)) {
                Some(needle) => {
                    found.push(start..start + needle.len());
                    pair = start + needle.len() + self.least - 2;
                }
                None => pair += 1,
            }
        }
        found
    }

    /// Where the beginning of a needle is at the end of a text, if it has `least` bytes or more.
    pub fn cut(&self, text: &[u8], least: usize) -> Option<Range<usize>> {
        let last = text.last()?;
        let begun = |needle: &Vec<u8>| {
            let longest = needle.len().saturating_sub(1).min(text.len());
            (least..=longest).rev().find(|length| {
                needle.get(length - 1) == Some(last) && needle.get(..*length).is_some_and(|begun| text.ends_with(begun))
            })
        };
        let longest = self.needles.iter().filter_map(begun).max()?;
        Some(text.len() - longest..text.len())
    }
}

fn slot(one: u8, two: u8) -> usize {
    ((usize::from(one) << 5) ^ usize::from(two)) & ((1 << BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_needle_counts_and_none_is_missed() {
        let search = Search::new(vec![b"abc".to_vec(), b"abcabd".to_vec(), b"zz".to_vec()]).unwrap();
        assert_eq!(search.ranges(b"xabcabdzzzabc"), [1..7, 7..9, 10..13]);
        assert_eq!(search.ranges(b""), []);
        assert_eq!(search.cut(b"xabcab", 2), Some(1..6));
        assert_eq!(search.cut(b"xabcab", 6), None);
        assert!(Search::new(vec![]).is_none() && Search::new(vec![b"a".to_vec()]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_there_is_found(text in "[ab]{0,40}", needles in prop::collection::vec("[ab]{2,6}", 1..4)) {
            let search = Search::new(needles.iter().map(|needle| needle.as_bytes().to_vec()).collect()).unwrap();
            let found = search.ranges(text.as_bytes());
            let mut left = text.clone().into_bytes();
            for range in &found {
                prop_assert!(needles.iter().any(|needle| needle.as_bytes() == &text.as_bytes()[range.clone()]));
                left[range.clone()].fill(b' ');
            }
            let left = String::from_utf8(left).unwrap();
            prop_assert!(needles.iter().all(|needle| !left.contains(needle)));
        }
    }
}
