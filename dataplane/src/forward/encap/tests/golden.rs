//! Headers that Linux put in front of packets, from the recorded cases tun-gue-gre, tun-gue-csum, tun-gre-csum, mtu-tun,
//! mtu-tun-nodisc, tun-v6 and v6-tun-4.

use super::*;

struct Row {
    what: &'static str,
    tunnel: Tunnel,
    target: &'static str,
    keep_df: bool,
    /// The packet as it came, and how many times the letter x follows.
    inner: &'static str,
    fill: usize,
    /// The headers that Linux put in front.
    outer: &'static str,
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// Gives our packet the source port that Linux drew at random.
fn same_source_l4_port(made: &mut [u8], want: &[u8], at: usize) {
    let (udp, wanted) = (view_mut::<UdpHdr>(made, at).unwrap(), view::<UdpHdr>(want, at).unwrap());
    assert!((FIRST_L4_PORT..=LAST_L4_PORT).contains(&udp.src.get()));
    let delta = Delta::new(udp.src.get().into(), wanted.src.get().into());
    udp.src = wanted.src;
    if udp.sum.get() != 0 {
        udp.sum = delta.patch(udp.sum);
    }
}

#[test]
fn headers_are_those_of_linux() {
    for row in ROWS {
        let ipv6 = row.inner.starts_with('6');
        let mut inner = unhex(row.inner);
        inner.resize(inner.len() + row.fill, b'x');
        rewrite::decrement_ttl(&mut inner, 0, ipv6);
        let want = [unhex(row.outer), inner.clone()].concat();
        let target: IpAddr = row.target.parse().unwrap();
        let source = if target.is_ipv4() { "10.0.2.1" } else { "fd00:2::1" }.parse().unwrap();
        let outer = Outer { source, target, tunnel: row.tunnel, keep_df: row.keep_df };
        let mut packet = Frame::new(&[&[0; 14], &inner[..]].concat());
        // Linux counts from anywhere; the row says what the next number is.
        let mut id = u16::from_be_bytes([want[4], want[5]]).wrapping_sub(1);
        let span = span(14, ipv6, inner.len());
        let at = tunnel(&mut packet, span, &outer, 0xfeed_beef_0000_0000, &mut id).unwrap();
        let made = &mut packet.bytes_mut()[at.into()..];
        if matches!(row.tunnel, Tunnel::Gue { .. }) {
            same_source_l4_port(made, &want, ip_len(&target));
        }
        assert_eq!(made, want, "{}", row.what);
    }
}

const ROWS: [Row; 18] = [
    Row {
        what: "GRE",
        tunnel: Tunnel::Gre { checksum: false },
        target: "10.0.2.12",
        keep_df: true,
        inner: "45000028000700004006a5b5c000020a0a0909019c400050000003e800000000500220001a560000",
        fill: 0,
        outer: "45000040605d00003f2f03260a0002010a00020c00000800",
    },
    Row {
        what: "GUE",
        tunnel: Tunnel::Gue { l4_port: 6080, checksum: false },
        target: "10.0.2.11",
        keep_df: true,
        inner: "45000028000700004006a5b5c000020a0a0909019c410050000003e800000000500220001a550000",
        fill: 0,
        outer: "45000048aba200003f11b7f70a0002010a00020b9ba417c00034000000040000",
    },
    Row {
        what: "GUE with a checksum",
        tunnel: Tunnel::Gue { l4_port: 5555, checksum: true },
        target: "10.0.2.12",
        keep_df: true,
        inner: "45000028000700004006a5b5c000020a0a0909019c400050000003e800000000500220001a560000",
        fill: 0,
        outer: "45000048d63f00003f118d590a0002010a00020ce8ba15b30034be3600040000",
    },
    Row {
        what: "GUE with a checksum, an odd length",
        tunnel: Tunnel::Gue { l4_port: 5555, checksum: true },
        target: "10.0.2.12",
        keep_df: true,
        inner: "4500002b000700004006a5b2c000020a0a0909019c400050000003e9000000015018200046d600006f6464",
        fill: 0,
        outer: "4500004bd64000003f118d550a0002010a00020ce8ba15b30037be3300040000",
    },
    Row {
        what: "GRE with a checksum, an odd length",
        tunnel: Tunnel::Gre { checksum: true },
        target: "10.0.2.11",
        keep_df: true,
        inner: "4500002b000700004006a5b2c000020a0a0909019c400050000003e9000000015018200046d600006f6464",
        fill: 0,
        outer: "45000047e7e100003f2f7b9b0a0002010a00020b800008004d310000",
    },
    Row {
        what: "GRE with a checksum",
        tunnel: Tunnel::Gre { checksum: true },
        target: "10.0.2.11",
        keep_df: true,
        inner: "4500002c000700004006a5b1c000020a0a0909019c400050000003e900000001501820004f5500006576656e",
        fill: 0,
        outer: "45000048e7e200003f2f7b990a0002010a00020b800008004d320000",
    },
    Row {
        what: "IP in IP takes over don't fragment",
        tunnel: Tunnel::Ipip,
        target: "10.0.2.11",
        keep_df: true,
        inner: "450005c80009400040066013c000020a0a0909019c400050000003e9000000015010200041d30000",
        fill: 1440,
        outer: "450005dc000040003f041e130a0002010a00020b",
    },
    Row {
        what: "GUE takes over don't fragment",
        tunnel: Tunnel::Gue { l4_port: 6080, checksum: false },
        target: "10.0.2.11",
        keep_df: true,
        inner: "450005bc000940004006601ec000020a0a0909029c400050000003e9000000015010200014b10000",
        fill: 1428,
        outer: "450005dc000040003f111e060a0002010a00020bdd6d17c005c8000000040000",
    },
    Row {
        what: "GRE takes over don't fragment",
        tunnel: Tunnel::Gre { checksum: false },
        target: "10.0.2.11",
        keep_df: true,
        inner: "450005c40009400040066015c000020a0a0909039c400050000003e9000000015010200032c60000",
        fill: 1436,
        outer: "450005dc000040003f2f1de80a0002010a00020b00000800",
    },
    Row {
        what: "GRE with a checksum takes over don't fragment",
        tunnel: Tunnel::Gre { checksum: true },
        target: "10.0.2.11",
        keep_df: true,
        inner: "450005c00009400040066018c000020a0a0909049c400050000003e9000000015010200023ba0000",
        fill: 1432,
        outer: "450005dc000040003f2f1de80a0002010a00020b8000080052c90000",
    },
    Row {
        what: "without pmtu_disc the outer packet may be fragmented",
        tunnel: Tunnel::Ipip,
        target: "10.0.2.11",
        keep_df: false,
        inner: "450005c80009400040066013c000020a0a0909019c400050000003e9000000015010200041d30000",
        fill: 1440,
        outer: "450005dcd3cd00003f048a450a0002010a00020b",
    },
    Row {
        what: "so may GRE with a checksum",
        tunnel: Tunnel::Gre { checksum: true },
        target: "10.0.2.11",
        keep_df: false,
        inner: "450005c00009400040066018c000020a0a0909049c400050000003e9000000015010200023ba0000",
        fill: 1432,
        outer: "450005dcdb0900003f2f82de0a0002010a00020b8000080052c90000",
    },
    Row {
        what: "IPv6: GRE with a checksum",
        tunnel: Tunnel::Gre { checksum: true },
        target: "fd00:2::e",
        keep_df: true,
        inner: "600000050014064020010db8000000000000000000000010fd0000090000000000000000000000019c400050\
            000000010000000050022000c87d0000",
        fill: 0,
        outer: "6000000000442f3ffd000002000000000000000000000001fd00000200000000000000000000000e800086dd\
            92e30000",
    },
    Row {
        what: "IPv6: GRE, a traffic class with congestion",
        tunnel: Tunnel::Gre { checksum: false },
        target: "fd00:2::d",
        keep_df: true,
        inner: "6b8000050014064020010db8000000000000000000000010fd0000090000000000000000000000019cf80050\
            000000010000000050022000c7c50000",
        fill: 0,
        outer: "6b80000000402f3ffd000002000000000000000000000001fd00000200000000000000000000000d000086dd",
    },
    Row {
        what: "IPv6: GUE",
        tunnel: Tunnel::Gue { l4_port: 6080, checksum: false },
        target: "fd00:2::c",
        keep_df: true,
        inner: "603000050014064020010db8000000000000000000000010fd0000090000000000000000000000019c430050\
            000000010000000050022000c87a0000",
        fill: 0,
        outer: "602000000048113ffd000002000000000000000000000001fd00000200000000000000000000000ca20f17c0\
            0048000000290000",
    },
    Row {
        what: "IPv6 in IPv6",
        tunnel: Tunnel::Ipip,
        target: "fd00:2::b",
        keep_df: true,
        inner: "601000050014064020010db8000000000000000000000010fd0000090000000000000000000000019c410050\
            000000010000000050022000c87c0000",
        fill: 0,
        outer: "60100000003c293ffd000002000000000000000000000001fd00000200000000000000000000000b",
    },
    Row {
        what: "IPv6 in IPv4",
        tunnel: Tunnel::Ipip,
        target: "10.0.2.11",
        keep_df: true,
        inner: "600000000014064020010db8000000000000000000000010fd0000090000000000000000000000019c400050\
            000000000000000050022000c87e0000",
        fill: 0,
        outer: "45000050063100003f295d490a0002010a00020b",
    },
    Row {
        what: "IPv4 in IPv6",
        tunnel: Tunnel::Ipip,
        target: "fd00:2::c",
        keep_df: true,
        inner: "45000028000700004006a5b5c000020a0a0909019c400050000003e800000000500220001a560000",
        fill: 0,
        outer: "600000000028043ffd000002000000000000000000000001fd00000200000000000000000000000c",
    },
];
