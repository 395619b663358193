//! The parts of an element: numbers, ports, MAC addresses, protocols with their ports.

use crate::firewall::ruleset::{Datum, Pattern};

pub(super) const fn exactly(number: u128) -> Pattern {
    Pattern::Exactly(Datum::Number(number))
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number"))
}

pub(super) fn port(text: &str) -> Result<u128, String> {
    text.parse::<u16>().map(u128::from).map_err(|_| format!("{text:?} is no port"))
}

pub(super) fn mac(text: &str) -> Result<u128, String> {
    let octets: Option<Vec<u8>> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    match octets {
        Some(octets) if octets.len() == 6 => {
            Ok(octets.into_iter().fold(0, |value, octet| value << 8 | u128::from(octet)))
        }
        _ => Err(format!("{text:?} is no MAC address")),
    }
}

/// `tcp:80`, `icmp:8/0`, `icmp:echo-request`; `None` for names that are not known.
pub(super) fn protocol_port(text: &str) -> Result<Option<(u128, u128)>, String> {
    let Some((protocol, port_text)) = text.split_once(':') else { return Ok(Some((6, port(text)?))) };
    let number = match protocol {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        "udplite" => 136,
        "icmp" => 1,
        "icmpv6" | "ipv6-icmp" => 58,
        other => match other.parse::<u8>() {
            Ok(number) => number.into(),
            Err(_) => return Ok(None),
        },
    };
    if !matches!(number, 1 | 58) {
        return Ok(Some((number, port(port_text)?)));
    }
    let value = match port_text.split_once('/') {
        Some((kind, code)) => match (kind.parse::<u8>(), code.parse::<u8>()) {
            (Ok(kind), Ok(code)) => u128::from(kind) << 8 | u128::from(code),
            _ => return Err(format!("{port_text:?} is no ICMP type")),
        },
        None => match (number, port_text) {
            (1, "echo-reply" | "pong") => 0,
            (1, "echo-request" | "ping") => 8 << 8,
            (58, "echo-request" | "ping") => 128 << 8,
            (58, "echo-reply" | "pong") => 129 << 8,
            _ => return Ok(None),
        },
    };
    Ok(Some((number, value)))
}

/// The upper `length` of `width` bits.
pub(super) fn mask(length: u8, width: u8) -> u128 {
    let ones = |bits: u8| if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
    ones(width) & !ones(width - length)
}
