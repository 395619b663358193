//! The hosts of a report, arranged by machine: addresses of one machine become one host, machines that the sweep did
//! not meet get a host of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::canonical;
use super::join::Joined;
use super::lookup::swept_addresses;
use super::machine::{UNKNOWN, is_engine_bridge};
use crate::model::report::Host;

/// A host and the machine that it is, or is a part of.
#[derive(Debug)]
pub struct Placed {
    pub host: Host,
    pub machine: Option<Place>,
}

impl Placed {
    /// Neither the sweep nor a report says anything about a port of it.
    pub fn is_blank(&self) -> bool {
        self.machine.is_some() && self.host.endpoints.is_empty() && self.host.other_ports.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Position of the machine.
    pub index: usize,
    pub part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The machine's own network namespace.
    Host,
    /// Another network namespace of it, with an address of its own on the network.
    Outer,
}

/// Arranges `hosts` by `machines`; sorted by address.
pub fn place(hosts: Vec<Host>, machines: &[Joined<'_>]) -> Vec<Placed> {
    let mut rest = Rest::new(hosts);
    let mut placed = Vec::new();
    for (index, joined) in machines.iter().enumerate() {
        if let Some(host) = own_host(&mut rest, joined) {
            placed.push(Placed { host, machine: Some(Place { index, part: Part::Host }) });
        }
        for &address in &joined.outer {
            let mut host = rest.take(&[address]).unwrap_or_else(|| Host::at(address));
            let named = joined.machine.namespaces.iter().find(|namespace| namespace.addresses.contains(&address));
            add_name(&mut host, named.and_then(|namespace| namespace.container.as_deref()));
            placed.push(Placed { host, machine: Some(Place { index, part: Part::Outer }) });
        }
    }
    placed.extend(rest.hosts.into_iter().flatten().map(|host| Placed { host, machine: None }));
    placed.sort_by_key(|placed| placed.host.address);
    placed
}

/// The hosts that no machine has taken yet, by their asked addresses.
struct Rest {
    hosts: Vec<Option<Host>>,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Rest {
    fn new(hosts: Vec<Host>) -> Self {
        let numbered = hosts.iter().enumerate();
        let by_address =
            numbered.flat_map(|(index, host)| swept_addresses(host).into_iter().map(move |address| (address, index)));
        Self { by_address: by_address.collect(), hosts: hosts.into_iter().map(Some).collect() }
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.by_address.get(&address).is_some_and(|index| self.hosts[*index].is_some())
    }

    /// Takes the hosts with any of `addresses` and makes one of them.
    fn take(&mut self, addresses: &[IpAddr]) -> Option<Host> {
        let slots: BTreeSet<usize> =
            addresses.iter().filter_map(|address| self.by_address.get(address).copied()).collect();
        slots.into_iter().filter_map(|slot| self.hosts[slot].take()).reduce(merge)
    }
}

fn own_host(rest: &mut Rest, joined: &Joined<'_>) -> Option<Host> {
    let mut host = match joined.addresses.first() {
        Some(&first) => rest.take(&joined.addresses).unwrap_or_else(|| Host::at(first)),
        // Only shown where no other host stands already.
        None => joined.home.filter(|home| !rest.holds(*home)).map(Host::at)?,
    };
    let machine = &joined.machine;
    // It is called by an address that its network knows, not by that of a bridge for its containers.
    let behind = |address: &IpAddr| {
        machine.addresses.iter().any(|own| canonical(own.address) == *address && is_engine_bridge(&own.interface))
    };
    if behind(&host.address) {
        let asked = swept_addresses(&host);
        host.address = asked.into_iter().find(|address| !behind(address)).unwrap_or(host.address);
    }
    if machine.id != UNKNOWN {
        host.id = machine.id.to_owned();
    }
    let reported =
        machine.addresses.iter().map(|entry| canonical(entry.address)).filter(|address| !address.is_loopback());
    let addresses: BTreeSet<IpAddr> =
        reported.chain(joined.addresses.iter().copied()).chain(host.addresses.iter().copied()).collect();
    host.addresses = addresses.into_iter().collect();
    for report in machine.reports() {
        add_name(&mut host, report.hostname.as_deref());
    }
    let address = host.address;
    let mac = || machine.addresses.iter().find(|entry| entry.address == address).and_then(|entry| entry.mac.clone());
    host.mac = host.mac.take().or_else(mac);
    Some(host)
}

fn merge(mut one: Host, other: Host) -> Host {
    if other.address < one.address {
        one.address = other.address;
        one.id = other.id;
    }
    one.addresses.extend(other.addresses);
    one.mac = one.mac.or(other.mac);
    for name in &other.names {
        add_name(&mut one, Some(name));
    }
    one.endpoints.extend(other.endpoints);
    one.other_ports.extend(other.other_ports);
    one.improbable.extend(other.improbable);
    one.endpoints.sort_by_key(|entry| (entry.address, entry.transport, entry.port));
    one.other_ports.sort_by_key(|group| (group.address, group.transport, group.state, group.reason));
    one
}

fn add_name(host: &mut Host, name: Option<&str>) {
    if let Some(name) = name
        && !host.names.iter().any(|known| known == name)
    {
        host.names.push(name.to_owned());
    }
}
