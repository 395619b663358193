//! From what the sweeps and probes saw to the hosts of a report. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::outside::Standpoint;
use crate::model::report::{EndpointEntry, Host, PortGroup};
use crate::model::{Endpoint, Evidence, Improbable, Observation, PortState, Reason, Service, Transport};

/// What one run saw from one vantage.
#[derive(Debug, Default)]
pub struct Outside {
    /// Open endpoints and those with an unusual reason.
    pub observations: Vec<Observation>,
    /// All the rest of the hosts that answered.
    pub groups: Vec<PortGroup>,
    /// Addresses that answered anything at all.
    pub living: BTreeSet<IpAddr>,
    pub services: HashMap<Endpoint, Service>,
    /// Names by which the targets were given.
    pub names: BTreeMap<IpAddr, Vec<String>>,
    /// Link-layer addresses of on-link hosts.
    pub macs: HashMap<IpAddr, String>,
    /// What ports said that nobody uses.
    pub improbable: BTreeMap<IpAddr, Improbable>,
}

/// One host per address that answered: sorted, endpoints first by transport and port. `seen_from` tells the vantage by
/// which an address was seen.
pub fn hosts(outside: Outside, seen_from: impl Fn(IpAddr) -> String) -> Vec<Host> {
    let Outside { observations, groups, living, mut services, mut names, mut macs, improbable } = outside;
    let mut hosts: BTreeMap<IpAddr, Host> = BTreeMap::new();
    for &address in &living {
        let names = names.remove(&address).unwrap_or_default();
        hosts.insert(address, Host { names, mac: macs.remove(&address), ..Host::at(address) });
    }
    for observation in observations {
        let Observation { endpoint, state, reason, evidence } = observation;
        let host = hosts.entry(endpoint.address).or_insert_with(|| Host::at(endpoint.address));
        // Most hosts have few, and there may be very many hosts.
        if host.endpoints.len() == host.endpoints.capacity() {
            host.endpoints.reserve_exact(host.endpoints.len() / 2 + 1);
        }
        host.endpoints.push(EndpointEntry {
            evidence,
            seen_from: vec![seen_from(endpoint.address)],
            service: services.remove(&endpoint).map(Box::new),
            ..EndpointEntry::at(endpoint, state, reason)
        });
    }
    for group in groups {
        let host = hosts.entry(group.address).or_insert_with(|| Host::at(group.address));
        host.other_ports.push(group);
    }
    for (address, is) in improbable {
        if let Some(host) = hosts.get_mut(&address) {
            host.improbable.insert(address, is);
        }
    }
    let mut hosts: Vec<Host> = hosts.into_values().collect();
    for host in &mut hosts {
        host.endpoints.sort_by_key(|entry| (entry.address, entry.transport, entry.port));
        host.other_ports.sort_by_key(|group| (group.address, group.transport, group.state, group.reason));
    }
    hosts
}

/// Joins an open endpoint that something else than the sweep found (an answer to a multicast query) into the sweep's
/// own observations: it settles an `open|filtered`, and takes the port out of its folded group.
pub fn settle_open(outside: &mut Outside, endpoint: Endpoint, service: Service) {
    for group in &mut outside.groups {
        if group.address == endpoint.address && group.transport == endpoint.transport {
            // Groups print what PortRanges parsed; one that does not parse is left as it is.
            if let Ok(ports) = group.ports.parse::<crate::model::PortRanges>()
                && ports.contains(endpoint.port)
            {
                let rest = crate::model::PortRanges::from_ports(ports.iter().filter(|port| *port != endpoint.port));
                group.ports = rest.to_string();
            }
        }
    }
    outside.groups.retain(|group| !group.ports.is_empty());
    match outside.observations.iter_mut().find(|observation| observation.endpoint == endpoint) {
        Some(observation) if observation.state == PortState::Open => {}
        Some(observation) => {
            observation.state = PortState::Open;
            observation.reason = Reason::UdpReply;
        }
        None => outside.observations.push(Observation {
            endpoint,
            state: PortState::Open,
            reason: Reason::UdpReply,
            evidence: Evidence::default(),
        }),
    }
    outside.living.insert(endpoint.address);
    outside.services.entry(endpoint).or_insert(service);
}

/// An endpoint that was folded, or gave no answer, as an entry of its own.
pub fn folded_entry(endpoint: Endpoint, group: Option<&PortGroup>, standpoint: &Standpoint) -> EndpointEntry {
    let silence = match endpoint.transport {
        Transport::Tcp => PortState::Filtered,
        Transport::Udp => PortState::OpenOrFiltered,
    };
    let (state, reason) = group.map_or((silence, Reason::NoAnswer), |group| (group.state, group.reason));
    EndpointEntry {
        evidence: Evidence { offender: group.and_then(|group| group.offender), ..Evidence::default() },
        seen_from: vec![standpoint.name.clone().unwrap_or_default()],
        via: standpoint.via.map(|via| via.to_string()),
        ..EndpointEntry::at(endpoint, state, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Access, Severity};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn open(endpoint: Endpoint) -> Observation {
        Observation { endpoint, state: PortState::Open, reason: Reason::Accepted, evidence: Evidence::default() }
    }

    fn group(host: &str, transport: Transport, state: PortState, ports: &str) -> PortGroup {
        PortGroup {
            address: address(host),
            transport,
            state,
            reason: Reason::NoAnswer,
            offender: None,
            ports: ports.to_owned(),
            seen_from: Vec::new(),
        }
    }

    fn service(name: &str) -> Service {
        Service {
            name: name.to_owned(),
            product: None,
            version: None,
            tls: None,
            access: Access::Unknown,
            severity: Severity::Info,
            summary: String::new(),
            details: BTreeMap::new(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn hosts_are_sorted_and_carry_services_names_and_groups() {
        let first = address("198.18.0.1");
        let second = address("198.18.0.2");
        let outside = Outside {
            observations: vec![open(Endpoint::tcp(second, 443)), open(Endpoint::tcp(second, 22))],
            groups: vec![group("198.18.0.1", Transport::Tcp, PortState::Closed, "1-9")],
            living: BTreeSet::from([second, first]),
            services: HashMap::from([(Endpoint::tcp(second, 22), service("ssh"))]),
            names: BTreeMap::from([(first, vec!["a.lan".to_owned()])]),
            macs: HashMap::new(),
            improbable: BTreeMap::new(),
        };
        let hosts = hosts(outside, |_| "eth9".to_owned());
        assert_eq!(hosts.iter().map(|host| host.address).collect::<Vec<_>>(), [first, second]);
        assert_eq!(hosts[0].names, ["a.lan"]);
        assert_eq!(hosts[0].other_ports[0].ports, "1-9");
        let ports: Vec<u16> = hosts[1].endpoints.iter().map(|entry| entry.port).collect();
        assert_eq!(ports, [22, 443]);
        assert_eq!(hosts[1].endpoints[0].service.as_ref().unwrap().name, "ssh");
        assert_eq!(hosts[1].endpoints[0].seen_from, ["eth9"]);
    }

    #[test]
    fn a_multicast_answer_settles_a_silent_port() {
        let endpoint = Endpoint::udp(address("198.18.0.1"), 5353);
        let mut outside = Outside {
            groups: vec![group("198.18.0.1", Transport::Udp, PortState::OpenOrFiltered, "111,5353")],
            ..Outside::default()
        };
        settle_open(&mut outside, endpoint, service("avahi"));
        settle_open(&mut outside, endpoint, service("avahi"));
        assert_eq!(outside.groups[0].ports, "111");
        assert_eq!(outside.observations.len(), 1);
        assert_eq!(outside.observations[0].state, PortState::Open);
        assert!(outside.living.contains(&endpoint.address));
    }
}
