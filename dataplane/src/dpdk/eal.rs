//! DPDK's run-time environment (EAL). Started once per process, it owns the memory and the drivers.
//!
//! EAL is shut down only when its memory is no longer in use: pools, ports and registered threads each hold a reference
//! to it, and it stays up until the process ends if packets are still outside their pools.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use dpdk_sys as sys;

/// Errors of EAL.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// DPDK cannot be started again, neither after a failure nor after a clean end.
    #[error("EAL was started before; DPDK allows that once per process")]
    AlreadyStarted,
    /// An argument contains a zero byte, which ends a C string.
    #[error("EAL argument {argument:?} contains a zero byte; remove it")]
    ZeroByte {
        /// The argument as it was given.
        argument: String,
    },
    /// DPDK did not start; its log has details.
    #[error(
        "EAL did not start with `{arguments}`: {why}; its log names the argument or resource that failed"
    )]
    Start {
        /// The arguments, separated by spaces.
        arguments: String,
        /// DPDK's error.
        why: io::Error,
    },
    /// The thread is registered already; a second registration would take another entry of DPDK's table.
    #[error("this thread is registered with EAL already")]
    ThreadKnown,
    /// DPDK's table of threads is full (`RTE_MAX_LCORE`, usually 128).
    #[error("EAL did not register the thread: {0}; use fewer lcores in EAL's arguments")]
    Thread(io::Error),
}

/// The running DPDK. It is shut down with the last reference to it.
pub struct Eal {
    pub(super) shared: Arc<Shared>,
}

/// The part of EAL that pools, ports and threads refer to.
pub(super) struct Shared {
    started_by: ThreadId,
    pools: Mutex<Pools>,
    /// Started ports, so that none is started twice.
    pub(super) running: Mutex<BTreeSet<u16>>,
}

/// All pools. They live until EAL is shut down.
#[derive(Default)]
pub(super) struct Pools {
    pub(super) all: Vec<NonNull<sys::rte_mempool>>,
}

// SAFETY: DPDK's pools may be used and counted from any thread; the list itself is behind a lock.
unsafe impl Send for Pools {}

/// Whether EAL has been started in this process. DPDK cannot be started again, not even after a failure.
static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK with EAL arguments (`-l 0`, `--no-huge`, `--vdev=...`), without a program name.
    ///
    /// The calling thread becomes EAL's main lcore but keeps its CPU affinity. Give one lcore (`-l 0`): workers are
    /// our own threads, which we pin and which call [`Eal::register_thread`].
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

    /// The DPDK version, such as `DPDK 22.11.11`.
    pub fn version() -> String {
        // SAFETY: needs no EAL.
        let text = unsafe { sys::rte_version() };
        // SAFETY: DPDK returns a static string.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// Registers the calling thread with EAL, so that pools have a cache of packets for it.
    ///
    /// # Errors
    /// When the thread is registered already, or EAL's table of threads is full.
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

/// A thread's registration with EAL. Dropping it unregisters the thread, so it cannot be sent to another one.
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

    /// Whether all packets are back in their pools.
    fn all_packets_free(&self) -> bool {
        // SAFETY: pools live until EAL is shut down.
        self.pools().all.iter().all(|pool| unsafe { sys::rte_mempool_in_use_count(pool.as_ptr()) } == 0)
    }
}

impl Drop for Shared {
    /// Shuts EAL down if that is safe: on its main thread, with all packets in their pools. Otherwise it stays up
    /// until the process ends.
    ///
    /// No thread can be in the middle of freeing the last packet: registered threads hold a reference, the main
    /// thread is here, and any other thread's last write to a pool is the one that makes the packet count as free.
    fn drop(&mut self) {
        if self.started_by == thread::current().id() && self.all_packets_free() {
            // SAFETY: no pool handle, port, registered thread or packet is left; all but packets hold a reference.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}

/// Locks a list. A panic cannot leave it half changed, so poisoning is ignored.
pub(super) fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

fn c_strings(args: &[String]) -> Result<Vec<CString>, EalError> {
    let program = std::iter::once("polluxd");
    let convert = |argument: &str| {
        CString::new(argument).map_err(|_| EalError::ZeroByte { argument: argument.to_owned() })
    };
    program.chain(args.iter().map(String::as_str)).map(convert).collect()
}

/// Converts DPDK's results: a negative number is an errno.
pub(super) fn checked(code: c_int) -> io::Result<c_int> {
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(code) }
}

/// The error in `rte_errno`.
pub(super) fn last_error() -> io::Error {
    // SAFETY: reads a variable of this thread.
    io::Error::from_raw_os_error(unsafe { sys::pollux_errno() })
}
