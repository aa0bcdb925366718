//! Debug events, modelled on the kernel's dynamic debug; spec 12.
//!
//! A [`Site`] is a place in the code that can trace an event. A worker formats no text: it pushes a [`Record`] of
//! fixed size to a ring, and control formats it. The snapshot's [`Switches`] have a bit for each site. Sites are on
//! the slow path, so disabled ones have no measurable cost.

pub mod sites;

pub use sites::Kind;

use crate::flow::{Endpoint, Key};

/// The place in the code where an event is traced.
#[derive(Clone, Copy, Debug)]
pub struct SourceLocation {
    /// The file, as the compiler names it.
    pub file: &'static str,
    /// The line in the file.
    pub line: u32,
    /// Returns the path of a function inside the function with the site.
    pub inner: fn() -> &'static str,
}

impl SourceLocation {
    /// The name of the function with the site.
    pub fn function(&self) -> &'static str {
        (self.inner)().rsplit("::").nth(1).unwrap_or_default()
    }
}

/// Ties a kind of event to its location. There is exactly one for each kind.
pub trait TracedAt {
    /// The location.
    const LOCATION: SourceLocation;
}

/// Properties of a kind of event.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The kernel modules that it belongs to; each of them is a site.
    pub modules: &'static [&'static str],
    /// The lowest `debug_level` that enables it.
    pub level: u8,
    /// The text, with placeholders in braces.
    pub format: &'static str,
    /// Where it is traced.
    pub location: SourceLocation,
}

/// A kind of event for one module: the unit that can be switched on and off.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The kind of event.
    pub spec: &'static Spec,
    /// The module.
    pub module: &'static str,
}

/// All sites of these kinds, by number.
pub fn sites(specs: &'static [Spec]) -> impl Iterator<Item = Site> {
    specs.iter().flat_map(|spec| spec.modules.iter().map(move |module| Site { spec, module }))
}

/// Defines an enum of kinds of events, and a marker type for each kind that carries its location.
#[macro_export]
macro_rules! event_kinds {
    ($(#[$doc:meta])* $name:ident { $($kind:ident = $modules:expr, $level:literal, $format:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $format] $kind,)* }

        /// A marker type for each kind.
        pub mod at {
            $(#[doc = $format] #[derive(Debug)] pub enum $kind {})*
        }

        impl $name {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$kind),*];

            /// The properties of each kind.
            pub const SPECS: &'static [$crate::trace::Spec] = &[$($crate::trace::Spec {
                modules: $modules,
                level: $level,
                format: $format,
                location: <at::$kind as $crate::trace::TracedAt>::LOCATION,
            }),*];

            /// Number of sites of each kind. Separate from `SPECS`, which needs the places.
            const COUNTS: &'static [usize] = &[$($modules.len()),*];

            /// Number of sites.
            pub const SITES: u16 = $name::sum($name::COUNTS.len());

            const fn sum(kinds: usize) -> u16 {
                let (mut kind, mut sum) = (0, 0);
                while kind < kinds {
                    sum += $name::COUNTS[kind];
                    kind += 1;
                }
                sum as u16
            }

            /// The number of its first site.
            pub const fn first(self) -> u16 {
                $name::sum(self as usize)
            }
        }
    };
}

/// Declares that a kind of event is traced here, and returns the number of its first site.
#[macro_export]
macro_rules! trace_site {
    ($($part:ident)::+, $kind:ident) => {{
        fn inner() -> &'static str {
            std::any::type_name_of_val(&inner)
        }
        #[allow(non_local_definitions, reason = "so that the compiler finds kinds that are traced nowhere, or twice")]
        impl $crate::trace::TracedAt for $($part)::+::at::$kind {
            const LOCATION: $crate::trace::SourceLocation =
                $crate::trace::SourceLocation { file: file!(), line: line!(), inner };
        }
        const FIRST: u16 = $($part)::+::Kind::$kind.first();
        FIRST
    }};
}

/// Traces an event of a worker if its site is on. The record is evaluated only then.
macro_rules! event {
    ($pipeline:expr, $kind:ident, $record:expr) => {
        event!($pipeline, $kind, 0, $record)
    };
    ($pipeline:expr, $kind:ident, $which:expr, $record:expr) => {
        let site = $crate::trace_site!($crate::trace::sites, $kind) + ($which) as u16;
        if $pipeline.snapshot.debug.is_on(site) {
            $pipeline.emit(site, $record);
        }
    };
}
pub(crate) use event;

/// Number of 64-bit words; enough for all sites.
const WORDS: usize = 2;
const _: () = assert!(Kind::SITES as usize <= WORDS * 64, "there is a switch for every site");

/// Which sites are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    on: [u64; WORDS],
    /// A per-packet site is on, so the packets of a burst are processed one by one.
    each_packet: bool,
}

impl Switches {
    /// Switches with these sites on.
    pub fn of(sites: impl IntoIterator<Item = u16>) -> Switches {
        let mut switches = Switches::default();
        for site in sites {
            if let Some(word) = switches.on.get_mut(usize::from(site) / 64) {
                *word |= 1 << (site % 64);
            }
            switches.each_packet |= Kind::PER_PACKET.iter().any(|kind| kind.first() == site);
        }
        switches
    }

    /// Whether a per-packet site is on.
    #[inline]
    pub fn each_packet(&self) -> bool {
        !cfg!(feature = "silent") && self.each_packet
    }

    /// Whether a site is on.
    #[inline]
    pub fn is_on(&self, site: u16) -> bool {
        !cfg!(feature = "silent") && self.on[usize::from(site) / 64 % WORDS] >> (site % 64) & 1 != 0
    }
}

/// An event as a worker records it. Unknown fields are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number of the site.
    pub site: u16,
    /// Protocol of the packet or connection.
    pub protocol: u8,
    /// Client, virtual and destination endpoints.
    pub ends: [Endpoint; 3],
    /// The other values of the format.
    pub words: [u32; 4],
}

impl Record {
    /// A record with words only.
    pub fn new(words: [u32; 4]) -> Record {
        let nowhere = Endpoint { address: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), l4_port: 0 };
        Record { site: 0, protocol: 0, ends: [nowhere; 3], words }
    }

    /// A record about a flow from a client to a virtual address.
    pub fn of(key: &Key, words: [u32; 4]) -> Record {
        let blank = Record::new(words);
        Record { protocol: key.protocol(), ends: [key.src(), key.dst(), blank.ends[2]], ..blank }
    }

    /// Adds a destination to the record.
    #[must_use]
    pub fn with_destination(mut self, destination: Endpoint) -> Record {
        self.ends[2] = destination;
        self
    }
}

/// The disposition of a packet, as a word of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names of `Verdict`; a held packet awaits a neighbour or fragments")]
pub enum Outcome {
    Sent,
    Kernel,
    HandedOff,
    Held,
    IcmpSent,
    Dropped,
}

impl Outcome {
    /// Every outcome, by number.
    pub const ALL: [Outcome; 6] = [
        Outcome::Sent,
        Outcome::Kernel,
        Outcome::HandedOff,
        Outcome::Held,
        Outcome::IcmpSent,
        Outcome::Dropped,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_numbered_by_kind_and_module() {
        let all: Vec<Site> = sites(Kind::SPECS).collect();
        assert_eq!(all.len(), usize::from(Kind::SITES));
        for (kind, spec) in Kind::ALL.iter().zip(Kind::SPECS) {
            let first = all[usize::from(kind.first())];
            assert_eq!((first.module, first.spec.format), (spec.modules[0], spec.format));
        }
    }

    #[test]
    fn a_site_has_its_location() {
        let spec = &Kind::SPECS[Kind::NoDestination as usize];
        assert_eq!(spec.location.file, "dataplane/src/pipeline/slow_path/leave.rs");
        assert_eq!(spec.location.function(), "leave");
        assert!(spec.location.line > 10);
    }

    #[test]
    fn each_site_has_its_own_switch() {
        let last = Kind::SITES - 1;
        let switches = Switches::of([3, last]);
        let on: Vec<u16> = (0..Kind::SITES).filter(|&site| switches.is_on(site)).collect();
        assert_eq!(on, [3, last]);
        assert!(Switches::of([Kind::PER_PACKET[0].first()]).each_packet);
        assert!(!Switches::default().each_packet);
    }
}
