//! DPDK's network devices: their names and capabilities, and creation of virtual ones.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::sync::Arc;

use dpdk_sys as sys;

use super::eal::{Eal, Shared, checked};

/// A device, started or not, with its properties when they were read.
#[derive(Clone)]
pub struct Port {
    /// DPDK's number for it.
    pub id: u16,
    /// DPDK's name for it: a PCI address or the name of a vdev.
    pub name: String,
    /// The driver, such as `net_ixgbe`.
    pub driver: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Maximum number of receive queues.
    pub max_rx_queues: u16,
    /// Maximum number of transmit queues.
    pub max_tx_queues: u16,
    /// Its current MTU.
    pub mtu: u16,
    /// The MTUs that it supports.
    pub mtu_range: RangeInclusive<u16>,
    /// Whether it supports RSS of IP, TCP, UDP or SCTP flows.
    pub rss: bool,
    /// Entries of its redirection table; 0 if it has none.
    pub reta: u16,
    /// Whether it can receive a frame into several buffers.
    pub(super) scatter: bool,
    /// Minimum room for a frame that its receive queues need in a pool.
    pub(super) min_frame_room: u32,
    pub(super) shared: Arc<Shared>,
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether the link is up.
    pub up: bool,
    /// Speed in Mbit/s, if known.
    pub speed_mbps: Option<u32>,
}

/// Errors of ports.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The driver or DPDK refused.
    #[error("port {port}: could not {action}: {why}")]
    Device {
        /// The port's name.
        port: String,
        /// The action that failed.
        action: &'static str,
        /// DPDK's error.
        why: io::Error,
    },
    /// Every worker needs a queue pair of its own.
    #[error("port {port}: {want} queues requested, but the device has {have}; {hint}")]
    TooFewQueues {
        /// The port's name.
        port: String,
        /// Requested number.
        want: u16,
        /// Maximum number.
        have: u16,
        /// How to get more with this driver.
        hint: String,
    },
    /// No queue was requested.
    #[error("port {port}: 0 queues requested; the minimum is 1")]
    NoQueues {
        /// The port's name.
        port: String,
    },
    /// The device does not support this MTU.
    #[error("port {port}: MTU {want} requested, but the device supports {min} to {max}")]
    Mtu {
        /// The port's name.
        port: String,
        /// Requested MTU.
        want: u16,
        /// Minimum MTU.
        min: u16,
        /// Maximum MTU.
        max: u16,
    },
    /// The longest frame does not fit in one buffer.
    #[error("port {port}: frames of MTU {mtu} need buffers of {need} bytes, the pool's have {have}")]
    FrameRoom {
        /// The port's name.
        port: String,
        /// The MTU.
        mtu: u16,
        /// Bytes that the longest frame needs.
        need: u32,
        /// Bytes that the pool's buffers have.
        have: u16,
    },
    /// The port is started already.
    #[error("port {port}: started already")]
    Running {
        /// The port's name.
        port: String,
    },
    /// The device could not be created.
    #[error("device `{devargs}` could not be created: {why}; EAL's log has details")]
    Attach {
        /// The device arguments.
        devargs: String,
        /// DPDK's error.
        why: io::Error,
    },
}

impl Port {
    /// All devices, in DPDK's order.
    ///
    /// # Errors
    /// When the properties of a device cannot be read.
    pub fn all(eal: &Eal) -> Result<Vec<Port>, PortError> {
        // SAFETY: reads a constant.
        let end = unsafe { sys::pollux_no_port() };
        // SAFETY: EAL is up, and any number may be asked for.
        let next = |from: u16| unsafe { sys::pollux_port_next(from) };
        std::iter::successors(Some(next(0)), |id| Some(next(id.saturating_add(1))))
            .take_while(|id| *id < end)
            .map(|id| Port::read(eal, id))
            .collect()
    }

    /// Creates a virtual device, as `--vdev` does at start, for example `net_tap1,iface=plx1`.
    ///
    /// # Errors
    /// When DPDK cannot create it, or the name is in use.
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
        Port::read(eal, id)
    }

    /// The state of its link.
    ///
    /// # Errors
    /// When the device does not report it, or is gone.
    pub fn link(&self) -> Result<Link, PortError> {
        link(self.id).map_err(|why| self.failed("read its link", why))
    }

    fn read(eal: &Eal, id: u16) -> Result<Port, PortError> {
        let info = info(id).map_err(|why| PortError::Device {
            port: id.to_string(),
            action: "read its properties",
            why,
        })?;
        Ok(Port {
            id,
            name: text(&info.name),
            driver: text(&info.driver),
            mac: info.mac,
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            mtu: info.mtu,
            mtu_range: info.min_mtu..=info.max_mtu,
            rss: info.rss,
            reta: info.reta,
            scatter: info.scatter,
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
    // SAFETY: plain numbers, for which zero is valid, and the call filled them in.
    Ok(unsafe { info.assume_init() })
}

pub(super) fn link(id: u16) -> io::Result<Link> {
    let mut link = MaybeUninit::<sys::pollux_link>::zeroed();
    // SAFETY: any number may be asked for, and the pointer outlives the call.
    checked(unsafe { sys::pollux_port_link(id, link.as_mut_ptr()) })?;
    // SAFETY: plain numbers, for which zero is valid, and the call filled them in.
    let link = unsafe { link.assume_init() };
    let speed_mbps = (link.speed_mbps != 0).then_some(link.speed_mbps);
    Ok(Link { up: link.up, speed_mbps })
}

fn text(field: &[c_char]) -> String {
    // `c_char` is signed on some processors; the bytes are the same.
    let bytes: Vec<u8> = field.iter().map(|c| *c as u8).collect();
    CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
