//! Expressions and values.

use std::fmt::Write as _;

use super::super::json::Value;
use super::json;

/// How nft writes the values of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    /// `0x00000012`.
    Mark,
    /// `0x12`.
    Hex,
    /// `1m30s`.
    Duration,
}

impl Style {
    /// Of what is compared with this expression.
    pub(super) fn of(expression: &Value) -> Self {
        let Some((name, body)) = only(expression) else { return Self::Plain };
        let key = || body.get("key").and_then(Value::as_str).unwrap_or_default();
        match name {
            "meta" => match key() {
                "mark" => Self::Mark,
                "iif" | "oif" | "iifname" | "oifname" | "ibrname" | "obrname" | "iifkind" | "oifkind" | "day"
                | "hour" | "time" => Self::Quoted,
                _ => Self::Plain,
            },
            "ct" => match key() {
                "mark" => Self::Mark,
                "helper" => Self::Quoted,
                "expiration" => Self::Duration,
                _ => Self::Plain,
            },
            "socket" if key() == "mark" => Self::Mark,
            "osf" => Self::Quoted,
            "fib" => match body.get("result").and_then(Value::as_str) {
                Some("oif" | "oifname") => Self::Quoted,
                _ => Self::Plain,
            },
            "payload" if body.get("base").is_some() => Self::Hex,
            "&" | "|" | "^" => body.at(0).map_or(Self::Plain, Self::of),
            _ => Self::Plain,
        }
    }

    /// One a part of a concatenation.
    fn of_parts(expression: &Value) -> Vec<Self> {
        match only(expression) {
            Some(("concat", Value::Array(parts))) => parts.iter().map(Self::of).collect(),
            _ => vec![Self::of(expression)],
        }
    }
}

/// Name and body of an object with one member.
pub(super) fn only<'a>(value: &'a Value<'a>) -> Option<(&'a str, &'a Value<'a>)> {
    value.as_object()?.only()
}

/// An expression, or a value in this style.
pub(super) fn write(text: &mut String, style: Style, value: &Value) {
    write_parts(text, &[style], value);
}

/// A value compared with, or mapped from, this expression.
pub(super) fn write_compared(text: &mut String, expression: &Value, value: &Value) {
    match only(expression) {
        Some(("concat", _)) => write_parts(text, &Style::of_parts(expression), value),
        _ => write_parts(text, &[Style::of(expression)], value),
    }
}

fn write_parts(text: &mut String, styles: &[Style], value: &Value) {
    let style = styles.first().copied().unwrap_or(Style::Plain);
    match value {
        Value::String(word) => match style {
            Style::Quoted if !(word.starts_with('@') || word == "*") => {
                text.push('"');
                text.push_str(word);
                text.push('"');
            }
            _ => text.push_str(word),
        },
        Value::Number(number) => {
            if let (Style::Duration, Some(seconds)) = (style, number.as_u64()) {
                return duration(text, seconds);
            }
            let _ = match (style, number.as_u64()) {
                (Style::Mark, Some(number)) => write!(text, "{number:#010x}"),
                (Style::Hex, Some(number)) => write!(text, "{number:#x}"),
                _ => write!(text, "{number}"),
            };
        }
        Value::Bool(true) => text.push_str("exists"),
        Value::Bool(false) => text.push_str("missing"),
        Value::Array(values) => separated(text, ",", values, |text, value| write(text, style, value)),
        Value::Object(object) => match object.only() {
            Some((name, body)) => {
                if !named(text, styles, name, body) {
                    json(text, value);
                }
            }
            None => json(text, value),
        },
        Value::Null => json(text, value),
    }
}

pub(super) fn separated<'a, T: 'a>(
    text: &mut String,
    separator: &str,
    values: impl IntoIterator<Item = &'a T>,
    mut one: impl FnMut(&mut String, &'a T),
) {
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        one(text, value);
    }
}

/// `false`: not known, and nothing was written.
fn named(text: &mut String, styles: &[Style], name: &str, body: &Value) -> bool {
    let style = styles.first().copied().unwrap_or(Style::Plain);
    let word = |key: &str| body.get(key).and_then(Value::as_str);
    match name {
        "payload" => match (word("base"), word("protocol"), word("field")) {
            (Some(base), ..) => {
                let number = |key| body.get(key).and_then(Value::as_u64).unwrap_or_default();
                let _ = write!(text, "@{base},{},{}", number("offset"), number("len"));
            }
            (None, Some(protocol), Some(field)) => push(text, &[protocol, field]),
            _ => return false,
        },
        "meta" => match word("key") {
            Some(key @ ("iif" | "oif" | "iifname" | "oifname" | "iifgroup" | "oifgroup")) => text.push_str(key),
            Some(key) => push(text, &["meta", key]),
            None => return false,
        },
        "ct" => match (word("dir"), word("key")) {
            // What has no meaning without a direction is printed without one where nft knows only one.
            (Some(direction), Some(key)) => push(text, &["ct", direction, key]),
            (None, Some(key)) => push(text, &["ct", key]),
            _ => return false,
        },
        "fib" => {
            let Some(result) = word("result") else { return false };
            text.push_str("fib ");
            match body.get("flags") {
                Some(Value::Array(flags)) => {
                    separated(text, " . ", flags, |text, flag| write(text, Style::Plain, flag))
                }
                Some(flag) => write(text, Style::Plain, flag),
                None => return false,
            }
            push(text, &["", result]);
        }
        "rt" | "socket" | "osf" => {
            let Some(key) = word("key") else { return false };
            match word("family") {
                Some(family) => push(text, &[name, family, key]),
                None => push(text, &[name, key]),
            }
        }
        "ipsec" => match (word("dir"), word("key")) {
            (Some(direction), Some(key)) => push(text, &["ipsec", direction, key]),
            _ => return false,
        },
        "exthdr" => match (word("name"), word("field")) {
            (Some(name), Some(field)) => push(text, &[name, field]),
            (Some(name), None) => push(text, &["exthdr", name]),
            _ => return false,
        },
        "tcp option" | "ip option" | "sctp chunk" | "dccp option" => match (word("name"), word("field")) {
            (Some(option), Some(field)) => push(text, &[name, option, field]),
            (Some(option), None) => push(text, &[name, option]),
            _ => return false,
        },
        "numgen" | "jhash" | "symhash" => generator(text, name, body),
        "concat" => match body {
            Value::Array(parts) => {
                let style = |at: usize| styles.get(at).copied().unwrap_or(Style::Plain);
                separated(text, " . ", parts.iter().enumerate().collect::<Vec<_>>().iter(), |text, (at, part)| {
                    write(text, style(*at), part);
                });
            }
            _ => return false,
        },
        "range" => match body.as_array() {
            Some([first, last]) => {
                write(text, style, first);
                text.push('-');
                write(text, style, last);
            }
            _ => return false,
        },
        "prefix" => match body.get("addr").zip(body.get("len")) {
            Some((address, length)) => {
                write(text, style, address);
                let _ = write!(text, "/{length}");
            }
            None => return false,
        },
        "set" => match body {
            Value::Array(elements) => set(text, styles, elements),
            single => write(text, style, single),
        },
        "elem" => return element(text, styles, body),
        "map" => match body.get("key").zip(body.get("data")) {
            Some((key, data)) => {
                write(text, Style::Plain, key);
                text.push_str(" map ");
                mapping(text, key, style, data);
            }
            None => return false,
        },
        "&" | "|" | "^" | "<<" | ">>" => return operation(text, style, name, body),
        "accept" | "drop" | "return" | "continue" | "queue" => text.push_str(name),
        "jump" | "goto" => match word("target") {
            Some(target) => push(text, &[name, target]),
            None => return false,
        },
        _ => return false,
    }
    true
}

fn push(text: &mut String, words: &[&str]) {
    separated(text, " ", words, |text, word| text.push_str(word));
}

fn generator(text: &mut String, name: &str, body: &Value) {
    text.push_str(name);
    if let Some(mode) = body.get("mode").and_then(Value::as_str) {
        push(text, &["", mode]);
    }
    if let Some(of) = body.get("expr") {
        text.push(' ');
        write(text, Style::Plain, of);
    }
    let number = |key| body.get(key).and_then(Value::as_u64);
    if let Some(modulus) = number("mod") {
        let _ = write!(text, " mod {modulus}");
    }
    if let Some(seed) = number("seed") {
        let _ = write!(text, " seed {seed:#x}");
    }
    if let Some(offset) = number("offset").filter(|offset| *offset > 0) {
        let _ = write!(text, " offset {offset}");
    }
}

/// `{ 22, 80-90 }`; a pair is an element of a map.
fn set(text: &mut String, styles: &[Style], elements: &[Value]) {
    text.push_str("{ ");
    separated(text, ", ", elements, |text, element| match element {
        Value::Array(pair) if pair.len() == 2 => {
            write_parts(text, styles, &pair[0]);
            text.push_str(" : ");
            write(text, Style::Plain, &pair[1]);
        }
        element => write_parts(text, styles, element),
    });
    text.push_str(" }");
}

/// The data of a map: its name or its elements, whose values are in this style.
pub(super) fn mapping(text: &mut String, key: &Value, style: Style, data: &Value) {
    match data.get("set").and_then(Value::as_array) {
        Some(elements) => {
            let keys = Style::of_parts(key);
            text.push_str("{ ");
            separated(text, ", ", elements, |text, element| match element {
                Value::Array(pair) if pair.len() == 2 => {
                    write_parts(text, &keys, &pair[0]);
                    text.push_str(" : ");
                    write(text, style, &pair[1]);
                }
                element => json(text, element),
            });
            text.push_str(" }");
        }
        None => write(text, Style::Plain, data),
    }
}

/// An element with its time-out and comment.
fn element(text: &mut String, styles: &[Style], body: &Value) -> bool {
    let Some(key) = body.get("val") else { return false };
    write_parts(text, styles, key);
    if let Some(seconds) = body.get("timeout").and_then(Value::as_u64) {
        text.push_str(" timeout ");
        duration(text, seconds);
    }
    if let Some(comment) = body.get("comment").and_then(Value::as_str) {
        let _ = write!(text, " comment \"{comment}\"");
    }
    true
}

/// `1h30m`.
fn duration(text: &mut String, seconds: u64) {
    let parts = [(seconds / 86_400, 'd'), (seconds / 3600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    if seconds == 0 {
        text.push_str("0s");
    }
    for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, "{count}{unit}");
    }
}

/// `meta mark & 0xff ^ 0x2`: and binds before exclusive or, which binds before or.
fn operation(text: &mut String, style: Style, sign: &str, body: &Value) -> bool {
    let Some((first, rest)) = body.as_array().and_then(|operands| operands.split_first()) else { return false };
    let style = match (sign, Style::of(first)) {
        ("<<" | ">>", _) => Style::Plain,
        (_, Style::Plain) => style,
        (_, own) => own,
    };
    operand(text, style, sign, first);
    for next in rest {
        push(text, &["", sign, ""]);
        operand(text, style, sign, next);
    }
    true
}

fn operand(text: &mut String, style: Style, outside: &str, value: &Value) {
    let binds = |sign: &str| ["|", "^", "&", "<<", ">>"].iter().position(|known| *known == sign);
    let open = match value {
        Value::Array(_) => true,
        _ => only(value).and_then(|(sign, _)| binds(sign)).is_some_and(|inside| Some(inside) < binds(outside)),
    };
    if open {
        text.push('(');
    }
    match value {
        Value::Array(bits) => separated(text, " | ", bits, |text, bit| write(text, style, bit)),
        value => write(text, style, value),
    }
    if open {
        text.push(')');
    }
}
