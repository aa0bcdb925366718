//! Protocols: which event a packet is, which state follows, how long the connection then lives.

pub mod tcp;

use crate::time::Millis;
use crate::wire::protocol;

/// How long silent connections live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By TCP state.
    pub tcp: [Millis; tcp::STATES],
    /// UDP.
    pub udp: Millis,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { tcp: tcp::TIMEOUTS, udp: Millis::from_secs(300) }
    }
}

/// Whether a connection in this state counts as active; spec 4.8.
pub fn is_active(proto: u8, state: u8) -> bool {
    proto == protocol::TCP && tcp::State::from_number(state).is_active()
}

/// The name IPVS prints for a state; spec 5.2 and 5.3.
pub fn state_name(proto: u8, state: u8) -> &'static str {
    match proto {
        protocol::TCP => tcp::State::from_number(state).name(),
        protocol::UDP => "UDP",
        _ => "NONE",
    }
}
