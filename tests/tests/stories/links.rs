//! Stories of ports as interfaces: links, carriers and MAC addresses of the twins.

use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

/// The MAC address of virtual router 51.
const VIRTUAL_ROUTER: &str = "00:00:5e:00:01:33";

/// Reads a file of the balancer's `/sys`; an interface that is down has no carrier to read.
fn read(bed: &Bed, path: &str) -> String {
    output(bed.balancer.command("cat").arg(path)).unwrap_or_default().trim().to_owned()
}

pub fn twin_down() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    all_answer(&bed, &rules::HTTP[..2])?;
    bed.balancer.ip("link set pollux0 down")?;
    let refused = || Ok(bed.client.get(&rules::HTTP[1].url()).is_err().then_some(()));
    wait::until("a service with direct routing is fenced off", refused)?;
    bed.balancer.ip("link set pollux0 up")?;
    wait::until("it answers again", || Ok(bed.client.get(&rules::HTTP[1].url()).ok()))?;
    assert!(daemon.log().contains(", as its twin is"), "{}", daemon.log());
    daemon.accounts_for_all_packets()
}

pub fn carrier() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon_on_taps(&config(&rules::HTTP, 1), &[])?;
    let carrier = |want: &str| {
        wait::until("the twin has its port's carrier", || {
            Ok((read(&bed, "/sys/class/net/pollux1/carrier") == want).then_some(()))
        })
    };
    all_answer(&bed, &rules::HTTP[..1])?;
    carrier("1")?;
    bed.balancer.ip("link set back-tap down")?;
    carrier("0")?;
    let stats = daemon.json("stats")?;
    assert_eq!(stats["ports"][1]["link_up"], false, "{stats:#}");
    assert_eq!(stats["ports"][1]["counters"]["link_changes"], 1, "{stats:#}");
    bed.balancer.ip("link set back-tap up")?;
    carrier("1")?;
    wait::until("the service answers again", || Ok(bed.client.get(&rules::HTTP[0].url()).ok()))?;
    let log = daemon.log();
    assert_eq!(log.matches("port net_tap1: link down").count(), 1, "{log}");
    assert_eq!(log.matches("port net_tap1: link up").count(), 1, "{log}");
    daemon.accounts_for_all_packets()
}

pub fn addresses() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    bed.balancer.ip("link set pollux0 address 02:00:00:00:99:07")?;
    wait::until("the service answers at the twin's new address", || {
        Ok(bed.client.get(&rules::HTTP[0].url()).ok())
    })?;
    wait::until("the device has the twin's new address", || {
        Ok((daemon.json("stats")?["ports"][0]["mac"] == "02:00:00:00:99:07").then_some(()))
    })?;
    // As keepalived does with use_vmac.
    bed.balancer
        .ip(&format!("link add vrrp.51 link pollux0 address {VIRTUAL_ROUTER} type macvlan mode private"))?;
    bed.balancer.ip("link set vrrp.51 up")?;
    bed.balancer.address("10.1.0.253/32", "vrrp.51")?;
    bed.client
        .namespace
        .ip("neighbour replace 10.1.0.253 dev net0 lladdr 00:00:5e:00:01:33 nud permanent")?;
    bed.client.namespace.ip("route replace 10.9.9.1 via 10.1.0.253 dev net0 src 10.1.0.1")?;
    wait::until("the service answers at the virtual router's address", || {
        Ok(bed.client.get(&rules::HTTP[0].url()).ok())
    })?;
    bed.balancer.ip("link delete vrrp.51")?;
    let refused = || Ok(bed.client.get(&rules::HTTP[0].url()).is_err().then_some(()));
    wait::until("without the macvlan its frames are another host's", refused)?;
    daemon.accounts_for_all_packets()
}
