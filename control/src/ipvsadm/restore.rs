//! The lines that `-R` reads.

use std::io::Read;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, RecvTimeoutError};

/// Time for which edits wait for more of them; short enough for lines typed by hand.
const BATCH_TIMEOUT: Duration = Duration::from_millis(20);
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Capacity of the queue of chunks.
const QUEUED_CHUNKS: usize = 4;

/// The next input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A line, without its newline.
    Line(String),
    /// No line within [`BATCH_TIMEOUT`].
    Nothing,
    /// End of input.
    End,
}

/// A source of lines.
pub trait LineSource {
    /// Returns the next line. With `timeout`, returns [`Next::Nothing`] if none arrives soon.
    fn next(&mut self, timeout: bool) -> Next;
}

/// The lines of a string.
impl LineSource for std::str::Lines<'_> {
    fn next(&mut self, _: bool) -> Next {
        Iterator::next(self).map_or(Next::End, |line| Next::Line(line.to_owned()))
    }
}

/// Lines of a stream, read by a thread of its own. The thread starts with the first call of `next`, so that a command
/// without input leaves the stream to other processes.
pub struct Stream<R> {
    from: Option<R>,
    chunks: Receiver<Vec<u8>>,
    read: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read + Send + 'static> Stream<R> {
    /// Creates a reader of `from`.
    pub fn new(from: R) -> Stream<R> {
        Stream { from: Some(from), chunks: channel::never(), read: Vec::new(), at: 0, ended: false }
    }

    fn begin(&mut self, mut from: R) {
        let (sender, chunks) = channel::bounded(QUEUED_CHUNKS);
        self.chunks = chunks;
        thread::spawn(move || {
            let mut chunk = vec![0; CHUNK];
            while let Ok(size) = from.read(&mut chunk) {
                if size == 0 || sender.send(chunk[..size].to_vec()).is_err() {
                    return;
                }
            }
        });
    }

    fn line(&mut self) -> Option<String> {
        let rest = &self.read[self.at..];
        let size = match rest.iter().position(|byte| *byte == b'\n') {
            Some(size) => size,
            None if self.ended && !rest.is_empty() => rest.len(),
            None => return None,
        };
        let line = String::from_utf8_lossy(&rest[..size]).into_owned();
        self.at = (self.at + size + 1).min(self.read.len());
        Some(line)
    }
}

impl<R: Read + Send + 'static> LineSource for Stream<R> {
    fn next(&mut self, timeout: bool) -> Next {
        if let Some(from) = self.from.take() {
            self.begin(from);
        }
        loop {
            if let Some(line) = self.line() {
                return Next::Line(line);
            }
            if self.ended {
                return Next::End;
            }
            let got = if timeout {
                self.chunks.recv_timeout(BATCH_TIMEOUT)
            } else {
                self.chunks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match got {
                Ok(chunk) => {
                    self.read.drain(..self.at);
                    self.at = 0;
                    self.read.extend(chunk);
                }
                Err(RecvTimeoutError::Timeout) => return Next::Nothing,
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_across_reads() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut lines = Stream::new(far);
        assert_eq!(lines.next(true), Next::Nothing);
        std::io::Write::write_all(&mut near, b"one\n\ntw").unwrap();
        assert_eq!(lines.next(false), Next::Line("one".into()));
        assert_eq!(lines.next(false), Next::Line(String::new()));
        assert_eq!(lines.next(true), Next::Nothing);
        std::io::Write::write_all(&mut near, b"o\nthree").unwrap();
        drop(near);
        assert_eq!(lines.next(false), Next::Line("two".into()));
        assert_eq!(lines.next(false), Next::Line("three".into()));
        assert_eq!(lines.next(false), Next::End);
    }
}
