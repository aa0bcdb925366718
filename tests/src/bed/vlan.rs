//! A VLAN interface for kernels without 802.1Q: a TAP at the switch carries tagged frames, a TAP in a namespace the same
//! frames without the tag, and threads copy between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::command::Result;
use super::namespace::Namespace;

/// How often threads look whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// Both MAC addresses, which precede a tag.
const ADDRESSES: usize = 12;
/// EtherType of 802.1Q.
const TPID: [u8; 2] = [0x81, 0];

/// The interface; it is removed when this is dropped.
pub struct Vlan {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Vlan {
    /// Adds the interface `vlanID` to a namespace, with its tagged end at the bridge `br0` of the switch.
    ///
    /// # Errors
    /// If a device cannot be created.
    pub fn new(switch: &Namespace, namespace: &Namespace, id: u16) -> Result<Vlan> {
        let name = format!("vlan{id}");
        let (trunk, access) = (tap(switch, &name)?, tap(namespace, &name)?);
        switch.ip(&format!("link set {name} up master br0"))?;
        namespace.ip(&format!("link set {name} up"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let tag = [TPID, id.to_be_bytes()].concat();
        let threads = [
            copy(Arc::clone(&access), Arc::clone(&trunk), Arc::clone(&stop), {
                let tag = tag.clone();
                move |frame| Some([&frame[..ADDRESSES], &tag[..], &frame[ADDRESSES..]].concat())
            }),
            copy(trunk, access, Arc::clone(&stop), move |frame| {
                let rest = frame[ADDRESSES..].strip_prefix(&tag[..])?;
                Some([&frame[..ADDRESSES], rest].concat())
            }),
        ];
        Ok(Vlan { stop, threads: threads.into() })
    }
}

impl Drop for Vlan {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of that thread has already been printed.
            let _ = thread.join();
        }
    }
}

fn tap(namespace: &Namespace, name: &str) -> Result<Arc<SyncDevice>> {
    namespace.inside(|| Ok(Arc::new(DeviceBuilder::new().name(name).layer(Layer::L2).build_sync()?)))
}

/// Copies frames, as `change` returns them, until stopped.
fn copy(
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    stop: Arc<AtomicBool>,
    change: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        let tick = Timespec::try_from(TICK).ok();
        while !stop.load(Ordering::Relaxed) {
            let mut ready = [PollFd::new(&*from, PollFlags::IN)];
            if !poll(&mut ready, tick.as_ref()).is_ok_and(|ready| ready > 0) {
                continue;
            }
            let Ok(length) = from.recv(&mut buffer) else { continue };
            if length < ADDRESSES + 2 {
                continue;
            }
            if let Some(frame) = change(&buffer[..length]) {
                // A frame that the kernel rejects is lost, as on any network.
                let _ = to.send(&frame);
            }
        }
    })
}
