//! The arguments that DPDK needs for interfaces, and sensible ones for what the command line leaves out.

use std::fs;

use super::request::Mode;

/// An interface as a DPDK port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name of the interface.
    pub interface: String,
    /// How DPDK gets its frames.
    pub mode: Mode,
    /// Name of its TAP.
    pub tap: String,
    /// Its hardware address.
    pub mac: String,
}

impl Port {
    /// Name of the port, as in `[[ports]]` and `pollux stats`: `net_tap_eth1`.
    pub fn name(&self) -> String {
        format!("{}_{}", self.mode.driver(), self.interface)
    }

    /// The argument that creates the port, with a queue for each worker.
    fn argument(&self, workers: usize) -> String {
        let Port { interface, tap, mac, .. } = self;
        let details = match self.mode {
            Mode::Tap => format!("iface={tap},mac={mac}"),
            Mode::Packet => format!("iface={interface},qpairs={workers}"),
            Mode::Xdp { zero_copy: false } => format!("iface={interface},queue_count={workers},force_copy=1"),
            Mode::Xdp { zero_copy: true } => format!("iface={interface},queue_count={workers}"),
        };
        format!("--vdev={},{details}", self.name())
    }
}

/// The machine's resources, as far as DPDK's arguments depend on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: Vec<usize>,
    /// Whether there are free huge pages.
    pub huge_pages: bool,
}

impl Machine {
    /// Looks at this machine.
    pub fn read() -> Machine {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
        let free = |size: fs::DirEntry| fs::read_to_string(size.path().join("free_hugepages"));
        let huge_pages = sizes.filter_map(|size| free(size).ok()).any(|free| free.trim() != "0");
        Machine { cores: cores.into_iter().map(|core| core.id).collect(), huge_pages }
    }
}

/// Megabytes without huge pages: for any port, and for each queue.
const MEGABYTES: usize = 512;
const MEGABYTES_PER_QUEUE: usize = 64;

/// Adds what the command line leaves out: a core for control and one for a worker; no other devices unless some are
/// named; ordinary memory if there are no huge pages; and nothing that keeps a second `polluxd` from starting.
pub fn defaults(given: &[String], interfaces: usize, machine: &Machine) -> Vec<String> {
    let has = |names: &[&str]| given.iter().any(|argument| is_one_of(argument, names));
    let mut arguments = given.to_vec();
    let mut workers = 1;
    if has(&["-l", "--lcores", "-c"]) {
        workers = machine.cores.len();
    } else if let [first, rest @ ..] = machine.cores.as_slice() {
        let list = rest.first().map_or(first.to_string(), |second| format!("{first},{second}"));
        arguments.extend(["-l".to_owned(), list]);
    }
    if !has(&["-a", "--allow", "-b", "--block", "--no-pci"]) {
        arguments.push("--no-pci".to_owned());
    }
    let no_huge = has(&["--no-huge"]);
    let memory_given =
        has(&["-m", "--socket-mem", "--huge-dir", "--in-memory", "--file-prefix", "--legacy-mem"]);
    if no_huge || !machine.huge_pages && !memory_given {
        if !no_huge {
            arguments.push("--no-huge".to_owned());
        }
        if !has(&["-m"]) {
            let megabytes = MEGABYTES + MEGABYTES_PER_QUEUE * workers * interfaces;
            arguments.extend(["-m".to_owned(), megabytes.to_string()]);
        }
        if !has(&["--file-prefix", "--no-shconf"]) {
            arguments.push("--no-shconf".to_owned());
        }
    } else if !memory_given {
        arguments.push("--in-memory".to_owned());
    }
    arguments
}

/// Adds the ports.
pub fn ports(mut arguments: Vec<String>, ports: &[Port], workers: usize) -> Vec<String> {
    arguments.extend(ports.iter().map(|port| port.argument(workers)));
    arguments
}

/// Whether an argument is one of these: `-l 0,1`, `-l0,1`, `--lcores=0,1`.
fn is_one_of(argument: &str, names: &[&str]) -> bool {
    let is = |name: &&str| match name.strip_prefix("--") {
        Some(_) => argument.split('=').next() == Some(name),
        None => argument.starts_with(name),
    };
    names.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(given: &str, huge_pages: bool) -> String {
        let given: Vec<String> = given.split(' ').map(str::to_owned).collect();
        defaults(&given, 2, &Machine { cores: vec![2, 5, 6], huge_pages }).join(" ")
    }

    #[test]
    fn interfaces_alone_are_enough() {
        assert_eq!(with("polluxd", true), "polluxd -l 2,5 --no-pci --in-memory");
        assert_eq!(with("polluxd", false), "polluxd -l 2,5 --no-pci --no-huge -m 640 --no-shconf");
        let one = Machine { cores: vec![3], huge_pages: true };
        assert_eq!(defaults(&["polluxd".to_owned()], 1, &one).join(" "), "polluxd -l 3 --no-pci --in-memory");
    }

    #[test]
    fn what_is_given_stays() {
        assert_eq!(with("polluxd -l 0-3 -a 0:3.0", true), "polluxd -l 0-3 -a 0:3.0 --in-memory");
        assert_eq!(
            with("polluxd --lcores=0,1 --no-huge -m 100 --file-prefix=a", true),
            "polluxd --lcores=0,1 --no-huge -m 100 --file-prefix=a --no-pci"
        );
        assert_eq!(
            with("polluxd -l0,1 --no-pci --file-prefix=a", false),
            "polluxd -l0,1 --no-pci --file-prefix=a"
        );
    }

    #[test]
    fn ports_have_stable_names_and_a_queue_for_each_worker() {
        let port = |mode| Port {
            interface: "eth1".to_owned(),
            mode,
            tap: "dtap-eth1".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
        };
        let modes = [
            (Mode::Tap, "--vdev=net_tap_eth1,iface=dtap-eth1,mac=02:00:00:00:00:01"),
            (Mode::Packet, "--vdev=net_af_packet_eth1,iface=eth1,qpairs=3"),
            (Mode::Xdp { zero_copy: false }, "--vdev=net_af_xdp_eth1,iface=eth1,queue_count=3,force_copy=1"),
            (Mode::Xdp { zero_copy: true }, "--vdev=net_af_xdp_eth1,iface=eth1,queue_count=3"),
        ];
        for (mode, argument) in modes {
            assert_eq!(ports(Vec::new(), &[port(mode)], 3), [argument]);
        }
    }
}
