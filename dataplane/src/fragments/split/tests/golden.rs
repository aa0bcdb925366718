//! How Linux cut packets: from the recorded cases mtu-nat-dr, mtu-tun, mtu-tun-nodisc, fragments and v6-fragments.

use super::*;

/// A packet in hex, and how many times the letter x follows.
type Bytes = (&'static str, usize);

struct Row {
    what: &'static str,
    mtu: u16,
    /// The identification that Linux drew; of IPv6 only.
    id: u32,
    /// The packet before. Its checksum is zero: the fragments get their own.
    datagram: Bytes,
    fragments: &'static [Bytes],
}

fn bytes((text, fill): Bytes) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let mut bytes: Vec<u8> =
        digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect();
    bytes.resize(bytes.len() + fill, b'x');
    bytes
}

#[test]
fn packets_are_cut_as_by_linux() {
    for row in ROWS {
        let datagram = bytes(row.datagram);
        let fragments = fragments(&datagram, 14, row.mtu, row.id).unwrap();
        let want: Vec<_> = row.fragments.iter().map(|fragment| bytes(*fragment)).collect();
        assert_eq!(fragments, want, "{}", row.what);
    }
}

const ROWS: [Row; 8] = [
    Row {
        what: "a translated packet over a narrow route",
        mtu: 1400,
        id: 0x00000000,
        datagram: ("45000579000900003f060000c000020a0a0309019c400050000003e900000001501020009cfa0000", 1361),
        fragments: &[
            ("45000574000920003f06816dc000020a0a0309019c400050000003e900000001501020009cfa0000", 1356),
            ("45000019000900ac3f06a61cc000020a0a030901", 5),
        ],
    },
    Row {
        what: "a routed one",
        mtu: 1400,
        id: 0x00000000,
        datagram: ("45000579000900003f060000c000020a0a0909029c400050000003e900000001501020009cf30000", 1361),
        fragments: &[
            ("45000574000920003f068166c000020a0a0909029c400050000003e900000001501020009cf30000", 1356),
            ("45000019000900ac3f06a615c000020a0a090902", 5),
        ],
    },
    Row {
        what: "IP in IP",
        mtu: 1500,
        id: 0x00000000,
        datagram: (
            "450005ddd40b00003f0400000a0002010a00020b450005c9000900003f06a112c000020a0a0909019c400050\
            000003e90000000150102000c9d10000",
            1441,
        ),
        fragments: &[
            (
                "450005dcd40b20003f046a070a0002010a00020b450005c9000900003f06a112c000020a0a0909019c400050\
            000003e90000000150102000c9d10000",
                1440,
            ),
            ("45000015d40b00b93f048f150a0002010a00020b", 1),
        ],
    },
    Row {
        what: "GUE",
        mtu: 1500,
        id: 0x00000000,
        datagram: (
            "450005dd481000003f1100000a0002010a00020bdd6d17c005c9000000040000450005bd000940003f06611d\
            c000020a0a0909029c400050000003e900000001501020009caf0000",
            1429,
        ),
        fragments: &[
            (
                "450005dc481020003f11f5f50a0002010a00020bdd6d17c005c9000000040000450005bd000940003f06611d\
            c000020a0a0909029c400050000003e900000001501020009caf0000",
                1428,
            ),
            ("45000015481000b93f111b040a0002010a00020b", 1),
        ],
    },
    Row {
        what: "GRE with a checksum",
        mtu: 1500,
        id: 0x00000000,
        datagram: (
            "450005dddb0a00003f2f00000a0002010a00020b8000080052ca0000450005c1000940003f066117c000020a\
            0a0909049c400050000003e90000000150102000abb80000",
            1433,
        ),
        fragments: &[
            (
                "450005dcdb0a20003f2f62dd0a0002010a00020b8000080052ca0000450005c1000940003f066117c000020a\
            0a0909049c400050000003e90000000150102000abb80000",
                1432,
            ),
            ("45000015db0a00b93f2f87eb0a0002010a00020b", 1),
        ],
    },
    Row {
        what: "a partial in a tunnel, cut to the size it came in",
        mtu: 52,
        id: 0x00000000,
        datagram: (
            "45000068d0c000003f0400000a0002010a00020b45000054000200003f06a68cc000020a0a0909039c400050\
            0000000000000000500220000000000066666666666666666666666666666666666666666666666666666666\
            66666666666666666666666666666666",
            0,
        ),
        fragments: &[
            (
                "45000034d0c020003f0472fa0a0002010a00020b45000054000200003f06a68cc000020a0a0909039c400050\
            0000000000000000",
                0,
            ),
            (
                "45000034d0c020043f0472f60a0002010a00020b500220000000000066666666666666666666666666666666\
            6666666666666666",
                0,
            ),
            ("45000028d0c000083f0492fe0a0002010a00020b6666666666666666666666666666666666666666", 0),
        ],
    },
    Row {
        what: "IPv6, cut to the size it came in",
        mtu: 88,
        id: 0x75996087,
        datagram: (
            "600000000050063f20010db8000000000000000000000010fd00000200000000000000000000000b9c401f90\
            0000000000000000500220008ae10000",
            60,
        ),
        fragments: &[
            (
                "6000000000302c3f20010db8000000000000000000000010fd00000200000000000000000000000b06000001\
            759960879c401f900000000000000000500220008ae10000",
                20,
            ),
            (
                "6000000000302c3f20010db8000000000000000000000010fd00000200000000000000000000000b06000028\
            75996087",
                40,
            ),
        ],
    },
    Row {
        what: "IPv6 again",
        mtu: 88,
        id: 0x9616e964,
        datagram: (
            "600000000050063f20010db8000000000000000000000010fd0000090000000000000000000000029c400050\
            000000000000000050022000aa230000",
            60,
        ),
        fragments: &[
            (
                "6000000000302c3f20010db8000000000000000000000010fd00000900000000000000000000000206000001\
            9616e9649c400050000000000000000050022000aa230000",
                20,
            ),
            (
                "6000000000302c3f20010db8000000000000000000000010fd00000900000000000000000000000206000028\
            9616e964",
                40,
            ),
        ],
    },
];
