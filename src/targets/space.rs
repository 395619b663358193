//! Addresses × ports in a new order each round: what a sweep walks. Pure.
//!
//! Each pass asks every host once, in an order of the round's own, and each host goes through its ports in shuffled order
//! from a starting point of its own. So two probes of one host lie as far apart as there are hosts: no host's ICMP budget
//! meets a burst, a rate is spread over the hosts exactly, and yet one pass does not ask everybody for the same port.
//!
//! A shard is every n-th position of round 0. Its later rounds shuffle these positions among themselves.

use std::net::IpAddr;
use std::sync::Arc;

use super::order::{Order, mix};
use super::set::TargetSet;
use crate::model::{Endpoint, Place, PortRanges, ProbeSpace, Shard, Transport};

/// The endpoints of one transport.
#[derive(Clone, Debug)]
pub struct Space {
    targets: Arc<TargetSet>,
    /// Ports as a table: at most 65,536 entries, looked up once a probe.
    ports: Arc<[u16]>,
    transport: Transport,
    seed: u64,
    shard: Shard,
    /// Addresses in all.
    hosts: u64,
    /// The hosts that are walked; all of them unless narrowed. Sorted.
    chosen: Option<Arc<[u64]>>,
    /// How many hosts are walked.
    lanes: u64,
    /// Endpoints of all shards together, and of this one.
    all: u64,
    len: u64,
    /// The order of round 0 over all hosts, which the shards share out.
    whole: Round,
    /// The orders of the first rounds; later ones are made when asked for.
    rounds: Vec<Round>,
}

impl Space {
    /// The space of `targets` × `ports`. The product was checked by [`guard::check`](super::guard::check) and fits.
    pub fn new(targets: TargetSet, ports: &PortRanges, transport: Transport, seed: u64) -> Self {
        let ports: Arc<[u16]> = ports.iter().collect();
        let hosts = u64::try_from(targets.len()).unwrap_or(u64::MAX);
        let shard = Shard::default();
        let whole = Round::new(seed, 0, Sizes { lanes: hosts, ports: ports.len() as u64, len: 0 });
        let (targets, chosen, rounds) = (Arc::new(targets), None, Vec::new());
        Self { targets, ports, transport, seed, shard, hosts, chosen, lanes: hosts, all: 0, len: 0, whole, rounds }
            .prepared()
    }

    /// One shard of this space: all shards together are the whole, and no two have an endpoint in common.
    #[must_use]
    pub fn sharded(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self.prepared()
    }

    fn prepared(mut self) -> Self {
        self.all = self.lanes.saturating_mul(self.ports.len() as u64);
        self.len = if self.chosen.is_some() { self.all } else { self.shard.share_of(self.all) };
        let sizes = Sizes { lanes: self.hosts, ports: self.ports.len() as u64, len: 0 };
        self.whole = Round::new(self.seed, 0, sizes);
        self.rounds = (0..PREPARED_ROUNDS).map(|round| self.round(round)).collect();
        self
    }

    fn round(&self, round: u32) -> Round {
        let sizes = Sizes { lanes: self.lanes, ports: self.ports.len() as u64, len: self.len };
        Round::new(self.seed, round, sizes)
    }

    fn with_round<T>(&self, round: u32, f: impl FnOnce(&Round) -> T) -> T {
        match self.rounds.get(round as usize) {
            Some(prepared) => f(prepared),
            None => f(&self.round(round)),
        }
    }

    /// The place at a position of the whole, whichever shard's it is.
    fn at(&self, round: &Round, position: u64) -> Place {
        let ports = self.ports.len() as u64;
        let (pass, lane) = (position / self.lanes, position % self.lanes);
        let lane = round.hosts.at(lane);
        let host = self.chosen.as_ref().map_or(lane, |chosen| chosen[lane as usize]);
        let start = round.start(host);
        let turn = pass + start;
        let turn = if turn >= ports { turn - ports } else { turn };
        // Below the number of ports, which are at most 65,536.
        Place { host, port: round.ports.at(turn) as u16 }
    }

    /// The inverse of [`at`](Self::at).
    fn position_in(&self, round: &Round, place: Place) -> Option<u64> {
        let lane = match &self.chosen {
            Some(chosen) => chosen.binary_search(&place.host).ok()? as u64,
            None => place.host,
        };
        let inside = lane < self.lanes && usize::from(place.port) < self.ports.len();
        inside.then(|| round.position(place, lane, self.lanes))
    }

    /// A shard's position of `round` as one of the whole in round 0.
    fn of_whole(&self, round: u32, position: u64) -> u64 {
        let turn = if round == 0 { position } else { self.with_round(round, |round| round.shard.at(position)) };
        u64::from(self.shard.index()) + u64::from(self.shard.of()) * turn
    }

    /// Whether positions are those of a shard.
    fn is_part(&self) -> bool {
        self.shard.of() > 1 && self.chosen.is_none()
    }
}

impl ProbeSpace for Space {
    fn len(&self) -> u64 {
        self.len
    }

    fn addresses(&self) -> u64 {
        self.lanes
    }

    fn pass(&self) -> u64 {
        if self.is_part() { (self.lanes / u64::from(self.shard.of())).max(1) } else { self.lanes }
    }

    fn ports(&self) -> PortRanges {
        PortRanges::from_ports(self.ports.iter().copied())
    }

    fn contains(&self, endpoint: &Endpoint) -> bool {
        self.place_of(endpoint).is_some()
    }

    fn restricted(&self, ports: &PortRanges) -> Box<dyn ProbeSpace> {
        let ports = self.ports().intersection(ports);
        Box::new(Self { ports: ports.iter().collect(), seed: self.seed.rotate_left(7), ..self.clone() }.prepared())
    }

    fn among(&self, mut hosts: Vec<u64>) -> Box<dyn ProbeSpace> {
        hosts.retain(|host| *host < self.hosts);
        hosts.sort_unstable();
        hosts.dedup();
        let lanes = hosts.len() as u64;
        Box::new(Self { chosen: Some(hosts.into()), lanes, ..self.clone() }.prepared())
    }

    /// # Panics
    /// When `position` is not below `len`.
    fn place(&self, round: u32, position: u64) -> Place {
        assert!(position < self.len, "position {position} is outside a space of {}", self.len);
        if self.is_part() {
            let whole = self.of_whole(round, position);
            return self.with_round(0, |first| self.at(first, whole));
        }
        self.with_round(round, |round| self.at(round, position))
    }

    fn position(&self, round: u32, place: Place) -> Option<u64> {
        if !self.is_part() {
            return self.with_round(round, |round| self.position_in(round, place));
        }
        let whole = self.with_round(0, |first| self.position_in(first, place))?;
        let of = u64::from(self.shard.of());
        let turn = (whole % of == u64::from(self.shard.index())).then_some(whole / of)?;
        Some(if round == 0 { turn } else { self.with_round(round, |round| round.shard.position(turn)) })
    }

    fn owns(&self, place: Place) -> bool {
        if self.shard.of() == 1 {
            return true;
        }
        let of = u64::from(self.shard.of());
        let index = u64::from(self.shard.index());
        place.host < self.hosts && self.whole.position(place, place.host, self.hosts) % of == index
    }

    fn endpoint_at(&self, place: Place) -> Endpoint {
        let address = self.targets.nth(u128::from(place.host)).expect("places are of hosts below their number");
        Endpoint::new(address, self.transport, self.ports[usize::from(place.port)])
    }

    fn place_of(&self, endpoint: &Endpoint) -> Option<Place> {
        if endpoint.transport != self.transport {
            return None;
        }
        // A position in a table of at most 65,536 entries.
        let port = self.ports.binary_search(&endpoint.port).ok()? as u16;
        let place = Place { host: self.host_of(endpoint.address)?, port };
        self.owns(place).then_some(place)
    }

    fn host_of(&self, address: IpAddr) -> Option<u64> {
        let host = u64::try_from(self.targets.index_of(address)?).ok()?;
        let is_walked = self.chosen.as_ref().is_none_or(|chosen| chosen.binary_search(&host).is_ok());
        is_walked.then_some(host)
    }
}

/// The orders of one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    hosts: Order,
    ports: Order,
    /// Of a shard's own positions, where the space is one.
    shard: Order,
    /// Picks where each host starts in the order of ports.
    key: u64,
}

/// What a round's orders are made for.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    lanes: u64,
    ports: u64,
    len: u64,
}

impl Round {
    fn new(seed: u64, round: u32, sizes: Sizes) -> Self {
        let key = mix(seed ^ mix(u64::from(round) + 1));
        Self {
            hosts: Order::new(sizes.lanes, key),
            ports: Order::new(sizes.ports, mix(key)),
            shard: Order::new(sizes.len, mix(key ^ 1)),
            key: mix(key ^ seed),
        }
    }

    /// Where a host starts in the order of ports.
    fn start(&self, host: u64) -> u64 {
        // The high half of the product is below the number of ports, and cheaper than a remainder.
        ((u128::from(mix(host ^ self.key)) * u128::from(self.ports.len())) >> 64) as u64
    }

    /// Where this round comes to a place whose host walks in `lane` of `lanes`.
    fn position(&self, place: Place, lane: u64, lanes: u64) -> u64 {
        let ports = self.ports.len();
        let start = self.start(place.host);
        let pass = (self.ports.position(place.port.into()) + ports - start) % ports;
        pass * lanes + self.hosts.position(lane)
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
    fn positions_are_found_again() {
        let space = class_c("1-10,443");
        let narrowed = space.among(vec![9, 3, 200, 9, 999]);
        assert_eq!((narrowed.addresses(), narrowed.len()), (3, 33));
        for round in [0, 1, 7, 9] {
            for position in 0..space.len() {
                let place = space.place(round, position);
                assert_eq!(space.position(round, place), Some(position));
                assert_eq!(space.place_of(&space.endpoint_at(place)), Some(place));
            }
            for position in 0..narrowed.len() {
                let place = narrowed.place(round, position);
                assert!([3, 9, 200].contains(&place.host) && narrowed.owns(place));
                assert_eq!(narrowed.position(round, place), Some(position));
            }
        }
        assert_eq!(space.place_of(&Endpoint::tcp([198, 18, 0, 1].into(), 12)), None);
        assert_eq!(space.place_of(&Endpoint::tcp([198, 18, 1, 1].into(), 1)), None);
        assert_eq!(narrowed.place_of(&Endpoint::tcp([198, 18, 0, 4].into(), 1)), None, "not among the chosen");
        assert_eq!(narrowed.position(0, Place { host: 4, port: 0 }), None);
    }

    #[test]
    fn shards_are_disjoint_and_complete_in_every_round() {
        for (ports, of) in [("1-10", 3), ("1-10", 256), ("1", 7), ("1-5", 5)] {
            let whole = class_c(ports);
            for round in [0, 1, 9] {
                let mut seen = HashSet::new();
                for number in 1..=of {
                    let shard = whole.clone().sharded(Shard::new(number, of).unwrap());
                    for position in 0..shard.len() {
                        let place = shard.place(round, position);
                        assert!(seen.insert(place), "{place:?} is in two shards or comes twice");
                        assert!(shard.owns(place) && shard.contains(&shard.endpoint_at(place)));
                        assert_eq!(shard.position(round, place), Some(position));
                    }
                }
                assert_eq!(seen.len() as u64, whole.len(), "{of} shards of {ports}, round {round}");
            }
        }
    }

    #[test]
    fn a_narrowed_shard_tells_its_own() {
        let whole = class_c("1-10");
        let shards: Vec<Space> = (1..=3).map(|number| whole.clone().sharded(Shard::new(number, 3).unwrap())).collect();
        let narrowed: Vec<_> = shards.iter().map(|shard| shard.among(vec![1, 2, 77])).collect();
        for position in 0..narrowed[0].len() {
            let place = narrowed[0].place(4, position);
            let owners = narrowed.iter().filter(|shard| shard.owns(place)).count();
            assert_eq!(owners, 1, "{place:?}");
            for (narrow, shard) in narrowed.iter().zip(&shards) {
                assert_eq!(narrow.owns(place), shard.owns(place));
            }
        }
    }

    #[test]
    fn a_pass_asks_each_host_once() {
        let space = class_c("1-10").sharded(Shard::new(2, 5).unwrap());
        for first in (0..space.len() - space.pass()).step_by(space.pass() as usize) {
            let hosts: HashSet<u64> =
                (first..first + space.pass()).map(|position| space.place(0, position).host).collect();
            assert_eq!(hosts.len() as u64, space.pass());
        }
    }

    #[test]
    fn no_hosts_or_no_ports_make_an_empty_space() {
        assert!(class_c("").is_empty());
        assert!(Space::new(TargetSet::default(), &PortRanges::from_ports([1]), Transport::Udp, 0).is_empty());
        assert!(class_c("1-10").restricted(&PortRanges::from_ports([11])).is_empty());
    }
}
