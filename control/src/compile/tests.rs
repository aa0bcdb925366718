//! Compilation keeps ids and tells schedulers what changed.
