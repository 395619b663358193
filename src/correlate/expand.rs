//! The endpoints that a machine's sockets and published ports add to what the sweep reported.
//!
//! A socket gets an entry at every asked address that it takes, whether its port was asked or not: what was not asked
//! is a gap and not a closed port. A wildcard socket adds one entry for a family in which the machine has an address
//! and none was asked, a socket bound to an address that was not asked one entry there, a loopback socket one at every
//! asked address of its family.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::address::{canonical, same_family};
use super::join::Joined;
use super::takes::{fit, is_loopback_only, servers};
use crate::model::Endpoint;
use crate::model::host_report::Listener;

/// Endpoints of the machine's own host that need an entry; `elsewhere` tells addresses that belong to other hosts.
pub fn wanted(joined: &Joined<'_>, elsewhere: impl Fn(IpAddr) -> bool) -> BTreeSet<Endpoint> {
    let machine = &joined.machine;
    let shown: Vec<IpAddr> =
        if joined.addresses.is_empty() { joined.home.into_iter().collect() } else { joined.addresses.clone() };
    let mut wanted = BTreeSet::new();
    for listener in servers(machine) {
        let at = |address| Endpoint::new(address, listener.transport, listener.port);
        let taken = shown.iter().filter(|address| fit(listener, **address, machine.interface_of(**address)).is_some());
        wanted.extend(taken.map(|address| at(*address)));
        let bound = canonical(listener.address);
        if is_loopback_only(listener) {
            let near: Vec<_> = outside_of_family(&shown, bound).map(at).collect();
            if near.is_empty() && !bound.is_unspecified() {
                wanted.insert(at(bound));
            }
            wanted.extend(near);
        } else if bound.is_unspecified() {
            let others = other_families(joined, &shown, listener).filter(|address| !elsewhere(*address));
            wanted.extend(others.map(at));
        } else if !elsewhere(bound) {
            wanted.insert(at(bound));
        }
    }
    for port in &machine.published {
        let at = |address| Endpoint::new(address, port.transport, port.host_port);
        let bound = canonical(port.host_address);
        if bound.is_unspecified() || bound.is_loopback() {
            wanted.extend(outside_of_family(&shown, bound).map(at));
        } else if !elsewhere(bound) {
            wanted.insert(at(bound));
        }
    }
    wanted
}

/// Endpoints of `address`, which belongs to another namespace of the machine.
pub fn wanted_outer(joined: &Joined<'_>, address: IpAddr) -> BTreeSet<Endpoint> {
    let machine = &joined.machine;
    let namespace = machine.namespace_of(address);
    let sockets = machine.sockets.iter().map(|socket| socket.listener);
    sockets
        .filter(|listener| listener.namespace == namespace && !listener.likely_client)
        .filter(|listener| fit(listener, address, None).is_some())
        .map(|listener| Endpoint::new(address, listener.transport, listener.port))
        .collect()
}

fn outside_of_family(shown: &[IpAddr], bound: IpAddr) -> impl Iterator<Item = IpAddr> + '_ {
    shown.iter().copied().filter(move |address| !address.is_loopback() && same_family(*address, bound))
}

/// One address for each family that the socket surely takes and in which nothing is shown.
fn other_families<'j>(
    joined: &'j Joined<'_>,
    shown: &'j [IpAddr],
    listener: &'j Listener,
) -> impl Iterator<Item = IpAddr> + 'j {
    let machine = &joined.machine;
    let missing =
        move |probe: &IpAddr| !shown.iter().any(|address| !address.is_loopback() && same_family(*address, *probe));
    let identity = machine.identity();
    let first = |v4: bool| identity.iter().copied().find(|address| address.is_ipv4() == v4);
    let candidates: Vec<IpAddr> = [first(true), first(false)].into_iter().flatten().collect();
    candidates
        .into_iter()
        .filter(missing)
        .filter(move |address| fit(listener, *address, machine.interface_of(*address)).is_some())
}
