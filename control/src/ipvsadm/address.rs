//! Addresses and ports as text: numeric, or by name if there is one.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::names::Names;

/// Maximum length; longer text is cut.
const MAX_LEN: usize = 59;

/// `10.0.0.1:80`, `[fd00::1]:80`, `web:http`. Without a protocol the port is numeric.
pub(super) fn socket(at: SocketAddr, protocol: Option<&str>, names: &dyn Names) -> String {
    let host = names.host(at.ip()).unwrap_or_else(|| number(at.ip()));
    let service = protocol.and_then(|protocol| names.service(at.port(), protocol));
    let port = service.unwrap_or_else(|| at.port().to_string());
    let mut text = if at.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    text.truncate(text.floor_char_boundary(MAX_LEN));
    text
}

/// The format of the C library: an address with only the last 32 bits set ends with a dotted IPv4 address.
fn number(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(ip) if is_compatible(ip) => {
            let [.., a, b, c, d] = ip.octets();
            format!("::{a}.{b}.{c}.{d}")
        }
        ip => ip.to_string(),
    }
}

fn is_compatible(ip: Ipv6Addr) -> bool {
    let bits = ip.to_bits();
    bits >> 32 == 0 && bits >> 16 != 0
}

#[cfg(test)]
mod tests {
    use super::super::names::Numeric;
    use super::*;

    #[test]
    fn addresses_are_written_as_the_c_library_does() {
        for text in [
            "[::0.1.0.2]:80",
            "[::1.2.3.4]:0",
            "[::]:0",
            "[::1]:0",
            "[::ffff:1.2.3.5]:80",
            "[1:0:0:2::3]:80",
            "[1::2:3:0:0:4]:80",
            "[1:0:3:2:3:0:5:4]:80",
            "[64:ff9b::102:305]:80",
            "10.9.9.1:80",
        ] {
            assert_eq!(socket(text.parse().unwrap(), Some("tcp"), &Numeric), text);
        }
    }
}
