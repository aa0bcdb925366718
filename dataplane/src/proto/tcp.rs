//! The TCP state machine of spec 5.2, as tables.

use crate::time::Millis;
use crate::wire::tcp::{ACK, FIN, RST, SYN};

/// States of a connection as a balancer sees it.
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

/// Default time-outs by state, in the order of [`State`].
pub const TIMEOUTS: [Millis; STATES] = {
    let seconds = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];
    let mut timeouts = [Millis(0); STATES];
    let mut i = 0;
    while i < STATES {
        timeouts[i] = Millis::from_secs(seconds[i]);
        i += 1;
    }
    timeouts
};

/// Who sent a segment, and whether we see the other side at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The client, and the destination's segments pass here too.
    Client = 0,
    /// The destination.
    Destination = 1,
    /// The client, and no segment of the destination was seen.
    ClientOnly = 2,
}

/// Rows are events (syn, fin, ack, rst), columns the state we are in; the cell is where we go.
type Table = [[State; STATES]; 4];

const INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
];

const OUTPUT: Table = [
    [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

const INPUT_ONLY: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

const NEXT: [Table; 3] = [INPUT, OUTPUT, INPUT_ONLY];

/// The state after a segment with these flags. RST goes before SYN, SYN before FIN, FIN before ACK; a segment with
/// none of them closes.
#[inline]
pub fn next(state: State, from: From, flags: u8) -> State {
    let event = if flags & RST != 0 {
        3
    } else if flags & SYN != 0 {
        0
    } else if flags & FIN != 0 {
        1
    } else if flags & ACK != 0 {
        2
    } else {
        return State::Close;
    };
    NEXT[from as usize][event][state as usize]
}

impl State {
    /// The state with this number; a number that is none is `None`.
    #[inline]
    pub fn from_number(number: u8) -> State {
        ALL.get(usize::from(number)).copied().unwrap_or(State::None)
    }

    /// Whether it counts as an active connection; spec 4.8.
    #[inline]
    pub fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }

    /// Whether the table may give the connection up when it is full: half-open or closing.
    pub fn may_go(self) -> bool {
        !matches!(self, ES)
    }

    /// The name IPVS prints.
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
mod tests {
    use super::*;

    #[test]
    fn a_handshake_and_a_close_as_the_director_sees_them() {
        let steps = [
            (From::Client, SYN, SR),
            (From::Destination, SYN | ACK, SR),
            (From::Client, ACK, ES),
            (From::Client, FIN | ACK, CW),
            (From::Destination, FIN | ACK, TW),
            (From::Client, ACK, TW),
        ];
        let mut state = NO;
        for (from, flags, want) in steps {
            state = next(state, from, flags);
            assert_eq!(state, want, "after {flags:#x} from {from:?}");
        }
    }

    #[test]
    fn rst_beats_syn_and_a_segment_without_flags_closes() {
        assert_eq!(next(ES, From::Client, RST | SYN | ACK), CL);
        assert_eq!(next(ES, From::Destination, 0), CL);
    }

    #[test]
    fn only_opening_and_open_connections_are_active() {
        let active: Vec<_> = ALL.iter().filter(|s| s.is_active()).map(|s| s.name()).collect();
        assert_eq!(active, ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);
    }
}
