//! Stories of HTTP requests.

use std::collections::BTreeSet;
use std::fs;

use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::rules::{self, Rule, config};
use pollux_tests::bed::{Bed, wait};

/// Sends each service as many requests as it has servers; with round robin each server responds once.
pub fn all_answer(bed: &Bed, rules: &[Rule]) -> Result<()> {
    for rule in rules {
        let replies: BTreeSet<_> =
            bed.servers.iter().map(|_| bed.client.get(&rule.url())).collect::<Result<_>>()?;
        let names: BTreeSet<_> = bed.servers.iter().map(|server| server.name.clone()).collect();
        assert_eq!(replies, names, "{} {}", rule.method, rule.url());
    }
    Ok(())
}

/// Requests pages until each server has responded, so that every worker knows routes and neighbours.
/// Each worker has its own round robin, so with two of them a server may respond twice before another does.
pub fn warm_up(bed: &Bed) -> Result<()> {
    let mut replies = BTreeSet::new();
    wait::until("every server has responded", || {
        replies.insert(bed.client.get(&rules::HTTP[0].url())?);
        Ok((replies.len() == bed.servers.len()).then_some(()))
    })
}

pub fn every_method() -> Result<()> {
    let bed = Bed::new(3)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 3), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.accounts_for_all_packets()
}

pub fn mixed_tunnels() -> Result<()> {
    let bed = Bed::new(2)?;
    let daemon = bed.daemon(&config(&rules::MIXED, 2), 1)?;
    all_answer(&bed, &rules::MIXED)?;
    daemon.accounts_for_all_packets()
}

pub fn big_download() -> Result<()> {
    let bed = Bed::new(1)?;
    let rules = [rules::HTTP[0], rules::HTTP[3]];
    let daemon = bed.daemon(&config(&rules, 1), 1)?;
    for rule in rules {
        let file = bed.directory().join("download");
        output(bed.client.curl().arg("--output").arg(&file).arg(format!("{}big", rule.url())))?;
        assert!(fs::read(&file)? == bed.servers[0].big, "{}: the download differs", rule.url());
    }
    daemon.accounts_for_all_packets()
}

pub fn two_workers() -> Result<()> {
    let bed = Bed::new(3)?;
    let rules = [rules::HTTP[0], rules::HTTP[3]];
    let daemon = bed.daemon(&config(&rules, 3), 2)?;
    for rule in rules {
        for _ in 0..20 {
            bed.client.get(&rule.url())?;
        }
    }
    let stats = daemon.json("stats")?;
    let workers = stats["workers"].as_array().expect("stats has workers");
    assert_eq!(workers.len(), 2, "{stats:#}");
    assert!(workers.iter().all(|worker| worker["connections"].as_u64() > Some(0)), "{stats:#}");
    daemon.accounts_for_all_packets()
}
