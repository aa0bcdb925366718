//! Which flows each worker owns, and at which worker their packets arrive.

use std::time::Duration;

use pollux_control::engine::compile::Compiler;
use pollux_control::model::Config;
use pollux_control::model::parse;
use pollux_dataplane::parse::{Parsed, parse as parse_packet};
use pollux_dataplane::steer::Steering;

use crate::frame;
use crate::kinds::Family;
use crate::random::shuffled;
use crate::world::PORTS;
use pollux_tests::bed::command::{Error, Result};

/// Flows in order, by worker.
pub type Lists = Vec<Vec<u32>>;

/// At which worker packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrive {
    /// There is one worker.
    Alone,
    /// At the owner of their flow.
    Own,
    /// Every second flow at the other worker.
    Half,
    /// All at the other worker.
    Other,
}

impl Arrive {
    /// Description.
    pub fn words(self) -> &'static str {
        match self {
            Arrive::Alone => "one worker",
            Arrive::Own => "two, all at the owner",
            Arrive::Half => "two, half at the other worker",
            Arrive::Other => "two, all at the other worker",
        }
    }

    /// Returns the flows that arrive at each worker. All packets of a flow arrive at the same one.
    pub fn lists(self, owned: &Lists) -> Lists {
        match self {
            Arrive::Alone => vec![owned.concat()],
            Arrive::Own => owned.clone(),
            Arrive::Other => owned.iter().rev().cloned().collect(),
            Arrive::Half => {
                let part = |me: usize| {
                    let (mine, others) = (&owned[me], &owned[1 - me]);
                    let both = mine.iter().step_by(2).chain(others.iter().skip(1).step_by(2));
                    let both: Vec<u32> = both.copied().collect();
                    shuffled(both.len() as u32, 3).into_iter().map(|at| both[at as usize]).collect()
                };
                vec![part(0), part(1)]
            }
        }
    }
}

/// Returns the first `each` flows of each worker, in random order.
///
/// # Errors
/// If the configuration is rejected.
pub fn owned(config: &str, steering: &Steering, each: u32) -> Result<Lists> {
    let config: Config = parse::toml(config).map_err(|wrong| Error(wrong.to_string()))?;
    let mut compiler = Compiler::new(&config.start, PORTS[..2].iter().map(|port| port.name.to_owned()));
    let failed = |why: &dyn std::fmt::Display| Error(why.to_string());
    if let Some(network_state) = &config.network {
        compiler.set_network(network_state).map_err(|why| failed(&why))?;
    }
    let (snapshot, _) = compiler.configure(&config, Duration::ZERO).map_err(|why| failed(&why))?;
    let (mut lists, mut parsed) = (vec![Vec::new(); usize::from(steering.workers)], Parsed::NOTHING);
    for flow in 0.. {
        let frame = frame::request(Family::Ipv4, flow, 60);
        let read = parse_packet(&frame, &mut parsed).is_ok();
        let owner = steering.owner(&parsed, 0, &snapshot).filter(|_| read);
        let owner = owner.ok_or_else(|| Error(format!("flow {flow} has no owner")))?;
        let list: &mut Vec<u32> = &mut lists[usize::from(owner.0)];
        if list.len() < each as usize {
            list.push(flow);
        }
        if lists.iter().all(|list| list.len() == each as usize) {
            break;
        }
    }
    let mix = |list: Vec<u32>| shuffled(each, 1).into_iter().map(|at| list[at as usize]).collect();
    Ok(lists.into_iter().map(mix).collect())
}
