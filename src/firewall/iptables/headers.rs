//! Matches of what a packet's headers say: ports, flags, types, ranges, and what kind of address one is.

use super::matches::{Context, address_fields, each, one, unknown};
use super::values::{
    Fault, Understood, any_pattern, broken, compare, equal_or_not, exactly, icmp, masked, number, port_range,
};
use super::words::{Choice, Part};
use crate::firewall::ruleset::{Expression, Field, Match, Operator, Pattern, Statement};
use crate::model::Transport;

/// The transport whose ports `-p` lets a rule look at.
fn ports_of(context: Context<'_>) -> Option<Transport> {
    match context.protocol {
        Some(6) => Some(Transport::Tcp),
        Some(17) => Some(Transport::Udp),
        _ => None,
    }
}

pub(super) fn transport(choice: &Choice, context: Context<'_>) -> Understood<Statement> {
    let operator = equal_or_not(choice.negated);
    Ok(Statement::Match(match choice.name.as_str() {
        "sport" => compare(Field::SourcePort(ports_of(context)), operator, port_range(one(choice)?)?),
        "dport" => compare(Field::DestinationPort(ports_of(context)), operator, port_range(one(choice)?)?),
        "syn" => Match { left: masked(Field::TcpFlags, 0x17, 8), operator, right: exactly(0x02) },
        "tcp-flags" => match choice.values.as_slice() {
            [mask, set] => {
                Match { left: masked(Field::TcpFlags, tcp_flags(mask)?, 8), operator, right: exactly(tcp_flags(set)?) }
            }
            _ => return broken("pair of flag lists", &choice.values.join(" ")),
        },
        "icmp-type" | "icmpv6-type" => {
            let ipv6 = choice.name == "icmpv6-type";
            let (kind_field, code_field) =
                if ipv6 { (Field::Icmp6Type, Field::Icmp6Code) } else { (Field::IcmpType, Field::IcmpCode) };
            match icmp(one(choice)?, ipv6)? {
                None => compare(kind_field, operator, Pattern::Range(0, 255)),
                Some((kind, None)) => compare(kind_field, operator, exactly(kind.into())),
                Some((kind, Some(code))) => Match {
                    left: Expression::Concatenation(vec![Expression::Field(kind_field), Expression::Field(code_field)]),
                    operator,
                    right: Pattern::Concatenation(vec![exactly(kind.into()), exactly(code.into())]),
                },
            }
        }
        // These options are questions of their own: the others stay known.
        _ => unknown(&choice.to_string()),
    }))
}

fn tcp_flags(text: &str) -> Understood<u128> {
    let mut flags = 0;
    for name in text.split(',') {
        flags |= match name.to_ascii_uppercase().as_str() {
            "FIN" => 0x01,
            "SYN" => 0x02,
            "RST" => 0x04,
            "PSH" => 0x08,
            "ACK" => 0x10,
            "URG" => 0x20,
            "ALL" => 0x3f,
            "NONE" => 0,
            _ => return broken("TCP flag", name),
        };
    }
    Ok(flags)
}

pub(super) fn multiport(choice: &Choice, context: Context<'_>) -> Understood<Statement> {
    let patterns = one(choice)?.split(',').map(port_range).collect::<Understood<Vec<_>>>()?;
    let ports = any_pattern(patterns, "inet_service");
    let transport = ports_of(context);
    let operator = equal_or_not(choice.negated);
    Ok(match choice.name.as_str() {
        "sports" | "source-ports" => Statement::Match(compare(Field::SourcePort(transport), operator, ports)),
        "dports" | "destination-ports" => Statement::Match(compare(Field::DestinationPort(transport), operator, ports)),
        "ports" => {
            let either = vec![
                compare(Field::SourcePort(transport), Operator::Equal, ports.clone()),
                compare(Field::DestinationPort(transport), Operator::Equal, ports),
            ];
            if choice.negated { Statement::NoneOf(either) } else { Statement::AnyOf(either) }
        }
        _ => return Err(Fault::NotUnderstood),
    })
}

/// `-m addrtype` (xt_addrtype.c). For IPv6 several types are not simply alternatives, and `UNICAST` looks at the address
/// alone; what is not plain there is left unknown.
pub(super) fn address_types(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
    let mut of_input_interface = false;
    for choice in &part.choices {
        match choice.name.as_str() {
            "limit-iface-in" => of_input_interface = true,
            "src-type" | "dst-type" => {}
            _ => return Err(Fault::NotUnderstood),
        }
    }
    let mut statements = Vec::new();
    for choice in part.choices.iter().filter(|choice| choice.name != "limit-iface-in") {
        let source = choice.name == "src-type";
        let types = one(choice)?.split(',').map(address_type).collect::<Understood<Vec<_>>>()?;
        let field = if source {
            Field::FibSourceType { of_input_interface }
        } else {
            Field::FibDestinationType { of_input_interface }
        };
        let operator = equal_or_not(choice.negated);
        let found = if !context.ipv6 || types == [LOCAL] {
            compare(field, operator, any_pattern(types.into_iter().map(exactly).collect(), "fib_addrtype"))
        } else if types == [MULTICAST] {
            let (from, to) = address_fields(true);
            compare(
                if source { from } else { to },
                operator,
                Pattern::Prefix { value: 0xff << 120, length: 8, width: 128 },
            )
        } else {
            return Err(Fault::NotUnderstood);
        };
        statements.push(Statement::Match(found));
    }
    Ok(statements)
}

const LOCAL: u128 = 2;
const MULTICAST: u128 = 5;

/// RTN_* of rtnetlink.h.
fn address_type(name: &str) -> Understood<u128> {
    const NAMES: [&str; 12] = [
        "UNSPEC",
        "UNICAST",
        "LOCAL",
        "BROADCAST",
        "ANYCAST",
        "MULTICAST",
        "BLACKHOLE",
        "UNREACHABLE",
        "PROHIBIT",
        "THROW",
        "NAT",
        "XRESOLVE",
    ];
    match NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
        Some(number) => Ok(number as u128),
        None => broken("address type", name),
    }
}

pub(super) fn hops(part: &Part, field: Field) -> Understood<Vec<Statement>> {
    each(part, |choice| {
        let operator = match choice.name.as_str() {
            "ttl" | "ttl-eq" | "hl-eq" => equal_or_not(choice.negated),
            "ttl-lt" | "hl-lt" => Operator::Less,
            "ttl-gt" | "hl-gt" => Operator::Greater,
            _ => return Err(Fault::NotUnderstood),
        };
        Ok(Statement::Match(compare(field, operator, exactly(number(one(choice)?)?.into()))))
    })
}

pub(super) fn address_range(choice: &Choice, context: Context<'_>) -> Understood<Statement> {
    let (source, destination) = address_fields(context.ipv6);
    let field = match choice.name.as_str() {
        "src-range" => source,
        "dst-range" => destination,
        _ => return Err(Fault::NotUnderstood),
    };
    let text = one(choice)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = super::values::address_number(super::values::address(first, context.ipv6)?);
    let last = super::values::address_number(super::values::address(last, context.ipv6)?);
    Ok(Statement::Match(compare(field, equal_or_not(choice.negated), Pattern::Range(first, last))))
}
