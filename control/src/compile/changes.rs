//! What the last compilation changed, for those who keep books of their own.

use pollux_dataplane::service::DestinationId;

use super::FullKey;
use crate::model::ServiceKey;

/// What changed from one generation to the next.
#[derive(Debug, Default)]
pub struct Changes {
    /// Services that went.
    pub removed: Vec<ServiceKey>,
    /// Services that came.
    pub added: Vec<ServiceKey>,
    /// Destinations that went; their ids stay as long as they have connections.
    pub retired: Vec<DestinationId>,
    /// Destinations of services that came or changed.
    pub placed: Vec<(DestinationId, FullKey)>,
}
