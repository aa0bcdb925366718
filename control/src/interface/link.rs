//! The kernel's interfaces, read from `ip -json -details address show`.

use serde::Deserialize;
use serde_json::Value;

use super::InterfaceError;
use super::system::System;

const WORDS: [&str; 4] = ["-json", "-details", "address", "show"];
/// Kinds of interfaces that receive the frames of the one below them.
const UPPERS: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `ether`, `loopback`, ...
    pub link_type: String,
    /// Kind of a virtual interface: `veth`, `vlan`, ...
    pub kind: Option<String>,
    /// Hardware address, as six hexadecimal bytes.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it answers ARP.
    pub arp: bool,
    /// Whether it receives all multicast frames.
    pub all_multicast: bool,
    /// Whether it receives frames for all hardware addresses.
    pub promiscuous: bool,
    /// Whether an XDP program is attached.
    pub has_program: bool,
    /// The bridge or bond it belongs to.
    pub master: Option<String>,
    /// Addresses other than link-local ones.
    pub addresses: Vec<Address>,
    /// Interfaces on top of it.
    pub uppers: Vec<String>,
}

/// An address of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// `192.0.2.5/24`.
    pub prefix: String,
    /// Other words that `ip address add` needs, such as the broadcast address.
    pub words: Vec<String>,
    /// Whether the kernel made it from a router's advertisement.
    pub dynamic: bool,
}

/// As `ip` prints it. Old versions print empty objects for what they leave out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLink {
    ifindex: u32,
    ifname: String,
    link: Option<String>,
    flags: Vec<String>,
    mtu: u32,
    link_type: String,
    address: String,
    master: Option<String>,
    linkinfo: RawInfo,
    xdp: Option<Value>,
    addr_info: Vec<RawAddress>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawInfo {
    info_kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawAddress {
    family: String,
    local: String,
    /// The other end of a point-to-point address.
    address: Option<String>,
    prefixlen: u8,
    broadcast: Option<String>,
    scope: String,
    label: Option<String>,
    noprefixroute: bool,
    nodad: bool,
    dynamic: bool,
    temporary: bool,
    mngtmpaddr: bool,
}

/// Reads all interfaces of this network namespace.
///
/// # Errors
/// If `ip` fails.
pub fn all(system: &impl System) -> Result<Vec<Link>, InterfaceError> {
    let text = system.run("ip", &WORDS)?;
    parse(&text).map_err(|why| InterfaceError::Output { command: format!("ip {}", WORDS.join(" ")), why })
}

fn parse(text: &str) -> Result<Vec<Link>, String> {
    let raw: Vec<RawLink> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let uppers = |name: &str| -> Vec<String> {
        let on_top = |link: &&RawLink| {
            link.link.as_deref() == Some(name)
                && link.linkinfo.info_kind.as_deref().is_some_and(|kind| UPPERS.contains(&kind))
        };
        raw.iter().filter(on_top).map(|link| link.ifname.clone()).collect()
    };
    let named = raw.iter().filter(|link| !link.ifname.is_empty());
    Ok(named.map(|link| Link { uppers: uppers(&link.ifname), ..Link::from(link) }).collect())
}

impl From<&RawLink> for Link {
    fn from(raw: &RawLink) -> Link {
        let has = |flag: &str| raw.flags.iter().any(|set| set == flag);
        let addresses = raw.addr_info.iter().filter(|address| {
            let is_link_local = address.family == "inet6" && address.scope == "link";
            !address.local.is_empty() && !is_link_local
        });
        Link {
            index: raw.ifindex,
            name: raw.ifname.clone(),
            link_type: raw.link_type.clone(),
            kind: raw.linkinfo.info_kind.clone(),
            mac: raw.address.clone(),
            mtu: raw.mtu,
            up: has("UP"),
            arp: !has("NOARP"),
            all_multicast: has("ALLMULTI"),
            promiscuous: has("PROMISC"),
            has_program: raw.xdp.is_some(),
            master: raw.master.clone(),
            addresses: addresses.map(Address::from).collect(),
            uppers: Vec::new(),
        }
    }
}

impl From<&RawAddress> for Address {
    fn from(raw: &RawAddress) -> Address {
        let mut words = Vec::new();
        let prefix = match &raw.address {
            Some(peer) => {
                words.extend(["peer".to_owned(), format!("{peer}/{}", raw.prefixlen)]);
                raw.local.clone()
            }
            None => format!("{}/{}", raw.local, raw.prefixlen),
        };
        if let Some(broadcast) = &raw.broadcast {
            words.extend(["broadcast".to_owned(), broadcast.clone()]);
        }
        if raw.scope != "global" {
            words.extend(["scope".to_owned(), raw.scope.clone()]);
        }
        if let Some(label) = raw.label.as_deref().filter(|label| label.contains(':')) {
            words.extend(["label".to_owned(), label.to_owned()]);
        }
        let flags = [(raw.noprefixroute, "noprefixroute"), (raw.nodad, "nodad")];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()));
        // Daemons (DHCP) also limit the life of their addresses, but without the kernel managing them.
        let dynamic =
            raw.family == "inet6" && (raw.temporary || raw.mngtmpaddr || raw.dynamic && raw.prefixlen == 64);
        Address { prefix, words, dynamic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[
        {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback",
         "address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
        {},
        {"ifindex":3,"link":"p1","ifname":"eth1","flags":["BROADCAST","MULTICAST","ALLMULTI","UP"],"mtu":9000,
         "master":"br0","link_type":"ether","address":"86:c4:4d:a9:4b:d8","linkinfo":{"info_kind":"veth"},
         "addr_info":[{"family":"inet","local":"192.0.2.5","prefixlen":24,"broadcast":"192.0.2.255","scope":"global",
         "label":"eth1:0"},{"family":"inet","local":"10.0.0.1","address":"10.0.0.2","prefixlen":32,"scope":"global",
         "label":"eth1"},{},
         {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"},
         {"family":"inet6","local":"2001:db8::5","prefixlen":64,"scope":"global","noprefixroute":true,"nodad":true}]},
        {"ifindex":4,"link":"eth1","ifname":"eth1.7","flags":["NOARP"],"linkinfo":{"info_kind":"vlan"}},
        {"ifindex":5,"link":"eth1","ifname":"p1","linkinfo":{"info_kind":"veth"}}]"#;

    #[test]
    fn links_are_read() {
        let links = parse(TEXT).unwrap();
        assert_eq!(links.len(), 4);
        let eth1 = &links[1];
        assert_eq!((eth1.index, eth1.mtu, eth1.kind.as_deref()), (3, 9000, Some("veth")));
        assert_eq!((eth1.up, eth1.arp, eth1.all_multicast), (true, true, true));
        assert_eq!(eth1.master.as_deref(), Some("br0"));
        assert_eq!(eth1.uppers, ["eth1.7"], "the other end of a veth is not on top of it");
        assert!(!links[2].up && !links[2].arp && !links[2].all_multicast);
        assert_eq!(links[0].link_type, "loopback");
    }

    #[test]
    fn addresses_have_the_words_to_add_them_again() {
        let eth1 = &parse(TEXT).unwrap()[1];
        let words: Vec<String> = eth1
            .addresses
            .iter()
            .map(|address| format!("{} {}", address.prefix, address.words.join(" ")))
            .collect();
        assert_eq!(
            words,
            [
                "192.0.2.5/24 broadcast 192.0.2.255 label eth1:0",
                "10.0.0.1 peer 10.0.0.2/32",
                "2001:db8::5/64 noprefixroute nodad"
            ]
        );
    }

    #[test]
    fn other_output_is_an_error() {
        assert!(parse("1: lo: <LOOPBACK>").is_err());
    }
}
