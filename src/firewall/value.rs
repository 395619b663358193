//! Three-valued values and comparisons.

use super::lookup::prefix_bounds;
use super::ruleset::{Datum, Operator, Pattern};

/// A value of an expression for a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Number(u128),
    Name(&'a str),
    /// Of a concatenation.
    Many(Vec<Value<'a>>),
    /// The packet has no such field: no rule that asks for it matches.
    Missing,
    /// With what is not known.
    Unknown(String),
}

impl Value<'_> {
    /// As a datum, where it is one that is known.
    pub fn datum(&self) -> Option<Datum> {
        match self {
            Self::Number(number) => Some(Datum::Number(*number)),
            Self::Name(name) => Some(Datum::Name((*name).to_owned())),
            Self::Many(_) | Self::Missing | Self::Unknown(_) => None,
        }
    }
}

/// Result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    Yes,
    No,
    /// With what is not known.
    Unknown(String),
}

impl Truth {
    pub const fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn negated(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            unknown => unknown,
        }
    }
}

/// Compares a value. `in_pattern` tells whether the value is what a pattern says.
pub fn compare(
    value: &Value<'_>,
    operator: Operator,
    pattern: &Pattern,
    in_pattern: impl Fn(&Value<'_>, &Pattern) -> Truth,
) -> Truth {
    match value {
        Value::Missing => return Truth::No,
        Value::Many(parts) if parts.contains(&Value::Missing) => return Truth::No,
        _ => {}
    }
    let number = match value {
        Value::Number(number) => *number,
        _ => 0,
    };
    match operator {
        Operator::Equal => in_pattern(value, pattern),
        Operator::NotEqual => in_pattern(value, pattern).negated(),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            match (value, pattern) {
                (Value::Unknown(what), _) => Truth::Unknown(what.clone()),
                (Value::Number(_), Pattern::Exactly(Datum::Number(bound))) => Truth::of(match operator {
                    Operator::Less => number < *bound,
                    Operator::LessOrEqual => number <= *bound,
                    Operator::Greater => number > *bound,
                    _ => number >= *bound,
                }),
                _ => Truth::Unknown("a comparison of what is no number".to_owned()),
            }
        }
        Operator::AnyBit | Operator::NoBit => {
            let holds = match (value, bits(pattern)) {
                (Value::Unknown(what), _) => return Truth::Unknown(what.clone()),
                (Value::Number(_), Some(bits)) => number & bits != 0,
                _ => return Truth::Unknown("bits of what is no number".to_owned()),
            };
            Truth::of(holds == (operator == Operator::AnyBit))
        }
    }
}

/// Whether a value that is no part of a set lookup is what a scalar pattern says; `None`: the pattern is a set or a
/// concatenation.
pub fn scalar(value: &Value<'_>, pattern: &Pattern) -> Option<Truth> {
    let number = |test: &dyn Fn(u128) -> bool| match value {
        Value::Number(number) => Truth::of(test(*number)),
        Value::Missing => Truth::No,
        Value::Unknown(what) => Truth::Unknown(what.clone()),
        Value::Name(name) => Truth::Unknown(format!("the number of interface {name}")),
        Value::Many(_) => Truth::Unknown("a concatenation compared with a number".to_owned()),
    };
    Some(match pattern {
        Pattern::Any => match value {
            Value::Missing => Truth::No,
            _ => Truth::Yes,
        },
        Pattern::Exactly(Datum::Number(wanted)) => number(&|found| found == *wanted),
        Pattern::Prefix { value: wanted, length, width } => {
            let (low, high) = prefix_bounds(*wanted, *length, *width);
            if *length == 0 && !matches!(value, Value::Missing) {
                return Some(Truth::Yes);
            }
            number(&|found| (low..=high).contains(&found))
        }
        Pattern::Range(low, high) => number(&|found| (*low..=*high).contains(&found)),
        Pattern::Exactly(Datum::Name(wanted)) => named(value, |found| found == wanted),
        Pattern::NameStart(start) => named(value, |found| found.starts_with(start.as_str())),
        Pattern::Unknown(what) => match value {
            Value::Missing => Truth::No,
            _ => Truth::Unknown(what.clone()),
        },
        Pattern::Concatenation(_) | Pattern::Set(_) => return None,
    })
}

fn named(value: &Value<'_>, test: impl Fn(&str) -> bool) -> Truth {
    match value {
        Value::Name(found) => Truth::of(test(found)),
        Value::Missing => Truth::No,
        Value::Unknown(what) => Truth::Unknown(what.clone()),
        Value::Number(_) | Value::Many(_) => Truth::Unknown("a number compared with a name".to_owned()),
    }
}

/// The bits that a pattern names.
fn bits(pattern: &Pattern) -> Option<u128> {
    match pattern {
        Pattern::Exactly(Datum::Number(bits)) => Some(*bits),
        Pattern::Set(super::ruleset::SetReference::Anonymous(set)) => {
            set.elements.iter().try_fold(0, |all, element| Some(all | bits(&element.key)?))
        }
        _ => None,
    }
}
