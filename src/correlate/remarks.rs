//! What is said beside the verdict: the socket to look for, what is special about it, how an endpoint answered.

use std::net::IpAddr;

use super::address::can_identify;
use super::lookup::Seen;
use super::machine::{Machine, Presence, Socket};
use super::takes::{ContainerEnd, Publication, Takers, Taking};
use super::verdict::{Judgement, Look};
use super::words;
use crate::model::host_report::{AcceptQueue, Listener};
use crate::model::{Endpoint, PortState, Reason};

/// The socket that people look for: the one that takes the endpoint, else the container's, else the loopback one. A
/// publisher's socket names its container.
pub fn listener_of(takers: &Takers<'_>) -> Option<Listener> {
    let taking = takers.taking.first().map(|taking| taking.socket);
    let published = || takers.published.iter().chain(&takers.published_loopback);
    let inner = || {
        published().find_map(|publication| match &publication.end {
            ContainerEnd::Listens(socket) => Some(*socket),
            ContainerEnd::Nobody | ContainerEnd::Unseen => None,
        })
    };
    let client = || takers.clients.first().map(|taking| taking.socket);
    let socket = taking.or_else(|| takers.loopback.first().copied()).or_else(inner).or_else(client)?;
    let mut listener = socket.listener.clone();
    if listener.container.is_none() && is_publisher(&listener) {
        listener.container = published().find_map(|publication| publication.port.container.clone());
    }
    Some(listener)
}

fn is_publisher(listener: &Listener) -> bool {
    matches!(listener.process.as_deref(), Some("docker-proxy" | "dockerd" | "rootlessport" | "conmon"))
}

/// What is worth knowing about the sockets beside the verdict.
pub fn details(takers: &Takers<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    for Taking { socket, .. } in &takers.taking {
        let listener = socket.listener;
        let owner = listener.process.as_deref().unwrap_or_default();
        sentences.extend(presence(*socket).map(|change| sentence(&change)));
        if listener.socket_activated || (listener.pid == Some(1) && owner == "systemd") {
            sentences.push(format!(
                "systemd holds {}: stopping the service does not close it, disabling its .socket unit does.",
                words::bound(listener)
            ));
        }
        match owner {
            "docker-proxy" if takers.published.is_empty() => sentences.push(
                "docker-proxy holds the port for a container that the report does not name: what answers from outside is \
                 the container."
                    .to_owned(),
            ),
            "rootlesskit" | "rootlessport" | "pasta" | "slirp4netns" => {
                sentences.push(format!("{owner} publishes the port of a rootless container; the host's INPUT rules apply to it."));
            }
            "kubelet" | "kube-proxy" | "cilium-agent" => {
                sentences.push("Layer not read: Kubernetes network policies and eBPF.".to_owned());
            }
            _ => {}
        }
    }
    for taking in takers.taking.iter().skip(1) {
        sentences.push(format!("Also {} takes it.", words::socket(taking.socket.listener)));
    }
    sentences.dedup();
    sentences
}

/// The socket whose accept queue is full: the kernel drops what comes, which looks like a filter from outside.
pub fn full_queue<'a>(takers: &Takers<'a>) -> Option<(&'a Listener, AcceptQueue)> {
    takers.taking.iter().find_map(|taking| {
        let listener = taking.socket.listener;
        listener.accept_queue.filter(|queue| queue.is_full()).map(|queue| (listener, queue))
    })
}

pub fn describe_publications(judgement: &mut Judgement, takers: &Takers<'_>, rules_are_known: bool) {
    let describe = |publication: &Publication<'_>| {
        format!("The port is {}. {}", words::publication(publication), words::container_end(publication))
    };
    judgement.reasons.extend(takers.published.iter().chain(&takers.published_loopback).map(describe));
    let proxied = takers.taking.iter().any(|taking| taking.socket.listener.process.as_deref() == Some("docker-proxy"));
    let only_ipv4 =
        |publication: &Publication<'_>| publication.port.container_address.is_some_and(|inner| inner.is_ipv4());
    let over_ipv6 = |publication: &Publication<'_>| publication.port.host_address.is_ipv6();
    if !rules_are_known
        && proxied
        && takers.published.iter().any(|publication| over_ipv6(publication) && only_ipv4(publication))
    {
        judgement.reasons.push(
            "docker-proxy takes IPv6 packets to a container that has IPv4 only: they enter INPUT, so that its rules apply \
             here and not to the same port over IPv4 (layer not read)."
                .to_owned(),
        );
    } else if !takers.published.is_empty() && !rules_are_known {
        judgement.reasons.push(
            "Packets to a published port are usually translated and forwarded before the host's INPUT rules see them; \
             whether they are here, the host's ruleset settles (layer not read)."
                .to_owned(),
        );
    }
}

pub fn presence(socket: Socket<'_>) -> Option<String> {
    match socket.presence {
        Presence::Steady => None,
        Presence::Started => Some(format!("{} started during the sweep", words::bound(socket.listener))),
        Presence::Stopped => Some(format!("{} stopped during the sweep", words::bound(socket.listener))),
        Presence::Listed(source) => Some(format!(
            "{} is in the {} listing and not in the machine's own report: it was not there when one of the two was taken",
            words::bound(socket.listener),
            source.as_str()
        )),
    }
}

/// Who refused, where that was somebody else than the host.
pub fn offender(look: Look<'_>, machine: &Machine<'_>) -> Option<String> {
    let offender = look.seen.evidence.offender?;
    let own = |address: IpAddr| {
        address == look.endpoint.address || machine.addresses.iter().any(|own| own.address == address)
    };
    if own(offender) {
        return Some(format!("The ICMP error came from {offender}, the host itself."));
    }
    let knows = machine.addresses.iter().any(|own| can_identify(own.address));
    let who = if knows { "which is none of the host's addresses" } else { "which is not the address that was asked" };
    Some(format!("The ICMP error came from {offender}, {who}."))
}

/// How an endpoint answered, as the middle of a sentence.
pub fn how(endpoint: Endpoint, seen: &Seen) -> String {
    match (seen.state, seen.reason) {
        (PortState::Open, Reason::AcceptedThenReset) => "is open (accepted, then reset at once)".to_owned(),
        (PortState::Open, _) => "is open".to_owned(),
        (PortState::Closed, Reason::Refused) => "is closed (reset)".to_owned(),
        (PortState::Closed, reason) => format!("is closed ({reason})"),
        (PortState::Filtered | PortState::OpenOrFiltered, Reason::NoAnswer) => "gave no answer".to_owned(),
        (PortState::Filtered | PortState::OpenOrFiltered, reason) => match seen.evidence.offender {
            Some(offender) if offender != endpoint.address => format!("was rejected ({reason} from {offender})"),
            _ => format!("was rejected ({reason})"),
        },
        (PortState::Unreachable, reason) => format!("was unreachable ({reason})"),
        (PortState::Unknown, Reason::NotSwept) => "was not asked".to_owned(),
        (PortState::Unknown, Reason::FellSilent) => "gave no answer (nothing of its host did any more)".to_owned(),
        (PortState::Unknown, reason) => format!("could not be looked at ({reason})"),
    }
}

/// First letter in upper case where a sentence begins with one of ours, and a full stop at the end.
pub fn sentence(text: &str) -> String {
    let mut text = text.to_owned();
    for opening in ["a socket of", "nothing is bound", "the port is", "no socket"] {
        if text.starts_with(opening) {
            text[..1].make_ascii_uppercase();
        }
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}
