//! The system's programs and sysctls.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::InterfaceError;

/// Directory of sysctls.
const SYSCTLS: &str = "/proc/sys";

/// Directory of interfaces.
const LINKS: &str = "/sys/class/net";

/// `IFF_PROMISC` of <linux/if.h>.
const PROMISCUOUS: u32 = 0x100;

/// How long a program may take. `ip` and `tc` take milliseconds, unless something holds the kernel's lock on interfaces.
const LIMIT: Duration = Duration::from_secs(10);

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
        let output = output(Command::new(program).args(words)).map_err(|error| {
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

/// Runs a command with a limit of time, and returns its output.
fn output(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        // After a timeout nobody listens.
        let _ = done.send(read(stdout).and_then(|stdout| Ok((stdout, read(stderr)?))));
    });
    let text = finished.recv_timeout(LIMIT);
    if text.is_err() {
        // It may have ended just now.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let late =
        || io::Error::other(format!("no result after {} s; is the system overloaded?", LIMIT.as_secs()));
    let (stdout, stderr) = text.map_err(|_| late())??;
    Ok(Output { status, stdout, stderr })
}

fn read(from: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.map_or(Ok(0), |mut from| from.read_to_end(&mut text))?;
    Ok(text)
}

fn attribute(link: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(LINKS).join(link).join(name)).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_output_and_errors_name_them() {
        assert_eq!(Linux.run("printf", &["%s", "a b"]).unwrap(), "a b");
        let long = Linux.run("seq", &["100000"]).unwrap();
        assert!(long.ends_with("\n100000\n"), "more than a pipe holds");
        let error = Linux.run("ls", &["/does/not/exist"]).unwrap_err().to_string();
        assert!(error.starts_with("`ls /does/not/exist` failed: ls: "), "{error}");
        let error = Linux.run("no-such-program", &[]).unwrap_err().to_string();
        assert!(error.contains("; install iproute2"), "{error}");
    }
}
