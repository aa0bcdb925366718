//! The tables of `dh`, `sh` and `mh`: built when destinations change, looked up for each new connection.

use std::sync::Arc;

use super::{Loads, PickContext, dh, mh, sh};
use crate::service::{Destination, DestinationId, Scheduler};

/// Builds the slots of a service. They are empty for schedulers without a table, and for a service without usable
/// destinations.
pub fn slots<'a>(
    scheduler: Scheduler,
    ipv6: bool,
    list: &[DestinationId],
    lookup: impl Fn(DestinationId) -> Option<&'a Destination>,
) -> Arc<[Option<DestinationId>]> {
    let known: Vec<(DestinationId, &Destination)> =
        list.iter().filter_map(|&id| Some((id, lookup(id)?))).collect();
    match scheduler {
        Scheduler::Dh => dh::slots(&known).into(),
        Scheduler::Sh => sh::slots(&known).into(),
        Scheduler::Mh => mh::slots(ipv6, &known).into(),
        _ => Arc::new([]),
    }
}

/// Looks up the destination of slot `slot(0)`. If it is not usable and the service has the fallback flag, tries the
/// slots of further offsets.
pub fn lookup<L: Loads>(
    context: &PickContext<'_, L>,
    count: u32,
    slot: impl Fn(u32) -> u32,
) -> Option<DestinationId> {
    let destination = |slot: u32| context.service.slots.get(slot as usize).copied().flatten();
    let first = slot(0);
    let chosen = destination(first)?;
    if context.is_usable(chosen) {
        return Some(chosen);
    }
    // The second condition saves `count` hashes per packet when all destinations are down.
    if !context.service.fallback || !context.service.destinations.iter().any(|&id| context.is_usable(id)) {
        return None;
    }
    for offset in 0..count {
        let next = destination(slot((offset + first) % count))?;
        if context.is_usable(next) {
            return Some(next);
        }
    }
    None
}

/// The client's port if the service hashes it, or else 0.
pub fn hashed_l4_port<L: Loads>(context: &PickContext<'_, L>) -> u32 {
    if context.service.hash_l4_port { context.client.l4_port.into() } else { 0 }
}
