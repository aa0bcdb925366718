//! Never queue: the first destination without active connections, or else as `sed` chooses. Spec 3.6.

use super::{Candidate, sed};
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(mut available: impl Iterator<Item = Candidate<'a>> + Clone) -> Option<DestinationId> {
    let idle = available.clone().find(|c| c.load.active == 0);
    idle.map(|c| c.id).or_else(|| sed::pick(available.by_ref()))
}
