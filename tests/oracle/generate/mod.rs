//! Seeded rulesets with packets that meet them.

mod draw;
mod iptables;
mod matches;
mod nat;
mod nft;
mod pool;
mod shapes;
mod shots;

use std::collections::BTreeSet;

use draw::Draw;
use pool::{PORTS, Version};

use crate::lab::Shot;
use crate::rules::Rules;

/// A ruleset, its packets, and what the rules are made of.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub rules: Rules,
    pub shots: Vec<Shot>,
    pub features: BTreeSet<&'static str>,
}

/// The case of a seed; the same one each time.
pub fn case(seed: u64) -> Case {
    let draw = &Draw::new(seed);
    let ports = draw.some(PORTS, 4);
    let mut rules = Rules::default();
    let mut ipv6 = 30;
    match draw.below(100) {
        0..32 => rules.nft = nft::nft(draw, &ports),
        32..44 => ipv6 = iptables(draw, &mut rules, &ports, Backends { nft: true, legacy: false }),
        44..52 => ipv6 = iptables(draw, &mut rules, &ports, Backends { nft: false, legacy: true }),
        52..56 => {
            draw.note("iptables of both backends");
            ipv6 = iptables(draw, &mut rules, &ports, Backends { nft: true, legacy: true });
        }
        56..62 => {
            draw.note("iptables beside nftables");
            rules.nft = nft::nft(draw, &ports);
            let legacy = draw.chance(50);
            ipv6 = iptables(draw, &mut rules, &ports, Backends { nft: !legacy, legacy });
        }
        _ => {
            shapes::shape(draw, &mut rules, &ports);
            if draw.chance(25) {
                rules.nft += &nft::nft(draw, &ports);
            }
        }
    }
    settings(draw, &mut rules);
    let shots = shots::shots(draw, ipv6, &ports);
    Case { seed, rules, shots, features: draw.features() }
}

#[derive(Clone, Copy, Debug)]
struct Backends {
    nft: bool,
    legacy: bool,
}

/// Random iptables rules; gives the share of IPv6 packets that suits them, in percent.
fn iptables(draw: &Draw, rules: &mut Rules, ports: &[u16], backends: Backends) -> usize {
    let sets = draw.chance(40);
    if sets {
        rules.ipset = iptables::ipset(draw);
    }
    let ipv6 = draw.chance(40);
    if backends.nft {
        draw.note("iptables on nftables");
        rules.iptables = iptables::iptables(draw, Version::V4, ports, sets);
        if ipv6 {
            draw.note("ip6tables on nftables");
            rules.ip6tables = iptables::iptables(draw, Version::V6, ports, sets);
        }
    }
    if backends.legacy {
        draw.note("legacy iptables");
        rules.legacy = iptables::iptables(draw, Version::V4, ports, sets);
        if ipv6 {
            draw.note("legacy ip6tables");
            rules.legacy6 = iptables::iptables(draw, Version::V6, ports, sets);
        }
    }
    if ipv6 { 40 } else { 5 }
}

/// Settings that decide about packets besides rules.
fn settings(draw: &Draw, rules: &mut Rules) {
    let of: &[(usize, &'static str, &str, &str)] = &[
        (8, "route_localnet", "ipv4.conf.all.route_localnet", "1"),
        (6, "rp_filter strict", "ipv4.conf.all.rp_filter", "1"),
        (5, "rp_filter strict", "ipv4.conf.eth1.rp_filter", "1"),
        (5, "rp_filter loose", "ipv4.conf.all.rp_filter", "2"),
        (6, "no forwarding", "ipv4.ip_forward", "0"),
        (5, "no IPv6 forwarding", "ipv6.conf.all.forwarding", "0"),
        (7, "no br_netfilter", "bridge.bridge-nf-call-iptables", "0"),
    ];
    for (percent, feature, name, value) in of {
        if draw.chance(*percent) {
            draw.note(feature);
            rules.settings.insert((*name).to_owned(), (*value).to_owned());
        }
    }
}
