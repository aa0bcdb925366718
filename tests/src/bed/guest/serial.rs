//! The host's ends of the guest's serial port for scripts, and of QEMU's monitor: text over Unix sockets, with time limits.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::command::{Error, Result};
use super::super::wait;

/// Time limit of a script in the guest; above the 60 s after which the guest itself ends it.
const SCRIPT: Duration = Duration::from_secs(70);
const MONITOR: Duration = Duration::from_secs(10);
const PROMPT: &str = "(qemu) ";

/// A connection, and what has been read from it but not been used.
struct Line {
    socket: UnixStream,
    unread: RefCell<Vec<u8>>,
}

impl Line {
    /// Connects as soon as QEMU listens.
    fn connect(path: &Path) -> Result<Line> {
        let what = format!("QEMU listens on {}", path.display());
        let socket = wait::until(&what, || Ok(UnixStream::connect(path).ok()))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Line { socket, unread: RefCell::default() })
    }

    fn send(&self, text: &str) -> Result<()> {
        Ok((&self.socket).write_all(text.as_bytes())?)
    }

    /// Returns the text up to `end`, which is removed.
    fn read_to(&self, end: &str, limit: Duration) -> Result<String> {
        let mut unread = self.unread.borrow_mut();
        let (start, mut buffer) = (Instant::now(), [0; 4096]);
        loop {
            if let Some(at) = unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let text = String::from_utf8_lossy(&unread[..at]).into_owned();
                unread.drain(..at + end.len());
                return Ok(text);
            }
            if start.elapsed() > limit {
                let so_far = String::from_utf8_lossy(&unread);
                let end = end.trim();
                return Err(Error(format!("no \"{end}\" after {} s, only: {so_far}", limit.as_secs())));
            }
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return Err(Error("QEMU has exited".to_owned())),
                Ok(length) => unread.extend(&buffer[..length]),
                // A timeout: check whether to go on.
                Err(_) => {}
            }
        }
    }
}

/// Runs scripts in the guest, one at a time.
pub(super) struct Scripts {
    line: Line,
    number: Cell<u32>,
}

impl Scripts {
    pub(super) fn connect(path: &Path) -> Result<Scripts> {
        Ok(Scripts { line: Line::connect(path)?, number: Cell::new(0) })
    }

    /// Waits until the guest accepts scripts.
    pub(super) fn ready(&self, limit: Duration) -> Result<()> {
        self.line.read_to("#ready\n", limit).map(drop)
    }

    /// Runs a script and returns its output, and its exit status. The number in the request and in the reply keeps a late
    /// reply from being taken for that of the next script.
    pub(super) fn run(&self, script: &str) -> Result<(String, u8)> {
        self.number.set(self.number.get() + 1);
        let number = self.number.get();
        self.line.send(&format!("{script}\n#run {number}\n"))?;
        let output = self.line.read_to(&format!("\n#done {number} "), SCRIPT)?;
        let status = self.line.read_to("\n", SCRIPT)?;
        Ok((output, status.trim().parse().unwrap_or(u8::MAX)))
    }
}

/// QEMU's monitor.
pub(super) struct Monitor(Line);

impl Monitor {
    pub(super) fn connect(path: &Path) -> Result<Monitor> {
        let line = Line::connect(path)?;
        line.read_to(PROMPT, MONITOR)?;
        Ok(Monitor(line))
    }

    /// Runs a command. It says nothing if it succeeds; the monitor echoes it in any case.
    pub(super) fn run(&self, command: &str) -> Result<()> {
        self.0.send(&format!("{command}\n"))?;
        let reply = self.0.read_to(PROMPT, MONITOR)?;
        let complaint = reply.split_once('\n').map_or("", |(_echo, rest)| rest.trim());
        if complaint.is_empty() { Ok(()) } else { Err(Error(format!("QEMU: {command}: {complaint}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Line, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("two ends");
        ours.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        (Line { socket: ours, unread: RefCell::default() }, theirs)
    }

    #[test]
    fn a_late_reply_is_not_taken_for_the_next_one() {
        let (line, mut guest) = pair();
        let scripts = Scripts { line, number: Cell::new(1) };
        guest.write_all(b"late\n#done 1 0\nhello\n\n#done 2 3\n").expect("written");
        let (output, status) = scripts.run("echo hello; exit 3").expect("a reply");
        assert!(output.ends_with("hello\n") && status == 3, "{output} {status}");
        drop(scripts);
        let mut sent = String::new();
        guest.read_to_string(&mut sent).expect("a script");
        assert_eq!(sent, "echo hello; exit 3\n#run 2\n");
    }

    #[test]
    fn a_wait_for_text_ends_and_shows_what_came() {
        let (line, mut guest) = pair();
        guest.write_all(b"half").expect("written");
        let error = line.read_to("#ready\n", Duration::from_millis(20)).expect_err("there is no such text");
        assert!(error.to_string().contains("no \"#ready\" after 0 s, only: half"), "{error}");
        drop(guest);
        let error = line.read_to("#ready\n", Duration::from_secs(9)).expect_err("the other end is closed");
        assert_eq!(error.to_string(), "QEMU has exited");
    }

    #[test]
    fn the_monitor_reports_complaints_but_not_its_echo() {
        let (line, mut qemu) = pair();
        let monitor = Monitor(line);
        qemu.write_all(b"set_link nic0 off\r\n(qemu) ").expect("written");
        monitor.run("set_link nic0 off").expect("success");
        qemu.write_all(b"set_link nic9 off\r\nError: Device 'nic9' not found\r\n(qemu) ").expect("written");
        let error = monitor.run("set_link nic9 off").expect_err("a complaint");
        assert_eq!(error.to_string(), "QEMU: set_link nic9 off: Error: Device 'nic9' not found");
    }
}
