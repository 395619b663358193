//! The right side of comparisons: addresses, ports, names and numbers, by the kind of what they are compared with.

use std::net::IpAddr;
use std::sync::Arc;

use super::json::Value;
use super::{render, sets, symbols};
use crate::firewall::ruleset::{Datum, Expression, Field, Pattern, SetReference};

/// How the values of a field are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    AddressType,
    ConnectionState,
    ConnectionStatus,
    Direction,
    Dscp,
    EtherType,
    Icmp6Code,
    Icmp6Type,
    IcmpCode,
    IcmpType,
    Interface,
    Mac,
    NetworkFamily,
    /// Plain numbers, with their width in bits.
    Number(u8),
    PacketType,
    Port,
    Protocol,
    TcpFlags,
    /// User or group: only root has the same number everywhere.
    User,
    /// Of an expression that the model does not know: no value can be read.
    Unknown,
}

impl Kind {
    /// The kind of a set's key or data, by the name of its type.
    pub(super) fn of_type(name: &str) -> Self {
        match name {
            "ipv4_addr" | "ipv6_addr" => Self::Address,
            "inet_service" => Self::Port,
            "inet_proto" => Self::Protocol,
            "ifname" | "iface_index" => Self::Interface,
            "mark" | "realm" | "classid" => Self::Number(32),
            "ether_addr" | "lladdr" => Self::Mac,
            "ether_type" => Self::EtherType,
            "nf_proto" | "nfproto" => Self::NetworkFamily,
            "ct_state" => Self::ConnectionState,
            "ct_status" => Self::ConnectionStatus,
            "ct_dir" => Self::Direction,
            "fib_addrtype" => Self::AddressType,
            "pkt_type" => Self::PacketType,
            "dscp" => Self::Dscp,
            "tcp_flag" => Self::TcpFlags,
            "icmp_type" => Self::IcmpType,
            "icmp_code" => Self::IcmpCode,
            "icmpv6_type" => Self::Icmp6Type,
            "icmpv6_code" => Self::Icmp6Code,
            "uid" | "gid" => Self::User,
            "integer" | "boolean" => Self::Number(32),
            _ => Self::Unknown,
        }
    }

    /// The set type that has this kind; the reverse of [`Kind::of_type`].
    pub(super) fn type_name(self) -> Option<&'static str> {
        Some(match self {
            Self::Address => "ipv4_addr",
            Self::AddressType => "fib_addrtype",
            Self::ConnectionState => "ct_state",
            Self::ConnectionStatus => "ct_status",
            Self::Direction => "ct_dir",
            Self::Dscp => "dscp",
            Self::EtherType => "ether_type",
            Self::Icmp6Code => "icmpv6_code",
            Self::Icmp6Type => "icmpv6_type",
            Self::IcmpCode => "icmp_code",
            Self::IcmpType => "icmp_type",
            Self::Interface => "ifname",
            Self::Mac => "ether_addr",
            Self::NetworkFamily => "nf_proto",
            Self::Number(_) => "integer",
            Self::PacketType => "pkt_type",
            Self::Port => "inet_service",
            Self::Protocol => "inet_proto",
            Self::TcpFlags => "tcp_flag",
            Self::User => "uid",
            Self::Unknown => return None,
        })
    }

    /// The kinds of an expression's values, one a part of a concatenation.
    pub(super) fn of_parts(expression: &Expression) -> Vec<Self> {
        match expression {
            Expression::Concatenation(parts) => parts.iter().map(Self::of).collect(),
            single => vec![Self::of(single)],
        }
    }

    pub(super) fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Field(field) => Self::of_field(*field),
            Expression::And(left, _) | Expression::Or(left, _) | Expression::Xor(left, _) => Self::of(left),
            // What was moved is a number, whatever it was before.
            Expression::ShiftLeft(..) | Expression::ShiftRight(..) => Self::Number(128),
            // Written out in the rule, as numbers are.
            Expression::Value(_) => Self::Number(128),
            Expression::Choice { .. } => Self::Number(32),
            Expression::Concatenation(_) | Expression::Map { .. } | Expression::Unknown(_) => Self::Unknown,
        }
    }

    fn of_field(field: Field) -> Self {
        match field {
            Field::InputInterface
            | Field::OutputInterface
            | Field::InputBridge
            | Field::OutputBridge
            | Field::PhysicalInput
            | Field::PhysicalOutput => Self::Interface,
            Field::TransportProtocol | Field::IpProtocol | Field::Ip6NextHeader | Field::OriginalProtocol => {
                Self::Protocol
            }
            Field::NetworkFamily => Self::NetworkFamily,
            Field::EtherType => Self::EtherType,
            Field::EtherSource | Field::EtherDestination => Self::Mac,
            Field::Mark | Field::ConnectionMark | Field::Length | Field::TcpSequence | Field::RoutingRealm => {
                Self::Number(32)
            }
            Field::PacketType => Self::PacketType,
            Field::IpSource
            | Field::IpDestination
            | Field::Ip6Source
            | Field::Ip6Destination
            | Field::OriginalSource
            | Field::OriginalDestination
            | Field::ReplySource
            | Field::ReplyDestination => Self::Address,
            Field::SourcePort(_)
            | Field::DestinationPort(_)
            | Field::OriginalSourcePort
            | Field::OriginalDestinationPort
            | Field::ReplySourcePort
            | Field::ReplyDestinationPort => Self::Port,
            Field::IpDscp => Self::Dscp,
            Field::TcpFlags => Self::TcpFlags,
            Field::IcmpType => Self::IcmpType,
            Field::IcmpCode => Self::IcmpCode,
            Field::Icmp6Type => Self::Icmp6Type,
            Field::Icmp6Code => Self::Icmp6Code,
            Field::ConnectionState => Self::ConnectionState,
            Field::ConnectionStatus => Self::ConnectionStatus,
            Field::ConnectionDirection => Self::Direction,
            Field::FibDestinationType { .. } | Field::FibSourceType { .. } => Self::AddressType,
            Field::SocketOwner | Field::SocketGroup => Self::User,
            Field::IpLength | Field::IpId | Field::IpFragmentOffset | Field::TcpWindow | Field::UdpLength => {
                Self::Number(16)
            }
            Field::IpTtl | Field::Ip6HopLimit | Field::IpVersion | Field::IpHeaderLength => Self::Number(8),
            Field::IsBridged
            | Field::FibSourceInterface
            | Field::FibSourceInterfaceByMark
            | Field::SocketTransparent => Self::Number(1),
        }
    }

    /// A list of values stands for their bits joined.
    pub(super) fn is_bits(self) -> bool {
        matches!(self, Self::ConnectionState | Self::ConnectionStatus | Self::TcpFlags)
    }

    fn width(self) -> Option<u8> {
        Some(match self {
            Self::Mac => 48,
            Self::Number(width) => width,
            Self::Port | Self::EtherType => 16,
            Self::Protocol | Self::IcmpType | Self::Icmp6Type | Self::IcmpCode | Self::Icmp6Code => 8,
            Self::ConnectionState | Self::ConnectionStatus | Self::User | Self::AddressType => 32,
            Self::TcpFlags => 8,
            _ => return None,
        })
    }
}

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
