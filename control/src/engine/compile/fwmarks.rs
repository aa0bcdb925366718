//! Compiles firewall mark rules: names of ports and protocols become numbers.

use hashbrown::HashMap;
use pollux_dataplane::config::FwmarkRule;

use super::unknown_port;
use crate::api::error::Failure;
use crate::model;
use crate::model::validate::fwmarks;

/// Compiles validated rules; `ports` maps names to numbers.
pub fn compile(
    rules: &[model::FwmarkRule],
    ports: &HashMap<String, u16>,
) -> Result<Vec<FwmarkRule>, Failure> {
    rules.iter().enumerate().map(|(index, rule)| compile_one(index, rule, ports)).collect()
}

fn compile_one(
    index: usize,
    rule: &model::FwmarkRule,
    ports: &HashMap<String, u16>,
) -> Result<FwmarkRule, Failure> {
    let number = |name: &String| {
        ports.get(name).copied().ok_or_else(|| {
            unknown_port(format!("fwmarks[{index}].port"), name, ports, ", or leave it out for all ports")
        })
    };
    let ranges = |written: &[String]| written.iter().filter_map(|text| fwmarks::l4_ports(text)).collect();
    Ok(FwmarkRule {
        port: rule.port.as_ref().map(number).transpose()?,
        vlan: rule.vlan,
        source: rule.source,
        destination: rule.destination,
        protocol: rule.protocol.as_deref().and_then(fwmarks::protocol),
        source_l4_ports: ranges(&rule.source_l4_ports),
        l4_ports: ranges(&rule.l4_ports),
        fwmark: rule.fwmark & rule.mask,
        keep: !rule.mask,
        ipv6: fwmarks::ipv6(rule),
    })
}
