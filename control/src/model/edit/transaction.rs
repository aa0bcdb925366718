//! A transaction of many edits: lookups are by key, and the steps are recorded in order, so that the compiler can apply
//! them without comparing configurations.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{
    DestinationEdit, Edit, EditError, ServiceEdit, SettingsEdit, check_limit, check_numbers, check_weight,
    set_settings, valid,
};
use crate::model::validate;
use crate::model::{Config, Destination, DestinationKey, Service, ServiceKey, Start};

/// One change made by a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A service was added or changed; its destinations are ignored.
    Service(Service),
    /// A service was removed, with its destinations.
    ServiceRemoved(ServiceKey),
    /// A destination was added or edited.
    Destination(ServiceKey, Destination),
    /// A destination was removed.
    DestinationRemoved(ServiceKey, DestinationKey),
}

/// Result of a transaction.
#[derive(Debug, Default)]
pub struct Edited {
    /// The configuration after all edits.
    pub config: Config,
    /// Changes to services and destinations, in order.
    pub steps: Vec<Step>,
    /// Services whose shown counters become zero; `None` means everything.
    pub zeroed: Vec<Option<ServiceKey>>,
    /// True if settings were changed.
    pub settings: bool,
}

/// A configuration while edits are applied to it.
#[derive(Debug, Default)]
pub struct ConfigTransaction {
    /// The configuration without its services.
    rest: Config,
    /// The sizes in effect. Those in `rest` may already be meant for the next start; edits must fit both.
    running: Start,
    /// Services in order. A removed one leaves a gap, so that the indices of the others do not change.
    services: Vec<Option<Arc<Service>>>,
    indices: HashMap<ServiceKey, usize>,
    /// Number of destinations of all services.
    destinations: usize,
    /// Destinations of the edited services, so that an edit does not search a list of ten thousand.
    known: HashMap<ServiceKey, HashSet<DestinationKey>>,
    steps: Vec<Step>,
    zeroed: Vec<Option<ServiceKey>>,
    settings: bool,
}

impl ConfigTransaction {
    /// Begins a transaction. `running` holds the sizes in effect, which `config.start` may no longer show.
    pub fn new(mut config: Config, running: Start) -> ConfigTransaction {
        let services: Vec<_> = std::mem::take(&mut config.services).into_iter().map(Some).collect();
        let all = || services.iter().flatten();
        let indices = all().map(|service| service.key).zip(0..).collect();
        let destinations = all().map(|service| service.destinations.len()).sum();
        let rest = config;
        ConfigTransaction { rest, running, services, indices, destinations, ..ConfigTransaction::default() }
    }

    /// Returns the result.
    pub fn finish(self) -> Edited {
        let ConfigTransaction { mut rest, services, steps, zeroed, settings, .. } = self;
        rest.services = services.into_iter().flatten().collect();
        Edited { config: rest, steps, zeroed, settings }
    }

    /// Applies an edit.
    ///
    /// # Errors
    /// If the edit is refused; then nothing has changed.
    pub fn apply_edit(&mut self, edit: Edit) -> Result<(), EditError> {
        match edit {
            Edit::ServiceAdd(add) => self.add_service(add.service),
            Edit::ServiceEdit(edit) => self.edit_service(&edit),
            Edit::ServiceRemove(remove) => self.remove_service(remove.service),
            Edit::ServiceFlush(_) => {
                self.flush();
                Ok(())
            }
            Edit::DestinationAdd(add) => self.add_destination(add.service, add.destination),
            Edit::DestinationEdit(edit) => self.edit_destination(&edit),
            Edit::DestinationRemove(remove) => self.remove_destination(remove.service, remove.destination),
            Edit::SettingsSet(edit) => self.set_settings(&edit),
            Edit::StatsZero(query) => self.zero(query.service),
        }
    }

    fn add_service(&mut self, new: Service) -> Result<(), EditError> {
        let key = new.key;
        if self.indices.contains_key(&key) {
            return Err(EditError::ServiceExists(key));
        }
        valid(|errors| {
            let starts = [&self.rest.start, &self.running];
            starts.into_iter().any(|start| !validate::capacity_of_family(start, &new, "service", errors));
            validate::service("service", &new, &self.rest, errors);
        })?;
        self.check_room(1, new.destinations.len())?;
        self.steps.push(Step::Service(head(&new)));
        let steps = new.destinations.iter().map(|destination| Step::Destination(key, destination.clone()));
        self.steps.extend(steps);
        self.destinations += new.destinations.len();
        self.indices.insert(key, self.services.len());
        self.services.push(Some(Arc::new(new)));
        Ok(())
    }

    /// Checks that there is room for these more services and destinations.
    fn check_room(&self, services: usize, destinations: usize) -> Result<(), EditError> {
        [&self.rest.start, &self.running].into_iter().try_for_each(|start| {
            check_limit("services", start.services, self.indices.len() + services)?;
            check_limit("destinations", start.destinations, self.destinations + destinations)
        })
    }

    fn edit_service(&mut self, edit: &ServiceEdit) -> Result<(), EditError> {
        let missing = || EditError::NoSuchService(edit.service);
        let old = self.service(edit.service).ok_or_else(missing)?;
        // The destinations do not change, and there may be many: only the service itself is checked.
        let new = edit.apply_to(head(old));
        valid(|errors| {
            validate::service("service", &new, &self.rest, errors);
            validate::count_destinations("service", &new, old.destinations.len(), errors);
        })?;
        self.steps.push(Step::Service(new.clone()));
        if let Some(slot) = self.service_mut(edit.service) {
            let destinations = std::mem::take(&mut slot.destinations);
            *slot = Service { destinations, ..new };
        }
        Ok(())
    }

    fn remove_service(&mut self, key: ServiceKey) -> Result<(), EditError> {
        let at = self.indices.remove(&key).ok_or(EditError::NoSuchService(key))?;
        let gone = self.services[at].take();
        self.destinations -= gone.map_or(0, |service| service.destinations.len());
        self.known.remove(&key);
        self.steps.push(Step::ServiceRemoved(key));
        Ok(())
    }

    fn flush(&mut self) {
        let gone = self.services.drain(..).flatten().map(|service| Step::ServiceRemoved(service.key));
        self.steps.extend(gone);
        self.indices.clear();
        self.destinations = 0;
        self.known.clear();
    }

    fn add_destination(&mut self, key: ServiceKey, new: Destination) -> Result<(), EditError> {
        let destination = new.key();
        self.owner(key, destination)?;
        check_numbers(&new)?;
        if self.has(key, destination) {
            return Err(EditError::DestinationExists { service: key, destination });
        }
        let service = self.owner(key, destination)?;
        valid(|errors| {
            validate::destination("destination", service, &new, self.rest.network.as_ref(), errors);
            validate::count_destinations("service", service, service.destinations.len() + 1, errors);
        })?;
        self.check_room(0, 1)?;
        self.destinations += 1;
        self.known_of(key).insert(destination);
        self.steps.push(Step::Destination(key, new.clone()));
        if let Some(service) = self.service_mut(key) {
            service.destinations.push(new);
        }
        Ok(())
    }

    fn edit_destination(&mut self, edit: &DestinationEdit) -> Result<(), EditError> {
        let (key, destination) = (edit.service, edit.destination);
        let service = self.owner(key, destination)?;
        if let Some(weight) = edit.weight {
            check_weight(weight)?;
        }
        edit.check_thresholds()?;
        let slot = service.destinations.iter().position(|old| old.key() == destination);
        let slot = slot.ok_or(EditError::NoSuchDestination { service: key, destination })?;
        let new = edit.apply_to(&service.destinations[slot]);
        check_numbers(&new)?;
        valid(|errors| {
            validate::destination("destination", service, &new, self.rest.network.as_ref(), errors);
        })?;
        self.steps.push(Step::Destination(key, new.clone()));
        if let Some(service) = self.service_mut(key) {
            service.destinations[slot] = new;
        }
        Ok(())
    }

    fn remove_destination(&mut self, key: ServiceKey, destination: DestinationKey) -> Result<(), EditError> {
        self.owner(key, destination)?;
        if !self.known_of(key).remove(&destination) {
            return Err(EditError::NoSuchDestination { service: key, destination });
        }
        self.destinations -= 1;
        if let Some(service) = self.service_mut(key) {
            service.destinations.retain(|old| old.key() != destination);
        }
        self.steps.push(Step::DestinationRemoved(key, destination));
        Ok(())
    }

    fn set_settings(&mut self, edit: &SettingsEdit) -> Result<(), EditError> {
        // Whether a module may be switched off depends on the services; no other setting does.
        if edit.disabled_modules.is_some() {
            self.rest.services = self.services.iter().flatten().cloned().collect();
        }
        let set = set_settings(&mut self.rest, edit);
        self.rest.services.clear();
        self.settings |= set.is_ok();
        set
    }

    fn zero(&mut self, only: Option<ServiceKey>) -> Result<(), EditError> {
        if let Some(key) = only.filter(|key| !self.indices.contains_key(key)) {
            return Err(EditError::NoSuchService(key));
        }
        self.zeroed.push(only);
        Ok(())
    }

    /// Returns the destinations of a service.
    fn known_of(&mut self, key: ServiceKey) -> &mut HashSet<DestinationKey> {
        let (indices, services) = (&self.indices, &self.services);
        self.known.entry(key).or_insert_with(|| {
            let service = indices.get(&key).and_then(|&at| services[at].as_ref());
            service.into_iter().flat_map(|service| &service.destinations).map(Destination::key).collect()
        })
    }

    fn has(&mut self, service: ServiceKey, destination: DestinationKey) -> bool {
        self.known_of(service).contains(&destination)
    }

    fn service(&self, key: ServiceKey) -> Option<&Service> {
        self.services.get(*self.indices.get(&key)?)?.as_deref()
    }

    fn service_mut(&mut self, key: ServiceKey) -> Option<&mut Service> {
        self.services.get_mut(*self.indices.get(&key)?)?.as_mut().map(Arc::make_mut)
    }

    fn owner(&self, service: ServiceKey, destination: DestinationKey) -> Result<&Service, EditError> {
        self.service(service).ok_or(EditError::ServiceNotDefined { service, destination })
    }
}

/// Returns a service without its destinations.
fn head(service: &Service) -> Service {
    Service { destinations: Vec::new(), persistence: service.persistence.clone(), ..*service }
}
