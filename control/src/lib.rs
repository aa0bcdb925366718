//! Control plane of Pollux.
