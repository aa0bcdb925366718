//! Time as an argument: ticks are passed in, read once per burst, and made by hand in tests.

pub mod clock;

pub use clock::{Clock, Millis, Tick};
