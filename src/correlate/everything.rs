//! Hosts that accept on improbable ports too: a SYN proxy, a tarpit or a middlebox answers, not the services.
//!
//! A port counts as improbable when it is open, no probe recognised a service on it and no socket of a joined host
//! report takes it. When at least half of the asked TCP ports of an address, and at least [`LEAST`], are like that,
//! they say nothing about the host: they are folded into one group and one finding. Ports that a probe recognised stay.
//! Where the sweep asked ports that nobody uses, their answers decide instead: open ones make the flood, a refused one
//! means that the host tells its ports apart.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::lookup::group_ports;
use crate::model::report::{EndpointEntry, Host, PortGroup};
use crate::model::{Endpoint, Improbable, PortRanges, PortState, Reason, Transport};

/// Fewer improbable ports than this may be a host with many services of its own.
pub const LEAST: usize = 20;

/// An address that accepts on everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    pub address: IpAddr,
    /// Asked TCP ports.
    pub asked: usize,
    /// Open ports without a recognised service or a socket.
    pub improbable: usize,
    /// Of these, how many reset the connection at once.
    pub reset: usize,
    /// Ports that nobody uses were open, too.
    pub controls: Option<Improbable>,
}

/// Judges `address` of `host`; `explained` tells whether the host itself has a socket for an endpoint.
pub fn detect(host: &Host, address: IpAddr, explained: impl Fn(Endpoint) -> bool) -> Option<Flood> {
    let mut flood = Flood { address, asked: 0, improbable: 0, reset: 0, controls: None };
    for entry in host.endpoints.iter().filter(|entry| is_tcp_at(entry.address, entry.transport, address)) {
        if entry.reason == Reason::NotSwept {
            continue;
        }
        flood.asked += 1;
        if is_improbable(entry) && !explained(entry.endpoint()) {
            flood.improbable += 1;
            flood.reset += usize::from(entry.reason == Reason::AcceptedThenReset);
        }
    }
    for group in host.other_ports.iter().filter(|group| is_tcp_at(group.address, group.transport, address)) {
        let ports = group_ports(group);
        flood.asked += ports.len();
        if group.state == PortState::Open {
            let improbable = ports.iter().filter(|port| !explained(Endpoint::tcp(address, *port))).count();
            flood.improbable += improbable;
            flood.reset += if group.reason == Reason::AcceptedThenReset { improbable } else { 0 };
        }
    }
    match host.improbable.get(&address) {
        Some(controls) if controls.accepts_everything() => {
            flood.controls = Some(controls.clone());
            (flood.improbable > 0).then_some(flood)
        }
        Some(controls) if controls.closed > 0 => None,
        _ => (flood.improbable >= LEAST && flood.improbable * 2 >= flood.asked).then_some(flood),
    }
}

/// Open, and no probe recognised what answers.
pub fn is_improbable(entry: &EndpointEntry) -> bool {
    let recognised = entry.service.as_ref().is_some_and(|service| service.name != UNKNOWN_SERVICE);
    entry.state == PortState::Open && entry.transport == Transport::Tcp && !recognised
}

/// Folds the improbable ports of the address; `explained` as in [`detect`].
pub fn fold(host: &mut Host, flood: &Flood, explained: impl Fn(Endpoint) -> bool) {
    let mut folded: BTreeMap<Reason, Vec<u16>> = BTreeMap::new();
    host.endpoints.retain(|entry| {
        let fold = entry.address == flood.address && is_improbable(entry) && !explained(entry.endpoint());
        if fold {
            folded.entry(entry.reason).or_default().push(entry.port);
        }
        !fold
    });
    for (reason, ports) in folded {
        let ports = PortRanges::from_ports(ports);
        let same = |group: &&mut PortGroup| {
            is_tcp_at(group.address, group.transport, flood.address)
                && (group.state, group.reason) == (PortState::Open, reason)
        };
        match host.other_ports.iter_mut().find(same) {
            Some(group) => group.ports = group_ports(group).union(&ports).to_string(),
            None => host.other_ports.push(PortGroup {
                address: flood.address,
                transport: Transport::Tcp,
                state: PortState::Open,
                reason,
                offender: None,
                ports: ports.to_string(),
                seen_from: Vec::new(),
            }),
        }
    }
    host.other_ports.sort_by_key(|group| (group.address, group.transport, group.state, group.reason));
}

/// Name that the probes give to an answer that no definition matched.
pub const UNKNOWN_SERVICE: &str = "unknown";

fn is_tcp_at(its: IpAddr, transport: Transport, address: IpAddr) -> bool {
    its == address && transport == Transport::Tcp
}
