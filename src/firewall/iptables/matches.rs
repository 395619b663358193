//! What the matches of a rule mean (iptables-extensions(8), MATCH EXTENSIONS).

use super::connections::{conntrack, marked};
use super::headers::{address_range, address_types, hops, multiport, transport};
use super::sets;
use super::surroundings::{owner, packet_type, physdev, recent, reverse_path, socket, statistic};
use super::values::{
    Fault, Understood, compare, equal_or_not, exactly, in_network, interface, mac, masked, number, number_range, ones,
    protocol,
};
use super::words::{Choice, PROTOCOL_PART, Part};
use crate::firewall::ipset::Catalogue;
use crate::firewall::ruleset::{Expression, Field, Match, Operator, Statement};

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
pub(super) fn each(part: &Part, meaning: impl Fn(&Choice) -> Understood<Statement>) -> Understood<Vec<Statement>> {
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
pub(super) fn negatable(choice: &Choice, found: Match) -> Statement {
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

/// The mark bits that an option leaves alone.
pub(super) const fn other_bits(mask: u128) -> u128 {
    !mask & ones(32)
}
