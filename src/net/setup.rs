//! Interfaces, addresses and routes that are made for a vantage (rtnetlink, RFC 3549), in the calling thread's network
//! namespace. Everything made here goes with the namespace of our own that one end of it is in.

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{NetlinkError, change, create, dump};

/// Makes a veth pair: `name` here, `peer` in the other namespace.
pub fn create_veth(name: &str, peer: &str, other: BorrowedFd<'_>) -> Result<(), NetlinkError> {
    let mut there = LinkMessage::default();
    there.attributes = vec![LinkAttribute::IfName(peer.to_owned()), LinkAttribute::NetNsFd(other.as_raw_fd())];
    let mut request = LinkMessage::default();
    request.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(there))),
        ]),
    ];
    create(RouteNetlinkMessage::NewLink(request), "make a veth pair")
}

/// Takes an interface, and with a veth its other end, away.
pub fn delete_link(index: u32) -> Result<(), NetlinkError> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    change(RouteNetlinkMessage::DelLink(request), "remove an interface")
}

pub fn set_up(index: u32) -> Result<(), NetlinkError> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    request.header.flags = LinkFlags::Up;
    request.header.change_mask = LinkFlags::Up;
    change(RouteNetlinkMessage::SetLink(request), "set an interface up")
}

/// Gives an address to an interface. No duplicate address detection: it works at once, and nothing is asked for it.
pub fn add_address(index: u32, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
    let mut request = AddressMessage::default();
    request.header.family = family(address);
    request.header.prefix_len = prefix;
    request.header.index = index;
    request.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if address.is_ipv6() {
        request.header.flags = AddressHeaderFlags::Nodad;
        request.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    create(RouteNetlinkMessage::NewAddress(request), "add an address")
}

/// A route to `destination` by an interface; without a gateway everything there is a neighbour.
pub fn add_route(index: u32, destination: IpNetwork, gateway: Option<IpAddr>) -> Result<(), NetlinkError> {
    let mut request = RouteMessage::default();
    request.header = RouteHeader {
        address_family: family(destination.ip()),
        destination_prefix_length: destination.prefix(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    request.attributes.push(RouteAttribute::Oif(index));
    if destination.prefix() > 0 {
        request.attributes.push(RouteAttribute::Destination(destination.network().into()));
    }
    request.attributes.extend(gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    create(RouteNetlinkMessage::NewRoute(request), "add a route")
}

/// The destinations that rules of policy routing speak of.
pub fn ruled_networks() -> Result<Vec<IpNetwork>, NetlinkError> {
    let mut networks = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RuleMessage::default();
        request.header.family = family;
        let rules = match dump(RouteNetlinkMessage::GetRule(request), "list routing rules") {
            Ok(rules) => rules,
            // A kernel without policy routing, or without the family.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT)) => continue,
            Err(error) => return Err(error),
        };
        for message in rules {
            let RouteNetlinkMessage::NewRule(rule) = message else { continue };
            let destination = rule.attributes.iter().find_map(|attribute| match attribute {
                RuleAttribute::Destination(address) => Some(*address),
                _ => None,
            });
            networks.extend(destination.and_then(|address| IpNetwork::new(address, rule.header.dst_len).ok()));
        }
    }
    Ok(networks)
}

/// The destinations of all routes of all tables, default routes aside.
pub fn routed_networks() -> Result<Vec<IpNetwork>, NetlinkError> {
    let mut networks = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        for message in dump(RouteNetlinkMessage::GetRoute(request), "list routes")? {
            let RouteNetlinkMessage::NewRoute(route) = message else { continue };
            let destination = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
                RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
                _ => None,
            });
            let network =
                destination.and_then(|address| IpNetwork::new(address, route.header.destination_prefix_length).ok());
            networks.extend(network.filter(|network| network.prefix() > 0));
        }
    }
    Ok(networks)
}

const fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
