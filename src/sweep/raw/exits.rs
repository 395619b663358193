//! From the ways of the routing table to what a sweep needs of them: outlets to open, and exits, which are an outlet with
//! a source address and a router. Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::net::interface::{Interface, LinkLayer};
use crate::net::ways::{Hop as ToWhom, Leave, Piece};
use crate::sweep::syn::Hop;

/// Where frames are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outlet {
    /// Frames of an Ethernet interface.
    Ethernet { interface: u32, mac: [u8; 6] },
    /// Whole packets, which the kernel routes.
    Packets,
}

/// How probes leave: what is the same for many destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Position among the outlets.
    pub outlet: u16,
    pub source: IpAddr,
    /// `None`: the destination itself is the neighbour, or the kernel finds it.
    pub router: Option<IpAddr>,
}

/// Destinations and how they are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    pub first: IpAddr,
    pub last: IpAddr,
    /// Position among the exits; `None` without a route.
    pub exit: Option<u16>,
    pub hop: Hop,
}

/// All exits of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    pub outlets: Vec<Outlet>,
    pub exits: Vec<Exit>,
    pub reaches: Vec<Reach>,
}

impl Exits {
    pub fn new(pieces: &[Piece], interfaces: &[Interface]) -> Self {
        let mut exits = Self::default();
        for piece in pieces {
            let (exit, hop) = match piece.way {
                // Nobody has these: they are no targets.
                Leave::Nobody => continue,
                Leave::NoRoute => (None, Hop::Routed),
                Leave::Packet { source } => (exits.exit(Outlet::Packets, source, None), Hop::Routed),
                Leave::Frame { interface, source, hop } => {
                    let link = interfaces.iter().find(|one| one.index == interface).map(|one| one.link);
                    let router = match hop {
                        ToWhom::Destination => None,
                        ToWhom::Router(router) => Some(router),
                    };
                    match link {
                        Some(LinkLayer::Ethernet(mac)) => {
                            let hop = if router.is_none() { Hop::OnLink } else { Hop::Routed };
                            (exits.exit(Outlet::Ethernet { interface, mac }, source, router), hop)
                        }
                        _ => (exits.exit(Outlet::Packets, source, None), Hop::Routed),
                    }
                }
            };
            exits.reaches.push(Reach { first: piece.first, last: piece.last, exit, hop });
        }
        exits
    }

    /// An outlet is not to be had: nothing leaves by it, and nobody behind it is asked for.
    pub fn close(&mut self, outlet: usize) {
        let is_of = |exit: &Exit| usize::from(exit.outlet) == outlet;
        for reach in &mut self.reaches {
            let exit = reach.exit.and_then(|exit| self.exits.get(usize::from(exit)));
            if exit.is_some_and(is_of) {
                reach.hop = Hop::Closed;
            }
        }
        self.exits.iter_mut().filter(|exit| is_of(exit)).for_each(|exit| exit.router = None);
    }

    /// The number of an exit, a new one if need be; `None` when there are more than can be counted.
    fn exit(&mut self, outlet: Outlet, source: IpAddr, router: Option<IpAddr>) -> Option<u16> {
        let outlet = place(&mut self.outlets, outlet)?;
        place(&mut self.exits, Exit { outlet, source, router })
    }
}

fn place<T: PartialEq>(list: &mut Vec<T>, one: T) -> Option<u16> {
    let at = list.iter().position(|known| *known == one).unwrap_or_else(|| {
        list.push(one);
        list.len() - 1
    });
    u16::try_from(at).ok()
}

/// Addresses of `pieces` that no host has.
pub fn nobodys(pieces: &[Piece]) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
    pieces.iter().filter(|piece| piece.way == Leave::Nobody).map(|piece| (piece.first, piece.last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn frame(interface: u32, source: &str, hop: ToWhom) -> Leave {
        Leave::Frame { interface, source: ip(source), hop }
    }

    #[test]
    fn each_outlet_and_each_exit_is_there_once() {
        let mac = |last| LinkLayer::Ethernet([2, 0, 0, 0, 0, last]);
        let interface = |index, link| Interface {
            index,
            name: format!("eth{index}"),
            link,
            up: true,
            carrier: true,
            is_port: false,
        };
        let interfaces = [interface(2, mac(2)), interface(3, mac(3)), interface(4, LinkLayer::Other)];
        let ways = [
            ("198.18.0.0", "198.18.0.254", frame(2, "198.18.0.1", ToWhom::Destination)),
            ("198.18.0.255", "198.18.0.255", Leave::Nobody),
            ("198.18.1.0", "198.18.1.255", frame(2, "198.18.0.1", ToWhom::Router(ip("198.18.0.254")))),
            ("198.18.2.0", "198.18.2.255", frame(3, "198.19.0.1", ToWhom::Router(ip("198.19.0.254")))),
            ("198.18.3.0", "198.18.3.255", frame(2, "198.18.0.1", ToWhom::Router(ip("198.18.0.254")))),
            ("198.18.4.0", "198.18.4.255", Leave::NoRoute),
            ("198.18.5.0", "198.18.5.0", Leave::Packet { source: ip("198.18.0.1") }),
            ("198.18.6.0", "198.18.6.0", frame(4, "198.18.6.1", ToWhom::Destination)),
        ];
        let pieces: Vec<Piece> =
            ways.iter().map(|(first, last, way)| Piece { first: ip(first), last: ip(last), way: *way }).collect();
        let mut exits = Exits::new(&pieces, &interfaces);
        assert_eq!(exits.outlets.len(), 3);
        let by: Vec<_> = exits.reaches.iter().map(|reach| (reach.exit, reach.hop)).collect();
        let expected = [
            (Some(0), Hop::OnLink),
            (Some(1), Hop::Routed),
            (Some(2), Hop::Routed),
            (Some(1), Hop::Routed),
            (None, Hop::Routed),
            (Some(3), Hop::Routed),
            (Some(4), Hop::Routed),
        ];
        assert_eq!(by, expected);
        assert_eq!((exits.exits[1].outlet, exits.exits[2].outlet), (0, 1));
        assert_eq!(nobodys(&pieces).collect::<Vec<_>>(), [(ip("198.18.0.255"), ip("198.18.0.255"))]);
        exits.close(0);
        let closed: Vec<_> = exits.reaches.iter().map(|reach| reach.hop == Hop::Closed).collect();
        assert_eq!(closed, [true, true, false, true, false, false, false]);
        let routers: Vec<_> = exits.exits.iter().map(|exit| exit.router.is_some()).collect();
        assert_eq!(routers, [false, false, true, false, false], "nobody is asked where nothing leaves");
    }
}
