//! The line that closes what the rules miss, in the place where the packet is seen, for the tool that owns the rules.
//!
//! Lines are proposals for a person: they name this one destination and drop it for everybody; who may still come in is
//! the person's to say.

use std::net::IpAddr;

use super::packet::{Protocol, Question};
use super::ruleset::{Backend, Family, Ruleset, Statement};
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
        lines.push(docker_user(question, answer.iif.as_deref()));
    }
    if owners.firewalld && forwarded {
        lines.push(
            "firewalld 2.3 and later: `StrictForwardPorts=yes` in /etc/firewalld/firewalld.conf, then `firewall-cmd \
             --reload`; zones do not see published ports without it."
                .to_owned(),
        );
    }
    if owners.ufw && forwarded && asks_ufw(ruleset, answer) {
        lines.extend(ufw_route(question, answer));
    }
    lines.push(early(question, owners));
    lines.extend(if forwarded { bind(question, answer) } else { answer.without_translation() });
    lines
}

/// In DOCKER-USER the destination is the container's already: the original one is the connection's.
fn docker_user(question: &Question, input: Option<&str>) -> String {
    let tool = if question.destination.is_ipv6() { "ip6tables" } else { "iptables" };
    let input = input.map_or_else(String::new, |input| format!("-i {input} "));
    format!(
        "`{tool} -I DOCKER-USER {input}-p {} -m conntrack --ctdir ORIGINAL --ctorigdst {} --ctorigdstport {} -j DROP`",
        transport(question),
        question.destination,
        question.destination_port
    )
}

/// Whether ufw's route rules see the packet before something else accepts it: they accept it themselves, or what
/// ufw-docker adds sends Docker's packets to them.
fn asks_ufw(ruleset: &Ruleset, answer: &PathAnswer) -> bool {
    let by_ufw =
        answer.deciding().is_some_and(|step| step.chain.starts_with("ufw-") || step.chain.starts_with("ufw6-"));
    let chains = ruleset.tables.iter().flat_map(|table| &table.chains);
    by_ufw
        || chains.filter(|chain| chain.name == "DOCKER-USER").flat_map(|chain| &chain.rules).any(|rule| {
            rule.statements
                .iter()
                .any(|statement| matches!(statement, Statement::Jump(name) if name == "ufw-user-forward"))
        })
}

/// On its way through the forward hook a packet has the address behind already.
fn ufw_route(question: &Question, answer: &PathAnswer) -> Option<String> {
    let behind = answer.delivered.as_ref()?;
    let (address, port) = (behind.address, behind.port?);
    Some(format!("`ufw route insert 1 deny proto {} to {address} port {port}`", transport(question)))
}

/// Before any translation, where the destination is still the one that was asked for.
fn early(question: &Question, owners: Owners) -> String {
    let (address, transport, port) = (question.destination, transport(question), question.destination_port);
    let (tool, family) = if address.is_ipv6() { ("ip6tables", "ipv6") } else { ("iptables", "ipv4") };
    let rule = format!("PREROUTING -d {address} -p {transport} --dport {port} -j DROP");
    if owners.firewalld {
        let rule = rule.replacen("PREROUTING", "PREROUTING 0", 1);
        return format!(
            "`firewall-cmd --permanent --direct --add-rule {family} raw {rule}`, then `firewall-cmd --reload`"
        );
    }
    if owners.ufw {
        let file = if address.is_ipv6() { "before6.rules" } else { "before.rules" };
        return format!(
            "at the end of /etc/ufw/{file} the lines `*raw`, `:PREROUTING ACCEPT [0:0]`, `-A {rule}` and `COMMIT`, then \
             `ufw reload`; until then `{tool} -t raw -I {rule}`"
        );
    }
    if owners.iptables && !owners.docker_bridges {
        return format!("`{tool} -t raw -I {rule}`");
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
