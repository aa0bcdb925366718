//! The matrix: every kind of traffic with every method, `polluxd` and testpmd alternately on the same ports.

use serde_json::{Value, json};

use super::inside::throughput::Case;
use super::kinds::{Family, Method, Pattern, Size, word};
use super::report::Sample;
use super::traffic::{Files, Traffic};
use super::{Setup, daemon, testpmd};
use pollux_tests::bed::command::{Error, Result};

/// Selection of rows. An empty list selects all.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Numbers of flows; other numbers than the usual ones add rows.
    pub flows: Vec<u32>,
    /// Methods.
    pub methods: Vec<Method>,
    /// Families.
    pub families: Vec<Family>,
    /// Sizes.
    pub sizes: Vec<Size>,
    /// Patterns.
    pub patterns: Vec<Pattern>,
}

impl Choice {
    /// Returns whether a case of the generator inside the process is selected.
    pub fn takes(&self, case: &Case) -> bool {
        has(&self.flows, case.flows)
            && has(&self.methods, case.method)
            && has(&self.families, case.family)
            && has(&self.patterns, case.pattern)
            && has(&self.sizes, Size::Small)
    }
}

/// A kind of traffic and the methods to measure with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Traffic.
    pub traffic: Traffic,
    /// Methods.
    pub methods: Vec<Method>,
}

/// Number of flows from which testpmd's cost too depends on more than the L1 caches.
const THOUSAND: u32 = 1_000;
const MILLION: u32 = 1_000_000;
const METHODS: [Method; 4] = [Method::Nat, Method::Dr, Method::Ipip, Method::Gue];

/// Default rows: all numbers of flows with small IPv4 packets, and the extremes of the rest.
const USUAL: [(Family, Size, Pattern, &[u32]); 6] = [
    (Family::Ipv4, Size::Small, Pattern::Uniform, &[1, THOUSAND, 100_000, MILLION]),
    (Family::Ipv4, Size::Small, Pattern::Zipf, &[100_000, MILLION]),
    (Family::Ipv6, Size::Small, Pattern::Uniform, &[THOUSAND, MILLION]),
    (Family::Ipv6, Size::Small, Pattern::Zipf, &[MILLION]),
    (Family::Ipv4, Size::Imix, Pattern::Uniform, &[THOUSAND, 100_000]),
    (Family::Ipv4, Size::Full, Pattern::Uniform, &[THOUSAND]),
];

/// Returns the selected rows. If flows are selected, every selected kind of traffic is measured with them.
pub fn groups(choice: &Choice) -> Vec<Group> {
    let mut groups = Vec::new();
    for (family, size, pattern, usual) in USUAL {
        let named =
            has(&choice.families, family) && has(&choice.sizes, size) && has(&choice.patterns, pattern);
        let flows = if choice.flows.is_empty() { usual } else { &choice.flows };
        for &flows in flows.iter().filter(|_| named) {
            groups.extend(of_traffic(choice, Traffic { family, size, pattern, flows, mixed: true }));
            groups.extend(of_traffic(choice, Traffic { family, size, pattern, flows, mixed: false }));
        }
    }
    groups
}

fn of_traffic(choice: &Choice, traffic: Traffic) -> Option<Group> {
    let fits = |method: &Method| method.is_mixed() == traffic.mixed && has(&choice.methods, *method);
    let methods: Vec<Method> = METHODS.into_iter().filter(fits).collect();
    (!methods.is_empty()).then_some(Group { traffic, methods })
}

fn has<T: PartialEq>(list: &[T], item: T) -> bool {
    list.is_empty() || list.contains(&item)
}

/// Result of a row.
pub struct Row {
    /// Traffic.
    pub traffic: Traffic,
    /// Forwarding method.
    pub method: Method,
    /// Cycles per packet of `polluxd`.
    pub ours: Sample,
    /// Cycles per packet of testpmd.
    pub theirs: Sample,
    /// Ratio of both, by round.
    pub ratio: Sample,
    /// Difference in nanoseconds, by round.
    pub above: Sample,
    /// Mpps.
    pub mpps: Sample,
    /// Bytes of the table per connection; none for small tables, whose minimum size dominates.
    pub bytes: Option<f64>,
}

impl Row {
    /// JSON for the result file.
    pub fn json(&self) -> Value {
        let traffic = &self.traffic;
        json!({
            "family": word(traffic.family), "size": word(traffic.size), "pattern": word(traffic.pattern),
            "flows": traffic.flows, "method": word(self.method), "both_directions": traffic.mixed,
            "polluxd_cycles_per_packet": self.ours.json(), "testpmd_cycles_per_packet": self.theirs.json(),
            "ratio": self.ratio.json(), "ns_above_testpmd": self.above.json(),
            "polluxd_mpps": self.mpps.json(), "bytes_per_connection": self.bytes,
        })
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        let traffic = &self.traffic;
        format!(
            "{:4} {:>4} {:>8} {:7} {:6} {:>22} {:>22} {:>18} {:>22} {:>6.2} {:>5}",
            word(traffic.family),
            word(traffic.size),
            traffic.flows,
            word(traffic.pattern),
            word(self.method),
            self.ours.text(),
            self.theirs.text(),
            self.ratio.fine(),
            self.above.text(),
            self.mpps.median(),
            self.bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0}"))
        )
    }
}

/// Returns the head of the table.
pub fn head() -> String {
    format!(
        "{:4} {:>4} {:>8} {:7} {:6} {:>22} {:>22} {:>18} {:>22} {:>6} {:>5}",
        "ip",
        "size",
        "flows",
        "pattern",
        "method",
        "polluxd, cycles",
        "testpmd, cycles",
        "ratio",
        "ns above testpmd",
        "Mpps",
        "bytes"
    )
}

/// Settings of all rows.
pub struct Run<'a> {
    /// Rounds.
    pub rounds: usize,
    /// Duration of each measurement.
    pub window: std::time::Duration,
    /// Huge pages are available.
    pub huge: bool,
    /// CPUs: one for control, one for forwarding.
    pub cpus: &'a str,
    /// Cycles per nanosecond.
    pub gigahertz: f64,
}

/// Measures a group: in each round testpmd, then `polluxd` with each method.
///
/// # Errors
/// If a program does not start or does not forward every packet.
pub fn measure(run: &Run<'_>, group: &Group) -> Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let files = group.traffic.write(directory.path())?;
    measure_files(run, group, &files).map_err(|why| Error(format!("{}: {why}", group.traffic.name())))
}

fn measure_files(run: &Run<'_>, group: &Group, files: &Files) -> Result<Vec<Row>> {
    let traffic = &group.traffic;
    let setup = Setup { traffic, files, window: run.window, huge: run.huge, cpus: run.cpus };
    let mut theirs = Vec::new();
    let mut windows: Vec<Vec<daemon::Window>> = group.methods.iter().map(|_| Vec::new()).collect();
    for _ in 0..run.rounds {
        theirs.push(testpmd::cycles(&setup)?);
        for (&method, windows) in group.methods.iter().zip(&mut windows) {
            windows.push(daemon::measure(&setup, method)?);
        }
    }
    let rows = group.methods.iter().zip(&windows);
    Ok(rows.map(|(&method, windows)| row(run, *traffic, method, (windows, &theirs))).collect())
}

fn row(
    run: &Run<'_>,
    traffic: Traffic,
    method: Method,
    (windows, theirs): (&[daemon::Window], &[f64]),
) -> Row {
    let each = |field: &dyn Fn(&daemon::Window, f64) -> f64| {
        Sample::new(windows.iter().zip(theirs).map(|(window, &theirs)| field(window, theirs)).collect())
    };
    Row {
        traffic,
        method,
        ours: each(&|window, _| window.cycles),
        theirs: each(&|_, theirs| theirs),
        ratio: each(&|window, theirs| window.cycles / theirs),
        above: each(&|window, theirs| (window.cycles - theirs) / run.gigahertz),
        mpps: each(&|window, _| window.mpps),
        bytes: windows.last().map(|window| window.bytes_per_connection).filter(|_| traffic.flows >= 100_000),
    }
}

/// Returns the rows of `--quick`.
pub fn quick() -> Choice {
    Choice {
        flows: vec![THOUSAND, MILLION],
        methods: vec![Method::Nat, Method::Dr, Method::Ipip],
        families: vec![Family::Ipv4],
        sizes: vec![Size::Small],
        patterns: vec![Pattern::Uniform],
    }
}

/// Returns the ratio above which `--quick` fails: 50 % above the usual one, since a single round on a shared machine varies.
pub fn limit(flows: u32) -> f64 {
    if flows >= MILLION { 3.5 } else { 4.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_rows_are_those_of_the_table() {
        let rows = |choice: &Choice| groups(choice).iter().map(|group| group.methods.len()).sum::<usize>();
        assert_eq!(rows(&Choice::default()), 12 * 4);
        assert_eq!(rows(&quick()), 6);
    }

    #[test]
    fn named_flows_are_measured_in_every_kind() {
        let choice = Choice { flows: vec![7], methods: vec![Method::Gue], ..Choice::default() };
        let groups = groups(&choice);
        assert_eq!(groups.len(), 6);
        assert!(groups.iter().all(|group| group.traffic.flows == 7 && !group.traffic.mixed));
    }
}
