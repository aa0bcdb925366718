//! Names of the timeouts in `settings.timeouts`: `tcp.SYN_RECV`, `sctp.COOKIE_WAIT`; spec 5.2 and 5.4.

use pollux_dataplane::proto::tcp;

/// States of SCTP connections, by their numbers.
pub const SCTP_STATES: [&str; 14] = [
    "NONE",
    "INIT1",
    "INIT",
    "COOKIE_SENT",
    "COOKIE_REPLIED",
    "COOKIE_WAIT",
    "COOKIE",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECEIVED",
    "SHUTDOWN_ACK_SENT",
    "REJECTED",
    "CLOSED",
];

/// Timeout of a protocol state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutKey {
    /// TCP, by the number of the state.
    Tcp(usize),
    /// SCTP, by the number of the state.
    Sctp(usize),
}

/// States of TCP connections, by their numbers.
pub fn tcp_states() -> impl Iterator<Item = &'static str> {
    (0..tcp::STATES as u8).map(|number| tcp::State::from_number(number).name())
}

/// Returns the timeout with this name.
pub fn key(name: &str) -> Option<TimeoutKey> {
    let (protocol, state) = name.split_once('.')?;
    match protocol {
        "tcp" => tcp_states().position(|known| known == state).map(TimeoutKey::Tcp),
        "sctp" => SCTP_STATES.iter().position(|known| *known == state).map(TimeoutKey::Sctp),
        _ => None,
    }
}

/// Returns the field of `settings` that holds this timeout, if it has its own.
pub fn own_setting(key: TimeoutKey) -> Option<&'static str> {
    const ESTABLISHED: usize = tcp::State::Established as usize;
    const FIN_WAIT: usize = tcp::State::FinWait as usize;
    match key {
        TimeoutKey::Tcp(ESTABLISHED) => Some("tcp_timeout"),
        TimeoutKey::Tcp(FIN_WAIT) => Some("tcp_fin_timeout"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_named_by_protocol_and_state() {
        assert_eq!(key("tcp.SYN_RECV"), Some(TimeoutKey::Tcp(tcp::State::SynRecv as usize)));
        assert_eq!(key("sctp.CLOSED"), Some(TimeoutKey::Sctp(13)));
        for name in ["", "tcp", "tcp.", "udp.UDP", "tcp.syn_recv", "SYN_RECV"] {
            assert_eq!(key(name), None, "{name}");
        }
    }
}
