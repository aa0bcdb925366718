//! SIP.

/// Call-ID.
pub fn call_id(_: &[u8]) -> Option<&[u8]> {
    None
}
