//! Statements.

use std::fmt::Write as _;

use super::super::json::Value;
use super::json;
use super::value::{Style, mapping, only, separated, write as write_value, write_compared};
use crate::firewall::ruleset::Family;

/// Nothing is written for a counter without a name. The family of the table decides what is left out.
pub(super) fn write(text: &mut String, family: Option<Family>, value: &Value) {
    if let Value::String(words) = value
        && !words.trim().is_empty()
    {
        return separated(text, " ", &words.split_whitespace().collect::<Vec<_>>(), |text, word| text.push_str(word));
    }
    let Some((name, body)) = only(value) else { return json(text, value) };
    let known = match name {
        "match" => {
            comparison(text, body);
            true
        }
        "counter" => match body {
            Value::String(counter) => named(text, "counter", counter),
            Value::Object(map) if map.contains_key("map") => by_map(text, "counter", body),
            _ => true,
        },
        "vmap" => verdict_map(text, body),
        "mangle" => change(text, body),
        "limit" => limit(text, body),
        "quota" => quota(text, body),
        "ct count" => count(text, body),
        "log" => log(text, body),
        "reject" => reject(text, family, body),
        "dnat" | "snat" | "redirect" | "masquerade" | "tproxy" => translation(text, family, name, body),
        "set" | "map" | "meter" => update(text, name, body),
        "ct helper" | "ct timeout" | "ct expectation" => assigned(text, name, body),
        "queue" if body.is_object() => queue(text, body),
        "synproxy" if body.is_object() => synproxy(text, body),
        "fwd" | "dup" => elsewhere(text, name, body),
        "flow" => flow(text, body),
        "xt" => extension(text, body),
        _ if body.is_null() => {
            text.push_str(name);
            true
        }
        "jump" | "goto" => {
            write_value(text, Style::Plain, value);
            true
        }
        _ => false,
    };
    if !known {
        json(text, value);
    }
}

pub(super) fn comparison(text: &mut String, body: &Value) {
    let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else { return json(text, body) };
    let sign = body.get("op").and_then(Value::as_str).unwrap_or("==");
    // `tcp flags syn / syn,ack`.
    if let Some(("&", Value::Array(operands))) = only(left)
        && let [field, mask @ (Value::Array(_) | Value::String(_))] = operands.as_slice()
        && field.get("payload").and_then(|payload| payload.get("field")).is_some_and(|field| *field == "flags")
        && matches!(sign, "==" | "!=")
    {
        write_value(text, Style::Plain, field);
        text.push_str(if sign == "==" { " " } else { " != " });
        write_value(text, Style::Plain, right);
        text.push_str(" / ");
        return write_value(text, Style::Plain, mask);
    }
    write_value(text, Style::Plain, left);
    text.push(' ');
    let arithmetic = matches!(only(left), Some(("&" | "|" | "^" | "<<" | ">>", _)));
    match sign {
        "==" if !arithmetic => {}
        "in" => {}
        sign => {
            text.push_str(sign);
            text.push(' ');
        }
    }
    write_compared(text, left, right);
}

fn verdict_map(text: &mut String, body: &Value) -> bool {
    let Some((key, data)) = body.get("key").zip(body.get("data")) else { return false };
    write_value(text, Style::Plain, key);
    text.push_str(" vmap ");
    mapping(text, key, Style::Plain, data);
    true
}

fn change(text: &mut String, body: &Value) -> bool {
    let Some((key, value)) = body.get("key").zip(body.get("value")) else { return false };
    write_value(text, Style::Plain, key);
    text.push_str(" set ");
    write_value(text, Style::of(key), value);
    true
}

fn named(text: &mut String, kind: &str, name: &str) -> bool {
    let _ = write!(text, "{kind} name \"{name}\"");
    true
}

fn by_map(text: &mut String, kind: &str, body: &Value) -> bool {
    text.push_str(kind);
    text.push_str(" name ");
    write_value(text, Style::Plain, body);
    true
}

fn limit(text: &mut String, body: &Value) -> bool {
    if let Value::String(limit) = body {
        return named(text, "limit", limit);
    }
    if body.get("map").is_some() {
        return by_map(text, "limit", body);
    }
    let word = |key| body.get(key).and_then(Value::as_str);
    let number = |key| body.get(key).and_then(Value::as_u64);
    let (Some(rate), Some(per)) = (number("rate"), word("per")) else { return false };
    text.push_str("limit rate ");
    over(text, body);
    let _ = write!(text, "{rate}");
    let unit = word("rate_unit");
    if let Some(unit) = unit {
        let _ = write!(text, " {unit}");
    }
    let _ = write!(text, "/{per}");
    // nft leaves out what is the default.
    let default = if unit.is_some() { 0 } else { 5 };
    if let Some(burst) = number("burst").filter(|burst| *burst != default) {
        let _ = write!(text, " burst {burst} {}", word("burst_unit").unwrap_or("packets"));
    }
    true
}

fn over(text: &mut String, body: &Value) {
    if body.get("inv") == Some(&Value::Bool(true)) {
        text.push_str("over ");
    }
}

fn quota(text: &mut String, body: &Value) -> bool {
    if let Value::String(quota) = body {
        return named(text, "quota", quota);
    }
    if body.get("map").is_some() {
        return by_map(text, "quota", body);
    }
    let (Some(amount), Some(unit)) =
        (body.get("val").and_then(Value::as_u64), body.get("val_unit").and_then(Value::as_str))
    else {
        return false;
    };
    text.push_str("quota ");
    over(text, body);
    let _ = write!(text, "{amount} {unit}");
    true
}

fn count(text: &mut String, body: &Value) -> bool {
    let Some(amount) = body.get("val").and_then(Value::as_u64) else { return false };
    text.push_str("ct count ");
    over(text, body);
    let _ = write!(text, "{amount}");
    true
}

fn log(text: &mut String, body: &Value) -> bool {
    text.push_str("log");
    if let Some(prefix) = body.get("prefix").and_then(Value::as_str) {
        let _ = write!(text, " prefix \"{prefix}\"");
    }
    for key in ["group", "snaplen", "queue-threshold", "level", "flags"] {
        if let Some(value) = body.get(key) {
            let _ = write!(text, " {key} ");
            write_value(text, Style::Plain, value);
        }
    }
    true
}

fn reject(text: &mut String, family: Option<Family>, body: &Value) -> bool {
    text.push_str("reject");
    let word = |key| body.get(key).and_then(Value::as_str);
    match (word("type"), word("expr"), family) {
        (None, ..)
        | (Some("icmp"), Some("port-unreachable"), Some(Family::Ip))
        | (Some("icmpv6"), Some("port-unreachable"), Some(Family::Ip6))
        | (Some("icmpx"), Some("port-unreachable"), _) => {}
        (Some(kind), code, _) => {
            let _ = write!(text, " with {kind}");
            match (code, body.get("expr")) {
                (None, None) => {}
                (None, Some(number)) => {
                    text.push(' ');
                    write_value(text, Style::Plain, number);
                }
                (Some(code), _) => {
                    let _ = write!(text, " {code}");
                }
            }
        }
    }
    true
}

fn translation(text: &mut String, family: Option<Family>, name: &str, body: &Value) -> bool {
    text.push_str(name);
    let both = !matches!(family, Some(Family::Ip | Family::Ip6));
    if let Some(family) = body.get("family").and_then(Value::as_str).filter(|_| both) {
        let _ = write!(text, " {family}");
    }
    let netmap = body.get("type_flags").is_some_and(|flags| *flags == "prefix");
    if netmap {
        text.push_str(" prefix");
    }
    let (address, port) = (body.get("addr"), body.get("port"));
    if address.is_some() || port.is_some() {
        text.push_str(" to ");
    }
    if let Some(address) = address {
        // `[2001:db8::1]:80`.
        let six = port.is_some() && address.as_str().is_some_and(|address| address.contains(':'));
        if six {
            text.push('[');
        }
        write_value(text, Style::Plain, address);
        if six {
            text.push(']');
        }
    }
    if let Some(port) = port {
        text.push(':');
        write_value(text, Style::Plain, port);
    }
    match body.get("flags") {
        None => {}
        // Said by `prefix`.
        Some(Value::String(flag)) if netmap && flag == "netmap" => {}
        Some(flags) => {
            text.push(' ');
            write_value(text, Style::Plain, flags);
        }
    }
    true
}

/// `add @set { KEY timeout 1m limit rate 3/second }`, `meter NAME { KEY STATEMENT }`.
fn update(text: &mut String, kind: &str, body: &Value) -> bool {
    let Some(key) = body.get("elem").or_else(|| body.get("key")) else { return false };
    match body.get(kind).or_else(|| body.get("set")).and_then(Value::as_str) {
        Some(set) => {
            let operation = body.get("op").and_then(Value::as_str).unwrap_or("add");
            let _ = write!(text, "{operation} {set}");
        }
        None => {
            let Some(name) = body.get("name").and_then(Value::as_str) else { return false };
            let _ = write!(text, "meter {name}");
            if let Some(size) = body.get("size").and_then(Value::as_u64) {
                let _ = write!(text, " size {size}");
            }
        }
    }
    text.push_str(" { ");
    write_value(text, Style::Plain, key);
    if let Some(data) = body.get("data") {
        text.push_str(" : ");
        write_value(text, Style::Plain, data);
    }
    let statements = match body.get("stmt") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    for statement in statements {
        text.push(' ');
        let start = text.len();
        write(text, None, statement);
        if text.len() == start {
            text.pop();
        }
    }
    text.push_str(" }");
    true
}

fn assigned(text: &mut String, name: &str, body: &Value) -> bool {
    text.push_str(name);
    text.push_str(" set ");
    write_value(text, Style::Quoted, body);
    true
}

fn queue(text: &mut String, body: &Value) -> bool {
    text.push_str("queue");
    if let Some(flags) = body.get("flags") {
        text.push_str(" flags ");
        write_value(text, Style::Plain, flags);
    }
    if let Some(number) = body.get("num") {
        text.push_str(" to ");
        write_value(text, Style::Plain, number);
    }
    true
}

fn synproxy(text: &mut String, body: &Value) -> bool {
    text.push_str("synproxy");
    for key in ["mss", "wscale"] {
        if let Some(number) = body.get(key).and_then(Value::as_u64) {
            let _ = write!(text, " {key} {number}");
        }
    }
    match body.get("flags") {
        Some(Value::Array(flags)) => {
            text.push(' ');
            separated(text, " ", flags, |text, flag| write_value(text, Style::Plain, flag));
        }
        Some(flag) => {
            text.push(' ');
            write_value(text, Style::Plain, flag);
        }
        None => {}
    }
    true
}

/// `fwd` and `dup`.
fn elsewhere(text: &mut String, name: &str, body: &Value) -> bool {
    text.push_str(name);
    if let Some(family) = body.get("family").and_then(Value::as_str) {
        let _ = write!(text, " {family}");
    }
    text.push_str(" to ");
    let (address, device) = (body.get("addr"), body.get("dev"));
    match (address, device) {
        (Some(address), Some(device)) => {
            write_value(text, Style::Plain, address);
            text.push_str(" device ");
            write_value(text, Style::Quoted, device);
        }
        (Some(device), None) | (None, Some(device)) => write_value(text, Style::Quoted, device),
        (None, None) => return false,
    }
    true
}

fn flow(text: &mut String, body: &Value) -> bool {
    let Some(table) = body.get("flowtable").and_then(Value::as_str) else { return false };
    let _ = write!(text, "flow {} {table}", body.get("op").and_then(Value::as_str).unwrap_or("add"));
    true
}

/// A match or target of iptables that nft cannot read.
fn extension(text: &mut String, body: &Value) -> bool {
    let word = |key| body.get(key).and_then(Value::as_str);
    let (Some(kind), Some(name)) = (word("type"), word("name")) else { return false };
    let _ = write!(text, "xt {kind} \"{name}\"");
    true
}
