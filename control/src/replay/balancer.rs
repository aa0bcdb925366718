//! The interface of the load balancer under test.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::view::{ConnectionView, ServiceView};
use crate::model::edit::Step;
use crate::model::{Config, ServiceKey};

/// The two ports of the recorded machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The client side.
    Client,
    /// The server side.
    Server,
}

impl Side {
    /// Both, in the order of their port numbers.
    pub const ALL: [Side; 2] = [Side::Client, Side::Server];

    /// Name of the port.
    pub fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// Result of one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames sent, in order for each side.
    pub outputs: Vec<(Side, Vec<u8>)>,
    /// Frames passed to the kernel, with the side of the TAP twin.
    pub to_kernel: Vec<(Side, Vec<u8>)>,
    /// Reason if the frame was dropped.
    pub dropped: Option<String>,
}

/// Error for a refused configuration.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A load balancer with two ports and a manual clock.
pub trait Balancer {
    /// Applies a configuration, including its static network configuration. `steps` are the changes to services and
    /// destinations that led to it.
    ///
    /// # Errors
    /// If it is refused.
    fn configure(&mut self, config: &Config, steps: &[Step]) -> Result<(), Refused>;

    /// Advances the clock to `at_ms`.
    fn advance(&mut self, at_ms: u64);

    /// Receives a frame.
    fn input(&mut self, side: Side, frame: &[u8]) -> Outcome;

    /// Passes a frame that the kernel sends through a TAP twin.
    fn kernel_sends(&mut self, side: Side, frame: &[u8]) -> Outcome {
        Outcome { outputs: vec![(side, frame.to_vec())], ..Outcome::default() }
    }

    /// Fires timers that are due immediately: a command on the recorded machine takes longer than that.
    fn fire_due_timers(&mut self) {}

    /// Zeroes the counters of a service, or all.
    fn zero(&mut self, _only: Option<ServiceKey>) {}

    /// Flushes the PMTU cache.
    fn flush_pmtu(&mut self) {}

    /// The current services.
    fn services(&self) -> Vec<ServiceView>;

    /// The current connections.
    fn connections(&mut self) -> Vec<ConnectionView>;
}
