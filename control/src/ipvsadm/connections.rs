//! The connection table, `-Lc`.

use super::address::socket;
use super::names::Names;
use crate::api::view::{ConnectionView, EngineData};

/// The output of `ipvsadm -Lc`; `engine` adds the columns of persistence engines.
pub fn connections(connections: &[ConnectionView], engine: bool, names: &dyn Names) -> String {
    let mut out = String::from("IPVS connection entries\n");
    out += "pro expire state       source             virtual            destination";
    out += if engine { "        pe name          pe_data\n" } else { "\n" };
    for connection in connections {
        out += &line(connection, engine, names);
        out.push('\n');
    }
    out
}

fn line(connection: &ConnectionView, with_engine: bool, names: &dyn Names) -> String {
    // Minutes may have more than two digits.
    let expires = format!("{:02}:{:02}", connection.expires_secs / 60, connection.expires_secs % 60);
    let protocol = connection.protocol.name();
    let word = protocol.to_ascii_lowercase();
    let [client, service, destination] = [connection.client, connection.r#virtual, connection.destination]
        .map(|at| socket(at, Some(&word), names));
    let line = format!("{protocol:<3} {expires:<6} {:<11} {client:<18} {service:<18} ", connection.state);
    match &connection.engine {
        Some(EngineData { engine, data }) if with_engine => {
            format!("{line}{destination:<18} {engine:<16} {data}")
        }
        _ => line + &destination,
    }
}
