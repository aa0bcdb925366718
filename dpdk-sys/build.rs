//! Finds libdpdk, compiles the shim against its headers, and generates Rust declarations for the allow-listed names.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The oldest supported release. The `RTE_ETH_*` names exist since 21.11; 22.11 is the oldest release that we test.
const OLDEST: &str = "22.11";

/// DPDK functions that Rust calls directly: exported, with plain arguments, and unchanged since 22.11.
const PLAIN: [&str; 22] = [
    "rte_dev_probe",
    "rte_eal_cleanup",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_rx_intr_disable",
    "rte_eth_dev_rx_intr_enable",
    "rte_eth_dev_set_link_down",
    "rte_eth_dev_set_link_up",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_allmulticast_enable",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_enable",
    "rte_get_tsc_hz",
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_pool_create",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
];

/// Prints an error on several lines; returned from `main` it would be one line with escapes.
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    for file in ["build.rs", "wrapper.h", "shim.c"] {
        println!("cargo:rerun-if-changed={file}");
    }
    let flags = compile_flags()?;
    compile_shim(&flags)?;
    write_bindings(&flags)?;
    // After the shim: a linker drops libraries that are not referenced yet, so the shim must come first.
    pkg_config::Config::new().atleast_version(OLDEST).probe("libdpdk").map_err(not_found)?;
    Ok(())
}

/// DPDK's headers need more flags than include paths (`-march`, `-include rte_config.h`), which `pkg_config` does not
/// return.
fn compile_flags() -> Result<Vec<String>, Box<dyn Error>> {
    pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_err(not_found)?;
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(program).args(["--cflags", "libdpdk"]).output()?;
    Ok(String::from_utf8(output.stdout)?.split_whitespace().map(str::to_owned).collect())
}

fn not_found(why: pkg_config::Error) -> String {
    format!(
        "DPDK {OLDEST} or newer was not found.\n  \
         Debian and Ubuntu: apt-get install libdpdk-dev libclang-dev pkg-config\n  \
         DPDK from source: set PKG_CONFIG_PATH to the directory of its libdpdk.pc\n  \
         without DPDK: leave the feature `dpdk` off\n\n{why}"
    )
}

fn compile_shim(flags: &[String]) -> Result<(), cc::Error> {
    let mut build = cc::Build::new();
    // Optimised in debug builds too, because the shim is on the packet path.
    build.file("shim.c").opt_level(3).std("gnu11").warnings(true).warnings_into_errors(false);
    for flag in flags {
        build.flag(flag);
    }
    build.flag("-Wno-deprecated-declarations").try_compile("pollux_shim")
}

fn write_bindings(flags: &[String]) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("bindings.rs");
    let mut builder = bindgen::builder()
        .header("wrapper.h")
        .clang_args(flags)
        .allowlist_function("pollux_.*")
        .allowlist_type("pollux_.*")
        // Types behind pointers stay opaque; src/lib.rs declares them.
        .allowlist_recursively(false)
        .use_core()
        .layout_tests(false)
        .generate_comments(false);
    for name in PLAIN {
        builder = builder.allowlist_function(name);
    }
    builder
        .generate()
        .map_err(|why| format!("{why}\n(bindgen needs libclang: apt-get install libclang-dev)"))?
        .write_to_file(out)?;
    Ok(())
}
