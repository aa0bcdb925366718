//! How namespaces come, change and go: everything that can be refused is tried first, then all of it is done.

use pollux_dataplane::worker::binding::{self, NamespaceId};

use super::fence::Fence;
use super::guest::{self, Guest};
use super::{Engine, Instance};
use crate::compile::Compiler;
use crate::diff;
use crate::edit::EditError;
use crate::error::Failure;
use crate::fault::Faults;
use crate::model::{Config, Namespace, namespace};
use crate::request::{Apply, Done, Reply};
use crate::validate::validate;
use crate::view::NamespaceList;
use crate::workers::Workers;

impl Engine {
    pub(super) fn add_namespace(&mut self, new: Namespace) -> Result<Reply, Failure> {
        if self.guests.iter().any(|guest| guest.name == new.name) {
            return Err(EditError::NamespaceExists(new.name).into());
        }
        let mut config = self.config();
        let place = format!("namespaces[{}]", config.namespaces.len());
        config.namespaces.push(new);
        self.change_checked(config, false).map_err(|why| said_of(why, &place, "namespace"))
    }

    pub(super) fn remove_namespace(&mut self, name: &str) -> Result<Reply, Failure> {
        if name == namespace::DEFAULT {
            let mut faults = Faults::default();
            faults.add(
                "name",
                "the default namespace is always there",
                "remove its services with `pollux flush`",
            );
            return Err(faults.into());
        }
        let mut config = self.config();
        let at = config.namespaces.iter().position(|namespace| namespace.name == name);
        let at = at.ok_or_else(|| EditError::NoSuchNamespace(name.to_owned()))?;
        config.namespaces.remove(at);
        // What is left made sense with it, and does without.
        self.change(&config, false)?;
        Ok(Reply::Done(Done {}))
    }

    /// Replaces what is in one namespace.
    pub(super) fn apply_in(&mut self, at: usize, apply: Apply) -> Result<Reply, Failure> {
        let mut faults = Faults::default();
        if !apply.config.ports.is_empty() {
            faults.add(
                "ports",
                "a namespace has none to set up",
                "set them up at the top of the daemon's configuration",
            );
        }
        if !apply.config.namespaces.is_empty() {
            faults.add("namespaces", "a namespace has none in it", "apply them without a namespace");
        }
        faults.into_result()?;
        let mut config = self.config();
        let place = format!("namespaces[{at}]");
        let old = config.namespaces[at].content();
        let mut content = apply.config;
        content.services.share_with(&old.services);
        config.namespaces[at] = config.namespaces[at].with_content(&content);
        let new = config.namespaces[at].content();
        validate(&config).map_err(|faults| said_of(faults.into(), &format!("{place}."), ""))?;
        let mut applied = diff::diff(&old, &new);
        applied.dry_run = apply.dry_run;
        if apply.dry_run {
            self.check(&config, false)?;
        } else {
            self.change(&config, false)?;
        }
        Ok(Reply::Applied(applied))
    }

    fn change_checked(&mut self, mut config: Config, home: bool) -> Result<Reply, Failure> {
        self.name_ports(&mut config)?;
        validate(&config)?;
        self.change(&config, home)?;
        Ok(Reply::Done(Done {}))
    }

    /// Writes names for ports that are bound by their numbers.
    pub(super) fn name_ports(&self, config: &mut Config) -> Result<(), Failure> {
        let names = self.ports.names();
        let mut faults = Faults::default();
        for (index, namespace) in config.namespaces.iter_mut().enumerate() {
            for (number, binding) in namespace.bindings.iter_mut().enumerate() {
                if names.contains(&binding.port) {
                    continue;
                }
                match binding.port.parse().ok().and_then(|number: usize| names.get(number)) {
                    Some(name) => binding.port.clone_from(name),
                    None => faults.add(
                        format!("namespaces[{index}].bindings[{number}].port"),
                        format!("there is no port {}", binding.port),
                        format!("use one of {}, or its number from 0", names.join(", ")),
                    ),
                }
            }
        }
        Ok(faults.into_result()?)
    }

    /// Makes everything as a validated configuration says; of the default namespace only if `home` says so, and what is
    /// bound to others.
    ///
    /// # Errors
    /// What there is no room for, or what is not there: nothing has changed then. Or that workers are late.
    pub(super) fn change(&mut self, config: &Config, home: bool) -> Result<(), Failure> {
        self.check(config, home)?;
        let wanted = &config.namespaces;
        let mut fresh = self.admit(wanted)?;
        if let Err(why) = self.rebind(wanted) {
            fresh.iter().for_each(|guest| drop(self.house.dismiss(guest.id)));
            return Err(why);
        }
        let outcomes = [
            self.settle(config, home, &mut fresh),
            self.house.bind(&self.bindings(wanted, &fresh)),
            self.dismiss(wanted),
        ];
        self.guests.append(&mut fresh);
        let place = |guest: &Guest| wanted.iter().position(|namespace| namespace.name == guest.name);
        self.guests.sort_by_key(place);
        outcomes.into_iter().collect()
    }

    /// Whether there is room for a validated configuration in what is there already.
    pub(super) fn check(&self, config: &Config, home: bool) -> Result<(), Failure> {
        if home {
            self.home.check(config)?;
        }
        for guest in &self.guests {
            if let Some(new) = find(&config.namespaces, &guest.name) {
                guest.stays(new)?;
                guest.instance.check(&new.content())?;
            }
        }
        Ok(())
    }

    /// Makes the namespaces that are not there yet: all or none.
    fn admit(&mut self, wanted: &[Namespace]) -> Result<Vec<Guest>, Failure> {
        let mut fresh: Vec<Guest> = Vec::new();
        for new in wanted {
            if self.guests.iter().any(|guest| guest.name == new.name) {
                continue;
            }
            match self.make(new, &fresh) {
                Ok(guest) => fresh.push(guest),
                Err(why) => {
                    for guest in fresh {
                        let _ = self.house.dismiss(guest.id);
                    }
                    return Err(why);
                }
            }
        }
        Ok(fresh)
    }

    fn make(&mut self, new: &Namespace, fresh: &[Guest]) -> Result<Guest, Failure> {
        let taken = |id: &NamespaceId| self.guests.iter().chain(fresh).any(|guest| guest.id == *id);
        // Validation allows no more than there are numbers, but those that leave still have theirs.
        let id = (1..=binding::MOST as u16).map(NamespaceId).find(|id| !taken(id));
        let id = id.ok_or_else(|| {
            Failure::Internal("all numbers of namespaces are in use; remove some first".to_owned())
        })?;
        let content = new.content();
        let compiler = Compiler::new(&content.start, self.ports.names());
        let mut instance = Instance::new(compiler, Workers::new(Vec::new()), None, self.home.epoch);
        instance.check(&content)?;
        let admitted = self.house.admit(id, new)?;
        instance.workers = Workers::new(admitted.workers);
        let (name, bindings, netns) = (new.name.clone(), new.bindings.clone(), new.netns.clone());
        let mut guest = Guest { id, name, bindings, netns, instance, heard: None };
        guest.hear(admitted.heard);
        Ok(guest)
    }

    /// Twins for what will be bound to namespaces that stay.
    fn rebind(&mut self, wanted: &[Namespace]) -> Result<(), Failure> {
        let mut heard = Vec::new();
        for guest in &self.guests {
            let new = find(wanted, &guest.name);
            match new.map_or(Ok(None), |new| self.house.rebind(guest.id, &new.bindings)) {
                Ok(one) => heard.push(one),
                Err(why) => {
                    self.guests.iter().for_each(|guest| self.house.stay(guest.id));
                    return Err(why);
                }
            }
        }
        self.guests.iter_mut().zip(heard).for_each(|(guest, heard)| guest.hear(heard));
        Ok(())
    }

    /// Brings its content to each namespace that comes, stays or, by what is bound elsewhere, changes.
    fn settle(&mut self, config: &Config, home: bool, fresh: &mut [Guest]) -> Result<(), Failure> {
        let wanted = &config.namespaces;
        let fence = Fence::new(None, wanted);
        let of_home = if home {
            let own = Config { namespaces: Vec::new(), ..config.clone() };
            self.home.replace(&own, fence)
        } else {
            self.home.fence_in(fence)
        };
        let mut outcomes = vec![of_home];
        for guest in self.guests.iter_mut().chain(fresh) {
            let Some(new) = find(wanted, &guest.name) else { continue };
            guest.bindings.clone_from(&new.bindings);
            let (content, fence) = (new.content(), guest.fence(wanted));
            outcomes.push(if *guest.instance.config() == content {
                guest.instance.fence_in(fence)
            } else {
                guest.instance.replace(&content, fence)
            });
        }
        outcomes.into_iter().collect()
    }

    /// Gives up the namespaces that are not wanted any more.
    fn dismiss(&mut self, wanted: &[Namespace]) -> Result<(), Failure> {
        let (stay, go) = self.guests.drain(..).partition(|guest: &Guest| find(wanted, &guest.name).is_some());
        self.guests = stay;
        let outcomes: Vec<_> = go.into_iter().map(|guest: Guest| self.house.dismiss(guest.id)).collect();
        outcomes.into_iter().collect()
    }

    /// Whose what is of each port, by its number.
    fn bindings(&self, wanted: &[Namespace], fresh: &[Guest]) -> Vec<binding::Binding> {
        let id = |name: &str| self.guests.iter().chain(fresh).find(|guest| guest.name == name).map(|g| g.id);
        let of_port = |port: String| {
            let mut binding = binding::Binding::default();
            for (namespace, bound) in wanted.iter().flat_map(|n| n.bindings.iter().map(move |b| (n, b))) {
                let Some(id) = id(&namespace.name).filter(|_| bound.port == port) else { continue };
                match bound.vlan {
                    None => binding.whole = id,
                    Some(vlan) => binding.vlans.push((vlan, id)),
                }
            }
            binding.vlans.sort_unstable();
            binding
        };
        self.ports.names().into_iter().map(of_port).collect()
    }

    pub(super) fn namespaces(&self) -> NamespaceList {
        let home = guest::view(namespace::DEFAULT, &self.home);
        NamespaceList {
            namespaces: std::iter::once(home).chain(self.guests.iter().map(Guest::view)).collect(),
        }
    }
}

fn find<'a>(all: &'a [Namespace], name: &str) -> Option<&'a Namespace> {
    all.iter().find(|namespace| namespace.name == name)
}

/// Faults as who asked about one namespace would call their places.
fn said_of(why: Failure, place: &str, by: &str) -> Failure {
    let Failure::Faults(mut faults) = why else { return why };
    for fault in &mut faults.0 {
        if let Some(rest) = fault.place.strip_prefix(place) {
            fault.place = format!("{by}{rest}");
        }
    }
    faults.into()
}
