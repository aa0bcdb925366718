//! DPDK's run-time (EAL): started once per process, it owns the memory and the drivers that everything else here uses.
//!
//! EAL is taken down again only when nothing can reach its memory any more: pools, ports and registered threads each
//! hold a share of it, and packets still out of their pools keep it up until the process ends.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use dpdk_sys as sys;

/// Why EAL did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// DPDK cannot be started again, neither after a failure nor after a clean end.
    #[error("EAL was started before; DPDK allows that once per process")]
    AlreadyStarted,
    /// C strings end at a zero byte.
    #[error("EAL argument {argument:?} contains a zero byte; remove it")]
    ZeroByte {
        /// The argument as it was given.
        argument: String,
    },
    /// DPDK refused; its log tells more.
    #[error(
        "EAL did not start with `{arguments}`: {why}; its log says which argument or resource is at fault"
    )]
    Start {
        /// The arguments, as one would type them.
        arguments: String,
        /// DPDK's error number in words.
        why: io::Error,
    },
    /// The log could not be moved.
    #[error("EAL's log could not be redirected: {0}")]
    Log(io::Error),
    /// A second registration would take a second place in DPDK's table of threads.
    #[error("this thread is registered with EAL already")]
    ThreadKnown,
    /// There are as many places as DPDK was built for (RTE_MAX_LCORE, usually 128).
    #[error("EAL did not register the thread: {0}; fewer lcores in its arguments leave more places")]
    Thread(io::Error),
}

/// The running DPDK. Keep it while it is used; the last share to go takes DPDK down.
pub struct Eal {
    pub(super) shared: Arc<Shared>,
}

/// What pools, ports and threads hold of EAL.
pub(super) struct Shared {
    started_by: ThreadId,
    pools: Mutex<Pools>,
    /// Ports that are started, so that none is started twice.
    pub(super) running: Mutex<BTreeSet<u16>>,
}

/// The pools there are, none of which goes before EAL does.
#[derive(Default)]
pub(super) struct Pools {
    pub(super) all: Vec<NonNull<sys::rte_mempool>>,
    /// A port frees what it sent to the only pool there is, without looking; so there must never be a second.
    pub(super) sealed: bool,
}

// SAFETY: DPDK's pools may be used and counted from any thread; the list itself is behind a lock.
unsafe impl Send for Pools {}

/// Whether EAL was ever started in this process; DPDK cannot be started again, not even after a failure.
static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK with `args`, which are EAL's own (`-l 0`, `--no-huge`, `--vdev=...`) without a program name.
    ///
    /// The calling thread becomes EAL's main lcore but keeps the processors it may run on. Give one lcore (`-l 0`):
    /// workers are threads of ours, pinned by us, and call [`Eal::register_thread`].
    ///
    /// # Errors
    /// When EAL was started before, an argument cannot be passed on, or EAL refuses.
    pub fn init(args: &[String]) -> Result<Eal, EalError> {
        let argv = c_strings(args)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyStarted);
        }
        // EAL permutes the array and keeps pointers into the strings for as long as the process lives.
        let argv: &mut [*mut c_char] = argv.into_iter().map(CString::into_raw).collect::<Vec<_>>().leak();
        let count = c_int::try_from(argv.len()).unwrap_or(c_int::MAX);
        // SAFETY: `argv` holds at least `count` C strings, and neither it nor they are ever freed.
        let code = unsafe { sys::pollux_eal_init(count, argv.as_mut_ptr()) };
        checked(code).map_err(|why| EalError::Start { arguments: args.join(" "), why })?;
        let started_by = thread::current().id();
        let shared = Shared { started_by, pools: Mutex::default(), running: Mutex::default() };
        Ok(Eal { shared: Arc::new(shared) })
    }

    /// The release that is running, such as `DPDK 22.11.11`.
    pub fn version() -> String {
        // SAFETY: needs no EAL.
        let text = unsafe { sys::rte_version() };
        // SAFETY: DPDK returns a static string.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// Whether EAL's memory is in huge pages; without them every table and packet costs more TLB misses.
    pub fn has_hugepages(&self) -> bool {
        // SAFETY: EAL is up while `self` is.
        unsafe { sys::rte_eal_has_hugepages() != 0 }
    }

    /// Makes the calling thread known to EAL, so that pools keep a cache of packets for it and need no shared access.
    ///
    /// # Errors
    /// When the thread is known already or EAL has no place left.
    pub fn register_thread(&self) -> Result<ThreadGuard, EalError> {
        // SAFETY: reads a variable of this thread.
        if unsafe { sys::pollux_thread_is_known() } {
            return Err(EalError::ThreadKnown);
        }
        // SAFETY: EAL is up while `self` is.
        let code = unsafe { sys::rte_thread_register() };
        if code < 0 {
            return Err(EalError::Thread(last_error()));
        }
        Ok(ThreadGuard { _shared: Arc::clone(&self.shared), _not_send: PhantomData })
    }
}

/// Sends EAL's log to `fd` instead of standard error; call it before [`Eal::init`] to catch the start, too.
///
/// # Errors
/// When the descriptor cannot be written to.
pub fn log_to(fd: OwnedFd) -> Result<(), EalError> {
    // SAFETY: the descriptor is ours to give, and nobody else closes it.
    let code = unsafe { sys::pollux_log_to_fd(fd.into_raw_fd()) };
    checked(code).map(drop).map_err(EalError::Log)
}

/// A thread's registration with EAL; it ends with the guard, which therefore cannot leave the thread.
pub struct ThreadGuard {
    _shared: Arc<Shared>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        // SAFETY: this thread registered itself when the guard was made, and the guard cannot be sent away.
        unsafe { sys::rte_thread_unregister() }
    }
}

impl Shared {
    pub(super) fn pools(&self) -> MutexGuard<'_, Pools> {
        lock(&self.pools)
    }

    /// Whether every packet is back in its pool.
    fn all_home(&self) -> bool {
        // SAFETY: pools live until EAL's end, which has not come.
        self.pools().all.iter().all(|pool| unsafe { sys::rte_mempool_in_use_count(pool.as_ptr()) } == 0)
    }
}

impl Drop for Shared {
    /// Takes EAL down when that is safe: on its main thread, with all packets home. Otherwise the process's end does.
    ///
    /// No thread can be in the middle of freeing the last packet: a registered one holds a share, the main thread is
    /// here, and what any other thread writes last to a pool is what makes the packet count as home.
    fn drop(&mut self) {
        if self.started_by == thread::current().id() && self.all_home() {
            // SAFETY: no pool handle, port or registered thread is left, since each holds a share, and no packet.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}

/// Locks a list. A panic elsewhere cannot leave it half changed, so poison means nothing here.
pub(super) fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

fn c_strings(args: &[String]) -> Result<Vec<CString>, EalError> {
    let program = std::iter::once("pollux");
    let convert = |argument: &str| {
        CString::new(argument).map_err(|_| EalError::ZeroByte { argument: argument.to_owned() })
    };
    program.chain(args.iter().map(String::as_str)).map(convert).collect()
}

/// DPDK's convention for results: negative is an error number.
pub(super) fn checked(code: c_int) -> io::Result<c_int> {
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(code) }
}

/// The error of a call that left it in `rte_errno`.
pub(super) fn last_error() -> io::Error {
    // SAFETY: reads a variable of this thread.
    io::Error::from_raw_os_error(unsafe { sys::pollux_errno() })
}
