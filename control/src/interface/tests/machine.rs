//! A machine made of the settings of one interface. Any command can fail, and the past is kept, so that a test can begin
//! where a crash would have ended it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::json;

use super::super::InterfaceError;
use super::super::journal::Journal;
use super::super::request::{self, Request};
use super::super::system::System;
use super::super::take::Interfaces;

/// What `eth1` has. The name of an address or a route is what `ip` needs to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub flags: BTreeMap<&'static str, bool>,
    pub sysctls: BTreeMap<String, String>,
    pub offloads: BTreeMap<String, bool>,
    pub addresses: BTreeMap<String, String>,
    pub routes: BTreeMap<String, String>,
    /// By interface, since the TAP has them, too.
    pub qdiscs: BTreeMap<String, &'static str>,
    pub filters: BTreeMap<String, String>,
}

pub struct Shared {
    pub settings: Settings,
    /// Index of the interface: that of a claim, so each test has its own.
    pub index: u32,
    pub journal: PathBuf,
    /// The settings and the file before each command.
    pub history: Vec<(Settings, Option<String>)>,
    pub fails_at: Option<usize>,
    pub carrier: Option<bool>,
    pub other_macs: bool,
    /// The carrier that the TAP was given.
    pub told: Option<String>,
}

#[derive(Clone)]
pub struct Machine(pub Rc<RefCell<Shared>>);

static INDEX: AtomicU32 = AtomicU32::new(0);

impl Machine {
    pub fn new(settings: Settings, directory: &Path) -> Machine {
        let index = std::process::id() << 9 | INDEX.fetch_add(1, Relaxed);
        let journal = directory.join("control.interfaces");
        let history = Vec::new();
        Machine(Rc::new(RefCell::new(Shared {
            settings,
            index,
            journal,
            history,
            fails_at: None,
            carrier: None,
            other_macs: false,
            told: None,
        })))
    }

    pub fn take(&self, requests: &str, take_over: bool) -> Result<Interfaces<Machine>, InterfaceError> {
        let requests: Vec<Request> =
            requests.split_whitespace().map(|text| request::parse(text).unwrap()).collect();
        let journal = Journal::beside(&self.0.borrow().journal.with_extension("sock"));
        Interfaces::take(&requests, take_over, journal, self.clone())
    }

    pub fn settings(&self) -> Settings {
        self.0.borrow().settings.clone()
    }

    /// A machine after a crash.
    pub fn reset(&self, settings: Settings, journal: Option<&str>) {
        let shared = &mut *self.0.borrow_mut();
        (shared.settings, shared.history) = (settings, Vec::new());
        _ = fs::remove_file(&shared.journal);
        if let Some(text) = journal {
            fs::write(&shared.journal, text).unwrap();
        }
    }

    /// `ip`, `tc` and `ethtool`, as far as they are used. `None` if this use is unknown.
    fn command(&self, program: &str, words: &[&str]) -> Option<String> {
        let shared = &mut *self.0.borrow_mut();
        if let ["link", "set", "dev", "dtap-eth1", "carrier", word] = words {
            shared.told = Some((*word).to_owned());
            return Some(String::new());
        }
        match program {
            "ip" => ip(&mut shared.settings, shared.index, words),
            "tc" => tc(&mut shared.settings, words),
            _ => ethtool(&mut shared.settings, words),
        }
    }

    /// Keeps what a crash at this moment would leave, and returns true if this command is to fail.
    fn record(&self) -> bool {
        let shared = &mut *self.0.borrow_mut();
        shared.history.push((shared.settings.clone(), fs::read_to_string(&shared.journal).ok()));
        shared.fails_at == Some(shared.history.len())
    }
}

impl System for Machine {
    fn run(&self, program: &'static str, words: &[&str]) -> Result<String, InterfaceError> {
        let failed = |why: &str| InterfaceError::Command {
            command: format!("{program} {}", words.join(" ")),
            why: why.to_owned(),
            hint: "",
        };
        if self.record() {
            return Err(failed("made to fail"));
        }
        Ok(self.command(program, words).unwrap_or_else(|| panic!("{}", failed("not known to this test"))))
    }

    fn sysctl(&self, key: &str) -> Option<String> {
        self.0.borrow().settings.sysctls.get(key).cloned()
    }

    fn carrier(&self, _link: &str) -> Option<bool> {
        self.0.borrow().carrier
    }

    fn receives_other_macs(&self, _link: &str, _mac: &str) -> bool {
        self.0.borrow().other_macs
    }

    fn set_sysctl(&self, key: &str, value: &str) -> Result<(), InterfaceError> {
        self.record();
        self.0.borrow_mut().settings.sysctls.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

fn ip(settings: &mut Settings, index: u32, words: &[&str]) -> Option<String> {
    match words {
        ["-json", "-details", "address", "show"] => return Some(link(settings, index)),
        ["-json", "-4", "route", ..] => {
            return Some(
                json!(
                    settings
                        .routes
                        .keys()
                        .map(|to| json!({ "dst": to, "protocol": "static" }))
                        .collect::<Vec<_>>()
                )
                .to_string(),
            );
        }
        ["-json", "-6", "route", ..] => return Some("[]".to_owned()),
        ["link", "set", "dev", "eth1", "up"] => _ = settings.flags.insert("UP", true),
        ["link", "set", "dev", "eth1", "down"] => _ = settings.flags.insert("UP", false),
        ["link", "set", "dev", "eth1", "xdp", "off"] => _ = settings.flags.insert("XDP", false),
        ["link", "set", "dev", "eth1", "arp", value] => {
            settings.flags.insert("NOARP", *value == "off");
        }
        ["link", "set", "dev", "eth1", "promisc", value] => {
            settings.flags.insert("PROMISC", *value == "on");
        }
        ["link", "set", "dev", "eth1", "allmulticast", value] => {
            settings.flags.insert("ALLMULTI", *value == "on");
        }
        ["address", "flush", "dev", "eth1", "to", address] => {
            settings.addresses.retain(|prefix, _| prefix.split('/').next() != Some(address));
        }
        ["address", "replace", prefix, rest @ .., "dev", "eth1"] => {
            settings.addresses.insert((*prefix).to_owned(), rest.join(" "));
        }
        ["-4", "route", "flush", "table", "all", "exact", to, "dev", "eth1"] => {
            settings.routes.remove(*to);
        }
        ["-4", "route", "replace", to, rest @ .., "dev", "eth1"] => {
            settings.routes.insert((*to).to_owned(), rest.join(" "));
        }
        _ => return None,
    }
    Some(String::new())
}

fn tc(settings: &mut Settings, words: &[&str]) -> Option<String> {
    match words {
        ["-json", "qdisc", "show", "dev", name] => {
            let kinds: Vec<_> =
                settings.qdiscs.get(*name).map(|kind| json!({ "kind": kind })).into_iter().collect();
            return Some(json!(kinds).to_string());
        }
        ["-json", "filter", "show", "dev", name, "ingress"] => {
            let filters: Vec<_> = settings.filters.get(*name).into_iter().collect();
            return Some(json!(filters).to_string());
        }
        ["qdisc", "add", "dev", name, "clsact"] if !settings.qdiscs.contains_key(*name) => {
            settings.qdiscs.insert((*name).to_owned(), "clsact");
        }
        ["qdisc", "delete", "dev", name, "clsact"] => {
            settings.qdiscs.remove(*name)?;
            settings.filters.remove(*name);
        }
        ["filter", "replace", "dev", name, "ingress", .., to] if settings.qdiscs.contains_key(*name) => {
            settings.filters.insert((*name).to_owned(), (*to).to_owned());
        }
        ["filter", "delete", "dev", name, "ingress", "pref", "1"] => {
            settings.filters.remove(*name)?;
        }
        _ => return None,
    }
    Some(String::new())
}

fn ethtool(settings: &mut Settings, words: &[&str]) -> Option<String> {
    match words {
        ["-k", "eth1"] => {
            let line =
                |(name, on): (&String, &bool)| format!("\t{name}: {}\n", if *on { "on" } else { "off" });
            return Some(settings.offloads.iter().map(line).collect());
        }
        ["-K", "eth1", name, value] => {
            let printed = [("lro", "large-receive-offload"), ("gro", "generic-receive-offload")];
            let printed = printed.iter().find(|(short, _)| short == name).map_or(*name, |(_, long)| long);
            *settings.offloads.get_mut(printed)? = *value == "on";
        }
        _ => return None,
    }
    Some(String::new())
}

fn link(settings: &Settings, index: u32) -> String {
    let flags: Vec<_> = settings.flags.iter().filter(|(_, on)| **on).map(|(flag, _)| flag).collect();
    let address = |(prefix, _): (&String, &String)| {
        let (local, length) = prefix.split_once('/').unwrap_or((prefix, "32"));
        json!({ "family": "inet", "local": local, "prefixlen": length.parse::<u8>().unwrap_or(32), "scope": "global" })
    };
    let addresses: Vec<_> = settings.addresses.iter().map(address).collect();
    json!([
        { "ifindex": 1, "ifname": "lo", "link_type": "loopback" },
        { "ifindex": index, "ifname": "eth1", "link_type": "ether", "address": "02:00:00:00:00:01", "mtu": 1500,
          "xdp": settings.flags["XDP"].then_some(1), "flags": flags, "addr_info": addresses },
        { "ifindex": 3, "ifname": "eth2", "link_type": "ether", "master": "br0" },
        { "ifindex": 4, "ifname": "eth3", "link_type": "ether" },
        { "ifindex": 5, "ifname": "eth3.7", "link": "eth3", "link_type": "ether", "linkinfo": { "info_kind": "vlan" } },
    ])
    .to_string()
}
