//! The option `--interface IFACE[,MODE]`.

use std::fmt;

use crate::model::validate::is_interface_name;

/// How frames get from the interface to DPDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through a TAP, to and from which the kernel redirects all frames. It completes checksums and splits merged frames.
    Tap,
    /// Through a packet socket, DPDK's `net_af_packet`.
    Packet,
    /// Through an AF_XDP socket, DPDK's `net_af_xdp`.
    Xdp {
        /// Whether the driver writes frames directly to DPDK's buffers; otherwise the kernel copies them.
        zero_copy: bool,
    },
}

impl Mode {
    /// The driver in DPDK, with which the port's name begins.
    pub fn driver(self) -> &'static str {
        match self {
            Mode::Tap => "net_tap",
            Mode::Packet => "net_af_packet",
            Mode::Xdp { .. } => "net_af_xdp",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Tap => "tap",
            Mode::Packet => "packet",
            Mode::Xdp { zero_copy: false } => "xdp",
            Mode::Xdp { zero_copy: true } => "xdp,zero-copy",
        })
    }
}

/// An interface to use, and the mode if it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name of the interface.
    pub name: String,
    /// The mode; `None` lets `polluxd` choose.
    pub mode: Option<Mode>,
}

/// Parses `eth1`, `eth1,auto`, `eth1,tap`, `eth1,packet`, `eth1,xdp` or `eth1,xdp,zero-copy`.
///
/// # Errors
/// If the name or the mode is invalid.
pub fn parse(text: &str) -> Result<Request, String> {
    let (name, mode) = text.split_once(',').unwrap_or((text, "auto"));
    if !is_interface_name(name) {
        return Err(format!("{name:?} is not the name of an interface; `ip link` lists them"));
    }
    let mode = match mode {
        "auto" => None,
        "tap" => Some(Mode::Tap),
        "packet" => Some(Mode::Packet),
        "xdp" => Some(Mode::Xdp { zero_copy: false }),
        "xdp,zero-copy" => Some(Mode::Xdp { zero_copy: true }),
        other => {
            return Err(format!("{other:?} is not a mode; use auto, tap, packet, xdp or xdp,zero-copy"));
        }
    };
    Ok(Request { name: name.to_owned(), mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_names() {
        for mode in [Mode::Tap, Mode::Packet, Mode::Xdp { zero_copy: false }, Mode::Xdp { zero_copy: true }] {
            let request = parse(&format!("eth1,{mode}")).unwrap();
            assert_eq!(request, Request { name: "eth1".to_owned(), mode: Some(mode) });
        }
        for text in ["eth1.7", "eth1.7,auto"] {
            assert_eq!(parse(text).unwrap(), Request { name: "eth1.7".to_owned(), mode: None });
        }
    }

    #[test]
    fn errors_name_the_value_and_the_choices() {
        let error = parse("eth1,fast").unwrap_err();
        assert_eq!(error, "\"fast\" is not a mode; use auto, tap, packet, xdp or xdp,zero-copy");
        for name in ["", ",tap", "a/b", "sixteen-letters-", "eth 1"] {
            let error = parse(name).unwrap_err();
            assert!(error.contains("is not the name of an interface"), "{name}: {error}");
        }
        for mode in ["eth1,", "eth1,tap,zero-copy", "eth1,xdp,", "eth1,Tap"] {
            assert!(parse(mode).unwrap_err().contains("is not a mode"), "{mode}");
        }
    }
}
