//! The rules that well-known programs write, with varying ports, addresses and switches. Written by what their
//! documentation and running copies show; each has its order of chains and its way of matching.

mod docker;
mod frontends;
mod kubernetes;

use super::draw::Draw;
use super::pool::INNER_PORTS;
use crate::rules::Rules;

/// A port published by a container engine, or a node port.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Address of the host that it is published on; any if none.
    pub on: Option<&'static str>,
    pub port: u16,
    pub protocol: &'static str,
    pub container: &'static str,
    pub inner: u16,
}

impl Published {
    /// The rule that Docker writes into its chain of the table nat, for packets to `on` alone or to any address.
    fn translation(&self, on: Option<&str>) -> String {
        let on = on.map_or(String::new(), |address| format!("-d {address}/32 "));
        let Self { port, protocol, container, inner, .. } = self;
        format!(
            "-A DOCKER {on}! -i br0 -p {protocol} -m {protocol} --dport {port} -j DNAT --to-destination {container}:{inner}\n"
        )
    }

    /// The rule that lets what was translated pass.
    fn acceptance(&self, chain: &str) -> String {
        let Self { protocol, container, inner, .. } = self;
        format!("-A {chain} -d {container}/32 ! -i br0 -o br0 -p {protocol} -m {protocol} --dport {inner} -j ACCEPT\n")
    }
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
            iptables(draw, rules, docker::docker20(draw, &published));
        }
        2 | 3 => {
            draw.note("shape of Docker 28");
            iptables(draw, rules, docker::docker28(draw, &published));
        }
        4 | 5 => {
            draw.note("shape of Docker 29 on nftables");
            rules.nft += &docker::docker29(draw, &published);
            if draw.chance(50) {
                rules.nft += &host_policy(draw, ports);
            }
        }
        6 | 7 => {
            draw.note("shape of ufw");
            let with_docker = draw.chance(85);
            let text = frontends::ufw(draw, ports, if with_docker { &published } else { &[] });
            iptables(draw, rules, text);
        }
        8 | 9 => {
            draw.note("shape of firewalld");
            rules.nft += &frontends::firewalld(draw, ports);
            if draw.chance(50) {
                iptables(draw, rules, docker::docker20(draw, &published));
            }
        }
        10 | 11 => {
            draw.note("shape of kube-proxy");
            rules.settings.insert("ipv4.conf.all.route_localnet".to_owned(), "1".to_owned());
            let text = kubernetes::kube_proxy(draw, &published);
            iptables(draw, rules, text);
            if draw.chance(40) {
                rules.nft += &host_policy(draw, ports);
            }
        }
        _ => {
            draw.note("shape of kube-proxy on nftables");
            rules.nft += &kubernetes::kube_proxy_nft(draw, &published);
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
