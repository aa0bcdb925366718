//! Starting ports, and operations on running ones.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dpdk_sys as sys;

use super::eal::{Shared, checked, lock};
use super::mempool::Pool;
use super::port::{self, Link, Port, PortError};
use super::queue::Queue;
use super::rx_interrupt::RxInterrupt;
use crate::steer::rss::{BUCKETS, KEY};
use crate::wire::ether::MacBytes;

/// Bytes of a frame beyond its MTU, as drivers count them: the Ethernet header, two VLAN tags and the frame check
/// sequence.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4 + 4;
/// Drivers round the size of a buffer down: igb, igc and ixgbe to this, i40e, ice and iavf to 128 bytes.
const ROOM_UNIT: u32 = 1024;
/// Longest frame that every driver receives into one buffer of its size.
const PLAIN_FRAME: u32 = 2048;

/// Default descriptors of a receive queue.
pub const RX_DESCRIPTORS: u16 = 1024;
/// Default descriptors of a transmit queue.
pub const TX_DESCRIPTORS: u16 = 512;

/// Settings of a port.
#[derive(Clone)]
pub struct PortSetup {
    /// Number of queue pairs; one for each worker.
    pub queues: u16,
    /// Descriptors of a receive queue; the device may round the number.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue; the device may round the number.
    pub tx_descriptors: u16,
    /// The MTU to set; `None` for the device's own.
    pub mtu: Option<u16>,
    /// Whether to enable promiscuous mode.
    pub promiscuous: bool,
    /// Whether to enable RSS, if the device supports it.
    pub rss: bool,
    /// The RSS key, under which the device's queue is the flow's owner; see [`crate::steer::rss`].
    pub rss_key: Option<[u8; KEY]>,
    /// Whether to enable receive interrupts, if the device supports them.
    pub interrupts: bool,
    /// The pool for received frames.
    pub pool: Pool,
}

impl PortSetup {
    /// One queue pair, the device's own MTU, and enough descriptors for 10 Gbit/s and more.
    pub fn new(pool: Pool) -> PortSetup {
        PortSetup {
            queues: 1,
            rx_descriptors: RX_DESCRIPTORS,
            tx_descriptors: TX_DESCRIPTORS,
            mtu: None,
            promiscuous: false,
            rss: true,
            rss_key: None,
            interrupts: false,
            pool,
        }
    }
}

/// A port's counters since it was started, over all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub ipackets: u64,
    /// Frames sent.
    pub opackets: u64,
    /// Bytes received.
    pub ibytes: u64,
    /// Bytes sent.
    pub obytes: u64,
    /// Frames dropped by the device because its receive queue was full.
    pub imissed: u64,
    /// Erroneous frames received.
    pub ierrors: u64,
    /// Frames that could not be sent.
    pub oerrors: u64,
    /// Failed buffer allocations of receive queues.
    pub rx_nombuf: u64,
    /// Frames that came in several buffers, and were copied into one.
    pub linearized: u64,
    /// Frames that we dropped because they did not fit in one buffer.
    pub too_long: u64,
}

/// Room for frames that the buffers of a pool need for ports of this MTU.
pub fn frame_room(mtu: u16) -> u16 {
    let need = (u32::from(mtu) + FRAME_OVERHEAD).next_multiple_of(ROOM_UNIT).max(PLAIN_FRAME);
    u16::try_from(need).unwrap_or(u16::MAX).min(super::mempool::largest_room())
}

/// Counts of frames that a device delivered in several buffers.
#[derive(Debug, Default)]
pub(super) struct SegmentCounts {
    pub(super) linearized: AtomicU64,
    pub(super) too_long: AtomicU64,
}

/// A started port. It stops when this and all its queues are dropped.
pub struct StartedPort {
    /// The device, with its properties after the start.
    pub port: Port,
    /// Whether RSS is enabled.
    pub rss: bool,
    /// Whether RSS uses the key and the redirection table of the steering function.
    pub steers: bool,
    /// Whether all its receive queues have interrupts.
    pub interrupts: bool,
    /// Room for frames in its receive buffers.
    frame_room: u16,
    running: Arc<Running>,
}

/// A running port. The last reference stops it, so that no queue of a stopped port is polled.
pub(super) struct Running {
    pub(super) id: u16,
    pub(super) counts: SegmentCounts,
    /// Interrupts of its receive queues, by number; empty if the device has none. DPDK removes them from the epoll
    /// sets when it closes the port, so they are dropped after that.
    pub(super) rx_interrupts: Vec<RxInterrupt>,
    _claim: Claim,
}

/// Marks a port as started, so that it is not started twice.
struct Claim {
    id: u16,
    shared: Arc<Shared>,
}

impl Port {
    /// Starts the port and returns the queue pairs for workers. Dropping them all closes it for good; to use it
    /// again, attach it under another name. A failed start can be repeated.
    ///
    /// # Errors
    /// When the device does not support `setup`, or is started already.
    pub fn start(self, setup: &PortSetup) -> Result<(StartedPort, Vec<Queue>), PortError> {
        let mtu = setup.mtu.unwrap_or(self.mtu);
        self.check(setup, mtu)?;
        let claim = self.claim()?;
        let rss = setup.rss && self.rss && setup.queues > 1;
        // Without a suitable redirection table a device cannot map buckets to queues.
        let key =
            setup.rss_key.as_ref().filter(|_| rss && self.reta > 0 && self.reta.is_multiple_of(BUCKETS));
        let rss_key = key.map_or(ptr::null(), |key| key.as_ptr());
        let (queues, interrupts) = (setup.queues, setup.interrupts);
        // The e1000 driver uses no more of a buffer than a power of two.
        let scatter = self.scatter && u32::from(mtu) + FRAME_OVERHEAD > PLAIN_FRAME;
        let conf = sys::pollux_port_conf { queues, mtu, rss, rss_key, interrupts, scatter };
        let rx_interrupts = if self.bring_up(conf, setup)? { self.rx_interrupts(queues) } else { Vec::new() };
        let interrupts = !rx_interrupts.is_empty();
        let running =
            Arc::new(Running { id: self.id, counts: SegmentCounts::default(), rx_interrupts, _claim: claim });
        // SAFETY: the port runs, all queues are set up, and the key outlives the call.
        let set_steering = |key: &[u8; KEY]| unsafe {
            sys::pollux_port_set_steering(self.id, key.as_ptr(), BUCKETS, setup.queues)
        };
        let steers = key.is_some_and(|key| set_steering(key) == 0);
        let queue = |number| Queue { running: Arc::clone(&running), id: self.id, number };
        let queues = (0..setup.queues).map(queue).collect();
        let frame_room = setup.pool.frame_room();
        let port = Port { mtu, ..self };
        let started = StartedPort { port, rss, steers, interrupts, frame_room, running };
        started.set_promiscuous(setup.promiscuous)?;
        started.accept_multicast()?;
        Ok((started, queues))
    }

    /// Configures and starts the device, and returns whether it has interrupts. If the device refuses them, it is
    /// started without.
    fn bring_up(&self, conf: sys::pollux_port_conf, setup: &PortSetup) -> Result<bool, PortError> {
        if conf.interrupts && self.try_bring_up(&conf, setup).is_ok() {
            return Ok(true);
        }
        self.try_bring_up(&sys::pollux_port_conf { interrupts: false, ..conf }, setup).map(|()| false)
    }

    fn try_bring_up(&self, conf: &sys::pollux_port_conf, setup: &PortSetup) -> Result<(), PortError> {
        self.configure(conf, setup)?;
        self.set_up_queues(setup)?;
        // SAFETY: the port is configured and its queues are set up.
        checked(unsafe { sys::rte_eth_dev_start(self.id) }).map(drop).map_err(|why| self.failed("start", why))
    }

    /// The interrupts of all receive queues, or none: a device may accept the setting and still have no interrupts.
    fn rx_interrupts(&self, queues: u16) -> Vec<RxInterrupt> {
        (0..queues)
            .map(|queue| RxInterrupt::new(self.id, queue))
            .collect::<io::Result<_>>()
            .unwrap_or_default()
    }

    fn check(&self, setup: &PortSetup, mtu: u16) -> Result<(), PortError> {
        let port = || self.name.clone();
        let (want, have) = (setup.queues, self.max_rx_queues.min(self.max_tx_queues));
        if want == 0 {
            return Err(PortError::NoQueues { port: port() });
        }
        if want > have {
            return Err(PortError::TooFewQueues { port: port(), want, have, hint: self.more_queues(want) });
        }
        self.check_room(mtu, setup.pool.frame_room())
    }

    /// Checks that the device supports this MTU, and that buffers have room for its frames.
    fn check_room(&self, mtu: u16, have: u16) -> Result<(), PortError> {
        let port = || self.name.clone();
        if !self.mtu_range.contains(&mtu) {
            let (min, max) = (*self.mtu_range.start(), *self.mtu_range.end());
            return Err(PortError::Mtu { port: port(), want: mtu, min, max });
        }
        let need = (u32::from(mtu) + FRAME_OVERHEAD).max(self.min_frame_room);
        if need > u32::from(have) {
            return Err(PortError::FrameRoom { port: port(), mtu, need, have });
        }
        Ok(())
    }

    /// How to get more queues from a device of this driver.
    fn more_queues(&self, want: u16) -> String {
        match self.driver.as_str() {
            "net_af_packet" => format!("start it with qpairs={want}"),
            "net_af_xdp" => format!("start it with queue_count={want}"),
            "net_vhost" | "net_virtio" | "net_virtio_user" => format!("start it with queues={want}"),
            "net_pcap" => format!("start it with {want} sources and {want} sinks"),
            _ => "use fewer workers".to_owned(),
        }
    }

    fn claim(&self) -> Result<Claim, PortError> {
        if !lock(&self.shared.running).insert(self.id) {
            return Err(PortError::Running { port: self.name.clone() });
        }
        Ok(Claim { id: self.id, shared: Arc::clone(&self.shared) })
    }

    fn configure(&self, conf: &sys::pollux_port_conf, setup: &PortSetup) -> Result<(), PortError> {
        // SAFETY: EAL is up, and the configuration outlives the call.
        checked(unsafe { sys::pollux_port_configure(self.id, conf) })
            .map_err(|why| self.failed("configure", why))?;
        if setup.mtu.is_some() {
            // SAFETY: the port is configured.
            let code = unsafe { sys::rte_eth_dev_set_mtu(self.id, conf.mtu) };
            unless_unsupported(code).map_err(|why| self.failed("set its MTU", why))?;
        }
        Ok(())
    }

    fn set_up_queues(&self, setup: &PortSetup) -> Result<(), PortError> {
        let (mut rx, mut tx) = (setup.rx_descriptors, setup.tx_descriptors);
        // SAFETY: the port is configured, and both numbers outlive the call.
        checked(unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &mut rx, &mut tx) })
            .map_err(|why| self.failed("adjust the number of descriptors", why))?;
        for queue in 0..setup.queues {
            // SAFETY: the port has the queue, and pools live until EAL is shut down.
            checked(unsafe { sys::pollux_rx_queue_setup(self.id, queue, rx, setup.pool.as_ptr()) })
                .map_err(|why| self.failed("set up a receive queue", why))?;
            // SAFETY: the port has the queue.
            checked(unsafe { sys::pollux_tx_queue_setup(self.id, queue, tx) })
                .map_err(|why| self.failed("set up a transmit queue", why))?;
        }
        Ok(())
    }
}

impl StartedPort {
    /// The port's counters.
    ///
    /// # Errors
    /// When the device does not report it.
    pub fn stats(&self) -> Result<PortStats, PortError> {
        let mut raw = MaybeUninit::<sys::pollux_port_stats>::zeroed();
        // SAFETY: the port runs, and the pointer outlives the call.
        checked(unsafe { sys::pollux_port_stats(self.running.id, raw.as_mut_ptr()) })
            .map_err(|why| self.port.failed("read its counters", why))?;
        // SAFETY: plain numbers, for which zero is valid, and the call filled them in.
        let raw = unsafe { raw.assume_init() };
        Ok(PortStats {
            ipackets: raw.ipackets,
            opackets: raw.opackets,
            ibytes: raw.ibytes,
            obytes: raw.obytes,
            imissed: raw.imissed,
            ierrors: raw.ierrors,
            oerrors: raw.oerrors,
            rx_nombuf: raw.rx_nombuf,
            linearized: self.running.counts.linearized.load(Ordering::Relaxed),
            too_long: self.running.counts.too_long.load(Ordering::Relaxed),
        })
    }

    /// The state of its link.
    ///
    /// # Errors
    /// When the device does not report it.
    pub fn link(&self) -> Result<Link, PortError> {
        port::link(self.running.id).map_err(|why| self.port.failed("read its link", why))
    }

    /// Sets promiscuous mode. Virtual devices that do not support it receive all frames anyway.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), PortError> {
        let set = if on { sys::rte_eth_promiscuous_enable } else { sys::rte_eth_promiscuous_disable };
        // SAFETY: the port runs.
        unless_unsupported(unsafe { set(self.running.id) })
            .map_err(|why| self.port.failed("change its promiscuous mode", why))
    }

    /// Brings the link up or down. Virtual devices that do not support it stay up.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn set_link(&self, up: bool) -> Result<(), PortError> {
        let set = if up { sys::rte_eth_dev_set_link_up } else { sys::rte_eth_dev_set_link_down };
        // SAFETY: the port runs.
        unless_unsupported(unsafe { set(self.running.id) })
            .map_err(|why| self.port.failed("bring its link up or down", why))
    }

    /// Changes the hardware address under which the device receives.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn set_mac(&mut self, mac: MacBytes) -> Result<(), PortError> {
        // SAFETY: the port runs, and the address has six bytes.
        checked(unsafe { sys::pollux_port_set_mac(self.running.id, mac.as_ptr()) })
            .map_err(|why| self.port.failed("change its MAC address", why))?;
        self.port.mac = mac;
        Ok(())
    }

    /// Receives frames to another hardware address too.
    ///
    /// # Errors
    /// When the device refuses, for example because its filter is full.
    pub fn add_mac(&self, mac: MacBytes) -> Result<(), PortError> {
        // SAFETY: the port runs, and the address has six bytes.
        checked(unsafe { sys::pollux_port_add_mac(self.running.id, mac.as_ptr()) })
            .map(drop)
            .map_err(|why| self.port.failed("receive by another MAC address", why))
    }

    /// Ends [`StartedPort::add_mac`].
    ///
    /// # Errors
    /// When the device refuses.
    pub fn remove_mac(&self, mac: MacBytes) -> Result<(), PortError> {
        // SAFETY: the port runs, and the address has six bytes.
        checked(unsafe { sys::pollux_port_remove_mac(self.running.id, mac.as_ptr()) })
            .map(drop)
            .map_err(|why| self.port.failed("remove a MAC address", why))
    }

    /// Receives the frames of a VLAN, or no longer. Only virtio devices filter by VLAN.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn set_vlan(&self, vlan: u16, receive: bool) -> Result<(), PortError> {
        // SAFETY: the port runs.
        checked(unsafe { sys::pollux_port_set_vlan(self.running.id, vlan, receive) })
            .map(drop)
            .map_err(|why| self.port.failed("change the VLANs it receives", why))
    }

    /// Changes the MTU.
    ///
    /// # Errors
    /// When the device does not support it, now or at all, or its buffers have no room for such frames.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), PortError> {
        self.port.check_room(mtu, self.frame_room)?;
        // SAFETY: the port runs.
        checked(unsafe { sys::rte_eth_dev_set_mtu(self.running.id, mtu) })
            .map_err(|why| self.port.failed("change its MTU", why))?;
        self.port.mtu = mtu;
        Ok(())
    }

    /// Lets the device receive all multicast: ND, and the groups of VRRP and of routing protocols, are for the kernel.
    /// Virtual devices that do not support it receive all frames anyway.
    ///
    /// # Errors
    /// When the device refuses.
    fn accept_multicast(&self) -> Result<(), PortError> {
        // SAFETY: the port runs.
        unless_unsupported(unsafe { sys::rte_eth_allmulticast_enable(self.running.id) })
            .map_err(|why| self.port.failed("let it receive multicast", why))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: no queue is left to poll the port.
        unsafe { sys::rte_eth_dev_stop(self.id) };
        // SAFETY: the port is stopped, and this was the last reference.
        unsafe { sys::rte_eth_dev_close(self.id) };
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.shared.running).remove(&self.id);
    }
}

/// Ignores ENOTSUP: virtual devices do not support, and do not need, many of the settings.
fn unless_unsupported(code: i32) -> io::Result<()> {
    const ENOTSUP: i32 = 95;
    if code == -ENOTSUP { Ok(()) } else { checked(code).map(drop) }
}
