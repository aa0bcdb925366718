//! The sysctls `net.ipv4.vs.*` of the recorded machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::sysctl::{self, PREFIX, Values};
use crate::model::{Config, Scheduler, Settings};

/// Directory of the sysctls.
pub const DIRECTORY: &str = "/proc/sys/net/ipv4/vs/";

/// Reason why a value cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysctlError {
    /// There is no such sysctl.
    Unknown,
    /// The value is out of range or not a number.
    Invalid,
}

/// Sysctls without effect on a data plane, which are only stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctls {
    kept: BTreeMap<&'static str, i32>,
    /// The second number of `sync_threshold`.
    sync_period: i32,
    /// Schedulers whose module is loaded: two bring a sysctl.
    loaded: BTreeSet<&'static str>,
}

/// Names and defaults.
const KEPT: &[(&str, i32)] = &[
    ("conntrack", 0),
    ("debug_level", 0),
    ("sync_persist_mode", 0),
    ("sync_ports", 1),
    ("sync_qlen_max", 1855),
    ("sync_refresh_period", 0),
    ("sync_retries", 0),
    ("sync_sock_size", 0),
    ("sync_threshold", 3),
    ("sync_version", 1),
];

impl Default for Sysctls {
    fn default() -> Sysctls {
        Sysctls { kept: KEPT.iter().copied().collect(), sync_period: 50, loaded: BTreeSet::new() }
    }
}

/// The name of a sysctl without its prefix, from a path in `/proc` or a name with dots.
pub fn name(written: &str) -> Option<&str> {
    let name = written.strip_prefix(DIRECTORY).or_else(|| written.strip_prefix(PREFIX));
    name.filter(|name| !name.is_empty() && !name.contains('/'))
}

impl Sysctls {
    /// Loads the module of a scheduler, as its use does.
    pub fn load(&mut self, scheduler: Scheduler) {
        self.loaded.insert(scheduler.name());
    }

    /// Writes a value as the kernel does.
    ///
    /// # Errors
    /// If there is no such sysctl or the value is invalid; then nothing changes.
    pub fn write(&mut self, name: &str, text: &str, config: &mut Config) -> Result<(), SysctlError> {
        self.read(name, &config.settings).ok_or(SysctlError::Unknown)?;
        let mut words = text.split_whitespace();
        let first = words.next().ok_or(SysctlError::Invalid)?;
        if name == "sync_threshold" {
            return self.threshold(first, words.next());
        }
        let Some(kept) = self.kept.get_mut(name) else {
            // With enough free memory the automatic defences become inactive at once.
            let modes = ["drop_entry", "drop_packet", "secure_tcp"];
            let value = if modes.contains(&name) && first == "2" { "1" } else { first };
            let values = Values { values: [(name.to_owned(), value.to_owned())].into() };
            return sysctl::write(config, &values).map_err(|_| SysctlError::Invalid);
        };
        let value = first.parse::<i32>().map_err(|_| SysctlError::Invalid)?;
        let fits = match name {
            "sync_retries" => (0..=3).contains(&value),
            "sync_version" => (0..=1).contains(&value),
            "sync_ports" => (1..=64).contains(&value) && value.count_ones() == 1,
            "sync_qlen_max" | "sync_sock_size" => value >= 0,
            _ => true,
        };
        if !fits {
            return Err(SysctlError::Invalid);
        }
        *kept = value;
        Ok(())
    }

    /// Two numbers; without the second its value is kept.
    fn threshold(&mut self, first: &str, second: Option<&str>) -> Result<(), SysctlError> {
        let number = |text: &str| text.parse::<i32>().map_err(|_| SysctlError::Invalid);
        let first = number(first)?;
        let second = second.map_or(Ok(self.sync_period), number)?;
        if first < 0 || second < 0 || (second != 0 && first >= second) {
            return Err(SysctlError::Invalid);
        }
        self.kept.insert("sync_threshold", first);
        self.sync_period = second;
        Ok(())
    }

    /// Reads a value; `None` if there is no such sysctl.
    pub fn read(&self, name: &str, settings: &Settings) -> Option<String> {
        if let Some(kept) = self.kept.get(name) {
            let threshold = || format!("{kept}\t{}", self.sync_period);
            return Some(if name == "sync_threshold" { threshold() } else { kept.to_string() });
        }
        // Only newer kernels have these.
        let newer = matches!(name, "est_cpulist" | "est_nice" | "conn_lfactor" | "svc_lfactor");
        let module = name.strip_suffix("_expiration");
        let missing = newer || module.is_some_and(|module| !self.loaded.contains(module));
        if missing { None } else { sysctl::read(settings, name).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_and_read_as_in_the_kernel() {
        let rows = [
            ("drop_entry", "3", Ok(()), "3"),
            ("drop_entry", "4", Err(SysctlError::Invalid), "3"),
            ("drop_entry", "2", Ok(()), "1"),
            ("drop_entry", "foo", Err(SysctlError::Invalid), "1"),
            ("sloppy_tcp", "-3", Ok(()), "-3"),
            ("sloppy_tcp", "2147483648", Err(SysctlError::Invalid), "-3"),
            ("conn_reuse_mode", "77", Ok(()), "77"),
            ("am_droprate", "0x10", Ok(()), "16"),
            ("am_droprate", "1 2", Ok(()), "1"),
            ("am_droprate", "", Err(SysctlError::Invalid), "1"),
            ("sync_ports", "3", Err(SysctlError::Invalid), "1"),
            ("sync_ports", "64", Ok(()), "64"),
            ("sync_ports", "65", Err(SysctlError::Invalid), "64"),
            ("sync_version", "2", Err(SysctlError::Invalid), "1"),
            ("sync_retries", "4", Err(SysctlError::Invalid), "0"),
            ("sync_threshold", "5", Ok(()), "5\t50"),
            ("sync_threshold", "7 3", Err(SysctlError::Invalid), "5\t50"),
            ("sync_threshold", "7 0", Ok(()), "7\t0"),
        ];
        let (mut sysctls, mut config) = (Sysctls::default(), Config::default());
        for (name, text, outcome, back) in rows {
            assert_eq!(sysctls.write(name, text, &mut config), outcome, "{name} {text}");
            assert_eq!(sysctls.read(name, &config.settings).as_deref(), Some(back), "{name} {text}");
        }
    }

    #[test]
    fn a_modules_sysctl_exists_once_it_is_loaded() {
        let (mut sysctls, mut config) = (Sysctls::default(), Config::default());
        assert_eq!(sysctls.write("lblc_expiration", "5", &mut config), Err(SysctlError::Unknown));
        sysctls.load(Scheduler::Lblc);
        assert_eq!(sysctls.write("lblc_expiration", "5", &mut config), Ok(()));
        assert_eq!(config.settings.lblc_expiration, 5);
        assert_eq!(sysctls.read("lblcr_expiration", &config.settings), None);
        assert_eq!(sysctls.read("est_nice", &config.settings), None);
        assert_eq!(name("/proc/sys/net/ipv4/vs/drop_entry"), Some("drop_entry"));
        assert_eq!(name("net.ipv4.ip_forward"), None);
    }
}
