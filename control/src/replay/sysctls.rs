//! The sysctls `net.ipv4.vs.*` as the recorded machine has them: what can be written, and what is read back.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Scheduler, Settings};

/// Where sysctls are in `/proc`.
pub const DIRECTORY: &str = "/proc/sys/net/ipv4/vs/";
const PREFIX: &str = "net.ipv4.vs.";

/// Why a value cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none of that name.
    Unknown,
    /// The value is out of range, or no number.
    Invalid,
}

/// Those that mean nothing to a data plane: they are kept and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctls {
    kept: BTreeMap<&'static str, i64>,
    /// The second number of `sync_threshold`.
    sync_period: i64,
    /// Schedulers whose module is loaded: two bring a sysctl.
    loaded: BTreeSet<&'static str>,
}

/// Names with their first values.
const KEPT: &[(&str, i64)] = &[
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

/// A sysctl's own name, from the name in `/proc` or with dots.
pub fn name(written: &str) -> Option<&str> {
    let name = written.strip_prefix(DIRECTORY).or_else(|| written.strip_prefix(PREFIX));
    name.filter(|name| !name.is_empty() && !name.contains('/'))
}

impl Sysctls {
    /// Loads a scheduler's module, as its use does.
    pub fn load(&mut self, scheduler: Scheduler) {
        self.loaded.insert(scheduler.name());
    }

    /// Whether there is a sysctl of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.read(name, &Settings::default()).is_some()
    }

    /// Writes one as the kernel does.
    ///
    /// # Errors
    /// When there is none, or the value does not do; then nothing has changed.
    pub fn write(&mut self, name: &str, text: &str, settings: &mut Settings) -> Result<(), Fault> {
        if !self.knows(name) {
            return Err(Fault::Unknown);
        }
        let mut numbers = text.split_whitespace().map(integer);
        let first = numbers.next().flatten().ok_or(Fault::Invalid)?;
        let second = numbers.next().flatten();
        if name == "sync_threshold" {
            return self.threshold(first, second);
        }
        let fits = match name {
            "drop_entry" | "drop_packet" | "secure_tcp" | "sync_retries" => (0..=3).contains(&first),
            "sync_version" => (0..=1).contains(&first),
            "sync_ports" => (1..=64).contains(&first) && first.is_positive() && (first & (first - 1)) == 0,
            "lblc_expiration" | "lblcr_expiration" | "sync_qlen_max" | "sync_sock_size" => first >= 0,
            _ => true,
        };
        if !fits {
            return Err(Fault::Invalid);
        }
        match (field(settings, name), name) {
            // A machine with memory to spare makes the automatic defences idle at once.
            (Some(field), "drop_entry" | "drop_packet" | "secure_tcp") if first == 2 => *field = 1,
            (Some(field), _) => *field = first,
            (None, "lblc_expiration") => settings.lblc_expiration = first.unsigned_abs(),
            (None, "lblcr_expiration") => settings.lblcr_expiration = first.unsigned_abs(),
            (None, _) => {
                if let Some(kept) = self.kept.get_mut(name) {
                    *kept = first.into();
                }
            }
        }
        Ok(())
    }

    /// Two numbers, of which the second may stay as it is.
    fn threshold(&mut self, first: i32, second: Option<i32>) -> Result<(), Fault> {
        let second = second.map_or(self.sync_period, i64::from);
        let first = i64::from(first);
        if first < 0 || second < 0 || (second != 0 && first >= second) {
            return Err(Fault::Invalid);
        }
        self.kept.insert("sync_threshold", first);
        self.sync_period = second;
        Ok(())
    }

    /// What is read back.
    pub fn read(&self, name: &str, settings: &Settings) -> Option<String> {
        let module = name.strip_suffix("_expiration");
        let number = match (field(&mut settings.clone(), name).copied(), module) {
            (Some(number), _) => number.into(),
            (None, Some("lblc")) if self.loaded.contains("lblc") => settings.lblc_expiration.into(),
            (None, Some("lblcr")) if self.loaded.contains("lblcr") => settings.lblcr_expiration.into(),
            _ => *self.kept.get(name)?,
        };
        Some(if name == "sync_threshold" {
            format!("{number}\t{}", self.sync_period)
        } else {
            number.to_string()
        })
    }
}

fn field<'a>(settings: &'a mut Settings, name: &str) -> Option<&'a mut i32> {
    Some(match name {
        "amemthresh" => &mut settings.amemthresh,
        "am_droprate" => &mut settings.am_droprate,
        "drop_entry" => &mut settings.drop_entry,
        "drop_packet" => &mut settings.drop_packet,
        "secure_tcp" => &mut settings.secure_tcp,
        "snat_reroute" => &mut settings.snat_reroute,
        "cache_bypass" => &mut settings.cache_bypass,
        "expire_nodest_conn" => &mut settings.expire_nodest_conn,
        "expire_quiescent_template" => &mut settings.expire_quiescent_template,
        "sloppy_tcp" => &mut settings.sloppy_tcp,
        "sloppy_sctp" => &mut settings.sloppy_sctp,
        "nat_icmp_send" => &mut settings.nat_icmp_send,
        "pmtu_disc" => &mut settings.pmtu_disc,
        "backup_only" => &mut settings.backup_only,
        "conn_reuse_mode" => &mut settings.conn_reuse_mode,
        "schedule_icmp" => &mut settings.schedule_icmp,
        "ignore_tunneled" => &mut settings.ignore_tunneled,
        "run_estimation" => &mut settings.run_estimation,
        _ => return None,
    })
}

/// A number of C: decimal, octal after `0`, hexadecimal after `0x`.
fn integer(text: &str) -> Option<i32> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (digits, radix) = match digits.strip_prefix('0') {
        Some("") | None => (digits, 10),
        Some(rest) => rest.strip_prefix(['x', 'X']).map_or((rest, 8), |hex| (hex, 16)),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
    let value = if plain { i64::from_str_radix(digits, radix).ok()? } else { return None };
    i32::try_from(sign * value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_and_read_back_as_the_kernel_does() {
        let rows = [
            ("drop_entry", "3", Ok(()), "3"),
            ("drop_entry", "4", Err(Fault::Invalid), "3"),
            ("drop_entry", "2", Ok(()), "1"),
            ("drop_entry", "foo", Err(Fault::Invalid), "1"),
            ("sloppy_tcp", "-3", Ok(()), "-3"),
            ("sloppy_tcp", "2147483648", Err(Fault::Invalid), "-3"),
            ("conn_reuse_mode", "77", Ok(()), "77"),
            ("am_droprate", "0x10", Ok(()), "16"),
            ("am_droprate", "1 2", Ok(()), "1"),
            ("am_droprate", "", Err(Fault::Invalid), "1"),
            ("sync_ports", "3", Err(Fault::Invalid), "1"),
            ("sync_ports", "64", Ok(()), "64"),
            ("sync_ports", "65", Err(Fault::Invalid), "64"),
            ("sync_version", "2", Err(Fault::Invalid), "1"),
            ("sync_retries", "4", Err(Fault::Invalid), "0"),
            ("sync_threshold", "5", Ok(()), "5\t50"),
            ("sync_threshold", "7 3", Err(Fault::Invalid), "5\t50"),
            ("sync_threshold", "7 0", Ok(()), "7\t0"),
        ];
        let (mut sysctls, mut settings) = (Sysctls::default(), Settings::default());
        for (name, text, outcome, back) in rows {
            assert_eq!(sysctls.write(name, text, &mut settings), outcome, "{name} {text}");
            assert_eq!(sysctls.read(name, &settings).as_deref(), Some(back), "{name} {text}");
        }
    }

    #[test]
    fn a_modules_sysctl_comes_with_it() {
        let (mut sysctls, mut settings) = (Sysctls::default(), Settings::default());
        assert_eq!(sysctls.write("lblc_expiration", "5", &mut settings), Err(Fault::Unknown));
        sysctls.load(Scheduler::Lblc);
        assert_eq!(sysctls.write("lblc_expiration", "5", &mut settings), Ok(()));
        assert_eq!(settings.lblc_expiration, 5);
        assert_eq!(sysctls.read("lblcr_expiration", &settings), None);
        assert_eq!(name("/proc/sys/net/ipv4/vs/drop_entry"), Some("drop_entry"));
        assert_eq!(name("net.ipv4.ip_forward"), None);
    }
}
