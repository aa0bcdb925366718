//! What the last compilation changed, for those who keep books of their own.

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::service::DestinationId;

use super::FullKey;
use crate::model::ServiceKey;

/// What changed from one generation to the next: first what was there goes, then what is there now comes.
#[derive(Debug, Default)]
pub struct Changes {
    /// Services that went; another one of the same key may have come.
    pub removed: Vec<ServiceKey>,
    /// Services that came.
    pub added: HashSet<ServiceKey>,
    /// Destinations that went; their ids stay as long as they have connections.
    pub retired: Vec<DestinationId>,
    /// Destinations of services that came or changed.
    pub placed: HashMap<DestinationId, FullKey>,
}

impl Changes {
    /// A service goes, perhaps one that came just now.
    pub(super) fn service_goes(&mut self, key: ServiceKey) {
        self.added.remove(&key);
        self.removed.push(key);
    }

    /// A destination goes, perhaps one that came just now.
    pub(super) fn destination_goes(&mut self, id: DestinationId) {
        self.placed.remove(&id);
        self.retired.push(id);
    }
}
