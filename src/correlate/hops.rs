//! How many hops an answer came by, as its TTL tells: what the host translates to a container answers one hop farther
//! than the host's own sockets do. Only a raw sweep knows it.

use crate::model::PortState;
use crate::model::report::EndpointEntry;

/// What the TTL of an open port says beside that of its address's nearest answer; `unexplained`: nothing else tells who
/// answers.
pub fn sentence(entry: &EndpointEntry, unexplained: bool) -> Option<String> {
    let ttl = entry.evidence.ttl.filter(|_| entry.state == PortState::Open && entry.via.is_none())?;
    match behind(entry) {
        0 => unexplained.then(|| {
            format!(
                "It answers with TTL {ttl}, no farther than the nearest answer of the address: the host itself, or a box in \
                 its place."
            )
        }),
        1 => Some(format!(
            "It answers with TTL {ttl}, one hop farther than the nearest answer of the address: as a container or another \
             machine behind the host does."
        )),
        hops => Some(format!(
            "It answers with TTL {ttl}, {hops} hops farther than the nearest answer of the address: another machine answers."
        )),
    }
}

/// Hops beyond the nearest answer of the address.
pub fn behind(entry: &EndpointEntry) -> u8 {
    entry.evidence.behind.unwrap_or(0)
}
