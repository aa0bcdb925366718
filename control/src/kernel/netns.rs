//! Network namespaces of the kernel, by the names `ip netns` knows.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where their names are.
const PLACE: &str = "/run/netns";

/// A network namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// `ip` is not there, or says no.
    #[error("`ip {words}` failed: {why}; is iproute2 installed, and does polluxd run as root?")]
    Ip {
        /// What was asked of it.
        words: String,
        /// What it said.
        why: String,
    },
    /// It cannot be entered.
    #[error("cannot enter the network namespace {name}: {source}")]
    Enter {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A network namespace; it is removed when this is dropped, if it was made here.
#[derive(Debug)]
pub struct Netns {
    name: String,
    made: bool,
}

impl Netns {
    /// The one of that name; a new one, with its loopback up, if there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(name: &str) -> Result<Netns, NetnsError> {
        if path(name).exists() {
            return Ok(Netns { name: name.to_owned(), made: false });
        }
        ip(&["netns", "add", name])?;
        let netns = Netns { name: name.to_owned(), made: true };
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Does something in it, on a thread of its own. Sockets and threads that are made so stay in it.
    ///
    /// # Errors
    /// When it cannot be entered.
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
            eprintln!("polluxd: {why}");
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(PLACE).join(name)
}

/// What is in a namespace's file is `ip`'s own affair, and no code of ours may be `unsafe` to make one.
fn ip(words: &[&str]) -> Result<(), NetnsError> {
    let failed = |why: String| NetnsError::Ip { words: words.join(" "), why };
    let output = Command::new("ip").args(words).output().map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
