//! What a joined machine leaves open: its reports' own gaps, addresses that were not asked, sockets on ports that were
//! not asked.

use std::net::IpAddr;

use super::hosts::Placed;
use super::join::Joined;
use super::machine::UNKNOWN;
use super::scope::Asked;
use crate::model::report::Gap;
use crate::model::{PortRanges, Reason, Transport};

pub fn of_machine(joined: &Joined<'_>, placed: &[Placed], asked: &Asked) -> Vec<Gap> {
    let machine = &joined.machine;
    let name = match (machine.id, joined.any_address()) {
        (UNKNOWN, Some(address)) => address.to_string(),
        (id, _) => id.to_owned(),
    };
    let mut gaps = Vec::new();
    for gap in machine.reports().flat_map(|report| &report.gaps) {
        let gap = Gap { what: format!("host report {name}: {}", gap.what), ..gap.clone() };
        if !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }
    if joined.any_address().is_none() {
        return gaps;
    }
    gaps.extend(unasked_addresses(joined, &name, asked));
    gaps.extend(unasked_ports(joined, &name, placed));
    gaps
}

fn unasked_addresses(joined: &Joined<'_>, name: &str, asked: &Asked) -> Option<Gap> {
    let unasked = |address: &IpAddr| !asked.contains(*address) && !joined.addresses.contains(address);
    let addresses: Vec<String> =
        joined.machine.identity().iter().filter(|address| unasked(address)).map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| Gap {
        what: format!("addresses of {name} that were not asked: {}", addresses.join(", ")),
        cause: "they are not among the targets".to_owned(),
        settled_by: format!("a sweep of {}", addresses.join(" ")),
        incomplete: false,
    })
}

fn unasked_ports(joined: &Joined<'_>, name: &str, placed: &[Placed]) -> Option<Gap> {
    let entries = || {
        let hosts = placed.iter().map(|placed| &placed.host);
        hosts.flat_map(|host| &host.endpoints).filter(|entry| {
            entry.reason == Reason::NotSwept
                && joined.addresses.contains(&entry.address)
                && !entry.listener.as_ref().is_some_and(super::takes::is_loopback_only)
        })
    };
    let of = |transport: Transport| {
        let ports = entries().filter(|entry| entry.transport == transport).map(|entry| entry.port);
        let ports = PortRanges::from_ports(ports);
        (!ports.is_empty()).then(|| format!("{transport} {ports}"))
    };
    let ports: Vec<String> = [Transport::Tcp, Transport::Udp].into_iter().filter_map(of).collect();
    (!ports.is_empty()).then(|| Gap {
        what: format!("sockets of {name} on ports that were not asked: {}", ports.join("; ")),
        cause: "the ports are not in the scope of the sweep".to_owned(),
        settled_by: "a sweep of these ports (-p, --udp)".to_owned(),
        incomplete: false,
    })
}
