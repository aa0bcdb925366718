//! Linux network namespaces, by the names of `ip netns`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Directory of the names of network namespaces.
const DIRECTORY: &str = "/run/netns";

/// Reason why a network namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// `ip` is not installed, or failed.
    #[error("`ip {words}` failed: {why}; install iproute2 and run polluxd as root")]
    Ip {
        /// Arguments of `ip`.
        words: String,
        /// Its error message.
        why: String,
    },
    /// The network namespace cannot be entered.
    #[error("cannot enter network namespace {name}: {source}; run polluxd as root")]
    Enter {
        /// Name of the network namespace.
        name: String,
        /// The system's error.
        source: io::Error,
    },
}

/// A network namespace. If it was created by [`Netns::open`], it is deleted on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
    made: bool,
}

impl Netns {
    /// Opens a network namespace by name; creates it, with its loopback up, if it does not exist.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(name: &str) -> Result<Netns, NetnsError> {
        if path(name).exists() {
            return Ok(Netns { name: name.to_owned(), made: false });
        }
        ip(&["netns", "add", name])?;
        let netns = Netns { name: name.to_owned(), made: true };
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Runs a function in the network namespace, on a thread of its own. Sockets and threads it creates stay there.
    ///
    /// # Errors
    /// If the network namespace cannot be entered.
    pub fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let failed = |source| NetnsError::Enter { name: self.name.clone(), source };
        let place = File::open(path(&self.name)).map_err(failed)?;
        let enter = || -> io::Result<T> {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(what())
        };
        let died = || io::Error::other("the thread that entered it died");
        thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|_| Err(died()))).map_err(failed)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if self.made
            && let Err(why) = ip(&["netns", "delete", &self.name])
        {
            crate::log!(Warn, "{why}");
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Runs `ip`, because creating a named network namespace needs system calls without a safe wrapper.
fn ip(words: &[&str]) -> Result<(), NetnsError> {
    let failed = |why: String| NetnsError::Ip { words: words.join(" "), why };
    let output = Command::new("ip").args(words).output().map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
