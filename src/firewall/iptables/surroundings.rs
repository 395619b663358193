//! Matches of what is not in the packet: who sent it, by which bridge port it came, what was seen before.

use super::matches::{negatable, one};
use super::values::{Fault, Understood, compare, equal_or_not, exactly, interface, number_range};
use super::words::{Choice, Part};
use crate::firewall::ruleset::{Datum, Field, Operator, Pattern, Statement};

/// A packet from outside has no owner: it passes negated questions only (xt_owner.c).
pub(super) fn owner(choice: &Choice) -> Understood<Statement> {
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
pub(super) fn physdev(choice: &Choice) -> Understood<Statement> {
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

pub(super) fn packet_type(choice: &Choice) -> Understood<Statement> {
    let kind = match (choice.name.as_str(), one(choice)?) {
        ("pkt-type", "unicast" | "host") => 0,
        ("pkt-type", "broadcast") => 1,
        ("pkt-type", "multicast") => 2,
        _ => return Err(Fault::NotUnderstood),
    };
    Ok(Statement::Match(compare(Field::PacketType, equal_or_not(choice.negated), exactly(kind))))
}

/// `--set` alone notes the address and always matches (xt_recent.c); the others ask a list that the dump does not tell.
pub(super) fn recent(part: &Part) -> Understood<Vec<Statement>> {
    let sets = part.choices.iter().any(|choice| choice.name == "set" && !choice.negated);
    Ok(vec![if sets { Statement::Passive(part.text.clone()) } else { Statement::Perhaps(part.text.clone()) }])
}

/// `-m rpfilter`: matches what the way back confirms (xt_rpfilter.c).
pub(super) fn reverse_path(part: &Part) -> Understood<Vec<Statement>> {
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

pub(super) fn socket(part: &Part) -> Understood<Vec<Statement>> {
    match part.choices.as_slice() {
        [choice] if choice.name == "transparent" => {
            Ok(vec![Statement::Match(compare(Field::SocketTransparent, Operator::Equal, exactly(1)))])
        }
        _ => Err(Fault::NotUnderstood),
    }
}

/// kube-proxy's last endpoint has probability 1.
pub(super) fn statistic(part: &Part) -> Understood<Vec<Statement>> {
    let certain = part.choices.iter().any(|choice| {
        let full = choice.values.first().and_then(|value| value.parse::<f64>().ok()).is_some_and(|value| value >= 1.0);
        choice.name == "probability" && !choice.negated && full
    });
    Ok(vec![if certain { Statement::Passive(part.text.clone()) } else { Statement::Perhaps(part.text.clone()) }])
}
