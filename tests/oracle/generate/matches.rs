//! Matches, sets and maps of nftables rules.

use super::draw::Draw;
use super::nft::{Family, Place};
use super::pool::Version;

/// Where a rule stands.
pub struct Context<'a> {
    pub family: Family,
    pub place: Place,
    /// What the rule is about: a rule of two minds is refused.
    pub version: Version,
    pub protocol: &'static str,
    pub ports: &'a [u16],
    pub sets: &'a [Named],
}

/// A named set or map, with the text that looks a packet up in it.
#[derive(Clone, Debug)]
pub struct Named {
    version: Version,
    /// A match, up to the verdict.
    lookup: String,
    /// The value of a verdict map: a statement that ends the rule.
    ends: bool,
    feature: &'static str,
}

/// A named set, map or verdict map, and its declaration.
pub fn named(draw: &Draw, version: Version, ports: &[u16]) -> (Named, String) {
    let name = draw.name("s");
    let family = version.nft();
    let address = if version == Version::V4 { "ipv4_addr" } else { "ipv6_addr" };
    let side = draw.pick(&["saddr", "daddr"]);
    let addresses = |draw: &Draw| {
        let of = if side == "saddr" { version.sources() } else { version.destinations() };
        let mut of: Vec<&str> = draw.some(of, 3);
        of.dedup();
        of
    };
    let some_ports = |draw: &Draw| draw.some(ports, 3);
    let (lookup, ends, feature, body) = match draw.below(8) {
        0 => {
            let elements = addresses(draw).join(", ");
            (
                format!("{family} {side} @{name}"),
                false,
                "named set",
                format!("type {address}; elements = {{ {elements} }}"),
            )
        }
        1 => {
            let mut elements: Vec<String> = draw.some(version.prefixes(), 1).iter().map(|p| (*p).to_owned()).collect();
            if elements[0] == "127.0.0.0/8" || elements[0].starts_with("fd00") {
                elements.push(draw.pick(&version.ranges()[..1]).to_owned());
            }
            let elements = elements.join(", ");
            let body = format!("type {address}; flags interval; elements = {{ {elements} }}");
            (format!("{family} {side} @{name}"), false, "named interval set", body)
        }
        2 => {
            let elements = join(&some_ports(draw));
            (
                format!("PROTOCOL dport @{name}"),
                false,
                "named set",
                format!("type inet_service; elements = {{ {elements} }}"),
            )
        }
        3 => {
            let ports = some_ports(draw);
            let elements: Vec<String> =
                addresses(draw).iter().zip(&ports).map(|(address, port)| format!("{address} . {port}")).collect();
            let elements = elements.join(", ");
            let body = format!("type {address} . inet_service; elements = {{ {elements} }}");
            (format!("{family} {side} . PROTOCOL dport @{name}"), false, "concatenation in a named set", body)
        }
        4 => {
            let prefix = draw.pick(&version.prefixes()[..3]);
            let low = draw.pick(&[1, 80, 1024]);
            let body = format!(
                "type {address} . inet_proto . inet_service; flags interval; elements = {{ {prefix} . tcp . {low}-9000, {prefix} . udp . 53 }}"
            );
            let lookup = format!("{family} {side} . meta l4proto . th dport @{name}");
            (lookup, false, "concatenation of intervals", body)
        }
        5 => {
            let elements: Vec<String> = some_ports(draw)
                .iter()
                .map(|port| format!("{port} : {}", draw.pick(&["accept", "drop", "drop", "return", "continue"])))
                .collect();
            let elements = elements.join(", ");
            let body = format!("type inet_service : verdict; elements = {{ {elements} }}");
            (format!("{} dport vmap @{name}", draw.pick(&["PROTOCOL", "th"])), true, "named verdict map", body)
        }
        6 => {
            let elements: Vec<String> = addresses(draw)
                .iter()
                .map(|address| format!("{address} . {} : {}", draw.pick(ports), draw.pick(&["accept", "drop"])))
                .collect();
            let elements = elements.join(", ");
            let body = format!("type {address} . inet_service : verdict; elements = {{ {elements} }}");
            (format!("{family} {side} . PROTOCOL dport vmap @{name}"), true, "named verdict map", body)
        }
        _ => {
            let body = "type ifname; elements = { \"eth0\", \"lo\" }".to_owned();
            (format!("iifname @{name}"), false, "named set of interfaces", body)
        }
    };
    let kind = if body.contains(": verdict") { "map" } else { "set" };
    let lookup = if lookup.starts_with("th ") { format!("meta l4proto PROTOCOL {lookup}") } else { lookup };
    let text = format!("{kind} {name} {{ {body}; }}\n");
    (Named { version, lookup, ends, feature }, text)
}

/// One match.
pub fn matching(draw: &Draw, context: &Context<'_>) -> String {
    if draw.chance(20) {
        let sets: Vec<&Named> =
            context.sets.iter().filter(|set| !set.ends && suits(set.version, &set.lookup, context)).collect();
        if !sets.is_empty() {
            let set = sets[draw.below(sets.len())];
            return draw.with(set.feature, set.lookup.replace("PROTOCOL", context.protocol));
        }
    }
    match draw.below(100) {
        0..34 => port(draw, context),
        34..56 => address(draw, context),
        56..68 => interface(draw, context),
        68..80 => connection(draw, context),
        80..89 => meta(draw, context),
        89..95 => header(draw, context),
        _ => concatenation(draw, context),
    }
}

/// `ip saddr` in a table `ip6`, or beside `ip6 daddr`, is refused.
fn suits(version: Version, lookup: &str, context: &Context<'_>) -> bool {
    let about = lookup.starts_with("ip ") || lookup.starts_with("ip6 ");
    !about || version == context.version
}

fn port(draw: &Draw, context: &Context<'_>) -> String {
    let (protocol, one) = (context.protocol, draw.pick(context.ports));
    match draw.below(12) {
        0..5 => draw.with("dport", format!("{protocol} dport {one}")),
        5..7 => {
            let ports = join(&draw.some(context.ports, 3));
            draw.with("anonymous set", format!("{protocol} dport {{ {ports} }}"))
        }
        7 => draw.with("dport range", format!("{protocol} dport {}", draw.pick(&["1-1024", "80-8080", "8000-65535"]))),
        8 => draw.with("dport !=", format!("{protocol} dport != {one}")),
        9 => {
            let ports = join(&draw.some(context.ports, 2));
            draw.with("!= set", format!("{protocol} dport != {{ {ports} }}"))
        }
        10 => {
            let text = draw.pick(&["< 1024", "> 1023", "<= 80", ">= 443"]);
            draw.with("dport < >", format!("{protocol} dport {text}"))
        }
        _ => match draw.below(3) {
            0 => draw.with("th dport", format!("meta l4proto {protocol} th dport {one}")),
            1 => draw.with("sport range", format!("{protocol} sport 1024-32767")),
            _ => draw.with("sport range", format!("{protocol} sport {{ 1-1023, 32768-65535 }}")),
        },
    }
}

fn address(draw: &Draw, context: &Context<'_>) -> String {
    let version = context.version;
    let family = version.nft();
    let (side, of) = if draw.chance(45) { ("saddr", version.sources()) } else { ("daddr", version.destinations()) };
    match draw.below(12) {
        0..4 => draw.with("address", format!("{family} {side} {}", draw.pick(of))),
        4..7 => draw.with("prefix", format!("{family} {side} {}", draw.pick(version.prefixes()))),
        7 => draw.with("address !=", format!("{family} {side} != {}", draw.pick(of))),
        8 => draw.with("prefix !=", format!("{family} {side} != {}", draw.pick(version.prefixes()))),
        9 => {
            let mut some = draw.some(of, 3);
            some.dedup();
            draw.with("anonymous set of addresses", format!("{family} {side} {{ {} }}", some.join(", ")))
        }
        10 => {
            let (range, prefix) = (draw.pick(version.ranges()), draw.pick(&version.prefixes()[2..]));
            let text =
                if range.starts_with(&prefix[..6]) { range.to_owned() } else { format!("{{ {range}, {prefix} }}") };
            draw.with("address range", format!("{family} {side} {text}"))
        }
        _ => match version {
            Version::V4 => {
                draw.with("address with mask", format!("ip {side} & 255.255.0.255 == 198.18.0.{}", draw.between(1, 2)))
            }
            Version::V6 => draw.with("address with mask", format!("ip6 {side} & ffff:ffff:: == 2001:db8::")),
        },
    }
}

fn interface(draw: &Draw, context: &Context<'_>) -> String {
    if context.place == Place::Link {
        return match (context.family, draw.below(3)) {
            (Family::Bridge, 0) => draw.with("iifname", "iifname \"vc2\""),
            (_, 2) => draw.with("ether saddr", "ether saddr 02:00:00:00:00:50"),
            _ => draw.with("iifname", "iifname \"eth0\""),
        };
    }
    if matches!(context.place, Place::Postrouting | Place::NatPostrouting)
        || (context.place == Place::Filter && draw.chance(25))
    {
        return match draw.below(4) {
            0 => draw.with("oif", "oif \"br0\""),
            1 => draw.with("oifname !=", "oifname != \"br0\""),
            2 => draw.with("oifname with wildcard", "oifname \"eth*\""),
            _ => draw.with("oifname", format!("oifname \"{}\"", draw.pick(&["br0", "br0", "eth0", "eth1"]))),
        };
    }
    match draw.below(9) {
        0 => draw.with("iif", "iif \"eth0\""),
        1 => draw.with("iif", "iif != \"lo\""),
        2 => draw.with("iifname with wildcard", "iifname \"eth*\""),
        3 => draw.with("iifname with wildcard", "iifname != \"br*\""),
        4 => draw.with("iifname set", "iifname { \"eth0\", \"br0\" }"),
        5 => draw.with("ether saddr", "ether saddr { 02:00:00:00:00:50, 02:00:00:00:00:51 }"),
        _ => draw.with("iifname", format!("iifname \"{}\"", draw.pick(&["eth0", "eth0", "eth1", "br0"]))),
    }
}

fn connection(draw: &Draw, context: &Context<'_>) -> String {
    // Without connection tracking before them these say nothing, or something else by what else is loaded.
    if matches!(context.place, Place::Link) {
        return port(draw, context);
    }
    if context.place == Place::Raw {
        return meta(draw, context);
    }
    match draw.below(14) {
        0..3 => draw.with("ct state", "ct state new"),
        3 => draw.with("ct state", "ct state established,related"),
        4 => draw.with("ct state !=", "ct state != { established, related }"),
        5 => draw.with("ct state", "ct state { new, untracked }"),
        6 => draw.with("ct state", draw.pick(&["ct state invalid", "ct state untracked"])),
        7 | 8 => draw.with("ct status dnat", "ct status dnat"),
        9 => draw.with("ct mark", draw.pick(&["ct mark 0x1", "ct mark & 0x8 == 0x8", "ct mark != 0x0"])),
        10 => draw.with("ct direction", "ct direction original"),
        11 => {
            let port = draw.pick(context.ports);
            draw.with(
                "ct original proto-dst",
                format!("meta l4proto {} ct original proto-dst {port}", context.protocol),
            )
        }
        12 => {
            let (family, of) = (context.version.nft(), draw.pick(context.version.destinations()));
            draw.with("ct original daddr", format!("ct original {family} daddr {of}"))
        }
        _ => draw.with("ct state", "ct state new,established"),
    }
}

fn meta(draw: &Draw, context: &Context<'_>) -> String {
    let link = context.place == Place::Link;
    if matches!(context.place, Place::Raw | Place::Prerouting) && draw.chance(35) {
        return match draw.below(4) {
            0 | 1 => {
                draw.with("fib saddr iif", draw.pick(&["fib saddr . iif oif missing", "fib saddr . iif oif != 0"]))
            }
            _ => draw.with("fib daddr iif type", "fib daddr . iif type local"),
        };
    }
    if link && draw.chance(50) {
        let text = if context.version == Version::V4 { "meta protocol ip" } else { "ether type ip6" };
        return draw.with("meta protocol", text);
    }
    match draw.below(12) {
        0 => draw.with("l4proto", format!("meta l4proto {}", context.protocol)),
        1 if matches!(context.family, Family::Inet) => {
            draw.with("nfproto", format!("meta nfproto ipv{}", if context.version == Version::V4 { 4 } else { 6 }))
        }
        2 => draw.with("pkttype", draw.pick(&["meta pkttype host", "meta pkttype != broadcast"])),
        3..6 if !link => {
            let text = [
                "meta mark 0x1",
                "meta mark & 0x4 == 0x4",
                "meta mark & 0xf0 != 0x0",
                "meta mark != 0x2",
                "meta mark { 0x1, 0x2 }",
            ];
            draw.with("meta mark", draw.pick(&text))
        }
        6..10 if !link => {
            let text = [
                "fib daddr type local",
                "fib daddr type local",
                "fib daddr type != local",
                "fib daddr type { local, broadcast }",
            ];
            draw.with("fib daddr type", draw.pick(&text))
        }
        10 => draw.with("meta length", draw.pick(&["meta length < 100", "meta length > 1000"])),
        _ => draw.with(
            "ip protocol",
            format!(
                "{} {}",
                if context.version == Version::V4 { "ip protocol" } else { "ip6 nexthdr" },
                context.protocol
            ),
        ),
    }
}

fn header(draw: &Draw, context: &Context<'_>) -> String {
    let choice = if context.protocol == "tcp" { draw.below(6) } else { draw.between(3, 5) };
    match (choice, context.version) {
        (0 | 1, _) => {
            draw.with("tcp flags", draw.pick(&["tcp flags syn", "tcp flags & (fin | syn | rst | ack) == syn"]))
        }
        (2, _) => draw.with(
            "tcp flags",
            draw.pick(&["tcp flags & (fin | rst) != 0x0", "tcp flags ! ack", "tcp flags syn / fin,syn,rst,ack"]),
        ),
        (3, Version::V4) => draw.with("ip ttl", draw.pick(&["ip ttl > 10", "ip ttl 60-64", "ip ttl < 20"])),
        (3, Version::V6) => draw.with("ip6 hoplimit", "ip6 hoplimit > 10"),
        (4, Version::V4) => draw.with("ip length", "ip length 20-100"),
        (4, Version::V6) => draw.with("ip6 nexthdr", format!("ip6 nexthdr {}", context.protocol)),
        _ => draw.with("ip version", if context.version == Version::V4 { "ip version 4" } else { "ip6 version 6" }),
    }
}

fn concatenation(draw: &Draw, context: &Context<'_>) -> String {
    let (version, family, protocol) = (context.version, context.version.nft(), context.protocol);
    let (a, b) = (draw.pick(version.destinations()), draw.pick(version.destinations()));
    let (p, q) = (draw.pick(context.ports), draw.pick(context.ports));
    let second = if (a, p) == (b, q) { String::new() } else { format!(", {b} . {q}") };
    match draw.below(3) {
        0 => draw.with("concatenation", format!("{family} daddr . {protocol} dport {{ {a} . {p}{second} }}")),
        1 if context.place != Place::Link => draw.with(
            "concatenation",
            format!("iifname . {protocol} dport {{ \"eth0\" . {p}, \"eth1\" . {q}, \"br0\" . 80 }}"),
        ),
        _ => {
            let prefix = draw.pick(&version.prefixes()[..3]);
            draw.with(
                "concatenation with intervals",
                format!("{family} saddr . {protocol} dport {{ {prefix} . {p}-{} }}", p.saturating_add(500)),
            )
        }
    }
}

/// A verdict map: the end of a rule.
pub fn verdict_map(draw: &Draw, context: &Context<'_>, chains: &[&String]) -> String {
    let named: Vec<&Named> =
        context.sets.iter().filter(|set| set.ends && suits(set.version, &set.lookup, context)).collect();
    if !named.is_empty() && draw.chance(50) {
        let set = named[draw.below(named.len())];
        return draw.with(set.feature, set.lookup.replace("PROTOCOL", context.protocol));
    }
    let verdict = |draw: &Draw| match chains.first() {
        Some(chain) if draw.chance(30) => draw.with("verdict map with jump", format!("jump {chain}")),
        _ => draw.pick(&["accept", "drop", "drop", "return"]).to_owned(),
    };
    let protocol = context.protocol;
    let ports = draw.some(context.ports, 3);
    match draw.below(4) {
        0 if context.place != Place::Link => {
            let (a, b) = (verdict(draw), verdict(draw));
            draw.with("verdict map", format!("iifname vmap {{ \"eth0\" : {a}, \"eth1\" : {b} }}"))
        }
        1 if !matches!(context.place, Place::Link | Place::Raw) => {
            let a = verdict(draw);
            draw.with(
                "verdict map of ct state",
                format!("ct state vmap {{ established : accept, related : accept, invalid : drop, new : {a} }}"),
            )
        }
        2 => {
            let family = context.version.nft();
            let (a, b) = (verdict(draw), verdict(draw));
            let [first, second] = [context.version.prefixes()[0], context.version.prefixes()[3]];
            draw.with("verdict map of intervals", format!("{family} saddr vmap {{ {first} : {a}, {second} : {b} }}"))
        }
        _ => {
            let elements: Vec<String> = ports.iter().map(|port| format!("{port} : {}", verdict(draw))).collect();
            draw.with("verdict map", format!("{protocol} dport vmap {{ {} }}", elements.join(", ")))
        }
    }
}

/// `80, 443`.
pub fn join(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
