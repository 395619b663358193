//! Translations and refusals.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::expression::{self, Known};
use super::json::Value;
use super::kind::Kind;
use super::{symbols, value};
use crate::firewall::ruleset::{Datum, Expression, Family, Ports, Reject, Statement, Translation, TranslationTarget};

/// `dnat`, `snat`, `redirect`, `masquerade`, `tproxy`; `None` when it cannot be read.
pub(super) fn translation(family: Family, known: Known, name: &str, body: &Value) -> Option<Statement> {
    if !(body.is_null() || body.is_object()) {
        return None;
    }
    let ports = match body.get("port") {
        None => Ports::Unchanged,
        Some(port) => ports(known, port)?,
    };
    match name {
        "redirect" => return Some(Statement::Redirect(ports)),
        "masquerade" => return Some(Statement::Masquerade(ports)),
        _ => {}
    }
    let ipv6 = match body.get("family") {
        None => Known::of_table(family).ipv6,
        Some(_) => Some(only_ipv6(body)?),
    };
    let mut flags = flags(body.get("flags"))?;
    let to = match body.get("addr") {
        None => TranslationTarget::Unchanged,
        Some(address) => target(known, address)?,
    };
    // What the kernel does with the host bits is told by the flag alone.
    if self::flags(body.get("type_flags"))?.iter().any(|flag| flag == "prefix") && !flags.iter().any(|f| f == "netmap")
    {
        flags.push("netmap".to_owned());
    }
    if let (Some(ipv6), TranslationTarget::Address(address)) = (ipv6, &to)
        && address.is_ipv6() != ipv6
    {
        return None;
    }
    let translation = Translation { to, ports, flags };
    Some(match name {
        "dnat" => Statement::DestinationNat(translation),
        "snat" => Statement::SourceNat(translation),
        "tproxy" => Statement::TransparentProxy(translation),
        _ => return None,
    })
}

/// The one family that a translation is about, in a table of both: packets of the other one pass it untouched.
fn only_ipv6(body: &Value) -> Option<bool> {
    match body.get("family")?.as_str()? {
        "ip" => Some(false),
        "ip6" => Some(true),
        _ => None,
    }
}

/// One flag is printed as a string, several as a list.
fn flags(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(flag)) => Some(vec![flag.as_ref().to_owned()]),
        Some(Value::Array(flags)) => flags.iter().map(|flag| flag.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}

fn target(known: Known, value: &Value) -> Option<TranslationTarget> {
    if let Some(text) = value.as_str() {
        return text.parse().ok().map(TranslationTarget::Address);
    }
    if let Some(range) = value.get("range") {
        let [first, last] = range.as_array()? else { return None };
        let (first, last): (IpAddr, IpAddr) = (first.as_str()?.parse().ok()?, last.as_str()?.parse().ok()?);
        return (first.is_ipv4() == last.is_ipv4()).then_some(TranslationTarget::Range(first, last));
    }
    if let Some(prefix) = value.get("prefix") {
        return subnet(prefix);
    }
    Some(TranslationTarget::Computed(expression::read(known, &[Kind::Address, Kind::Port], value)))
}

fn subnet(prefix: &Value) -> Option<TranslationTarget> {
    let (start, width) = value::address(prefix.get("addr")?.as_str()?)?;
    let length = u8::try_from(prefix.get("len")?.as_u64()?).ok().filter(|length| *length <= width)?;
    let hosts = match width - length {
        128 => u128::MAX,
        bits => (1 << bits) - 1,
    };
    let address = |value: u128| match u32::try_from(value) {
        Ok(value) if width == 32 => IpAddr::V4(Ipv4Addr::from_bits(value)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(value)),
    };
    Some(TranslationTarget::Range(address(start & !hosts), address(start | hosts)))
}

fn ports(known: Known, value: &Value) -> Option<Ports> {
    let port = |value: &Value| u16::try_from(value::number(Kind::Port, value)?).ok();
    if let Some(range) = value.get("range") {
        let [first, last] = range.as_array()? else { return None };
        let (first, last) = (port(first)?, port(last)?);
        return (first <= last).then_some(Ports::Range(first, last));
    }
    match expression::read(known, &[Kind::Port], value) {
        Expression::Value(Datum::Number(port)) => u16::try_from(port).ok().map(Ports::Exactly),
        Expression::Value(_) => None,
        computed => Some(Ports::Computed(computed)),
    }
}

/// `reject`, with its kind; without one it is port unreachable in the packet's family (nft(8), REJECT STATEMENT).
pub(super) fn reject(family: Family, body: &Value) -> Option<Statement> {
    let kind = match body.get("type").map(Value::as_str) {
        None => match family {
            Family::Ip => "icmp",
            Family::Ip6 => "icmpv6",
            _ => "icmpx",
        },
        Some(kind) => kind?,
    };
    let (names, default) = match kind {
        "tcp reset" => return Some(Statement::Reject(Reject::TcpReset)),
        "icmp" => (symbols::ICMP_CODES, 3),
        "icmpv6" => (symbols::ICMP6_CODES, 4),
        "icmpx" => (symbols::ICMPX_CODES, 1),
        _ => return None,
    };
    let code = match body.get("expr") {
        None | Some(Value::Null) => default,
        Some(Value::String(name)) => u8::try_from(symbols::number(names, name)?).ok()?,
        Some(number) => u8::try_from(number.as_u64()?).ok()?,
    };
    Some(Statement::Reject(match kind {
        "icmp" => Reject::Icmp(code),
        "icmpv6" => Reject::Icmp6(code),
        _ => Reject::Icmpx(code),
    }))
}
