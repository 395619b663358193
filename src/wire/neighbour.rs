//! Who has an address: ARP (RFC 826) and neighbour discovery (RFC 4861). Pure.
//!
//! The options of neighbour discovery are read by hand: pnet multiplies their length in a `u8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet as _;
use pnet_packet::arp::{ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::Icmpv6Types;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;

use super::checksum::Sum;

/// A link-layer address of Ethernet. Prints as `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it may be one interface's: neither a group address nor zero.
    pub const fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A question for the owner of an address on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourQuestion {
    /// Own address on that link, of the family that is asked for.
    pub source: IpAddr,
    pub mac: Mac,
    pub target: IpAddr,
}

/// Who has an address, as one who has it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourAnswer {
    pub address: IpAddr,
    pub mac: Mac,
}

/// The longest question.
pub const MAX_QUESTION: usize = 86;

impl NeighbourQuestion {
    /// Writes the Ethernet frame of an ARP request or a neighbour solicitation and returns its length; `None` when source
    /// and target are of different families.
    pub fn write(&self, frame: &mut [u8; MAX_QUESTION]) -> Option<usize> {
        match (self.source, self.target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => Some(self.write_arp(source, target, frame)),
            (IpAddr::V6(source), IpAddr::V6(target)) => Some(self.write_solicitation(source, target, frame)),
            _ => None,
        }
    }

    fn write_arp(&self, source: Ipv4Addr, target: Ipv4Addr, frame: &mut [u8; MAX_QUESTION]) -> usize {
        frame[..6].copy_from_slice(&Mac::BROADCAST.0);
        frame[6..12].copy_from_slice(&self.mac.0);
        // ARP over Ethernet (1) for IPv4 (0x0800), lengths 6 and 4, request (1).
        frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
        frame[22..28].copy_from_slice(&self.mac.0);
        frame[28..32].copy_from_slice(&source.octets());
        frame[32..38].fill(0);
        frame[38..42].copy_from_slice(&target.octets());
        42
    }

    fn write_solicitation(&self, source: Ipv6Addr, target: Ipv6Addr, frame: &mut [u8; MAX_QUESTION]) -> usize {
        let [.., x, y, z] = target.octets();
        // The solicited-node group (RFC 4291 section 2.7.1) and its Ethernet address (RFC 2464 section 7).
        let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
        frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, x, y, z]);
        frame[6..12].copy_from_slice(&self.mac.0);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        // 32 bytes of ICMPv6 (58); the hop limit must be 255 (RFC 4861 section 7.1.1).
        frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, 58, 255]);
        frame[22..38].copy_from_slice(&source.octets());
        frame[38..54].copy_from_slice(&group.octets());
        frame[54..62].copy_from_slice(&[135, 0, 0, 0, 0, 0, 0, 0]);
        frame[62..78].copy_from_slice(&target.octets());
        // Source link-layer address: type 1, one unit of 8 bytes.
        frame[78..80].copy_from_slice(&[1, 1]);
        frame[80..86].copy_from_slice(&self.mac.0);
        let checksum = Sum::default()
            .address(source.into())
            .address(group.into())
            .word(58)
            .word(32)
            .bytes(&frame[54..86])
            .checksum();
        frame[56..58].copy_from_slice(&checksum.to_be_bytes());
        86
    }
}

impl NeighbourAnswer {
    /// Reads an ARP reply or request (its sender tells as much), or a neighbour advertisement.
    pub fn from_ethernet(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        Self::read(ethernet.get_ethertype().0, ethernet.payload(), Mac(ethernet.get_source().octets()))
    }

    /// Reads what an Ethernet frame of that type carried, from its `sender`.
    pub fn read(ethertype: u16, payload: &[u8], sender: Mac) -> Option<Self> {
        let answer = match pnet_packet::ethernet::EtherType(ethertype) {
            EtherTypes::Arp => Self::from_arp(payload),
            EtherTypes::Ipv6 => Self::from_advertisement(payload, sender),
            _ => None,
        }?;
        answer.mac.is_unicast().then_some(answer)
    }

    fn from_arp(bytes: &[u8]) -> Option<Self> {
        let arp = ArpPacket::new(bytes)?;
        let is_of_ethernet = arp.get_hardware_type().0 == 1
            && arp.get_protocol_type() == EtherTypes::Ipv4
            && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4)
            && matches!(arp.get_operation(), ArpOperations::Reply | ArpOperations::Request);
        let address = arp.get_sender_proto_addr();
        // A probe for a duplicate has no sender address (RFC 5227).
        (is_of_ethernet && !address.is_unspecified())
            .then(|| Self { address: address.into(), mac: Mac(arp.get_sender_hw_addr().octets()) })
    }

    /// RFC 4861 section 4.4. Without a target link-layer address option, which an answer to unicast may leave out, the
    /// frame's own sender is it.
    fn from_advertisement(bytes: &[u8], sender: Mac) -> Option<Self> {
        let packet = Ipv6Packet::new(bytes)?;
        if packet.get_next_header() != IpNextHeaderProtocols::Icmpv6 || packet.get_hop_limit() != 255 {
            return None;
        }
        let (fixed, mut options) = bytes.get(40..)?.split_first_chunk::<24>()?;
        if fixed[0] != Icmpv6Types::NeighborAdvert.0 || fixed[1] != 0 {
            return None;
        }
        let target: [u8; 16] = *fixed.last_chunk()?;
        let mut mac = sender;
        while let [kind, units, ..] = *options {
            let Some(option) = options.get(..usize::from(units) * 8).filter(|_| units > 0) else { break };
            // Target link-layer address.
            if let (2, Some(value)) = (kind, option[2..].first_chunk::<6>()) {
                mac = Mac(*value);
                break;
            }
            options = &options[option.len()..];
        }
        Some(Self { address: IpAddr::V6(target.into()), mac })
    }
}

#[cfg(test)]
mod tests {
    use pnet_packet::icmpv6::{self, Icmpv6Packet};

    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn an_arp_request_asks_for_its_target() {
        let question =
            NeighbourQuestion { source: [198, 18, 0, 1].into(), mac: OURS, target: IpAddr::from([198, 18, 0, 9]) };
        let mut frame = [0xaa; MAX_QUESTION];
        let length = question.write(&mut frame).unwrap();
        let arp = ArpPacket::new(&frame[14..length]).unwrap();
        assert_eq!(
            (arp.get_operation(), arp.get_target_proto_addr()),
            (ArpOperations::Request, [198, 18, 0, 9].into())
        );
        // The sender of a request tells of itself.
        let told = NeighbourAnswer::from_ethernet(&frame[..length]).unwrap();
        assert_eq!(told, NeighbourAnswer { address: question.source, mac: OURS });
    }

    #[test]
    fn a_solicitation_goes_to_the_solicited_node_group() {
        let target: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let question = NeighbourQuestion { source: source.into(), mac: OURS, target: target.into() };
        let mut frame = [0; MAX_QUESTION];
        assert_eq!(question.write(&mut frame), Some(86));
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let packet = Ipv6Packet::new(&frame[14..]).unwrap();
        assert_eq!(packet.get_destination(), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
        let message = Icmpv6Packet::new(packet.payload()).unwrap();
        assert_eq!(message.get_checksum(), icmpv6::checksum(&message, &source, &packet.get_destination()));
    }

    fn advertisement(options: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255];
        frame.extend(Ipv6Addr::LOCALHOST.octets());
        frame.extend(Ipv6Addr::LOCALHOST.octets());
        frame.extend([136, 0, 0, 0, 0x60, 0, 0, 0]);
        frame.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        frame.extend(options);
        frame
    }

    #[test]
    fn advertisements_tell_the_target() {
        let read = |options: &[u8]| NeighbourAnswer::from_ethernet(&advertisement(options)).map(|answer| answer.mac.0);
        assert_eq!(read(&[2, 1, 2, 0, 0, 0, 0, 7]), Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(read(&[]), Some([2, 0, 0, 0, 0, 9]), "the frame's sender");
        // A nonce before it; lengths of zero and beyond the end.
        assert_eq!(read(&[14, 1, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 7]), Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(read(&[14, 0, 2, 1, 9, 9, 9, 9]), Some([2, 0, 0, 0, 0, 9]));
        assert_eq!(read(&[2, 32, 2, 0, 0, 0, 0, 7]), Some([2, 0, 0, 0, 0, 9]));
        assert_eq!(read(&[2, 1, 3, 0, 0, 0, 0, 7]), None, "a group address is nobody's");
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), cut in 0_usize..110) {
            let _ = NeighbourAnswer::from_ethernet(&bytes);
            let valid = advertisement(&bytes);
            let _ = NeighbourAnswer::from_ethernet(&valid[..cut.min(valid.len())]);
            let _ = NeighbourAnswer::from_ethernet(&valid);
        }
    }
}
