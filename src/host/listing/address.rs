//! `ADDRESS:PORT` in the ways in which the tools write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address part of a socket's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub address: Address,
    /// Interface, or the number of one: `eth0` of `fe80::1%eth0`.
    pub scope: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `*`: any address, of which family depends on the tool.
    Any,
    Ip(IpAddr),
}

/// Takes `*`, `1.2.3.4`, `1.2.3.4%lo`, `::1`, `[::1]`, `[fe80::1]%eth0`, `[fe80::1%2]`, `*%eth0`.
///
/// IPv4-mapped addresses become IPv4: a socket bound to one takes IPv4 packets.
pub(super) fn host(text: &str) -> Option<Host> {
    let (text, outer) = match text.split_once('%') {
        Some((_, scope)) if scope.is_empty() || scope == "]" => return None,
        Some((text, scope)) => (text, Some(scope)),
        None => (text, None),
    };
    // The bracket closes before the scope (ss) or after it (RFC 4007 with RFC 3986).
    let (inner, scope) = match (text.strip_prefix('['), outer) {
        (Some(inner), Some(scope)) => match (inner.strip_suffix(']'), scope.strip_suffix(']')) {
            (Some(inner), None) => (inner, Some(scope)),
            (None, Some(scope)) => (inner, Some(scope)),
            _ => return None,
        },
        (Some(inner), None) => (inner.strip_suffix(']')?, None),
        (None, scope) => (text, scope),
    };
    let bracketed = text.starts_with('[');
    let address = match inner {
        "*" if !bracketed => Address::Any,
        _ if bracketed => Address::Ip(inner.parse::<Ipv6Addr>().ok()?.into()),
        _ => Address::Ip(inner.parse().ok()?),
    };
    let address = match address {
        Address::Ip(ip) => Address::Ip(ip.to_canonical()),
        Address::Any => Address::Any,
    };
    Some(Host { address, scope: scope.map(str::to_owned) })
}

/// Splits at the last colon; the port is `*`, a number or a name.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':')
}

pub(super) const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(super) const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str, scope: Option<&str>) -> Option<Host> {
        Some(Host { address: Address::Ip(text.parse().unwrap()), scope: scope.map(str::to_owned) })
    }

    #[test]
    fn takes_every_spelling() {
        assert_eq!(host("*"), Some(Host { address: Address::Any, scope: None }));
        assert_eq!(host("*%pho0"), Some(Host { address: Address::Any, scope: Some("pho0".to_owned()) }));
        assert_eq!(host("198.18.0.1"), ip("198.18.0.1", None));
        assert_eq!(host("0.0.0.0%pho0"), ip("0.0.0.0", Some("pho0")));
        assert_eq!(host("::"), ip("::", None));
        assert_eq!(host("[::1]"), ip("::1", None));
        assert_eq!(host("[fe80::1]%eth0"), ip("fe80::1", Some("eth0")));
        assert_eq!(host("[fe80::1%2]"), ip("fe80::1", Some("2")));
        assert_eq!(host("fe80::1%eth0"), ip("fe80::1", Some("eth0")));
        assert_eq!(host("[::ffff:198.18.0.1]"), ip("198.18.0.1", None));
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in
            ["", "[", "]", "[]", "[::1", "::1]", "[1.2.3.4]", "[*]", "a", "1.2.3", "%", "*%", "[fe80::1%]", "::%"]
        {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn splits_at_the_last_colon() {
        assert_eq!(split(":::80"), Some(("::", "80")));
        assert_eq!(split("2001:db8:1234:5678:4343"), Some(("2001:db8:1234:5678", "4343")));
        assert_eq!(split("80"), None);
    }
}
