//! Sets, maps and verdict maps, with names and without.

use std::sync::Arc;

use super::json::{Map, Value};
use super::kind::Kind;
use super::{render, value};
use crate::firewall::ruleset::{Datum, Element, ElementData, Expression, Field, Pattern, Set, SetReference, Verdict};

/// A set or map object of the listing.
pub(super) fn named(name: &str, body: &Map<'_>) -> Set {
    let key_types = type_names(body.get("type"));
    let kinds: Vec<Kind> = key_types.iter().map(|name| Kind::of_type(name)).collect();
    let data = body.get("map").map(|data| {
        type_names(Some(data))
            .iter()
            .map(|name| if name == "verdict" { Kind::Unknown } else { Kind::of_type(name) })
            .collect::<Vec<_>>()
    });
    let mut set = Set { name: name.to_owned(), key_types, ..Set::default() };
    match body.get("elem") {
        None | Some(Value::Null) => {}
        Some(Value::Array(elements)) => read_elements(&mut set, &kinds, data.as_deref(), elements),
        Some(other) => set.incomplete = Some(format!("elements are no list: {}", render::expression(other))),
    }
    set.dynamic |= flags(body).any(|flag| matches!(flag, "dynamic" | "timeout")) || body.contains_key("timeout");
    set
}

fn flags<'a>(body: &'a Map<'_>) -> impl Iterator<Item = &'a str> {
    let flags = body.get("flags");
    let many = flags.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    flags.and_then(Value::as_str).into_iter().chain(many)
}

/// `"ipv4_addr"`, `["ipv4_addr", "inet_service"]`, `"ipv4_addr . inet_service"` of a map's data.
fn type_names(value: Option<&Value<'_>>) -> Vec<String> {
    match value {
        Some(Value::String(names)) => names.split(" . ").map(str::to_owned).collect(),
        Some(Value::Array(names)) => names.iter().flat_map(|name| type_names(Some(name))).collect(),
        Some(Value::Null) | None => Vec::new(),
        // `typeof` of later versions: the expression that a key comes from.
        Some(Value::Object(object)) => match object.get("typeof").and_then(|of| of.get("concat").or(Some(of))) {
            Some(Value::Array(parts)) => parts.iter().map(type_of_expression).collect(),
            Some(single) => vec![type_of_expression(single)],
            None => value.map(render::expression).into_iter().collect(),
        },
        Some(other) => vec![render::expression(other)],
    }
}

/// The type's name of a key that is told as an expression.
fn type_of_expression(value: &Value) -> String {
    let read = super::expression::read(super::expression::Known::default(), &[Kind::Unknown], value);
    if matches!(read, Expression::Field(Field::Ip6Source | Field::Ip6Destination)) {
        return "ipv6_addr".to_owned();
    }
    Kind::of(&read).type_name().map_or_else(|| render::expression(value), str::to_owned)
}

/// `{ ... }` within a rule.
pub(super) fn anonymous(kinds: &[Kind], elements: &[Value]) -> Set {
    anonymous_map(kinds, None, elements)
}

fn anonymous_map(kinds: &[Kind], data: Option<&[Kind]>, elements: &[Value]) -> Set {
    let mut set = Set::default();
    read_elements(&mut set, kinds, data, elements);
    set
}

/// The `data` of a map or a verdict map: `"@name"` or `{"set": [...]}`. Data is of these kinds.
pub(super) fn reference(kinds: &[Kind], data: &[Kind], value: &Value) -> Option<SetReference> {
    match value {
        Value::String(name) => Some(SetReference::Named(name.strip_prefix('@')?.to_owned())),
        Value::Object(_) => {
            let elements = value.get("set")?.as_array()?;
            Some(SetReference::Anonymous(Arc::new(anonymous_map(kinds, Some(data), elements))))
        }
        _ => None,
    }
}

fn read_elements(set: &mut Set, kinds: &[Kind], data: Option<&[Kind]>, elements: &[Value]) {
    set.elements.reserve_exact(elements.len());
    for element in elements {
        let (key, mapped) = match (data, element) {
            (None, key) => (key, None),
            (Some(kinds), Value::Array(pair)) if pair.len() == 2 => (&pair[0], Some((kinds, &pair[1]))),
            (Some(_), other) => {
                set.incomplete = Some(format!("an element without data: {}", render::expression(other)));
                continue;
            }
        };
        let (key, expires) = bare(key);
        set.dynamic |= expires;
        let data = mapped.map(|(kinds, value)| self::data(kinds, value));
        set.elements.push(Element { key: value::element(kinds, key), data });
    }
}

/// An element's key without its time-out, counter and comment, and whether it goes away by itself.
fn bare<'a>(element: &'a Value<'a>) -> (&'a Value<'a>, bool) {
    match element.get("elem") {
        Some(body) => match body.get("val") {
            Some(key) => (key, body.get("timeout").is_some() || body.get("expires").is_some()),
            None => (element, false),
        },
        None => (element, false),
    }
}

fn data(kinds: &[Kind], value: &Value) -> ElementData {
    if let Some(verdict) = verdict(value) {
        return ElementData::Verdict(verdict);
    }
    match value::parts(value) {
        // Without a hint the parts tell what they are: numbers, or addresses.
        Some(parts) => {
            let kind = |at: usize| if kinds.len() == parts.len() { kinds[at] } else { Kind::Address };
            let values: Option<Vec<Datum>> =
                parts.iter().enumerate().map(|(at, part)| value::datum(kind(at), part)).collect();
            match values {
                Some(values) => ElementData::Values(values),
                None => {
                    let kinds: Vec<Kind> = (0..parts.len()).map(kind).collect();
                    ElementData::Pattern(value::element(&kinds, value))
                }
            }
        }
        // An address where address and port are hoped for is an address alone.
        None => match value::element(kinds.get(..1).unwrap_or(kinds), value) {
            Pattern::Exactly(datum) => ElementData::Values(vec![datum]),
            pattern => ElementData::Pattern(pattern),
        },
    }
}

/// `{"jump": {"target": "chain"}}`, `{"accept": null}`.
pub(super) fn verdict(value: &Value) -> Option<Verdict> {
    let (name, body) = value.as_object()?.only()?;
    let target = || body.get("target").and_then(Value::as_str).map(str::to_owned);
    Some(match name {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" => target().map_or_else(|| Verdict::Unknown(render::expression(value)), Verdict::Jump),
        "goto" => target().map_or_else(|| Verdict::Unknown(render::expression(value)), Verdict::Goto),
        "queue" => Verdict::Unknown(render::expression(value)),
        _ => return None,
    })
}
