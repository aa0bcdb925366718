//! The network devices DPDK knows: what they are called, what they can do, and how new virtual ones are made.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::sync::Arc;

use dpdk_sys as sys;

use super::eal::{Eal, Shared, checked};

/// A device that is there, started or not, as it was when it was looked at.
#[derive(Clone)]
pub struct Port {
    /// DPDK's number for it.
    pub id: u16,
    /// DPDK's name for it: a PCI address or a vdev's name.
    pub name: String,
    /// The driver, such as `net_ixgbe`.
    pub driver: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The NUMA node it sits on, where known.
    pub socket: Option<u16>,
    /// How many receive queues it can have.
    pub max_rx_queues: u16,
    /// How many transmit queues it can have.
    pub max_tx_queues: u16,
    /// The MTU it has.
    pub mtu: u16,
    /// The MTUs it can be given.
    pub mtu_range: RangeInclusive<u16>,
    /// Whether it can spread IP, TCP, UDP or SCTP flows over its queues by a hash.
    pub rss: bool,
    /// Entries of the table that its hash chooses queues from; 0 when there is none.
    pub reta: u16,
    /// Whether it can free sent packets in bulk to one pool.
    pub fast_free: bool,
    /// The least room for a frame its receive queues want of a pool.
    pub(super) min_frame_room: u32,
    pub(super) shared: Arc<Shared>,
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// Whether both directions at once.
    pub full_duplex: bool,
    /// Megabits per second; none when the device does not know.
    pub speed_mbps: Option<u32>,
}

/// Why a port did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The driver or DPDK refused.
    #[error("port {port}: could not {action}: {why}")]
    Device {
        /// The port's name.
        port: String,
        /// What was tried.
        action: &'static str,
        /// The reason DPDK gave.
        why: io::Error,
    },
    /// Every worker needs a queue pair of its own.
    #[error("port {port}: {want} queues wanted, the device has {have}; {cure}")]
    TooFewQueues {
        /// The port's name.
        port: String,
        /// How many were asked for.
        want: u16,
        /// How many there can be.
        have: u16,
        /// What helps with this driver.
        cure: String,
    },
    /// A port without a queue moves nothing.
    #[error("port {port}: 0 queues wanted; 1 is the least")]
    NoQueues {
        /// The port's name.
        port: String,
    },
    /// The device cannot have this MTU.
    #[error("port {port}: MTU {want} wanted, the device takes {least} to {most}")]
    Mtu {
        /// The port's name.
        port: String,
        /// What was asked for.
        want: u16,
        /// The least it takes.
        least: u16,
        /// The most it takes.
        most: u16,
    },
    /// A frame must lie in one buffer.
    #[error("port {port}: frames of MTU {mtu} need buffers of {need} bytes, the pool's have {have}")]
    FrameRoom {
        /// The port's name.
        port: String,
        /// The MTU.
        mtu: u16,
        /// The room the longest frame takes.
        need: u32,
        /// The room there is.
        have: u16,
    },
    /// The port has queues already.
    #[error("port {port}: started already")]
    Running {
        /// The port's name.
        port: String,
    },
    /// No device came of the arguments.
    #[error("device `{devargs}` could not be made: {why}; EAL's log tells more")]
    Attach {
        /// What was asked for.
        devargs: String,
        /// The reason DPDK gave.
        why: io::Error,
    },
}

impl Port {
    /// Every device there is, in DPDK's order.
    ///
    /// # Errors
    /// When a device does not answer.
    pub fn all(eal: &Eal) -> Result<Vec<Port>, PortError> {
        // SAFETY: reads a constant.
        let end = unsafe { sys::pollux_no_port() };
        // SAFETY: EAL is up, and any number may be asked for.
        let next = |from: u16| unsafe { sys::pollux_port_next(from) };
        std::iter::successors(Some(next(0)), |id| Some(next(id.saturating_add(1))))
            .take_while(|id| *id < end)
            .map(|id| Port::look_at(eal, id))
            .collect()
    }

    /// Makes a virtual device, as `--vdev` does at start: `net_tap1,iface=plx1`, for one.
    ///
    /// # Errors
    /// When DPDK cannot make it, or the name is taken.
    pub fn attach(eal: &Eal, devargs: &str) -> Result<Port, PortError> {
        let failed = |why| PortError::Attach { devargs: devargs.to_owned(), why };
        let c_string = |text: &str| CString::new(text).map_err(|why| failed(why.into()));
        let all = c_string(devargs)?;
        let name = c_string(devargs.split(',').next().unwrap_or(devargs))?;
        // SAFETY: EAL is up, and DPDK copies the string.
        checked(unsafe { sys::rte_dev_probe(all.as_ptr()) }).map_err(failed)?;
        let mut id = 0;
        // SAFETY: EAL is up, and both pointers outlive the call.
        checked(unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) }).map_err(failed)?;
        Port::look_at(eal, id)
    }

    /// The state of its link.
    ///
    /// # Errors
    /// When the device does not answer or is gone.
    pub fn link(&self) -> Result<Link, PortError> {
        link(self.id).map_err(|why| self.failed("read its link", why))
    }

    fn look_at(eal: &Eal, id: u16) -> Result<Port, PortError> {
        let info = info(id).map_err(|why| PortError::Device {
            port: id.to_string(),
            action: "ask what it is",
            why,
        })?;
        Ok(Port {
            id,
            name: text(&info.name),
            driver: text(&info.driver),
            mac: info.mac,
            socket: u16::try_from(info.socket).ok(),
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            mtu: info.mtu,
            mtu_range: info.min_mtu..=info.max_mtu,
            rss: info.rss,
            reta: info.reta,
            fast_free: info.fast_free,
            min_frame_room: info.min_rx_buffer,
            shared: Arc::clone(&eal.shared),
        })
    }

    pub(super) fn failed(&self, action: &'static str, why: io::Error) -> PortError {
        PortError::Device { port: self.name.clone(), action, why }
    }
}

fn info(id: u16) -> io::Result<sys::pollux_port_info> {
    let mut info = MaybeUninit::zeroed();
    // SAFETY: any number may be asked for, and the pointer outlives the call.
    checked(unsafe { sys::pollux_port_info(id, info.as_mut_ptr()) })?;
    // SAFETY: it is plain numbers, all valid as zero, and was filled in.
    Ok(unsafe { info.assume_init() })
}

pub(super) fn link(id: u16) -> io::Result<Link> {
    let mut link = MaybeUninit::<sys::pollux_link>::zeroed();
    // SAFETY: any number may be asked for, and the pointer outlives the call.
    checked(unsafe { sys::pollux_port_link(id, link.as_mut_ptr()) })?;
    // SAFETY: it is plain numbers, all valid as zero, and was filled in.
    let link = unsafe { link.assume_init() };
    let speed_mbps = (link.speed_mbps != 0).then_some(link.speed_mbps);
    Ok(Link { up: link.up, full_duplex: link.full_duplex, speed_mbps })
}

fn text(field: &[c_char]) -> String {
    // `c_char` is signed on some processors; the bytes are the same.
    let bytes: Vec<u8> = field.iter().map(|c| *c as u8).collect();
    CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
