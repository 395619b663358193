//! Random rules in the language of iptables-save, for each family and both backends.

use std::fmt::Write as _;

use super::draw::Draw;
use super::pool::{INNER_PORTS, Version};

/// A chain of a table, as far as it decides what may stand in it.
#[derive(Clone, Copy, Debug)]
struct Chain {
    table: &'static str,
    name: &'static str,
}

const CHAINS: &[(usize, Chain)] = &[
    (14, Chain { table: "raw", name: "PREROUTING" }),
    (14, Chain { table: "mangle", name: "PREROUTING" }),
    (5, Chain { table: "mangle", name: "INPUT" }),
    (5, Chain { table: "mangle", name: "FORWARD" }),
    (85, Chain { table: "nat", name: "PREROUTING" }),
    (11, Chain { table: "nat", name: "INPUT" }),
    (34, Chain { table: "nat", name: "POSTROUTING" }),
    (70, Chain { table: "filter", name: "INPUT" }),
    (60, Chain { table: "filter", name: "FORWARD" }),
    (14, Chain { table: "filter", name: "OUTPUT" }),
];

/// Input for `ipset restore`, of both families.
pub fn ipset(draw: &Draw) -> String {
    let mut text = String::from(
        "create v4addr hash:ip\ncreate v4net hash:net\ncreate v4ipport hash:ip,port\ncreate v6addr hash:ip family inet6\ncreate v6net hash:net family inet6\ncreate v6ipport hash:ip,port family inet6\ncreate ports bitmap:port range 0-65535\ncreate lists list:set\nadd lists v4addr\n",
    );
    for (short, version) in [("v4", Version::V4), ("v6", Version::V6)] {
        for address in draw.some(version.sources(), 2) {
            let _ = writeln!(text, "add {short}addr {address}");
        }
        let _ = writeln!(text, "add {short}net {}", draw.pick(version.prefixes()));
        let _ = writeln!(text, "add {short}ipport {},tcp:80", version.destinations()[0]);
        let _ = writeln!(text, "add {short}ipport {},udp:53", version.destinations()[3]);
    }
    text + "add ports 80\nadd ports 8080\n"
}

/// Input for `iptables-restore`, or `ip6tables-restore`. `sets`: the sets of [`ipset`] are there.
pub fn iptables(draw: &Draw, version: Version, ports: &[u16], sets: bool) -> String {
    let tables = ["raw", "mangle", "nat", "filter"];
    let mut lines: Vec<(&str, Vec<String>)> = tables.map(|table| (table, Vec::new())).to_vec();
    let mut declared: Vec<(&str, Vec<String>)> = tables.map(|table| (table, Vec::new())).to_vec();
    let mut users: Vec<(Chain, String)> = Vec::new();
    let put = |to: &mut Vec<(&str, Vec<String>)>, table: &str, line: String| {
        to.iter_mut().find(|(name, _)| *name == table).expect("all tables are there").1.push(line);
    };
    for _ in 0..draw.between(3, 7) {
        let chain = draw.weighted(CHAINS);
        if draw.chance(30) {
            let name = draw.name("USER");
            draw.note("iptables: user chain");
            put(&mut declared, chain.table, format!(":{name} - [0:0]"));
            for _ in 0..draw.between(1, 3) {
                let line = rule(draw, Scope { version, ports, sets }, chain, &name, &[]);
                put(&mut lines, chain.table, line);
            }
            users.push((chain, name));
        }
        for _ in 0..draw.between(1, 4) {
            let targets: Vec<&str> = users
                .iter()
                .filter(|(of, _)| (of.table, of.name) == (chain.table, chain.name))
                .map(|(_, name)| name.as_str())
                .collect();
            let line = rule(draw, Scope { version, ports, sets }, chain, chain.name, &targets);
            put(&mut lines, chain.table, line);
        }
    }
    let mut text = String::new();
    for ((table, lines), (_, declared)) in lines.iter().zip(&declared) {
        if lines.is_empty() && *table != "filter" {
            continue;
        }
        let _ = writeln!(text, "*{table}");
        let chains: &[&str] = match *table {
            "raw" => &["PREROUTING", "OUTPUT"],
            "mangle" => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
            "nat" => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
            _ => &["INPUT", "FORWARD", "OUTPUT"],
        };
        for chain in chains {
            let drop = *table == "filter" && *chain != "OUTPUT" && draw.chance(16);
            let policy = if drop { draw.with("iptables: policy DROP", "DROP") } else { "ACCEPT".to_owned() };
            let _ = writeln!(text, ":{chain} {policy} [0:0]");
        }
        for line in declared.iter().chain(lines) {
            let _ = writeln!(text, "{line}");
        }
        text += "COMMIT\n";
    }
    text
}

/// What rules may speak of.
#[derive(Clone, Copy, Debug)]
struct Scope<'a> {
    version: Version,
    ports: &'a [u16],
    /// There are ipsets.
    sets: bool,
}

fn rule(draw: &Draw, scope: Scope<'_>, chain: Chain, name: &str, users: &[&str]) -> String {
    let Scope { version, ports, sets } = scope;
    let protocol = draw.weighted(&[(7, "tcp"), (3, "udp")]);
    let mut parts = vec![format!("-A {name}")];
    let mut with_protocol = false;
    let weights = if chain.table == "nat" { [(8, 1), (2, 2), (0, 3)] } else { [(5, 1), (5, 2), (1, 3)] };
    for index in 0..draw.weighted(&weights) {
        let part = match draw.below(100) {
            0..30 if !with_protocol => {
                with_protocol = true;
                port(draw, protocol, ports)
            }
            30..50 if index == 0 => address(draw, version),
            50..60 if index != 1 => interface(draw, chain),
            60..78 if chain.table != "raw" => connection(draw, version, protocol, ports, &mut with_protocol),
            _ => other(draw, version, chain, sets, &mut with_protocol, protocol),
        };
        parts.push(part);
    }
    if draw.chance(6) {
        parts.push(draw.with("-m comment", "-m comment --comment \"a word or two\""));
    }
    if draw.chance(3) {
        parts.push(draw.with("-m limit", "-m limit --limit 5/min --limit-burst 3"));
        parts.push(format!("-s {}", version.sources()[2]));
    }
    // A reset and a port want the right protocol.
    let mut target = target(draw, version, chain, users);
    let said =
        parts.iter().find_map(|part| part.split_once("-p ")).map(|(_, rest)| rest.split(' ').next().unwrap_or(""));
    let (wants_tcp, wants_port) = (target.contains("tcp-reset"), target.contains("--to-ports") || has_port(&target));
    match said {
        None if wants_tcp || wants_port => parts.insert(1, "-p tcp".to_owned()),
        Some("udp" | "icmp" | "ipv6-icmp") if wants_tcp => target = "-j DROP".to_owned(),
        Some("icmp" | "ipv6-icmp") if wants_port => target = "-j ACCEPT".to_owned(),
        _ => {}
    }
    // Several parts may say the same thing in different words; an option may stand once.
    let mut seen = Vec::new();
    parts.retain(|part| {
        let option = part.split(' ').find(|word| word.starts_with('-')).unwrap_or("").to_owned();
        let option = if option == "-m" { part.split(' ').take(3).collect::<Vec<_>>().join(" ") } else { option };
        let new = !seen.contains(&option);
        seen.push(option);
        new
    });
    format!("{} {target}", parts.join(" "))
}

/// `198.18.0.2:80`, `[2001:db8::2]:80`.
fn has_port(target: &str) -> bool {
    let address = target.rsplit(' ').next().unwrap_or("");
    address.contains("]:") || address.split(':').count() == 2
}

fn port(draw: &Draw, protocol: &str, ports: &[u16]) -> String {
    let one = draw.pick(ports);
    match draw.below(8) {
        0..4 => draw.with("--dport", format!("-p {protocol} --dport {one}")),
        4 => {
            draw.with("--dport range", format!("-p {protocol} --dport {}", draw.pick(&["1:1024", "80:8080", "8000:"])))
        }
        5 => draw.with("! --dport", format!("-p {protocol} ! --dport {one}")),
        6 => {
            let list: Vec<String> = draw.some(ports, 2).iter().map(u16::to_string).collect();
            draw.with("-m multiport", format!("-p {protocol} -m multiport --dports {},9000:65535", list.join(",")))
        }
        _ => draw.with("-m multiport", format!("-p {protocol} -m multiport ! --dports {one},53")),
    }
}

fn address(draw: &Draw, version: Version) -> String {
    match draw.below(7) {
        0 | 1 => draw.with("-s", format!("-s {}", draw.pick(version.sources()))),
        2 => draw.with("-s with prefix", format!("-s {}", draw.pick(version.prefixes()))),
        3 | 4 => draw.with("-d", format!("-d {}", draw.pick(version.destinations()))),
        5 => draw.with("! -d", format!("! -d {}", draw.pick(version.prefixes()))),
        _ => {
            let side = draw.pick(&["--src-range", "--dst-range"]);
            draw.with("-m iprange", format!("-m iprange {side} {}", draw.pick(version.ranges())))
        }
    }
}

fn interface(draw: &Draw, chain: Chain) -> String {
    let output = matches!(chain.name, "FORWARD" | "POSTROUTING" | "OUTPUT");
    if chain.name == "POSTROUTING" || chain.name == "OUTPUT" || (output && draw.chance(50)) {
        return draw.with("-o", draw.pick(&["-o br0", "-o eth0", "! -o br0", "-o eth+"]));
    }
    match draw.below(4) {
        0 => draw.with("-i with +", draw.pick(&["-i eth+", "! -i br+"])),
        _ => draw.with("-i", draw.pick(&["-i eth0", "-i eth1", "-i br0", "! -i lo"])),
    }
}

fn connection(draw: &Draw, version: Version, protocol: &str, ports: &[u16], with_protocol: &mut bool) -> String {
    match draw.below(7) {
        0 | 1 => draw.with(
            "-m conntrack --ctstate",
            format!(
                "-m conntrack --ctstate {}",
                draw.pick(&["NEW", "ESTABLISHED,RELATED", "INVALID", "NEW,UNTRACKED"])
            ),
        ),
        2 | 3 => {
            draw.with("--ctstate DNAT", draw.pick(&["-m conntrack --ctstate DNAT", "-m conntrack ! --ctstate DNAT"]))
        }
        4 => draw.with("--ctorigdst", format!("-m conntrack --ctorigdst {}", draw.pick(version.destinations()))),
        5 if !*with_protocol && draw.chance(60) => {
            *with_protocol = true;
            draw.with("--ctorigdstport", format!("-p {protocol} -m conntrack --ctorigdstport {}", draw.pick(ports)))
        }
        5 => draw.with("-m state", "-m state --state NEW"),
        _ => draw.with("-m connmark", draw.pick(&["-m connmark --mark 0x1", "-m connmark ! --mark 0x8/0x8"])),
    }
}

fn other(draw: &Draw, version: Version, chain: Chain, sets: bool, with_protocol: &mut bool, protocol: &str) -> String {
    let short = if version == Version::V4 { "v4" } else { "v6" };
    if sets && draw.chance(45) {
        let text = match draw.below(7) {
            0 | 1 => format!("--match-set {short}addr src"),
            2 => format!("! --match-set {short}addr src"),
            3 => format!("--match-set {short}net {}", draw.pick(&["src", "dst"])),
            4 => format!("--match-set {short}ipport dst,dst"),
            5 if version == Version::V4 => "--match-set lists src".to_owned(),
            _ => "--match-set ports dst".to_owned(),
        };
        return draw.with("-m set", format!("-m set {text}"));
    }
    if chain.name == "OUTPUT" && draw.chance(70) {
        return draw.with("-m owner", "-m owner --uid-owner 0");
    }
    match draw.below(9) {
        0 | 1 => {
            draw.with("-m addrtype", draw.pick(&["-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL"]))
        }
        2 if chain.name == "PREROUTING" => {
            draw.with("-m addrtype of interface", "-m addrtype --dst-type LOCAL --limit-iface-in")
        }
        2 | 3 => draw.with(
            "-m mark",
            draw.pick(&[
                "-m mark --mark 0x1",
                "-m mark ! --mark 0x4/0x4",
                "-m mark --mark 0x40/0xf0",
                "-m mark --mark 0x0",
            ]),
        ),
        4 if matches!(chain.name, "PREROUTING" | "FORWARD" | "INPUT") => {
            let mut list = vec!["--physdev-in vc2", "! --physdev-in vc2", "--physdev-in vc+"];
            if chain.name == "FORWARD" {
                list.extend([
                    "--physdev-is-bridged",
                    "! --physdev-is-bridged",
                    "--physdev-is-bridged --physdev-out vc3",
                ]);
            }
            draw.with("-m physdev", format!("-m physdev {}", draw.pick(&list)))
        }
        5 | 6 if !*with_protocol => {
            *with_protocol = true;
            if draw.chance(60) {
                return draw.with(
                    "--syn",
                    draw.pick(&["-p tcp --syn", "-p tcp --tcp-flags FIN,SYN,RST,ACK SYN", "-p tcp ! --syn"]),
                );
            }
            let text = if version == Version::V4 { "-p icmp --icmp-type 8" } else { "-p ipv6-icmp --icmpv6-type 128" };
            draw.with("-p icmp", text)
        }
        7 => draw.with("-m pkttype", "-m pkttype --pkt-type unicast"),
        _ if !*with_protocol => {
            *with_protocol = true;
            draw.with("-p", format!("-p {protocol}"))
        }
        _ => draw.with("-m length", "-m length --length 20:100"),
    }
}

fn target(draw: &Draw, version: Version, chain: Chain, users: &[&str]) -> String {
    if !users.is_empty() && draw.chance(40) {
        let user = draw.pick(users);
        return if draw.chance(20) {
            draw.with("-g", format!("-g {user}"))
        } else {
            draw.with("-j to a chain", format!("-j {user}"))
        };
    }
    let with_port = |address: &str, port: u16| {
        if version == Version::V4 { format!("{address}:{port}") } else { format!("[{address}]:{port}") }
    };
    match (chain.table, chain.name) {
        ("raw", _) => match draw.below(10) {
            0..3 => draw.with("NOTRACK", draw.pick(&["-j NOTRACK", "-j CT --notrack"])),
            3..6 => draw.with("DROP", "-j DROP"),
            6..8 => draw.with("ACCEPT", "-j ACCEPT"),
            _ => draw.with("RETURN", "-j RETURN"),
        },
        ("mangle", _) => match draw.below(10) {
            0..2 => draw.with("MARK", draw.pick(&["-j MARK --set-mark 0x1", "-j MARK --set-xmark 0x40/0xffffffff"])),
            2..5 => draw.with(
                "MARK arithmetic",
                draw.pick(&[
                    "-j MARK --or-mark 0x4",
                    "-j MARK --and-mark 0xfffffff0",
                    "-j MARK --xor-mark 0x5",
                    "-j MARK --set-xmark 0x4/0x6",
                ]),
            ),
            5..7 => draw.with(
                "CONNMARK",
                draw.pick(&["-j CONNMARK --set-xmark 0x1/0xffffffff", "-j CONNMARK --set-xmark 0x8/0x8"]),
            ),
            7 => draw.with(
                "CONNMARK save and restore",
                draw.pick(&["-j CONNMARK --save-mark", "-j CONNMARK --restore-mark"]),
            ),
            8 => draw.with("DROP", "-j DROP"),
            _ => draw.with("ACCEPT", "-j ACCEPT"),
        },
        ("nat", "PREROUTING") => match draw.below(10) {
            0..2 => draw.with("DNAT to address", format!("-j DNAT --to-destination {}", version.target(draw))),
            2..6 => {
                let to = with_port(version.target(draw), draw.pick(&[80, 8000, 8022]));
                draw.with("DNAT to address and port", format!("-j DNAT --to-destination {to}"))
            }
            6..8 => draw.with("REDIRECT", format!("-j REDIRECT --to-ports {}", draw.pick(INNER_PORTS))),
            8 => draw.with("RETURN", "-j RETURN"),
            _ => draw.with("ACCEPT", "-j ACCEPT"),
        },
        ("nat", "POSTROUTING") => match draw.below(4) {
            0 | 1 => draw.with("MASQUERADE", "-j MASQUERADE"),
            2 => draw.with("SNAT", format!("-j SNAT --to-source {}", version.mask(draw))),
            _ => draw.with("RETURN", "-j RETURN"),
        },
        ("nat", _) => draw.with("SNAT in INPUT", format!("-j SNAT --to-source {}", version.mask(draw))),
        _ => match draw.below(20) {
            0..8 => draw.with("ACCEPT", "-j ACCEPT"),
            8..11 => draw.with("DROP", "-j DROP"),
            11..14 => draw.with("RETURN", "-j RETURN"),
            14 | 15 => draw.with("REJECT with a reset", "-j REJECT --reject-with tcp-reset"),
            _ => {
                let kinds: &[&str] = match version {
                    Version::V4 => &[
                        "",
                        " --reject-with icmp-port-unreachable",
                        " --reject-with icmp-host-prohibited",
                        " --reject-with icmp-admin-prohibited",
                        " --reject-with icmp-net-unreachable",
                        " --reject-with icmp-proto-unreachable",
                    ],
                    Version::V6 => &[
                        "",
                        " --reject-with icmp6-adm-prohibited",
                        " --reject-with icmp6-addr-unreachable",
                        " --reject-with icmp6-no-route",
                    ],
                };
                draw.with("REJECT", format!("-j REJECT{}", draw.pick(kinds)))
            }
        },
    }
}
