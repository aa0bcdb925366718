//! The ports' twins in the kernel: frames to and from them, and the mirror.

use std::sync::Arc;

use crossbeam::channel::{Receiver, never};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::dpdk::{Mbuf, Pool};

use super::error::RunError;
use super::ports::OpenPorts;
use crate::kernel::exception::{ExceptionPath, Injector, Switch};
use crate::kernel::namespace::{Face, Facing, KernelNamespaces, KernelRings};
use crate::kernel::netlink::{Mirror, Twin};
use crate::kernel::tap::TapDevice;
use crate::model::network_config::NetworkConfig;

/// Puts frames of the kernel into buffers and on the ring to the first worker.
struct ToWire {
    pool: Pool,
    ring: Arc<ArrayQueue<(usize, Mbuf)>>,
}

impl Injector for ToWire {
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool {
        self.pool.packet(frame).is_some_and(|packet| self.ring.push((port, packet)).is_ok())
    }
}

pub(super) fn start_exception(
    twins: &[Twin],
    ports: &OpenPorts,
    rings: KernelRings<Mbuf>,
    pool: Pool,
) -> Result<(ExceptionPath, Switch<Mbuf>), RunError> {
    let create = |twin: &Twin| {
        let device = TapDevice::create(&twin.ifname, ports.mac(&twin.port), ports.mtu(&twin.port));
        device.map(Some).map_err(|why| RunError::Twin { port: twin.port.clone(), why })
    };
    let devices = twins.iter().map(create).collect::<Result<_, _>>()?;
    ExceptionPath::start(devices, rings.kernel, ToWire { pool, ring: rings.inject })
        .map_err(|why| RunError::System { what: "starting the exception path", why })
}

pub(super) fn facing(twins: &[Twin], ports: &OpenPorts) -> Facing {
    let face = |twin: &Twin| {
        let (mac, mtu) = (ports.mac(&twin.port), ports.mtu(&twin.port));
        Face { port: twin.port.clone(), twin: twin.ifname.clone(), mac, mtu }
    };
    Facing(twins.iter().map(face).collect())
}

pub(super) fn kernel_namespaces(
    switch: Switch<Mbuf>,
    facing: Facing,
    pool: Pool,
    use_kernel: bool,
) -> KernelNamespaces<Mbuf> {
    let to_wire = move |ring| Box::new(ToWire { pool: pool.clone(), ring }) as Box<dyn Injector>;
    KernelNamespaces::new(switch, facing, Box::new(to_wire), use_kernel)
}

pub(super) fn start_mirror(twins: Vec<Twin>) -> Result<(Option<Mirror>, Receiver<NetworkConfig>), RunError> {
    if twins.is_empty() {
        return Ok((None, never()));
    }
    let (mirror, network_config) = Mirror::start(twins)?;
    Ok((Some(mirror), network_config))
}
