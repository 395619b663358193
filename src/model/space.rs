//! The space that a sweep covers: a numbered, reordered sequence of endpoints that is never held in memory.

use std::fmt;
use std::sync::Arc;

use super::{Endpoint, PortRanges};

/// What a UDP sweep sends: a service that is silent to an empty datagram answers a request of its own protocol.
/// Implemented in `probe`, used in `sweep`.
pub trait Payloads: fmt::Debug + Send + Sync {
    /// The smallest valid request for this endpoint; `None` where no protocol is at home on the port.
    fn payload(&self, endpoint: Endpoint) -> Option<Arc<[u8]>>;
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

    /// The ports that every address is asked.
    fn ports(&self) -> PortRanges;

    /// Whether an endpoint is one of these.
    fn contains(&self, endpoint: &Endpoint) -> bool;

    /// The same addresses with those of their ports that are in `ports`.
    fn restricted(&self, ports: &PortRanges) -> Box<dyn ProbeSpace>;

    /// The endpoint at `position` (below [`len`](Self::len)) in the order of `round`: each round has an order of its
    /// own, so that losses which come in bursts do not meet the same ports twice.
    fn endpoint(&self, round: u32, position: u64) -> Endpoint;
}
