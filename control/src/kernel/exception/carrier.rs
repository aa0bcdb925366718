//! The thread that carries: bursts while there is work, short sleeps while there is none.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam::channel::{Receiver, TryRecvError};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::wire::ether;
use pollux_dataplane::worker::binding::NamespaceId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Carried, Change, ExceptionCounters, WayCounters};

/// Frames carried in one direction before the other gets its turn.
const BURST: usize = 64;
/// More than any TAP frame: the largest MTU is 65,521.
const LARGEST_FRAME: usize = 64 << 10;
/// A frame from the kernel wakes us at once; one on the ring waits for the end of the sleep, since its worker cannot
/// ring a bell without a system call. So the first sleep after work is short, in case an answer follows...
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// ...and each further sleep doubles: a frame waits at most about as long as there was silence before it, and never
/// longer than this. On a virtual machine one round costs some 25 microseconds, which makes 2 to 3 % of a core.
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

/// Bytes of a tag, and where it stands in a frame.
const TAG: usize = 4;
const TAG_AT: usize = 12;

pub(super) struct Carrier<P> {
    /// The default namespace first.
    all: Vec<(NamespaceId, Carried<P>)>,
    changes: Receiver<Change<P>>,
    counters: Arc<ExceptionCounters>,
    buffer: Vec<u8>,
}

impl<P: Packet> Carrier<P> {
    pub(super) fn new(
        default_namespace: Carried<P>,
        changes: Receiver<Change<P>>,
        counters: Arc<ExceptionCounters>,
    ) -> Self {
        let all = vec![(NamespaceId::DEFAULT, default_namespace)];
        Carrier { all, changes, counters, buffer: vec![0; TAG + LARGEST_FRAME] }
    }

    pub(super) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            self.rearrange();
            if self.carry() {
                continue;
            }
            let mut sleep = SHORTEST_SLEEP;
            while !stop.load(Relaxed) && !self.awaited(sleep) {
                sleep = (sleep * 2).min(LONGEST_SLEEP);
            }
        }
    }

    /// Namespaces come and go.
    fn rearrange(&mut self) {
        loop {
            match self.changes.try_recv() {
                Ok(Change::Join(id, carried)) => self.all.push((id, carried)),
                Ok(Change::Twins(id, stay, come)) => {
                    if let Some((_, carried)) = self.all.iter_mut().find(|(of, _)| *of == id) {
                        carried.twins.retain(|twin| stay.contains(&(twin.port, twin.vlan)));
                        carried.twins.extend(come);
                    }
                }
                Ok(Change::Leave(id, _done)) => self.all.retain(|(of, _)| *of != id),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// A burst from everywhere. True if there was anything.
    fn carry(&mut self) -> bool {
        let (counters, buffer) = (&self.counters, &mut self.buffer);
        let mut busy = false;
        for (_, carried) in &mut self.all {
            busy |= carried.deliver(counters, buffer);
            busy |= carried.collect(counters, buffer);
        }
        busy
    }

    /// Sleeps. True if there is something to carry now, so that an idle round costs one system call.
    fn awaited(&self, sleep: Duration) -> bool {
        let twins = self.all.iter().flat_map(|(_, carried)| &carried.twins);
        let mut fds: Vec<PollFd<'_>> = twins.map(|twin| PollFd::new(&twin.device, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: 0, tv_nsec: sleep.subsec_nanos().into() };
        // An interrupted sleep counts as work: to look once too often does no harm.
        !matches!(poll(&mut fds, Some(&limit)), Ok(0))
            || !self.changes.is_empty()
            || self.all.iter().any(|(_, carried)| !carried.ring.is_empty())
    }
}

impl<P: Packet> Carried<P> {
    /// Empties the ring into the twins, a burst at most. True if there was anything.
    fn deliver(&self, counters: &ExceptionCounters, buffer: &mut [u8]) -> bool {
        for turn in 0..BURST {
            let Some((port, packet)) = self.ring.pop() else { return turn > 0 };
            let frame = packet.bytes();
            counters.to_kernel.count(frame.len(), self.deliver_one(port, frame, buffer));
        }
        true
    }

    /// Gives a frame to the twin of its VLAN, without the tag, or else to its port's.
    fn deliver_one(&self, port: usize, frame: &[u8], buffer: &mut [u8]) -> bool {
        let of = |vlan| self.twins.iter().find(|twin| twin.port == port && twin.vlan == vlan);
        if let Some(vlan) = tag(frame)
            && let Some(twin) = of(Some(vlan))
            && let Some(room) = buffer.get_mut(..frame.len() - TAG)
        {
            room[..TAG_AT].copy_from_slice(&frame[..TAG_AT]);
            room[TAG_AT..].copy_from_slice(&frame[TAG_AT + TAG..]);
            return twin.device.write(room).is_ok();
        }
        of(None).is_some_and(|twin| twin.device.write(frame).is_ok())
    }

    /// Takes what the kernel sent to each twin, a burst at most. True if there was anything.
    fn collect(&mut self, counters: &ExceptionCounters, buffer: &mut [u8]) -> bool {
        let (mut busy, injector) = (false, &mut self.injector);
        self.twins.retain(|twin| {
            for _ in 0..BURST {
                // Room for a tag stays in front.
                let len = match twin.device.read(&mut buffer[TAG..]) {
                    Ok(len) => len,
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        return true;
                    }
                    Err(_) => {
                        // Somebody deleted the interface. Polling it on would keep us awake for ever.
                        counters.twins_lost.fetch_add(1, Relaxed);
                        return false;
                    }
                };
                let frame = with_tag(buffer, len, twin.vlan);
                counters.from_kernel.count(len, injector.inject(twin.port, frame));
                busy = true;
            }
            true
        });
        busy
    }
}

/// The VLAN of a frame, if it has a whole tag.
fn tag(frame: &[u8]) -> Option<u16> {
    let tagged = frame.get(TAG_AT..TAG_AT + 2)? == ether::VLAN.to_be_bytes();
    let tci = frame.get(TAG_AT + 2..TAG_AT + TAG)?;
    tagged.then(|| u16::from_be_bytes([tci[0], tci[1]]) & 0x0fff)
}

/// The frame of `len` bytes that begins at [`TAG`], with a tag if it is to have one.
fn with_tag(buffer: &mut [u8], len: usize, vlan: Option<u16>) -> &[u8] {
    let Some(vlan) = vlan.filter(|_| len >= TAG_AT) else { return &buffer[TAG..TAG + len] };
    buffer.copy_within(TAG..TAG + TAG_AT, 0);
    buffer[TAG_AT..TAG_AT + 2].copy_from_slice(&ether::VLAN.to_be_bytes());
    buffer[TAG_AT + 2..TAG_AT + TAG].copy_from_slice(&vlan.to_be_bytes());
    &buffer[..TAG + len]
}

impl WayCounters {
    fn count(&self, len: usize, delivered: bool) {
        if delivered {
            self.frames.fetch_add(1, Relaxed);
            self.bytes.fetch_add(len as u64, Relaxed);
        } else {
            self.drops.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_comes_and_goes() {
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
