//! TAP twins: interfaces that represent DPDK ports in the kernel.
//!
//! Frames have no extra header (`IFF_NO_PI`, no `IFF_VNET_HDR`) and all offloads are off: the kernel completes every
//! checksum, and never sends a frame larger than the MTU allows.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::model::network::Mac;
use crate::model::validate::is_interface_name;

/// Reason why a twin cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// An interface of this name already exists; it is not taken over.
    #[error(
        "interface {name} already exists; remove it with `ip link delete {name}`, or use another twin name"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name is not valid; the kernel would truncate a longer one.
    #[error("{name:?} is not a valid interface name; use 1 to 15 letters, digits, '-', '_' or '.'")]
    BadName {
        /// The name.
        name: String,
    },
    /// The kernel refused.
    #[error(
        "cannot create TAP interface {name} (mac {mac}, mtu {mtu}): {source}; polluxd needs CAP_NET_ADMIN"
    )]
    Refused {
        /// Name of the interface.
        name: String,
        /// MAC address.
        mac: Mac,
        /// MTU in bytes.
        mtu: u16,
        /// The system's error.
        source: io::Error,
    },
}

/// A non-blocking TAP interface; it is removed on drop.
pub struct TapDevice {
    device: SyncDevice,
}

impl TapDevice {
    /// Creates an interface in the network namespace of the calling thread and brings it up.
    ///
    /// # Errors
    /// If the name is in use or invalid, or the kernel refuses.
    pub fn create(name: &str, mac: Mac, mtu: u16) -> Result<TapDevice, TapError> {
        let refused = |source| TapError::Refused { name: name.to_owned(), mac, mtu, source };
        if !is_interface_name(name) {
            return Err(TapError::BadName { name: name.to_owned() });
        }
        if exists(name).map_err(refused)? {
            return Err(TapError::NameTaken { name: name.to_owned() });
        }
        let device = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L2)
            .mac_addr(mac.0)
            .mtu(mtu)
            .enable(true)
            .build_sync()
            .map_err(refused)?;
        device.set_nonblocking(true).map_err(refused)?;
        Ok(TapDevice { device })
    }

    /// Reads the next frame sent by the kernel; a short buffer truncates it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none; any other error means that the interface is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.recv(buffer)
    }

    /// Writes a frame, which the kernel receives on this interface.
    ///
    /// # Errors
    /// If the interface is down or gone, or the frame is shorter than an Ethernet header.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        self.device.send(frame).map(|_| ())
    }
}

impl AsFd for TapDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Returns true if the interface exists. The TAP driver would silently attach to a persistent TAP of the same name.
fn exists(name: &str) -> io::Result<bool> {
    // Any socket works for this request; it is never bound.
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name).is_ok())
}
