//! The Workers platform: everything that only exists inside the runtime.

pub mod allotment;
pub mod assets;
pub mod blocks;
pub mod bodies;
pub mod build;
pub mod console;
pub mod counted;
pub mod d1;
pub mod js;
pub mod memory;
pub mod promise;
pub mod random;
pub mod runtime;
pub mod subtle;
pub mod time;
pub mod turns;

pub use random::random;
pub use runtime::{Carried, Runtime};
pub use time::{now, pause, within};
