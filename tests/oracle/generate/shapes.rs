//! The rules that well-known programs write, with varying ports, addresses and switches. Written by what their
//! documentation and running copies show; each has its order of chains and its way of matching.

use std::fmt::Write as _;

use super::draw::Draw;
use super::pool::INNER_PORTS;
use crate::rules::Rules;

/// A port published by a container engine, or a node port.
#[derive(Clone, Copy, Debug)]
struct Published {
    /// Address of the host that it is published on; any if none.
    on: Option<&'static str>,
    port: u16,
    protocol: &'static str,
    container: &'static str,
    inner: u16,
}

/// One or two of them, in the tools that they are written for.
pub fn shape(draw: &Draw, rules: &mut Rules, ports: &[u16]) {
    let published: Vec<Published> = draw
        .some(ports, draw.between(2, 3))
        .into_iter()
        .map(|port| Published {
            on: draw.weighted(&[(6, None), (1, Some("127.0.0.1")), (2, Some("198.18.0.2"))]),
            port,
            protocol: draw.weighted(&[(3, "tcp"), (1, "udp")]),
            container: draw.pick(&["172.17.0.2", "172.17.0.3"]),
            inner: draw.pick(INNER_PORTS),
        })
        .collect();
    match draw.below(14) {
        0 | 1 => {
            draw.note("shape of Docker 20");
            iptables(draw, rules, docker20(draw, &published));
        }
        2 | 3 => {
            draw.note("shape of Docker 28");
            iptables(draw, rules, docker28(draw, &published));
        }
        4 | 5 => {
            draw.note("shape of Docker 29 on nftables");
            rules.nft += &docker29(draw, &published);
            if draw.chance(50) {
                rules.nft += &host_policy(draw, ports);
            }
        }
        6 | 7 => {
            draw.note("shape of ufw");
            let with_docker = draw.chance(85);
            let text = ufw(draw, ports, if with_docker { &published } else { &[] });
            iptables(draw, rules, text);
        }
        8 | 9 => {
            draw.note("shape of firewalld");
            rules.nft += &firewalld(draw, ports);
            if draw.chance(50) {
                iptables(draw, rules, docker20(draw, &published));
            }
        }
        10 | 11 => {
            draw.note("shape of kube-proxy");
            rules.settings.insert("ipv4.conf.all.route_localnet".to_owned(), "1".to_owned());
            let text = kube_proxy(draw, &published);
            iptables(draw, rules, text);
            if draw.chance(40) {
                rules.nft += &host_policy(draw, ports);
            }
        }
        _ => {
            draw.note("shape of kube-proxy on nftables");
            rules.nft += &kube_proxy_nft(draw, &published);
            if draw.chance(40) {
                rules.nft += &host_policy(draw, ports);
            }
        }
    }
}

/// Most are on nftables, some on the old backend.
fn iptables(draw: &Draw, rules: &mut Rules, text: String) {
    if draw.chance(70) {
        rules.iptables = text;
    } else {
        rules.legacy = text;
    }
}

/// What an administrator writes who wants everything closed.
fn host_policy(draw: &Draw, ports: &[u16]) -> String {
    let port = draw.pick(ports);
    format!(
        "table inet host {{
chain input {{
type filter hook input priority filter; policy drop;
ct state vmap {{ established : accept, related : accept, invalid : drop }}
iif \"lo\" accept
meta l4proto {{ icmp, ipv6-icmp }} accept
tcp dport {{ {port}, 9100 }} accept
}}
}}\n"
    )
}

fn docker20(draw: &Draw, published: &[Published]) -> String {
    let (mut nat, mut accept, mut hairpin) = (String::new(), String::new(), String::new());
    for p in published {
        let on = p.on.map_or(String::new(), |address| format!("-d {address}/32 "));
        let _ = writeln!(
            nat,
            "-A DOCKER {on}! -i br0 -p {0} -m {0} --dport {1} -j DNAT --to-destination {2}:{3}",
            p.protocol, p.port, p.container, p.inner
        );
        let _ = writeln!(
            accept,
            "-A DOCKER -d {2}/32 ! -i br0 -o br0 -p {0} -m {0} --dport {1} -j ACCEPT",
            p.protocol, p.inner, p.container
        );
        let _ = writeln!(
            hairpin,
            "-A POSTROUTING -s {2}/32 -d {2}/32 -p {0} -m {0} --dport {1} -j MASQUERADE",
            p.protocol, p.inner, p.container
        );
    }
    let user = match draw.below(3) {
        0 => String::new(),
        1 => format!(
            "-A DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport {} --ctdir ORIGINAL -j DROP\n",
            published[0].port
        ),
        _ => "-A DOCKER-USER ! -s 198.18.0.0/24 -i eth0 -j DROP\n".to_owned(),
    };
    let forward = draw.pick(&["DROP", "DROP", "ACCEPT"]);
    let input = draw.pick(&["ACCEPT", "DROP"]);
    format!(
        "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o br0 -j MASQUERADE
{hairpin}-A DOCKER -i br0 -j RETURN
{nat}COMMIT
*filter
:INPUT {input} [0:0]
:FORWARD {forward} [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br0 -j DOCKER
-A FORWARD -i br0 ! -o br0 -j ACCEPT
-A FORWARD -i br0 -o br0 -j {icc}
{accept}-A DOCKER-ISOLATION-STAGE-1 -i br0 ! -o br0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o br0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
{user}-A DOCKER-USER -j RETURN
COMMIT\n",
        icc = draw.pick(&["ACCEPT", "DROP"]),
    )
}

fn docker28(draw: &Draw, published: &[Published]) -> String {
    let (mut raw, mut nat, mut accept) = (String::new(), String::new(), String::new());
    for address in ["172.17.0.2", "172.17.0.3"] {
        let _ = writeln!(raw, "-A PREROUTING -d {address}/32 ! -i br0 -j DROP");
    }
    for p in published {
        if p.on == Some("127.0.0.1") {
            let _ = writeln!(
                raw,
                "-A PREROUTING -d 127.0.0.1/32 ! -i lo -p {0} -m {0} --dport {1} -j DROP",
                p.protocol, p.port
            );
        }
        let on = p.on.map_or(String::new(), |address| format!("-d {address}/32 "));
        let _ = writeln!(
            nat,
            "-A DOCKER {on}! -i br0 -p {0} -m {0} --dport {1} -j DNAT --to-destination {2}:{3}",
            p.protocol, p.port, p.container, p.inner
        );
        let _ = writeln!(
            accept,
            "-A DOCKER -d {2}/32 ! -i br0 -o br0 -p {0} -m {0} --dport {1} -j ACCEPT",
            p.protocol, p.inner, p.container
        );
    }
    let user = if draw.chance(40) { "-A DOCKER-USER -i eth1 -j DROP\n" } else { "" };
    format!(
        "*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
{raw}COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o br0 -j MASQUERADE
{nat}COMMIT
*filter
:INPUT {input} [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
{accept}-A DOCKER ! -i br0 -o br0 -j DROP
-A DOCKER-BRIDGE -o br0 -j DOCKER
-A DOCKER-CT -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i br0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i br0 ! -o br0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o br0 -j DROP
{user}COMMIT\n",
        input = draw.pick(&["ACCEPT", "DROP"]),
    )
}

fn docker29(draw: &Draw, published: &[Published]) -> String {
    let (mut nat, mut accept, mut raw) = (String::new(), String::new(), String::new());
    for p in published {
        let on = p.on.map_or(String::new(), |address| format!("ip daddr {address} "));
        let _ = writeln!(
            nat,
            "{on}iifname != \"br0\" {0} dport {1} counter dnat to {2}:{3} comment \"DNAT\"",
            p.protocol, p.port, p.container, p.inner
        );
        let _ = writeln!(accept, "ip daddr {2} {0} dport {1} counter accept", p.protocol, p.inner, p.container);
        if p.on == Some("127.0.0.1") {
            let _ = writeln!(
                raw,
                "ip daddr 127.0.0.1 iifname != \"lo\" {0} dport {1} counter drop comment \"LOOPBACK\"",
                p.protocol, p.port
            );
        }
    }
    let trusted = if draw.chance(30) { "iifname \"eth1\" accept\n" } else { "" };
    format!(
        "table ip docker-bridges {{
map filter-forward-in-jumps {{
type ifname : verdict
elements = {{ \"br0\" : jump filter-forward-in__br0 }}
}}
map nat-postrouting-out-jumps {{
type ifname : verdict
elements = {{ \"br0\" : jump nat-postrouting-out__br0 }}
}}
chain filter-forward-in__br0 {{
ct state established,related counter accept
iifname \"br0\" counter accept comment \"ICC\"
{trusted}{accept}counter drop comment \"UNPUBLISHED PORT DROP\"
}}
chain nat-postrouting-out__br0 {{
oifname \"br0\" ip saddr 172.17.0.0/16 counter masquerade
}}
chain nat-prerouting-and-output {{
{nat}}}
chain filter-FORWARD {{
type filter hook forward priority filter; policy accept;
oifname vmap @filter-forward-in-jumps
iifname \"br0\" counter accept
}}
chain nat-PREROUTING {{
type nat hook prerouting priority dstnat; policy accept;
fib daddr type local counter jump nat-prerouting-and-output
}}
chain nat-POSTROUTING {{
type nat hook postrouting priority srcnat; policy accept;
oifname vmap @nat-postrouting-out-jumps
ip saddr 172.17.0.0/16 oifname != \"br0\" counter masquerade
}}
chain raw-PREROUTING {{
type filter hook prerouting priority raw; policy accept;
ip daddr {{ 172.17.0.2, 172.17.0.3 }} iifname != \"br0\" counter drop comment \"DROP DIRECT ACCESS\"
{raw}}}
}}\n"
    )
}

fn ufw(draw: &Draw, ports: &[u16], published: &[Published]) -> String {
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
            let _ = writeln!(
                nat,
                "-A DOCKER ! -i br0 -p {0} -m {0} --dport {1} -j DNAT --to-destination {2}:{3}",
                p.protocol, p.port, p.container, p.inner
            );
            let _ = writeln!(
                docker,
                "-A FORWARD -d {2}/32 ! -i br0 -o br0 -p {0} -m {0} --dport {1} -j ACCEPT",
                p.protocol, p.inner, p.container
            );
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

fn firewalld(draw: &Draw, ports: &[u16]) -> String {
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

fn kube_proxy(draw: &Draw, published: &[Published]) -> String {
    let (mut declared, mut nat, mut node_ports, mut filter) =
        (String::new(), String::new(), String::new(), String::new());
    for (index, p) in published.iter().enumerate() {
        let service = format!("SVC{index}");
        let _ = writeln!(declared, ":KUBE-EXT-{service} - [0:0]\n:KUBE-{service} - [0:0]\n:KUBE-SEP{index} - [0:0]");
        if draw.chance(70) {
            let _ = writeln!(
                node_ports,
                "-A KUBE-NODEPORTS -p {0} -m comment --comment \"default/web\" -m {0} --dport {1} -j KUBE-EXT-{service}",
                p.protocol, p.port
            );
            let _ = writeln!(
                nat,
                "-A KUBE-EXT-{service} -m comment --comment \"masquerade traffic\" -j KUBE-MARK-MASQ\n-A KUBE-EXT-{service} -j KUBE-{service}"
            );
            let _ = writeln!(nat, "-A KUBE-{service} -m comment --comment \"default/web\" -j KUBE-SEP{index}");
            let _ = writeln!(nat, "-A KUBE-SEP{index} -s {0}/32 -j KUBE-MARK-MASQ", p.container);
            let _ = writeln!(
                nat,
                "-A KUBE-SEP{index} -p {0} -m {0} -j DNAT --to-destination {1}:{2}",
                p.protocol, p.container, p.inner
            );
        } else {
            draw.note("node port without endpoints");
            let _ = writeln!(
                filter,
                "-A KUBE-EXTERNAL-SERVICES -p {0} -m addrtype --dst-type LOCAL -m {0} --dport {1} -j REJECT --reject-with icmp-port-unreachable",
                p.protocol, p.port
            );
        }
    }
    format!(
        "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
{declared}-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
{node_ports}{nat}-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment \"SNAT\" -j MASQUERADE
-A KUBE-SERVICES -m comment --comment \"node ports\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
*filter
:INPUT {policy} [0:0]
:FORWARD {forward} [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
{filter}-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT\n",
        policy = draw.pick(&["ACCEPT", "DROP"]),
        forward = draw.pick(&["ACCEPT", "DROP"]),
    )
}

fn kube_proxy_nft(draw: &Draw, published: &[Published]) -> String {
    let (mut elements, mut chains, mut none) = (Vec::new(), String::new(), Vec::new());
    for (index, p) in published.iter().enumerate() {
        let key = format!("{} . {}", p.protocol, p.port);
        if elements.iter().chain(&none).any(|element: &String| element.starts_with(&format!("{key} "))) {
            continue;
        }
        if draw.chance(70) {
            elements.push(format!("{key} : goto external-{index}"));
            let _ = writeln!(
                chains,
                "chain endpoint-{index} {{\nip saddr {c} jump mark-for-masquerade\nmeta l4proto {t} dnat to {c}:{p}\n}}\nchain service-{index} {{\nmeta l4proto {t} goto endpoint-{index}\n}}\nchain external-{index} {{\njump mark-for-masquerade\ngoto service-{index}\n}}",
                c = p.container,
                t = p.protocol,
                p = p.inner
            );
        } else {
            draw.note("node port without endpoints");
            none.push(format!("{key} : goto reject-chain"));
        }
    }
    let map = |elements: &[String]| {
        if elements.is_empty() { String::new() } else { format!("elements = {{ {} }}\n", elements.join(", ")) }
    };
    format!(
        "table ip kube-proxy {{
comment \"rules for kube-proxy\"
set nodeport-ips {{
type ipv4_addr
elements = {{ 198.18.0.2 }}
}}
map service-nodeports {{
type inet_proto . inet_service : verdict
{ports}}}
map no-endpoint-nodeports {{
type inet_proto . inet_service : verdict
{none}}}
chain mark-for-masquerade {{
meta mark set meta mark or 0x4000
}}
chain masquerading {{
meta mark & 0x4000 == 0 return
meta mark set meta mark xor 0x4000
masquerade fully-random
}}
{chains}chain reject-chain {{
reject
}}
chain services {{
ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}}
chain endpoints-check {{
fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports
}}
chain nat-prerouting {{
type nat hook prerouting priority dstnat; policy accept;
jump services
}}
chain nat-postrouting {{
type nat hook postrouting priority srcnat; policy accept;
jump masquerading
}}
chain filter-prerouting {{
type filter hook prerouting priority dstnat - 10; policy accept;
ct state new jump firewall-check
}}
chain firewall-check {{
}}
chain filter-input {{
type filter hook input priority -110; policy accept;
ct state new jump endpoints-check
}}
chain filter-forward {{
type filter hook forward priority -110; policy accept;
ct state new jump endpoints-check
}}
}}\n",
        ports = map(&elements),
        none = map(&none),
    )
}
