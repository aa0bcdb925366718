//! A configuration that many edits change in turn: everything is found by its key, and what was done is noted in its
//! order, so that a compiler can follow without comparing.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{
    DestinationEdit, Edit, EditError, ServiceEdit, SettingsEdit, numbers_fit, room, set_settings, valid,
    weight_fits,
};
use crate::model::modules;
use crate::model::validate;
use crate::model::{Config, Destination, DestinationKey, Service, ServiceKey};

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A service is new or changed; its destinations are not looked at.
    Service(Service),
    /// A service is gone, with its destinations.
    ServiceGone(ServiceKey),
    /// A destination is new or was edited.
    Destination(ServiceKey, Destination),
    /// A destination is gone.
    DestinationGone(ServiceKey, DestinationKey),
}

/// What edits led to.
#[derive(Debug, Default)]
pub struct Edited {
    /// The configuration after all of them.
    pub config: Config,
    /// What was done to services and destinations, in order.
    pub steps: Vec<Step>,
    /// Whose shown counters are to become zero; none means everything.
    pub zeroed: Vec<Option<ServiceKey>>,
    /// Time-outs or switches were set.
    pub settings: bool,
}

/// A configuration in the making.
#[derive(Debug, Default)]
pub struct ConfigTransaction {
    /// All but its services.
    rest: Config,
    /// Services in their order; one that is gone leaves a hole, so that the others stay where they are.
    services: Vec<Option<Arc<Service>>>,
    places: HashMap<ServiceKey, usize>,
    /// How many destinations all services have together.
    destinations: usize,
    /// Those of services that an edit was about: ten thousand in one service are not looked through for each edit.
    known: HashMap<ServiceKey, HashSet<DestinationKey>>,
    steps: Vec<Step>,
    zeroed: Vec<Option<ServiceKey>>,
    settings: bool,
}

impl ConfigTransaction {
    /// Begins with a configuration.
    pub fn new(mut config: Config) -> ConfigTransaction {
        let services: Vec<_> = std::mem::take(&mut config.services).into_iter().map(Some).collect();
        let all = || services.iter().flatten();
        let places = all().map(|service| service.key()).zip(0..).collect();
        let destinations = all().map(|service| service.destinations.len()).sum();
        ConfigTransaction { rest: config, services, places, destinations, ..ConfigTransaction::default() }
    }

    /// What has become of it.
    pub fn done(self) -> Edited {
        let ConfigTransaction { mut rest, services, steps, zeroed, settings, .. } = self;
        rest.services = services.into_iter().flatten().collect();
        Edited { config: rest, steps, zeroed, settings }
    }

    /// Carries an edit out.
    ///
    /// # Errors
    /// Why it does not fit; nothing has changed then.
    pub fn carry_out(&mut self, edit: Edit) -> Result<(), EditError> {
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
        let key = new.key();
        if self.places.contains_key(&key) {
            return Err(EditError::ServiceExists(key));
        }
        valid(|errors| {
            validate::service("service", &new, self.rest.network.as_ref(), errors);
            modules::service("service", &new, &self.rest.settings.disabled_modules, errors);
        })?;
        let start = &self.rest.start;
        room("services", start.services, self.places.len() + 1)?;
        room("destinations", start.destinations, self.destinations + new.destinations.len())?;
        self.steps.push(Step::Service(head(&new)));
        let steps = new.destinations.iter().map(|of| Step::Destination(key, of.clone()));
        self.steps.extend(steps);
        self.destinations += new.destinations.len();
        self.places.insert(key, self.services.len());
        self.services.push(Some(Arc::new(new)));
        Ok(())
    }

    fn edit_service(&mut self, edit: &ServiceEdit) -> Result<(), EditError> {
        let missing = || EditError::NoSuchService(edit.service);
        let old = self.service(edit.service).ok_or_else(missing)?;
        // A service has many destinations, and they stay: only its head is checked.
        let new = edit.onto(head(old));
        valid(|errors| {
            validate::service("service", &new, self.rest.network.as_ref(), errors);
            modules::service("service", &new, &self.rest.settings.disabled_modules, errors);
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
        let at = self.places.remove(&key).ok_or(EditError::NoSuchService(key))?;
        let gone = self.services[at].take();
        self.destinations -= gone.map_or(0, |service| service.destinations.len());
        self.known.remove(&key);
        self.steps.push(Step::ServiceGone(key));
        Ok(())
    }

    fn flush(&mut self) {
        let gone = self.services.drain(..).flatten().map(|service| Step::ServiceGone(service.key()));
        self.steps.extend(gone);
        self.places.clear();
        self.destinations = 0;
        self.known.clear();
    }

    fn add_destination(&mut self, key: ServiceKey, new: Destination) -> Result<(), EditError> {
        let destination = new.key();
        self.owner(key, destination)?;
        numbers_fit(&new)?;
        if self.has(key, destination) {
            return Err(EditError::DestinationExists { service: key, destination });
        }
        let service = self.owner(key, destination)?;
        valid(|errors| {
            validate::destination("destination", service, &new, self.rest.network.as_ref(), errors);
            validate::count_destinations("service", service, service.destinations.len() + 1, errors);
        })?;
        room("destinations", self.rest.start.destinations, self.destinations + 1)?;
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
            weight_fits(weight)?;
        }
        edit.thresholds_fit()?;
        let slot = service.destinations.iter().position(|old| old.key() == destination);
        let slot = slot.ok_or(EditError::NoSuchDestination { service: key, destination })?;
        let new = edit.onto(&service.destinations[slot]);
        numbers_fit(&new)?;
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
        self.steps.push(Step::DestinationGone(key, destination));
        Ok(())
    }

    fn set_settings(&mut self, edit: &SettingsEdit) -> Result<(), EditError> {
        // Which modules may be off depends on the services; no other setting does.
        if edit.disabled_modules.is_some() {
            self.rest.services = self.services.iter().flatten().cloned().collect();
        }
        let set = set_settings(&mut self.rest, edit);
        self.rest.services.clear();
        self.settings |= set.is_ok();
        set
    }

    fn zero(&mut self, only: Option<ServiceKey>) -> Result<(), EditError> {
        if let Some(key) = only.filter(|key| !self.places.contains_key(key)) {
            return Err(EditError::NoSuchService(key));
        }
        self.zeroed.push(only);
        Ok(())
    }

    /// The destinations of a service.
    fn known_of(&mut self, key: ServiceKey) -> &mut HashSet<DestinationKey> {
        let (places, services) = (&self.places, &self.services);
        self.known.entry(key).or_insert_with(|| {
            let service = places.get(&key).and_then(|&at| services[at].as_ref());
            service.into_iter().flat_map(|service| &service.destinations).map(Destination::key).collect()
        })
    }

    fn has(&mut self, service: ServiceKey, destination: DestinationKey) -> bool {
        self.known_of(service).contains(&destination)
    }

    fn service(&self, key: ServiceKey) -> Option<&Service> {
        self.services.get(*self.places.get(&key)?)?.as_deref()
    }

    fn service_mut(&mut self, key: ServiceKey) -> Option<&mut Service> {
        self.services.get_mut(*self.places.get(&key)?)?.as_mut().map(Arc::make_mut)
    }

    fn owner(&self, service: ServiceKey, destination: DestinationKey) -> Result<&Service, EditError> {
        self.service(service).ok_or(EditError::ServiceNotDefined { service, destination })
    }
}

/// A service without its destinations.
fn head(service: &Service) -> Service {
    Service { destinations: Vec::new(), persistence: service.persistence.clone(), ..*service }
}
