//! The line that closes what the rules miss, in the place where the packet is seen, for the tool that owns the rules.
//!
//! Lines are proposals for a person: they name this one destination and drop it for everybody; who may still come in is
//! the person's to say.

use std::net::IpAddr;

use super::packet::{Protocol, Question};
use super::ruleset::{Backend, Family, Ruleset};
use crate::model::PathAnswer;

/// Who keeps the rules of a host, as far as their names tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Chain DOCKER-USER: where Docker leaves room for the administrator.
    pub docker_user: bool,
    /// Docker's nftables backend, which has no such place.
    pub docker_bridges: bool,
    pub firewalld: bool,
    pub kube_proxy: bool,
    pub netavark: bool,
    pub ufw: bool,
    /// Some table is iptables' own.
    pub iptables: bool,
}

impl Owners {
    pub fn of(ruleset: &Ruleset) -> Self {
        let mut owners = Self::default();
        for table in &ruleset.tables {
            owners.iptables |= matches!(table.backend, Backend::IptablesNft | Backend::IptablesLegacy)
                || (matches!(table.family, Family::Ip | Family::Ip6) && table.name == "filter");
            owners.firewalld |= table.name == "firewalld";
            owners.docker_bridges |= table.name == "docker-bridges";
            owners.kube_proxy |= table.name == "kube-proxy";
            owners.netavark |= table.name == "netavark";
            for chain in &table.chains {
                owners.docker_user |= chain.name == "DOCKER-USER";
                owners.ufw |= chain.name.starts_with("ufw-") || chain.name.starts_with("ufw6-");
                owners.kube_proxy |= chain.name.starts_with("KUBE-");
                owners.netavark |= chain.name.starts_with("NETAVARK");
            }
        }
        owners
    }
}

/// What to write for a packet that the rules are believed to stop and do not, best place first.
pub fn lines(ruleset: &Ruleset, question: &Question, answer: &PathAnswer) -> Vec<String> {
    let owners = Owners::of(ruleset);
    let mut lines = Vec::new();
    let forwarded = answer.trace.iter().any(|step| step.hook == "forward");
    if forwarded && owners.docker_user {
        lines.push(docker_user(question));
    }
    if owners.firewalld && forwarded {
        lines.push(
            "firewalld 2.3 and later: `StrictForwardPorts=yes` in /etc/firewalld/firewalld.conf, then `firewall-cmd \
             --reload`; zones do not see published ports without it."
                .to_owned(),
        );
    }
    if owners.ufw && forwarded && !owners.docker_user {
        lines.push(format!(
            "`ufw route deny proto {} to {} port {}`",
            transport(question),
            question.destination,
            question.destination_port
        ));
    }
    lines.push(early(question, owners));
    if let Some(bind) = bind(question, answer) {
        lines.push(bind);
    }
    lines
}

/// In DOCKER-USER the destination is the container's already: the original one is the connection's.
fn docker_user(question: &Question) -> String {
    let tool = if question.destination.is_ipv6() { "ip6tables" } else { "iptables" };
    let input = question.input.as_ref().map_or_else(String::new, |input| format!("-i {input} "));
    format!(
        "`{tool} -I DOCKER-USER {input}-p {} -m conntrack --ctdir ORIGINAL --ctorigdst {} --ctorigdstport {} -j DROP`",
        transport(question),
        question.destination,
        question.destination_port
    )
}

/// Before any translation, where the destination is still the one that was asked for.
fn early(question: &Question, owners: Owners) -> String {
    let (address, transport, port) = (question.destination, transport(question), question.destination_port);
    if owners.iptables && !owners.docker_bridges {
        let tool = if address.is_ipv6() { "ip6tables" } else { "iptables" };
        return format!("`{tool} -t raw -I PREROUTING -d {address} -p {transport} --dport {port} -j DROP`");
    }
    let family = if address.is_ipv6() { "ip6" } else { "ip" };
    format!(
        "`nft add table inet postern; nft add chain inet postern early '{{ type filter hook prerouting priority raw; }}'; \
         nft add rule inet postern early {family} daddr {address} {transport} dport {port} drop`"
    )
}

/// Publishing to loopback is the container engine's own way, and needs no rule at all.
fn bind(question: &Question, answer: &PathAnswer) -> Option<String> {
    let delivered = answer.delivered.as_ref()?;
    let translated = delivered.address != question.destination;
    let (port, inner) = (question.destination_port, delivered.port?);
    let loopback = match question.destination {
        IpAddr::V4(_) => "127.0.0.1",
        IpAddr::V6(_) => "[::1]",
    };
    translated.then(|| format!("publish it to loopback only: `-p {loopback}:{port}:{inner}`"))
}

const fn transport(question: &Question) -> &'static str {
    match question.protocol {
        Protocol::Udp => "udp",
        _ => "tcp",
    }
}
