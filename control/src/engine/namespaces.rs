//! How namespaces come, change and go: everything that can be refused is tried first, then all of it is done.

use pollux_dataplane::worker::binding::{self, NamespaceId};

use super::link_filter::LinkFilter;
use super::named_namespace::{self, NamedNamespace};
use super::{Engine, NamespaceEngine};
use crate::api::error::Failure;
use crate::api::request::{Apply, Done, Reply};
use crate::api::view::NamespaceList;
use crate::engine::compile::Compiler;
use crate::engine::workers::Workers;
use crate::model::diff;
use crate::model::edit::EditError;
use crate::model::input_error::InputErrors;
use crate::model::validate::validate;
use crate::model::{Config, Namespace, namespace};

impl Engine {
    pub(super) fn add_namespace(&mut self, new: Namespace) -> Result<Reply, Failure> {
        if self.named.iter().any(|named| named.name == new.name) {
            return Err(EditError::NamespaceExists(new.name).into());
        }
        let mut config = self.config();
        let place = format!("namespaces[{}]", config.namespaces.len());
        config.namespaces.push(new);
        self.change_checked(config, false).map_err(|why| said_of(why, &place, "namespace"))
    }

    pub(super) fn remove_namespace(&mut self, name: &str) -> Result<Reply, Failure> {
        if name == namespace::DEFAULT {
            let mut errors = InputErrors::default();
            errors.add(
                "name",
                "the default namespace is always there",
                "remove its services with `pollux flush`",
            );
            return Err(errors.into());
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
        let mut errors = InputErrors::default();
        if !apply.config.ports.is_empty() {
            errors.add(
                "ports",
                "a namespace has none to set up",
                "set them up at the top of the daemon's configuration",
            );
        }
        if !apply.config.namespaces.is_empty() {
            errors.add("namespaces", "a namespace has none in it", "apply them without a namespace");
        }
        errors.into_result()?;
        let mut config = self.config();
        let place = format!("namespaces[{at}]");
        let old = config.namespaces[at].content();
        let mut content = apply.config;
        content.services.share_with(&old.services);
        config.namespaces[at] = config.namespaces[at].with_content(&content);
        let new = config.namespaces[at].content();
        validate(&config).map_err(|errors| said_of(errors.into(), &format!("{place}."), ""))?;
        let mut applied = diff::diff(&old, &new);
        applied.dry_run = apply.dry_run;
        if apply.dry_run {
            self.check(&config, false)?;
        } else {
            self.change(&config, false)?;
        }
        Ok(Reply::Applied(applied))
    }

    fn change_checked(&mut self, mut config: Config, default_namespace: bool) -> Result<Reply, Failure> {
        self.name_ports(&mut config)?;
        validate(&config)?;
        self.change(&config, default_namespace)?;
        Ok(Reply::Done(Done {}))
    }

    /// Writes names for ports that are bound by their numbers.
    pub(super) fn name_ports(&self, config: &mut Config) -> Result<(), Failure> {
        let names = self.ports.names();
        let mut errors = InputErrors::default();
        for (index, namespace) in config.namespaces.iter_mut().enumerate() {
            for (number, binding) in namespace.bindings.iter_mut().enumerate() {
                if names.contains(&binding.port) {
                    continue;
                }
                match binding.port.parse().ok().and_then(|number: usize| names.get(number)) {
                    Some(name) => binding.port.clone_from(name),
                    None => errors.add(
                        format!("namespaces[{index}].bindings[{number}].port"),
                        format!("there is no port {}", binding.port),
                        format!("use one of {}, or its number from 0", names.join(", ")),
                    ),
                }
            }
        }
        Ok(errors.into_result()?)
    }

    /// Makes everything as a validated configuration says; of the default namespace only if `default_namespace` says so, and what is
    /// bound to others.
    ///
    /// # Errors
    /// What there is no room for, or what is not there: nothing has changed then. Or that workers are late.
    pub(super) fn change(&mut self, config: &Config, default_namespace: bool) -> Result<(), Failure> {
        self.check(config, default_namespace)?;
        let wanted = &config.namespaces;
        let mut fresh = self.admit(wanted)?;
        if let Err(why) = self.rebind(wanted) {
            fresh.iter().for_each(|named| drop(self.namespaces.dismiss(named.id)));
            return Err(why);
        }
        let outcomes = [
            self.settle(config, default_namespace, &mut fresh),
            self.namespaces.bind(&self.bindings(wanted, &fresh)),
            self.dismiss(wanted),
        ];
        self.named.append(&mut fresh);
        let place = |named: &NamedNamespace| wanted.iter().position(|namespace| namespace.name == named.name);
        self.named.sort_by_key(place);
        outcomes.into_iter().collect()
    }

    /// Whether there is room for a validated configuration in what is there already.
    pub(super) fn check(&self, config: &Config, default_namespace: bool) -> Result<(), Failure> {
        if default_namespace {
            self.default_namespace.check(config)?;
        }
        for named in &self.named {
            if let Some(new) = find(&config.namespaces, &named.name) {
                named.stays(new)?;
                named.instance.check(&new.content())?;
            }
        }
        Ok(())
    }

    /// Makes the namespaces that are not there yet: all or none.
    fn admit(&mut self, wanted: &[Namespace]) -> Result<Vec<NamedNamespace>, Failure> {
        let mut fresh: Vec<NamedNamespace> = Vec::new();
        for new in wanted {
            if self.named.iter().any(|named| named.name == new.name) {
                continue;
            }
            match self.make(new, &fresh) {
                Ok(named) => fresh.push(named),
                Err(why) => {
                    for named in fresh {
                        let _ = self.namespaces.dismiss(named.id);
                    }
                    return Err(why);
                }
            }
        }
        Ok(fresh)
    }

    fn make(&mut self, new: &Namespace, fresh: &[NamedNamespace]) -> Result<NamedNamespace, Failure> {
        let taken = |id: &NamespaceId| self.named.iter().chain(fresh).any(|named| named.id == *id);
        // Validation allows no more than there are numbers, but those that leave still have theirs.
        let id = (1..=binding::MAX_NAMESPACES as u16).map(NamespaceId).find(|id| !taken(id));
        let id = id.ok_or_else(|| {
            Failure::Internal("all numbers of namespaces are in use; remove some first".to_owned())
        })?;
        let content = new.content();
        let compiler = Compiler::new(&content.start, self.ports.names());
        let mut instance =
            NamespaceEngine::new(compiler, Workers::new(Vec::new()), None, self.default_namespace.epoch);
        instance.check(&content)?;
        let admitted = self.namespaces.admit(id, new)?;
        instance.workers = Workers::new(admitted.workers);
        let (name, bindings, netns) = (new.name.clone(), new.bindings.clone(), new.netns.clone());
        let mut named = NamedNamespace { id, name, bindings, netns, instance, heard: None };
        named.hear(admitted.heard);
        Ok(named)
    }

    /// Twins for what will be bound to namespaces that stay.
    fn rebind(&mut self, wanted: &[Namespace]) -> Result<(), Failure> {
        let mut heard = Vec::new();
        for named in &self.named {
            let new = find(wanted, &named.name);
            match new.map_or(Ok(None), |new| self.namespaces.rebind(named.id, &new.bindings)) {
                Ok(one) => heard.push(one),
                Err(why) => {
                    self.named.iter().for_each(|named| self.namespaces.stay(named.id));
                    return Err(why);
                }
            }
        }
        self.named.iter_mut().zip(heard).for_each(|(named, heard)| named.hear(heard));
        Ok(())
    }

    /// Brings its content to each namespace that comes, stays or, by what is bound elsewhere, changes.
    fn settle(
        &mut self,
        config: &Config,
        default_namespace: bool,
        fresh: &mut [NamedNamespace],
    ) -> Result<(), Failure> {
        let wanted = &config.namespaces;
        let link_filter = LinkFilter::new(None, wanted);
        let of_home = if default_namespace {
            let own = Config { namespaces: Vec::new(), ..config.clone() };
            self.default_namespace.replace(&own, link_filter)
        } else {
            self.default_namespace.set_link_filter(link_filter)
        };
        let mut outcomes = vec![of_home];
        for named in self.named.iter_mut().chain(fresh) {
            let Some(new) = find(wanted, &named.name) else { continue };
            named.bindings.clone_from(&new.bindings);
            let (content, link_filter) = (new.content(), named.link_filter(wanted));
            outcomes.push(if *named.instance.config() == content {
                named.instance.set_link_filter(link_filter)
            } else {
                named.instance.replace(&content, link_filter)
            });
        }
        outcomes.into_iter().collect()
    }

    /// Gives up the namespaces that are not wanted any more.
    fn dismiss(&mut self, wanted: &[Namespace]) -> Result<(), Failure> {
        let (stay, go) =
            self.named.drain(..).partition(|named: &NamedNamespace| find(wanted, &named.name).is_some());
        self.named = stay;
        let outcomes: Vec<_> =
            go.into_iter().map(|named: NamedNamespace| self.namespaces.dismiss(named.id)).collect();
        outcomes.into_iter().collect()
    }

    /// Whose what is of each port, by its number.
    fn bindings(&self, wanted: &[Namespace], fresh: &[NamedNamespace]) -> Vec<binding::Binding> {
        let id = |name: &str| self.named.iter().chain(fresh).find(|named| named.name == name).map(|g| g.id);
        let of_port = |port: String| {
            let mut binding = binding::Binding::default();
            for (namespace, bound) in wanted.iter().flat_map(|n| n.bindings.iter().map(move |b| (n, b))) {
                let Some(id) = id(&namespace.name).filter(|_| bound.port == port) else { continue };
                match bound.vlan {
                    None => binding.port = id,
                    Some(vlan) => binding.vlans.push((vlan, id)),
                }
            }
            binding.vlans.sort_unstable();
            binding
        };
        self.ports.names().into_iter().map(of_port).collect()
    }

    pub(super) fn namespaces(&self) -> NamespaceList {
        let default_namespace = named_namespace::view(namespace::DEFAULT, &self.default_namespace);
        NamespaceList {
            namespaces: std::iter::once(default_namespace)
                .chain(self.named.iter().map(NamedNamespace::view))
                .collect(),
        }
    }
}

fn find<'a>(all: &'a [Namespace], name: &str) -> Option<&'a Namespace> {
    all.iter().find(|namespace| namespace.name == name)
}

/// Faults as who asked about one namespace would call their places.
fn said_of(why: Failure, place: &str, by: &str) -> Failure {
    let Failure::InputErrors(mut errors) = why else { return why };
    for error in &mut errors.0 {
        if let Some(rest) = error.location.strip_prefix(place) {
            error.location = format!("{by}{rest}");
        }
    }
    errors.into()
}
