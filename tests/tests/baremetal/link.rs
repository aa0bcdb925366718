//! Stories of the cards themselves, and of a cable that is unplugged.

use std::time::Duration;

use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::guest::CARDS;
use pollux_tests::bed::metal::{Metal, Mtu};
use pollux_tests::bed::rules::HTTP;
use pollux_tests::bed::wait;

/// Time limit of a change of the link, which drivers may check only every few seconds.
const SOON: Duration = Duration::from_secs(10);

pub fn bound(metal: &mut Metal) -> Result<()> {
    for card in CARDS {
        let device = format!("/sys/bus/pci/devices/{card}");
        let found =
            metal.guest.run(&format!("basename $(readlink {device}/driver); ls -d {device}/iommu_group"))?;
        if !found.starts_with("vfio-pci\n") {
            return Err(Error(format!("{card} is bound to {found}")));
        }
    }
    metal.daemon(Mtu::Standard)?;
    let stats = metal.json("stats")?;
    let names: Vec<_> = stats["ports"].as_array().into_iter().flatten().map(|port| &port["name"]).collect();
    if names != CARDS { Err(Error(format!("polluxd has other ports: {stats:#}"))) } else { Ok(()) }
}

/// Every line of `check-host` begins with its outcome.
pub fn approved(metal: &mut Metal) -> Result<()> {
    let checks = metal.pollux("check-host")?;
    if checks.contains("vfio-pci") && checks.lines().all(|line| line.starts_with("ok ")) {
        return Ok(());
    }
    Err(Error(format!("check-host is not content:\n{checks}")))
}

pub fn resumes(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    metal.all_answer(&HTTP[0])?;
    unplugged(metal, |metal| {
        wait::within(SOON, "pollux stats shows the link down", || Ok((!link_up(metal)?).then_some(())))?;
        metal.is_silent("although the link is off")
    })?;
    wait::within(SOON, "pollux stats shows the link up", || Ok(link_up(metal)?.then_some(())))?;
    wait::until("the kernel answers again", || Ok(metal.bed.client.ping("10.1.0.254").ok()))?;
    metal.all_answer(&HTTP[0])?;
    metal.accounts_for_all_packets()
}

/// BIRD, FRR and routes with a next hop for each link depend on the carrier.
pub fn carrier(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    let shows = |metal: &Metal, state: &str| {
        let carrier = metal.guest.run("cat /sys/class/net/pollux0/carrier")?;
        Ok((carrier.trim() == state).then_some(()))
    };
    wait::within(SOON, "the twin has a carrier", || shows(metal, "1"))?;
    unplugged(metal, |metal| wait::within(SOON, "the twin has lost its carrier", || shows(metal, "0")))?;
    wait::within(SOON, "the twin has its carrier again", || shows(metal, "1"))
}

/// Unplugs the first card's cable for the time of a story's part.
fn unplugged(metal: &Metal, part: impl FnOnce(&Metal) -> Result<()>) -> Result<()> {
    metal.guest.set_link(0, false)?;
    let done = part(metal);
    metal.guest.set_link(0, true)?;
    done
}

fn link_up(metal: &Metal) -> Result<bool> {
    Ok(metal.json("stats")?["ports"][0]["link_up"] == true)
}
