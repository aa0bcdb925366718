//! Adding, changing and removing namespaces. Everything that can fail is tried before anything changes.

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
use crate::model::{Config, Namespace, Start, namespace};

impl Engine {
    pub(super) fn add_namespace(&mut self, new: Namespace) -> Result<Reply, Failure> {
        if self.named.iter().any(|named| named.name == new.name) {
            return Err(EditError::NamespaceExists(new.name).into());
        }
        let mut config = self.config();
        let location = format!("namespaces[{}]", config.namespaces.len());
        config.namespaces.push(new);
        self.change_checked(config, false).map_err(|why| relocate(why, &location, "namespace"))
    }

    pub(super) fn remove_namespace(&mut self, name: &str) -> Result<Reply, Failure> {
        if name == namespace::DEFAULT {
            let hint = "to remove its services, use `pollux flush`";
            return Err(InputErrors::one("name", "the default namespace cannot be removed", hint).into());
        }
        let mut config = self.config();
        let at = config.namespaces.iter().position(|namespace| namespace.name == name);
        let at = at.ok_or_else(|| EditError::NoSuchNamespace(name.to_owned()))?;
        config.namespaces.remove(at);
        // The rest of the configuration is valid without it.
        self.change(&config, false)?;
        Ok(Reply::Done(Done {}))
    }

    /// Replaces the content of one namespace.
    pub(super) fn apply_in(&mut self, at: usize, apply: Apply) -> Result<Reply, Failure> {
        let mut errors = InputErrors::default();
        if !apply.config.ports.is_empty() {
            errors.add(
                "ports",
                "a namespace cannot configure ports",
                "configure them at the top level, without a namespace",
            );
        }
        if !apply.config.namespaces.is_empty() {
            errors.add(
                "namespaces",
                "a namespace cannot contain namespaces",
                "apply them without a namespace",
            );
        }
        errors.into_result()?;
        let mut config = self.config();
        let location = format!("namespaces[{at}]");
        let old = config.namespaces[at].content();
        let mut content = apply.config;
        if content.start == Start::default() {
            content.start = old.start.clone();
        }
        content.services.share_with(&old.services);
        config.namespaces[at] = config.namespaces[at].with_content(&content);
        let new = config.namespaces[at].content();
        validate(&config).map_err(|errors| relocate(errors.into(), &format!("{location}."), ""))?;
        let running = self.named[at].engine.compiler.running().clone();
        let mut applied = diff::diff(&Config { start: running, ..old }, &new);
        applied.dry_run = apply.dry_run;
        let outcome = if apply.dry_run { self.check(&config, false) } else { self.change(&config, false) };
        outcome.map_err(|why| relocate(why, &format!("{location}."), ""))?;
        Ok(Reply::Applied(applied))
    }

    fn change_checked(&mut self, mut config: Config, default_namespace: bool) -> Result<Reply, Failure> {
        self.name_ports(&mut config)?;
        validate(&config)?;
        self.change(&config, default_namespace)?;
        Ok(Reply::Done(Done {}))
    }

    /// Replaces port numbers in bindings by port names.
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
                        format!("use one of {}, or a port number from 0", names.join(", ")),
                    ),
                }
            }
        }
        Ok(errors.into_result()?)
    }

    /// Installs a validated configuration. The content of the default namespace changes only with `default_namespace`,
    /// its bindings in any case.
    ///
    /// # Errors
    /// If a limit would be exceeded, or something does not exist; then nothing has changed. Or if a worker does not
    /// respond in time.
    pub(super) fn change(&mut self, config: &Config, default_namespace: bool) -> Result<(), Failure> {
        self.check(config, default_namespace)?;
        let wanted = &config.namespaces;
        let mut fresh = self.add_missing(wanted)?;
        if let Err(why) = self.prepare_bindings(wanted) {
            fresh.iter().for_each(|named| drop(self.namespaces.remove(named.id)));
            return Err(why);
        }
        let outcomes = [
            self.configure_all(config, default_namespace, &mut fresh),
            self.namespaces.bind(&self.bindings(wanted, &fresh)),
            self.remove_others(wanted),
        ];
        self.named.append(&mut fresh);
        let index = |named: &NamedNamespace| wanted.iter().position(|namespace| namespace.name == named.name);
        self.named.sort_by_key(index);
        outcomes.into_iter().collect()
    }

    /// Checks a validated configuration against the limits of the existing namespaces.
    pub(super) fn check(&self, config: &Config, default_namespace: bool) -> Result<(), Failure> {
        if default_namespace {
            self.default_namespace.check(config)?;
        }
        for (index, new) in config.namespaces.iter().enumerate() {
            let Some(named) = self.named.iter().find(|named| named.name == new.name) else { continue };
            let checked = named.check_change(new).and_then(|()| named.engine.check(&new.content()));
            checked.map_err(|why| relocate(why, "", &format!("namespaces[{index}].")))?;
        }
        Ok(())
    }

    /// Creates the namespaces that do not exist yet: all, or none.
    fn add_missing(&mut self, wanted: &[Namespace]) -> Result<Vec<NamedNamespace>, Failure> {
        let mut fresh: Vec<NamedNamespace> = Vec::new();
        for (index, new) in wanted.iter().enumerate() {
            if self.named.iter().any(|named| named.name == new.name) {
                continue;
            }
            let created = self.create(new, &fresh);
            match created.map_err(|why| relocate(why, "", &format!("namespaces[{index}]."))) {
                Ok(named) => fresh.push(named),
                Err(why) => {
                    for named in fresh {
                        let _ = self.namespaces.remove(named.id);
                    }
                    return Err(why);
                }
            }
        }
        Ok(fresh)
    }

    fn create(&mut self, new: &Namespace, fresh: &[NamedNamespace]) -> Result<NamedNamespace, Failure> {
        let taken = |id: &NamespaceId| self.named.iter().chain(fresh).any(|named| named.id == *id);
        // Validation limits the number of namespaces, but those being removed still have their ids.
        let id = (1..=binding::MAX_NAMESPACES as u16).map(NamespaceId).find(|id| !taken(id));
        let id = id.ok_or_else(|| {
            Failure::Internal("all namespace ids are in use; remove some namespaces first".to_owned())
        })?;
        let content = new.content();
        let compiler = Compiler::new(&content.start, self.ports.names());
        let mut engine =
            NamespaceEngine::new(compiler, Workers::new(Vec::new()), None, self.default_namespace.epoch);
        engine.check(&content)?;
        let added = self.namespaces.add(id, new)?;
        engine.workers = Workers::new(added.workers);
        let (name, bindings, netns) = (new.name.clone(), new.bindings.clone(), new.netns.clone());
        let mut named = NamedNamespace { id, name, bindings, netns, engine, network_updates: None };
        named.set_mirror(added.mirror);
        Ok(named)
    }

    /// Prepares twins for new bindings of existing namespaces.
    fn prepare_bindings(&mut self, wanted: &[Namespace]) -> Result<(), Failure> {
        let mut mirrors = Vec::new();
        for named in &self.named {
            let new = find(wanted, &named.name);
            match new.map_or(Ok(None), |new| self.namespaces.prepare_bindings(named.id, &new.bindings)) {
                Ok(mirror) => mirrors.push(mirror),
                Err(why) => {
                    self.named.iter().for_each(|named| self.namespaces.cancel_bindings(named.id));
                    return Err(why);
                }
            }
        }
        self.named.iter_mut().zip(mirrors).for_each(|(named, mirror)| named.set_mirror(mirror));
        Ok(())
    }

    /// Installs content and bindings of all new and existing namespaces.
    fn configure_all(
        &mut self,
        config: &Config,
        default_namespace: bool,
        fresh: &mut [NamedNamespace],
    ) -> Result<(), Failure> {
        let wanted = &config.namespaces;
        let link_filter = LinkFilter::new(None, wanted);
        let default_outcome = if default_namespace {
            let own = Config { namespaces: Vec::new(), ..config.clone() };
            self.default_namespace.replace(&own, link_filter)
        } else {
            self.default_namespace.set_link_filter(link_filter)
        };
        let mut outcomes = vec![default_outcome];
        for named in self.named.iter_mut().chain(fresh) {
            let Some(new) = find(wanted, &named.name) else { continue };
            named.bindings.clone_from(&new.bindings);
            named.netns.clone_from(&new.netns);
            let (content, link_filter) = (new.content(), named.link_filter(wanted));
            outcomes.push(if *named.engine.config() == content {
                named.engine.set_link_filter(link_filter)
            } else {
                named.engine.replace(&content, link_filter)
            });
        }
        outcomes.into_iter().collect()
    }

    /// Removes the namespaces that are no longer configured.
    fn remove_others(&mut self, wanted: &[Namespace]) -> Result<(), Failure> {
        let (kept, removed) =
            self.named.drain(..).partition(|named: &NamedNamespace| find(wanted, &named.name).is_some());
        self.named = kept;
        let outcomes: Vec<_> =
            removed.into_iter().map(|named: NamedNamespace| self.namespaces.remove(named.id)).collect();
        outcomes.into_iter().collect()
    }

    /// Returns the namespace of each port and VLAN, by port number.
    fn bindings(&self, wanted: &[Namespace], fresh: &[NamedNamespace]) -> Vec<binding::Binding> {
        let id = |name: &str| {
            self.named.iter().chain(fresh).find(|named| named.name == name).map(|named| named.id)
        };
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

/// Replaces the prefix of error locations, so that they match the request's parameters.
fn relocate(why: Failure, prefix: &str, by: &str) -> Failure {
    let Failure::InputErrors(mut errors) = why else { return why };
    for error in &mut errors.0 {
        if let Some(rest) = error.location.strip_prefix(prefix) {
            error.location = format!("{by}{rest}");
        }
    }
    errors.into()
}
