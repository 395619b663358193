//! What the matches of a rule mean (iptables-extensions(8), MATCH EXTENSIONS).

use super::sets;
use super::values::{
    Fault, Understood, any_pattern, broken, compare, equal_or_not, exactly, icmp, in_network, interface, mac, mark,
    masked, number, number_range, ones, port_range, protocol,
};
use super::words::{Choice, PROTOCOL_PART, Part};
use crate::firewall::ipset::Catalogue;
use crate::firewall::ruleset::{Datum, Expression, Field, Match, Operator, Pattern, Statement};
use crate::model::Transport;

/// What a match is read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub ipv6: bool,
    /// Of `-p`, when not negated.
    pub protocol: Option<u8>,
    pub ipsets: &'a Catalogue,
}

/// The statements of a match; one that is not known is kept with its text.
pub(super) fn statements(part: &Part, context: Context<'_>) -> Result<Vec<Statement>, String> {
    let understood =
        if part.text.contains("[unsupported") { Err(Fault::NotUnderstood) } else { meaning(part, context) };
    match understood {
        Ok(statements) => Ok(statements),
        Err(Fault::NotUnderstood) => Ok(vec![Statement::Match(unknown(&part.text))]),
        Err(Fault::Broken(why)) => Err(why),
    }
}

/// The options before all matches: addresses, interfaces, protocol, fragments.
pub(super) fn basic(choice: &Choice, context: Context<'_>) -> Result<Vec<Statement>, String> {
    let understood = basic_meaning(choice, context);
    match understood {
        Ok(statement) => Ok(statement.into_iter().collect()),
        Err(Fault::NotUnderstood) => Ok(vec![Statement::Match(unknown(&choice.to_string()))]),
        Err(Fault::Broken(why)) => Err(why),
    }
}

/// A match whose outcome is not known.
pub(super) fn unknown(text: &str) -> Match {
    Match { left: Expression::Unknown(text.to_owned()), operator: Operator::Equal, right: exactly(1) }
}

fn basic_meaning(choice: &Choice, context: Context<'_>) -> Understood<Option<Statement>> {
    if choice.name == "f" {
        // Only later fragments have an offset.
        let offset = masked(Field::IpFragmentOffset, 0x1fff, 16);
        let operator = equal_or_not(!choice.negated);
        return Ok(Some(Statement::Match(Match { left: offset, operator, right: exactly(0) })));
    }
    let value = one(choice)?;
    let negated = choice.negated;
    let (source, destination) = address_fields(context.ipv6);
    Ok(match choice.name.as_str() {
        "s" => in_network(source, value, context.ipv6, negated)?.map(Statement::Match),
        "d" => in_network(destination, value, context.ipv6, negated)?.map(Statement::Match),
        "i" => named_interface(Field::InputInterface, value, negated),
        "o" => named_interface(Field::OutputInterface, value, negated),
        _ => match protocol(value)? {
            0 if negated => return Err(Fault::NotUnderstood),
            0 => None,
            number => {
                Some(Statement::Match(compare(Field::TransportProtocol, equal_or_not(negated), exactly(number.into()))))
            }
        },
    })
}

fn meaning(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
    match part.name.as_str() {
        PROTOCOL_PART | "dccp" | "icmp" | "icmp6" | "icmpv6" | "sctp" | "tcp" | "udp" | "udplite" => {
            each(part, |choice| transport(choice, context))
        }
        "addrtype" => address_types(part, context),
        "comment" => Ok(Vec::new()),
        "connlimit" | "connbytes" | "hashlimit" | "limit" | "nth" | "quota" | "random" => {
            Ok(vec![Statement::Perhaps(part.text.clone())])
        }
        "connmark" => marked(part, Field::ConnectionMark),
        "conntrack" => conntrack(part, context),
        "dscp" => each(part, |choice| match choice.name.as_str() {
            "dscp" => {
                Ok(negatable(choice, compare(Field::IpDscp, Operator::Equal, exactly(number(one(choice)?)?.into()))))
            }
            _ => Err(Fault::NotUnderstood),
        }),
        "hl" => hops(part, Field::Ip6HopLimit),
        "iprange" => each(part, |choice| address_range(choice, context)),
        "length" => each(part, |choice| match choice.name.as_str() {
            "length" => {
                Ok(negatable(choice, compare(Field::Length, Operator::Equal, number_range(one(choice)?, ':')?)))
            }
            _ => Err(Fault::NotUnderstood),
        }),
        "mac" => each(part, |choice| match choice.name.as_str() {
            "mac-source" => {
                Ok(negatable(choice, compare(Field::EtherSource, Operator::Equal, exactly(mac(one(choice)?)?))))
            }
            _ => Err(Fault::NotUnderstood),
        }),
        "mark" => marked(part, Field::Mark),
        "multiport" => each(part, |choice| multiport(choice, context)),
        "owner" => each(part, owner),
        "physdev" => each(part, physdev),
        "pkttype" => each(part, packet_type),
        "recent" => recent(part),
        "rpfilter" => reverse_path(part),
        // The packets that are asked about are plain ones: no extension header is in them.
        "dst" | "frag" | "hbh" | "rt" if context.ipv6 => Ok(vec![Statement::AnyOf(Vec::new())]),
        "set" => sets::statements(part, context),
        "socket" => socket(part),
        "state" => conntrack(part, context),
        "statistic" => statistic(part),
        "ttl" => hops(part, Field::IpTtl),
        _ => Err(Fault::NotUnderstood),
    }
}

/// Statements of each option.
fn each(part: &Part, meaning: impl Fn(&Choice) -> Understood<Statement>) -> Understood<Vec<Statement>> {
    part.choices.iter().map(meaning).collect()
}

/// The one value of an option.
pub(super) fn one(choice: &Choice) -> Understood<&str> {
    match choice.values.as_slice() {
        [value] => Ok(value),
        _ => Err(Fault::Broken(format!("{} needs one value", choice.name))),
    }
}

/// A match that passes packets without the field when negated.
fn negatable(choice: &Choice, found: Match) -> Statement {
    if choice.negated { Statement::NoneOf(vec![found]) } else { Statement::Match(found) }
}

pub(super) const fn address_fields(ipv6: bool) -> (Field, Field) {
    if ipv6 { (Field::Ip6Source, Field::Ip6Destination) } else { (Field::IpSource, Field::IpDestination) }
}

/// An interface may be absent (no output interface is known in PREROUTING): iptables compares with an empty name then.
fn named_interface(field: Field, name: &str, negated: bool) -> Option<Statement> {
    match (interface(name), negated) {
        (None, false) => None,
        (None, true) => Some(Statement::AnyOf(Vec::new())),
        (Some(pattern), false) => Some(Statement::Match(compare(field, Operator::Equal, pattern))),
        (Some(pattern), true) => Some(Statement::NoneOf(vec![compare(field, Operator::Equal, pattern)])),
    }
}

/// The transport whose ports `-p` lets a rule look at.
fn ports_of(context: Context<'_>) -> Option<Transport> {
    match context.protocol {
        Some(6) => Some(Transport::Tcp),
        Some(17) => Some(Transport::Udp),
        _ => None,
    }
}

fn transport(choice: &Choice, context: Context<'_>) -> Understood<Statement> {
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

fn multiport(choice: &Choice, context: Context<'_>) -> Understood<Statement> {
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
fn address_types(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
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

/// `-m conntrack` and `-m state` (xt_conntrack.c).
fn conntrack(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
    let mut statements = Vec::new();
    for choice in &part.choices {
        let operator = equal_or_not(choice.negated);
        let value = one(choice)?;
        let endpoint = |field| -> Understood<Option<Statement>> {
            Ok(in_network(field, value, context.ipv6, choice.negated)?.map(Statement::Match))
        };
        let port = |field| -> Understood<Option<Statement>> {
            Ok(Some(Statement::Match(compare(field, operator, port_range(value)?))))
        };
        let statement = match choice.name.as_str() {
            "ctstate" | "state" => Some(connection_states(value, choice.negated)?),
            "ctproto" => {
                let number = protocol(value)?;
                Some(Statement::Match(compare(Field::OriginalProtocol, operator, exactly(number.into()))))
            }
            "ctorigsrc" => endpoint(Field::OriginalSource)?,
            "ctorigdst" => endpoint(Field::OriginalDestination)?,
            "ctreplsrc" => endpoint(Field::ReplySource)?,
            "ctrepldst" => endpoint(Field::ReplyDestination)?,
            "ctorigsrcport" => port(Field::OriginalSourcePort)?,
            "ctorigdstport" => port(Field::OriginalDestinationPort)?,
            "ctreplsrcport" => port(Field::ReplySourcePort)?,
            "ctrepldstport" => port(Field::ReplyDestinationPort)?,
            "ctstatus" => Some(connection_status(value, choice.negated)?),
            "ctdir" => {
                let direction = match value.to_ascii_uppercase().as_str() {
                    "ORIGINAL" => 0,
                    "REPLY" => 1,
                    _ => return broken("direction", value),
                };
                Some(Statement::Match(compare(Field::ConnectionDirection, operator, exactly(direction))))
            }
            _ => return Err(Fault::NotUnderstood),
        };
        statements.extend(statement);
    }
    // Packets without a connection (invalid, untracked) pass all other questions when the state question admits them;
    // a plain address or port question would not match them. Only the state itself is then certain.
    let admits = part.choices.iter().any(|choice| {
        matches!(choice.name.as_str(), "ctstate")
            && !choice.negated
            && choice.values.iter().any(|value| value.split(',').any(|state| matches!(state, "INVALID" | "UNTRACKED")))
    });
    if admits && part.choices.len() > 1 { Err(Fault::NotUnderstood) } else { Ok(statements) }
}

/// States are bits of `ct state`; SNAT and DNAT are bits of `ct status`.
fn connection_states(list: &str, negated: bool) -> Understood<Statement> {
    let (mut states, mut status) = (0, 0);
    for name in list.split(',') {
        match name.to_ascii_uppercase().as_str() {
            "INVALID" => states |= 1,
            "ESTABLISHED" => states |= 2,
            "RELATED" => states |= 4,
            "NEW" => states |= 8,
            "UNTRACKED" => states |= 64,
            "SNAT" => status |= 0x10,
            "DNAT" => status |= 0x20,
            _ => return broken("connection state", name),
        }
    }
    let mut questions = Vec::new();
    if states != 0 {
        questions.push(compare(Field::ConnectionState, Operator::AnyBit, exactly(states)));
    }
    if status != 0 {
        questions.push(compare(Field::ConnectionStatus, Operator::AnyBit, exactly(status)));
    }
    Ok(match (questions.pop(), negated) {
        (Some(only), false) if questions.is_empty() => Statement::Match(only),
        (last, negated) => {
            questions.extend(last);
            if negated { Statement::NoneOf(questions) } else { Statement::AnyOf(questions) }
        }
    })
}

/// IPS_* of nf_conntrack_common.h.
fn connection_status(list: &str, negated: bool) -> Understood<Statement> {
    let mut bits = 0;
    for name in list.split(',') {
        bits |= match name.to_ascii_uppercase().as_str() {
            "EXPECTED" => 0x01,
            "SEEN_REPLY" => 0x02,
            "ASSURED" => 0x04,
            "CONFIRMED" => 0x08,
            "NONE" => 0,
            _ => return broken("connection status", name),
        };
    }
    let operator = if negated { Operator::NoBit } else { Operator::AnyBit };
    Ok(Statement::Match(compare(Field::ConnectionStatus, operator, exactly(bits))))
}

fn marked(part: &Part, field: Field) -> Understood<Vec<Statement>> {
    each(part, |choice| match choice.name.as_str() {
        "mark" => {
            let (value, mask) = mark(one(choice)?)?;
            let found =
                Match { left: masked(field, mask, 32), operator: equal_or_not(choice.negated), right: exactly(value) };
            Ok(Statement::Match(found))
        }
        _ => Err(Fault::NotUnderstood),
    })
}

fn hops(part: &Part, field: Field) -> Understood<Vec<Statement>> {
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

fn address_range(choice: &Choice, context: Context<'_>) -> Understood<Statement> {
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

/// A packet from outside has no owner: it passes negated questions only (xt_owner.c).
fn owner(choice: &Choice) -> Understood<Statement> {
    let field = match choice.name.as_str() {
        "uid-owner" => Field::SocketOwner,
        "gid-owner" => Field::SocketGroup,
        _ => return Err(Fault::NotUnderstood),
    };
    let value = one(choice)?;
    if !value.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(Fault::NotUnderstood);
    }
    Ok(negatable(choice, compare(field, Operator::Equal, number_range(value, '-')?)))
}

/// A packet that no bridge port brought passes negated questions only (xt_physdev.c).
fn physdev(choice: &Choice) -> Understood<Statement> {
    // No name is the name of no port.
    let is_there =
        |field| negatable(choice, compare(field, Operator::NotEqual, Pattern::Exactly(Datum::Name(String::new()))));
    let port = |field| -> Understood<Statement> {
        Ok(match interface(one(choice)?) {
            Some(pattern) => negatable(choice, compare(field, Operator::Equal, pattern)),
            None => is_there(field),
        })
    };
    match choice.name.as_str() {
        "physdev-in" => port(Field::PhysicalInput),
        "physdev-out" => port(Field::PhysicalOutput),
        "physdev-is-in" => Ok(is_there(Field::PhysicalInput)),
        "physdev-is-out" => Ok(is_there(Field::PhysicalOutput)),
        "physdev-is-bridged" => Ok(negatable(choice, compare(Field::IsBridged, Operator::Equal, exactly(1)))),
        _ => Err(Fault::NotUnderstood),
    }
}

fn packet_type(choice: &Choice) -> Understood<Statement> {
    let kind = match (choice.name.as_str(), one(choice)?) {
        ("pkt-type", "unicast" | "host") => 0,
        ("pkt-type", "broadcast") => 1,
        ("pkt-type", "multicast") => 2,
        _ => return Err(Fault::NotUnderstood),
    };
    Ok(Statement::Match(compare(Field::PacketType, equal_or_not(choice.negated), exactly(kind))))
}

/// `--set` alone notes the address and always matches (xt_recent.c); the others ask a list that the dump does not tell.
fn recent(part: &Part) -> Understood<Vec<Statement>> {
    let sets = part.choices.iter().any(|choice| choice.name == "set" && !choice.negated);
    Ok(vec![if sets { Statement::Passive(part.text.clone()) } else { Statement::Perhaps(part.text.clone()) }])
}

/// `-m rpfilter`: matches what the way back confirms (xt_rpfilter.c).
fn reverse_path(part: &Part) -> Understood<Vec<Statement>> {
    let mut inverted = false;
    for choice in &part.choices {
        match choice.name.as_str() {
            "invert" => inverted = true,
            // The mark takes part in the look-up, as it does in the kernel's own.
            "validmark" => {}
            _ => return Err(Fault::NotUnderstood),
        }
    }
    let fails = compare(Field::FibSourceInterface, Operator::Equal, exactly(0));
    Ok(vec![if inverted { Statement::Match(fails) } else { Statement::NoneOf(vec![fails]) }])
}

fn socket(part: &Part) -> Understood<Vec<Statement>> {
    match part.choices.as_slice() {
        [choice] if choice.name == "transparent" => {
            Ok(vec![Statement::Match(compare(Field::SocketTransparent, Operator::Equal, exactly(1)))])
        }
        _ => Err(Fault::NotUnderstood),
    }
}

/// kube-proxy's last endpoint has probability 1.
fn statistic(part: &Part) -> Understood<Vec<Statement>> {
    let certain = part.choices.iter().any(|choice| {
        let full = choice.values.first().and_then(|value| value.parse::<f64>().ok()).is_some_and(|value| value >= 1.0);
        choice.name == "probability" && !choice.negated && full
    });
    Ok(vec![if certain { Statement::Passive(part.text.clone()) } else { Statement::Perhaps(part.text.clone()) }])
}

/// The mark bits that an option leaves alone.
pub(super) const fn other_bits(mask: u128) -> u128 {
    !mask & ones(32)
}
