//! How many hops an answer came by, as its TTL tells: what the host translates to a container answers one hop farther
//! than the host's own sockets do. Only a raw sweep knows the TTL.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::report::{EndpointEntry, Host};
use crate::model::{PortState, Transport};

/// The highest TTL with which an open port of each address answered: that of what is nearest. TCP alone, as services over
/// UDP choose theirs (mDNS: 255, RFC 6762 section 11).
pub fn nearest(host: &Host) -> BTreeMap<IpAddr, u8> {
    let mut nearest: BTreeMap<IpAddr, u8> = BTreeMap::new();
    for entry in host.endpoints.iter().filter(|entry| is_told_by(entry)) {
        if let Some(ttl) = entry.evidence.ttl {
            // Resets came from nearer, and tell as much.
            let ttl = ttl.saturating_add(entry.evidence.behind.unwrap_or(0));
            let known = nearest.entry(entry.address).or_insert(ttl);
            *known = ttl.max(*known);
        }
    }
    nearest
}

/// What the TTL of an open port says beside those of its address; `unexplained`: nothing else tells who answers.
pub fn sentence(entry: &EndpointEntry, nearest: &BTreeMap<IpAddr, u8>, unexplained: bool) -> Option<String> {
    let (ttl, most) = (entry.evidence.ttl.filter(|_| is_told_by(entry))?, *nearest.get(&entry.address)?);
    match most.saturating_sub(ttl) {
        0 => unexplained.then(|| {
            format!(
                "It answers with TTL {ttl}, as the nearest of the address does: the host itself, or a box in its place."
            )
        }),
        1 => Some(format!(
            "It answers with TTL {ttl}, other ports of the address with {most}: one hop farther, as a container or another \
             machine behind the host does."
        )),
        // A kernel of another make starts from another number (64, 128, 255).
        hops => Some(format!(
            "It answers with TTL {ttl}, other ports of the address with {most}, {hops} more: another machine answers."
        )),
    }
}

fn is_told_by(entry: &EndpointEntry) -> bool {
    entry.via.is_none() && entry.transport == Transport::Tcp && entry.state == PortState::Open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Evidence, Reason};

    fn entry(port: u16, ttl: Option<u8>) -> EndpointEntry {
        EndpointEntry {
            address: "198.18.0.7".parse().unwrap(),
            transport: Transport::Tcp,
            port,
            state: PortState::Open,
            reason: Reason::Accepted,
            evidence: Evidence { ttl, ..Evidence::default() },
            seen_from: Vec::new(),
            via: None,
            views: Vec::new(),
            service: None,
            listener: None,
            verdict: None,
            also: Vec::new(),
            intent: None,
            path: Vec::new(),
        }
    }

    #[test]
    fn one_hop_farther_is_behind_the_host() {
        let near = BTreeMap::from([("198.18.0.7".parse().unwrap(), 64)]);
        let says = |ttl, unexplained| sentence(&entry(80, ttl), &near, unexplained);
        assert!(says(Some(63), false).unwrap().contains("TTL 63, other ports of the address with 64: one hop farther"));
        assert!(says(Some(60), false).unwrap().contains("another machine answers"));
        assert_eq!(says(Some(64), false), None);
        assert!(says(Some(64), true).unwrap().contains("the host itself"));
        assert_eq!(says(None, true), None);
    }
}
