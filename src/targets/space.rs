//! Addresses × ports in a new order each round: what a sweep walks. Pure.

use super::order::Order;
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
    len: u64,
}

impl Space {
    /// The space of `targets` × `ports`. The product was checked by [`guard::check`](super::guard::check) and fits.
    pub fn new(targets: TargetSet, ports: &PortRanges, transport: Transport, seed: u64) -> Self {
        let ports: Vec<u16> = ports.iter().collect();
        let len = u64::try_from(targets.len().saturating_mul(ports.len() as u128)).unwrap_or(u64::MAX);
        Self { targets, ports, transport, seed, len }
    }
}

impl ProbeSpace for Space {
    fn len(&self) -> u64 {
        self.len
    }

    fn addresses(&self) -> u64 {
        u64::try_from(self.targets.len()).unwrap_or(u64::MAX)
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

    fn endpoint(&self, round: u32, position: u64) -> Endpoint {
        let index = Order::new(self.len, self.seed ^ (u64::from(round) << 48)).at(position);
        let ports = self.ports.len() as u64;
        // Both indices are inside by construction: `index` is below addresses x ports.
        let port = self.ports[(index % ports) as usize];
        let address = self.targets.nth(u128::from(index / ports)).expect("index is below the number of endpoints");
        Endpoint::new(address, self.transport, port)
    }
}

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
}
