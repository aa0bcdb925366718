//! Produces listings from a balancer, and compares them with recorded ones.

use super::balancer::Balancer;
use super::report::Difference;
use crate::ipvsadm::command::{Listing, Table};
use crate::ipvsadm::names::Numeric;
use crate::ipvsadm::{Layout, connections, services, timeouts};
use crate::model::Config;

/// Exit status and output of `ipvsadm` for a listing.
pub fn listing(listing: &Listing, config: &Config, balancer: &mut dyn Balancer) -> (u8, String) {
    let Listing { table, exact, unsorted, .. } = *listing;
    match table {
        Table::Timeouts => return (0, timeouts(&config.settings)),
        // There is no sync daemon.
        Table::Daemons => return (0, String::new()),
        Table::Connections { engine } => {
            return (0, connections(&balancer.connections(), engine, &Numeric));
        }
        _ => {}
    }
    let list = balancer.services();
    let Some(key) = listing.service else {
        return (0, services(&list, Layout { table, exact, unsorted, single: false }, &Numeric));
    };
    let Some(at) = config.services.iter().position(|s| s.key == key) else {
        return (1, "No such service\n".to_owned());
    };
    (0, services(&list[at..=at], Layout { table, exact, unsorted, single: true }, &Numeric))
}

/// Compares two texts line by line. `connection_list` ignores the expiry column and the order.
pub fn compare(location: &str, expected: &str, got: &str, connection_list: bool) -> Option<Difference> {
    let lines = |text: &str| -> Vec<String> {
        if connection_list { unordered(text) } else { text.lines().map(str::to_owned).collect() }
    };
    let (expected, got) = (lines(expected), lines(got));
    if expected == got {
        return None;
    }
    let mut differing = Vec::new();
    for at in 0..expected.len().max(got.len()) {
        let (want, have) = (expected.get(at), got.get(at));
        if want != have {
            differing.extend(want.map(|line| format!("expected |{line}|")));
            differing.extend(have.map(|line| format!("got      |{line}|")));
        }
    }
    Some(Difference { location: location.to_owned(), lines: differing })
}

/// The two title lines, then the connections, sorted and without their expiry times.
fn unordered(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let titles = lines.len().min(2);
    for line in &mut lines[titles..] {
        // `TCP 14:59  ESTABLISHED ...`: the second column.
        if let Some(colon) = line.find(':')
            && let (Some(from), Some(len)) = (line[..colon].rfind(' '), line[colon..].find(' '))
        {
            line.replace_range(from + 1..colon + len, "--:--");
        }
    }
    lines[titles..].sort();
    lines
}
