//! The frames that the scanner sends, and what a captured frame says about one of them.
//!
//! Each packet carries a number that no translation changes: the sequence number of a SYN, the payload of a datagram.
//! An answer gives it back: a reset acknowledges the sequence number, an ICMP error quotes the packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postern::model::Transport;

pub type Mac = [u8; 6];

/// One packet as it leaves its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub number: u32,
    pub transport: Transport,
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
}

/// What a captured packet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The packet itself, perhaps translated.
    Itself(Segment),
    /// A TCP reset in answer to it.
    Reset(u32),
    /// An ICMP error about it.
    Icmp { number: u32, kind: u8, code: u8, offender: IpAddr },
    /// The answer to [`arp_request`].
    ArpReply,
}

/// First half of the payload of each datagram; the number is the second.
const MAGIC: [u8; 4] = *b"orc!";
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
pub const TTL: u8 = 64;

impl Segment {
    /// The Ethernet frame of a TCP SYN, or of a UDP datagram of eight bytes.
    pub fn frame(&self, from: Mac, to: Mac) -> Vec<u8> {
        let (protocol, mut body) = match self.transport {
            Transport::Tcp => (TCP, self.syn()),
            Transport::Udp => (UDP, self.datagram()),
        };
        let length = u16::try_from(body.len()).expect("a short packet");
        let pseudo = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                [source.octets().as_slice(), &destination.octets(), &[0, protocol], &length.to_be_bytes()].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => [
                source.octets().as_slice(),
                &destination.octets(),
                &u32::from(length).to_be_bytes(),
                &[0, 0, 0, protocol],
            ]
            .concat(),
            mixed => panic!("one packet, two families: {mixed:?}"),
        };
        let at = if protocol == TCP { 16 } else { 6 };
        let sum = match checksum(&[&pseudo, &body]) {
            // RFC 768: zero means that there is none.
            0 if protocol == UDP => 0xffff,
            sum => sum,
        };
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let (ethertype, header) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                (ETHERTYPE_IPV4, ipv4_header(source, destination, protocol, length))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                (ETHERTYPE_IPV6, ipv6_header(source, destination, protocol, length))
            }
            mixed => panic!("one packet, two families: {mixed:?}"),
        };
        [to.as_slice(), &from, &ethertype.to_be_bytes(), &header, &body].concat()
    }

    fn syn(&self) -> Vec<u8> {
        [
            self.source_port.to_be_bytes().as_slice(),
            &self.destination_port.to_be_bytes(),
            &self.number.to_be_bytes(),
            // No acknowledgement, five words of header, SYN, a window, no checksum yet, not urgent.
            &[0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0],
        ]
        .concat()
    }

    fn datagram(&self) -> Vec<u8> {
        [
            self.source_port.to_be_bytes().as_slice(),
            &self.destination_port.to_be_bytes(),
            &[0, 16, 0, 0],
            &MAGIC,
            &self.number.to_be_bytes(),
        ]
        .concat()
    }
}

/// Asks who has `address`; answered by the host whatever its IP rules say.
pub fn arp_request(from: Mac, source: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    [
        [0xff; 6].as_slice(),
        &from,
        &ETHERTYPE_ARP.to_be_bytes(),
        &[0, 1, 0x08, 0, 6, 4, 0, 1],
        &from,
        &source.octets(),
        &[0; 6],
        &address.octets(),
    ]
    .concat()
}

/// What a frame says, when it is about a packet of ours.
pub fn read_frame(frame: &[u8]) -> Option<Meaning> {
    let ethertype = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    let body = &frame[14..];
    match ethertype {
        ETHERTYPE_ARP => (body.get(6..8)? == [0, 2]).then_some(Meaning::ArpReply),
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => read_packet(body),
        _ => None,
    }
}

/// What an IP packet says, when it is about a packet of ours.
pub fn read_packet(packet: &[u8]) -> Option<Meaning> {
    let header = Header::read(packet)?;
    match header.protocol {
        TCP | UDP => match read_segment(&header)? {
            (segment, Some(number)) => {
                debug_assert_eq!(segment.transport, Transport::Tcp);
                Some(Meaning::Reset(number))
            }
            (segment, None) => Some(Meaning::Itself(segment)),
        },
        ICMP | ICMPV6 => {
            let (kind, code) = (*header.body.first()?, *header.body.get(1)?);
            // Errors quote; ICMPv6 keeps informational types above 127 (RFC 4443, section 2.1).
            let error = if header.protocol == ICMP { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 };
            if !error {
                return None;
            }
            let (segment, _) = read_segment(&Header::read(header.body.get(8..)?)?)?;
            Some(Meaning::Icmp { number: segment.number, kind, code, offender: header.source })
        }
        _ => None,
    }
}

/// Transport header and addresses of a packet without its IP header (raw IPv6 sockets give that).
pub fn read_body(transport: Transport, source: IpAddr, destination: IpAddr, body: &[u8]) -> Option<Segment> {
    let protocol = if transport == Transport::Tcp { TCP } else { UDP };
    match read_segment(&Header { source, destination, protocol, body })? {
        (segment, None) => Some(segment),
        (_, Some(_)) => None,
    }
}

struct Header<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    body: &'a [u8],
}

impl<'a> Header<'a> {
    /// IPv4 with options; IPv6 without extension headers, which we neither send nor provoke.
    fn read(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let length = usize::from(packet[0] & 0xf) * 4;
                let address = |at: usize| -> Option<IpAddr> {
                    let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::from(octets))
                };
                Some(Self {
                    source: address(12)?,
                    destination: address(16)?,
                    protocol: *packet.get(9)?,
                    body: packet.get(length..)?,
                })
            }
            6 => {
                let address = |at: usize| -> Option<IpAddr> {
                    let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::from(octets))
                };
                Some(Self {
                    source: address(8)?,
                    destination: address(24)?,
                    protocol: *packet.get(6)?,
                    body: packet.get(40..)?,
                })
            }
            _ => None,
        }
    }
}

/// The segment, and the number that it acknowledges when it is a reset.
fn read_segment(header: &Header<'_>) -> Option<(Segment, Option<u32>)> {
    let body = header.body;
    let sixteen = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let thirty_two = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let mut segment = Segment {
        number: 0,
        transport: if header.protocol == TCP { Transport::Tcp } else { Transport::Udp },
        source: header.source,
        source_port: sixteen(0)?,
        destination: header.destination,
        destination_port: sixteen(2)?,
    };
    match header.protocol {
        TCP => {
            segment.number = thirty_two(4)?;
            // Of a quoted packet there may be eight bytes only.
            let flags = body.get(13).copied().unwrap_or(0x02);
            match flags & 0x16 {
                0x02 => Some((segment, None)),
                // RST and ACK: our SYN counts for one.
                0x14 => Some((segment, Some(thirty_two(8)?.wrapping_sub(1)))),
                _ => None,
            }
        }
        UDP if body.get(8..12)? == MAGIC => {
            segment.number = thirty_two(12)?;
            Some((segment, None))
        }
        _ => None,
    }
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Vec<u8> {
    let mut header = [
        [0x45, 0].as_slice(),
        &(length + 20).to_be_bytes(),
        // Identification 1, do not fragment.
        &[0, 1, 0x40, 0, TTL, protocol, 0, 0],
        &source.octets(),
        &destination.octets(),
    ]
    .concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u16) -> Vec<u8> {
    [[0x60, 0, 0, 0].as_slice(), &length.to_be_bytes(), &[protocol, TTL], &source.octets(), &destination.octets()]
        .concat()
}

/// RFC 1071, over parts of even length except the last one.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[test]
fn what_is_sent_is_read_back() {
    for transport in [Transport::Tcp, Transport::Udp] {
        for (source, destination) in [("198.18.0.1", "198.18.0.2"), ("2001:db8::1", "2001:db8::2")] {
            let segment = Segment {
                number: 0x0102_0304,
                transport,
                source: source.parse().unwrap(),
                source_port: 40_000,
                destination: destination.parse().unwrap(),
                destination_port: 8080,
            };
            let frame = segment.frame([2; 6], [4; 6]);
            assert_eq!(read_frame(&frame), Some(Meaning::Itself(segment)));
            for cut in 0..frame.len() {
                assert_eq!(read_frame(&frame[..cut]).is_some(), transport == Transport::Tcp && cut >= frame.len() - 12);
            }
        }
    }
}
