//! The machine and the software of a run.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use pollux_tests::bed::command::{Error, Result, output};

/// Conditions of a run.
pub struct Conditions {
    /// Processor model.
    pub cpu: String,
    /// Frequency of the time stamp counter, in GHz.
    pub gigahertz: f64,
    /// Number of CPUs.
    pub cpus: usize,
    /// Caches of the first CPU, by level.
    pub caches: String,
    /// It runs under a hypervisor.
    pub virtual_machine: bool,
    /// Kernel release.
    pub kernel: String,
    /// DPDK version.
    pub dpdk: String,
    /// Version of the project, from git.
    pub commit: String,
    /// Date and time in UTC.
    pub date: String,
    /// Number of 2 MiB huge pages.
    pub huge_pages: u32,
    /// Load average of the last minute when the run began.
    pub load: String,
}

impl Conditions {
    /// Reads the conditions.
    ///
    /// # Errors
    /// If the frequency of the time stamp counter is unknown.
    pub fn read(huge: bool) -> Result<Conditions> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let number = |name: &str| field(name).and_then(|text| text.parse::<f64>().ok());
        // Bogomips are twice the frequency of the time stamp counter in MHz, if there is one.
        let megahertz = number("bogomips").map(|twice| twice / 2.0).or_else(|| number("cpu MHz"));
        let megahertz = megahertz.ok_or_else(|| {
            Error("/proc/cpuinfo has neither bogomips nor cpu MHz; how fast is it?".to_owned())
        })?;
        let pages = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
        Ok(Conditions {
            cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            gigahertz: megahertz / 1000.0,
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
            caches: caches(),
            virtual_machine: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            dpdk: said("pkg-config", &["--modversion", "libdpdk"]),
            commit: said("git", &["describe", "--always", "--dirty"]),
            date: said("date", &["-u", "+%F %R"]),
            huge_pages: if huge { pages.trim().parse().unwrap_or(0) } else { 0 },
            load: fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(1).collect(),
        })
    }

    /// Description.
    pub fn text(&self) -> String {
        let machine = if self.virtual_machine { "virtual machine" } else { "machine" };
        format!(
            "{}, {} CPUs at {:.2} GHz (TSC), {}, {machine}, Linux {}, DPDK {}, {} huge pages of 2 MiB, \
             {} UTC, commit {}, load average at the start {}",
            self.cpu,
            self.cpus,
            self.gigahertz,
            self.caches,
            self.kernel,
            self.dpdk,
            self.huge_pages,
            self.date,
            self.commit,
            self.load
        )
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        json!({
            "cpu": self.cpu, "tsc_gigahertz": self.gigahertz, "cpus": self.cpus, "caches": self.caches,
            "virtual_machine": self.virtual_machine, "kernel": self.kernel, "dpdk": self.dpdk,
            "commit": self.commit, "date_utc": self.date, "huge_pages": self.huge_pages,
            "load_average": self.load,
        })
    }
}

/// Data caches: `L1 48K, L2 1024K, L3 32768K`.
fn caches() -> String {
    let read = |index: u32, file: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
        fs::read_to_string(path).map(|text| text.trim().to_owned()).ok()
    };
    let of_data = |&index: &u32| read(index, "type").is_some_and(|kind| kind != "Instruction");
    let all = (0..6).filter(of_data);
    let named = all.filter_map(|index| Some(format!("L{} {}", read(index, "level")?, read(index, "size")?)));
    named.collect::<Vec<_>>().join(", ")
}

/// Output of a program, or "unknown".
fn said(program: &str, words: &[&str]) -> String {
    output(Command::new(program).args(words))
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_described() {
        let conditions = Conditions::read(false).unwrap();
        assert!((0.5..10.0).contains(&conditions.gigahertz), "{}", conditions.gigahertz);
        assert_eq!(conditions.json()["huge_pages"], 0);
    }
}
