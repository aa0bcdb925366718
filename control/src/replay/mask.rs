//! Blanks fields that Linux fills at random or from a counter, so that frames can be compared byte by byte. A checksum over
//! such a field is blanked only if it is right.

use super::frames::{ETHER, FRAGMENT, Ip, blank, ip_of_frame, protocol, tunnelled};
use super::topology::is_own;

/// Returns the frame with its random fields set to zero. `input` is the frame that caused it, and separates headers that the
/// balancer created from those it forwarded.
pub fn mask(frame: &[u8], input: &[u8]) -> Vec<u8> {
    let mut masked = frame.to_vec();
    let (Some(ip), Some(cause)) = (ip_of_frame(frame), ip_of_frame(input)) else { return masked };
    let ours = is_made_here(&ip, &cause) || is_tunnel(&ip, &cause);
    if ip.is_v4() && ours {
        blank(&mut masked, 4, 2);
        if ip.header_checksum_is_right() {
            blank(&mut masked, 10, 2);
        }
    }
    if !ip.is_v4() && is_made_here(&ip, &cause) {
        // The flow label: the lower 20 bits of the first word.
        if let Some(byte) = masked.get_mut(ETHER + 1) {
            *byte &= 0xf0;
        }
        blank(&mut masked, 2, 2);
    }
    if ip.protocol == FRAGMENT && cause.protocol != FRAGMENT {
        blank(&mut masked, 40 + 4, 4);
    }
    if ip.protocol == protocol::UDP && is_tunnel(&ip, &cause) {
        blank(&mut masked, ip.header, 2);
        if ip.l4_checksum_is_right() {
            blank(&mut masked, ip.header + 6, 2);
        }
    }
    masked
}

/// Returns true for an ICMP error that the balancer created. If the input is not an ICMP error, any error is. An ICMP error
/// as input is forwarded, unless it is about a tunnel packet of ours: then the balancer creates one about the inner packet.
pub fn is_made_here(ip: &Ip<'_>, cause: &Ip<'_>) -> bool {
    let Some(quoted) = ip.quoted() else { return false };
    match cause.quoted() {
        None => true,
        Some(about) => {
            is_own(about.source) && tunnelled(&about).is_some_and(|inner| ends(&inner) == ends(&quoted))
        }
    }
}

/// Returns true for the outer header of our tunnel, with the input inside.
fn is_tunnel(ip: &Ip<'_>, cause: &Ip<'_>) -> bool {
    is_own(ip.source) && tunnelled(ip).is_some_and(|inner| ends(&inner) == ends(cause))
}

fn ends(ip: &Ip<'_>) -> (std::net::IpAddr, std::net::IpAddr) {
    (ip.source, ip.destination)
}
