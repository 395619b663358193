//! What comes back: SYN-ACK, reset, challenge ACK, ICMP errors with the probe they quote. Pure.
//!
//! Checksums are not verified: virtual devices deliver packets whose checksum is still to be filled in by hardware that
//! does not exist. The cookie in the answer proves what a checksum would not anyway.

use std::net::IpAddr;

use pnet_packet::Packet as _;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::{TcpFlags, TcpPacket};

use super::options::TcpOptions;
use crate::model::Icmp;

/// A packet that may answer a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub from: IpAddr,
    pub to: IpAddr,
    /// Time to live or hop limit, as it arrived.
    pub ttl: u8,
    pub kind: ReplyKind,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    Tcp(TcpReply),
    Icmp(IcmpError),
}

/// A TCP segment to one of our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpReply {
    pub port: u16,
    pub our_port: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// As in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16...
    pub flags: u8,
    pub window: u16,
    pub options: TcpOptions,
}

/// An ICMP or ICMPv6 error about a TCP segment of ours; [`Reply::from`] is the offender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    pub icmp: Icmp,
    pub quoted: QuotedProbe,
}

/// What an ICMP error repeats of the packet that it is about: eight bytes of TCP at least (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedProbe {
    pub from: IpAddr,
    pub to: IpAddr,
    pub our_port: u16,
    pub port: u16,
    pub sequence: u32,
}

impl TcpReply {
    pub const fn is_syn_ack(&self) -> bool {
        self.flags & (TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST) == TcpFlags::SYN | TcpFlags::ACK
    }

    pub const fn is_reset(&self) -> bool {
        self.flags & TcpFlags::RST != 0
    }

    /// An acknowledgement and nothing else: what RFC 5961 section 4 answers to a SYN that meets half-open state.
    pub const fn is_challenge_ack(&self) -> bool {
        self.flags & (TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN) == TcpFlags::ACK
    }

    /// Whether `acknowledgement` says something.
    pub const fn acknowledges(&self) -> bool {
        self.flags & TcpFlags::ACK != 0
    }
}

impl Reply {
    /// Reads an Ethernet frame, VLAN tags passed over. `None`: it is nothing that answers a SYN.
    pub fn from_ethernet(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        let mut ethertype = ethernet.get_ethertype();
        let mut payload = ethernet.payload();
        // IEEE 802.1Q and 802.1ad: two bytes of tag, then the type of what is inside.
        while matches!(ethertype, EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ) {
            let (tag, rest) = payload.split_at_checked(4)?;
            ethertype = pnet_packet::ethernet::EtherType(u16::from_be_bytes([tag[2], tag[3]]));
            payload = rest;
        }
        matches!(ethertype, EtherTypes::Ipv4 | EtherTypes::Ipv6).then(|| Self::from_ip(payload))?
    }

    /// Reads an IPv4 or IPv6 packet. `None`: it is nothing that answers a SYN.
    pub fn from_ip(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::from_ipv4(packet),
            6 => Self::from_ipv6(packet),
            _ => None,
        }
    }

    fn from_ipv4(bytes: &[u8]) -> Option<Self> {
        let packet = Ipv4Packet::new(bytes)?;
        let payload = ipv4_payload(bytes, &packet)?;
        let (from, to) = (packet.get_source().into(), packet.get_destination().into());
        let kind = match packet.get_next_level_protocol() {
            IpNextHeaderProtocols::Tcp => ReplyKind::Tcp(tcp(payload)?),
            IpNextHeaderProtocols::Icmp => ReplyKind::Icmp(icmp(payload)?),
            _ => return None,
        };
        Some(Self { from, to, ttl: packet.get_ttl(), kind })
    }

    fn from_ipv6(bytes: &[u8]) -> Option<Self> {
        let packet = Ipv6Packet::new(bytes)?;
        let (protocol, payload) = ipv6_payload(bytes, &packet)?;
        let (from, to) = (packet.get_source().into(), packet.get_destination().into());
        let kind = match protocol {
            IpNextHeaderProtocols::Tcp => ReplyKind::Tcp(tcp(payload)?),
            IpNextHeaderProtocols::Icmpv6 => ReplyKind::Icmp(icmpv6(payload)?),
            _ => return None,
        };
        Some(Self { from, to, ttl: packet.get_hop_limit(), kind })
    }
}

/// What follows an IPv4 header; `None` for a later fragment. Its end is where the buffer ends: quotes in ICMP errors are
/// cut, and what Ethernet pads does no harm.
fn ipv4_payload<'a>(bytes: &'a [u8], packet: &Ipv4Packet<'_>) -> Option<&'a [u8]> {
    let header = usize::from(packet.get_header_length()) * 4;
    if header < 20 || packet.get_fragment_offset() != 0 {
        return None;
    }
    bytes.get(header..)
}

/// What follows an IPv6 header and its extension headers (RFC 8200 section 4); `None` for a later fragment.
fn ipv6_payload<'a>(bytes: &'a [u8], packet: &Ipv6Packet<'_>) -> Option<(IpNextHeaderProtocol, &'a [u8])> {
    let mut protocol = packet.get_next_header();
    let mut rest = bytes.get(40..)?;
    for _ in 0..MOST_EXTENSIONS {
        let length = match protocol {
            // Hop-by-hop options, routing, destination options: next header, length in 8 bytes after the first 8.
            IpNextHeaderProtocols::Hopopt | IpNextHeaderProtocols::Ipv6Route | IpNextHeaderProtocols::Ipv6Opts => {
                8 + usize::from(*rest.get(1)?) * 8
            }
            IpNextHeaderProtocols::Ipv6Frag => {
                let offset = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) >> 3;
                if offset != 0 {
                    return None;
                }
                8
            }
            _ => return Some((protocol, rest)),
        };
        protocol = IpNextHeaderProtocol(*rest.first()?);
        rest = rest.get(length..)?;
    }
    None
}

/// More extension headers than this nobody sends to answer a SYN.
const MOST_EXTENSIONS: usize = 8;

fn tcp(bytes: &[u8]) -> Option<TcpReply> {
    let segment = TcpPacket::new(bytes)?;
    let header = usize::from(segment.get_data_offset()) * 4;
    if header < 20 {
        return None;
    }
    // A header that is cut short loses its options only.
    let options = bytes.get(20..header.min(bytes.len())).unwrap_or_default();
    Some(TcpReply {
        port: segment.get_source(),
        our_port: segment.get_destination(),
        sequence: segment.get_sequence(),
        acknowledgement: segment.get_acknowledgement(),
        flags: segment.get_flags(),
        window: segment.get_window(),
        options: TcpOptions::parse(options),
    })
}

/// An ICMP error: destination unreachable, time exceeded, parameter problem (RFC 792). Source quench and redirect say
/// nothing about the port.
fn icmp(bytes: &[u8]) -> Option<IcmpError> {
    let (&[kind, code, ..], quoted) = bytes.split_first_chunk::<8>()?;
    let packet = Ipv4Packet::new(quoted)?;
    if !matches!(kind, 3 | 11 | 12)
        || quoted[0] >> 4 != 4
        || packet.get_next_level_protocol() != IpNextHeaderProtocols::Tcp
    {
        return None;
    }
    let segment = ipv4_payload(quoted, &packet)?;
    let (from, to) = (packet.get_source().into(), packet.get_destination().into());
    Some(IcmpError { icmp: Icmp { kind, code }, quoted: quoted_probe(from, to, segment)? })
}

/// An ICMPv6 error: destination unreachable, time exceeded, parameter problem (RFC 4443 section 3).
fn icmpv6(bytes: &[u8]) -> Option<IcmpError> {
    let (&[kind, code, ..], quoted) = bytes.split_first_chunk::<8>()?;
    let packet = Ipv6Packet::new(quoted)?;
    if !matches!(kind, 1 | 3 | 4) || quoted[0] >> 4 != 6 {
        return None;
    }
    let (protocol, segment) = ipv6_payload(quoted, &packet)?;
    if protocol != IpNextHeaderProtocols::Tcp {
        return None;
    }
    let (from, to) = (packet.get_source().into(), packet.get_destination().into());
    Some(IcmpError { icmp: Icmp { kind, code }, quoted: quoted_probe(from, to, segment)? })
}

fn quoted_probe(from: IpAddr, to: IpAddr, segment: &[u8]) -> Option<QuotedProbe> {
    let &[a, b, c, d, e, f, g, h] = segment.first_chunk::<8>()?;
    Some(QuotedProbe {
        from,
        to,
        our_port: u16::from_be_bytes([a, b]),
        port: u16::from_be_bytes([c, d]),
        sequence: u32::from_be_bytes([e, f, g, h]),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{LinkHeader, Mac, Syn, SynTemplate};
    use super::*;

    const TARGET: [u8; 4] = [198, 18, 0, 9];
    const US: [u8; 4] = [198, 18, 0, 1];

    /// A SYN of ours as Linux quotes it, and as a frame: what peers answer to.
    fn probe(v6: bool) -> Vec<u8> {
        let (source, destination): (IpAddr, IpAddr) = if v6 {
            ("2001:db8::1".parse().unwrap(), "2001:db8::9".parse().unwrap())
        } else {
            (US.into(), TARGET.into())
        };
        let template = SynTemplate::new(source, LinkHeader::None, 64);
        let mut frame = vec![0; template.length()];
        template.write(
            &Syn { destination, port: 80, source_port: 61_000, sequence: 0xdead_beef },
            Mac::default(),
            &mut frame,
        );
        frame
    }

    /// An ICMP error around `quoted`: IPv4 from `from` to us.
    fn icmp_error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 63, 1, 0, 0, 198, 18, 0, 254, 198, 18, 0, 1];
        packet.extend([kind, code, 0, 0, 0, 0, 0, 0]);
        packet.extend(quoted);
        packet
    }

    fn icmpv6_error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 58, 63];
        packet.extend("2001:db8::fe".parse::<std::net::Ipv6Addr>().unwrap().octets());
        packet.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        packet.extend([kind, code, 0, 0, 0, 0, 0, 0]);
        packet.extend(quoted);
        packet
    }

    fn tcp_of(reply: Option<Reply>) -> TcpReply {
        match reply.unwrap().kind {
            ReplyKind::Tcp(tcp) => tcp,
            ReplyKind::Icmp(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_syn_ack_of_linux() {
        // tcpdump -x of a SYN-ACK over veth, Linux 6.18: its TCP checksum is a partial one.
        let packet = [
            0x45, 0x00, 0x00, 0x3c, 0x00, 0x00, 0x40, 0x00, 0x3f, 0x06, 0xae, 0xad, 198, 18, 0, 9, 198, 18, 0, 1, 0x00,
            0x50, 0xee, 0x48, 0x11, 0x22, 0x33, 0x44, 0xde, 0xad, 0xbe, 0xf0, 0xa0, 0x12, 0xfe, 0x88, 0x8c, 0x41, 0x00,
            0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0, 0, 0, 1, 0, 0, 0, 1, 0x01, 0x03, 0x03, 0x07,
        ];
        let reply = Reply::from_ip(&packet).unwrap();
        assert_eq!((reply.from, reply.to, reply.ttl), (TARGET.into(), US.into(), 63));
        let tcp = tcp_of(Some(reply));
        assert!(tcp.is_syn_ack() && !tcp.is_reset() && !tcp.is_challenge_ack());
        assert_eq!((tcp.port, tcp.our_port, tcp.acknowledgement, tcp.window), (80, 61_000, 0xdead_bef0, 0xfe88));
        assert_eq!(tcp.options.to_string(), "mss 1460,sack,ts,nop,ws 7");
        // Cut after the fixed header: the options are lost, not the answer.
        assert!(tcp_of(Reply::from_ip(&packet[..40])).options.is_empty());
        assert_eq!(Reply::from_ip(&packet[..39]), None);
        let mut tagged = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00];
        tagged.extend(packet);
        assert_eq!(Reply::from_ethernet(&tagged), Some(reply));
    }

    #[test]
    fn flags_tell_the_answers_apart() {
        let flags = |flags: u8| TcpReply { flags, ..tcp_of(Reply::from_ip(&probe(false))) };
        assert!(flags(0x14).is_reset() && flags(0x04).is_reset() && !flags(0x04).acknowledges());
        assert!(flags(0x10).is_challenge_ack() && flags(0x18).is_challenge_ack());
        assert!(!flags(0x02).is_syn_ack() && !flags(0x16).is_syn_ack());
    }

    #[test]
    fn icmp_errors_name_the_probe_and_the_offender() {
        let reply = Reply::from_ip(&icmp_error(3, 13, &probe(false))).unwrap();
        assert_eq!(reply.from, IpAddr::from([198, 18, 0, 254]));
        let ReplyKind::Icmp(error) = reply.kind else { panic!("{reply:?}") };
        assert_eq!(error.icmp, Icmp { kind: 3, code: 13 });
        let quoted =
            QuotedProbe { from: US.into(), to: TARGET.into(), our_port: 61_000, port: 80, sequence: 0xdead_beef };
        assert_eq!(error.quoted, quoted);
        // RFC 792 promises eight bytes of what was sent.
        assert!(Reply::from_ip(&icmp_error(11, 0, &probe(false)[..28])).is_some());
        assert_eq!(Reply::from_ip(&icmp_error(11, 0, &probe(false)[..27])), None);
        assert_eq!(Reply::from_ip(&icmp_error(5, 1, &probe(false))), None, "a redirect is no answer");
        assert_eq!(Reply::from_ip(&icmp_error(0, 0, &probe(false))), None, "an echo reply");
    }

    #[test]
    fn icmpv6_errors_likewise() {
        let reply = Reply::from_ip(&icmpv6_error(1, 4, &probe(true))).unwrap();
        let ReplyKind::Icmp(error) = reply.kind else { panic!("{reply:?}") };
        assert_eq!((error.icmp, error.quoted.port), (Icmp { kind: 1, code: 4 }, 80));
        assert_eq!(Reply::from_ip(&icmpv6_error(2, 0, &probe(true))), None, "too big is no answer to a SYN");
        // A quoted fragment header, first fragment and later ones.
        let fragment = |offset: u8| {
            let mut quoted = probe(true);
            quoted[6] = 44;
            quoted.splice(40..40, [6, 0, offset, 0, 0, 0, 0, 0]);
            Reply::from_ip(&icmpv6_error(1, 4, &quoted))
        };
        assert!(fragment(0).is_some() && fragment(1).is_none());
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..160), kind in 0_u8..16) {
            let _ = Reply::from_ip(&bytes);
            let _ = Reply::from_ethernet(&bytes);
            for version in [0x45, 0x4f, 0x60] {
                let mut bytes = bytes.clone();
                if let Some(first) = bytes.first_mut() {
                    *first = version;
                }
                let _ = Reply::from_ip(&bytes);
                let _ = Reply::from_ip(&icmp_error(kind, 0, &bytes));
                let _ = Reply::from_ip(&icmpv6_error(kind, 0, &bytes));
            }
        }

        #[test]
        fn cut_and_broken_packets_never_panic(v6: bool, cut in 0_usize..160, at in 0_usize..160, byte: u8) {
            let quoted = probe(v6);
            for mut packet in [icmp_error(3, 3, &quoted), icmpv6_error(1, 4, &quoted), quoted.clone()] {
                packet.truncate(cut);
                let end = packet.len().max(1);
                if let Some(place) = packet.get_mut(at % end) {
                    *place = byte;
                }
                let _ = Reply::from_ip(&packet);
            }
        }
    }
}
