//! Starts EAL without huge pages or PCI, and sends buffers through a device that returns them: a pair of rings.

#![allow(unsafe_code, reason = "it tests the foreign surface itself")]

use std::ffi::CString;
use std::ptr;

use dpdk_sys::*;

const FRAMES: u16 = 8;

/// EAL starts once per process, so this is one test.
#[test]
fn frames_go_out_and_come_back() {
    start_eal();
    let pool = make_pool();
    let port = start_ring_port(pool);
    let mut sent = [ptr::null_mut(); FRAMES as usize];
    for slot in &mut sent {
        // SAFETY: the pool was made above and lives until the process ends.
        *slot = unsafe { pollux_mbuf_alloc(pool) };
        assert!(!slot.is_null(), "a fresh pool has buffers");
    }
    // SAFETY: the mirror has the layout of an mbuf's first line (shim.c asserts it).
    let first = unsafe { &*sent[0].cast::<pollux_mbuf>() };
    assert_eq!((first.nb_segs, first.refcnt, first.data_len), (1, 1, 0));
    // SAFETY: reads a constant.
    assert_eq!(first.data_off, unsafe { pollux_headroom() });

    // SAFETY: queue 0 is set up, and the array holds FRAMES buffers that nothing else uses.
    assert_eq!(unsafe { pollux_tx_burst(port, 0, sent.as_mut_ptr(), FRAMES) }, FRAMES);
    let mut back = [ptr::null_mut(); FRAMES as usize];
    // SAFETY: as above; the array has room for FRAMES pointers.
    assert_eq!(unsafe { pollux_rx_burst(port, 0, back.as_mut_ptr(), FRAMES) }, FRAMES);
    assert_eq!(back, sent, "a ring gives back the same buffers in order");

    // SAFETY: the pool is alive.
    assert_eq!(unsafe { rte_mempool_in_use_count(pool) }, u32::from(FRAMES));
    for buffer in back {
        // SAFETY: these buffers came out of the ring and each is freed once.
        unsafe { pollux_mbuf_free(buffer) };
    }
    // SAFETY: the pool is alive.
    assert_eq!(unsafe { rte_mempool_in_use_count(pool) }, 0);
    stop(port);
}

fn start_eal() {
    let prefix = format!("dpdk-sys-{}", std::process::id());
    let args = [
        "test",
        "--no-huge",
        "-m",
        "128",
        "--no-pci",
        "-l",
        "0",
        "--file-prefix",
        &prefix,
        "--vdev=net_ring0",
    ];
    let owned: Vec<CString> = args.iter().map(|arg| CString::new(*arg).expect("no NUL")).collect();
    // EAL permutes its argument vector and keeps pointers into it.
    let argv: &mut [_] = owned.into_iter().map(CString::into_raw).collect::<Vec<_>>().leak();
    let count = i32::try_from(argv.len()).expect("few arguments");
    // SAFETY: argv holds `count` strings that live as long as the process.
    assert_eq!(unsafe { pollux_eal_init(count, argv.as_mut_ptr()) }, 0, "EAL starts");
    // SAFETY: no argument; asks for the calling thread only.
    assert!(unsafe { pollux_thread_is_known() }, "the thread that started EAL is its main lcore");
}

fn make_pool() -> *mut rte_mempool {
    // SAFETY: EAL is up, and the name is a C string.
    let pool = unsafe { rte_pktmbuf_pool_create(c"eal-test".as_ptr(), 255, 32, 0, 2176, 0) };
    assert!(!pool.is_null(), "a small pool fits");
    pool
}

fn start_ring_port(pool: *mut rte_mempool) -> u16 {
    // SAFETY: EAL is up.
    let port = unsafe { pollux_port_next(0) };
    // SAFETY: reads a constant.
    assert_ne!(port, unsafe { pollux_no_port() }, "the ring device is there");
    let conf = pollux_port_conf {
        queues: 1,
        mtu: 1500,
        rss: false,
        rss_key: std::ptr::null(),
        interrupts: false,
        scatter: false,
    };
    // SAFETY: the port exists and the configuration outlives the call.
    assert_eq!(unsafe { pollux_port_configure(port, &conf) }, 0);
    // SAFETY: the port has one queue, and the pool outlives the port.
    assert_eq!(unsafe { pollux_rx_queue_setup(port, 0, 256, pool) }, 0);
    // SAFETY: the port has one queue.
    assert_eq!(unsafe { pollux_tx_queue_setup(port, 0, 256) }, 0);
    // SAFETY: the port is configured.
    assert_eq!(unsafe { rte_eth_dev_start(port) }, 0);
    port
}

fn stop(port: u16) {
    // SAFETY: the port was started above.
    assert_eq!(unsafe { rte_eth_dev_stop(port) }, 0);
    // SAFETY: the port is stopped and used no more.
    assert_eq!(unsafe { rte_eth_dev_close(port) }, 0);
    // SAFETY: no buffer is out and no port open.
    assert_eq!(unsafe { rte_eal_cleanup() }, 0);
}
