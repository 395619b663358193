//! Random nftables rules: tables of each family, base chains at each hook, chains to jump to, sets and maps.

use std::fmt::Write as _;

use super::draw::Draw;
use super::pool::{INNER_PORTS, Version};
use super::{matches, nat};

/// Table families that packets of the lab meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ip,
    Ip6,
    Inet,
    Netdev,
    Bridge,
}

/// What a chain may hold: by the hooks that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Ingress of a device, or a bridge's own hooks: no connection tracking, no routing.
    Link,
    /// Before connection tracking.
    Raw,
    Prerouting,
    /// Input and forward: the only ones from where IPv4 and IPv6 may reject in every version.
    Filter,
    Postrouting,
    NatPrerouting,
    NatInput,
    NatPostrouting,
}

/// A table while it is written.
struct Table {
    family: Family,
    /// Chains that can be jumped to: name and place.
    chains: Vec<(String, Place)>,
    sets: Vec<matches::Named>,
    text: String,
}

impl Family {
    const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
        }
    }

    /// A version that a rule in this table can be about.
    pub fn version(self, draw: &Draw) -> Version {
        match self {
            Self::Ip => Version::V4,
            Self::Ip6 => Version::V6,
            _ => {
                if draw.chance(68) {
                    Version::V4
                } else {
                    Version::V6
                }
            }
        }
    }
}

/// Input for `nft -f`. `ports`: what the rules speak of.
pub fn nft(draw: &Draw, ports: &[u16]) -> String {
    let mut text = String::new();
    for _ in 0..draw.weighted(&[(5, 1), (4, 2), (2, 3)]) {
        let family = draw.weighted(&[
            (36, Family::Ip),
            (12, Family::Ip6),
            (38, Family::Inet),
            (7, Family::Netdev),
            (7, Family::Bridge),
        ]);
        text += &table(draw, family, ports);
    }
    text
}

fn table(draw: &Draw, family: Family, ports: &[u16]) -> String {
    let name = draw.name("t");
    draw.note(match family {
        Family::Ip => "table ip",
        Family::Ip6 => "table ip6",
        Family::Inet => "table inet",
        Family::Netdev => "table netdev",
        Family::Bridge => "table bridge",
    });
    let mut table = Table { family, chains: Vec::new(), sets: Vec::new(), text: String::new() };
    if draw.chance(6) {
        table.text += &draw.with("dormant table", "flags dormant\n");
    }
    for _ in 0..draw.weighted(&[(3, 0), (3, 1), (2, 2)]) {
        let version = family.version(draw);
        let (named, text) = matches::named(draw, version, ports);
        table.text += &text;
        table.sets.push(named);
    }
    let mut bases = base_chains(draw, family);
    bases.dedup_by(|a, b| a.0 == b.0);
    // Chains to jump to come first, each one able to jump to those before it.
    for (place, _) in &bases {
        if draw.chance(45) {
            let chain = draw.name("c");
            let rules = rules(draw, &table, *place, ports, false);
            let _ = writeln!(table.text, "chain {chain} {{\n{rules}}}");
            table.chains.push((chain, *place));
        }
    }
    for (place, header) in &bases {
        let chain = draw.name("b");
        let rules = rules(draw, &table, *place, ports, true);
        let _ = writeln!(table.text, "chain {chain} {{\n{header}\n{rules}}}");
    }
    format!("table {} {name} {{\n{}}}\n", family.name(), table.text)
}

/// Places and `type … hook … priority … policy …` lines.
fn base_chains(draw: &Draw, family: Family) -> Vec<(Place, String)> {
    let mut chains = Vec::new();
    for _ in 0..draw.weighted(&[(3, 1), (5, 2), (4, 3), (1, 4)]) {
        let policy = |draw: &Draw, percent: usize| {
            if draw.chance(percent) {
                draw.with("policy drop", "policy drop;")
            } else {
                draw.pick(&["", "policy accept;"]).to_owned()
            }
        };
        let shift = draw.pick(&[0_i32, 0, -7, -3, 2, 5]);
        chains.push(match family {
            Family::Netdev => {
                let device = draw.pick(&["device eth0", "device eth1", "devices = { eth0, eth1 }"]);
                let header = draw.with("hook ingress", format!("type filter hook ingress {device} priority {shift};"));
                // ARP has to pass, or the lab could not tell when all has arrived.
                let policy = if draw.chance(12) { " policy drop;\nether type arp accept" } else { "" };
                (Place::Link, format!("{header}{policy}"))
            }
            Family::Bridge => {
                let hook = draw.pick(&["prerouting", "input", "forward", "forward", "postrouting"]);
                (
                    Place::Link,
                    draw.with("hook of a bridge", format!("type filter hook {hook} priority {};", -200 + shift)),
                )
            }
            _ => match draw.below(100) {
                0..8 => {
                    let priority = -300 + shift;
                    (Place::Raw, draw.with("priority raw", format!("type filter hook prerouting priority {priority};")))
                }
                8..17 => {
                    let priority = -150 + shift;
                    let policy = policy(draw, 6);
                    let text = format!("type filter hook prerouting priority {priority}; {policy}");
                    (Place::Prerouting, draw.with("priority mangle", text))
                }
                17..34 => {
                    let priority = draw.pick(&["filter", "-10", "security", "3"]);
                    let policy = policy(draw, 18);
                    (
                        Place::Filter,
                        draw.with("hook input", format!("type filter hook input priority {priority}; {policy}")),
                    )
                }
                34..46 => {
                    let priority = draw.pick(&["filter", "-12", "security", "4"]);
                    let policy = policy(draw, 14);
                    let text = format!("type filter hook forward priority {priority}; {policy}");
                    (Place::Filter, draw.with("hook forward", text))
                }
                46..50 => {
                    let priority = draw.pick(&["mangle", "filter"]);
                    let text = format!("type filter hook postrouting priority {priority};");
                    (Place::Postrouting, draw.with("hook postrouting", text))
                }
                50..53 => {
                    (Place::Postrouting, draw.with("chain type route", "type route hook output priority mangle;"))
                }
                53..57 if family == Family::Inet => {
                    let text = "type filter hook ingress device eth0 priority 0;";
                    (Place::Link, draw.with("hook ingress of inet", text))
                }
                53..84 => {
                    let priority = draw.pick(&["-100", "-100", "-110", "-90"]);
                    let text = format!("type nat hook prerouting priority {priority};");
                    (Place::NatPrerouting, draw.with("nat prerouting", text))
                }
                84..96 => {
                    let priority = draw.pick(&["100", "100", "90"]);
                    let text = format!("type nat hook postrouting priority {priority};");
                    (Place::NatPostrouting, draw.with("nat postrouting", text))
                }
                _ => (Place::NatInput, draw.with("nat input", "type nat hook input priority 100;")),
            },
        });
    }
    if matches!(family, Family::Ip | Family::Inet) && draw.chance(50) {
        let text = "type nat hook prerouting priority -95;";
        chains.push((Place::NatPrerouting, draw.with("nat prerouting", text)));
    }
    // Chains of one place and one priority would be asked in an order that no dump tells.
    let mut kept: Vec<(Place, String)> = Vec::new();
    for chain in chains {
        let head = |text: &str| text.split(';').next().map(str::to_owned);
        if !kept.iter().any(|(_, other)| head(other) == head(&chain.1)) {
            kept.push(chain);
        }
    }
    kept
}

fn rules(draw: &Draw, table: &Table, place: Place, ports: &[u16], base: bool) -> String {
    let count = if base { draw.between(2, 7) } else { draw.between(1, 4) };
    (0..count).map(|_| rule(draw, table, place, ports) + "\n").collect()
}

fn rule(draw: &Draw, table: &Table, place: Place, ports: &[u16]) -> String {
    let version = table.family.version(draw);
    let protocol = draw.weighted(&[(7, "tcp"), (3, "udp")]);
    let context = matches::Context { family: table.family, place, version, protocol, ports, sets: &table.sets };
    if matches!(place, Place::NatPrerouting | Place::NatInput | Place::NatPostrouting) && draw.chance(80) {
        return nat::nat(draw, &context);
    }
    if draw.chance(5) {
        let verdict = draw.pick(&["accept", "drop"]);
        return draw
            .with("set of protocols", format!("meta l4proto {{ tcp, udp }} th dport {} {verdict}", draw.pick(ports)));
    }
    let mut parts = Vec::new();
    for _ in 0..draw.weighted(&[(1, 0), (6, 1), (4, 2), (1, 3)]) {
        parts.push(matches::matching(draw, &context));
    }
    let unmatched = parts.is_empty();
    if draw.chance(8) {
        parts.push(draw.with("counter", "counter"));
    }
    if draw.chance(4) {
        parts.push(draw.with("log", "log prefix \"seen: \""));
    }
    if draw.chance(3) {
        parts.insert(0, format!("{protocol} dport {} {}", draw.pick(ports), limit(draw)));
    }
    parts.push(action(draw, table, &context, unmatched));
    if draw.chance(6) {
        parts.push(draw.with("comment", "comment \"why not\""));
    }
    parts.join(" ")
}

/// Nobody can tell from a dump whether these let a packet on: only in rules that few packets meet.
fn limit(draw: &Draw) -> String {
    match draw.below(3) {
        0 => draw.with("limit", "limit rate 5/minute burst 3 packets"),
        1 => draw.with("limit", "limit rate over 1000/second"),
        _ => draw.with("quota", "quota over 1 mbytes"),
    }
}

fn action(draw: &Draw, table: &Table, context: &matches::Context<'_>, unmatched: bool) -> String {
    let place = context.place;
    let targets: Vec<&String> = table.chains.iter().filter(|(_, of)| *of == place).map(|(name, _)| name).collect();
    if !targets.is_empty() && draw.chance(22) {
        let target = targets[draw.below(targets.len())];
        return match draw.below(4) {
            0 => draw.with("goto", format!("goto {target}")),
            _ => draw.with("jump", format!("jump {target}")),
        };
    }
    // A rule without any match ends nothing: too little would be left to see.
    if unmatched || draw.chance(14) {
        if let Some(text) = marking(draw, place) {
            return text;
        }
        return draw.with("counter", "counter");
    }
    if draw.chance(16) {
        return matches::verdict_map(draw, context, &targets);
    }
    match place {
        Place::Raw if draw.chance(20) => draw.with("notrack", "notrack"),
        Place::Filter if draw.chance(22) => reject(draw, context),
        _ => match draw.below(100) {
            0..52 => draw.with("accept", "accept"),
            52..84 => draw.with("drop", "drop"),
            84..93 => draw.with("return", "return"),
            _ => draw.with("continue", "continue"),
        },
    }
}

fn marking(draw: &Draw, place: Place) -> Option<String> {
    if place == Place::Link {
        return None;
    }
    // Before connection tracking there is no connection to mark.
    let connection = place != Place::Raw;
    Some(match draw.below(if connection { 8 } else { 4 }) {
        0 => draw.with("meta mark set", "meta mark set 0x1"),
        1 => draw.with("meta mark set", format!("meta mark set {}", draw.pick(&["0x2", "0x10", "0x40", "0x41"]))),
        2 => draw.with("mark arithmetic", "meta mark set meta mark | 0x4"),
        3 => draw.with("mark arithmetic", "meta mark set meta mark & 0xfffffff0 | 0x2"),
        4 => draw.with("ct mark set", "ct mark set 0x1"),
        5 => draw.with("ct mark set", "ct mark set meta mark"),
        6 => draw.with("meta mark from ct mark", "meta mark set ct mark"),
        _ => draw.with("ct mark set", "ct mark set ct mark | 0x8"),
    })
}

fn reject(draw: &Draw, context: &matches::Context<'_>) -> String {
    if context.protocol == "tcp" && draw.chance(25) {
        return draw.with("reject with a reset", "meta l4proto tcp reject with tcp reset");
    }
    let kinds: &[(&str, &str)] = match (context.family, context.version) {
        (Family::Inet, _) if draw.chance(70) => &[
            ("reject", "reject"),
            ("reject", "reject"),
            ("reject with icmpx", "reject with icmpx type port-unreachable"),
            ("reject with icmpx", "reject with icmpx type admin-prohibited"),
            ("reject with icmpx", "reject with icmpx type host-unreachable"),
            ("reject with icmpx", "reject with icmpx type no-route"),
        ],
        (_, Version::V4) => &[
            ("reject with icmp", "reject with icmp type port-unreachable"),
            ("reject with icmp", "reject with icmp type host-prohibited"),
            ("reject with icmp", "reject with icmp type net-unreachable"),
            ("reject with icmp", "reject with icmp type prot-unreachable"),
            ("reject with icmp", "reject with icmp type admin-prohibited"),
        ],
        (_, Version::V6) => &[
            ("reject with icmpv6", "reject with icmpv6 type port-unreachable"),
            ("reject with icmpv6", "reject with icmpv6 type admin-prohibited"),
            ("reject with icmpv6", "reject with icmpv6 type addr-unreachable"),
            ("reject with icmpv6", "reject with icmpv6 type no-route"),
        ],
    };
    let (feature, text) = draw.pick(kinds);
    draw.with(feature, text)
}

/// A port inside, by the way of `ports`.
pub fn inner_port(draw: &Draw) -> u16 {
    draw.pick(INNER_PORTS)
}
