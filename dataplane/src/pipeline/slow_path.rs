//! The slow path: every packet that the fast path does not take, decided one at a time.

mod advance;
mod fragments;
mod from_kernel;
mod icmp_errors;
mod leave;
mod persistence;
mod schedule;
mod server_calls;
