//! The right side of comparisons: addresses, ports, names and numbers, by the kind of what they are compared with.

use std::net::IpAddr;
use std::sync::Arc;

use super::json::Value;
use super::kind::Kind;
use super::{render, sets, symbols};
use crate::firewall::ruleset::{Datum, Pattern, SetReference};

/// One value: a number or an interface's name.
pub(super) fn datum(kind: Kind, value: &Value) -> Option<Datum> {
    match (kind, value) {
        (Kind::Unknown, _) => None,
        // A number stands for an interface that is gone: no name, so no packet to compare with.
        (Kind::Interface, Value::String(name)) => Some(Datum::Name(name.replace("\\*", "*"))),
        (Kind::Interface, _) => None,
        _ => number(kind, value).map(Datum::Number),
    }
}

/// One number, by its name or as it is.
pub(super) fn number(kind: Kind, value: &Value) -> Option<u128> {
    match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::Bool(flag) => Some((*flag).into()),
        Value::String(text) => named(kind, text),
        // `established,related`; `syn | ack` inside of a set.
        Value::Array(parts) if kind.is_bits() => joined(kind, parts),
        Value::Object(object) => match object.only() {
            Some(("|", Value::Array(parts))) => joined(kind, parts),
            _ => None,
        },
        _ => None,
    }
}

fn joined(kind: Kind, parts: &[Value]) -> Option<u128> {
    parts.iter().map(|part| number(kind, part)).try_fold(0, |all, bits| Some(all | bits?))
}

fn named(kind: Kind, text: &str) -> Option<u128> {
    let names = match kind {
        Kind::Address => return address(text).map(|(value, _)| value),
        Kind::Mac => return mac(text),
        Kind::AddressType => symbols::ADDRESS_TYPES,
        Kind::ConnectionState => symbols::CONNECTION_STATES,
        Kind::ConnectionStatus => symbols::CONNECTION_STATUS,
        Kind::Direction => symbols::DIRECTIONS,
        Kind::Dscp => symbols::DSCP,
        Kind::EtherType => symbols::ETHER_TYPES,
        Kind::Icmp6Code => symbols::ICMP6_CODES,
        Kind::Icmp6Type => symbols::ICMP6_TYPES,
        Kind::IcmpCode => symbols::ICMP_CODES,
        Kind::IcmpType => symbols::ICMP_TYPES,
        Kind::NetworkFamily => symbols::NETWORK_FAMILIES,
        Kind::PacketType => symbols::PACKET_TYPES,
        Kind::Port => symbols::SERVICES,
        Kind::Protocol => symbols::PROTOCOLS,
        Kind::TcpFlags => symbols::TCP_FLAGS,
        Kind::User if text == "root" => return Some(0),
        Kind::Number(_) | Kind::User => &[],
        Kind::Interface | Kind::Unknown => return None,
    };
    symbols::number(names, text).or_else(|| written(text))
}

/// A number in a string, as `rt classid` and `-y` print them.
fn written(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// An address in host order, with its width in bits.
pub(super) fn address(text: &str) -> Option<(u128, u8)> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some((address.to_bits().into(), 32)),
        IpAddr::V6(address) => Some((address.to_bits(), 128)),
    }
}

fn mac(text: &str) -> Option<u128> {
    let mut value = 0;
    let mut count = 0;
    for part in text.split(':') {
        if part.len() != 2 {
            return None;
        }
        value = value << 8 | u128::from(u8::from_str_radix(part, 16).ok()?);
        count += 1;
    }
    (count == 6).then_some(value)
}

/// The right side of a comparison with something of these kinds: one, or as many as a concatenation has parts.
pub(super) fn pattern(kinds: &[Kind], value: &Value) -> Pattern {
    match value {
        Value::String(name) if name.starts_with('@') => Pattern::Set(SetReference::Named(name[1..].to_owned())),
        Value::Object(object) => match object.only() {
            Some(("set", Value::Array(elements))) => {
                Pattern::Set(SetReference::Anonymous(Arc::new(sets::anonymous(kinds, elements))))
            }
            _ => element(kinds, value),
        },
        _ => element(kinds, value),
    }
}

/// The key of a set element, or a right side that is no set.
pub(super) fn element(kinds: &[Kind], value: &Value) -> Pattern {
    match parts(value) {
        _ if value == "*" => Pattern::Any,
        Some(parts) if parts.len() == kinds.len() => {
            Pattern::Concatenation(kinds.iter().zip(parts).map(|(kind, part)| single(*kind, part)).collect())
        }
        Some(_) => unknown(value),
        None => match kinds {
            [kind] => single(*kind, value),
            _ => unknown(value),
        },
    }
}

/// The parts of a concatenation.
pub(super) fn parts<'a>(value: &'a Value<'a>) -> Option<&'a [Value<'a>]> {
    match value.get("concat") {
        Some(Value::Array(parts)) => Some(parts),
        _ => None,
    }
}

fn single(kind: Kind, value: &Value) -> Pattern {
    let found = match value {
        Value::String(name) if kind == Kind::Interface => Some(interface(name)),
        Value::String(text) if text == "*" => Some(Pattern::Any),
        Value::Object(object) => match (object.get("range"), object.get("prefix")) {
            (Some(range), None) => self::range(kind, range),
            (None, Some(prefix)) => self::prefix(kind, prefix),
            _ => datum(kind, value).map(Pattern::Exactly),
        },
        _ => datum(kind, value).map(Pattern::Exactly),
    };
    found.unwrap_or_else(|| unknown(value))
}

fn unknown(value: &Value) -> Pattern {
    Pattern::Unknown(render::expression(value))
}

/// `eth0`, `eth*`; a star that is meant is written `\*`.
fn interface(name: &str) -> Pattern {
    match name.strip_suffix('*') {
        Some("") => Pattern::Any,
        Some(start) if !start.ends_with('\\') => Pattern::NameStart(start.to_owned()),
        _ => Pattern::Exactly(Datum::Name(name.replace("\\*", "*"))),
    }
}

fn range(kind: Kind, value: &Value) -> Option<Pattern> {
    let [first, last] = value.as_array()? else { return None };
    if kind == Kind::Unknown || kind == Kind::Interface {
        return None;
    }
    let (first, last) = (number(kind, first)?, number(kind, last)?);
    (first <= last).then_some(Pattern::Range(first, last))
}

fn prefix(kind: Kind, value: &Value) -> Option<Pattern> {
    let (start, length) = (value.get("addr")?, value.get("len")?.as_u64()?);
    let (value, width) = match kind {
        Kind::Address => address(start.as_str()?)?,
        _ => (number(kind, start)?, kind.width()?),
    };
    let length = u8::try_from(length).ok().filter(|length| *length <= width)?;
    Some(Pattern::Prefix { value, length, width })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number_of(kind: Kind, value: serde_json::Value) -> Option<u128> {
        number(kind, &Value::from(&value))
    }

    #[test]
    fn values_are_read_by_kind() {
        assert_eq!(number_of(Kind::Port, json!("ssh")), Some(22));
        assert_eq!(number_of(Kind::Port, json!(22)), Some(22));
        assert_eq!(number_of(Kind::Address, json!("198.18.0.1")), Some(0xc612_0001));
        assert_eq!(number_of(Kind::Mac, json!("00:11:22:33:44:55")), Some(0x11_2233_4455));
        assert_eq!(number_of(Kind::Mac, json!("00:11:22:33:44")), None);
        assert_eq!(number_of(Kind::ConnectionState, json!(["established", "related"])), Some(6));
        assert_eq!(number_of(Kind::TcpFlags, json!({"|": ["syn", "ack"]})), Some(18));
        assert_eq!(number_of(Kind::TcpFlags, json!({"|": [{"|": ["syn", "ack"]}, "fin"]})), Some(19));
        assert_eq!(number_of(Kind::Number(32), json!("0x10")), Some(16));
        assert_eq!(number_of(Kind::Number(32), json!(-1)), None);
        assert_eq!(number_of(Kind::Number(32), json!(1.5)), None);
        assert_eq!(number_of(Kind::Port, json!(["ssh"])), None);
        assert_eq!(datum(Kind::Interface, &Value::from(&json!(7))), None);
    }

    #[test]
    fn interface_names_may_end_in_a_star() {
        assert_eq!(interface("lan-*"), Pattern::NameStart("lan-".to_owned()));
        assert_eq!(interface(r"lan\*"), Pattern::Exactly(Datum::Name("lan*".to_owned())));
        assert_eq!(interface("*"), Pattern::Any);
    }

    #[test]
    fn what_makes_no_sense_is_unknown() {
        for value in [
            json!({"prefix": {"addr": "198.18.0.0", "len": 33}}),
            json!({"range": ["198.18.0.2", "198.18.0.1"]}),
            json!({"range": ["198.18.0.2"]}),
            json!({"concat": ["198.18.0.1", 22]}),
            json!("nonsense"),
            json!(null),
        ] {
            assert!(matches!(pattern(&[Kind::Address], &Value::from(&value)), Pattern::Unknown(_)), "{value}");
        }
    }
}
