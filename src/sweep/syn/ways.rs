//! By which source address, and by whom, a destination is reached: the routing table, flattened. Pure.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// How a destination is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Position in the list of sources.
    pub source: u16,
    pub hop: Hop,
}

/// Whom a frame for a destination goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hop {
    /// The way out is not to be had: nobody there can be asked.
    Closed,
    /// A gateway, `lo`, or a device without link-layer addresses: the driver knows.
    Routed,
    /// The destination itself, which must be resolved by ARP or neighbour discovery.
    OnLink,
}

/// Disjoint ranges of destinations with their ways. What is in none of them has no route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    v4: Vec<Range>,
    v6: Vec<Range>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u128,
    last: u128,
    way: Option<Way>,
}

impl Ways {
    /// From routes, the longest prefix first in charge; among equals the one that comes first. `None` is a route that
    /// refuses (unreachable, prohibit, blackhole).
    pub fn new(routes: impl IntoIterator<Item = (IpNetwork, Option<Way>)>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().collect();
        // Stable, so that the first of equals stays first; painted over from the least to the most specific.
        routes.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix()));
        let mut ways = Self::default();
        for (network, way) in routes.into_iter().rev() {
            let (first, last) = ends(network);
            let list = if network.is_ipv4() { &mut ways.v4 } else { &mut ways.v6 };
            paint(list, Range { first, last, way });
        }
        ways
    }

    /// From disjoint ranges, first and last address inclusive and of one family each.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (IpAddr, IpAddr, Option<Way>)>) -> Self {
        let mut ways = Self::default();
        for (first, last, way) in ranges {
            let list = if first.is_ipv4() { &mut ways.v4 } else { &mut ways.v6 };
            list.push(Range { first: number(first), last: number(last), way });
        }
        ways.v4.sort_by_key(|range| range.first);
        ways.v6.sort_by_key(|range| range.first);
        ways
    }

    /// The way to `destination`; `None` without a route.
    pub fn to(&self, destination: IpAddr) -> Option<Way> {
        let (list, number) = match destination {
            IpAddr::V4(v4) => (&self.v4, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (&self.v6, v6.to_bits()),
        };
        // One route for everything is the usual case.
        let at =
            if list.len() == 1 { 0 } else { list.partition_point(|range| range.first <= number).checked_sub(1)? };
        list.get(at).filter(|range| (range.first..=range.last).contains(&number))?.way
    }

    /// Whether anything is reached without a gateway.
    pub fn any_on_link(&self) -> bool {
        self.v4.iter().chain(&self.v6).any(|range| range.way.is_some_and(|way| way.hop == Hop::OnLink))
    }
}

/// Puts `new` into sorted, disjoint ranges, over what is there.
fn paint(ranges: &mut Vec<Range>, new: Range) {
    let mut painted = Vec::with_capacity(ranges.len() + 2);
    for range in ranges.drain(..) {
        if range.first < new.first {
            let last = if range.last < new.first { range.last } else { new.first - 1 };
            painted.push(Range { last, ..range });
        }
        if range.last > new.last {
            let first = if range.first > new.last { range.first } else { new.last + 1 };
            painted.push(Range { first, ..range });
        }
    }
    painted.push(new);
    painted.sort_by_key(|range| range.first);
    *ranges = painted;
}

fn ends(network: IpNetwork) -> (u128, u128) {
    (number(network.network()), number(network.broadcast()))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(source: u16, hop: Hop) -> Option<Way> {
        Some(Way { source, hop })
    }

    fn ways(routes: &[(&str, Option<Way>)]) -> Ways {
        Ways::new(routes.iter().map(|(network, way)| (network.parse().unwrap(), *way)))
    }

    #[test]
    fn the_longest_prefix_wins_in_any_order() {
        let routes = [
            ("0.0.0.0/0", way(0, Hop::Routed)),
            ("198.18.0.0/16", way(1, Hop::OnLink)),
            ("198.18.7.0/24", None),
            ("198.18.7.9/32", way(2, Hop::Routed)),
            ("::/0", way(3, Hop::Routed)),
        ];
        let mut backwards = routes;
        backwards.reverse();
        for ways in [ways(&routes), ways(&backwards)] {
            let to = |address: &str| ways.to(address.parse().unwrap());
            assert_eq!(to("8.8.8.8"), way(0, Hop::Routed));
            assert_eq!(to("198.18.0.0"), way(1, Hop::OnLink));
            assert_eq!(to("198.18.255.255"), way(1, Hop::OnLink));
            assert_eq!(to("198.18.7.8"), None);
            assert_eq!(to("198.18.7.9"), way(2, Hop::Routed));
            assert_eq!(to("198.18.7.10"), None);
            assert_eq!(to("198.18.8.0"), way(1, Hop::OnLink));
            assert_eq!(to("255.255.255.255"), way(0, Hop::Routed));
            assert_eq!(to("2001:db8::1"), way(3, Hop::Routed));
            assert!(ways.any_on_link());
        }
    }

    #[test]
    fn among_equals_the_first_wins_and_nothing_has_no_way() {
        let two = ways(&[("198.18.0.0/16", way(1, Hop::Routed)), ("198.18.0.0/16", way(2, Hop::Routed))]);
        assert_eq!(two.to([198, 18, 0, 1].into()), way(1, Hop::Routed));
        assert_eq!(two.to([198, 19, 0, 1].into()), None);
        assert_eq!(two.to("2001:db8::1".parse().unwrap()), None);
        assert!(!two.any_on_link());
    }
}
