//! The packets of a case.

use std::net::IpAddr;

use postern::model::Transport;

use super::draw::Draw;
use super::pool::{PORTS, Version};
use crate::lab::Shot;
use crate::wiring::Link;

pub const SHOTS: usize = 20;

/// So many packets of one family or the other, no two with the same source port. `ports`: what the rules speak of.
pub fn shots(draw: &Draw, ipv6_percent: usize, ports: &[u16]) -> Vec<Shot> {
    (0..SHOTS)
        .map(|index| {
            let version = if draw.chance(ipv6_percent) { Version::V6 } else { Version::V4 };
            let from = draw.weighted(&[(62, Link::Eth0), (20, Link::Eth1), (14, Link::C2), (4, Link::C3)]);
            let base = draw.pick(&[1100, 20_000, 33_000, 61_000]);
            let (mut source, mut destination) = (source(draw, version, from), destination(draw, version));
            // Nobody sends a packet to himself over a wire.
            while source == destination {
                destination = self::destination(draw, version);
            }
            if ["198.18.67.1", "198.18.68.1"].iter().any(|address| address.parse() == Ok(destination)) {
                // The kernel answers one source a second about routes that refuse (ip_error), and no setting of a
                // namespace changes that.
                source = IpAddr::from([198, 19, draw.between(10, 250) as u8, draw.between(1, 250) as u8]);
            }
            Shot {
                from,
                transport: if draw.chance(68) { Transport::Tcp } else { Transport::Udp },
                source,
                source_port: base + index as u16,
                destination,
                destination_port: if draw.chance(90) { draw.pick(ports) } else { draw.pick(PORTS) },
            }
        })
        .collect()
}

fn source(draw: &Draw, version: Version, from: Link) -> IpAddr {
    let text = match (version, from) {
        (Version::V4, Link::Eth0) => draw.weighted(&[
            (70, "198.18.0.1"),
            (12, "198.18.0.77"),
            (14, "198.19.5.5"),
            (2, "172.17.0.5"),
            (1, "198.18.0.2"),
            (1, "127.0.0.5"),
        ]),
        (Version::V4, Link::Eth1) => draw.weighted(&[(60, "198.18.1.1"), (35, "198.19.5.5"), (5, "198.18.0.1")]),
        (Version::V4, Link::C2) => "172.17.0.2",
        (Version::V4, Link::C3) => "172.17.0.3",
        (Version::V6, Link::Eth0) => {
            draw.weighted(&[(70, "2001:db8::1"), (12, "2001:db8::77"), (16, "2001:db8:99::5"), (2, "fd00:17::5")])
        }
        (Version::V6, Link::Eth1) => draw.weighted(&[(60, "2001:db8:1::1"), (40, "2001:db8:99::5")]),
        (Version::V6, Link::C2) => "fd00:17::2",
        (Version::V6, Link::C3) => "fd00:17::3",
    };
    text.parse().unwrap()
}

fn destination(draw: &Draw, version: Version) -> IpAddr {
    let text = match version {
        Version::V4 => draw.weighted(&[
            (44, "198.18.0.2"),
            (11, "198.18.1.2"),
            (6, "172.17.0.1"),
            (16, "172.17.0.2"),
            (7, "172.17.0.3"),
            (6, "127.0.0.1"),
            (5, "198.19.9.9"),
            (2, "198.18.1.1"),
            (1, "198.18.66.1"),
            (1, "198.18.67.1"),
            (1, "198.18.68.1"),
        ]),
        Version::V6 => draw.weighted(&[
            (46, "2001:db8::2"),
            (12, "2001:db8:1::2"),
            (7, "fd00:17::1"),
            (18, "fd00:17::2"),
            (8, "fd00:17::3"),
            (5, "2001:db8:99::9"),
            (1, "::1"),
            (1, "2001:db8:66::1"),
            (1, "2001:db8:68::1"),
        ]),
    };
    text.parse().unwrap()
}
