//! Docker: 20 and 28 on iptables, 29 on nftables.

use std::fmt::Write as _;

use super::Published;
use crate::generate::draw::Draw;

pub fn docker20(draw: &Draw, published: &[Published]) -> String {
    let (mut nat, mut accept, mut hairpin) = (String::new(), String::new(), String::new());
    for p in published {
        nat += &p.translation(p.on);
        accept += &p.acceptance("DOCKER");
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

pub fn docker28(draw: &Draw, published: &[Published]) -> String {
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
        nat += &p.translation(p.on);
        accept += &p.acceptance("DOCKER");
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

pub fn docker29(draw: &Draw, published: &[Published]) -> String {
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
