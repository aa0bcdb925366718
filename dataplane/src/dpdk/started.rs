//! Starting a port, and what can be asked of it while it runs.

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
use crate::steer::spread::{BUCKETS, KEY};

/// What a frame has around its MTU: the Ethernet header and two VLAN tags.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4;

/// What a port is to be.
#[derive(Clone)]
pub struct PortSetup {
    /// Queue pairs, one for each worker that polls the port.
    pub queues: u16,
    /// Frames a receive queue holds; the device may round it.
    pub rx_descriptors: u16,
    /// Frames a transmit queue holds; the device may round it.
    pub tx_descriptors: u16,
    /// The MTU to set; none leaves the device's own.
    pub mtu: Option<u16>,
    /// Whether to take frames to any address.
    pub promiscuous: bool,
    /// Whether to spread flows over the queues by a hash, where the device can.
    pub rss: bool,
    /// The hash's key, by which the device spreads flows as workers share them out, where it can take one.
    pub rss_key: Option<[u8; KEY]>,
    /// Whether the device may free what it sent without looking, where it can. That needs all packets to come from one
    /// pool, so it is done only when there is one pool, and then no other can be made.
    pub fast_free: bool,
    /// Whether receive queues are to tell of frames by interrupts, where the device can.
    pub interrupts: bool,
    /// Where received frames are put.
    pub pool: Pool,
}

impl PortSetup {
    /// One queue pair, the device's own MTU, and as many descriptors as suit 10 Gbit/s and more.
    pub fn new(pool: Pool) -> PortSetup {
        PortSetup {
            queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 512,
            mtu: None,
            promiscuous: false,
            rss: true,
            rss_key: None,
            fast_free: false,
            interrupts: false,
            pool,
        }
    }
}

/// A port's counters since it was started, all queues together.
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
    /// Frames the device dropped because nobody fetched them in time.
    pub imissed: u64,
    /// Frames received broken.
    pub ierrors: u64,
    /// Frames that could not be sent.
    pub oerrors: u64,
    /// Times a receive queue found the pool empty.
    pub rx_nombuf: u64,
    /// Frames we dropped because they did not fit into one buffer.
    pub segmented: u64,
}

/// A port whose queues are in use. It stops when this and all its queues are gone.
pub struct StartedPort {
    /// The device, as it is since it was started.
    pub port: Port,
    /// Whether it spreads flows over its queues by a hash.
    pub rss: bool,
    /// Whether it does so by the key and the table of the rule that workers share flows out by.
    pub spreads: bool,
    /// Whether it frees what it sent without looking.
    pub fast_free: bool,
    /// Whether all its receive queues can tell of frames by interrupts.
    pub interrupts: bool,
    running: Arc<Running>,
}

/// A running port. The last holder stops it, so that no queue is polled on a port that is gone.
pub(super) struct Running {
    pub(super) id: u16,
    pub(super) segmented: AtomicU64,
    /// Interrupts of its receive queues, by number; none where the device has none. DPDK forgets them when it closes
    /// the port, so they go after that.
    pub(super) rx_interrupts: Vec<RxInterrupt>,
    _claim: Claim,
}

/// The right to start a port, which only one at a time can have.
struct Claim {
    id: u16,
    shared: Arc<Shared>,
}

impl Port {
    /// Starts the port, and gives the queue pairs to hand to workers. Dropping them all closes it for good; to have it
    /// again, attach it again under another name. A start that fails can be tried again.
    ///
    /// # Errors
    /// When the device cannot be what `setup` asks, or it runs already.
    pub fn start(self, setup: &PortSetup) -> Result<(StartedPort, Vec<Queue>), PortError> {
        let mtu = setup.mtu.unwrap_or(self.mtu);
        self.check(setup, mtu)?;
        let claim = self.claim()?;
        let rss = setup.rss && self.rss && setup.queues > 1;
        let fast_free = setup.fast_free && self.fast_free && setup.pool.seal();
        // A device without a table to choose from cannot be told which queue is whose.
        let key =
            setup.rss_key.as_ref().filter(|_| rss && self.reta > 0 && self.reta.is_multiple_of(BUCKETS));
        let rss_key = key.map_or(ptr::null(), |key| key.as_ptr());
        let (queues, interrupts) = (setup.queues, setup.interrupts);
        let conf = sys::pollux_port_conf { queues, mtu, rss, fast_free, rss_key, interrupts };
        let rx_interrupts = if self.bring_up(conf, setup)? { self.rx_interrupts(queues) } else { Vec::new() };
        let interrupts = !rx_interrupts.is_empty();
        let running =
            Arc::new(Running { id: self.id, segmented: AtomicU64::new(0), rx_interrupts, _claim: claim });
        // SAFETY: the port runs, all queues are there, and the key outlives the call.
        let connection_record = |key: &[u8; KEY]| unsafe {
            sys::pollux_port_spread(self.id, key.as_ptr(), BUCKETS, setup.queues)
        };
        let spreads = key.is_some_and(|key| connection_record(key) == 0);
        let queue = |number| Queue { running: Arc::clone(&running), id: self.id, number };
        let queues = (0..setup.queues).map(queue).collect();
        let started =
            StartedPort { port: Port { mtu, ..self }, rss, spreads, fast_free, interrupts, running };
        started.set_promiscuous(setup.promiscuous)?;
        Ok((started, queues))
    }

    /// Configures and starts the device; tells whether with interrupts. One that refuses them is asked without.
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

    /// The interrupts of all receive queues, or none: a device that took the setting may still have no interrupts.
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
            return Err(PortError::TooFewQueues { port: port(), want, have, cure: self.more_queues(want) });
        }
        if !self.mtu_range.contains(&mtu) {
            let (least, most) = (*self.mtu_range.start(), *self.mtu_range.end());
            return Err(PortError::Mtu { port: port(), want: mtu, least, most });
        }
        let need = (u32::from(mtu) + FRAME_OVERHEAD).max(self.min_frame_room);
        let have = setup.pool.frame_room();
        if need > u32::from(have) {
            return Err(PortError::FrameRoom { port: port(), mtu, need, have });
        }
        Ok(())
    }

    /// What gives a device of this driver more queues.
    fn more_queues(&self, want: u16) -> String {
        match self.driver.as_str() {
            "net_af_packet" => format!("start it with qpairs={want}"),
            "net_af_xdp" => format!("start it with queue_count={want}"),
            "net_vhost" | "net_virtio" | "net_virtio_user" => format!("start it with queues={want}"),
            "net_pcap" => format!("start it with {want} sources and {want} sinks"),
            _ => "let fewer workers poll it".to_owned(),
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
            .map_err(|why| self.failed("agree on descriptors", why))?;
        for queue in 0..setup.queues {
            // SAFETY: the port has the queue, and pools live until EAL's end.
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
    /// When the device does not answer.
    pub fn stats(&self) -> Result<PortStats, PortError> {
        let mut raw = MaybeUninit::<sys::pollux_port_stats>::zeroed();
        // SAFETY: the port runs, and the pointer outlives the call.
        checked(unsafe { sys::pollux_port_stats(self.running.id, raw.as_mut_ptr()) })
            .map_err(|why| self.port.failed("read its counters", why))?;
        // SAFETY: it is plain numbers, all valid as zero, and was filled in.
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
            segmented: self.running.segmented.load(Ordering::Relaxed),
        })
    }

    /// The state of its link.
    ///
    /// # Errors
    /// When the device does not answer.
    pub fn link(&self) -> Result<Link, PortError> {
        port::link(self.running.id).map_err(|why| self.port.failed("read its link", why))
    }

    /// Whether it takes frames to any address.
    pub fn is_promiscuous(&self) -> bool {
        // SAFETY: the port runs.
        unsafe { sys::rte_eth_promiscuous_get(self.running.id) == 1 }
    }

    /// Takes frames to any address, or to its own only. A virtual device without the choice takes all there are.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), PortError> {
        let set = if on { sys::rte_eth_promiscuous_enable } else { sys::rte_eth_promiscuous_disable };
        // SAFETY: the port runs.
        unless_unsupported(unsafe { set(self.running.id) })
            .map_err(|why| self.port.failed("change its promiscuous mode", why))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: no queue is left to poll the port.
        unsafe { sys::rte_eth_dev_stop(self.id) };
        // SAFETY: the port is stopped, and nobody uses it after us.
        unsafe { sys::rte_eth_dev_close(self.id) };
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.shared.running).remove(&self.id);
    }
}

/// Virtual devices lack many a switch; what they lack they do not need.
fn unless_unsupported(code: i32) -> io::Result<()> {
    const ENOTSUP: i32 = 95;
    if code == -ENOTSUP { Ok(()) } else { checked(code).map(drop) }
}
