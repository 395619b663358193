//! Frames of SYN probes: a template per source, patched for each probe. Pure.
//!
//! The options are those of an ordinary Linux SYN. A peer echoes only what it is offered, so that offering all of them
//! makes its answer tell most; and boxes on the way that drop unusual SYNs let these through.

use std::net::IpAddr;

use super::checksum::Sum;
use super::neighbour::Mac;

/// What differs from probe to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Syn {
    pub destination: IpAddr,
    pub port: u16,
    pub source_port: u16,
    pub sequence: u32,
}

/// What stands before the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkHeader {
    /// Ethernet II; the destination is given with each probe.
    Ethernet { source: Mac },
    /// None: tun and other layer 3 devices, or a datagram packet socket whose kernel writes the header.
    None,
}

/// A SYN from one source address, complete but for what [`Syn`] holds.
#[derive(Clone, Debug)]
pub struct SynTemplate {
    bytes: [u8; MAX_FRAME],
    length: usize,
    /// Where the IP header starts.
    network: usize,
    is_v4: bool,
    /// Sum over the IPv4 header without destination; zero for IPv6, which has no checksum.
    header: Sum,
    /// Sum over pseudo header and segment without what [`Syn`] holds.
    segment: Sum,
}

/// The longest frame: Ethernet, IPv6, TCP with options.
pub const MAX_FRAME: usize = ETHERNET + IPV6 + SEGMENT;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const SEGMENT: usize = TCP + OPTIONS.len();
const TCP: usize = 20;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_TCP: u8 = 6;
const DONT_FRAGMENT: u16 = 0x4000;
const FLAG_SYN: u8 = 0x02;
const WINDOW: u16 = 64240;

/// Maximum segment size 1460, SACK permitted, timestamps (1, 0), no-operation, window scale 7: RFC 9293 section 3.2,
/// RFC 2018, RFC 7323.
const OPTIONS: [u8; 20] = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

impl SynTemplate {
    /// The template of `source`. `hops` is the time to live; the own system's default is 64 as a rule.
    pub fn new(source: IpAddr, link: LinkHeader, hops: u8) -> Self {
        let mut bytes = [0; MAX_FRAME];
        let is_v4 = source.is_ipv4();
        let network = match link {
            LinkHeader::Ethernet { source: mac } => {
                bytes[6..12].copy_from_slice(&mac.0);
                let ethertype = if is_v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
                bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
                ETHERNET
            }
            LinkHeader::None => 0,
        };
        let transport = network + if is_v4 { IPV4 } else { IPV6 };
        let length = transport + SEGMENT;
        match source {
            IpAddr::V4(address) => {
                // RFC 791 section 3.1. A packet that may not be fragmented needs no identification (RFC 6864).
                let header = &mut bytes[network..transport];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&((IPV4 + SEGMENT) as u16).to_be_bytes());
                header[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
                header[8] = hops;
                header[9] = PROTOCOL_TCP;
                header[12..16].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                // RFC 8200 section 3.
                let header = &mut bytes[network..transport];
                header[0] = 0x60;
                header[4..6].copy_from_slice(&(SEGMENT as u16).to_be_bytes());
                header[6] = PROTOCOL_TCP;
                header[7] = hops;
                header[8..24].copy_from_slice(&address.octets());
            }
        }
        let segment = &mut bytes[transport..length];
        segment[12] = ((SEGMENT / 4) as u8) << 4;
        segment[13] = FLAG_SYN;
        segment[14..16].copy_from_slice(&WINDOW.to_be_bytes());
        segment[TCP..].copy_from_slice(&OPTIONS);
        let header = if is_v4 { Sum::default().bytes(&bytes[network..transport]) } else { Sum::default() };
        // Pseudo header: RFC 9293 section 3.1, RFC 8200 section 8.1.
        let segment = Sum::default()
            .bytes(&bytes[transport..length])
            .address(source)
            .word(PROTOCOL_TCP.into())
            .word(SEGMENT as u16);
        Self { bytes, length, network, is_v4, header, segment }
    }

    /// Length of each frame.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The frame before it is [patched](Self::patch): for buffers that are filled once and used again and again.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Writes a whole frame and returns its length. `to` is the link-layer destination, of no meaning without a link
    /// header.
    ///
    /// # Panics
    /// When `frame` is shorter than [`length`](Self::length), or the destination of another family than the source:
    /// both are the caller's own choice.
    pub fn write(&self, syn: &Syn, to: Mac, frame: &mut [u8]) -> usize {
        let frame = &mut frame[..self.length];
        frame.copy_from_slice(&self.bytes[..self.length]);
        self.patch(syn, to, frame);
        self.length
    }

    /// Makes a frame that holds this template, patched or not, that of another probe.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn patch(&self, syn: &Syn, to: Mac, frame: &mut [u8]) {
        if self.network > 0 {
            frame[..6].copy_from_slice(&to.0);
        }
        let transport = match syn.destination {
            IpAddr::V4(address) => {
                assert!(self.is_v4, "an IPv4 destination for a template of IPv6");
                let header = &mut frame[self.network..self.network + IPV4];
                header[16..20].copy_from_slice(&address.octets());
                let checksum = self.header.double(address.to_bits()).checksum();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                self.network + IPV4
            }
            IpAddr::V6(address) => {
                assert!(!self.is_v4, "an IPv6 destination for a template of IPv4");
                frame[self.network + 24..self.network + IPV6].copy_from_slice(&address.octets());
                self.network + IPV6
            }
        };
        let checksum =
            self.segment.address(syn.destination).word(syn.source_port).word(syn.port).double(syn.sequence).checksum();
        let segment = &mut frame[transport..transport + SEGMENT];
        segment[..2].copy_from_slice(&syn.source_port.to_be_bytes());
        segment[2..4].copy_from_slice(&syn.port.to_be_bytes());
        segment[4..8].copy_from_slice(&syn.sequence.to_be_bytes());
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use pnet_packet::Packet as _;
    use pnet_packet::ethernet::EthernetPacket;
    use pnet_packet::ipv4::{self, Ipv4Packet};
    use pnet_packet::ipv6::Ipv6Packet;
    use pnet_packet::tcp::{self, TcpPacket};

    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);

    proptest::proptest! {
        #[test]
        fn ipv4_frames_are_right_whatever_the_probe(source: u32, destination: u32, port: u16, source_port: u16, sequence: u32) {
            let template = SynTemplate::new(IpAddr::V4(source.into()), LinkHeader::Ethernet { source: OURS }, 64);
            let syn = Syn { destination: IpAddr::V4(destination.into()), port, source_port, sequence };
            // A frame of another probe before it: patching leaves nothing behind.
            let mut frame = [0xaa; MAX_FRAME];
            let other = Syn { destination: IpAddr::V4((!destination).into()), port: !port, source_port: 7, sequence: !sequence };
            template.write(&other, OURS, &mut frame);
            template.patch(&syn, THEIRS, &mut frame);
            let ethernet = EthernetPacket::new(&frame[..template.length()]).unwrap();
            assert_eq!((ethernet.get_source().octets(), ethernet.get_destination().octets()), (OURS.0, THEIRS.0));
            let packet = Ipv4Packet::new(ethernet.payload()).unwrap();
            assert_eq!(usize::from(packet.get_total_length()), template.length() - ETHERNET);
            assert_eq!(packet.get_checksum(), ipv4::checksum(&packet));
            assert_eq!(packet.get_destination().to_bits(), destination);
            let segment = TcpPacket::new(packet.payload()).unwrap();
            let right = tcp::ipv4_checksum(&segment, &packet.get_source(), &packet.get_destination());
            assert_eq!(segment.get_checksum(), right);
            assert_eq!((segment.get_source(), segment.get_destination()), (source_port, port));
            assert_eq!((segment.get_sequence(), segment.get_flags(), segment.get_data_offset()), (sequence, FLAG_SYN, 10));
        }

        #[test]
        fn ipv6_frames_are_right_whatever_the_probe(source: u128, destination: u128, port: u16, source_port: u16, sequence: u32) {
            let template = SynTemplate::new(IpAddr::V6(source.into()), LinkHeader::None, 64);
            let syn = Syn { destination: IpAddr::V6(destination.into()), port, source_port, sequence };
            let mut frame = [0; MAX_FRAME];
            let length = template.write(&syn, THEIRS, &mut frame);
            let packet = Ipv6Packet::new(&frame[..length]).unwrap();
            assert_eq!(usize::from(packet.get_payload_length()), SEGMENT);
            let segment = TcpPacket::new(packet.payload()).unwrap();
            let right = tcp::ipv6_checksum(&segment, &packet.get_source(), &packet.get_destination());
            assert_eq!(segment.get_checksum(), right);
            assert_eq!(segment.get_sequence(), sequence);
        }
    }

    #[test]
    fn the_options_are_read_as_they_are_meant() {
        let options = super::super::TcpOptions::parse(&OPTIONS);
        assert_eq!(options.to_string(), "mss 1460,sack,ts,nop,ws 7");
    }
}
