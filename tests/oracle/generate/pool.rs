//! The few addresses and ports that rules and packets are made of, so that they meet.

use super::draw::Draw;

pub const PORTS: &[u16] = &[22, 53, 80, 443, 2375, 8080, 8443, 30_080];
/// Ports that translations lead to.
pub const INNER_PORTS: &[u16] = &[22, 53, 80, 443, 8000];

/// One of the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V4,
    V6,
}

impl Version {
    pub const fn sources(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &["198.18.0.1", "198.18.0.77", "198.19.5.5", "198.18.1.1", "172.17.0.2", "172.17.0.3"],
            Self::V6 => &["2001:db8::1", "2001:db8::77", "2001:db8:99::5", "2001:db8:1::1", "fd00:17::2", "fd00:17::3"],
        }
    }

    pub const fn destinations(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &[
                "198.18.0.2",
                "198.18.0.2",
                "198.18.1.2",
                "172.17.0.1",
                "172.17.0.2",
                "172.17.0.2",
                "172.17.0.3",
                "127.0.0.1",
                "198.19.9.9",
            ],
            Self::V6 => &[
                "2001:db8::2",
                "2001:db8::2",
                "2001:db8:1::2",
                "fd00:17::1",
                "fd00:17::2",
                "fd00:17::2",
                "fd00:17::3",
                "2001:db8:99::9",
            ],
        }
    }

    pub const fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::V4 => {
                &["198.18.0.0/24", "198.18.0.0/15", "198.19.0.0/16", "172.16.0.0/12", "172.17.0.0/16", "127.0.0.0/8"]
            }
            Self::V6 => &["2001:db8::/64", "2001:db8::/32", "2001:db8:99::/48", "fd00::/8", "fd00:17::/64"],
        }
    }

    pub const fn ranges(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &["198.18.0.1-198.18.0.76", "198.18.0.2-198.18.1.2", "172.17.0.2-172.17.0.9"],
            Self::V6 => &["2001:db8::1-2001:db8::76", "2001:db8::2-2001:db8:1::2", "fd00:17::2-fd00:17::9"],
        }
    }

    /// Where a DNAT leads to: containers, and now and then an address of the host.
    pub fn target(self, draw: &Draw) -> &'static str {
        match self {
            Self::V4 => draw.weighted(&[
                (6, "172.17.0.2"),
                (4, "172.17.0.3"),
                (1, "198.18.1.2"),
                (1, "172.17.0.1"),
                (1, "198.18.0.2"),
                (1, "127.0.0.1"),
            ]),
            Self::V6 => draw.weighted(&[
                (6, "fd00:17::2"),
                (4, "fd00:17::3"),
                (1, "2001:db8:1::2"),
                (1, "fd00:17::1"),
                (1, "2001:db8::2"),
            ]),
        }
    }

    /// What an SNAT makes the source.
    pub fn mask(self, draw: &Draw) -> &'static str {
        match self {
            Self::V4 => draw.pick(&["198.18.0.2", "172.17.0.1", "198.18.1.2"]),
            Self::V6 => draw.pick(&["2001:db8::2", "fd00:17::1", "2001:db8:1::2"]),
        }
    }

    /// `ip` or `ip6`, as nft calls it.
    pub const fn nft(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}
