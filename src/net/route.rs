//! Which way the kernel sends a packet: interface, source address, next hop, by asking it (RTM_GETROUTE). Policy rules,
//! several tables and metrics are thereby taken into account as they are.

use std::net::IpAddr;

use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{NetlinkError, one};

/// The way to a destination from the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub interface: String,
    /// Interface number.
    pub index: u32,
    /// The source address that the kernel picks for a socket bound to none.
    pub source: Option<IpAddr>,
    pub way: Way,
}

/// What the next hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An address of this machine: goes over `lo` whatever interface bears it, and is never the outside view.
    Local,
    /// The destination itself is a neighbour: asked for by ARP or neighbour discovery.
    OnLink,
    /// Behind this router.
    Gateway(IpAddr),
    /// The broadcast address of a network here, or a multicast group: no host's address.
    Broadcast,
}

/// The way to `destination`; `None` when the routing table has none or forbids it.
///
/// # Errors
/// Netlink itself failed.
pub fn route_to(destination: IpAddr) -> Result<Option<Route>, NetlinkError> {
    route_by(destination, None)
}

/// The way to `destination` among those by the interface of number `device`, where one is given.
///
/// # Errors
/// Netlink itself failed.
pub fn route_by(destination: IpAddr, device: Option<u32>) -> Result<Option<Route>, NetlinkError> {
    let mut request = RouteMessage::default();
    request.header = RouteHeader {
        address_family: if destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: if destination.is_ipv4() { 32 } else { 128 },
        ..RouteHeader::default()
    };
    request.attributes.push(RouteAttribute::Destination(destination.into()));
    request.attributes.extend(device.map(RouteAttribute::Oif));
    let answer = match one(RouteNetlinkMessage::GetRoute(request), "look up a route") {
        Ok(RouteNetlinkMessage::NewRoute(answer)) => answer,
        Ok(_) => return Ok(None),
        Err(error) if error.raw_os_error().is_some_and(|code| NO_ROUTE.contains(&code)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some((index, source, way)) = read(&answer) else { return Ok(None) };
    Ok(Some(Route { interface: interface_name(index)?, index, source, way }))
}

/// Interface, source and next hop of an answer; `None` for routes that lead nowhere.
fn read(answer: &RouteMessage) -> Option<(u32, Option<IpAddr>, Way)> {
    let (mut index, mut source, mut gateway) = (None, None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            // RFC 8950: an IPv4 route whose next hop is an IPv6 address.
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some(IpAddr::V4(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some(IpAddr::V6(*address)),
            _ => {}
        }
    }
    let way = match answer.header.kind {
        RouteType::Local | RouteType::Anycast => Way::Local,
        RouteType::Broadcast | RouteType::Multicast => Way::Broadcast,
        RouteType::Unicast => gateway.map_or(Way::OnLink, Way::Gateway),
        _ => return None,
    };
    Some((index?, source, way))
}

fn interface_name(index: u32) -> Result<String, NetlinkError> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    let RouteNetlinkMessage::NewLink(link) = one(RouteNetlinkMessage::GetLink(request), "look up an interface")? else {
        return Ok(String::new());
    };
    let name = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    Ok(name.unwrap_or_default())
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// What a lookup fails with when there is no route, or one that refuses: `unreachable`, `prohibit`, `blackhole`
/// (ip-route(8), route types).
const NO_ROUTE: [i32; 4] = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_local_over_lo_in_both_families() {
        let route = route_to(IpAddr::from([127, 0, 0, 9])).unwrap().unwrap();
        assert_eq!((route.interface.as_str(), route.way), ("lo", Way::Local));
        assert!(route.source.is_some_and(|source| source.is_loopback()));
    }
}
