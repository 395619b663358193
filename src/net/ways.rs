//! By which interface, from which address and to which neighbour the kernel would send to each of many destinations.
//!
//! Asking for each address of a large range takes longer than sweeping it. But the answer changes only where a route or a
//! rule begins or ends: so the ranges are cut there, and one address of each piece is asked for.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::interface::{Interface, LinkLayer};
use super::netlink::NetlinkError;
use super::route::{Way, route_by};
use super::setup::{routed_networks, ruled_networks};

/// Destinations with one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub first: IpAddr,
    pub last: IpAddr,
    pub way: Leave,
}

/// How packets to a destination leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leave {
    /// As frames of an Ethernet interface, to a neighbour there.
    Frame { interface: u32, source: IpAddr, hop: Hop },
    /// As packets that the kernel takes on: to own addresses, and by what has no Ethernet.
    Packet { source: IpAddr },
    /// A broadcast or multicast address: no host's.
    Nobody,
    /// The routing table has no way there, or forbids it.
    NoRoute,
}

/// The neighbour that a frame goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hop {
    /// The destination itself.
    Destination,
    Router(IpAddr),
}

/// The ways to all addresses of `ranges` (first and last inclusive, each of one family), in their order; by the interface
/// `device` only, where one is given.
///
/// # Errors
/// Netlink failed.
pub fn ways_to(
    ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>,
    interfaces: &[Interface],
    device: Option<u32>,
) -> Result<Vec<Piece>, NetlinkError> {
    let mut networks = routed_networks()?;
    networks.extend(ruled_networks()?);
    let mut pieces: Vec<Piece> = Vec::new();
    for range in ranges {
        for (first, last) in cut(range, &networks) {
            let way = leave(first, interfaces, device)?;
            match pieces.last_mut() {
                Some(before) if before.way == way && follows(before.last, first) => before.last = last,
                _ => pieces.push(Piece { first, last, way }),
            }
        }
    }
    Ok(pieces)
}

fn leave(to: IpAddr, interfaces: &[Interface], device: Option<u32>) -> Result<Leave, NetlinkError> {
    let Some(route) = route_by(to, device)? else { return Ok(Leave::NoRoute) };
    let frame = |hop| {
        let interface = interfaces.iter().find(|one| one.index == route.index);
        match (interface.map(|one| one.link), route.source) {
            (Some(LinkLayer::Ethernet(_)), Some(source)) => Leave::Frame { interface: route.index, source, hop },
            (_, Some(source)) => Leave::Packet { source },
            // No address of this family there to send from.
            (_, None) => Leave::NoRoute,
        }
    };
    Ok(match route.way {
        Way::Local => Leave::Packet { source: route.source.unwrap_or(to) },
        Way::Broadcast => Leave::Nobody,
        Way::OnLink => frame(Hop::Destination),
        Way::Gateway(router) => frame(Hop::Router(router)),
    })
}

/// `range` in pieces that lie wholly inside or wholly outside each of `networks`.
fn cut((first, last): (IpAddr, IpAddr), networks: &[IpNetwork]) -> Vec<(IpAddr, IpAddr)> {
    let (low, high) = (number(first), number(last));
    let mut starts = vec![low];
    for network in networks.iter().filter(|network| network.is_ipv4() == first.is_ipv4()) {
        let begin = number(network.network());
        let behind = number(network.broadcast()).checked_add(1);
        starts.extend([Some(begin), behind].into_iter().flatten().filter(|start| (low + 1..=high).contains(start)));
    }
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([high]);
    let to_address = |number| address(number, first.is_ipv4());
    starts.iter().zip(ends).map(|(&start, end)| (to_address(start), to_address(end))).collect()
}

fn follows(before: IpAddr, next: IpAddr) -> bool {
    before.is_ipv4() == next.is_ipv4() && number(before).checked_add(1) == Some(number(next))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, ipv4: bool) -> IpAddr {
    // Numbers of IPv4 lie between two IPv4 addresses.
    if ipv4 { IpAddr::V4((number as u32).into()) } else { IpAddr::V6(number.into()) }
}

/// Finds the way of an address among pieces. Most addresses in a row are of one piece.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// By first address, sorted.
    pieces: Vec<Piece>,
}

impl Ways {
    pub fn new(mut pieces: Vec<Piece>) -> Self {
        pieces.sort_by_key(|piece| piece.first);
        Self { pieces }
    }

    /// Number of the piece that holds an address.
    pub fn find(&self, address: IpAddr) -> Option<usize> {
        let at = self.pieces.partition_point(|piece| piece.first <= address).checked_sub(1)?;
        (self.pieces[at].last >= address).then_some(at)
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> (IpAddr, IpAddr) {
        (first.parse().unwrap(), last.parse().unwrap())
    }

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ranges_are_cut_where_routes_begin_and_end() {
        let networks = networks(&["198.18.1.0/24", "198.18.1.128/25", "198.18.1.7/32", "10.0.0.0/8", "2001:db8::/64"]);
        let pieces = cut(range("198.18.0.0", "198.18.3.255"), &networks);
        let expected = [
            range("198.18.0.0", "198.18.0.255"),
            range("198.18.1.0", "198.18.1.6"),
            range("198.18.1.7", "198.18.1.7"),
            range("198.18.1.8", "198.18.1.127"),
            range("198.18.1.128", "198.18.1.255"),
            range("198.18.2.0", "198.18.3.255"),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(cut(range("198.18.1.7", "198.18.1.7"), &networks), [range("198.18.1.7", "198.18.1.7")]);
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_edge() {
        let all = networks(&["128.0.0.0/1", "ff00::/8"]);
        assert_eq!(cut(range("0.0.0.0", "255.255.255.255"), &all).len(), 2);
        assert_eq!(cut(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &all).len(), 2);
    }

    #[test]
    fn an_address_finds_its_piece() {
        let way = Leave::Packet { source: IpAddr::from([127, 0, 0, 1]) };
        let piece = |(first, last)| Piece { first, last, way };
        let ways = Ways::new(vec![
            piece(range("2001:db8::", "2001:db8::ff")),
            piece(range("198.18.1.0", "198.18.1.255")),
            piece(range("198.18.0.0", "198.18.0.9")),
        ]);
        let find = |text: &str| ways.find(text.parse().unwrap());
        assert_eq!((find("198.18.0.0"), find("198.18.0.9"), find("198.18.0.10")), (Some(0), Some(0), None));
        assert_eq!((find("198.18.1.77"), find("2001:db8::ff"), find("2001:db8::100")), (Some(1), Some(2), None));
        assert_eq!(find("0.0.0.0"), None);
    }

    #[test]
    fn own_addresses_are_packets_for_the_kernel() {
        let interfaces = crate::net::interface::interfaces().unwrap();
        let pieces = ways_to([range("127.0.0.1", "127.0.0.9")], &interfaces, None).unwrap();
        assert!(
            matches!(pieces[..], [Piece { way: Leave::Packet { source }, .. }] if source.is_loopback()),
            "{pieces:?}"
        );
    }
}
