//! What kind of address this is, where that decides whether it identifies a machine or leads into it.

use std::net::{IpAddr, Ipv4Addr};

/// The IPv4 address inside a v4-mapped one (RFC 4291 section 2.5.5.2), else the address itself.
pub const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

pub const fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

/// 169.254/16 (RFC 3927) and fe80::/10 (RFC 4291): valid on every link, and so nobody's own.
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether an address can tell one machine from another: not loopback, link-local, unspecified or multicast, and not
/// the address that an engine gives to its bridge on every machine.
pub fn can_identify(address: IpAddr) -> bool {
    let address = canonical(address);
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || is_link_local(address)
        || matches!(address, IpAddr::V4(address) if COMMON_BRIDGES.contains(&address)))
}

/// Whether both addresses lie in the same network of `prefix` bits.
pub fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let shift = 32_u32.saturating_sub(prefix);
            (one.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let shift = 128_u32.saturating_sub(prefix);
            (one.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Bridge addresses that Docker, libvirt, podman and LXC choose by default.
const COMMON_BRIDGES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(172, 17, 0, 1),
    Ipv4Addr::new(192, 168, 122, 1),
    Ipv4Addr::new(10, 88, 0, 1),
    Ipv4Addr::new(10, 0, 3, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_machine_has_identifies_none() {
        for text in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0", "::", "172.17.0.1", "::ffff:127.0.0.1"] {
            assert!(!can_identify(text.parse().unwrap()), "{text}");
        }
        for text in ["198.18.0.1", "2001:db8::1", "172.17.0.2"] {
            assert!(can_identify(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn networks_are_compared_by_their_prefix() {
        let near = |one: &str, other: &str, prefix| same_network(one.parse().unwrap(), other.parse().unwrap(), prefix);
        assert!(near("172.17.0.1", "172.17.9.9", 16));
        assert!(!near("172.17.0.1", "172.18.0.1", 16));
        assert!(near("172.17.0.1", "9.9.9.9", 0));
        assert!(!near("172.17.0.1", "172.17.0.2", 32));
        assert!(near("2001:db8::1", "2001:db8::2", 64));
        assert!(!near("2001:db8::1", "172.17.0.1", 0));
    }
}
