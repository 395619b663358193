//! kube-proxy, on iptables and on nftables.

use std::fmt::Write as _;

use super::Published;
use crate::generate::draw::Draw;

pub fn kube_proxy(draw: &Draw, published: &[Published]) -> String {
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

pub fn kube_proxy_nft(draw: &Draw, published: &[Published]) -> String {
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
