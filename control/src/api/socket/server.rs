//! The daemon's end of the control socket.
//!
//! Each client has a thread, which sends its requests to the control thread as [`Job`]s. Only the control thread
//! changes state, so requests of all clients are executed in one order.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::Sender;
use serde_json::Value;

use super::limits::Limits;
use super::rpc;
use super::serve::{SharedLimits, serve};
use crate::api::error::Failure;
use crate::api::request::{Reply, Request};

/// A request for the control thread. If `reply` is dropped unused, the client gets the error that the daemon is
/// stopping.
#[derive(Debug)]
pub struct Job {
    /// Namespace of the request.
    pub namespace: Option<String>,
    /// The request.
    pub request: Request,
    /// Channel for one reply; sending never blocks.
    pub reply: Sender<Result<Reply, Failure>>,
}

/// Reason why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another daemon uses the socket.
    #[error("another polluxd listens at {0}; stop it with `pollux stop`, or use another path with --socket")]
    InUse(PathBuf),
    /// The path exists and is not a socket.
    #[error("{0} exists and is not a socket; remove it, or use another path with --socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen at {path}: {source}; check its directory, or use another path with --socket")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A listening control socket; it is closed and removed on drop.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    /// Held while the daemon runs. The kernel releases it even after a crash, so a stale socket is recognized.
    _lock: File,
}

impl Server {
    /// Listens at `path` with mode 0600, and sends every request to `jobs`.
    ///
    /// # Errors
    /// If another daemon listens there, or the system refuses.
    pub fn start(path: &Path, jobs: Sender<Job>) -> Result<Server, ServerError> {
        Server::with_limits(path, jobs, Limits::default())
    }

    /// Like [`Server::start`], with other limits.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn with_limits(path: &Path, jobs: Sender<Job>, limits: Limits) -> Result<Server, ServerError> {
        let failed = |source| ServerError::Listen { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(ServerError::NotASocket(path.to_owned()));
        }
        let lock = File::create(path.with_added_extension("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ServerError::InUse(path.to_owned()),
            TryLockError::Error(source) => failed(source),
        })?;
        let socket = bind_private(path).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let listener = thread::Builder::new()
            .name("pollux-socket".to_owned())
            .spawn(move || listen(&socket, &jobs, &stopped, limits))
            .map_err(failed)?;
        Ok(Server { path: path.to_owned(), stop, listener: Some(listener), _lock: lock })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the listener from `accept`. If the connection fails, the thread is not joined.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(listener) = self.listener.take()
        {
            let _ = listener.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds in a private directory, sets the mode, and moves the socket to its path, so that no other user can connect in
/// between, whatever the umask. The move also replaces a stale socket.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let private = path.with_added_extension("new");
    let _ = fs::remove_dir_all(&private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let fresh = private.join("s");
    let bound = UnixListener::bind(&fresh).and_then(|socket| {
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        fs::rename(&fresh, path)?;
        Ok(socket)
    });
    fs::remove_dir_all(&private)?;
    bound
}

fn listen(socket: &UnixListener, jobs: &Sender<Job>, stop: &AtomicBool, limits: Limits) {
    let shared = Arc::new(SharedLimits::new(limits));
    // Every client thread holds a clone; the reference count is the number of clients, even after a panic.
    let clients = Arc::new(());
    while !stop.load(Ordering::Acquire) {
        let Ok((stream, _)) = socket.accept() else {
            // Probably out of file descriptors: wait for a client to disconnect.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if stop.load(Ordering::Acquire) {
            return;
        }
        if Arc::strong_count(&clients) > limits.clients {
            refuse(stream, &limits);
            continue;
        }
        let (jobs, slot, shared) = (jobs.clone(), Arc::clone(&clients), Arc::clone(&shared));
        let client = move || {
            let _counted = slot;
            // An error means that the client disconnected.
            let _ = serve(&stream, &jobs, &shared);
        };
        let _ = thread::Builder::new().name("pollux-client".to_owned()).spawn(client);
    }
}

fn refuse(mut stream: UnixStream, limits: &Limits) {
    // One short line fits into the buffer of a new connection: this cannot block.
    let _ = stream.write_all(&rpc::error(&Value::Null, &limits.of_clients()));
}
