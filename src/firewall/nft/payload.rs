//! Fields of a packet's headers, by their names or by the bits they lie in.

use super::expression::Known;
use super::json::Map;
use crate::firewall::ruleset::{Datum, Expression, Field};
use crate::model::Transport;

/// A field of a header, or the field that some of its bits lie in.
pub(super) fn read(known: Known, body: &Map<'_>) -> Option<Expression> {
    if let Some(base) = body.get("base") {
        let number = |key| body.get(key)?.as_u64()?.try_into().ok();
        return raw(known, base.as_str()?, number("offset")?, number("len")?);
    }
    header(body.get("protocol")?.as_str()?, body.get("field")?.as_str()?).map(Expression::Field)
}

/// A field by its header's name and its own.
pub(super) fn header(protocol: &str, field: &str) -> Option<Field> {
    Some(match (protocol, field) {
        ("ether", "saddr") => Field::EtherSource,
        ("ether", "daddr") => Field::EtherDestination,
        ("ether", "type") => Field::EtherType,
        ("ip", "saddr") => Field::IpSource,
        ("ip", "daddr") => Field::IpDestination,
        ("ip", "protocol") => Field::IpProtocol,
        ("ip", "ttl") => Field::IpTtl,
        ("ip", "length") => Field::IpLength,
        ("ip", "dscp") => Field::IpDscp,
        ("ip", "version") => Field::IpVersion,
        ("ip", "hdrlength") => Field::IpHeaderLength,
        ("ip", "id") => Field::IpId,
        ("ip", "frag-off") => Field::IpFragmentOffset,
        ("ip6", "saddr") => Field::Ip6Source,
        ("ip6", "daddr") => Field::Ip6Destination,
        ("ip6", "nexthdr") => Field::Ip6NextHeader,
        ("ip6", "hoplimit") => Field::Ip6HopLimit,
        ("tcp", "sport") => Field::SourcePort(Some(Transport::Tcp)),
        ("tcp", "dport") => Field::DestinationPort(Some(Transport::Tcp)),
        ("tcp", "flags") => Field::TcpFlags,
        ("tcp", "sequence") => Field::TcpSequence,
        ("tcp", "window") => Field::TcpWindow,
        ("udp", "sport") => Field::SourcePort(Some(Transport::Udp)),
        ("udp", "dport") => Field::DestinationPort(Some(Transport::Udp)),
        ("udp", "length") => Field::UdpLength,
        ("th", "sport") => Field::SourcePort(None),
        ("th", "dport") => Field::DestinationPort(None),
        ("icmp", "type") => Field::IcmpType,
        ("icmp", "code") => Field::IcmpCode,
        ("icmpv6", "type") => Field::Icmp6Type,
        ("icmpv6", "code") => Field::Icmp6Code,
        _ => return None,
    })
}

/// `@nh,96,32`: bits of a header. A field of the model when it lies within one.
fn raw(known: Known, base: &str, offset: u32, length: u32) -> Option<Expression> {
    let end = offset.checked_add(length)?;
    let header = raw_header(known, base)?;
    let (start, width, field) =
        *header.iter().find(|(start, width, _)| length > 0 && *start <= offset && end <= start + width)?;
    let mut expression = Expression::Field(field);
    if end < start + width {
        expression = Expression::ShiftRight(Box::new(expression), constant((start + width - end).into()));
    }
    if offset > start {
        expression = Expression::And(Box::new(expression), constant((1 << length) - 1));
    }
    Some(expression)
}

pub(super) fn constant(value: u128) -> Box<Expression> {
    Box::new(Expression::Value(Datum::Number(value)))
}

/// Fields of a header with their place in it, in bits.
fn raw_header(known: Known, base: &str) -> Option<&'static [(u32, u32, Field)]> {
    const ETHER: &[(u32, u32, Field)] =
        &[(0, 48, Field::EtherDestination), (48, 48, Field::EtherSource), (96, 16, Field::EtherType)];
    const IP: &[(u32, u32, Field)] = &[
        (0, 4, Field::IpVersion),
        (4, 4, Field::IpHeaderLength),
        (8, 6, Field::IpDscp),
        (16, 16, Field::IpLength),
        (32, 16, Field::IpId),
        (48, 16, Field::IpFragmentOffset),
        (64, 8, Field::IpTtl),
        (72, 8, Field::IpProtocol),
        (96, 32, Field::IpSource),
        (128, 32, Field::IpDestination),
    ];
    const IP6: &[(u32, u32, Field)] = &[
        (48, 8, Field::Ip6NextHeader),
        (56, 8, Field::Ip6HopLimit),
        (64, 128, Field::Ip6Source),
        (192, 128, Field::Ip6Destination),
    ];
    const TCP: &[(u32, u32, Field)] = &[
        (0, 16, Field::SourcePort(Some(Transport::Tcp))),
        (16, 16, Field::DestinationPort(Some(Transport::Tcp))),
        (32, 32, Field::TcpSequence),
        (104, 8, Field::TcpFlags),
        (112, 16, Field::TcpWindow),
    ];
    const UDP: &[(u32, u32, Field)] = &[
        (0, 16, Field::SourcePort(Some(Transport::Udp))),
        (16, 16, Field::DestinationPort(Some(Transport::Udp))),
        (32, 16, Field::UdpLength),
    ];
    const ICMP: &[(u32, u32, Field)] = &[(0, 8, Field::IcmpType), (8, 8, Field::IcmpCode)];
    const ICMP6: &[(u32, u32, Field)] = &[(0, 8, Field::Icmp6Type), (8, 8, Field::Icmp6Code)];
    const ANY: &[(u32, u32, Field)] = &[(0, 16, Field::SourcePort(None)), (16, 16, Field::DestinationPort(None))];

    Some(match (base, known.ipv6, known.protocol) {
        ("ll", ..) => ETHER,
        ("nh", Some(false), _) => IP,
        ("nh", Some(true), _) => IP6,
        ("th", _, Some(6)) => TCP,
        ("th", _, Some(17)) => UDP,
        ("th", _, Some(1)) => ICMP,
        ("th", _, Some(58)) => ICMP6,
        ("th", _, None) => ANY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::expression::read;
    use super::super::json::Value;
    use super::*;
    use crate::firewall::ruleset::Family;

    fn raw_of(known: Known, text: (&str, u32, u32)) -> Expression {
        let text = json!({"payload": {"base": text.0, "offset": text.1, "len": text.2}});
        read(known, &[], &Value::from(&text))
    }

    #[test]
    fn raw_payload_becomes_the_field_it_lies_in() {
        let ip = Known { ipv6: Some(false), protocol: None };
        assert_eq!(raw_of(ip, ("nh", 96, 32)), Expression::Field(Field::IpSource));
        assert_eq!(raw_of(ip, ("nh", 72, 8)), Expression::Field(Field::IpProtocol));
        // The upper 24 bits of the source.
        assert_eq!(
            raw_of(ip, ("nh", 96, 24)),
            Expression::ShiftRight(Box::new(Expression::Field(Field::IpSource)), constant(8))
        );
        // Its lowest byte.
        assert_eq!(
            raw_of(ip, ("nh", 120, 8)),
            Expression::And(Box::new(Expression::Field(Field::IpSource)), constant(0xff))
        );
        let ip6 = Known { ipv6: Some(true), protocol: Some(6) };
        assert_eq!(raw_of(ip6, ("nh", 192, 128)), Expression::Field(Field::Ip6Destination));
        assert_eq!(raw_of(ip6, ("th", 104, 8)), Expression::Field(Field::TcpFlags));
    }

    #[test]
    fn raw_payload_of_unknown_headers_is_unknown() {
        let nothing = Known::default();
        for place in [("nh", 96, 32), ("th", 104, 8), ("th", 0, 32), ("ih", 0, 8), ("th", u32::MAX, 8), ("ll", 0, 0)] {
            assert!(matches!(raw_of(nothing, place), Expression::Unknown(_)), "{place:?}");
        }
        // Two fields at once.
        assert!(matches!(raw_of(Known::of_table(Family::Ip), ("nh", 96, 64)), Expression::Unknown(_)));
    }
}
