//! What the sweep says about one endpoint of a host: its own entry, else the folded rest, else silence.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::scope::Asked;
use crate::model::report::{Host, PortGroup};
use crate::model::{Endpoint, Evidence, PortRanges, PortState, Reason, Transport};

/// State, reason and evidence of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub state: PortState,
    pub reason: Reason,
    pub evidence: Evidence,
}

/// Looks `endpoint` up in what `host` showed.
pub fn seen(host: &Host, asked: &Asked, ports: &SweptPorts, endpoint: Endpoint) -> Seen {
    if let Some(entry) = host.endpoints.iter().find(|entry| entry.endpoint() == endpoint) {
        return Seen { state: entry.state, reason: entry.reason, evidence: entry.evidence.clone() };
    }
    if let Some(group) = host.other_ports.iter().find(|group| group_holds(group, endpoint)) {
        let evidence = Evidence { offender: group.offender, ..Evidence::default() };
        return Seen { state: group.state, reason: group.reason, evidence };
    }
    if asked.is_silent(endpoint.address) && ports.of(endpoint.transport).contains(endpoint.port) {
        let state = match endpoint.transport {
            Transport::Tcp => PortState::Filtered,
            Transport::Udp => PortState::OpenOrFiltered,
        };
        return Seen { state, reason: Reason::NoAnswer, evidence: Evidence::default() };
    }
    Seen { state: PortState::Unknown, reason: Reason::NotSwept, evidence: Evidence::default() }
}

/// Addresses of `host` that the sweep asked.
pub fn swept_addresses(host: &Host) -> BTreeSet<IpAddr> {
    let entries = host.endpoints.iter().filter(|entry| entry.reason != Reason::NotSwept).map(|entry| entry.address);
    let mut addresses: BTreeSet<IpAddr> = entries.chain(host.other_ports.iter().map(|group| group.address)).collect();
    if addresses.is_empty() {
        addresses.insert(host.address);
    }
    addresses
}

/// Takes `endpoint` out of the folded ports of `host`, since it gets an entry of its own.
pub fn take_out(host: &mut Host, endpoint: Endpoint) {
    for group in &mut host.other_ports {
        if group_holds(group, endpoint) {
            let ports = group_ports(group);
            group.ports = PortRanges::from_ports(ports.iter().filter(|port| *port != endpoint.port)).to_string();
        }
    }
    host.other_ports.retain(|group| !group.ports.is_empty());
}

/// Ports of a group; one whose text cannot be read holds none.
pub fn group_ports(group: &PortGroup) -> PortRanges {
    group.ports.parse().unwrap_or_default()
}

/// The ports that the scope names, by transport.
#[derive(Clone, Debug, Default)]
pub struct SweptPorts {
    tcp: PortRanges,
    udp: PortRanges,
}

impl SweptPorts {
    pub fn of_scope(scope: &crate::model::report::Scope) -> Self {
        Self { tcp: scope.ports.tcp.parse().unwrap_or_default(), udp: scope.ports.udp.parse().unwrap_or_default() }
    }

    pub const fn of(&self, transport: Transport) -> &PortRanges {
        match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        }
    }
}

fn group_holds(group: &PortGroup, endpoint: Endpoint) -> bool {
    group.address == endpoint.address
        && group.transport == endpoint.transport
        && group_ports(group).contains(endpoint.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        let address: IpAddr = "198.18.0.7".parse().unwrap();
        let group = |ports: &str, state, reason| PortGroup {
            address,
            transport: Transport::Tcp,
            state,
            reason,
            offender: Some(address),
            ports: ports.to_owned(),
            seen_from: Vec::new(),
        };
        Host {
            other_ports: vec![
                group("1-5", PortState::Closed, Reason::Refused),
                group("80", PortState::Filtered, Reason::IcmpAdminProhibited),
                group("nonsense", PortState::Open, Reason::Accepted),
            ],
            ..Host::at(address)
        }
    }

    #[test]
    fn folded_ports_are_found_and_taken_out() {
        let mut host = host();
        let at = |port| Endpoint::tcp("198.18.0.7".parse().unwrap(), port);
        let look = |host: &Host, port| seen(host, &Asked::default(), &SweptPorts::default(), at(port));
        assert_eq!((look(&host, 3).state, look(&host, 3).reason), (PortState::Closed, Reason::Refused));
        assert_eq!(look(&host, 80).evidence.offender, Some("198.18.0.7".parse().unwrap()));
        assert_eq!(look(&host, 81).reason, Reason::NotSwept);
        take_out(&mut host, at(3));
        take_out(&mut host, at(80));
        let ports: Vec<&str> = host.other_ports.iter().map(|group| group.ports.as_str()).collect();
        assert_eq!(ports, ["1-2,4-5", "nonsense"]);
        assert_eq!(look(&host, 3).reason, Reason::NotSwept);
    }
}
