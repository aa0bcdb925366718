//! Debug events: which there are, which are told, and what a worker notes of one. Spec 12.
//!
//! A [`Site`] is a place in the code that may tell an event, as in the kernel's dynamic debug. A worker writes no text: it
//! pushes a [`Record`] of fixed size on a ring, and control puts it into words. Whether a site is on is a bit of the
//! snapshot's [`Switches`]; sites stand where few packets come, so that those which are off cost nothing that shows.

pub mod sites;

pub use sites::{Kind, SCHEDULER_NAMES, module_of_scheduler};

use crate::flow::{Endpoint, Key};

/// Where in the code an event is told.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The file, as the compiler names it.
    pub file: &'static str,
    /// The line.
    pub line: u32,
    /// The path of a function inside the one that tells it.
    pub inner: fn() -> &'static str,
}

impl Place {
    /// The function that tells it.
    pub fn function(&self) -> &'static str {
        (self.inner)().rsplit("::").nth(1).unwrap_or_default()
    }
}

/// Says where events of a kind are told; there is one place for each.
pub trait At {
    /// The place.
    const PLACE: Place;
}

/// What is known of a kind of event.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The modules that tell it, by the kernel's names; each is a site.
    pub modules: &'static [&'static str],
    /// The level of `debug_level` from which on it is told.
    pub level: u8,
    /// The text, with the names of what is put in between braces.
    pub format: &'static str,
    /// Where it is told.
    pub place: Place,
}

/// One module's share of a kind of event: what can be switched.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// What it tells.
    pub spec: &'static Spec,
    /// Whose it is.
    pub module: &'static str,
}

/// All sites of these kinds, by number.
pub fn sites(specs: &'static [Spec]) -> impl Iterator<Item = Site> {
    specs.iter().flat_map(|spec| spec.modules.iter().map(move |module| Site { spec, module }))
}

/// Makes an enum of kinds of events, and a type for each by which its place is known.
#[macro_export]
macro_rules! event_kinds {
    ($(#[$doc:meta])* $name:ident { $($kind:ident = $modules:expr, $level:literal, $format:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $format] $kind,)* }

        /// A type for each kind: what its place is known by.
        pub mod at {
            $(#[doc = $format] #[derive(Debug)] pub enum $kind {})*
        }

        impl $name {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$kind),*];

            /// What is known of each.
            pub const SPECS: &'static [$crate::trace::Spec] = &[$($crate::trace::Spec {
                modules: $modules,
                level: $level,
                format: $format,
                place: <at::$kind as $crate::trace::At>::PLACE,
            }),*];

            /// How many sites each kind has, before places are known.
            const COUNTS: &'static [usize] = &[$($modules.len()),*];

            /// How many sites there are.
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

/// Says that events of a kind are told here, and gives the number of the first of its sites.
#[macro_export]
macro_rules! trace_site {
    ($($part:ident)::+, $kind:ident) => {{
        fn inner() -> &'static str {
            std::any::type_name_of_val(&inner)
        }
        #[allow(non_local_definitions, reason = "the compiler then finds a kind that is connection_record nowhere, or twice")]
        impl $crate::trace::At for $($part)::+::at::$kind {
            const PLACE: $crate::trace::Place =
                $crate::trace::Place { file: file!(), line: line!(), inner };
        }
        const FIRST: u16 = $($part)::+::Kind::$kind.first();
        FIRST
    }};
}

/// Tells an event of a worker if its site is on; what is told is looked up only then.
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

/// Words of 64 switches; enough for all sites.
const WORDS: usize = 2;
const _: () = assert!(Kind::SITES as usize <= WORDS * 64, "there is a switch for every site");

/// Which sites are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    on: [u64; WORDS],
    /// A site is on that tells of every packet: bursts are taken apart.
    each_packet: bool,
}

impl Switches {
    /// Those of these numbers.
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

    /// Whether each packet is told of, at its own time.
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

/// An event as a worker notes it; what is not known is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number of the site.
    pub site: u16,
    /// The protocol of what it is about.
    pub protocol: u8,
    /// Client, virtual address and destination.
    pub ends: [Endpoint; 3],
    /// What else the format names.
    pub words: [u32; 4],
}

impl Record {
    /// A record of nothing but words.
    pub fn new(words: [u32; 4]) -> Record {
        let nowhere = Endpoint { address: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), l4_port: 0 };
        Record { site: 0, protocol: 0, ends: [nowhere; 3], words }
    }

    /// A record about a flow that goes from a client to a virtual address.
    pub fn of(key: &Key, words: [u32; 4]) -> Record {
        let blank = Record::new(words);
        Record { protocol: key.protocol(), ends: [key.src(), key.dst(), blank.ends[2]], ..blank }
    }

    /// The same, with a destination.
    #[must_use]
    pub fn towards(mut self, destination: Endpoint) -> Record {
        self.ends[2] = destination;
        self
    }
}

/// What became of a packet, as a word of a record: a number by kind, and one that says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names of `Verdict`, and of what holds packets back")]
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
    fn a_site_knows_its_place() {
        let spec = &Kind::SPECS[Kind::NoDestination as usize];
        assert_eq!(spec.place.file, "dataplane/src/pipeline/slow_path/leave.rs");
        assert_eq!(spec.place.function(), "leave");
        assert!(spec.place.line > 10);
    }

    #[test]
    fn switches_are_on_one_by_one() {
        let last = Kind::SITES - 1;
        let switches = Switches::of([3, last]);
        let on: Vec<u16> = (0..Kind::SITES).filter(|&site| switches.is_on(site)).collect();
        assert_eq!(on, [3, last]);
        assert!(Switches::of([Kind::PER_PACKET[0].first()]).each_packet);
        assert!(!Switches::default().each_packet);
    }
}
