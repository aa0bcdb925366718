//! Restricts a namespace's network state to the ports and VLANs bound to it.

use crate::model::network::NetworkState;
use crate::model::{Namespace, namespace};

/// Bindings of all namespaces, from the point of view of one. By default that is the default namespace with all ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkFilter {
    this: Option<String>,
    /// Names and bindings only.
    all: Vec<Namespace>,
}

impl LinkFilter {
    /// Returns the filter of the namespace `this`, or of the default one if `None`.
    pub fn new(this: Option<&str>, all: &[Namespace]) -> LinkFilter {
        let bare = |namespace: &Namespace| Namespace {
            name: namespace.name.clone(),
            bindings: namespace.bindings.clone(),
            ..Namespace::default()
        };
        LinkFilter { this: this.map(str::to_owned), all: all.iter().map(bare).collect() }
    }

    /// Removes links of other namespaces, and their neighbours. Routes over those links then lead out of a foreign
    /// interface.
    pub fn keep_own(&self, network_state: &mut NetworkState) {
        let this = self.this.as_deref();
        network_state.links.retain(|link| namespace::owner(&self.all, &link.port, link.vlan) == this);
        let links: Vec<String> = network_state.links.iter().map(|link| link.name.clone()).collect();
        network_state.neighbours.retain(|neighbour| links.contains(&neighbour.link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_other_namespaces_are_removed() {
        let network_state: NetworkState = toml::from_str(
            r#"
            links = [
                { name = "p0", port = "a", mac = "02:00:00:00:00:01", mtu = 1500 },
                { name = "p0.7", port = "a", vlan = 7, mac = "02:00:00:00:00:01", mtu = 1500 },
                { name = "p1", port = "b", mac = "02:00:00:00:00:02", mtu = 1500 },
            ]
            neighbours = [
                { link = "p0", address = "10.0.0.1", mac = "02:00:00:00:00:03" },
                { link = "p0.7", address = "10.0.0.1", mac = "02:00:00:00:00:04" },
            ]"#,
        )
        .unwrap();
        let blue: Namespace =
            toml::from_str("name = 'blue'\nbindings = [{ port = 'a', vlan = 7 }, { port = 'b' }]").unwrap();
        let links = |this| {
            let mut own = network_state.clone();
            LinkFilter::new(this, std::slice::from_ref(&blue)).keep_own(&mut own);
            let links: Vec<_> = own.links.iter().map(|link| link.name.clone()).collect();
            let neighbours: Vec<_> = own.neighbours.iter().map(|n| n.link.clone()).collect();
            (links.join(" "), neighbours.join(" "))
        };
        assert_eq!(links(None), ("p0".to_owned(), "p0".to_owned()));
        assert_eq!(links(Some("blue")), ("p0.7 p1".to_owned(), "p0.7".to_owned()));
    }
}
