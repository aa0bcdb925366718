//! The daemon's end of the control socket.
//!
//! Clients are served by a thread each and their requests go, one at a time, to the daemon's main loop as [`Job`]s.
//! Only that loop changes anything, so requests are carried out in one order that everybody sees.

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
use super::serve::{Common, serve};
use crate::api::error::Failure;
use crate::api::request::{Reply, Request};

/// A request on its way to the main loop, and where its answer goes. If the answer is dropped unsent, the client is
/// told that the daemon is stopping.
#[derive(Debug)]
pub struct Job {
    /// About which namespace.
    pub namespace: Option<String>,
    /// What is asked for.
    pub request: Request,
    /// Takes one answer, and never blocks on it.
    pub reply: Sender<Result<Reply, Failure>>,
}

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another daemon is alive.
    #[error("another polluxd listens at {0}; stop it with `pollux stop`, or use --socket for a second one")]
    InUse(PathBuf),
    /// There is something else in the way.
    #[error("{0} is there and is no socket; remove it or use another --socket")]
    NotASocket(PathBuf),
    /// The system gave an error.
    #[error("cannot listen at {path}: {source}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening control socket; dropping it closes and removes it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    /// Held as long as we live. The kernel lets go of it however we end, so it tells a live daemon from a dead one.
    _lock: File,
}

impl Server {
    /// Listens at `path`, for its owner only, and sends every request to `jobs`.
    ///
    /// # Errors
    /// When another daemon listens there, or the system refuses.
    pub fn start(path: &Path, jobs: Sender<Job>) -> Result<Server, ServerError> {
        Server::with_limits(path, jobs, Limits::default())
    }

    /// The same with limits of one's own.
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
        let lock = File::create(beside(path, "lock")).map_err(failed)?;
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
        // Wakes the listener out of `accept`; if nobody can connect any more, it is not joined either.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(listener) = self.listener.take()
        {
            let _ = listener.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds in a directory nobody else can enter and moves the socket to its place when its mode is right, so that no
/// other user can connect in between, whatever the umask. The move also replaces what a dead daemon left.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let private = beside(path, "new");
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

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn listen(socket: &UnixListener, jobs: &Sender<Job>, stop: &AtomicBool, limits: Limits) {
    let common = Arc::new(Common::new(limits));
    // Every client's thread holds one clone; the count of clones is the count of clients, even if a thread dies.
    let clients = Arc::new(());
    while !stop.load(Ordering::Acquire) {
        let Ok((stream, _)) = socket.accept() else {
            // Out of descriptors, most likely: wait for a client to go instead of spinning.
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
        let (jobs, slot, common) = (jobs.clone(), Arc::clone(&clients), Arc::clone(&common));
        let client = move || {
            let _seat = slot;
            // An error here means that the client is gone, and there is nobody left to tell.
            let _ = serve(&stream, &jobs, &common);
        };
        let _ = thread::Builder::new().name("pollux-client".to_owned()).spawn(client);
    }
}

fn refuse(mut stream: UnixStream, limits: &Limits) {
    // One short line fits into the empty buffer of a new connection: this cannot block.
    let _ = stream.write_all(&rpc::error(&Value::Null, &limits.of_clients()));
}
