//! Turns: what computes for long behind answers does so in pieces, one after another in an isolate, and between two of them there is
//! time for requests.

use crate::platform::time::{now, pause};
use std::cell::Cell;

/// How long requests have the isolate for themselves between two pieces, in milliseconds.
const BETWEEN_MS: u64 = 5;

/// A piece takes no longer than this, in milliseconds. A piece that has ended without a word does not hold up the others for longer.
const PIECE_MS: u64 = 100;

/// A waiting piece looks again after so many milliseconds at most.
const LOOK_MS: u64 = 20;

thread_local! {
    /// When the next piece may begin.
    static FREE_AT: Cell<u64> = const { Cell::new(0) };
}

/// Ends a piece of work, and waits until it is the turn of the next one.
pub async fn rest() {
    // The clock stands still while wasm computes.
    pause(1).await;
    FREE_AT.set(now() + BETWEEN_MS);
    loop {
        let waits = FREE_AT.get().saturating_sub(now());
        if waits == 0 {
            break;
        }
        pause(waits.min(LOOK_MS)).await;
    }
    FREE_AT.set(now() + PIECE_MS);
}
