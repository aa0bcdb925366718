//! Numbers, addresses and ports as `ipvsadm` reads them.
//!
//! Names of hosts and services are not looked up: a configuration that depends on DNS at the moment of a restore is
//! not one we want to follow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `host[:port]` as it was written; what a missing port means depends on where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub socket: SocketAddr,
    pub has_port: bool,
}

/// A decimal number within bounds; blanks may stand before it, and a sign.
pub(super) fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    let digits = text.trim_start();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let value = if plain { digits.parse().ok()? } else { return None };
    (least..=most).contains(&value).then_some(value)
}

/// An IPv4 address of one to four parts, the last of which fills what is left: `10.9.80` is 10.9.0.80. Parts are
/// decimal, octal after `0` or hexadecimal after `0x`.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut address = 0;
    for (at, part) in first.iter().enumerate() {
        address |= u32::from(u8::try_from(part_number(part)?).ok()?) << (24 - 8 * at);
    }
    let rest = part_number(last)?;
    let fits = u64::from(rest) < 1 << (32 - 8 * first.len());
    fits.then(|| Ipv4Addr::from(address | rest))
}

fn part_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix('0') {
        Some("") | None => (text, 10),
        Some(rest) => rest.strip_prefix(['x', 'X']).map_or((rest, 8), |hex| (hex, 16)),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { u32::from_str_radix(digits, radix).ok() } else { None }
}

/// Reads `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`.
pub(super) fn endpoint(text: &str) -> Option<Endpoint> {
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        // As in ipvsadm brackets are there for a port, and without one they are an error.
        let (address, port) = rest.split_once("]:")?;
        (IpAddr::V6(address.parse().ok()?), Some(port))
    } else if let Ok(address) = text.parse::<Ipv6Addr>() {
        (IpAddr::V6(address), None)
    } else {
        match text.split_once(':') {
            Some((address, port)) => (IpAddr::V4(ipv4(address)?), Some(port)),
            None => (IpAddr::V4(ipv4(text)?), None),
        }
    };
    let l4_port = port.map_or(Some(0), |port| number(port, 0, u16::MAX.into()))?;
    let socket = SocketAddr::new(address, u16::try_from(l4_port).ok()?);
    Some(Endpoint { socket, has_port: port.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_c_library_does() {
        let rows = [
            ("10.9.9.1", Some([10, 9, 9, 1])),
            ("10.9.80", Some([10, 9, 0, 80])),
            ("24", Some([0, 0, 0, 24])),
            ("0xff.010.1", Some([255, 8, 0, 1])),
            ("4294967295", Some([255; 4])),
            ("10.9.9.256", None),
            ("1.2.3.4.5", None),
            ("", None),
            ("10..1", None),
            ("10.9.9.+1", None),
            ("www", None),
        ];
        for (text, octets) in rows {
            assert_eq!(ipv4(text), octets.map(Ipv4Addr::from), "{text}");
        }
    }

    #[test]
    fn endpoints_have_a_port_or_not() {
        let rows = [
            ("10.9.9.1:80", Some(("10.9.9.1:80", true))),
            ("10.9.9.1", Some(("10.9.9.1:0", false))),
            ("fd00:9::5", Some(("[fd00:9::5]:0", false))),
            ("[fd00:9::5]:80", Some(("[fd00:9::5]:80", true))),
            ("[fd00:9::5]", None),
            ("[fd00:9::5]80", None),
            ("10.9.9.5:", None),
            ("10.9.9.5:-1", None),
            ("10.9.9.5:99999", None),
            (":80", None),
        ];
        for (text, read) in rows {
            let ours = endpoint(text).map(|e| (e.socket.to_string(), e.has_port));
            assert_eq!(ours, read.map(|(socket, has)| (socket.to_owned(), has)), "{text}");
        }
    }
}
