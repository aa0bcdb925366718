//! What of the ports belongs to a namespace. A link of another is not there for it, whatever its kernel says.

use crate::model::network_config::NetworkConfig;
use crate::model::{Namespace, namespace};

/// The bindings of all namespaces, seen from one; the default one, with all ports, at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkFilter {
    me: Option<String>,
    /// Names and bindings, and nothing else.
    all: Vec<Namespace>,
}

impl LinkFilter {
    /// The fence of the namespace `me`, or of the default one, among `all`.
    pub fn new(me: Option<&str>, all: &[Namespace]) -> LinkFilter {
        let bare = |of: &Namespace| Namespace {
            name: of.name.clone(),
            bindings: of.bindings.clone(),
            ..Namespace::default()
        };
        LinkFilter { me: me.map(str::to_owned), all: all.iter().map(bare).collect() }
    }

    /// Takes links of others out, and who is on them. A route that leads there is then one past our ports.
    pub fn keep_own(&self, network_config: &mut NetworkConfig) {
        let me = self.me.as_deref();
        network_config.links.retain(|link| namespace::owner(&self.all, &link.port, link.vlan) == me);
        let links: Vec<String> = network_config.links.iter().map(|link| link.name.clone()).collect();
        network_config.neighbours.retain(|neighbour| links.contains(&neighbour.link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_others_are_not_there() {
        let network_config: NetworkConfig = toml::from_str(
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
        let links = |me| {
            let mut own = network_config.clone();
            LinkFilter::new(me, std::slice::from_ref(&blue)).keep_own(&mut own);
            let links: Vec<_> = own.links.iter().map(|link| link.name.clone()).collect();
            let neighbours: Vec<_> = own.neighbours.iter().map(|n| n.link.clone()).collect();
            (links.join(" "), neighbours.join(" "))
        };
        assert_eq!(links(None), ("p0".to_owned(), "p0".to_owned()));
        assert_eq!(links(Some("blue")), ("p0.7 p1".to_owned(), "p0.7".to_owned()));
    }
}
