//! Two namespaces with the same addresses, each with a kernel network namespace of its own.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use pollux_control::kernel::exception::{ExceptionPath, Injector};
use pollux_control::kernel::namespace::{KernelMirror, KernelNamespaces, PortAttributes, PortList};
use pollux_control::kernel::namespace::{KernelNamespaceOperations, KernelRings};
use pollux_control::model::network::NetworkState;
use pollux_control::model::{Binding, Namespace};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::worker::binding::NamespaceId;

use crate::bed::{self, FOREIGN, Frame, OURS, PEER, Sent, alone, ip, until};
use crate::frames;

/// Injects frames into the ring of a namespace.
struct Wire(Arc<ArrayQueue<(usize, Frame)>>);

impl Injector for Wire {
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool {
        self.0.push((port, Frame(frame.to_vec()))).is_ok()
    }
}

/// A namespace as the data plane sees it.
struct Side {
    to_kernel: Arc<ArrayQueue<(usize, Frame)>>,
    from_kernel: Arc<ArrayQueue<(usize, Frame)>>,
    netns: String,
    mirror: KernelMirror,
}

impl Side {
    fn join(
        kernel_namespaces: &mut KernelNamespaces<Frame>,
        id: u16,
        name: &str,
        bindings: &[Binding],
    ) -> Side {
        let (to_kernel, from_kernel) = (Arc::new(ArrayQueue::new(64)), Arc::new(ArrayQueue::new(64)));
        let rings = KernelRings { kernel: Arc::clone(&to_kernel), inject: Arc::clone(&from_kernel) };
        let netns = format!("krn-{}-{name}", std::process::id());
        let namespace =
            Namespace { name: netns.clone(), bindings: bindings.to_vec(), ..Namespace::default() };
        let mirror = kernel_namespaces.add(NamespaceId(id), &namespace, rings).unwrap().unwrap();
        kernel_namespaces.commit_bindings();
        Side { to_kernel, from_kernel, netns, mirror }
    }

    fn ip(&self, words: &str) -> String {
        ip(&format!("-n {} {words}", self.netns))
    }

    fn arrives(&self, port: usize, frame: Vec<u8>) {
        assert!(self.to_kernel.push((port, Frame(frame))).is_ok());
    }

    fn leaves(&self, what: &str, is_it: impl Fn(usize, &[u8]) -> bool) -> Vec<u8> {
        until(what, || {
            let (port, frame) = self.from_kernel.pop()?;
            is_it(port, frame.bytes()).then_some(frame.0)
        })
    }
}

fn on(port: &str, vlan: Option<u16>) -> Binding {
    Binding { port: port.to_owned(), vlan }
}

fn kernel_namespaces() -> (ExceptionPath, KernelNamespaces<Frame>) {
    let ring = Arc::new(ArrayQueue::<(usize, Frame)>::new(8));
    let (path, exception_handle) = ExceptionPath::start(Vec::new(), ring, Sent::default()).unwrap();
    let attributes = |port: &str, twin: &str, mac| PortAttributes {
        port: port.to_owned(),
        twin: twin.to_owned(),
        mac,
        mtu: 1500,
    };
    let ports = PortList(vec![attributes("net0", "krn0", OURS), attributes("net1", "krn1", FOREIGN)]);
    let new_injector = |ring| Box::new(Wire(ring)) as Box<dyn Injector>;
    (path, KernelNamespaces::new(exception_handle, ports, Box::new(new_injector), true))
}

fn is_arp_reply(frame: &[u8], at: usize) -> bool {
    frame[at..at + 2] == [8, 6] && frame[at + 9] == 2
}

#[test]
fn two_namespaces_have_the_same_addresses() {
    alone("kernel_namespaces::two_namespaces_have_the_same_addresses", || {
        let (_path, mut kernel_namespaces) = kernel_namespaces();
        let blue = Side::join(&mut kernel_namespaces, 1, "blue", &[on("net0", Some(7))]);
        let green = Side::join(&mut kernel_namespaces, 2, "green", &[on("net1", None)]);
        blue.ip("addr add 10.77.0.1/24 dev krn0.7");
        green.ip("addr add 10.77.0.1/24 dev krn1");
        let links =
            |state: &NetworkState| state.links.iter().map(|l| (l.port.clone(), l.vlan)).collect::<Vec<_>>();
        let knows =
            |state: &NetworkState| state.addresses.iter().any(|a| a.address.to_string() == "10.77.0.1");
        let network_state = bed::see(&blue.mirror.1, "blue's address", &knows);
        assert_eq!(links(&network_state), [("net0".to_owned(), Some(7))]);
        let network_state = bed::see(&green.mirror.1, "green's address", &knows);
        assert_eq!(links(&network_state), [("net1".to_owned(), None)]);

        let asks = |vlan| frames::arp_request(PEER, [10, 77, 0, 2], [10, 77, 0, 1], vlan);
        blue.arrives(0, asks(Some(7)));
        let reply = blue.leaves("a tagged reply", |port, frame| port == 0 && is_arp_reply(frame, 16));
        assert_eq!((&reply[6..12], &reply[12..16]), (&OURS.0[..], &[0x81, 0, 0, 7][..]));
        green.arrives(1, asks(None));
        let reply = green.leaves("a reply", |port, frame| port == 1 && is_arp_reply(frame, 12));
        assert_eq!(reply[6..12], FOREIGN.0);
        assert!(blue.from_kernel.pop().is_none_or(|(_, frame)| !is_arp_reply(frame.bytes(), 16)));
        // A frame of a VLAN that is not bound to the namespace has no twin.
        blue.arrives(0, asks(Some(8)));
        blue.arrives(0, asks(None));
        blue.mirror.0.resolve("krn0.7", "10.77.0.9".parse().unwrap()).unwrap();
        blue.leaves("a tagged request", |_, frame| frame[12..18] == [0x81, 0, 0, 7, 8, 6] && frame[25] == 1);
        assert!(blue.from_kernel.is_empty());
    });
}

#[test]
fn only_objects_that_were_created_are_removed() {
    alone("kernel_namespaces::only_objects_that_were_created_are_removed", || {
        let (_path, mut kernel_namespaces) = kernel_namespaces();
        let there = format!("krn-{}-there", std::process::id());
        ip(&format!("netns add {there}"));
        let made = Side::join(&mut kernel_namespaces, 1, "made", &[on("net0", None)]);
        let found = Side::join(&mut kernel_namespaces, 2, "there", &[on("net1", None)]);
        assert!(found.ip("-o link show").contains("krn1"));
        let inside = found.ip("-o link show");
        kernel_namespaces.remove(NamespaceId(1));
        kernel_namespaces.remove(NamespaceId(2));
        let left = found.ip("-o link show");
        let names = ip("netns list");
        ip(&format!("netns delete {there}"));
        assert!(inside.contains("krn1") && !left.contains("krn1"), "{left}");
        assert!(names.contains(&there) && !names.contains(&made.netns), "{names}");
    });
}

#[test]
fn twins_follow_the_bindings() {
    alone("kernel_namespaces::twins_follow_the_bindings", || {
        let (_path, mut kernel_namespaces) = kernel_namespaces();
        let mut blue =
            Side::join(&mut kernel_namespaces, 1, "bound", &[on("net0", Some(7)), on("net1", None)]);
        blue.ip("addr add 10.77.0.1/24 dev krn1");
        let bindings = [on("net1", None), on("net0", Some(8))];
        assert!(kernel_namespaces.prepare_bindings(NamespaceId(1), &bindings).unwrap().is_some());
        let links = blue.ip("-o link show");
        assert!(
            links.contains("krn0.7") && links.contains("krn0.8"),
            "until it is bound, both are there: {links}"
        );
        kernel_namespaces.cancel_bindings(NamespaceId(1));
        let links = blue.ip("-o link show");
        assert!(links.contains("krn0.7") && !links.contains("krn0.8"), "as before: {links}");
        blue.mirror = kernel_namespaces.prepare_bindings(NamespaceId(1), &bindings).unwrap().unwrap();
        kernel_namespaces.commit_bindings();
        let network_state = bed::see(&blue.mirror.1, "both twins", &|state| state.links.len() == 2);
        assert_eq!(network_state.links.iter().map(|l| l.vlan).collect::<Vec<_>>(), [Some(8), None]);
        until("the twin of VLAN 7 is gone", || (!blue.ip("-o link show").contains("krn0.7")).then_some(()));
        assert!(
            blue.ip("-o addr show dev krn1").contains("10.77.0.1"),
            "the twin that stays keeps its address"
        );
        assert!(
            kernel_namespaces.prepare_bindings(NamespaceId(1), &bindings).unwrap().is_none(),
            "nothing new"
        );
        assert!(
            kernel_namespaces.prepare_bindings(NamespaceId(9), &bindings).unwrap().is_none(),
            "there is no such namespace"
        );
    });
}

#[test]
fn a_twin_that_cannot_be_created_leaves_nothing_behind() {
    alone("kernel_namespaces::a_twin_that_cannot_be_created_leaves_nothing_behind", || {
        let (_path, mut kernel_namespaces) = kernel_namespaces();
        let there = format!("krn-{}-taken", std::process::id());
        ip(&format!("netns add {there}"));
        ip(&format!("-n {there} link add krn1 type veth peer name krn9"));
        let rings =
            KernelRings { kernel: Arc::new(ArrayQueue::new(1)), inject: Arc::new(ArrayQueue::new(1)) };
        let bindings = vec![on("net0", None), on("net1", None)];
        let namespace = Namespace { name: there.clone(), bindings, ..Namespace::default() };
        let refused =
            kernel_namespaces.add(NamespaceId(1), &namespace, rings).err().map(|why| why.to_string());
        let left = ip(&format!("-n {there} -o link show"));
        ip(&format!("netns delete {there}"));
        let refused = refused.unwrap_or_default();
        assert!(refused.starts_with("TAP twin of net1: interface krn1 already exists"), "{refused}");
        assert!(!left.contains("krn0"), "{left}");
    });
}
