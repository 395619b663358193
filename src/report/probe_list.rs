//! The probe definitions that there are, for people and as a bare JSON array.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::escape;
use crate::model::{PortRanges, ServiceFacts, Transport};

/// A line for each definition: name, title, ports.
pub fn write_table(facts: &BTreeMap<String, ServiceFacts>, to: &mut impl Write) -> io::Result<()> {
    for (name, facts) in facts {
        let ports = |ports: &[u16], transport: Transport| {
            let set = PortRanges::from_ports(ports.iter().copied());
            if set.is_empty() { String::new() } else { format!("{set}/{transport} ") }
        };
        let all = ports(&facts.tcp_ports, Transport::Tcp) + &ports(&facts.udp_ports, Transport::Udp);
        let line = format!("{name:<26} {:<36} {}", facts.title, all.trim_end());
        writeln!(to, "{}", escape::text(&line, 400))?;
    }
    Ok(())
}

/// The same with the references.
pub fn write_json(facts: &BTreeMap<String, ServiceFacts>, to: &mut impl Write) -> io::Result<()> {
    let list: Vec<serde_json::Value> = facts
        .iter()
        .map(|(name, facts)| {
            serde_json::json!({
                "name": name, "title": facts.title, "tcp": facts.tcp_ports, "udp": facts.udp_ports,
                "references": facts.references,
            })
        })
        .collect();
    writeln!(to, "{}", escape::json(&serde_json::to_string_pretty(&list)?))
}
