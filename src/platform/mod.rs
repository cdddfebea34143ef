//! The Workers platform: everything that only exists inside the runtime.

pub mod blocks;
pub mod bodies;
pub mod console;
pub mod d1;
pub mod growing;
pub mod js;
pub mod memory;
pub mod random;
pub mod runtime;
pub mod time;
pub mod turns;

pub use random::random;
pub use runtime::{Around, Carried};
pub use time::{now, pause, within};
