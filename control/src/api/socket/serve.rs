//! One client: its lines are read, asked of the main loop one by one, and answered.

use std::io::{self, BufRead, BufReader, ErrorKind, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, RecvTimeoutError, Sender};
use serde_json::Value;

use super::limits::{Budget, Gate, Limits};
use super::rpc::{self, RpcError};
use super::server::Job;
use crate::api::error::Failure;
use crate::api::follow::Follow;
use crate::api::request::{Reply, Request, ServiceListQuery};

/// Bytes read at once; a line's memory beyond that is given back after it.
const CHUNK: usize = 1 << 16;

/// After so long without events it is looked whether the client is still there, and for so long.
const LULL: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_millis(1);

/// What all clients share.
#[derive(Debug)]
pub struct Common {
    /// What they may take.
    pub limits: Limits,
    /// Bytes of lines that are not whole yet.
    pub requests: Arc<Budget>,
    /// Bytes of answers that are not read yet.
    pub answers: Arc<Budget>,
    /// Before what may make a large answer.
    pub gate: Gate,
}

impl Common {
    /// Nothing taken yet.
    pub fn new(limits: Limits) -> Common {
        Common {
            limits,
            requests: Budget::new(limits.requests),
            answers: Budget::new(limits.answers),
            gate: Gate::new(limits.large),
        }
    }
}

/// How reading a line ended.
enum Read {
    Whole,
    /// The client is gone. Half a line must not be carried out.
    Gone,
    /// A limit is met.
    Met(RpcError),
}

/// Answers one client until it goes.
///
/// # Errors
/// When it goes in the middle of something.
pub fn serve(stream: &UnixStream, jobs: &Sender<Job>, common: &Common) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(CHUNK, stream);
    loop {
        let mut line = Vec::new();
        match read(&mut reader, &mut line, common)? {
            Read::Gone => return Ok(()),
            Read::Met(error) => {
                return write(stream, &rpc::error(&Value::Null, &error), common.limits.unread);
            }
            Read::Whole if line.trim_ascii().is_empty() => {}
            Read::Whole => {
                if let Some(follow) = reply(stream, line, jobs, common)? {
                    return stream_events(stream, &follow, common.limits.unread);
                }
            }
        }
    }
}

/// Reads a line with its end.
fn read(reader: &mut BufReader<&UnixStream>, line: &mut Vec<u8>, common: &Common) -> io::Result<Read> {
    let limits = &common.limits;
    let mut share = common.requests.share();
    let mut until: Option<Instant> = None;
    loop {
        // A client may be silent between lines, but not in the middle of one.
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Read::Met(limits.of_half_line()));
        }
        reader.get_ref().set_read_timeout(left)?;
        let bytes = match reader.fill_buf() {
            Ok([]) => return Ok(Read::Gone),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Read::Met(limits.of_half_line()));
            }
            Err(error) => return Err(error),
        };
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let count = end.unwrap_or(bytes.len());
        if line.len() + count > limits.line {
            return Ok(Read::Met(limits.of_line()));
        }
        if !share.take(count) {
            return Ok(Read::Met(limits.of_requests()));
        }
        line.extend_from_slice(&bytes[..count]);
        reader.consume(count);
        if end.is_some() {
            return Ok(Read::Whole);
        }
        until = until.or_else(|| Some(Instant::now() + limits.half_line));
    }
}

/// Carries out one line, and answers it unless it is a notification; gives the events that are to follow.
fn reply(
    stream: &UnixStream,
    line: Vec<u8>,
    jobs: &Sender<Job>,
    common: &Common,
) -> io::Result<Option<Follow>> {
    let mut follow = None;
    let (id, mut bytes) = match rpc::read(&line) {
        Ok(call) => {
            drop(line);
            // What the daemon tells is made into text while the gate is held, and only the text waits for its reader.
            let _inside = is_large(&call.request).then(|| common.gate.enter());
            let answer = ask(call.namespace, call.request, jobs);
            let bytes = call.id.as_ref().map(|id| rpc::answer(id, &answer));
            if let Ok(Reply::Following(events)) = answer {
                follow = Some(events);
            }
            let (Some(id), Some(bytes)) = (call.id, bytes) else { return Ok(follow) };
            (id, bytes)
        }
        Err(refused) => (refused.id.clone(), rpc::error(&refused.id, &refused.error)),
    };
    let mut share = common.answers.share();
    if !share.take(bytes.len()) {
        bytes = rpc::error(&id, &common.limits.of_answers());
    }
    write(stream, &bytes, common.limits.unread)?;
    Ok(follow)
}

/// Writes events until the client goes, says something more, or does not read for too long.
fn stream_events(stream: &UnixStream, follow: &Follow, unread: Duration) -> io::Result<()> {
    let mut reader = stream;
    stream.set_read_timeout(Some(GLANCE))?;
    loop {
        match follow.0.recv_timeout(LULL) {
            Ok(heard) => write(stream, &rpc::notification(&heard), unread)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => match reader.read(&mut [0]) {
                Err(quiet) if matches!(quiet.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => return Ok(()),
            },
        }
    }
}

fn ask(namespace: Option<String>, request: Request, jobs: &Sender<Job>) -> Result<Reply, Failure> {
    // Room for the one answer, so that the main loop never waits for a client.
    let (reply, answered) = channel::bounded(1);
    match jobs.send(Job { namespace, request, reply }) {
        Ok(()) => answered.recv().unwrap_or(Err(Failure::Stopping)),
        Err(_) => Err(Failure::Stopping),
    }
}

/// Whether the answer may be of many megabytes.
fn is_large(request: &Request) -> bool {
    matches!(
        request,
        Request::ConfigGet(_)
            | Request::ConfigApply(_)
            | Request::ConnectionList(_)
            | Request::ServiceList(ServiceListQuery { service: None, .. })
    )
}

/// Writes all of it, as fast as the client reads; but not for longer than is fair.
fn write(mut stream: &UnixStream, mut bytes: &[u8], unread: Duration) -> io::Result<()> {
    let until = Instant::now() + unread + Duration::from_secs(bytes.len() as u64 >> 20);
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now()).min(unread);
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
