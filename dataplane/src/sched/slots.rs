//! Tables of `dh`, `sh` and `mh`: computed when destinations change, looked up for each new connection.

use std::sync::Arc;

use super::{Loads, PickContext, dh, mh, sh};
use crate::service::{Destination, DestinationId, Scheduler};

/// What the `slots` of a service, of IPv6 or IPv4, must be: empty for schedulers without a table, and where there is
/// nobody to choose.
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

/// Looks up the slot of `place(0)`; with fallback, when that one's destination is not usable, further ones.
pub fn look_up<L: Loads>(
    scene: &PickContext<'_, L>,
    count: u32,
    place: impl Fn(u32) -> u32,
) -> Option<DestinationId> {
    let at = |place: u32| scene.service.slots.get(place as usize).copied().flatten();
    let first = place(0);
    let chosen = at(first)?;
    if scene.is_usable(chosen) {
        return Some(chosen);
    }
    // Without the second condition a packet to a service that is all down would cost `count` hashes.
    if !scene.service.fallback || !scene.service.destinations.iter().any(|&id| scene.is_usable(id)) {
        return None;
    }
    for further in 0..count {
        let next = at(place((further + first) % count))?;
        if scene.is_usable(next) {
            return Some(next);
        }
    }
    None
}

/// The client's port when the service hashes it, else 0.
pub fn l4_port<L: Loads>(scene: &PickContext<'_, L>) -> u32 {
    if scene.service.hash_l4_port { scene.client.l4_port.into() } else { 0 }
}
