//! A packet moves its connection's state and timer; spec 5.

use super::features::Feature;
use crate::conn::{ConnId, Flags};
use crate::parse::{Kind, Parsed};
use crate::pipeline::Pipeline;
use crate::proto::{Sender, is_half_open, sctp, tcp};
use crate::time::{Millis, Tick};
use crate::trace::{Record, event};
use crate::wire::protocol;

impl Pipeline {
    /// Advances the connection's state, applies its features and restarts its timer.
    pub(crate) fn advance_state(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        id: ConnId,
        sender: Sender,
        now: Tick,
    ) {
        let timeout = match parsed.protocol {
            protocol::UDP => self.snapshot.settings.timeouts.udp,
            protocol::TCP if parsed.kind != Kind::TruncatedL4 => self.advance_tcp(parsed, id, sender),
            protocol::SCTP => self.advance_sctp(frame, parsed, id, sender),
            // AH, ESP and truncated headers leave the state alone.
            _ => Millis(self.conns.entry(id).timeout),
        };
        let entry = self.conns.entry_mut(id);
        if sender == Sender::Destination {
            entry.flags.set(Flags::REPLIED, true);
            if parsed.protocol != protocol::UDP {
                entry.flags.set(Flags::NO_OUTPUT, false);
            }
        }
        for feature in Feature::of(entry.flags) {
            self.apply_feature(feature, id, sender);
        }
        self.conns.touch(id, timeout, now);
    }

    fn advance_tcp(&mut self, parsed: &Parsed, id: ConnId, sender: Sender) -> Millis {
        let state = tcp::State::from_number(self.conns.entry(id).state);
        let next = tcp::next(state, sender, parsed.state_flags, self.snapshot.settings.secure_tcp);
        if next != state {
            self.enter_state(id, next as u8, next.is_active(), (sender, parsed.state_flags));
        }
        self.snapshot.settings.timeouts.tcp[next as usize]
    }

    #[inline(never)]
    fn advance_sctp(&mut self, frame: &[u8], parsed: &Parsed, id: ConnId, sender: Sender) -> Millis {
        let packet = parsed.end(frame).and_then(|end| frame.get(parsed.l4.into()..end));
        let event = packet.and_then(sctp::event);
        let entry = self.conns.entry(id);
        let (state, timeout) = (sctp::State::from_number(entry.state), Millis(entry.timeout));
        let Some(event) = event else { return timeout };
        let next = sctp::next(state, sender, event);
        if next != state {
            self.enter_state(id, next as u8, next.is_active(), (sender, 0));
        }
        self.snapshot.settings.timeouts.sctp[next as usize]
    }

    /// Enters another state and keeps the counts of active and half-open connections.
    #[inline(never)]
    fn enter_state(&mut self, id: ConnId, state: u8, active: bool, (sender, flags): (Sender, u8)) {
        let entry = self.conns.entry_mut(id);
        let was = std::mem::replace(&mut entry.state, state);
        let (protocol, inactive) = (entry.protocol, entry.flags.has(Flags::INACTIVE));
        if inactive == active {
            entry.flags.set(Flags::INACTIVE, !inactive);
            if let Some(counters) = self.stats.destinations.get(entry.destination as usize) {
                counters.count(!inactive, -1);
                counters.count(inactive, 1);
            }
        }
        self.maintenance.half_open += u32::from(is_half_open(protocol, state));
        self.maintenance.half_open -= u32::from(is_half_open(protocol, was));
        let words = [sender as u32, flags.into(), was.into(), state.into()];
        if protocol == protocol::TCP {
            event!(self, TcpState, |pipeline| Record { words, ..pipeline.connection_record(id) });
        } else {
            event!(self, SctpState, |pipeline| Record { words, ..pipeline.connection_record(id) });
        }
    }
}
