//! Matches of the connection that a packet belongs to, and of marks.

use super::matches::{Context, each, one};
use super::values::{
    Fault, Understood, broken, compare, equal_or_not, exactly, in_network, mark, masked, port_range, protocol,
};
use super::words::Part;
use crate::firewall::ruleset::{Field, Match, Operator, Statement};

/// `-m conntrack` and `-m state` (xt_conntrack.c).
pub(super) fn conntrack(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
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

pub(super) fn marked(part: &Part, field: Field) -> Understood<Vec<Statement>> {
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
