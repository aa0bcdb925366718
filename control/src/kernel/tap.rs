//! The twin of a DPDK port: a TAP interface that looks to the kernel like the port itself.
//!
//! Frames carry no extra header in either direction (`IFF_NO_PI`, no `IFF_VNET_HDR`) and all offloads are off, so the
//! kernel completes every checksum before a frame leaves it and never hands us a frame larger than the MTU allows.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::model::network_config::Mac;

/// A twin could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Something has that name already; we do not take over what we did not make.
    #[error(
        "an interface {name} exists already; remove it with `ip link delete {name}` or name the twin otherwise"
    )]
    NameTaken {
        /// The name asked for.
        name: String,
    },
    /// The kernel cuts names at 15 bytes, and then we would own another interface than was asked for.
    #[error(
        "{name:?} cannot name an interface: 1 to 15 bytes, and neither '/' nor '%' nor white space, are allowed"
    )]
    BadName {
        /// The name asked for.
        name: String,
    },
    /// The kernel refused.
    #[error("cannot make the TAP interface {name} (mac {mac}, mtu {mtu}): {source}")]
    Refused {
        /// The name asked for.
        name: String,
        /// The hardware address asked for.
        mac: Mac,
        /// The MTU asked for.
        mtu: u16,
        /// What the system said; "permission denied" means that CAP_NET_ADMIN is missing.
        source: io::Error,
    },
}

/// A TAP interface. Reading and writing never wait; the interface vanishes when this is dropped.
pub struct TapDevice {
    device: SyncDevice,
}

impl TapDevice {
    /// Makes an interface in the network namespace of the calling thread and brings it up.
    ///
    /// # Errors
    /// When the name is taken or unusable, or the kernel refuses.
    pub fn create(name: &str, mac: Mac, mtu: u16) -> Result<TapDevice, TapError> {
        let refused = |source| TapError::Refused { name: name.to_owned(), mac, mtu, source };
        let allowed = |c: char| !c.is_whitespace() && c != '/' && c != '%';
        if name.is_empty() || name.len() > 15 || !name.chars().all(allowed) {
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

    /// Takes the next frame the kernel sent. A buffer shorter than the frame cuts it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; anything else means that the interface is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.recv(buffer)
    }

    /// Gives a frame to the kernel as if it had come in at the port.
    ///
    /// # Errors
    /// When the interface is down or gone, or the frame is shorter than an Ethernet header.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        self.device.send(frame).map(|_| ())
    }
}

impl AsFd for TapDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// The TAP driver alone would silently attach to an idle persistent TAP of the same name.
fn exists(name: &str) -> io::Result<bool> {
    // Any socket will do to ask by; this one is never bound to a port that others could see.
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name).is_ok())
}
