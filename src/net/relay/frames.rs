//! Packets of the namespace as frames to the host, and the host's frames as packets for the namespace. Pure.
//!
//! Nothing leaves but TCP to the addresses that are asked for, and nothing comes in but answers to it: TCP from those
//! addresses to the ports that are kept, and ICMP errors about them. ARP, neighbour discovery and what a kernel says
//! unasked on a new interface end here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// A link-layer address.
pub type Mac = [u8; 6];

/// What passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// This machine on the link.
    pub own: Mac,
    /// The host to go through.
    pub host: Mac,
    /// Where the packets come from: this machine's address on the link, one a family.
    pub sources: Vec<IpAddr>,
    /// What lies behind the host.
    pub destinations: Vec<IpAddr>,
    pub ports: RangeInclusive<u16>,
}

impl Gate {
    /// The frame that carries a packet of the namespace; `None` for what is not to leave.
    pub fn frame(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let ip = Ip::read(packet)?;
        let passes = ip.protocol == TCP
            && self.sources.contains(&ip.source)
            && self.destinations.contains(&ip.destination)
            && self.ports.contains(&port(ip.payload, 0)?);
        let ethertype: u16 = if ip.source.is_ipv4() { 0x0800 } else { 0x86dd };
        passes.then(|| [&self.host[..], &self.own, &ethertype.to_be_bytes(), packet].concat())
    }

    /// The packet of a frame that answers; `None` for everything else on the wire. Its TCP checksum is made anew: between
    /// namespaces of one machine it may not have been made at all (CHECKSUM_PARTIAL).
    pub fn packet(&self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.get(6..12)? != self.host || frame.get(..6)? != self.own {
            return None;
        }
        let ip = Ip::read(frame.get(ETHERNET..)?)?;
        if !self.sources.contains(&ip.destination) {
            return None;
        }
        let passes = match ip.protocol {
            TCP => self.destinations.contains(&ip.source) && self.ports.contains(&port(ip.payload, 2)?),
            ICMP | ICMPV6 => self.is_about_us(ip.payload.get(8..)?),
            _ => false,
        };
        if !passes {
            return None;
        }
        let (length, header, protocol) = (ip.length, ip.length - ip.payload.len(), ip.protocol);
        let (source, destination) = (ip.source, ip.destination);
        let mut packet = frame.get(ETHERNET..ETHERNET + length)?.to_vec();
        if protocol == TCP {
            let segment = packet.get_mut(header..)?;
            segment.get_mut(16..18)?.fill(0);
            let sum = checksum(source, destination, segment);
            packet.get_mut(header + 16..header + 18)?.copy_from_slice(&sum.to_be_bytes());
        }
        Some(packet)
    }

    /// Whether the packet that an ICMP error carries is one of ours. It may be cut after eight bytes of TCP.
    fn is_about_us(&self, inner: &[u8]) -> bool {
        let Some(ip) = Ip::read_cut(inner) else { return false };
        ip.protocol == TCP
            && self.sources.contains(&ip.source)
            && self.destinations.contains(&ip.destination)
            && port(ip.payload, 0).is_some_and(|port| self.ports.contains(&port))
    }
}

/// The parts of an IP packet that count here.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// Of the whole packet, as its header says.
    length: usize,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    /// A whole packet; bytes behind its end (Ethernet's padding) are left out.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let ip = Self::read_cut(bytes)?;
        (ip.length <= bytes.len()).then_some(ip)
    }

    /// One whose end may be missing. Fragments and IPv6 extension headers are none of ours: they are not read.
    fn read_cut(bytes: &'a [u8]) -> Option<Self> {
        let (source, destination, protocol, header, length) = match bytes.first()? >> 4 {
            // RFC 791 section 3.1.
            4 => {
                let header = usize::from(bytes[0] & 0x0f) * 4;
                let fragment = u16::from_be_bytes([*bytes.get(6)?, *bytes.get(7)?]) & 0x3fff;
                if header < 20 || fragment != 0 {
                    return None;
                }
                let address = |at: usize| -> Option<IpAddr> {
                    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
                    Some(Ipv4Addr::from(octets).into())
                };
                let length = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
                (address(12)?, address(16)?, *bytes.get(9)?, header, usize::from(length))
            }
            // RFC 8200 section 3.
            6 => {
                let address = |at: usize| -> Option<IpAddr> {
                    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
                    Some(Ipv6Addr::from(octets).into())
                };
                let length = u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]);
                (address(8)?, address(24)?, *bytes.get(6)?, 40, 40 + usize::from(length))
            }
            _ => return None,
        };
        if length < header {
            return None;
        }
        let payload = bytes.get(header..length.min(bytes.len()))?;
        Some(Self { source, destination, protocol, length, payload })
    }
}

fn port(segment: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]))
}

/// RFC 9293 section 3.1 over the pseudo-header of RFC 791 or RFC 8200 section 8.1.
fn checksum(source: IpAddr, destination: IpAddr, segment: &[u8]) -> u16 {
    let mut sum = u32::from(TCP) + segment.len() as u32;
    let mut add = |bytes: &[u8]| {
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    };
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => add(&address.octets()),
            IpAddr::V6(address) => add(&address.octets()),
        }
    }
    add(segment);
    // The sum is at most 0xffff after its last fold; the first addend may have been more.
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const ETHERNET: usize = 14;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const HOST: Mac = [2, 0, 0, 0, 0, 2];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn gate() -> Gate {
        Gate {
            own: OWN,
            host: HOST,
            sources: vec![ip("198.18.0.1"), ip("2001:db8::1")],
            destinations: vec![ip("172.17.0.2"), ip("127.0.0.1"), ip("fd00::2")],
            ports: 20_000..=20_063,
        }
    }

    /// A SYN, or its answer, with whatever checksum.
    fn segment(from: u16, to: u16) -> Vec<u8> {
        let mut segment = [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 8], &[0x50, 0x02, 0xff, 0xff]].concat();
        segment.extend([0xaa, 0xaa, 0, 0]);
        segment
    }

    fn packet(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match (ip(source), ip(destination)) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = (20 + payload.len()) as u16;
                let mut bytes = vec![0x45, 0];
                bytes.extend(length.to_be_bytes());
                bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend(payload);
                bytes
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut bytes = vec![0x60, 0, 0, 0];
                bytes.extend((payload.len() as u16).to_be_bytes());
                bytes.extend([protocol, 64]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend(payload);
                bytes
            }
            _ => panic!("two families"),
        }
    }

    fn from_host(packet: &[u8]) -> Vec<u8> {
        [&OWN[..], &HOST, &[8, 0], packet, &[0; 6]].concat()
    }

    #[test]
    fn only_what_is_asked_for_leaves() {
        let syn = |from: &str, to: &str, port| packet(from, to, TCP, &segment(port, 80));
        let frame = gate().frame(&syn("198.18.0.1", "172.17.0.2", 20_000)).unwrap();
        assert_eq!((&frame[..6], &frame[6..12], &frame[12..14]), (&HOST[..], &OWN[..], &[8_u8, 0][..]));
        let frame = gate().frame(&syn("2001:db8::1", "fd00::2", 20_063)).unwrap();
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        for other in [
            syn("198.18.0.1", "172.17.0.3", 20_000),
            syn("198.18.0.9", "172.17.0.2", 20_000),
            syn("198.18.0.1", "172.17.0.2", 19_999),
            packet("198.18.0.1", "172.17.0.2", 17, &segment(20_000, 80)),
            // A router solicitation.
            packet("fe80::1", "ff02::2", ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(gate().frame(&other), None);
        }
    }

    #[test]
    fn answers_come_in_with_a_whole_checksum_and_without_padding() {
        let answer = packet("127.0.0.1", "198.18.0.1", TCP, &segment(80, 20_005));
        let taken = gate().packet(&from_host(&answer)).unwrap();
        assert_eq!(taken.len(), answer.len());
        // Over a segment with its own checksum in it the sum is zero.
        assert_eq!(checksum(ip("127.0.0.1"), ip("198.18.0.1"), &taken[20..]), 0);
        let answer = packet("fd00::2", "2001:db8::1", TCP, &segment(80, 20_005));
        let taken = gate().packet(&from_host(&answer)).unwrap();
        assert_eq!(checksum(ip("fd00::2"), ip("2001:db8::1"), &taken[40..]), 0);
    }

    #[test]
    fn errors_about_us_come_in_and_others_do_not() {
        let error = |inner: &[u8]| {
            let payload = [&[3, 13, 0, 0, 0, 0, 0, 0][..], inner].concat();
            from_host(&packet("198.18.0.2", "198.18.0.1", ICMP, &payload))
        };
        let ours = packet("198.18.0.1", "172.17.0.2", TCP, &segment(20_001, 80));
        assert!(gate().packet(&error(&ours[..28])).is_some());
        let others = packet("198.18.0.1", "172.17.0.2", TCP, &segment(40_000, 80));
        assert!(gate().packet(&error(&others)).is_none());
        assert!(gate().packet(&error(&ours[..19])).is_none());
    }

    #[test]
    fn frames_of_others_stay_out() {
        let answer = packet("172.17.0.2", "198.18.0.1", TCP, &segment(80, 20_005));
        let mut frame = from_host(&answer);
        assert!(gate().packet(&frame).is_some());
        frame[11] = 9;
        assert!(gate().packet(&frame).is_none());
        for other in [
            packet("172.17.0.9", "198.18.0.1", TCP, &segment(80, 20_005)),
            packet("172.17.0.2", "198.18.0.9", TCP, &segment(80, 20_005)),
            packet("172.17.0.2", "198.18.0.1", TCP, &segment(80, 50_000)),
        ] {
            assert!(gate().packet(&from_host(&other)).is_none());
        }
    }

    #[test]
    fn what_is_cut_is_no_packet() {
        let whole = packet("172.17.0.2", "198.18.0.1", TCP, &segment(80, 20_005));
        let frame = [&OWN[..], &HOST, &[8, 0], &whole].concat();
        assert!(gate().packet(&frame).is_some());
        for length in 0..frame.len() {
            assert_eq!(gate().packet(&frame[..length]), None, "{length}");
        }
    }
}
