//! The test network with a guest in place of the balancer: `polluxd` on emulated network cards, bound to vfio-pci.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Bed;
use super::command::{Error, Result, output};
use super::guest::{CARDS, Guest, Model, tail};
use super::rules::{self, Rule};
use super::{daemon, wait};

/// Number of real servers.
pub const SERVERS: usize = 2;
/// Time limit of the start of `polluxd`, which maps and clears its memory on an emulated processor.
const START: Duration = Duration::from_secs(60);
const LOG: &str = "/root/log";

/// MTU of the ports and of the whole network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// 1500 bytes.
    Standard,
    /// 9000 bytes.
    Jumbo,
}

impl Mtu {
    /// Returns it in bytes.
    pub fn bytes(self) -> u16 {
        match self {
            Mtu::Standard => 1500,
            Mtu::Jumbo => 9000,
        }
    }
}

/// The network, the guest, and what runs in it. Dropping it removes everything.
pub struct Metal {
    /// The model of the network cards.
    pub model: Model,
    /// The guest; it goes before the network.
    pub guest: Guest,
    /// Client and servers.
    pub bed: Bed,
    /// The MTU with which `polluxd` was started; none if it does not run.
    running: Option<Mtu>,
}

impl Metal {
    /// Builds the network and boots the guest. `packages` is the root directory of the packages of `scripts/baremetal`.
    ///
    /// # Errors
    /// If something cannot be built or started.
    pub fn boot(model: Model, packages: &Path) -> Result<Metal> {
        let bed = Bed::new(SERVERS)?;
        let guest = bed.guest(model, packages)?;
        let metal = Metal { model, guest, bed, running: None };
        CARDS.iter().try_for_each(|card| metal.bind(card))?;
        Ok(metal)
    }

    /// Binds a network card to vfio-pci, as `dpdk-devbind.py` does.
    fn bind(&self, card: &str) -> Result<()> {
        let device = format!("/sys/bus/pci/devices/{card}");
        self.guest.run(&format!(
            "echo vfio-pci >{device}/driver_override || exit
             [ ! -e {device}/driver ] || echo {card} >{device}/driver/unbind || exit
             echo {card} >/sys/bus/pci/drivers_probe"
        ))?;
        Ok(())
    }

    /// Starts `polluxd` unless it runs with this MTU already.
    ///
    /// # Errors
    /// If it does not become ready; the message contains its log.
    pub fn daemon(&mut self, mtu: Mtu) -> Result<()> {
        if self.running == Some(mtu) {
            return Ok(());
        }
        self.kill()?;
        self.bed.set_mtu(mtu.bytes())?;
        self.start(mtu)?;
        self.running = Some(mtu);
        Ok(())
    }

    /// Kills `polluxd` with SIGKILL, if it runs, and waits until it is gone.
    ///
    /// # Errors
    /// If it does not go.
    pub fn kill(&mut self) -> Result<()> {
        self.running = None;
        self.guest.run(
            "pid=$(cat /run/polluxd.pid 2>/dev/null) || exit 0
             kill -9 \"$pid\" 2>/dev/null
             for i in $(seq 200); do kill -0 \"$pid\" 2>/dev/null || exit 0; usleep 50000; done
             echo \"polluxd is still there 10 s after its kill\"; exit 1",
        )?;
        Ok(())
    }

    fn start(&self, mtu: Mtu) -> Result<()> {
        let (config, workers) = (self.config(mtu), self.model.workers());
        let devices = CARDS.map(|card| format!("-a {card}")).join(" ");
        self.guest.run(&format!(
            "cat >/root/pollux.toml <<'END'\n{config}\nEND
             polluxd -l 0-{workers} {devices} -- --config /root/pollux.toml --no-state --idle sleep \\
                 </dev/null >{LOG} 2>&1 &
             echo $! >/run/polluxd.pid"
        ))?;
        wait::within(START, "polluxd is ready in the guest", || {
            // The log is read after the process is looked for, so that the last words are in it.
            let text =
                self.guest.run(&format!("kill -0 $(cat /run/polluxd.pid) && echo alive; cat {LOG}"))?;
            if text.contains("polluxd: ready") {
                return Ok(Some(()));
            }
            if text.starts_with("alive") { Ok(None) } else { Err(Error("polluxd has exited".to_owned())) }
        })?;
        self.addresses()
    }

    fn config(&self, mtu: Mtu) -> String {
        let rules = [&rules::HTTP[..], &[rules::ECHO]].concat();
        let mut text = rules::config(&rules, SERVERS);
        for (card, role) in CARDS.iter().zip(["clients", "servers"]) {
            let facing =
                if self.model.workers() > 1 { format!("facing = \"{role}\"") } else { String::new() };
            text += &format!("\n[[ports]]\nname = \"{card}\"\nmtu = {}\n{facing}\n", mtu.bytes());
        }
        text
    }

    /// Assigns addresses to the twins, and virtual addresses to the loopback.
    fn addresses(&self) -> Result<()> {
        let mut script = String::new();
        for (address, twin) in daemon::TWINS {
            script += &format!("/usr/sbin/ip address add {address} dev {twin} nodad || exit\n");
        }
        for vip in rules::VIPS {
            script += &format!("/usr/sbin/ip address replace {vip} dev lo || exit\n");
        }
        self.guest.run(&script).map(drop)
    }

    /// Runs `pollux` with these arguments in the guest and returns its output.
    ///
    /// # Errors
    /// If it fails.
    pub fn pollux(&self, words: &str) -> Result<String> {
        self.guest.run(&format!("pollux {words}"))
    }

    /// Runs `pollux --json` in the guest and parses the reply.
    ///
    /// # Errors
    /// If it fails or the reply is not JSON.
    pub fn json(&self, words: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.pollux(&format!("--json {words}"))?)?)
    }

    /// Returns a counter's sum over all workers.
    ///
    /// # Errors
    /// If `pollux stats` fails.
    pub fn sum(&self, counter: &str) -> Result<u64> {
        let stats = self.json("stats")?;
        let workers = stats["workers"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(workers.iter().filter_map(|worker| worker[counter].as_u64()).sum())
    }

    /// Waits until all packets are accounted for.
    ///
    /// # Errors
    /// If the sums still differ after the time limit.
    pub fn accounts_for_all_packets(&self) -> Result<()> {
        daemon::accounts_for_all_packets(|| self.json("stats"))
    }

    /// Requests pages of a service until each of its servers has responded. Each worker has its own round robin.
    ///
    /// # Errors
    /// If a request fails, or a server never responds.
    pub fn all_answer(&self, rule: &Rule) -> Result<()> {
        let mut missing: Vec<_> = self.bed.servers.iter().map(|server| server.name.clone()).collect();
        wait::until(&format!("every server of {} responds", rule.url()), || {
            let answer = self.bed.client.get(&rule.url())?;
            missing.retain(|name| *name != answer);
            Ok(missing.is_empty().then_some(()))
        })
    }

    /// Checks that the balancer's address does not answer a ping within a second.
    ///
    /// # Errors
    /// If it does.
    pub fn is_silent(&self, why: &str) -> Result<()> {
        let mut ping = self.bed.client.namespace.command("ping");
        match output(ping.args(["-c", "1", "-W", "1", "10.1.0.254"])) {
            Ok(_) => Err(Error(format!("a ping is answered {why}"))),
            Err(_) => Ok(()),
        }
    }

    /// Returns what `polluxd` has logged since it was ready, or all if it was not, and the end of the guest's console.
    pub fn logs(&self) -> String {
        let log = self.guest.run(&format!("cat {LOG} 2>/dev/null")).unwrap_or_else(|error| error.to_string());
        let log = log.split_once("polluxd: ready").map_or(log.as_str(), |(_start, rest)| rest);
        format!(
            "--- polluxd in the guest\n{}\n--- the guest's console\n{}",
            tail(log, 30),
            self.guest.console()
        )
    }
}
