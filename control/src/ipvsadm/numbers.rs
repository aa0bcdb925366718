//! Numbers, addresses and ports as `ipvsadm` parses them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::names::Names;

/// `host[:port]`. The meaning of a missing port depends on the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub socket: SocketAddr,
    pub has_port: bool,
}

/// A decimal number within bounds, after optional blanks and a sign.
pub(super) fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    // `+5` and `-0` are valid.
    let signed: i64 = text.trim_start_matches(is_blank).parse().ok()?;
    let value = u32::try_from(signed).ok()?;
    (least..=most).contains(&value).then_some(value)
}

/// The C library's `isspace`.
fn is_blank(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\x0b'
}

/// An IPv4 address of one to four parts, the last of which fills the remaining bytes: `10.9.80` is 10.9.0.80. Parts are
/// decimal, octal after `0` or hexadecimal after `0x`. Text after a blank is ignored.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(is_blank).next()?;
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

/// Parses `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`, `web:http`. Without a protocol, ports are numeric.
pub(super) fn endpoint(text: &str, protocol: Option<&str>, names: &dyn Names) -> Option<Endpoint> {
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        // As in ipvsadm, brackets without a port are an error.
        let (address, port) = rest.split_once("]:")?;
        match address.parse() {
            Ok(address) => (IpAddr::V6(address), Some(port)),
            // Around anything but an IPv6 address, the brackets and the port are ignored.
            Err(_) => (without_port(address, names)?.into(), None),
        }
    } else if let Ok(address) = text.parse::<Ipv6Addr>() {
        (IpAddr::V6(address), None)
    } else {
        match text.rsplit_once(':') {
            Some((address, port)) => (host(address, names)?.into(), Some(port)),
            None => (without_port(text, names)?.into(), None),
        }
    };
    let by_number = |port| number(port, 0, u16::MAX.into()).and_then(|port| u16::try_from(port).ok());
    let l4_port = match port {
        Some(port) => by_number(port).or_else(|| names.l4_port(port, protocol?))?,
        None => 0,
    };
    Some(Endpoint { socket: SocketAddr::new(address, l4_port), has_port: port.is_some() })
}

/// A plain number could also be a port, so it is not an address.
fn without_port(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { None } else { host(text, names) }
}

/// An IPv4 address by number or by name.
pub(super) fn host(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    ipv4(text).or_else(|| names.address(text))
}

#[cfg(test)]
mod tests {
    use super::super::names::Numeric;
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
            ("10.9.9.3 more", Some([10, 9, 9, 3])),
            (" 10.9.9.3", None),
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
            ("24", None),
            ("24:80", Some(("0.0.0.24:80", true))),
            ("[10.0.2.16]:80", Some(("10.0.2.16:0", false))),
            ("10.9.9.1: +89", Some(("10.9.9.1:89", true))),
            ("10.9.9.1:-0", Some(("10.9.9.1:0", true))),
            ("10.9.9.1:+ 90", None),
            ("10.9.9.1:80 ", None),
            ("[fd00:9::1]x:80", None),
        ];
        for (text, read) in rows {
            let ours = endpoint(text, Some("tcp"), &Numeric).map(|e| (e.socket.to_string(), e.has_port));
            assert_eq!(ours, read.map(|(socket, has)| (socket.to_owned(), has)), "{text}");
        }
    }
}
