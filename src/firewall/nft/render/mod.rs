//! A rule as `nft list ruleset` prints it, from its JSON; counters are left out.
//!
//! For people, and to name what is not known: nothing is decided by these texts. What this version cannot print is shown
//! as the JSON it is.

mod statement;
mod value;

use std::fmt::Write as _;

use self::value::Style;
use super::json::Value;
use crate::firewall::ruleset::Family;

/// All statements of a rule.
pub(super) fn rule(family: Family, statements: &[Value<'_>], comment: Option<&str>) -> String {
    let mut text = String::with_capacity(64);
    for value in statements {
        let before = text.len();
        if before > 0 {
            text.push(' ');
        }
        let start = text.len();
        statement::write(&mut text, Some(family), value);
        if text.len() == start {
            text.truncate(before);
        }
    }
    if let Some(comment) = comment {
        let _ = write!(text, " comment \"{comment}\"");
    }
    text
}

/// One statement.
pub(super) fn statement(value: &Value) -> String {
    let mut text = String::new();
    statement::write(&mut text, None, value);
    text
}

/// The body of a match.
pub(super) fn comparison(body: &Value) -> String {
    let mut text = String::new();
    statement::comparison(&mut text, body);
    text
}

/// An expression or a value.
pub(super) fn expression(value: &Value) -> String {
    let mut text = String::new();
    value::write(&mut text, Style::Plain, value);
    text
}

/// What there are no words for.
fn json(text: &mut String, value: &Value) {
    let _ = write!(text, "{value}");
}
