//! One `polluxd` for each interface: a socket whose name contains the interface's index.
//!
//! Names of abstract sockets belong to the network namespace, as indices of interfaces do, and the kernel frees them
//! with the process, however it ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::InterfaceError;

/// Holds an interface until it and its clones are dropped.
#[derive(Clone, Debug)]
pub struct Claim {
    _socket: Arc<UnixListener>,
}

impl Claim {
    /// Claims an interface.
    ///
    /// # Errors
    /// If another process has it.
    pub fn new(name: &str, index: u32) -> Result<Claim, InterfaceError> {
        let key = format!("pollux/interface/{index}");
        let failed =
            |source| InterfaceError::File { doing: "create", path: format!("@{key}").into(), source };
        let address = SocketAddr::from_abstract_name(&key).map_err(failed)?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Claim { _socket: Arc::new(socket) }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let pid = holder(&key).map_or_else(|_| "?".to_owned(), |pid| pid.to_string());
                Err(InterfaceError::InUse { name: name.to_owned(), pid })
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// The process that listens at a socket.
fn holder(key: &str) -> io::Result<i32> {
    // Not blocking, for nobody accepts the connection, and the queue may be full.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(key.as_bytes())?)?;
    Ok(sockopt::socket_peercred(&socket)?.pid.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_claimed_once_and_free_again() {
        let index = 1 << 30 | std::process::id();
        let claim = Claim::new("eth1", index).unwrap();
        let error = Claim::new("eth1", index).unwrap_err().to_string();
        let expected =
            format!("interface eth1 is used by the polluxd with process ID {}", std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(claim);
        Claim::new("eth1", index).unwrap();
    }
}
