//! The thread of one client: reads lines, passes requests to the control thread, and writes responses.

use std::io::{self, BufRead, BufReader, ErrorKind, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, RecvTimeoutError, Sender};
use serde_json::Value;

use super::limits::{Budget, Limits, Semaphore};
use super::rpc::{self, RpcError};
use super::server::Job;
use crate::api::error::Failure;
use crate::api::follow::EventReceiver;
use crate::api::request::{Reply, Request, ServiceListQuery};

/// Size of the read buffer in bytes; memory for longer lines is freed after each line.
const CHUNK: usize = 1 << 16;

/// Time without events after which the client is probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Read timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1);

/// Limits shared by all clients.
#[derive(Debug)]
pub struct SharedLimits {
    /// The limits.
    pub limits: Limits,
    /// Bytes of incomplete lines.
    pub requests: Arc<Budget>,
    /// Bytes of unread replies.
    pub replies: Arc<Budget>,
    /// Limits the number of large replies built at once.
    pub large_replies: Semaphore,
}

impl SharedLimits {
    /// Returns unused budgets with these limits.
    pub fn new(limits: Limits) -> SharedLimits {
        SharedLimits {
            limits,
            requests: Budget::new(limits.requests),
            replies: Budget::new(limits.replies),
            large_replies: Semaphore::new(limits.large),
        }
    }
}

/// Result of reading a line.
enum LineOutcome {
    Complete,
    /// The client disconnected; an incomplete line is not executed.
    Disconnected,
    /// A limit was reached.
    Limit(RpcError),
}

/// Serves one client until it disconnects.
///
/// # Errors
/// If the connection breaks.
pub fn serve(stream: &UnixStream, jobs: &Sender<Job>, shared: &SharedLimits) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(CHUNK, stream);
    loop {
        let mut line = Vec::new();
        match read(&mut reader, &mut line, shared)? {
            LineOutcome::Disconnected => return Ok(()),
            LineOutcome::Limit(error) => {
                return write(stream, &rpc::error(&Value::Null, &error), shared.limits.unread);
            }
            LineOutcome::Complete if line.trim_ascii().is_empty() => {}
            LineOutcome::Complete => {
                if let Some(events) = reply(stream, line, jobs, shared)? {
                    return stream_events(stream, &events, shared.limits.unread);
                }
            }
        }
    }
}

/// Reads a line, including its end.
fn read(
    reader: &mut BufReader<&UnixStream>,
    line: &mut Vec<u8>,
    shared: &SharedLimits,
) -> io::Result<LineOutcome> {
    let limits = &shared.limits;
    let mut share = shared.requests.share();
    let mut until: Option<Instant> = None;
    loop {
        // There is no timeout between lines, only within a line.
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(LineOutcome::Limit(limits.of_request_timeout()));
        }
        reader.get_ref().set_read_timeout(left)?;
        let bytes = match reader.fill_buf() {
            Ok([]) => return Ok(LineOutcome::Disconnected),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(LineOutcome::Limit(limits.of_request_timeout()));
            }
            Err(error) => return Err(error),
        };
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let count = end.unwrap_or(bytes.len());
        if line.len() + count > limits.line {
            return Ok(LineOutcome::Limit(limits.of_line()));
        }
        if !share.take(count) {
            return Ok(LineOutcome::Limit(limits.of_requests()));
        }
        line.extend_from_slice(&bytes[..count]);
        reader.consume(count);
        if end.is_some() {
            return Ok(LineOutcome::Complete);
        }
        until = until.or_else(|| Some(Instant::now() + limits.request_timeout));
    }
}

/// Executes one line, and replies unless it is a notification. Returns the event stream of `debug.follow`.
fn reply(
    stream: &UnixStream,
    line: Vec<u8>,
    jobs: &Sender<Job>,
    shared: &SharedLimits,
) -> io::Result<Option<EventReceiver>> {
    let mut event_stream = None;
    let (id, mut bytes) = match rpc::parse(&line) {
        Ok(call) => {
            drop(line);
            // The permit is held while the reply is built and encoded, not while the client reads it.
            let _permit = is_large(&call.request).then(|| shared.large_replies.acquire());
            let result = ask(call.namespace, call.request, jobs);
            let bytes = call.id.as_ref().map(|id| rpc::response(id, &result));
            if let Ok(Reply::Following(events)) = result {
                event_stream = Some(events);
            }
            let (Some(id), Some(bytes)) = (call.id, bytes) else { return Ok(event_stream) };
            (id, bytes)
        }
        Err(refused) => (refused.id.clone(), rpc::error(&refused.id, &refused.error)),
    };
    let mut share = shared.replies.share();
    if !share.take(bytes.len()) {
        bytes = rpc::error(&id, &shared.limits.of_replies());
    }
    write(stream, &bytes, shared.limits.unread)?;
    Ok(event_stream)
}

/// Writes events until the client disconnects, sends anything, or reads too slowly.
fn stream_events(stream: &UnixStream, events: &EventReceiver, unread: Duration) -> io::Result<()> {
    let mut reader = stream;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    loop {
        match events.0.recv_timeout(PROBE_INTERVAL) {
            Ok(event) => write(stream, &rpc::notification(&event), unread)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => match reader.read(&mut [0]) {
                Err(quiet) if matches!(quiet.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => return Ok(()),
            },
        }
    }
}

fn ask(namespace: Option<String>, request: Request, jobs: &Sender<Job>) -> Result<Reply, Failure> {
    // Capacity 1, so that the control thread never waits for a client.
    let (sender, reply) = channel::bounded(1);
    match jobs.send(Job { namespace, request, reply: sender }) {
        Ok(()) => reply.recv().unwrap_or(Err(Failure::Stopping)),
        Err(_) => Err(Failure::Stopping),
    }
}

/// Returns true if the reply may have many megabytes.
fn is_large(request: &Request) -> bool {
    matches!(
        request,
        Request::ConfigGet(_)
            | Request::ConfigApply(_)
            | Request::ConnectionList(_)
            | Request::ServiceList(ServiceListQuery { service: None, .. })
    )
}

/// Writes all bytes, within a time that depends on their number.
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
