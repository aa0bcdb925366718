//! The connection table, `-Lc`.

use super::address::socket;
use super::names::Names;
use super::rows::ConnectionRow;

/// The output of `ipvsadm -Lc`; `engine` adds the columns of persistence engines.
pub fn connections(rows: &[ConnectionRow], engine: bool, names: &dyn Names) -> String {
    let mut out = String::from("IPVS connection entries\n");
    out += "pro expire state       source             virtual            destination";
    out += if engine { "        pe name          pe_data\n" } else { "\n" };
    for row in rows {
        out += &line(row, engine, names);
        out.push('\n');
    }
    out
}

fn line(row: &ConnectionRow, with_engine: bool, names: &dyn Names) -> String {
    // Minutes may have more than two digits.
    let expires = format!("{:02}:{:02}", row.expires / 60, row.expires % 60);
    let word = row.protocol.to_ascii_lowercase();
    let [client, service, destination] =
        [row.client, row.service, row.destination].map(|at| socket(at, Some(&word), names));
    let ConnectionRow { protocol, state, .. } = row;
    let line = format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {service:<18} ");
    match &row.engine {
        Some((name, data)) if with_engine => format!("{line}{destination:<18} {name:<16} {data}"),
        _ => line + &destination,
    }
}
