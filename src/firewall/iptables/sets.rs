//! `-m set --match-set NAME src,dst`: which fields of the packet an ipset is asked for.

use std::sync::Arc;

use super::matches::{Context, address_fields};
use super::values::{Fault, Understood, number_expression};
use super::words::Part;
use crate::firewall::ipset::{Ipset, KeyPart};
use crate::firewall::ruleset::{Expression, Field, Match, Operator, Pattern, Set, SetReference, Statement};

/// The statements of `-m set`. A set that was not read, or has a type that is not known, leaves the answer open.
pub(super) fn statements(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
    let mut statements = Vec::new();
    for choice in &part.choices {
        match choice.name.as_str() {
            "match-set" => {}
            "update-counters" | "update-subcounters" => continue,
            _ => return Err(Fault::NotUnderstood),
        }
        let [name, flags] = choice.values.as_slice() else {
            return Err(Fault::Broken("match-set needs a name and directions".to_owned()));
        };
        let directions = flags.split(',').map(is_source).collect::<Understood<Vec<_>>>()?;
        let questions = questions(name, &directions, context)?;
        statements.push(if choice.negated { Statement::NoneOf(questions) } else { Statement::AnyOf(questions) });
    }
    Ok(statements)
}

fn is_source(text: &str) -> Understood<bool> {
    match text {
        "src" => Ok(true),
        "dst" => Ok(false),
        _ => Err(Fault::Broken(format!("{text:?} is no direction of a set"))),
    }
}

/// What the kernel asks, of the set itself or of each member of a list.
fn questions(name: &str, directions: &[bool], context: Context<'_>) -> Understood<Vec<Match>> {
    let set = context.ipsets.get(name).ok_or(Fault::NotUnderstood)?;
    let Some(members) = &set.members else { return of_set(name, set, directions, context) };
    if set.set.dynamic {
        return Err(Fault::NotUnderstood);
    }
    let mut found = Vec::new();
    for member in members {
        let set = context.ipsets.get(member).ok_or(Fault::NotUnderstood)?;
        if set.members.is_some() {
            return Err(Fault::NotUnderstood);
        }
        found.extend(of_set(member, set, directions, context)?);
    }
    Ok(found)
}

fn of_set(name: &str, set: &Ipset, directions: &[bool], context: Context<'_>) -> Understood<Vec<Match>> {
    if set.parts.is_empty() {
        return Err(Fault::NotUnderstood);
    }
    // The kernel finds nothing in a set of the other family, or of more dimensions than the rule gives directions.
    if directions.len() < set.parts.len() || set.ipv6.is_some_and(|ipv6| ipv6 != context.ipv6) {
        return Ok(Vec::new());
    }
    let asked = |port: PortKey| {
        let mut fields = Vec::new();
        for (part, source) in set.parts.iter().zip(directions) {
            key(*part, *source, port, context, &mut fields);
        }
        let left = if fields.len() == 1 { fields.remove(0) } else { Expression::Concatenation(fields) };
        let right = Pattern::Set(SetReference::Ipset(name.to_owned()));
        Match { left, operator: Operator::Equal, right }
    };
    let mut found = vec![asked(PortKey::Port)];
    if set.parts.contains(&KeyPart::ProtocolPort) {
        let (icmp, other) = protocols_without_ports(&set.set);
        if icmp {
            found.push(asked(PortKey::Icmp));
        }
        if other {
            return Err(Fault::NotUnderstood);
        }
    }
    Ok(found)
}

/// What stands in a port's place: ICMP has type and code there (ip_set_getport.c).
#[derive(Clone, Copy)]
enum PortKey {
    Port,
    Icmp,
}

fn key(part: KeyPart, source: bool, port: PortKey, context: Context<'_>, fields: &mut Vec<Expression>) {
    let (from, to) = address_fields(context.ipv6);
    let pick =
        |source_field, destination_field| Expression::Field(if source { source_field } else { destination_field });
    match part {
        KeyPart::Address => fields.push(pick(from, to)),
        KeyPart::Port => fields.push(pick(Field::SourcePort(None), Field::DestinationPort(None))),
        KeyPart::ProtocolPort => {
            fields.push(Expression::Field(Field::TransportProtocol));
            fields.push(match port {
                PortKey::Port => pick(Field::SourcePort(None), Field::DestinationPort(None)),
                PortKey::Icmp => {
                    let (kind, code) = if context.ipv6 {
                        (Field::Icmp6Type, Field::Icmp6Code)
                    } else {
                        (Field::IcmpType, Field::IcmpCode)
                    };
                    Expression::Or(
                        Box::new(Expression::ShiftLeft(
                            Box::new(Expression::Field(kind)),
                            Box::new(number_expression(8)),
                        )),
                        Box::new(Expression::Field(code)),
                    )
                }
            });
        }
        KeyPart::Mac => fields.push(pick(Field::EtherSource, Field::EtherDestination)),
        KeyPart::Interface => fields.push(pick(Field::InputInterface, Field::OutputInterface)),
        KeyPart::PhysicalInterface => fields.push(pick(Field::PhysicalInput, Field::PhysicalOutput)),
        KeyPart::Mark { mask } => fields.push(super::values::masked(Field::Mark, mask.into(), 32)),
    }
}

/// Whether elements are for ICMP, and whether any is for another protocol that has no ports.
fn protocols_without_ports(set: &Arc<Set>) -> (bool, bool) {
    let Some(index) = set.key_types.iter().position(|kind| kind == "inet_proto") else { return (false, false) };
    let (mut icmp, mut other) = (false, false);
    for element in &set.elements {
        let Pattern::Concatenation(parts) = &element.key else { continue };
        if let Some(Pattern::Exactly(crate::firewall::ruleset::Datum::Number(protocol))) = parts.get(index) {
            match protocol {
                6 | 17 | 132 | 136 => {}
                1 | 58 => icmp = true,
                _ => other = true,
            }
        }
    }
    (icmp, other)
}
