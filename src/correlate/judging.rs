//! One host judged: the entries its machine adds, the fold of what answers everything, a verdict on each endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::correlation::Surroundings;
use super::everything::{self, Flood};
use super::expand;
use super::hops;
use super::hosts::Part;
use super::join::Joined;
use super::lookup::{self, Seen, group_ports, swept_addresses};
use super::neighbour;
use super::stacks;
use super::stakes::{self, Stakes};
use super::staleness::{caveat, is_stale};
use super::takes::takers;
use super::verdict::{Inside, Judgement, Look, judge};
use crate::model::host_report::HOST_NAMESPACE;
use crate::model::report::{EndpointEntry, Host, VantageKind};
use crate::model::{
    Confidence, Endpoint, Evidence, PathAnswer, PathModel, PathQuestion, PortState, Reason, Transport, Verdict,
};

/// What the rules need beside the host itself.
#[derive(Debug, Default)]
pub struct Judged {
    pub floods: Vec<Flood>,
    pub endpoints: BTreeMap<Subject, Facts>,
}

/// An endpoint, and whether it was tried through the host: both may be there of one address.
pub type Subject = (Endpoint, bool);

/// What an entry is about.
pub const fn subject(entry: &EndpointEntry) -> Subject {
    (entry.endpoint(), entry.via.is_some())
}

/// What is known of a judged endpoint beside its entry.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of the verdict.
    pub confidence: Confidence,
    /// The container's port, when the port is published for one.
    pub published: Option<u16>,
    /// What the host's own rules do with it.
    pub answer: Option<PathAnswer>,
    /// What a break-in behind it would be worth.
    pub stakes: Stakes,
}

/// Judges every endpoint of `host`, which is a part of the joined machine where there is one.
pub fn judge_host(
    host: &mut Host,
    joined: Option<(&Joined<'_>, Part)>,
    path: Option<&dyn PathModel>,
    around: &Surroundings<'_>,
) -> Judged {
    if let Some((joined, part)) = joined {
        add_entries(host, joined, part, around);
    }
    let found = |endpoint: Endpoint| joined.map(|(joined, _)| takers(&joined.machine, endpoint));
    let explained = |endpoint: Endpoint| found(endpoint).is_some_and(|takers| takers.any_takes());
    let mut floods = Vec::new();
    for address in swept_addresses(host) {
        if let Some(flood) = everything::detect(host, address, explained) {
            everything::fold(host, &flood, explained);
            floods.push(flood);
        }
    }
    let udp_answers = udp_answering(host);
    let caveats = joined.map(|(joined, _)| caveats(joined, around)).unwrap_or_default();
    let stacks = stacks::known(host, explained);
    let mut judged = Judged { floods, endpoints: BTreeMap::new() };
    for entry in &mut host.endpoints {
        let endpoint = entry.endpoint();
        let seen = Seen { state: entry.state, reason: entry.reason, evidence: entry.evidence.clone() };
        let look = Look { endpoint, seen: &seen, sight: around.own.sight(entry) };
        let answer = path.and_then(|path| {
            let (joined, _) = joined?;
            let from = around.own.source_of(entry, around.run)?;
            // Rules of another namespace are another host's.
            let own = joined.machine.namespace_of(entry.address) == HOST_NAMESPACE;
            own.then(|| path.answer(&PathQuestion { to: endpoint, from, iif: None }))
        });
        let network = (neighbour::saw(entry, around.run) && answer.is_some())
            .then(|| neighbour::from_the_network(path?, &joined?.0.machine, endpoint))
            .flatten();
        // The same rules by another interface name are told as those that the network meets.
        let (answer, differs) = match (answer, network) {
            (Some(seen), Some(network)) if neighbour::agrees(&seen, &network) => (Some(network), None),
            (Some(seen), Some(network)) => (Some(seen), Some(network)),
            (answer, _) => (answer, None),
        };
        let takers = found(endpoint).unwrap_or_default();
        let loopback = answer.as_ref().filter(|_| takers.is_loopback_only() && endpoint.address.is_ipv4());
        let loopback = loopback.zip(path).map(|(answer, path)| {
            let to = Endpoint { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ..endpoint };
            path.answer(&PathQuestion { to, from: answer.from, iif: answer.iif.clone() })
        });
        let open = answer.as_ref().filter(|_| entry.state == PortState::Open);
        let stranger = open.zip(path).map(|(answer, path)| {
            path.answer(&PathQuestion { to: endpoint, from: stranger(endpoint.address), iif: answer.iif.clone() })
        });
        let inside = joined.map(|(joined, _)| Inside {
            machine: &joined.machine,
            answer: answer.as_ref(),
            takers,
            loopback: loopback.as_ref(),
            stranger: stranger.as_ref(),
            stale: is_stale(joined.machine.reports(), around.run),
            silent_host: around.asked.is_silent(entry.address),
            udp_answers: udp_answers.contains(&entry.address),
            caveats: &caveats,
        });
        let mut judgement = judge(look, inside.as_ref());
        let answer = match (answer, differs) {
            (Some(seen), Some(network)) => {
                judgement = neighbour::downgrade(look, judgement, &seen, &network);
                Some(network)
            }
            (answer, _) => answer,
        };
        let flooded = judged.floods.iter().find(|flood| flood.address == entry.address);
        if let Some(flood) = flooded.filter(|_| entry.transport == Transport::Tcp && entry.state == PortState::Open) {
            say_flooded(&mut judgement, flood, entry);
        }
        let unexplained = matches!(judgement.verdict, Verdict::Unreported | Verdict::Contradiction);
        let led = answer.as_ref().and_then(PathAnswer::translation).is_some();
        judgement.reasons.extend(hops::sentence(entry, unexplained && !led));
        if unexplained && !led {
            judgement.reasons.extend(stacks::sentence(entry, &stacks));
        }
        let stakes = joined.map(|(joined, _)| stakes::of(&joined.machine, judgement.listener.as_ref()));
        if let Some(answer) = &answer {
            entry.intent = Some(answer.intent.to_string());
            entry.path = super::path_words::lines(answer);
        }
        judged.endpoints.insert(
            subject(entry),
            Facts {
                confidence: judgement.confidence,
                published: judgement.published,
                answer,
                stakes: stakes.unwrap_or_default(),
            },
        );
        entry.verdict = Some(judgement.verdict);
        entry.listener = judgement.listener.map(Box::new);
        entry.also = judgement.reasons;
    }
    judged
}

fn add_entries(host: &mut Host, joined: &Joined<'_>, part: Part, around: &Surroundings<'_>) {
    let elsewhere = |address: IpAddr| {
        let asked = around.swept.contains(&address) || around.asked.is_silent(address);
        asked && !joined.addresses.contains(&address)
    };
    let wanted: BTreeSet<Endpoint> = match part {
        Part::Host => expand::wanted(joined, elsewhere),
        Part::Outer => expand::wanted_outer(joined, host.address),
    };
    let known: BTreeSet<Endpoint> = host.endpoints.iter().map(EndpointEntry::endpoint).collect();
    for endpoint in wanted.difference(&known) {
        let seen = lookup::seen(host, around.asked, around.ports, *endpoint);
        lookup::take_out(host, *endpoint);
        let seen_from =
            if seen.reason == Reason::NotSwept { Vec::new() } else { seen_from(host, endpoint.address, around) };
        host.endpoints.push(entry(*endpoint, seen, seen_from));
    }
    host.endpoints.sort_by_key(|entry| (entry.address, entry.transport, entry.port));
}

/// The vantages of a folded port: those of its address where another entry tells, else the one that fits.
fn seen_from(host: &Host, address: IpAddr, around: &Surroundings<'_>) -> Vec<String> {
    let swept = host.endpoints.iter().find(|entry| entry.address == address && !entry.seen_from.is_empty());
    if let Some(entry) = swept {
        return entry.seen_from.clone();
    }
    let own = address.is_loopback() || around.own.addresses.contains(&address);
    let fitting: Vec<String> = around
        .run
        .vantages
        .iter()
        .filter(|vantage| (vantage.kind == VantageKind::Own) == own)
        .map(|vantage| vantage.name.clone())
        .collect();
    // Which of several it was is not written with folded ports.
    if fitting.len() == 1 { fitting } else { Vec::new() }
}

fn entry(endpoint: Endpoint, seen: Seen, seen_from: Vec<String>) -> EndpointEntry {
    let Seen { state, reason, evidence } = seen;
    EndpointEntry { evidence, seen_from, ..EndpointEntry::at(endpoint, state, reason) }
}

/// Addresses of which some UDP port answered, or was refused by the address itself.
fn udp_answering(host: &Host) -> BTreeSet<IpAddr> {
    let answers = |state, reason, offender: Option<IpAddr>, address: IpAddr| match state {
        PortState::Open => true,
        PortState::Closed => {
            reason == Reason::IcmpPortUnreachable && offender.is_none_or(|offender| offender == address)
        }
        _ => false,
    };
    let entries = host.endpoints.iter().filter(|entry| {
        let Evidence { offender, .. } = entry.evidence;
        entry.transport == Transport::Udp && answers(entry.state, entry.reason, offender, entry.address)
    });
    let groups = host.other_ports.iter().filter(|group| {
        group.transport == Transport::Udp
            && !group_ports(group).is_empty()
            && answers(group.state, group.reason, group.offender, group.address)
    });
    entries.map(|entry| entry.address).chain(groups.map(|group| group.address)).collect()
}

/// An address of a documentation network (RFC 5737, RFC 9637), which no rule trusts.
const fn stranger(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 7)),
    }
}

fn caveats(joined: &Joined<'_>, around: &Surroundings<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    if joined.assumed {
        sentences.push(
            "The listing names no address: it was taken to be of this host, the only one that was asked.".to_owned(),
        );
    }
    // A later report of the same machine makes up for an old one.
    if is_stale(joined.machine.reports(), around.run) {
        sentences.extend(joined.machine.reports().filter_map(|report| caveat(report, around.run)));
        sentences.dedup();
    }
    sentences
}

/// An open port of an address that accepts on everything is judged only where a probe recognised the service.
fn say_flooded(judgement: &mut Judgement, flood: &Flood, entry: &EndpointEntry) {
    let sentence = format!(
        "{} of {} asked TCP ports of {} accept without a service or a socket: something in front of the host answers.",
        flood.improbable, flood.asked, flood.address
    );
    if everything::is_improbable(entry) {
        judgement.verdict = Verdict::AnswersEverything;
        judgement.confidence = Confidence::Likely;
        judgement.reasons = vec![sentence];
    } else {
        judgement.reasons.push(sentence);
    }
}
