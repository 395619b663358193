//! What a rule looks at: fields of the packet, its connection and its way, and arithmetic with them.

use super::json::{Map, Value};
use super::kind::Kind;
use super::{payload, render, sets, symbols, value};
use crate::firewall::ruleset::{Datum, Expression, Family, Field, Match, Operator, Pattern};
use crate::model::Transport;

/// What the rule's matches so far say about the packet: raw payload expressions depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) ipv6: Option<bool>,
    pub(super) protocol: Option<u128>,
}

impl Known {
    pub(super) fn of_table(family: Family) -> Self {
        let ipv6 = match family {
            Family::Ip => Some(false),
            Family::Ip6 => Some(true),
            Family::Arp | Family::Bridge | Family::Inet | Family::Netdev => None,
        };
        Self { ipv6, protocol: None }
    }

    /// Whatever comes after this match in the rule is about packets that pass it.
    pub(super) fn learn(&mut self, passed: &Match) {
        let Expression::Field(field) = passed.left else { return };
        match field {
            Field::IpSource | Field::IpDestination | Field::IpProtocol => self.ipv6 = Some(false),
            Field::Ip6Source | Field::Ip6Destination | Field::Ip6NextHeader => self.ipv6 = Some(true),
            Field::SourcePort(Some(Transport::Tcp))
            | Field::DestinationPort(Some(Transport::Tcp))
            | Field::TcpFlags => {
                self.protocol = Some(6);
            }
            Field::SourcePort(Some(Transport::Udp)) | Field::DestinationPort(Some(Transport::Udp)) => {
                self.protocol = Some(17);
            }
            Field::IcmpType | Field::IcmpCode => self.protocol = Some(1),
            Field::Icmp6Type | Field::Icmp6Code => self.protocol = Some(58),
            _ => {}
        }
        let (Operator::Equal, Pattern::Exactly(Datum::Number(value))) = (passed.operator, &passed.right) else {
            return;
        };
        match (field, value) {
            (Field::NetworkFamily, 2) | (Field::EtherType, 0x0800) => self.ipv6 = Some(false),
            (Field::NetworkFamily, 10) | (Field::EtherType, 0x86dd) => self.ipv6 = Some(true),
            (Field::TransportProtocol | Field::IpProtocol, protocol) => self.protocol = Some(*protocol),
            _ => {}
        }
    }
}

/// An expression; values in it are written as those of `kinds` (numbers where nothing is known).
pub(super) fn read(known: Known, kinds: &[Kind], value: &Value) -> Expression {
    found(known, kinds, value).unwrap_or_else(|| Expression::Unknown(render::expression(value)))
}

fn found(known: Known, kinds: &[Kind], value: &Value) -> Option<Expression> {
    let Some(object) = value.as_object() else {
        let [kind] = kinds else { return None };
        return value::datum(*kind, value).map(Expression::Value);
    };
    let (name, body) = object.only()?;
    match name {
        "payload" => payload::read(known, body.as_object()?),
        "meta" => meta(body.get("key").unwrap_or(body).as_str()?).map(Expression::Field),
        "ct" => connection(body.as_object()?).map(Expression::Field),
        "fib" => fib(body).map(Expression::Field),
        "rt" => (body.get("key")?.as_str()? == "classid").then_some(Expression::Field(Field::RoutingRealm)),
        "socket" => {
            (body.get("key")?.as_str()? == "transparent").then_some(Expression::Field(Field::SocketTransparent))
        }
        // Of one there is no choice: kube-proxy's services with one endpoint.
        "numgen" | "jhash" | "symhash" if body.get("mod")?.as_u64() == Some(1) => {
            let offset = body.get("offset").map_or(Some(0), Value::as_u64)?;
            Some(Expression::Value(Datum::Number(offset.into())))
        }
        "numgen" | "jhash" | "symhash" => {
            let first = body.get("offset").map_or(Some(0), Value::as_u64)?;
            let count = body.get("mod")?.as_u64().filter(|count| *count > 0)?;
            Some(Expression::Choice { what: render::expression(value), first, count })
        }
        "concat" => {
            let parts = body.as_array()?;
            let kind = |at: usize| kinds.get(at).copied().unwrap_or(Kind::Number(128));
            let parts = parts.iter().enumerate().map(|(at, part)| read(known, &[kind(at)], part));
            Some(Expression::Concatenation(parts.collect()))
        }
        "map" => {
            let key = read(known, &[Kind::Unknown], body.get("key")?);
            let map = sets::reference(&Kind::of_parts(&key), kinds, body.get("data")?)?;
            Some(Expression::Map { key: Box::new(key), map })
        }
        "&" => folded(known, kinds, body, Expression::And),
        "|" => folded(known, kinds, body, Expression::Or),
        "^" => folded(known, kinds, body, Expression::Xor),
        "<<" => folded(known, &[Kind::Number(128)], body, Expression::ShiftLeft),
        ">>" => folded(known, &[Kind::Number(128)], body, Expression::ShiftRight),
        _ => None,
    }
}

/// `a & b`; later versions of nft list all operands of a chain of one operator.
fn folded(
    known: Known,
    kinds: &[Kind],
    operands: &Value,
    join: fn(Box<Expression>, Box<Expression>) -> Expression,
) -> Option<Expression> {
    let (first, rest) = operands.as_array()?.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let left = read(known, kinds, first);
    // The right side is written as the left side is: `ip saddr & 255.255.0.0`, `meta mark & 0xff`.
    let kind = match Kind::of(&left) {
        Kind::Unknown => kinds.first().copied().filter(|kind| *kind != Kind::Unknown).unwrap_or(Kind::Number(128)),
        kind => kind,
    };
    Some(rest.iter().fold(left, |all, operand| {
        let operand = match value::number(kind, operand) {
            Some(number) => Expression::Value(Datum::Number(number)),
            None if operand.is_array() => match value::number(Kind::TcpFlags, operand) {
                Some(number) => Expression::Value(Datum::Number(number)),
                None => Expression::Unknown(render::expression(operand)),
            },
            None => read(known, &[kind], operand),
        };
        join(Box::new(all), Box::new(operand))
    }))
}

fn meta(key: &str) -> Option<Field> {
    Some(match key {
        "iif" | "iifname" => Field::InputInterface,
        "oif" | "oifname" => Field::OutputInterface,
        "ibrname" | "ibridgename" | "ibriport" => Field::InputBridge,
        "obrname" | "obridgename" | "obriport" => Field::OutputBridge,
        "l4proto" => Field::TransportProtocol,
        "nfproto" => Field::NetworkFamily,
        "protocol" => Field::EtherType,
        "mark" => Field::Mark,
        "pkttype" => Field::PacketType,
        "length" => Field::Length,
        "skuid" => Field::SocketOwner,
        "skgid" => Field::SocketGroup,
        "rtclassid" => Field::RoutingRealm,
        // Group, kind, hardware type, priority, cpu, time, cgroup, random: not in the report.
        _ => return None,
    })
}

fn connection(body: &Map<'_>) -> Option<Field> {
    let key = body.get("key")?.as_str()?;
    let reply = match body.get("dir").map(Value::as_str) {
        None => {
            return Some(match key {
                "state" => Field::ConnectionState,
                "status" => Field::ConnectionStatus,
                "mark" => Field::ConnectionMark,
                "direction" => Field::ConnectionDirection,
                "protocol" => Field::OriginalProtocol,
                _ => return None,
            });
        }
        Some(Some("original")) => false,
        Some(Some("reply")) => true,
        Some(_) => return None,
    };
    Some(match (key, reply) {
        ("saddr" | "ip saddr" | "ip6 saddr", false) => Field::OriginalSource,
        ("daddr" | "ip daddr" | "ip6 daddr", false) => Field::OriginalDestination,
        ("proto-src", false) => Field::OriginalSourcePort,
        ("proto-dst", false) => Field::OriginalDestinationPort,
        // Both directions have the same one.
        ("protocol", _) => Field::OriginalProtocol,
        ("saddr" | "ip saddr" | "ip6 saddr", true) => Field::ReplySource,
        ("daddr" | "ip daddr" | "ip6 daddr", true) => Field::ReplyDestination,
        ("proto-src", true) => Field::ReplySourcePort,
        ("proto-dst", true) => Field::ReplyDestinationPort,
        _ => return None,
    })
}

fn fib(body: &Value) -> Option<Field> {
    let mut flags: Vec<&str> = match body.get("flags")? {
        Value::String(flag) => vec![flag.as_ref()],
        Value::Array(flags) => flags.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    flags.sort_unstable();
    match (body.get("result")?.as_str()?, flags.as_slice()) {
        ("type", ["daddr"]) => Some(Field::FibDestinationType { of_input_interface: false }),
        ("type", ["daddr", "iif"]) => Some(Field::FibDestinationType { of_input_interface: true }),
        ("type", ["saddr"]) => Some(Field::FibSourceType { of_input_interface: false }),
        ("type", ["iif", "saddr"]) => Some(Field::FibSourceType { of_input_interface: true }),
        // `check` is what later versions print for `oif exists`.
        ("oif" | "check", ["iif", "saddr"]) => Some(Field::FibSourceInterface),
        ("oif" | "check", ["iif", "mark", "saddr"]) => Some(Field::FibSourceInterfaceByMark),
        _ => None,
    }
}

/// What an expression needs of a packet and the model's fields do not tell: `sctp dport` is asked of SCTP packets only, so
/// that other packets have a definite answer. nft checks the same before it reads the payload, and shows it nowhere.
pub(super) fn needs<'a>(value: &'a Value<'_>, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (name, body) in object.iter() {
                let word = |key| body.get(key).and_then(Value::as_str);
                match name {
                    "payload" => match (word("protocol"), word("field")) {
                        (Some(protocol), Some(field)) if payload::header(protocol, field).is_none() => {
                            into.push(protocol)
                        }
                        _ => {}
                    },
                    // The kernel has no address of the other family to compare with.
                    "ct" => {
                        let family = word("key").and_then(|key| key.split_once(' ')).map(|(family, _)| family);
                        into.extend(family.filter(|family| matches!(*family, "ip" | "ip6")));
                    }
                    "tcp option" => into.push("tcp"),
                    "ip option" => into.push("ip"),
                    "exthdr" => into.push("ip6"),
                    // Data of sets names no headers.
                    "set" | "data" => {}
                    _ => needs(body, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| needs(value, into)),
        _ => {}
    }
}

/// The match that only packets with this header pass; `None`: passed already, or there is none.
pub(super) fn guard(family: Family, known: Known, protocol: &str) -> Option<Match> {
    let (field, number) = match protocol {
        "ip" | "ip6" if known.ipv6 == Some(protocol == "ip6") => return None,
        "ip" | "ip6" => match (family, protocol) {
            (Family::Bridge | Family::Netdev, "ip") => (Field::EtherType, 0x0800),
            (Family::Bridge | Family::Netdev, _) => (Field::EtherType, 0x86dd),
            (_, "ip") => (Field::NetworkFamily, 2),
            _ => (Field::NetworkFamily, 10),
        },
        "tcp" | "udp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "udplite" | "ah" | "esp" | "comp" | "igmp" | "gre" => {
            let number = symbols::number(symbols::PROTOCOLS, protocol)?;
            if known.protocol == Some(number) {
                return None;
            }
            (Field::TransportProtocol, number)
        }
        _ => return None,
    };
    let right = Pattern::Exactly(Datum::Number(number));
    Some(Match { left: Expression::Field(field), operator: Operator::Equal, right })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::payload::constant;
    use super::*;

    #[test]
    fn many_operands_are_joined_from_the_left() {
        let text = json!({"|": [{"meta": {"key": "mark"}}, 1, 2]});
        let mark = Expression::Field(Field::Mark);
        assert_eq!(
            read(Known::default(), &[], &Value::from(&text)),
            Expression::Or(Box::new(Expression::Or(Box::new(mark), constant(1))), constant(2))
        );
    }
}
