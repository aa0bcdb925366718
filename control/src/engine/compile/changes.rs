//! The changes made by the last compilation, from which the estimators are updated.

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::service::DestinationId;

use super::FullKey;
use crate::model::ServiceKey;

/// Changes from one generation to the next. Removals apply before additions.
#[derive(Debug, Default)]
pub struct Changes {
    /// Services removed; a service with the same key may also be in `services_added`.
    pub services_removed: Vec<ServiceKey>,
    /// Services added.
    pub services_added: HashSet<ServiceKey>,
    /// Destinations moved to the trash.
    pub destinations_removed: Vec<DestinationId>,
    /// Destinations of services that were added or changed.
    pub destinations_set: HashMap<DestinationId, FullKey>,
}

impl Changes {
    /// Records that a service was removed, perhaps one added in the same change.
    pub(super) fn service_removed(&mut self, key: ServiceKey) {
        self.services_added.remove(&key);
        self.services_removed.push(key);
    }

    /// Records that a destination was removed, perhaps one added in the same change.
    pub(super) fn destination_removed(&mut self, id: DestinationId) {
        self.destinations_set.remove(&id);
        self.destinations_removed.push(id);
    }
}
