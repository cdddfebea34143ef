//! Random numbers.

use std::cell::RefCell;

/// So many bytes of randomness are asked for at once.
const RANDOM: usize = 1024;

thread_local! {
    static RANDOMNESS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The random part of an id.
pub fn random() -> u128 {
    RANDOMNESS.with_borrow_mut(|bytes| {
        if bytes.is_empty() {
            bytes.resize(RANDOM, 0);
            // Without randomness ids of one millisecond would collide; crypto.getRandomValues does not fail in the runtime.
            let _ = getrandom::fill(bytes);
        }
        (0..16).fold(0, |number, _| number << 8 | u128::from(bytes.pop().unwrap_or_default()))
    })
}
