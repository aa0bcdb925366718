//! The TCP state machine of IPVS as tables; spec 5.2.

pub use super::Sender;
use super::seconds;
use crate::time::Millis;
use crate::wire::tcp::{ACK, FIN, RST, SYN};

/// States of a connection as a load balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names of RFC 9293, and SYNACK of IPVS")]
pub enum State {
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    SynAck,
}

/// Number of states.
pub const STATES: usize = 11;

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI, None as NO,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

const ALL: [State; STATES] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

/// Default timeouts by state, in the order of [`State`].
pub const TIMEOUTS: [Millis; STATES] = seconds([2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]);

/// Rows are events (SYN, FIN, ACK, RST, none of these), columns the current state; the cell is the next state.
type Table = [[State; STATES]; 5];

const INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
    [CL; STATES],
];

const OUTPUT: Table = [
    [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    [CL; STATES],
];

const INPUT_ONLY: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    [CL; STATES],
];

// The tables of `secure_tcp`: a connection counts as established only after the complete handshake.

const SECURE_INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
    [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    [CL; STATES],
];

const SECURE_OUTPUT: Table = [
    [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    [CL; STATES],
];

const SECURE_INPUT_ONLY: Table = [
    [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    [CL; STATES],
];

const NEXT: [[Table; 3]; 2] = [[INPUT, OUTPUT, INPUT_ONLY], [SECURE_INPUT, SECURE_OUTPUT, SECURE_INPUT_ONLY]];

/// The row for the lower five flags. RST takes precedence over SYN, SYN over FIN, and FIN over ACK.
const EVENT: [u8; 32] = {
    let mut events = [4; 32];
    let mut flags = 0;
    while flags < 32 {
        events[flags] = match flags as u8 {
            flags if flags & RST != 0 => 3,
            flags if flags & SYN != 0 => 0,
            flags if flags & FIN != 0 => 1,
            flags if flags & ACK != 0 => 2,
            _ => 4,
        };
        flags += 1;
    }
    events
};

/// The state after a segment with these flags. A segment with none of SYN, FIN, ACK and RST closes the connection.
/// `secure` selects the tables of `secure_tcp`. There is no branch, so mispredictions cost nothing.
#[inline]
pub fn next(state: State, sender: Sender, flags: u8, secure: bool) -> State {
    let event = EVENT[usize::from(flags & 31)];
    NEXT[usize::from(secure)][sender as usize][usize::from(event)][state as usize]
}

impl State {
    /// The state with this number; [`State::None`] for an invalid number.
    #[inline]
    pub fn from_number(number: u8) -> State {
        ALL.get(usize::from(number)).copied().unwrap_or(State::None)
    }

    /// Whether it counts as an active connection; spec 4.8.
    #[inline]
    pub fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }

    /// Whether a full table may evict the connection: it is half open or closing.
    pub fn is_evictable(self) -> bool {
        !matches!(self, ES)
    }

    /// The name that IPVS prints.
    pub fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
        }
    }
}

#[cfg(test)]
mod tests;
