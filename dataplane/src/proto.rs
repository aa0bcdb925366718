//! Protocol state machines: the event that a packet is, the next state, and the idle timeout of each state.

pub mod sctp;
pub mod tcp;

use crate::time::Millis;
use crate::wire::protocol;

/// Idle timeouts of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By TCP state.
    pub tcp: [Millis; tcp::STATES],
    /// Of UDP.
    pub udp: Millis,
    /// By SCTP state.
    pub sctp: [Millis; sctp::STATES],
}

/// The sender of a packet, and whether the destination's packets pass this machine at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client; the destination's packets pass here, too.
    Client = 0,
    /// The destination.
    Destination = 1,
    /// The client; no packet of the destination has been seen.
    ClientOnly = 2,
}

/// Timeouts by state, from seconds.
const fn seconds<const N: usize>(seconds: [u32; N]) -> [Millis; N] {
    let mut timeouts = [Millis(0); N];
    let mut state = 0;
    while state < N {
        timeouts[state] = Millis::from_secs(seconds[state]);
        state += 1;
    }
    timeouts
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { tcp: tcp::TIMEOUTS, udp: Millis::from_secs(300), sctp: sctp::TIMEOUTS }
    }
}

/// Whether a connection in this state is half open, as those of a SYN flood are; spec 4.10.
#[inline]
pub fn is_half_open(proto: u8, state: u8) -> bool {
    match proto {
        protocol::TCP => {
            matches!(tcp::State::from_number(state), tcp::State::SynRecv | tcp::State::SynAck)
        }
        protocol::SCTP => {
            matches!(sctp::State::from_number(state), sctp::State::Init1 | sctp::State::Init)
        }
        _ => false,
    }
}

/// The name that IPVS prints for a state; spec 5.2 to 5.4.
pub fn state_name(proto: u8, state: u8) -> &'static str {
    match proto {
        protocol::TCP => tcp::State::from_number(state).name(),
        protocol::UDP => "UDP",
        protocol::SCTP => sctp::State::from_number(state).name(),
        _ => "NONE",
    }
}
