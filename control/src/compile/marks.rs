//! From rules with names to rules with numbers.

use hashbrown::HashMap;
use pollux_dataplane::config::MarkRule;

use super::CompileError;
use crate::fault::Fault;
use crate::model;
use crate::validate::marks;

/// Compiles validated rules for ports with these names and numbers.
pub fn compile(
    rules: &[model::MarkRule],
    ports: &HashMap<String, u16>,
) -> Result<Vec<MarkRule>, CompileError> {
    rules.iter().enumerate().map(|(index, rule)| compile_one(index, rule, ports)).collect()
}

fn compile_one(
    index: usize,
    rule: &model::MarkRule,
    ports: &HashMap<String, u16>,
) -> Result<MarkRule, CompileError> {
    let number = |name: &String| ports.get(name).copied().ok_or_else(|| unknown(index, name, ports));
    let ranges = |written: &[String]| written.iter().filter_map(|text| marks::l4_ports(text)).collect();
    Ok(MarkRule {
        port: rule.port.as_ref().map(number).transpose()?,
        vlan: rule.vlan,
        source: rule.source,
        destination: rule.destination,
        protocol: rule.protocol.as_deref().and_then(marks::protocol),
        source_l4_ports: ranges(&rule.source_l4_ports),
        l4_ports: ranges(&rule.l4_ports),
        mark: rule.mark & rule.mask,
        keep: !rule.mask,
        ipv6: marks::ipv6(rule),
    })
}

fn unknown(index: usize, name: &str, ports: &HashMap<String, u16>) -> CompileError {
    let mut known: Vec<_> = ports.keys().map(String::as_str).collect();
    known.sort_unstable();
    CompileError::UnknownMarkPort(Fault {
        place: format!("marks[{index}].port"),
        problem: format!("there is no port {name:?}"),
        cure: format!("use one of {}, or leave it out for all", known.join(", ")),
    })
}
