//! What a replay asks of the thing it tries.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::view::{ConnectionView, ServiceView};
use crate::model::{Config, DestinationKey, ServiceKey};

/// The two ports of the recorded machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where clients are.
    Client,
    /// Where servers are.
    Server,
}

impl Side {
    /// Both, in the order of their port numbers.
    pub const ALL: [Side; 2] = [Side::Client, Side::Server];

    /// The name of the port.
    pub fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// What became of one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames that left, in order for each side.
    pub outputs: Vec<(Side, Vec<u8>)>,
    /// Frames given to the kernel, with the side whose twin got them.
    pub to_kernel: Vec<(Side, Vec<u8>)>,
    /// Why the frame was dropped.
    pub dropped: Option<String>,
}

/// A configuration was refused.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A load balancer with two ports and a clock that is moved by hand.
pub trait Balancer {
    /// Acts on this configuration, its facts included, from now on.
    ///
    /// # Errors
    /// When it cannot.
    fn configure(&mut self, config: &Config) -> Result<(), Refused>;

    /// Lets time pass until `at_ms`.
    fn advance(&mut self, at_ms: u64);

    /// Receives a frame now.
    fn input(&mut self, side: Side, frame: &[u8]) -> Outcome;

    /// Lets a frame pass that the kernel sends out by a side's twin.
    fn kernel_sends(&mut self, side: Side, frame: &[u8]) -> Outcome {
        Outcome { outputs: vec![(side, frame.to_vec())], ..Outcome::default() }
    }

    /// Lets timers go off that are due at once: a command takes the recorded machine longer than that.
    fn settle(&mut self) {}

    /// Notes that a destination was edited, even if it is as it was; the next configuration is the edited one.
    fn touch(&mut self, _service: ServiceKey, _destination: DestinationKey) {}

    /// Makes the counters of a service, or all, begin at zero.
    fn zero(&mut self, _only: Option<ServiceKey>) {}

    /// Forgets what was learnt of ways: path MTUs.
    fn forget_ways(&mut self) {}

    /// The services as they stand.
    fn services(&self) -> Vec<ServiceView>;

    /// The connections as they stand.
    fn connections(&mut self) -> Vec<ConnectionView>;
}
