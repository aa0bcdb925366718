//! The thread of the exception path: carries bursts of frames, and sleeps briefly when idle.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam::channel::{Receiver, TryRecvError};
use pollux_dataplane::io::BURST;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::wire::ether;
use pollux_dataplane::worker::binding::NamespaceId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Command, ExceptionCounters, NamespaceTwins};
use crate::kernel::count;

/// Larger than any TAP frame; the largest MTU is 65,521.
const LARGEST_FRAME: usize = 64 << 10;
/// First sleep after work. A frame from the kernel ends a sleep; a frame on the ring waits for its end, because waking
/// the thread would cost the worker a system call.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// Longest sleep. Sleeps double, so a frame waits at most about as long as the silence before it. On a virtual machine
/// an idle iteration takes about 25 microseconds, which is 2 to 3 % of a core.
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

/// Size of a VLAN tag, and its offset in a frame.
const TAG: usize = ether::TAGGED_LEN - ether::LEN;
const TAG_AT: usize = ether::ADDRESSES;

pub(super) struct ExceptionThread<P> {
    /// The default namespace first.
    all: Vec<(NamespaceId, NamespaceTwins<P>)>,
    commands: Receiver<Command<P>>,
    counters: Arc<ExceptionCounters>,
    buffer: Vec<u8>,
}

impl<P: Packet> ExceptionThread<P> {
    pub(super) fn new(
        default_namespace: NamespaceTwins<P>,
        commands: Receiver<Command<P>>,
        counters: Arc<ExceptionCounters>,
    ) -> Self {
        let all = vec![(NamespaceId::DEFAULT, default_namespace)];
        ExceptionThread { all, commands, counters, buffer: vec![0; TAG + LARGEST_FRAME] }
    }

    pub(super) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            self.execute_commands();
            if self.carry() {
                continue;
            }
            let mut sleep = SHORTEST_SLEEP;
            while !stop.load(Relaxed) && !self.wait(sleep) {
                sleep = (sleep * 2).min(LONGEST_SLEEP);
            }
        }
    }

    /// Executes pending commands.
    fn execute_commands(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Add(id, namespace)) => self.all.push((id, namespace)),
                Ok(Command::Twins(id, keep, new)) => {
                    if let Some((_, namespace)) = self.all.iter_mut().find(|(known, _)| *known == id) {
                        namespace.twins.retain(|twin| keep.contains(&(twin.port, twin.vlan)));
                        namespace.twins.extend(new);
                    }
                }
                Ok(Command::Remove(id, _done)) => self.all.retain(|(known, _)| *known != id),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// Carries a burst in each direction of each namespace; returns true if there was a frame.
    fn carry(&mut self) -> bool {
        let (counters, buffer) = (&self.counters, &mut self.buffer);
        let mut busy = false;
        for (_, namespace) in &mut self.all {
            busy |= namespace.deliver(counters, buffer);
            busy |= namespace.collect(counters, buffer);
        }
        busy
    }

    /// Sleeps; returns true if there is work. An idle iteration costs one system call.
    fn wait(&self, sleep: Duration) -> bool {
        let twins = self.all.iter().flat_map(|(_, namespace)| &namespace.twins);
        let mut fds: Vec<PollFd<'_>> = twins.map(|twin| PollFd::new(&twin.device, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: 0, tv_nsec: sleep.subsec_nanos().into() };
        // An interrupted sleep counts as work, which is harmless.
        !matches!(poll(&mut fds, Some(&limit)), Ok(0))
            || !self.commands.is_empty()
            || self.all.iter().any(|(_, namespace)| !namespace.ring.is_empty())
    }
}

impl<P: Packet> NamespaceTwins<P> {
    /// Writes up to a burst of frames from the ring to the twins; returns true if there was a frame.
    fn deliver(&self, counters: &ExceptionCounters, buffer: &mut [u8]) -> bool {
        for written in 0..BURST {
            let Some((port, packet)) = self.ring.pop() else { return written > 0 };
            let delivered = self.deliver_one(port, packet.bytes(), buffer);
            count(if delivered { &counters.to_kernel } else { &counters.to_kernel_drops });
        }
        true
    }

    /// Writes a frame to the twin of its VLAN, without the tag, or else to that of its port.
    fn deliver_one(&self, port: usize, frame: &[u8], buffer: &mut [u8]) -> bool {
        let twin_of = |vlan| self.twins.iter().find(|twin| twin.port == port && twin.vlan == vlan);
        if let Some(vlan) = tag(frame)
            && let Some(twin) = twin_of(Some(vlan))
            && let Some(room) = buffer.get_mut(..frame.len() - TAG)
        {
            room[..TAG_AT].copy_from_slice(&frame[..TAG_AT]);
            room[TAG_AT..].copy_from_slice(&frame[TAG_AT + TAG..]);
            return twin.device.write(room).is_ok();
        }
        twin_of(None).is_some_and(|twin| twin.device.write(frame).is_ok())
    }

    /// Reads up to a burst of frames from each twin; returns true if there was a frame.
    fn collect(&mut self, counters: &ExceptionCounters, buffer: &mut [u8]) -> bool {
        let (mut busy, injector) = (false, &mut self.injector);
        self.twins.retain(|twin| {
            for _ in 0..BURST {
                // Leaves space for a tag at the beginning.
                let len = match twin.device.read(&mut buffer[TAG..]) {
                    Ok(len) => len,
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        return true;
                    }
                    Err(_) => {
                        // The interface was deleted. Polling it further would keep the thread busy.
                        count(&counters.twins_lost);
                        return false;
                    }
                };
                let frame = with_tag(buffer, len, twin.vlan);
                let injected = injector.inject(twin.port, frame);
                count(if injected { &counters.from_kernel } else { &counters.from_kernel_drops });
                busy = true;
            }
            true
        });
        busy
    }
}

/// Returns the VLAN ID of a frame with a complete tag.
fn tag(frame: &[u8]) -> Option<u16> {
    let tagged = frame.get(TAG_AT..TAG_AT + 2)? == ether::VLAN.to_be_bytes();
    let tci = frame.get(TAG_AT + 2..TAG_AT + TAG)?;
    tagged.then(|| u16::from_be_bytes([tci[0], tci[1]]) & 0x0fff)
}

/// Returns the frame of `len` bytes that begins at offset [`TAG`], with a tag added if `vlan` is given.
fn with_tag(buffer: &mut [u8], len: usize, vlan: Option<u16>) -> &[u8] {
    let Some(vlan) = vlan.filter(|_| len >= TAG_AT) else { return &buffer[TAG..TAG + len] };
    buffer.copy_within(TAG..TAG + TAG_AT, 0);
    buffer[TAG_AT..TAG_AT + 2].copy_from_slice(&ether::VLAN.to_be_bytes());
    buffer[TAG_AT + 2..TAG_AT + TAG].copy_from_slice(&vlan.to_be_bytes());
    &buffer[..TAG + len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_added_and_recognized() {
        let plain: Vec<u8> = (0..60).collect();
        let mut buffer = vec![0; TAG + 60];
        buffer[TAG..].copy_from_slice(&plain);
        assert_eq!(with_tag(&mut buffer.clone(), 60, None), plain);
        let tagged = with_tag(&mut buffer, 60, Some(100)).to_vec();
        assert_eq!(
            (&tagged[..12], &tagged[12..16], &tagged[16..]),
            (&plain[..12], &[0x81, 0, 0, 100][..], &plain[12..])
        );
        assert_eq!((tag(&tagged), tag(&plain), tag(&tagged[..15])), (Some(100), None, None));
    }
}
