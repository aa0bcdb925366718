//! Weighted overflow: the destination with the highest weight whose active connections do not exceed it. Spec 3.7.

use super::{Candidate, fo};
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    fo::pick(available.filter(|c| c.load.active <= c.destination.weight))
}
