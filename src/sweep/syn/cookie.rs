//! The proof that an answer is one to a probe of ours: the sequence number is a keyed hash of the four-tuple. Pure.
//!
//! Nothing is stored per probe. Who did not see the probe cannot guess the number that its answer must acknowledge.

use std::fmt;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

/// Makes and checks sequence numbers.
#[derive(Clone, Copy)]
pub struct Cookies {
    hasher: SipHasher13,
}

/// The addresses and ports of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub destination: IpAddr,
    pub port: u16,
    pub source: IpAddr,
    pub source_port: u16,
}

impl Cookies {
    /// With a key that nobody else knows.
    pub fn new(key: &[u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(key) }
    }

    /// The sequence number of a probe.
    pub fn sequence(&self, tuple: &Tuple) -> u32 {
        let ports = u32::from(tuple.port) << 16 | u32::from(tuple.source_port);
        let hash = match (tuple.destination, tuple.source) {
            (IpAddr::V4(destination), IpAddr::V4(source)) => {
                let mut bytes = [0; 12];
                bytes[..4].copy_from_slice(&destination.octets());
                bytes[4..8].copy_from_slice(&source.octets());
                bytes[8..].copy_from_slice(&ports.to_be_bytes());
                self.hasher.hash(&bytes)
            }
            (destination, source) => {
                let octets = |address| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                let mut bytes = [0; 36];
                bytes[..16].copy_from_slice(&octets(destination));
                bytes[16..32].copy_from_slice(&octets(source));
                bytes[32..].copy_from_slice(&ports.to_be_bytes());
                self.hasher.hash(&bytes)
            }
        };
        // The low half of a keyed hash is as good as the whole.
        hash as u32
    }
}

/// The key stays out of logs.
impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_part_of_the_tuple_and_the_key_matter() {
        let tuple = |destination: &str, port, source: &str, source_port| Tuple {
            destination: destination.parse().unwrap(),
            port,
            source: source.parse().unwrap(),
            source_port,
        };
        let tuples = [
            tuple("198.18.0.9", 80, "198.18.0.1", 61_000),
            tuple("198.18.0.1", 80, "198.18.0.9", 61_000),
            tuple("198.18.0.9", 61_000, "198.18.0.1", 80),
            tuple("198.18.0.9", 81, "198.18.0.1", 61_000),
            tuple("198.18.0.9", 80, "198.18.0.1", 61_001),
            tuple("2001:db8::9", 80, "2001:db8::1", 61_000),
            tuple("2001:db8::1", 80, "2001:db8::9", 61_000),
        ];
        let sequences: HashSet<u32> =
            [[1; 16], [2; 16]].iter().flat_map(|key| tuples.map(|tuple| Cookies::new(key).sequence(&tuple))).collect();
        assert_eq!(sequences.len(), 14);
        assert_eq!(Cookies::new(&[1; 16]).sequence(&tuples[0]), Cookies::new(&[1; 16]).sequence(&tuples[0]));
    }
}
