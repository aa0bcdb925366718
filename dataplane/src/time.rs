//! Time as an argument: ticks are passed in, read once per burst, and made by hand in tests.

pub mod clock;
pub mod wheel;

pub use clock::{Clock, Millis, Tick};
