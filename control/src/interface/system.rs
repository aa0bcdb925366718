//! The system's programs and sysctls.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::InterfaceError;

/// Directory of sysctls.
const SYSCTLS: &str = "/proc/sys";

/// Directory of interfaces.
const LINKS: &str = "/sys/class/net";

/// `IFF_PROMISC` of <linux/if.h>.
const PROMISCUOUS: u32 = 0x100;

/// What changes to interfaces need of the system; tests have one of their own.
pub trait System {
    /// Runs a command and returns its output.
    ///
    /// # Errors
    /// If it cannot be run or fails.
    fn run(&self, program: &'static str, words: &[&str]) -> Result<String, InterfaceError>;

    /// Reads a sysctl, such as `net/ipv6/conf/eth1/disable_ipv6`; `None` if the kernel does not have it.
    fn sysctl(&self, key: &str) -> Option<String>;

    /// Whether an interface has carrier; `None` if that is not known, as when it is down.
    fn carrier(&self, link: &str) -> Option<bool>;

    /// Whether an interface receives frames for other hardware addresses than `mac`: it is promiscuous, or has another.
    fn receives_other_macs(&self, link: &str, mac: &str) -> bool;

    /// Writes a sysctl.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn set_sysctl(&self, key: &str, value: &str) -> Result<(), InterfaceError>;
}

/// The machine polluxd runs on.
#[derive(Clone, Copy, Debug)]
pub struct Linux;

impl System for Linux {
    fn run(&self, program: &'static str, words: &[&str]) -> Result<String, InterfaceError> {
        let failed = |why: String, hint| InterfaceError::Command {
            command: format!("{program} {}", words.join(" ")),
            why,
            hint,
        };
        let output = Command::new(program).args(words).stdin(Stdio::null()).output().map_err(|error| {
            let hint = match (error.kind(), program) {
                (io::ErrorKind::NotFound, "ethtool") => "; install ethtool",
                (io::ErrorKind::NotFound, _) => "; install iproute2",
                _ => "",
            };
            failed(error.to_string(), hint)
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', ": ");
        let hint = if why.contains("not permitted") { "; run polluxd as root" } else { "" };
        Err(failed(why, hint))
    }

    fn sysctl(&self, key: &str) -> Option<String> {
        fs::read_to_string(Path::new(SYSCTLS).join(key)).ok().map(|text| text.trim().to_owned())
    }

    fn carrier(&self, link: &str) -> Option<bool> {
        Some(attribute(link, "carrier")? == "1")
    }

    fn receives_other_macs(&self, link: &str, mac: &str) -> bool {
        let flags = attribute(link, "flags");
        let flags = flags.and_then(|hex| u32::from_str_radix(hex.trim_start_matches("0x"), 16).ok());
        let other = attribute(link, "address").is_some_and(|address| address != mac);
        other || flags.is_some_and(|flags| flags & PROMISCUOUS != 0)
    }

    fn set_sysctl(&self, key: &str, value: &str) -> Result<(), InterfaceError> {
        let path = Path::new(SYSCTLS).join(key);
        fs::write(&path, value).map_err(|source| InterfaceError::File { doing: "write", path, source })
    }
}

fn attribute(link: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(LINKS).join(link).join(name)).ok()?;
    Some(text.trim().to_owned())
}
