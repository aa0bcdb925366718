//! Time is an argument: the clock is read once per burst, and tests set it.

pub mod clock;
pub mod wheel;

pub use clock::{Clock, Millis, Tick};
