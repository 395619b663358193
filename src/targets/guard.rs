//! What must not be asked without being told so, and what can never be. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TargetSet;

/// Whether targets outside private, shared, loopback, link-local, benchmark and documentation ranges are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicTargets {
    Allow,
    Refuse,
}

/// A sweep of more endpoints than this takes months at any rate; it is a mistake.
pub const MAX_ENDPOINTS: u128 = 1 << 40;

/// More IPv6 addresses in one range than this is guessing: a /64 has 2^64.
pub const MAX_IPV6_RANGE: u128 = 1 << 16;

/// Checks addresses against the ranges and sizes that may be swept with `ports` ports each.
pub fn check(set: &TargetSet, ports: usize, public: PublicTargets) -> Result<(), GuardError> {
    for (first, last) in set.ranges() {
        let range = TargetSet::from_ranges([(first, last)]);
        if let Some(part) = first_common(&range, &ranges(&NEVER)) {
            return Err(GuardError::Never { range: part });
        }
        if let Some(part) = first_common(&range, &ranges(&LINK_LOCAL)) {
            return Err(GuardError::LinkLocal { range: part });
        }
        if first.is_ipv6() && range.len() > MAX_IPV6_RANGE {
            return Err(GuardError::Ipv6Range { range: range.describe().join(" ") });
        }
    }
    if public == PublicTargets::Refuse
        && let Some(range) = set.without(&ranges(&ALLOWED)).describe().into_iter().next()
    {
        return Err(GuardError::Public { range });
    }
    let endpoints = set.len().saturating_mul(ports as u128);
    if endpoints > MAX_ENDPOINTS {
        return Err(GuardError::TooMany { endpoints });
    }
    Ok(())
}

/// Whether `address` can be no target at all, whatever is allowed: a name may well resolve to such an address.
pub fn is_no_target(address: IpAddr) -> bool {
    [&NEVER[..], &LINK_LOCAL].iter().any(|table| ranges(table).contains(address))
}

/// Targets that are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error(
        "{range} is neither private, shared, loopback, link-local, benchmark nor documentation space; \
         hint: if you may sweep it, say --allow-public"
    )]
    Public { range: String },
    #[error(
        "{range} is no single host's address (multicast, broadcast, unspecified, IPv4 in IPv6 notation); \
         hint: --exclude {range}"
    )]
    Never { range: String },
    #[error(
        "{range} is link-local IPv6, which means nothing without an interface; \
         hint: name the host by its global, unique local (fd00::/8) or IPv4 address"
    )]
    LinkLocal { range: String },
    #[error(
        "{range} has more IPv6 addresses than can be guessed; \
         hint: name hosts or ranges of at most 65536 addresses (a /112), or the addresses that host reports name"
    )]
    Ipv6Range { range: String },
    #[error("{endpoints} endpoints are more than a sweep can ask; hint: fewer addresses or ports")]
    TooMany { endpoints: u128 },
}

/// The first part of `range` that is in `other`, described.
fn first_common(range: &TargetSet, other: &TargetSet) -> Option<String> {
    let common = range.without(&range.without(other));
    common.describe().into_iter().next()
}

fn ranges(table: &[(IpAddr, IpAddr)]) -> TargetSet {
    TargetSet::from_ranges(table.iter().copied())
}

const fn v4(first: [u8; 4], last: [u8; 4]) -> (IpAddr, IpAddr) {
    let [a, b, c, d] = first;
    let [e, f, g, h] = last;
    (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), IpAddr::V4(Ipv4Addr::new(e, f, g, h)))
}

const fn v6(first: u128, last: u128) -> (IpAddr, IpAddr) {
    (IpAddr::V6(Ipv6Addr::from_bits(first)), IpAddr::V6(Ipv6Addr::from_bits(last)))
}

/// The networks that may be swept without a word: IANA's special-purpose registries (RFC 6890) as far as hosts of one's
/// own live there.
const ALLOWED: [(IpAddr, IpAddr); 10] = [
    v4([10, 0, 0, 0], [10, 255, 255, 255]),         // RFC 1918
    v4([100, 64, 0, 0], [100, 127, 255, 255]),      // RFC 6598, shared
    v4([127, 0, 0, 0], [127, 255, 255, 255]),       // RFC 1122, loopback
    v4([169, 254, 0, 0], [169, 254, 255, 255]),     // RFC 3927, link-local
    v4([172, 16, 0, 0], [172, 31, 255, 255]),       // RFC 1918
    v4([192, 168, 0, 0], [192, 168, 255, 255]),     // RFC 1918
    v4([198, 18, 0, 0], [198, 19, 255, 255]),       // RFC 2544, benchmark
    v6(1, 1),                                       // RFC 4291, loopback
    v6(0xfc00 << 112, (0xfe00 << 112) - 1),         // RFC 4193, unique local
    v6(0x2001_0db8 << 96, (0x2001_0db9 << 96) - 1), // RFC 3849, documentation
];

/// Endpoints carry no interface, so the kernel would refuse each of these (EINVAL).
const LINK_LOCAL: [(IpAddr, IpAddr); 1] = [v6(0xfe80 << 112, (0xfec0 << 112) - 1)]; // RFC 4291, link-local

const NEVER: [(IpAddr, IpAddr); 6] = [
    v4([0, 0, 0, 0], [0, 255, 255, 255]),           // RFC 791, this network
    v4([224, 0, 0, 0], [239, 255, 255, 255]),       // RFC 5771, multicast
    v4([255, 255, 255, 255], [255, 255, 255, 255]), // RFC 919, broadcast
    v6(0, 0),                                       // RFC 4291, unspecified
    v6(0xffff << 32, (0x1_0000 << 32) - 1),         // RFC 4291, IPv4-mapped: an exclusion would not see it
    v6(0xff00 << 112, u128::MAX),                   // RFC 4291, multicast
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::item::Item;

    fn set(items: &[&str]) -> TargetSet {
        TargetSet::from_ranges(items.iter().map(|text| match Item::parse(text).unwrap() {
            Item::Range(first, last) => (first, last),
            other => panic!("{other:?}"),
        }))
    }

    #[test]
    fn ones_own_networks_pass() {
        let own = [
            "10.1.2.0/24",
            "100.64.0.1",
            "127.0.0.1",
            "172.31.255.255",
            "192.168.0.0/16",
            "198.19.255.255",
            "::1",
            "fd00::1",
            "2001:db8::/112",
            "169.254.1.1",
        ];
        assert_eq!(check(&set(&own), 100, PublicTargets::Refuse), Ok(()));
    }

    #[test]
    fn the_neighbours_of_allowed_ranges_are_refused_and_named() {
        for text in [
            "9.255.255.255",
            "11.0.0.0",
            "172.32.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "100.128.0.0",
            "8.8.8.8",
            "2001:db9::1",
            "::2",
        ] {
            match check(&set(&[text]), 1, PublicTargets::Refuse) {
                Err(GuardError::Public { range }) => assert_eq!(range, text),
                other => panic!("{text}: {other:?}"),
            }
            assert_eq!(check(&set(&[text]), 1, PublicTargets::Allow), Ok(()));
        }
        let half_out = check(&set(&["198.19.255.0-198.20.0.5"]), 1, PublicTargets::Refuse);
        assert_eq!(half_out, Err(GuardError::Public { range: "198.20.0.0-198.20.0.5".to_owned() }));
    }

    #[test]
    fn what_is_no_host_is_never_allowed() {
        for text in [
            "224.0.0.251",
            "255.255.255.255",
            "0.0.0.0",
            "ff02::1",
            "::",
            "223.255.255.0-224.0.0.0",
            "::fffe:0:0-::ffff:0:0",
        ] {
            assert!(matches!(check(&set(&[text]), 1, PublicTargets::Allow), Err(GuardError::Never { .. })), "{text}");
        }
    }

    #[test]
    fn only_the_part_that_is_wrong_is_named() {
        let named = |text| match check(&set(&[text]), 1, PublicTargets::Allow) {
            Err(GuardError::Never { range } | GuardError::LinkLocal { range }) => range,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(named("200.0.0.0-230.0.0.0"), "224.0.0.0-230.0.0.0");
        assert_eq!(named("0.0.0.0/0"), "0.0.0.0/8");
        assert_eq!(named("fe80::1"), "fe80::1");
        let error = check(&set(&["fe80::1"]), 1, PublicTargets::Refuse).unwrap_err();
        assert!(error.to_string().contains("interface") && !error.to_string().contains("--allow-public"), "{error}");
    }

    #[test]
    fn single_addresses_are_judged_like_ranges() {
        for (text, never) in [("198.18.0.1", false), ("8.8.8.8", false), ("0.0.0.0", true), ("fe80::9", true)] {
            assert_eq!(is_no_target(text.parse().unwrap()), never, "{text}");
        }
    }

    #[test]
    fn sizes_are_bounded_without_refusing_the_benchmark_network() {
        assert_eq!(check(&set(&["198.18.0.0/15"]), 65_535, PublicTargets::Refuse), Ok(()));
        assert!(matches!(check(&set(&["fd00::/64"]), 1, PublicTargets::Refuse), Err(GuardError::Ipv6Range { .. })));
        assert!(matches!(
            check(&set(&["1.0.0.0-200.0.0.0"]), 65_535, PublicTargets::Allow),
            Err(GuardError::TooMany { .. })
        ));
    }
}
