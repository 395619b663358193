//! Addresses × ports in a new order each round: what a sweep walks. Pure.
//!
//! Each pass asks every host once, in an order of the round's own, and each host goes through its ports in shuffled order
//! from a starting point of its own. So two probes of one host lie as far apart as there are hosts: no host's ICMP budget
//! meets a burst, a rate is spread over the hosts exactly, and yet one pass does not ask everybody for the same port.

use super::order::{Order, mix};
use super::set::TargetSet;
use crate::model::{Endpoint, PortRanges, ProbeSpace, Transport};

/// The endpoints of one transport.
#[derive(Clone, Debug)]
pub struct Space {
    targets: TargetSet,
    /// Ports as a table: at most 65,536 entries, looked up once a probe.
    ports: Vec<u16>,
    transport: Transport,
    seed: u64,
    hosts: u64,
    len: u64,
    /// The orders of the first rounds; later ones are made when asked for.
    rounds: Vec<Round>,
}

impl Space {
    /// The space of `targets` × `ports`. The product was checked by [`guard::check`](super::guard::check) and fits.
    pub fn new(targets: TargetSet, ports: &PortRanges, transport: Transport, seed: u64) -> Self {
        let ports: Vec<u16> = ports.iter().collect();
        let hosts = u64::try_from(targets.len()).unwrap_or(u64::MAX);
        let len = hosts.saturating_mul(ports.len() as u64);
        let rounds = (0..PREPARED_ROUNDS).map(|round| Round::new(hosts, ports.len(), seed, round)).collect();
        Self { targets, ports, transport, seed, hosts, len, rounds }
    }

    fn at(&self, round: &Round, position: u64) -> Endpoint {
        let ports = self.ports.len() as u64;
        let (pass, lane) = (position / self.hosts, position % self.hosts);
        let host = round.hosts.at(lane);
        let start = mix(host ^ round.key) % ports;
        // Below the number of ports, and so of the table's entries.
        let port = self.ports[round.ports.at((pass + start) % ports) as usize];
        let address = self.targets.nth(u128::from(host)).expect("an order of the hosts stays below their number");
        Endpoint::new(address, self.transport, port)
    }
}

impl ProbeSpace for Space {
    fn len(&self) -> u64 {
        self.len
    }

    fn addresses(&self) -> u64 {
        self.hosts
    }

    fn ports(&self) -> PortRanges {
        PortRanges::from_ports(self.ports.iter().copied())
    }

    fn contains(&self, endpoint: &Endpoint) -> bool {
        endpoint.transport == self.transport
            && self.ports.binary_search(&endpoint.port).is_ok()
            && self.targets.contains(endpoint.address)
    }

    fn restricted(&self, ports: &PortRanges) -> Box<dyn ProbeSpace> {
        let ports = self.ports().intersection(ports);
        Box::new(Self::new(self.targets.clone(), &ports, self.transport, self.seed.rotate_left(7)))
    }

    /// # Panics
    /// When `position` is not below `len`.
    fn endpoint(&self, round: u32, position: u64) -> Endpoint {
        assert!(position < self.len, "position {position} is outside a space of {}", self.len);
        match self.rounds.get(round as usize) {
            Some(prepared) => self.at(prepared, position),
            None => self.at(&Round::new(self.hosts, self.ports.len(), self.seed, round), position),
        }
    }
}

/// The orders of one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    hosts: Order,
    ports: Order,
    /// Picks where each host starts in the order of ports.
    key: u64,
}

impl Round {
    fn new(hosts: u64, ports: usize, seed: u64, round: u32) -> Self {
        let key = mix(seed ^ mix(u64::from(round) + 1));
        Self { hosts: Order::new(hosts, key), ports: Order::new(ports as u64, mix(key)), key: mix(key ^ seed) }
    }
}

/// More than a sweep makes as a rule.
const PREPARED_ROUNDS: u32 = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_endpoint_once_a_round_in_another_order() {
        let targets = TargetSet::from_ranges([
            ("198.18.0.1".parse().unwrap(), "198.18.0.7".parse().unwrap()),
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()),
        ]);
        let space = Space::new(targets, &"22,80-82".parse().unwrap(), Transport::Tcp, 1);
        let round = |round| (0..space.len()).map(|position| space.endpoint(round, position)).collect::<Vec<_>>();
        assert_eq!(space.len(), 36);
        assert_eq!(round(0).into_iter().collect::<HashSet<_>>().len(), 36);
        assert_eq!(round(0).into_iter().collect::<HashSet<_>>(), round(1).into_iter().collect());
        assert_ne!(round(0), round(1));
    }

    #[test]
    fn the_benchmark_network_with_all_ports_is_not_materialised() {
        let targets = TargetSet::from_ranges([("198.18.0.0".parse().unwrap(), "198.19.255.255".parse().unwrap())]);
        let space = Space::new(targets.clone(), &PortRanges::from_ranges([(1, 65_535)]), Transport::Tcp, 9);
        assert_eq!(space.len(), 131_072 * 65_535);
        for position in (0..space.len()).step_by(100_000_007) {
            assert!(targets.contains(space.endpoint(0, position).address));
        }
    }

    fn class_c(ports: &str) -> Space {
        let targets = TargetSet::from_ranges([("198.18.0.0".parse().unwrap(), "198.18.0.255".parse().unwrap())]);
        Space::new(targets, &ports.parse().unwrap(), Transport::Tcp, 3)
    }

    #[test]
    fn late_rounds_have_their_order_too() {
        let space = class_c("1-10");
        let round = |round| (0..space.len()).map(|position| space.endpoint(round, position)).collect::<Vec<_>>();
        for late in [7, 8, 1000] {
            assert_eq!(round(late).iter().collect::<HashSet<_>>().len(), 2560);
            assert_ne!(round(late), round(late + 1));
        }
    }

    #[test]
    fn no_host_meets_a_burst() {
        let space = class_c("1-1000");
        let mut last = std::collections::HashMap::new();
        for position in 0..space.len() {
            let address = space.endpoint(0, position).address;
            if let Some(before) = last.insert(address, position) {
                assert_eq!(position - before, 256, "{address} is asked again too soon");
            }
        }
    }

    #[test]
    fn one_pass_does_not_ask_everybody_for_one_port() {
        let space = class_c("1-1000");
        let ports: HashSet<u16> = (0..256).map(|position| space.endpoint(0, position).port).collect();
        // About 226 different ones are expected of 256 picks among 1000.
        assert!(ports.len() > 180, "{} different ports", ports.len());
    }

    #[test]
    fn no_hosts_or_no_ports_make_an_empty_space() {
        assert!(class_c("").is_empty());
        assert!(Space::new(TargetSet::default(), &PortRanges::from_ports([1]), Transport::Udp, 0).is_empty());
        assert!(class_c("1-10").restricted(&PortRanges::from_ports([11])).is_empty());
    }
}
