//! Sorting, as code that is there once. The standard library's is made anew for each type and order, 4 KB each time, which is worth it
//! for long lists of numbers only.

use std::cmp::Ordering;

/// Sorts by a key. What has the same key keeps its order.
pub fn by_key<T, K: Ord>(list: &mut Vec<T>, key: impl Fn(&T) -> K) {
    by(list, |left, right| key(left).cmp(&key(right)));
}

/// Sorts by a comparison. What is equal keeps its order.
pub fn by<T>(list: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let is_before = |left: usize, right: usize| match (list.get(left), list.get(right)) {
        (Some(left), Some(right)) => compare(left, right).is_lt(),
        _ => false,
    };
    let order = order(list.len(), &is_before);
    let mut places: Vec<Option<T>> = list.drain(..).map(Some).collect();
    list.extend(order.into_iter().filter_map(|place| places.get_mut(place)?.take()));
}

/// The places of a list in their order: runs of one, two, four and so on are merged.
fn order(length: usize, is_before: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    let mut merged = Vec::with_capacity(length);
    let mut width = 1;
    while width < length {
        merged.clear();
        for run in order.chunks(2 * width) {
            let (left, right) = run.split_at_checked(width).unwrap_or((run, &[]));
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            loop {
                let next = match (left.peek(), right.peek()) {
                    (Some(first), Some(second)) if is_before(**second, **first) => right.next(),
                    (Some(_), _) => left.next(),
                    (None, _) => right.next(),
                };
                let Some(place) = next else { break };
                merged.push(*place);
            }
        }
        std::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_is_sorted_as_the_standard_library_does(numbers in proptest::collection::vec(0_u8..20, 0..100)) {
            let mut list: Vec<(u8, usize)> = numbers.into_iter().enumerate().map(|(at, number)| (number, at)).collect();
            let mut expected = list.clone();
            expected.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
            by_key(&mut list, |(number, _)| std::cmp::Reverse(*number));
            prop_assert_eq!(list, expected);
        }
    }
}
