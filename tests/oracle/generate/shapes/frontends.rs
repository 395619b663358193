//! What an administrator's front end writes: ufw, with Docker beside it or not, and firewalld.

use std::fmt::Write as _;

use super::Published;
use crate::generate::draw::Draw;
use crate::generate::pool::INNER_PORTS;

pub fn ufw(draw: &Draw, ports: &[u16], published: &[Published]) -> String {
    let mut allowed = String::new();
    for port in draw.some(ports, 2) {
        let line = match draw.below(4) {
            0 => format!("-A ufw-user-input -p tcp -m tcp --dport {port} -j ACCEPT\n"),
            1 => format!("-A ufw-user-input -s 198.18.0.0/24 -p tcp -m tcp --dport {port} -j ACCEPT\n"),
            2 => format!("-A ufw-user-input -p udp -m multiport --dports {port},9000:9100 -j ACCEPT\n"),
            _ => format!("-A ufw-user-input -p tcp -m tcp --dport {port} -j REJECT --reject-with tcp-reset\n"),
        };
        allowed += &line;
    }
    let policy = draw.pick(&["DROP", "DROP", "ACCEPT"]);
    let skip =
        if policy == "DROP" { "-A ufw-skip-to-policy-input -j DROP" } else { "-A ufw-skip-to-policy-input -j ACCEPT" };
    let reject =
        if draw.chance(20) { "-A ufw-reject-input -j REJECT --reject-with icmp-port-unreachable\n" } else { "" };
    let route = if draw.chance(50) {
        format!("-A ufw-user-forward -s 198.18.0.0/24 -p tcp -m tcp --dport {} -j ACCEPT\n", draw.pick(INNER_PORTS))
    } else {
        String::new()
    };
    let (mut nat, mut docker) = (String::new(), String::new());
    if !published.is_empty() {
        draw.note("ufw with Docker");
        nat += "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o br0 -j MASQUERADE\n";
        docker += "-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
        for p in published {
            nat += &p.translation(None);
            docker += &p.acceptance("FORWARD");
        }
        nat += "COMMIT\n";
    }
    format!(
        "{nat}*filter
:INPUT {policy} [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-after-input - [0:0]
:ufw-reject-input - [0:0]
:ufw-not-local - [0:0]
:ufw-skip-to-policy-input - [0:0]
:ufw-user-input - [0:0]
:ufw-user-forward - [0:0]
:ufw-user-limit-accept - [0:0]
{docker}-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A INPUT -j ufw-reject-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -j DROP
-A ufw-after-input -p udp -m udp --dport 53 -j ufw-skip-to-policy-input
-A ufw-after-input -m addrtype --dst-type BROADCAST -j ufw-skip-to-policy-input
{reject}{skip}
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
{allowed}{route}COMMIT\n"
    )
}

pub fn firewalld(draw: &Draw, ports: &[u16]) -> String {
    let mut allowed = String::new();
    for port in draw.some(ports, 2) {
        let _ = match draw.below(3) {
            0 => writeln!(allowed, "tcp dport {port} accept"),
            1 => writeln!(allowed, "ip saddr 198.18.0.0/24 udp dport {port} accept"),
            _ => writeln!(allowed, "tcp dport {port} ct state {{ new, untracked }} accept"),
        };
    }
    let forward_port = if draw.chance(50) {
        format!("meta nfproto ipv4 tcp dport {} dnat ip to 172.17.0.2:{}\n", draw.pick(ports), draw.pick(INNER_PORTS))
    } else {
        String::new()
    };
    // Zones `public`, `drop` and `trusted` end in these.
    let end =
        draw.pick(&["reject with icmpx admin-prohibited", "reject with icmpx admin-prohibited", "drop", "accept"]);
    let docker = if draw.chance(50) { "iifname \"br0\" goto filter_IN_docker\n" } else { "" };
    format!(
        "table inet firewalld {{
chain mangle_PREROUTING {{ type filter hook prerouting priority -140; policy accept; }}
chain nat_PRE_public {{
{forward_port}}}
chain nat_PREROUTING {{
type nat hook prerouting priority -90; policy accept;
iifname \"eth0\" goto nat_PRE_public
iifname \"eth1\" goto nat_PRE_public
goto nat_PRE_public
}}
chain nat_POSTROUTING {{
type nat hook postrouting priority 110; policy accept;
iifname \"br0\" oifname \"eth0\" meta nfproto ipv4 masquerade
}}
chain filter_IN_public {{
{allowed}meta l4proto {{ icmp, ipv6-icmp }} accept
}}
chain filter_IN_docker {{
accept
}}
chain filter_FWD_public {{
ct status dnat accept
}}
chain filter_INPUT_ZONES {{
{docker}iifname \"eth0\" goto filter_IN_public
goto filter_IN_public
}}
chain filter_FORWARD_ZONES {{
iifname \"br0\" accept
iifname \"eth0\" goto filter_FWD_public
goto filter_FWD_public
}}
chain filter_PREROUTING {{
type filter hook prerouting priority 10; policy accept;
icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept
meta nfproto ipv6 fib saddr . mark . iif oif missing drop
}}
chain filter_INPUT {{
type filter hook input priority 10; policy accept;
ct state {{ established, related }} accept
ct status dnat accept
iifname \"lo\" accept
ct state invalid drop
jump filter_INPUT_ZONES
{end}
}}
chain filter_FORWARD {{
type filter hook forward priority 10; policy accept;
ct state {{ established, related }} accept
ct status dnat accept
iifname \"lo\" accept
ct state invalid drop
ip6 daddr {{ ::/96, ::ffff:0.0.0.0/96, 2002::/24 }} reject with icmpv6 addr-unreachable
jump filter_FORWARD_ZONES
{end}
}}
}}\n"
    )
}
