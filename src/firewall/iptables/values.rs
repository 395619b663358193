//! Addresses, ports, marks and names as iptables writes them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::firewall::ruleset::{Datum, Expression, Field, Match, Operator, Pattern, Set, SetReference};

/// Why a match or target has no meaning in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something that the model has no words for; its text is kept.
    NotUnderstood,
    /// Something that iptables would refuse: the dump is broken.
    Broken(String),
}

pub(super) type Understood<T> = Result<T, Fault>;

pub(super) fn broken<T>(what: &str, text: &str) -> Understood<T> {
    Err(Fault::Broken(format!("{text:?} is no {what}")))
}

/// `field OP value`.
pub(super) fn compare(field: Field, operator: Operator, right: Pattern) -> Match {
    Match { left: Expression::Field(field), operator, right }
}

/// Equal, or not equal with `negated`.
pub(super) const fn equal_or_not(negated: bool) -> Operator {
    if negated { Operator::NotEqual } else { Operator::Equal }
}

pub(super) const fn exactly(number: u128) -> Pattern {
    Pattern::Exactly(Datum::Number(number))
}

pub(super) fn number_expression(number: u128) -> Expression {
    Expression::Value(Datum::Number(number))
}

/// The field with a mask put on; a mask of all `width` bits is none.
pub(super) fn masked(field: Field, mask: u128, width: u32) -> Expression {
    if mask == ones(width) {
        Expression::Field(field)
    } else {
        Expression::And(Box::new(Expression::Field(field)), Box::new(number_expression(mask)))
    }
}

/// One pattern as it is, several as an anonymous set.
pub(super) fn any_pattern(mut patterns: Vec<Pattern>, key_type: &str) -> Pattern {
    match patterns.pop() {
        Some(only) if patterns.is_empty() => only,
        last => {
            patterns.extend(last);
            let elements =
                patterns.into_iter().map(|key| crate::firewall::ruleset::Element { key, data: None }).collect();
            Pattern::Set(SetReference::Anonymous(Arc::new(Set {
                key_types: vec![key_type.to_owned()],
                elements,
                ..Set::default()
            })))
        }
    }
}

/// The lower `width` bits.
pub(super) const fn ones(width: u32) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

pub(super) const fn width_of(ipv6: bool) -> u32 {
    if ipv6 { 128 } else { 32 }
}

pub(super) fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address of the wanted family.
pub(super) fn address(text: &str, ipv6: bool) -> Understood<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == ipv6 => Ok(address),
        _ => broken(if ipv6 { "IPv6 address" } else { "IPv4 address" }, text),
    }
}

/// An address with its mask: `10.0.0.0/8`, `10.0.0.5/255.0.0.255`.
pub(super) fn network(text: &str, ipv6: bool) -> Understood<(u128, u128)> {
    let width = width_of(ipv6);
    let (base, mask) = match text.split_once('/') {
        None => (text, ones(width)),
        Some((base, mask)) => match mask.parse::<u32>() {
            Ok(length) if length <= width => (base, ones(width) & !ones(width - length)),
            Ok(_) => return broken("prefix length", mask),
            Err(_) => (base, address_number(address(mask, ipv6)?)),
        },
    };
    Ok((address_number(address(base, ipv6)?) & mask, mask))
}

/// Whether the field's address is in a network; `None` when every address is.
pub(super) fn in_network(field: Field, text: &str, ipv6: bool, negated: bool) -> Understood<Option<Match>> {
    let (value, mask) = network(text, ipv6)?;
    let width = width_of(ipv6);
    let operator = equal_or_not(negated);
    let host_bits = !mask & ones(width);
    Ok(if mask == 0 && !negated {
        None
    } else if host_bits & (host_bits + 1) == 0 {
        Some(compare(field, operator, prefix(value, host_bits.count_ones(), width)))
    } else {
        Some(Match { left: masked(field, mask, width), operator, right: exactly(value) })
    })
}

/// A prefix with `host_bits` free bits.
pub(super) fn prefix(value: u128, host_bits: u32, width: u32) -> Pattern {
    if host_bits == 0 {
        return exactly(value);
    }
    // Both are at most 128.
    Pattern::Prefix { value, length: (width - host_bits) as u8, width: width as u8 }
}

/// A port or `FIRST:LAST`, either end may be left out. A service's name is not understood.
pub(super) fn port_range(text: &str) -> Understood<Pattern> {
    let Some((first, last)) = text.split_once(':') else { return Ok(exactly(port(text)?.into())) };
    let first = if first.is_empty() { 0 } else { port(first)? };
    let last = if last.is_empty() { u16::MAX } else { port(last)? };
    if first > last {
        return broken("port range", text);
    }
    Ok(Pattern::Range(first.into(), last.into()))
}

pub(super) fn port(text: &str) -> Understood<u16> {
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(Fault::NotUnderstood);
    }
    text.parse().or_else(|_| broken("port", text))
}

/// A number, also hexadecimal and octal as C writes it.
pub(super) fn number(text: &str) -> Understood<u32> {
    let parsed = if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u32::from_str_radix(digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        u32::from_str_radix(text, 8)
    } else {
        text.parse()
    };
    parsed.or_else(|_| broken("number", text))
}

/// `FIRST:LAST` of numbers, `separator` between them.
pub(super) fn number_range(text: &str, separator: char) -> Understood<Pattern> {
    let Some((first, last)) = text.split_once(separator) else { return Ok(exactly(number(text)?.into())) };
    let first = if first.is_empty() { 0 } else { number(first)? };
    let last = if last.is_empty() { u32::MAX } else { number(last)? };
    Ok(Pattern::Range(first.into(), last.into()))
}

/// `VALUE` or `VALUE/MASK`.
pub(super) fn mark(text: &str) -> Understood<(u128, u128)> {
    Ok(match text.split_once('/') {
        None => (number(text)?.into(), ones(32)),
        Some((value, mask)) => (number(value)?.into(), number(mask)?.into()),
    })
}

/// A protocol by number or name; 0 is any.
pub(super) fn protocol(text: &str) -> Understood<u8> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match PROTOCOLS.iter().find(|(name, _)| *name == text) {
        Some((_, number)) => Ok(*number),
        None if text.starts_with(|first: char| first.is_ascii_alphabetic()) => Err(Fault::NotUnderstood),
        None => broken("protocol", text),
    }
}

/// An interface, `eth+` for all that begin so; `None` for `+`.
pub(super) fn interface(text: &str) -> Option<Pattern> {
    match text.strip_suffix('+') {
        Some("") => None,
        Some(start) => Some(Pattern::NameStart(start.to_owned())),
        None => Some(Pattern::Exactly(Datum::Name(text.to_owned()))),
    }
}

/// An Ethernet address as a number.
pub(super) fn mac(text: &str) -> Understood<u128> {
    let mut value = 0;
    let mut count = 0;
    for octet in text.split(':') {
        match u8::from_str_radix(octet, 16) {
            Ok(octet) => value = value << 8 | u128::from(octet),
            Err(_) => return broken("MAC address", text),
        }
        count += 1;
    }
    if count == 6 { Ok(value) } else { broken("MAC address", text) }
}

/// `TYPE`, `TYPE/CODE` or a name; `None` is any type. The second number is the code.
pub(super) fn icmp(text: &str, ipv6: bool) -> Understood<Option<(u8, Option<u8>)>> {
    if text == "any" || !ipv6 && text == "255" {
        return Ok(None);
    }
    let names = if ipv6 { ICMP6_TYPES } else { ICMP_TYPES };
    if let Some((_, kind, code)) = names.iter().find(|(name, ..)| *name == text) {
        return Ok(Some((*kind, *code)));
    }
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(Fault::NotUnderstood);
    }
    let (kind, code) = match text.split_once('/') {
        None => (text, None),
        Some((kind, code)) => (kind, Some(code)),
    };
    match (kind.parse(), code.map(str::parse).transpose()) {
        (Ok(kind), Ok(code)) => Ok(Some((kind, code))),
        _ => broken("ICMP type", text),
    }
}

/// Names of /etc/protocols that iptables-save writes, and those it is given by hand. iptables itself looks names up
/// before it saves numbers.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51),
    ("all", 0),
    ("dccp", 33),
    ("esp", 50),
    ("gre", 47),
    ("icmp", 1),
    ("icmp6", 58),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ip", 0),
    ("ipcomp", 108),
    ("ipencap", 4),
    ("ipip", 94),
    ("ipv6", 41),
    ("ipv6-icmp", 58),
    ("ipv6-mh", 135),
    ("l2tp", 115),
    ("mh", 135),
    ("mobility-header", 135),
    ("ospf", 89),
    ("pim", 103),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

/// Names of `iptables -p icmp -h`; iptables-save writes numbers.
const ICMP_TYPES: &[(&str, u8, Option<u8>)] = &[
    ("address-mask-reply", 18, None),
    ("address-mask-request", 17, None),
    ("communication-prohibited", 3, Some(13)),
    ("destination-unreachable", 3, None),
    ("echo-reply", 0, None),
    ("echo-request", 8, None),
    ("fragmentation-needed", 3, Some(4)),
    ("host-prohibited", 3, Some(10)),
    ("host-unreachable", 3, Some(1)),
    ("network-prohibited", 3, Some(9)),
    ("network-unreachable", 3, Some(0)),
    ("parameter-problem", 12, None),
    ("ping", 8, None),
    ("pong", 0, None),
    ("port-unreachable", 3, Some(3)),
    ("protocol-unreachable", 3, Some(2)),
    ("redirect", 5, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("source-quench", 4, None),
    ("time-exceeded", 11, None),
    ("timestamp-reply", 14, None),
    ("timestamp-request", 13, None),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("ttl-zero-during-transit", 11, Some(0)),
];

/// Names of `ip6tables -p ipv6-icmp -h`.
const ICMP6_TYPES: &[(&str, u8, Option<u8>)] = &[
    ("address-unreachable", 1, Some(3)),
    ("bad-header", 4, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("destination-unreachable", 1, None),
    ("echo-reply", 129, None),
    ("echo-request", 128, None),
    ("neighbor-advertisement", 136, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbour-solicitation", 135, None),
    ("no-route", 1, Some(0)),
    ("packet-too-big", 2, None),
    ("parameter-problem", 4, None),
    ("port-unreachable", 1, Some(4)),
    ("redirect", 137, None),
    ("router-advertisement", 134, None),
    ("router-solicitation", 133, None),
    ("time-exceeded", 3, None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_with_all_kinds_of_masks() {
        let pattern =
            |text: &str, ipv6| in_network(Field::IpSource, text, ipv6, false).unwrap().map(|found| found.right);
        assert_eq!(pattern("10.1.2.3/8", false), Some(Pattern::Prefix { value: 0x0a00_0000, length: 8, width: 32 }));
        assert_eq!(pattern("10.0.0.0/255.0.0.0", false), pattern("10.0.0.0/8", false));
        assert_eq!(pattern("0.0.0.0/0", false), None);
        assert_eq!(pattern("198.18.0.1", false), Some(exactly(0xc612_0001)));
        assert_eq!(pattern("fe80::/10", true), Some(Pattern::Prefix { value: 0xfe80 << 112, length: 10, width: 128 }));
        assert_eq!(pattern("::/0", true), None);
        let scattered = in_network(Field::IpSource, "10.9.9.5/255.0.0.255", false, true).unwrap().unwrap();
        assert_eq!(scattered.right, exactly(0x0a00_0005));
        assert_eq!(scattered.operator, Operator::NotEqual);
        assert!(matches!(scattered.left, Expression::And(..)));
        for wrong in ["10.0.0.0/33", "10.0.0", "fe80::1", "10.0.0.0/::"] {
            assert!(matches!(network(wrong, false), Err(Fault::Broken(_))), "{wrong}");
        }
    }

    #[test]
    fn ports_marks_and_types() {
        assert_eq!(port_range("22").unwrap(), exactly(22));
        assert_eq!(port_range("1024:").unwrap(), Pattern::Range(1024, 65535));
        assert_eq!(port_range(":1023").unwrap(), Pattern::Range(0, 1023));
        assert_eq!(port_range("ssh"), Err(Fault::NotUnderstood));
        assert!(matches!(port_range("65536"), Err(Fault::Broken(_))));
        assert!(matches!(port_range("9:8"), Err(Fault::Broken(_))));
        assert_eq!(mark("0x4000/0x4000").unwrap(), (0x4000, 0x4000));
        assert_eq!(mark("17").unwrap(), (17, 0xffff_ffff));
        assert_eq!(icmp("8", false).unwrap(), Some((8, None)));
        assert_eq!(icmp("3/4", false).unwrap(), icmp("fragmentation-needed", false).unwrap());
        assert_eq!(icmp("any", false).unwrap(), None);
        assert_eq!(icmp("255", true).unwrap(), Some((255, None)));
        assert_eq!(mac("02:00:00:00:00:ff").unwrap(), 0x0200_0000_00ff);
        assert!(mac("02:00").is_err());
    }

    #[test]
    fn tables_are_sorted() {
        assert!(PROTOCOLS.is_sorted());
        assert!(ICMP_TYPES.is_sorted());
        assert!(ICMP6_TYPES.is_sorted());
    }
}
