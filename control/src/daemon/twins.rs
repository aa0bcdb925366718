//! The ports' twins in the kernel: frames to and from them, and the mirror.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam::channel::{Receiver, never};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::dpdk::{Mbuf, Pool};

use super::error::RunError;
use super::ports::OpenPorts;
use crate::kernel::exception::{ExceptionHandle, ExceptionPath, Injector};
use crate::kernel::namespace::{KernelNamespaces, KernelRings, PortAttributes, PortList};
use crate::kernel::netlink::{Mirror, Twin};
use crate::kernel::tap::TapDevice;
use crate::model::network::NetworkState;

/// Copies frames from the kernel into packet buffers, and puts them on the ring to the first worker.
struct RingInjector {
    pool: Pool,
    ring: Arc<ArrayQueue<(usize, Mbuf)>>,
}

impl Injector for RingInjector {
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool {
        self.pool.packet(frame).is_some_and(|packet| self.ring.push((port, packet)).is_ok())
    }
}

pub(super) fn start_exception(
    twins: &[Twin],
    ports: &OpenPorts,
    rings: KernelRings<Mbuf>,
    pool: Pool,
) -> Result<(ExceptionPath, ExceptionHandle<Mbuf>), RunError> {
    let create = |twin: &Twin| {
        let device = TapDevice::create(&twin.ifname, ports.mac(&twin.port), ports.mtu(&twin.port));
        device.map(Some).map_err(|why| RunError::Twin { port: twin.port.clone(), why })
    };
    let devices = twins.iter().map(create).collect::<Result<_, _>>()?;
    ExceptionPath::start(devices, rings.kernel, RingInjector { pool, ring: rings.inject })
        .map_err(|why| RunError::System { what: "start the exception path", why })
}

/// Names of the twins, by that of the port.
pub(super) fn by_port(twins: &[Twin]) -> BTreeMap<String, String> {
    twins.iter().map(|twin| (twin.port.clone(), twin.ifname.clone())).collect()
}

pub(super) fn port_list(twins: &[Twin], ports: &OpenPorts) -> PortList {
    let attributes = |twin: &Twin| {
        let (mac, mtu) = (ports.mac(&twin.port), ports.mtu(&twin.port));
        PortAttributes { port: twin.port.clone(), twin: twin.ifname.clone(), mac, mtu }
    };
    PortList(twins.iter().map(attributes).collect())
}

pub(super) fn kernel_namespaces(
    exception: ExceptionHandle<Mbuf>,
    ports: PortList,
    pool: Pool,
    use_kernel: bool,
) -> KernelNamespaces<Mbuf> {
    let new_injector = move |ring| Box::new(RingInjector { pool: pool.clone(), ring }) as Box<dyn Injector>;
    KernelNamespaces::new(exception, ports, Box::new(new_injector), use_kernel)
}

pub(super) fn start_mirror(twins: Vec<Twin>) -> Result<(Option<Mirror>, Receiver<NetworkState>), RunError> {
    if twins.is_empty() {
        return Ok((None, never()));
    }
    let (mirror, network_state) = Mirror::start(twins)?;
    Ok((Some(mirror), network_state))
}
