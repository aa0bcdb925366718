//! Values of arguments, with errors that say what to write instead.

use std::net::{IpAddr, SocketAddr};

use crate::model::validate::MAX_WEIGHT;

/// `10.0.2.11:80`, `[2001:db8::1]:80`.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| wrong_socket(text))
}

fn wrong_socket(text: &str) -> String {
    let host_alone = text.trim_matches(['[', ']']).parse::<IpAddr>();
    if let Ok(address) = host_alone
        && (address.is_ipv4() || text.starts_with('['))
    {
        return format!("the port is missing; write {}", SocketAddr::new(address, 80));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return "not an address with a port; write 10.9.9.1:80 or [2001:db8::1]:80".to_owned();
    };
    match (host.trim_matches(['[', ']']).parse::<IpAddr>(), port.parse::<u64>()) {
        _ if host.contains(':') && !host.starts_with('[') => {
            "an IPv6 address with a port needs brackets; write [2001:db8::1]:80".to_owned()
        }
        (Ok(_), Ok(port)) => format!("port {port} is above 65535; use 0 to 65535"),
        (Ok(_), Err(_)) => format!("{port:?} is not a port number; write 0 to 65535"),
        (Err(_), _) => format!("{host:?} is not an IP address; host names are not looked up"),
    }
}

/// A weight.
pub(super) fn weight(text: &str) -> Result<u32, String> {
    let weight = text.parse::<u32>().ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| format!("not a whole number from 0 to {MAX_WEIGHT}"))
}

/// A number of connections.
pub(super) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("not a whole number from 0 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_write() {
        let rows = [
            ("10.2.0.99", "the port is missing; write 10.2.0.99:80"),
            ("[fd00::1]", "the port is missing; write [fd00::1]:80"),
            ("fd00::1:80", "an IPv6 address with a port needs brackets; write [2001:db8::1]:80"),
            ("10.2.0.99:99999", "port 99999 is above 65535; use 0 to 65535"),
            ("10.9.9.9:http", "\"http\" is not a port number; write 0 to 65535"),
            ("web:80", "\"web\" is not an IP address; host names are not looked up"),
            ("web", "not an address with a port; write 10.9.9.1:80 or [2001:db8::1]:80"),
        ];
        for (text, error) in rows {
            assert_eq!(socket(text).unwrap_err(), error, "{text}");
        }
        assert!(count("-1").unwrap_err().contains("from 0 to 4294967295"));
        for text in ["-1", "2147483648"] {
            assert!(weight(text).unwrap_err().contains("from 0 to 2147483647"), "{text}");
        }
    }
}
