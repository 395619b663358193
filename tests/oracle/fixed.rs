//! The lab checked by itself: rulesets whose effect everybody knows, and what must be seen. The model has no part in it.

use std::net::IpAddr;
use std::thread;
use std::time::Instant;

use postern::model::Transport;

use crate::lab::{Lab, Seen, Shot};
use crate::rules::{Loader, Rules};
use crate::wire::Segment;
use crate::wiring::Link;

/// `LINK SOURCE > DESTINATION:PORT/TRANSPORT = WHAT`, where WHAT is `host [A:P [from S]]`, `LINK [A:P [from S]]`,
/// `reset`, `icmp KIND/CODE [by A]` or `nothing`.
fn check(lab: &mut Lab, loader: &mut Loader, name: &str, rules: &Rules, lines: &str) {
    loader.load(rules).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lines: Vec<(&str, &str)> = lines.lines().filter_map(|line| line.trim().split_once(" = ")).collect();
    assert!(!lines.is_empty());
    let shots: Vec<Shot> =
        lines.iter().enumerate().map(|(index, (shot, _))| read_shot(shot, 40_000 + index as u16)).collect();
    for ((line, wanted), seen) in lines.iter().zip(lab.fire(&shots)) {
        assert!(is(&seen, wanted), "{name}: {line}: {wanted} was expected, seen was {seen:?}");
    }
}

fn read_shot(text: &str, source_port: u16) -> Shot {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [from, source, ">", to] = words[..] else { panic!("{text}") };
    let (endpoint, transport) = to.split_once('/').unwrap();
    let (destination, port) = endpoint.rsplit_once(':').unwrap();
    Shot {
        from: link(from).unwrap(),
        transport: if transport == "tcp" { Transport::Tcp } else { Transport::Udp },
        source: source.parse().unwrap(),
        source_port,
        destination: destination.parse().unwrap(),
        destination_port: port.parse().unwrap(),
    }
}

fn link(name: &str) -> Option<Link> {
    Some(match name {
        "eth0" => Link::Eth0,
        "eth1" => Link::Eth1,
        "c2" => Link::C2,
        "c3" => Link::C3,
        _ => return None,
    })
}

fn is(seen: &Seen, wanted: &str) -> bool {
    let words: Vec<&str> = wanted.split_whitespace().collect();
    let at = |segment: &Segment| {
        let endpoint = format!("{}:{}", segment.destination, segment.destination_port);
        words.get(1).is_none_or(|wanted| **wanted == endpoint)
            && words.get(3).is_none_or(|wanted| wanted.parse::<IpAddr>() == Ok(segment.source))
    };
    match seen {
        Seen::Host(segment) => words[0] == "host" && at(segment),
        Seen::Link(from, segment) => link(words[0]) == Some(*from) && at(segment),
        Seen::Reset => wanted == "reset",
        Seen::Icmp { kind, code, offender } => {
            words[0] == "icmp"
                && words[1] == format!("{kind}/{code}")
                && words.get(3).is_none_or(|wanted| wanted.parse() == Ok(*offender))
        }
        Seen::Nothing => wanted == "nothing",
    }
}

fn nft(text: &str) -> Rules {
    // nft wants a line end between the brackets.
    Rules { nft: text.replace("} }", "}\n}"), ..Rules::default() }
}

fn with(mut rules: Rules, name: &str, value: &str) -> Rules {
    rules.settings.insert(name.to_owned(), value.to_owned());
    rules
}

#[test]
fn the_lab_shows_what_rules_are_known_to_do() {
    if crate::missing("the lab of the oracle", &["ipset", "iptables-nft-restore", "iptables-legacy-restore"]) {
        return;
    }
    thread::spawn(known).join().unwrap();
}

fn known() {
    let mut lab = Lab::new(0);
    let mut loader = Loader::new();
    let mut check = |name: &str, rules: &Rules, lines: &str| check(&mut lab, &mut loader, name, rules, lines);

    check(
        "no rules",
        &Rules::default(),
        "
        eth0 198.18.0.1 > 198.18.0.2:80/tcp = host 198.18.0.2:80 from 198.18.0.1
        eth0 198.18.0.1 > 198.18.0.2:53/udp = host 198.18.0.2:53 from 198.18.0.1
        eth0 198.19.5.5 > 198.18.1.2:80/tcp = host 198.18.1.2:80 from 198.19.5.5
        eth1 198.19.5.5 > 198.18.1.2:80/tcp = host
        eth0 198.18.0.1 > 172.17.0.2:80/tcp = c2 172.17.0.2:80 from 198.18.0.1
        eth0 198.18.0.1 > 172.17.0.3:80/udp = c3 172.17.0.3:80
        eth0 198.18.0.1 > 172.17.0.1:80/udp = host 172.17.0.1:80
        eth0 198.18.0.1 > 127.0.0.1:80/tcp = nothing
        eth0 198.18.0.1 > 198.19.9.9:80/tcp = eth0 198.19.9.9:80
        eth0 198.18.0.1 > 198.18.1.1:80/tcp = eth1
        eth0 198.18.0.2 > 198.18.0.2:80/tcp = nothing
        eth0 127.0.0.1 > 198.18.0.2:80/tcp = nothing
        eth0 198.18.0.1 > 198.18.66.1:80/tcp = nothing
        eth0 198.18.0.1 > 198.18.67.1:80/tcp = icmp 3/13 by 198.18.0.2
        eth0 198.18.0.1 > 198.18.68.1:80/tcp = icmp 3/1
        c2 172.17.0.2 > 198.18.0.2:80/tcp = host 198.18.0.2:80 from 172.17.0.2
        c2 172.17.0.2 > 198.18.0.1:80/tcp = eth0
        c2 172.17.0.2 > 172.17.0.3:80/tcp = c3 172.17.0.3:80
        eth0 2001:db8::1 > 2001:db8::2:80/tcp = host 2001:db8::2:80 from 2001:db8::1
        eth0 2001:db8::1 > 2001:db8::2:80/udp = host
        eth0 2001:db8::1 > fd00:17::2:80/udp = c2 fd00:17::2:80
        eth0 2001:db8::1 > 2001:db8:1::2:80/udp = host
        eth0 2001:db8::1 > ::1:80/udp = nothing
        c3 fd00:17::3 > 2001:db8::2:80/tcp = host
        c3 fd00:17::3 > fd00:17::2:80/tcp = c2",
    );

    check(
        "drop and every reject",
        &nft("
        table inet t { chain i { type filter hook input priority 0; policy drop;
            tcp dport 1 accept
            tcp dport 2 reject with tcp reset
            tcp dport 3 reject with icmpx type port-unreachable
            tcp dport 4 reject with icmpx type admin-prohibited
            udp dport 5 reject
            tcp dport 6 reject with icmpx type no-route
        } }
        table ip u { chain f { type filter hook forward priority 0;
            tcp dport 7 reject with icmp type prot-unreachable
            tcp dport 8 drop
        } }"),
        "
        eth0 198.18.0.1 > 198.18.0.2:1/tcp = host
        eth0 198.18.0.1 > 198.18.0.2:2/tcp = reset
        eth0 198.18.0.1 > 198.18.0.2:3/tcp = icmp 3/3 by 198.18.0.2
        eth0 198.18.0.1 > 198.18.0.2:4/tcp = icmp 3/13
        eth0 198.18.0.1 > 198.18.0.2:5/udp = icmp 3/3
        eth0 198.18.0.1 > 198.18.0.2:6/tcp = icmp 3/0
        eth0 198.18.0.1 > 198.18.0.2:9/tcp = nothing
        eth0 2001:db8::1 > 2001:db8::2:2/tcp = reset
        eth0 2001:db8::1 > 2001:db8::2:4/tcp = icmp 1/1
        eth0 2001:db8::1 > 2001:db8::2:9/udp = nothing
        eth0 198.18.0.1 > 172.17.0.2:7/tcp = icmp 3/2
        eth0 198.18.0.1 > 172.17.0.2:8/tcp = nothing
        eth0 198.18.0.1 > 172.17.0.2:9/tcp = c2",
    );

    check(
        "translation",
        &nft("
        table ip n {
            chain p { type nat hook prerouting priority dstnat;
                tcp dport 8080 dnat to 172.17.0.2:80
                tcp dport 8081 redirect to :81
                ip daddr 127.0.0.1 tcp dport 8082 dnat to 172.17.0.3:82
                tcp dport 8083 dnat to 198.18.1.2
                tcp dport 8084 dnat to 127.0.0.1:84
            }
            chain q { type nat hook postrouting priority srcnat; oifname br0 masquerade; }
            chain i { type nat hook input priority 100; tcp dport 90 snat to 198.18.0.77; }
        }
        table ip f { chain i { type filter hook input priority 0; policy drop; tcp dport { 81, 8083, 90 } accept; } }"),
        "
        eth0 198.18.0.1 > 198.18.0.2:8080/tcp = c2 172.17.0.2:80 from 172.17.0.1
        eth0 198.18.0.1 > 198.18.0.2:8081/tcp = host 198.18.0.2:81 from 198.18.0.1
        eth0 198.18.0.1 > 127.0.0.1:8082/tcp = c3 172.17.0.3:82
        eth1 198.18.1.1 > 198.18.0.2:8083/tcp = host 198.18.1.2:8083
        eth0 198.18.0.1 > 198.18.0.2:8084/tcp = nothing
        eth0 198.18.0.1 > 198.18.0.2:90/tcp = host 198.18.0.2:90 from 198.18.0.77
        eth0 198.18.0.1 > 198.18.0.2:8085/tcp = nothing",
    );

    check(
        "route_localnet",
        &with(Rules::default(), "ipv4.conf.all.route_localnet", "1"),
        "
        eth0 198.18.0.1 > 127.0.0.1:80/tcp = host 127.0.0.1:80
        eth1 198.18.1.1 > 127.0.0.1:80/udp = host",
    );
    check(
        "strict rp_filter",
        &with(Rules::default(), "ipv4.conf.eth1.rp_filter", "1"),
        "
        eth1 198.19.5.5 > 198.18.1.2:80/tcp = nothing
        eth1 198.18.1.1 > 198.18.1.2:80/tcp = host
        eth0 198.19.5.5 > 198.18.1.2:80/tcp = host",
    );
    check(
        "no forwarding",
        &with(Rules::default(), "ipv4.ip_forward", "0"),
        "
        eth0 198.18.0.1 > 172.17.0.2:80/tcp = nothing
        eth0 198.18.0.1 > 172.17.0.1:80/tcp = host
        c2 172.17.0.2 > 172.17.0.3:80/tcp = c3",
    );
    check(
        "mark and routing table",
        &nft("
        table ip m { chain p { type filter hook prerouting priority mangle; tcp dport 80 meta mark set 0x40; } }"),
        "
        eth0 198.18.0.1 > 198.19.9.9:80/tcp = eth1
        eth0 198.18.0.1 > 198.19.9.9:81/tcp = eth0
        eth0 198.18.0.1 > 172.17.0.2:80/tcp = eth1
        eth0 198.18.0.1 > 198.18.0.2:80/tcp = host",
    );
    check(
        "ingress and bridge",
        &nft("
        table netdev d { chain i { type filter hook ingress device eth0 priority 0; udp dport 7 drop; } }
        table bridge b { chain f { type filter hook forward priority 0; tcp dport 8 drop; } }
        table ip f { chain f { type filter hook forward priority 0; tcp dport 9 drop; } }"),
        "
        eth0 198.18.0.1 > 198.18.0.2:7/udp = nothing
        eth1 198.18.1.1 > 198.18.0.2:7/udp = host
        c2 172.17.0.2 > 172.17.0.3:8/tcp = nothing
        c2 172.17.0.2 > 172.17.0.3:9/tcp = nothing
        c2 172.17.0.2 > 172.17.0.3:10/tcp = c3",
    );

    let iptables = "*filter\n:INPUT DROP\n:FORWARD ACCEPT\n:OUTPUT ACCEPT
-A INPUT -p tcp -m multiport --dports 1,2 -j ACCEPT
-A INPUT -p tcp --dport 3 -j REJECT --reject-with icmp-host-prohibited
-A INPUT -m set --match-set them src -j ACCEPT
COMMIT
*nat\n:PREROUTING ACCEPT\n:POSTROUTING ACCEPT
-A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT\n";
    let ipset = "create them hash:ip\nadd them 198.19.5.5\n";
    let lines = "
        eth0 198.18.0.1 > 198.18.0.2:1/tcp = host
        eth0 198.18.0.1 > 198.18.0.2:3/tcp = icmp 3/10
        eth0 198.18.0.1 > 198.18.0.2:4/tcp = nothing
        eth0 198.19.5.5 > 198.18.0.2:4/tcp = host
        eth0 198.18.0.1 > 198.18.0.2:8080/tcp = c2 172.17.0.2:80";
    let rules = Rules { ipset: ipset.to_owned(), iptables: iptables.to_owned(), ..Rules::default() };
    check("iptables on nftables", &rules, lines);
    let rules = Rules { ipset: ipset.to_owned(), legacy: iptables.to_owned(), ..Rules::default() };
    check("legacy iptables", &rules, lines);
    check(
        "nothing is left",
        &Rules::default(),
        "
        eth0 198.18.0.1 > 198.18.0.2:4/tcp = host
        eth0 198.18.0.1 > 198.18.0.2:8080/tcp = host",
    );

    // Speed of the lab alone, for who reads the output of a slow run.
    let start = Instant::now();
    let shots: Vec<Shot> =
        (0..20).map(|index| read_shot("eth0 198.18.0.1 > 198.18.0.2:80/tcp", 50_000 + index)).collect();
    for _ in 0..50 {
        loader.load(&rules).unwrap();
        assert!(lab.fire(&shots).iter().all(|seen| matches!(seen, Seen::Nothing)));
    }
    println!("the lab: {:.1} ms a ruleset of 20 packets", start.elapsed().as_secs_f64() * 1000.0 / 50.0);
}
