//! The changes made by the last compilation, from which the estimators are updated.

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::service::DestinationId;

use super::FullKey;
use crate::model::ServiceKey;

/// Changes from one generation to the next. Removals apply before additions.
#[derive(Debug, Default)]
pub struct Changes {
    /// Services removed; a service with the same key may also be in `added`.
    pub removed: Vec<ServiceKey>,
    /// Services added.
    pub added: HashSet<ServiceKey>,
    /// Destinations removed; their ids stay in use while they have connections.
    pub retired: Vec<DestinationId>,
    /// Destinations of services that were added or changed.
    pub placed: HashMap<DestinationId, FullKey>,
}

impl Changes {
    /// Records that a service was removed, perhaps one added in the same change.
    pub(super) fn service_removed(&mut self, key: ServiceKey) {
        self.added.remove(&key);
        self.removed.push(key);
    }

    /// Records that a destination was removed, perhaps one added in the same change.
    pub(super) fn destination_removed(&mut self, id: DestinationId) {
        self.placed.remove(&id);
        self.retired.push(id);
    }
}
