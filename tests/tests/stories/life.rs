//! Stories of a daemon that ends and starts.

use pollux_tests::bed::command::Result;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

pub fn killed() -> Result<()> {
    let bed = Bed::new(2)?;
    let mut daemon = bed.daemon(&config(&rules::HTTP, 2), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.kill()?;
    assert!(bed.client.ping("10.9.9.1").is_err(), "somebody still answers for a dead balancer");
    drop(daemon);
    let daemon = bed.daemon(&config(&rules::HTTP, 2), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.balanced()
}

pub fn stopped() -> Result<()> {
    let bed = Bed::new(1)?;
    let mut daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.balanced()?;
    daemon.pollux("stop")?;
    daemon.ended()?;
    wait::until("the twins are gone", || Ok(bed.balancer.ip("link show pollux0").is_err().then_some(())))?;
    assert!(!daemon.socket().exists(), "the socket is left behind");
    Ok(())
}
