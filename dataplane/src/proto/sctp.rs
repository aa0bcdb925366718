//! The SCTP state machine of IPVS as tables, and the event of a packet; spec 5.4.

use super::{Sender, seconds};
use crate::time::Millis;
use crate::wire::sctp::{self, ABORT, COOKIE_ACK, COOKIE_ECHO, ChunkHdr, INIT};
use crate::wire::view;

/// States of an association as a load balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names of IPVS")]
pub enum State {
    None,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
}

/// Number of states.
pub const STATES: usize = 14;

use State::{
    Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS, CookieWait as CW,
    Established as ES, Init as IN, Init1 as I1, None as NO, Rejected as RJ, ShutdownAckSent as SA,
    ShutdownReceived as SR, ShutdownSent as SS,
};

const ALL: [State; STATES] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL];

/// Default timeouts by state, in the order of [`State`].
pub const TIMEOUTS: [Millis; STATES] = seconds([2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]);

/// Events: the rows of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the chunk types of RFC 9260")]
pub enum Event {
    /// Any other chunk.
    Data,
    Init,
    InitAck,
    CookieEcho,
    CookieAck,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Error,
    Abort,
}

const EVENTS: usize = 10;

/// Rows are events, columns the current state; the cell is the next state.
type Table = [[State; STATES]; EVENTS];

const INPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

const OUTPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
    [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
    [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

const INPUT_ONLY: Table = [
    [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
    [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

const NEXT: [Table; 3] = [INPUT, OUTPUT, INPUT_ONLY];

/// The state after a packet.
#[inline]
pub fn next(state: State, sender: Sender, event: Event) -> State {
    NEXT[sender as usize][event as usize][state as usize]
}

/// The event of a packet. `packet_after_ip` starts with the common header; `None` without a complete chunk header. The
/// first chunk decides, except that an ABORT bundled right after a cookie chunk takes precedence.
#[inline]
pub fn event(packet_after_ip: &[u8]) -> Option<Event> {
    let first: &ChunkHdr = view(packet_after_ip, sctp::LEN)?;
    if matches!(first.kind, COOKIE_ECHO | COOKIE_ACK) && second_is_abort(packet_after_ip, first) {
        return Some(Event::Abort);
    }
    Some(Event::of_chunk(first.kind))
}

fn second_is_abort(packet_after_ip: &[u8], first: &ChunkHdr) -> bool {
    let len = usize::from(first.len.get());
    // A chunk whose length is less than its header's has no successor.
    len >= sctp::CHUNK_LEN
        && view::<ChunkHdr>(packet_after_ip, sctp::LEN + len.next_multiple_of(4))
            .is_some_and(|second| second.kind == ABORT)
}

impl Event {
    /// The event of a chunk type.
    #[inline]
    pub fn of_chunk(kind: u8) -> Event {
        match kind {
            INIT => Event::Init,
            sctp::INIT_ACK => Event::InitAck,
            COOKIE_ECHO => Event::CookieEcho,
            COOKIE_ACK => Event::CookieAck,
            sctp::SHUTDOWN => Event::Shutdown,
            sctp::SHUTDOWN_ACK => Event::ShutdownAck,
            sctp::SHUTDOWN_COMPLETE => Event::ShutdownComplete,
            sctp::ERROR => Event::Error,
            ABORT => Event::Abort,
            _ => Event::Data,
        }
    }
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
        self == ES
    }

    /// Whether a full table may evict the connection: it is half open or closing.
    pub fn is_evictable(self) -> bool {
        self != ES
    }

    /// The name that IPVS prints.
    pub fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            I1 => "INIT1",
            IN => "INIT",
            CS => "C-SENT",
            CR => "C-REPLIED",
            CW => "C-WAIT",
            CO => "COOKIE",
            CE => "C-ECHOED",
            ES => "ESTABLISHED",
            SS => "S-SENT",
            SR => "S-RECEIVED",
            SA => "S-ACK-SENT",
            RJ => "REJECTED",
            CL => "CLOSED",
        }
    }
}

#[cfg(test)]
mod tests;
