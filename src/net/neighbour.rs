//! A neighbour of this machine: an unnamed namespace joined to it by a veth pair. What it sends comes in through a real
//! interface, and so meets PREROUTING and INPUT as a packet of the network does; packets to own addresses over `lo` do not.
//!
//! What changes on the machine is the one interface with its addresses, and it goes with the process, however that ends:
//! the namespace has no name and is held by a descriptor, and a veth goes with its other end's namespace. Forwarding,
//! reverse path filters and all routes stay as they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::addresses::interface_names;
use super::namespace::NetworkNamespace;
use super::netlink::NetlinkError;
use super::{OwnAddress, setup};

/// The namespace and the interface that leads to it. Dropping it takes both away.
#[derive(Debug)]
pub struct NeighbourNamespace {
    namespace: NetworkNamespace,
    home: NetworkNamespace,
    interface: String,
    index: u32,
    joins: Vec<Join>,
}

/// Addresses of both ends in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// On this machine.
    pub here: IpAddr,
    /// In the namespace: what the scan comes from.
    pub there: IpAddr,
    pub prefix: u8,
}

/// Why there is no neighbour.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourError {
    #[error("a network namespace of its own: {0}")]
    Namespace(#[from] io::Error),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("every network that is set aside for it collides with a route of this host")]
    NoNetwork,
    #[error("the interface that was made is not there")]
    NoInterface,
}

impl NeighbourNamespace {
    /// Joins a new namespace to the calling thread's, with routes from there to the addresses `to` and nowhere else.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN and CAP_NET_ADMIN; and where no network is free.
    pub fn join(to: &[OwnAddress]) -> Result<Self, NeighbourError> {
        let home = NetworkNamespace::here()?;
        let namespace = NetworkNamespace::unnamed()?;
        let routed = setup::routed_networks()?;
        let wanted = |ipv4: bool| to.iter().any(|own| own.address.is_ipv4() == ipv4 && !own.address.is_loopback());
        let joins: Vec<Join> =
            [true, false].into_iter().filter(|ipv4| wanted(*ipv4)).filter_map(|ipv4| free(&routed, ipv4)).collect();
        if joins.is_empty() {
            return Err(NeighbourError::NoNetwork);
        }
        let taken = interface_names()?;
        let interface =
            (0..).map(|number| format!("{NAME}{number}")).find(|name| !taken.values().any(|one| one == name));
        let interface = interface.unwrap_or_else(|| NAME.to_owned());
        setup::create_veth(&interface, INSIDE, namespace_fd(&namespace))?;
        let index = index_of(&interface)?.ok_or(NeighbourError::NoInterface)?;
        // From here on the drop takes it away again.
        let mut joined = Self { namespace, home, interface, index, joins: Vec::new() };
        setup::set_up(index)?;
        for join in joins {
            match joined.add(join, to) {
                Ok(()) => joined.joins.push(join),
                // A machine with IPv6 turned off refuses the address; its IPv4 is looked at all the same.
                Err(error) if join.here.is_ipv6() => tracing::debug!("the neighbour has no IPv6: {error}"),
                Err(error) => return Err(error),
            }
        }
        if joined.joins.is_empty() { Err(NeighbourError::NoNetwork) } else { Ok(joined) }
    }

    fn add(&self, join: Join, to: &[OwnAddress]) -> Result<(), NeighbourError> {
        setup::add_address(self.index, join.here, join.prefix)?;
        self.namespace.inside(|| {
            setup::set_up(LOOPBACK)?;
            let inner = index_of(INSIDE)?.ok_or(NeighbourError::NoInterface)?;
            setup::set_up(inner)?;
            setup::add_address(inner, join.there, join.prefix)?;
            let same = to.iter().filter(|own| own.address.is_ipv4() == join.here.is_ipv4());
            for own in same.filter(|own| is_routable(own.address)) {
                setup::add_route(inner, IpNetwork::from(own.address), Some(join.here))?;
            }
            Ok(())
        })?
    }

    pub const fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }

    /// The interface on this machine.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    pub fn joins(&self) -> &[Join] {
        &self.joins
    }
}

impl Drop for NeighbourNamespace {
    fn drop(&mut self) {
        // In the right namespace whatever thread drops it: a number is another interface's elsewhere. What cannot be
        // removed now goes with the process.
        let _ = self.home.inside(|| setup::delete_link(self.index));
    }
}

fn namespace_fd(namespace: &NetworkNamespace) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(namespace)
}

fn index_of(name: &str) -> Result<Option<u32>, NetlinkError> {
    Ok(interface_names()?.into_iter().find_map(|(index, one)| (one == name).then_some(index)))
}

/// Link-local addresses mean another link from the other end.
const fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

/// The first small network of those set aside that shares no address with `routed`.
fn free(routed: &[IpNetwork], ipv4: bool) -> Option<Join> {
    let prefix = if ipv4 { 30 } else { 126 };
    let ranges = if ipv4 { [OF_BENCHMARKS, OF_DOCUMENTATION] } else { [OF_DOCUMENTATION6, OF_LOCAL6] };
    let candidates = ranges.into_iter().flat_map(|range| (0..CANDIDATES).map(range));
    candidates
        .filter_map(|base| IpNetwork::new(base, prefix).ok())
        .find(|candidate| !routed.iter().any(|network| overlap(*network, *candidate)))
        .map(|network| Join { here: plus(network.network(), 1), there: plus(network.network(), 2), prefix })
}

type Range = fn(u32) -> IpAddr;
/// From the end of the benchmark networks (RFC 2544).
const OF_BENCHMARKS: Range = |number| below(Ipv4Addr::new(198, 19, 255, 252), number);
/// From the end of a documentation network (RFC 5737).
const OF_DOCUMENTATION: Range = |number| below(Ipv4Addr::new(203, 0, 113, 252), number);
/// In the documentation prefix (RFC 3849). The number is below [`CANDIDATES`] and fits.
const OF_DOCUMENTATION6: Range = |number| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, number as u16, 0, 0, 0, 0));
/// Among the unique local addresses (RFC 4193).
const OF_LOCAL6: Range = |number| IpAddr::V6(Ipv6Addr::new(0xfd70, 0x6f73, 0x7465, number as u16, 0, 0, 0, 0));

fn below(last: Ipv4Addr, number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(last.to_bits() - 4 * number))
}

fn plus(base: IpAddr, more: u8) -> IpAddr {
    match base {
        IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() + u32::from(more))),
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits() + u128::from(more))),
    }
}

fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

/// Of the interface on this machine, with a number behind it.
const NAME: &str = "postern";
/// Of the interface in the namespace.
const INSIDE: &str = "eth0";
/// The kernel gives it to `lo` in every namespace.
const LOOPBACK: u32 = 1;
/// Networks of each range that are tried; /30s of one /24.
const CANDIDATES: u32 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_network_that_no_route_knows_is_chosen() {
        let join = free(&[], true).unwrap();
        assert_eq!((join.here.to_string(), join.there.to_string()), ("198.19.255.253".into(), "198.19.255.254".into()));
        let join = free(&networks(&["198.19.255.254/32", "198.19.255.240/29"]), true).unwrap();
        assert_eq!(join.here.to_string(), "198.19.255.249");
        let join = free(&networks(&["198.18.0.0/15"]), true).unwrap();
        assert_eq!(join.here.to_string(), "203.0.113.253");
        assert_eq!(free(&networks(&["198.18.0.0/15", "203.0.113.0/24"]), true), None);
        let join = free(&networks(&["2001:db8::/32", "198.18.0.0/15"]), false).unwrap();
        assert_eq!((join.here.to_string(), join.prefix), ("fd70:6f73:7465::1".into(), 126));
    }
}
