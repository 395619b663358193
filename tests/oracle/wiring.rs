//! How the triangle is wired: links, addresses, routes, settings, neighbours.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::wire::Mac;

/// Where a packet is sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    Eth0,
    Eth1,
    C2,
    C3,
}

impl Link {
    /// Hardware address of the far end from the host.
    pub const fn mac(self) -> Mac {
        let last = match self {
            Self::Eth0 => 0x50,
            Self::Eth1 => 0x51,
            Self::C2 => 0xc2,
            Self::C3 => 0xc3,
        };
        [2, 0, 0, 0, 0, last]
    }

    /// The interface of the host that a packet from here comes in by, as routing sees it.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Eth0 => "eth0",
            Self::Eth1 => "eth1",
            Self::C2 | Self::C3 => "br0",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Eth0 => "eth0",
            Self::Eth1 => "eth1",
            Self::C2 => "c2",
            Self::C3 => "c3",
        }
    }

    /// Where a sender on this link sends a packet for `destination`: to the host, or to its neighbour on the bridge.
    pub fn next_hop(self, destination: IpAddr) -> Mac {
        let on_bridge = |address: &str| address.parse::<IpAddr>() == Ok(destination);
        match self {
            Self::Eth0 => HOST_ETH0,
            Self::Eth1 => HOST_ETH1,
            Self::C2 | Self::C3 if on_bridge("172.17.0.2") || on_bridge("fd00:17::2") => Self::C2.mac(),
            Self::C2 | Self::C3 if on_bridge("172.17.0.3") || on_bridge("fd00:17::3") => Self::C3.mac(),
            Self::C2 | Self::C3 => HOST_BRIDGE,
        }
    }
}

/// `ip -batch` lines for [`NEIGHBOURS`].
pub fn neighbours() -> String {
    let lines = NEIGHBOURS.iter().flat_map(|(prefix, last, link)| {
        last.iter().map(move |last| {
            let (mac, interface) = (text_of(link.mac()), link.interface());
            format!("neigh replace {prefix}{last} lladdr {mac} dev {interface} nud permanent\n")
        })
    });
    lines.collect()
}

pub fn text_of(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

const HOST_ETH0: Mac = [2, 0, 0, 0, 0, 0xa0];
const HOST_ETH1: Mac = [2, 0, 0, 0, 0, 0xa1];
const HOST_BRIDGE: Mac = [2, 0, 0, 0, 0, 0xb0];

/// Of the host, before it has links. A new namespace copies some of init's.
pub const SETTINGS: &[(&str, &str)] = &[
    ("ipv4.ip_forward", "1"),
    ("ipv6.conf.all.forwarding", "1"),
    ("ipv6.conf.default.forwarding", "1"),
    ("ipv4.conf.all.rp_filter", "0"),
    ("ipv4.conf.default.rp_filter", "0"),
    ("ipv4.conf.all.route_localnet", "0"),
    ("ipv4.conf.default.route_localnet", "0"),
    ("ipv4.conf.all.send_redirects", "0"),
    ("ipv4.conf.default.send_redirects", "0"),
    ("ipv4.conf.all.accept_local", "0"),
    ("ipv6.conf.all.accept_ra", "0"),
    ("ipv6.conf.default.accept_ra", "0"),
    ("ipv6.conf.default.accept_dad", "0"),
    ("ipv6.conf.all.disable_ipv6", "0"),
    ("ipv6.conf.default.disable_ipv6", "0"),
    // Every reject is answered.
    ("ipv4.icmp_ratelimit", "0"),
    ("ipv4.icmp_ratemask", "0"),
    ("ipv4.icmp_msgs_per_sec", "1000000"),
    ("ipv4.icmp_msgs_burst", "1000000"),
    ("ipv6.icmp.ratelimit", "0"),
];

/// `ip -batch` in the host's namespace.
pub const LINKS: &str = "\
link set lo up
link add eth0 address 02:00:00:00:00:a0 type veth peer name eth0 address 02:00:00:00:00:50 netns SCANNER
link add eth1 address 02:00:00:00:00:a1 type veth peer name eth1 address 02:00:00:00:00:51 netns SCANNER
link add br0 address 02:00:00:00:00:b0 type bridge mcast_snooping 0
link add vc2 type veth peer name c2 address 02:00:00:00:00:c2 netns CONTAINERS
link add vc3 type veth peer name c3 address 02:00:00:00:00:c3 netns CONTAINERS
link set vc2 master br0
link set vc3 master br0
addr add 198.18.0.2/24 dev eth0
addr add 198.18.1.2/24 dev eth1
addr add 172.17.0.1/16 dev br0
addr add 2001:db8::2/64 dev eth0 nodad
addr add 2001:db8:1::2/64 dev eth1 nodad
addr add fd00:17::1/64 dev br0 nodad
link set eth0 up
link set eth1 up
link set br0 up
link set vc2 up
link set vc3 up
";

/// And once the far ends are up. Mark 0x40/0xf0 has a routing table of its own.
pub const ROUTES: &str = "\
route add default via 198.18.0.1 dev eth0
route add 198.19.0.0/16 via 198.18.0.1 dev eth0
route add blackhole 198.18.66.0/24
route add prohibit 198.18.67.0/24
route add unreachable 198.18.68.0/24
route add default via 198.18.1.1 dev eth1 table 100
rule add fwmark 0x40/0xf0 lookup 100 priority 1000
";

pub const ROUTES_IPV6: &str = "\
route add default via 2001:db8::1 dev eth0
route add blackhole 2001:db8:66::/48
route add unreachable 2001:db8:68::/48
route add default via 2001:db8:1::1 dev eth1 table 100
rule add fwmark 0x40/0xf0 lookup 100 priority 1000
";

/// Addresses that are told by neighbour entries for ever: on-link prefix, last parts, link.
pub const NEIGHBOURS: &[(&str, &[&str], Link)] = &[
    ("198.18.0.", &["1", "3", "77"], Link::Eth0),
    ("2001:db8::", &["1", "3", "77"], Link::Eth0),
    ("198.18.1.", &["1", "3"], Link::Eth1),
    ("2001:db8:1::", &["1", "3"], Link::Eth1),
    ("172.17.0.", &["2", "4", "5"], Link::C2),
    ("fd00:17::", &["2", "4", "5"], Link::C2),
    ("172.17.0.", &["3"], Link::C3),
    ("fd00:17::", &["3"], Link::C3),
];
