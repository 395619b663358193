//! The value of an expression for a packet at some place of its way.

use super::lookup::Found;
use super::packet::{Device, Packet, Port, Protocol, Tracking, number};
use super::routing::{Flow, LO, Router};
use super::rules::Rules;
use super::ruleset::{Datum, ElementData, Expression, Family, Field, Match, Pattern, SetReference};
use super::value::{Truth, Value, compare, scalar};
use crate::model::Transport;

/// What expressions are evaluated with.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub rules: &'a Rules,
    pub router: &'a Router,
    /// Table whose named sets are meant.
    pub table: usize,
}

impl<'a> Scene<'a> {
    pub fn holds(&self, matching: &'a Match, packet: &'a Packet) -> Truth {
        // `ip frag-off & 0x1fff`: nothing here is a fragment, whatever its other bits are.
        if let Expression::And(one, other) = &matching.left
            && **one == Expression::Field(Field::IpFragmentOffset)
            && let Expression::Value(Datum::Number(mask)) = **other
            && mask & DO_NOT_FRAGMENT == 0
            && !packet.is_ipv6()
        {
            return compare(&Value::Number(0), matching.operator, &matching.right, |value, pattern| {
                self.is_in(value, pattern)
            });
        }
        let value = self.value(&matching.left, packet);
        compare(&value, matching.operator, &matching.right, |value, pattern| self.is_in(value, pattern))
    }

    /// Whether a value is what a pattern says.
    fn is_in(&self, value: &Value<'_>, pattern: &Pattern) -> Truth {
        if let Some(truth) = scalar(value, pattern) {
            return truth;
        }
        match pattern {
            Pattern::Set(reference) => match self.find(reference, value) {
                Found::Element(_) => Truth::Yes,
                Found::No => Truth::No,
                Found::Unknown(what) => Truth::Unknown(what),
            },
            Pattern::Concatenation(patterns) => {
                let Value::Many(values) = value else {
                    return match value {
                        Value::Unknown(what) => Truth::Unknown(what.clone()),
                        _ => Truth::No,
                    };
                };
                if values.len() != patterns.len() {
                    return Truth::Unknown("a concatenation of another length".to_owned());
                }
                let mut unknown = None;
                for (value, pattern) in values.iter().zip(patterns) {
                    match self.is_in(value, pattern) {
                        Truth::Yes => {}
                        Truth::No => return Truth::No,
                        Truth::Unknown(what) => unknown = unknown.or(Some(what)),
                    }
                }
                unknown.map_or(Truth::Yes, Truth::Unknown)
            }
            // `scalar` knows all others.
            _ => Truth::Unknown("a pattern".to_owned()),
        }
    }

    /// The element of a set that holds a value.
    pub fn find(&self, reference: &'a SetReference, value: &Value<'_>) -> Found<'a> {
        let Some((set, index)) = self.rules.set(self.table, reference) else {
            let name = match reference {
                SetReference::Named(name) | SetReference::Ipset(name) => name.as_str(),
                SetReference::Anonymous(_) => "without a name",
            };
            return Found::Unknown(format!("set {name}, which the dump lacks"));
        };
        if set.dynamic {
            return Found::Unknown(format!("set {}, which changes as packets pass", set.name));
        }
        index.find(set, value, |value, pattern| self.is_in(value, pattern))
    }

    pub fn value(&self, expression: &'a Expression, packet: &'a Packet) -> Value<'a> {
        match expression {
            Expression::Field(field) => self.field(*field, packet),
            Expression::Value(Datum::Number(number)) => Value::Number(*number),
            Expression::Value(Datum::Name(name)) => Value::Name(name),
            Expression::And(one, other) => self.arithmetic(one, other, packet, |one, other| one & other),
            Expression::Or(one, other) => self.arithmetic(one, other, packet, |one, other| one | other),
            Expression::Xor(one, other) => self.arithmetic(one, other, packet, |one, other| one ^ other),
            Expression::ShiftLeft(one, other) => self.arithmetic(one, other, packet, |one, other| {
                u32::try_from(other).ok().and_then(|by| one.checked_shl(by)).unwrap_or(0)
            }),
            Expression::ShiftRight(one, other) => self.arithmetic(one, other, packet, |one, other| {
                u32::try_from(other).ok().and_then(|by| one.checked_shr(by)).unwrap_or(0)
            }),
            Expression::Concatenation(parts) => {
                Value::Many(parts.iter().map(|part| self.value(part, packet)).collect())
            }
            Expression::Map { key, map } => {
                let key = self.value(key, packet);
                match self.find(map, &key) {
                    Found::Element(element) => match &element.data {
                        Some(ElementData::Values(values)) => match &values[..] {
                            [one] => datum(one),
                            many => Value::Many(many.iter().map(datum).collect()),
                        },
                        _ => Value::Unknown("the data of a map's element".to_owned()),
                    },
                    Found::No => Value::Missing,
                    Found::Unknown(what) => Value::Unknown(what),
                }
            }
            Expression::Choice { what: text, .. } | Expression::Unknown(text) => Value::Unknown(text.clone()),
        }
    }

    fn arithmetic(
        &self,
        one: &'a Expression,
        other: &'a Expression,
        packet: &'a Packet,
        operation: fn(u128, u128) -> u128,
    ) -> Value<'a> {
        match (self.value(one, packet), self.value(other, packet)) {
            (Value::Number(one), Value::Number(other)) => Value::Number(operation(one, other)),
            (Value::Missing, _) | (_, Value::Missing) => Value::Missing,
            (Value::Unknown(what), _) | (_, Value::Unknown(what)) => Value::Unknown(what),
            _ => Value::Unknown("arithmetic with what is no number".to_owned()),
        }
    }

    fn field(&self, field: Field, packet: &'a Packet) -> Value<'a> {
        if let Some((_, value)) = packet.changed.iter().rev().find(|(changed, _)| *changed == field) {
            return value.map_or_else(|| Value::Unknown(format!("{field:?}, which a rule sets")), Value::Number);
        }
        let ipv6 = packet.is_ipv6();
        let of_bridges = self.rules.ruleset.tables.get(self.table).is_some_and(|table| table.family == Family::Bridge);
        let tracked = matches!(packet.tracking, Tracking::New { .. } | Tracking::Related { .. });
        let of_connection = |value: Value<'a>| if tracked { value } else { Value::Missing };
        let unknown = |what: &str| Value::Unknown(what.to_owned());
        match field {
            Field::InputInterface => device(&packet.input, "the input interface"),
            Field::OutputInterface => device(&packet.output, "the output interface"),
            Field::PhysicalInput => device(&packet.physical_input, "the input bridge port"),
            Field::PhysicalOutput => device(&packet.physical_output, "the output bridge port"),
            // Only the family `bridge` knows them (nft_meta_bridge.c), and may see a frame for another host.
            Field::InputBridge | Field::OutputBridge if of_bridges => unknown("the bridge"),
            Field::PacketType if of_bridges => unknown("whom the frame is addressed to"),
            Field::InputBridge | Field::OutputBridge => Value::Missing,
            Field::IsBridged => match packet.bridged {
                Some(bridged) => Value::Number(u128::from(bridged)),
                None => unknown("whether the packet is bridged"),
            },
            Field::TransportProtocol => Value::Number(packet.protocol.number(ipv6).into()),
            Field::NetworkFamily => Value::Number(if ipv6 { 10 } else { 2 }),
            Field::EtherType => Value::Number(if ipv6 { 0x86dd } else { 0x0800 }),
            Field::EtherSource | Field::EtherDestination => unknown("the link-layer addresses"),
            Field::Mark => packet.mark.map_or_else(|| unknown("the packet's mark"), |mark| Value::Number(mark.into())),
            // Frames to this host's own link-layer address.
            Field::PacketType => Value::Number(0),
            Field::Length | Field::IpLength | Field::UdpLength => unknown("the packet's length"),
            Field::IpSource | Field::Ip6Source => self.address_of(field == Field::Ip6Source, ipv6, packet, true),
            Field::IpDestination | Field::Ip6Destination => {
                self.address_of(field == Field::Ip6Destination, ipv6, packet, false)
            }
            Field::IpProtocol => only(!ipv6, packet.protocol.number(false)),
            Field::Ip6NextHeader => only(ipv6, packet.protocol.number(true)),
            Field::IpVersion => only(!ipv6, 4_u8),
            Field::IpHeaderLength => only(!ipv6, 5_u8),
            Field::IpTtl | Field::IpDscp | Field::IpId | Field::IpFragmentOffset if ipv6 => Value::Missing,
            Field::Ip6HopLimit if !ipv6 => Value::Missing,
            Field::IpTtl | Field::Ip6HopLimit => unknown("the packet's TTL"),
            Field::IpDscp | Field::IpId | Field::IpFragmentOffset => unknown("header fields that a sender chooses"),
            Field::SourcePort(transport) => port(packet.protocol, transport, packet.source_port, "the source port"),
            Field::DestinationPort(transport) => {
                port(packet.protocol, transport, packet.destination_port, "the port that a range was translated to")
            }
            Field::TcpFlags => only(packet.protocol == Protocol::Tcp, SYN),
            Field::TcpSequence | Field::TcpWindow if packet.protocol != Protocol::Tcp => Value::Missing,
            Field::TcpSequence | Field::TcpWindow => unknown("header fields that a sender chooses"),
            Field::IcmpType | Field::Icmp6Type | Field::IcmpCode | Field::Icmp6Code => {
                let six = matches!(field, Field::Icmp6Type | Field::Icmp6Code);
                match packet.protocol {
                    Protocol::Icmp { kind, code } if six == ipv6 => {
                        let is_type = matches!(field, Field::IcmpType | Field::Icmp6Type);
                        Value::Number(if is_type { kind } else { code }.into())
                    }
                    _ => Value::Missing,
                }
            }
            Field::ConnectionState => Value::Number(match packet.tracking {
                Tracking::Before => STATE_INVALID,
                Tracking::Untracked => STATE_UNTRACKED,
                Tracking::New { .. } => STATE_NEW,
                Tracking::Related { .. } => STATE_RELATED,
            }),
            Field::ConnectionStatus => match packet.tracking {
                Tracking::New { status, .. } | Tracking::Related { status, .. } => Value::Number(status.into()),
                _ => Value::Missing,
            },
            Field::ConnectionMark => match packet.tracking {
                Tracking::New { mark: Some(mark), .. } | Tracking::Related { mark: Some(mark), .. } => {
                    Value::Number(mark.into())
                }
                Tracking::New { mark: None, .. } | Tracking::Related { mark: None, .. } => {
                    unknown("the connection's mark")
                }
                _ => Value::Missing,
            },
            Field::ConnectionDirection => {
                of_connection(Value::Number(u128::from(matches!(packet.tracking, Tracking::Related { .. }))))
            }
            Field::OriginalSource => of_connection(Value::Number(number(packet.original.source))),
            Field::OriginalDestination => of_connection(Value::Number(number(packet.original.destination))),
            Field::OriginalSourcePort => of_connection(match packet.original.source_port {
                Some(port) => Value::Number(port.into()),
                None => unknown("the source port"),
            }),
            Field::OriginalDestinationPort => of_connection(Value::Number(packet.original.destination_port.into())),
            Field::OriginalProtocol => of_connection(Value::Number(packet.protocol.number(ipv6).into())),
            Field::ReplySource | Field::ReplyDestination | Field::ReplySourcePort | Field::ReplyDestinationPort
                if matches!(packet.tracking, Tracking::Related { .. }) =>
            {
                unknown("the refused connection's other direction")
            }
            Field::ReplySource => of_connection(Value::Number(number(packet.destination))),
            Field::ReplyDestination => of_connection(if packet.source_unknown {
                unknown("the address that the source is translated to")
            } else {
                Value::Number(number(packet.source))
            }),
            Field::ReplySourcePort => of_connection(port(packet.protocol, None, packet.destination_port, "a port")),
            Field::ReplyDestinationPort => {
                of_connection(port(packet.protocol, None, packet.source_port, "the source port"))
            }
            Field::FibDestinationType { of_input_interface } => {
                self.address_type(packet.destination, of_input_interface, packet)
            }
            Field::FibSourceType { of_input_interface } => self.address_type(packet.source, of_input_interface, packet),
            Field::FibSourceInterface | Field::FibSourceInterfaceByMark => match &packet.input {
                Device::Name(_) if field == Field::FibSourceInterfaceByMark && packet.mark.is_none() => {
                    unknown("the packet's mark")
                }
                Device::Name(input) => match self.router.returns_by(
                    Flow {
                        source: packet.destination,
                        destination: packet.source,
                        input: Some(LO),
                        // RT6_LOOKUP_F_IFACE (nft_fib_ipv6.c).
                        output: is_link_local(packet.source).then_some(input),
                        mark: if field == Field::FibSourceInterfaceByMark { packet.mark } else { Some(0) },
                    },
                    input,
                ) {
                    Ok(returns) => Value::Number(u128::from(returns)),
                    Err(what) => Value::Unknown(what),
                },
                Device::None | Device::Unknown => unknown("the input interface"),
            },
            // What comes from outside has no socket yet.
            Field::SocketOwner | Field::SocketGroup => Value::Missing,
            Field::SocketTransparent => unknown("whether a socket of this host takes it"),
            Field::RoutingRealm => unknown("the routing realm"),
        }
    }

    fn address_of(&self, six: bool, ipv6: bool, packet: &Packet, source: bool) -> Value<'a> {
        match (six == ipv6, source) {
            (false, _) => Value::Missing,
            (true, true) if packet.source_unknown => {
                Value::Unknown("the address that the source is translated to".to_owned())
            }
            (true, true) => Value::Number(number(packet.source)),
            (true, false) => Value::Number(number(packet.destination)),
        }
    }

    fn address_type(&self, asked: std::net::IpAddr, of_input_interface: bool, packet: &Packet) -> Value<'a> {
        let interface = match (&packet.input, of_input_interface) {
            (_, false) => None,
            (Device::Name(name), true) => Some(name.as_ref()),
            (Device::None | Device::Unknown, true) => {
                return Value::Unknown("the input interface".to_owned());
            }
        };
        match self.router.address_type(asked, interface) {
            Ok(kind) => Value::Number(kind.into()),
            Err(what) => Value::Unknown(what),
        }
    }
}

const fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(address) if address.is_unicast_link_local())
}

fn datum(datum: &Datum) -> Value<'_> {
    match datum {
        Datum::Number(number) => Value::Number(*number),
        Datum::Name(name) => Value::Name(name),
    }
}

fn device<'a>(device: &'a Device, what: &str) -> Value<'a> {
    match device {
        Device::Name(name) => Value::Name(name),
        Device::None => Value::Name(""),
        Device::Unknown => Value::Unknown(what.to_owned()),
    }
}

fn only<'a>(there: bool, value: impl Into<u128>) -> Value<'a> {
    if there { Value::Number(value.into()) } else { Value::Missing }
}

fn port<'a>(protocol: Protocol, wanted: Option<Transport>, port: Port, what: &str) -> Value<'a> {
    let fits = match wanted {
        None => true,
        Some(Transport::Tcp) => protocol == Protocol::Tcp,
        Some(Transport::Udp) => protocol == Protocol::Udp,
    };
    match port {
        _ if !fits => Value::Missing,
        Port::Known(port) => Value::Number(port.into()),
        Port::Unknown => Value::Unknown(what.to_owned()),
        Port::Missing => Value::Missing,
    }
}

/// Bits of nft's `ct state` (nf_conntrack_common.h, NF_CT_STATE_BIT).
const STATE_INVALID: u128 = 1;
const STATE_RELATED: u128 = 4;
const STATE_NEW: u128 = 8;
const STATE_UNTRACKED: u128 = 64;
const SYN: u8 = 0x02;
/// IP_DF (RFC 791 section 3.1).
const DO_NOT_FRAGMENT: u128 = 0x4000;
