//! The space that a sweep covers: a numbered, reordered sequence of endpoints that is never held in memory.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Endpoint, PortRanges};

/// What a UDP sweep sends: a service that is silent to an empty datagram answers a request of its own protocol.
/// Implemented in `probe`, used in `sweep`.
pub trait Payloads: fmt::Debug + Send + Sync {
    /// The smallest valid request for this endpoint; `None` where no protocol is at home on the port.
    fn payload(&self, endpoint: Endpoint) -> Option<Arc<[u8]>>;
}

/// An endpoint of a space by number, whatever the round: the address's number and the port's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Below [`ProbeSpace::addresses`] of the space that was not [narrowed](ProbeSpace::among).
    pub host: u64,
    /// Position of the port among the ports that are asked, in ascending order.
    pub port: u16,
}

/// Every endpoint of a run exactly once per round, by position. Implemented in `targets`, walked in `sweep`.
pub trait ProbeSpace: Send + Sync {
    /// Number of endpoints.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of addresses, for limits per host.
    fn addresses(&self) -> u64;

    /// Of so many positions in a row, starting at a multiple of it, no two are of one address (in round 0, and in every
    /// round of a narrowed space).
    fn pass(&self) -> u64;

    /// The ports that every address is asked.
    fn ports(&self) -> PortRanges;

    /// Whether an endpoint is one of these.
    fn contains(&self, endpoint: &Endpoint) -> bool;

    /// The same addresses with those of their ports that are in `ports`.
    fn restricted(&self, ports: &PortRanges) -> Box<dyn ProbeSpace>;

    /// Some of the addresses, by their [numbers](Place::host), with all ports. Places keep their numbers. Where this
    /// space is one shard of several, the narrowed one comes to places of other shards, too: [`owns`](Self::owns) tells.
    fn among(&self, hosts: Vec<u64>) -> Box<dyn ProbeSpace>;

    /// The place at `position` (below [`len`](Self::len)) in the order of `round`: each round has an order of its own,
    /// so that losses which come in bursts do not meet the same ports twice.
    fn place(&self, round: u32, position: u64) -> Place;

    /// The position at which `round` comes to `place`; `None` when it never does.
    fn position(&self, round: u32, place: Place) -> Option<u64>;

    /// Whether a place that an order came to is this shard's.
    fn owns(&self, place: Place) -> bool;

    /// The endpoint at a place of this space.
    fn endpoint_at(&self, place: Place) -> Endpoint;

    /// The number of an address; `None` when it is none of these.
    fn host_of(&self, address: IpAddr) -> Option<u64>;

    /// The place of an endpoint; `None` when it is none of these.
    fn place_of(&self, endpoint: &Endpoint) -> Option<Place>;

    /// The endpoint at `position` in the order of `round`.
    fn endpoint(&self, round: u32, position: u64) -> Endpoint {
        self.endpoint_at(self.place(round, position))
    }
}
