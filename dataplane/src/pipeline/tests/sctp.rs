//! Which SCTP chunks open a connection.

use etherparse::{IpNumber, PacketBuilder};

use super::bed::*;
use crate::conn::Sizes;
use crate::service::Method;
use crate::wire::protocol;
use crate::wire::sctp::{ABORT, CHUNK_LEN, INIT};

/// A packet of client number `n` with one chunk of this type and no value.
fn chunk(kind: u8, n: u16) -> Vec<u8> {
    let [from, to] = [client().l4_port + n, vip().l4_port].map(u16::to_be_bytes);
    let header = [from[0], from[1], to[0], to[1], 0, 0, 0, 1, 0, 0, 0, 0];
    let sctp = [&header[..], &[kind, 0, 0, CHUNK_LEN as u8]].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv4([192, 0, 2, 10], [10, 9, 9, 1], 64)
        .write(&mut frame, IpNumber::SCTP, &sctp)
        .unwrap();
    frame
}

#[test]
fn init_opens_a_connection_and_if_sloppy_every_chunk_except_abort() {
    for sloppy in [false, true] {
        let sizes = Sizes { ipv4: 512, ipv6: 8, extra: 0 };
        let mut plan = Plan { protocol: protocol::SCTP, sizes, ..Plan::new(Method::Dr) };
        plan.settings.sloppy_sctp = sloppy;
        let mut bed = plan.build();
        for kind in 0..=u8::MAX {
            let before = bed.worker.default_namespace.pipeline.conns.used().ipv4;
            bed.client_sends(&chunk(kind, kind.into()));
            let opened = bed.worker.default_namespace.pipeline.conns.used().ipv4 - before;
            let opens = kind == INIT || sloppy && kind != ABORT;
            assert_eq!(opened, u32::from(opens), "type {kind}, sloppy_sctp {sloppy}");
        }
    }
}
