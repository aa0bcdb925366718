//! Checks of machines made of files.

use super::*;

const READY: &[(&str, &str)] = &[
    ("proc/meminfo", "MemTotal:       9000000 kB\nMemAvailable:   8000000 kB\n"),
    ("proc/cpuinfo", "flags\t\t: fpu sse4_2 avx\n"),
    ("proc/self/status", "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-2,5\n"),
    ("dev/net/tun", ""),
    ("etc/ld.so.conf.d/local.conf", "# ours\n/opt/dpdk/lib\n"),
    ("opt/dpdk/lib/librte_eal.so.23", ""),
    ("sys/kernel/iommu_groups/0/x", ""),
    ("sys/bus/pci/drivers/vfio-pci/0000:3b:00.0", ""),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "1024\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "1000\n"),
];

fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn nic(root: &Path, address: &str, driver: &str, interface: &str) {
    let device = root.join("sys/bus/pci/devices").join(address);
    fs::create_dir_all(device.join("net").join(interface)).unwrap();
    fs::write(device.join("class"), "0x020000\n").unwrap();
    std::os::unix::fs::symlink(format!("../../../bus/pci/drivers/{driver}"), device.join("driver")).unwrap();
}

fn named<'a>(checks: &'a [Check], name: &str) -> Vec<&'a Check> {
    checks.iter().filter(|check| check.name == name).collect()
}

fn one(files: &[(&str, &str)], name: &str) -> Check {
    named(&checks(machine(files).path()), name)[0].clone()
}

#[test]
fn an_empty_machine_lacks_dpdk_and_every_problem_has_a_hint() {
    let checks = checks(machine(&[]).path());
    let failed: Vec<_> = checks.iter().filter(|c| c.outcome == Outcome::Fail).map(|c| c.name).collect();
    assert_eq!(failed, ["dpdk"]);
    assert!(!ready(&checks));
    assert!(checks.iter().all(|c| c.outcome == Outcome::Ok || !c.hint.is_empty()));
}

#[test]
fn a_ready_machine_passes_all_checks() {
    let root = machine(READY);
    nic(root.path(), "0000:3b:00.0", "vfio-pci", "x");
    let checks = checks(root.path());
    assert!(checks.iter().all(|c| c.outcome == Outcome::Ok), "{checks:?}");
    let found = |name| named(&checks, name)[0].found.as_str();
    assert_eq!(found("huge pages"), "node0: 1024 of 2048kB, 1000 free");
    assert_eq!(found("dpdk"), "22.11 or a later release with its ABI, /opt/dpdk/lib/librte_eal.so.23");
    assert_eq!(found("cpu"), "sse4.2");
    assert_eq!(found("cores"), "4 (0-2,5)");
    assert_eq!(found("memory"), "7812 MiB available");
}

#[test]
fn an_old_cpu_fails() {
    let check = one(&[("proc/cpuinfo", "flags\t\t: fpu sse2\n")], "cpu");
    assert_eq!(check.outcome, Outcome::Fail);
}

#[test]
fn an_old_dpdk_fails() {
    let old = [("usr/lib/librte_eal.so", ""), ("usr/lib/librte_eal.so.22", "")];
    let check = one(&old, "dpdk");
    assert_eq!(check.outcome, Outcome::Fail);
    assert_eq!(check.found, "21.11 or a later release with its ABI, /usr/lib/librte_eal.so.22");
    assert_eq!(one(&old[..1], "dpdk").found, "unknown version, /usr/lib/librte_eal.so");
}

#[test]
fn huge_pages_are_checked_on_each_node() {
    let root = machine(READY);
    fs::create_dir_all(root.path().join("sys/devices/system/node/node1/hugepages/hugepages-2048kB")).unwrap();
    let checks = checks(root.path());
    let nodes = named(&checks, "huge pages");
    assert_eq!(nodes.iter().map(|c| c.outcome).collect::<Vec<_>>(), [Outcome::Ok, Outcome::Warn]);
    assert!(nodes[1].hint.contains("node1/hugepages/hugepages-2048kB/nr_hugepages"), "{}", nodes[1].hint);
}

#[test]
fn without_nodes_huge_pages_come_from_meminfo() {
    let check =
        one(&[("proc/meminfo", "HugePages_Total:    1024\nHugePages_Free:     1000\n")], "huge pages");
    assert_eq!((check.outcome, check.found.as_str()), (Outcome::Ok, "1024, 1000 free"));
}

#[test]
fn scarce_resources_are_warnings() {
    let status = "CapEff:\t0000000000001000\nCpus_allowed_list:\t3\n";
    let scarce = [("proc/self/status", status), ("proc/meminfo", "MemAvailable:   20000 kB\n")];
    assert_eq!(one(&scarce, "cores").found, "1 (3)");
    assert_eq!(one(&scarce, "capabilities").found, "lacks cap_net_raw, cap_ipc_lock");
    assert_eq!(one(&scarce, "memory").found, "19 MiB available");
    for name in ["cores", "capabilities", "memory"] {
        assert_eq!(one(&scarce, name).outcome, Outcome::Warn, "{name}");
    }
}

#[test]
fn nics_of_the_kernel_can_be_bound_or_shared() {
    let root = machine(READY);
    nic(root.path(), "0000:03:00.0", "ixgbe", "eth0");
    nic(root.path(), "0000:03:00.1", "ixgbe", "eth1");
    let all = checks(root.path());
    let ports = named(&all, "port");
    assert_eq!((ports.len(), ports[1].outcome), (2, Outcome::Warn));
    assert_eq!(ports[1].found, "0000:03:00.1 on ixgbe, eth1");
    assert!(ports[1].hint.contains("dpdk-devbind.py -b vfio-pci 0000:03:00.1"), "{}", ports[1].hint);
    nic(root.path(), "0000:05:00.0", "mlx5_core", "eth2");
    assert!(named(&checks(root.path()), "port").iter().all(|check| check.outcome == Outcome::Ok));
}
