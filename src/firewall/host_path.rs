//! A whole host: the walk through its own namespace and on into the one behind, told as an answer.

use std::net::IpAddr;

use super::evaluate::{Assumption, End};
use super::packet::{Device, Packet, Port, Protocol, Question};
use super::routing::Router;
use super::rules::Rules;
use super::ruleset::Ruleset;
use super::trace::{decide_last, refusal, told_step, trace};
use super::walk::{Finish, NamespaceWalk, Walked};
use super::{fix, translated};
use crate::model::host_report::HOST_NAMESPACE;
use crate::model::network::FirewallDump;
use crate::model::path::{Delivered, TraceStep, Translated};
use crate::model::report::Gap;
use crate::model::unread::{self, Lack, Unread};
use crate::model::{HostReport, NetworkState, PathAnswer, PathModel, PathOutcome, PathQuestion, Transport};

/// A host's rules and routes in all its namespaces, ready to be asked.
#[derive(Debug)]
pub struct HostPath {
    namespaces: Vec<Named>,
}

#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    addresses: Vec<IpAddr>,
    pub(super) walk: NamespaceWalk,
    /// What of its rules is not known; with any of it nothing definite can be said.
    unread: Vec<Unread>,
}

impl Named {
    fn new(name: &str, addresses: &[IpAddr], network: &NetworkState, ruleset: Ruleset) -> Self {
        let interfaces = network.interfaces.iter().flat_map(|interface| &interface.addresses);
        let rules = Rules::new(ruleset);
        let namespace = (name != HOST_NAMESPACE).then(|| name.to_owned());
        let unread = rules.ruleset.unread.iter();
        Self {
            name: name.to_owned(),
            addresses: addresses.iter().copied().chain(interfaces.map(|own| own.address)).collect(),
            unread: unread.map(|unread| Unread { namespace: namespace.clone(), ..unread.clone() }).collect(),
            walk: NamespaceWalk { rules, router: Router::new(network) },
        }
    }
}

impl HostPath {
    /// Reads the rules and routes of a report; `None` when it has neither for the host's own namespace.
    pub fn new(report: &HostReport) -> Option<Self> {
        Self::with(report, Ruleset::of_dump)
    }

    fn with(report: &HostReport, read: impl Fn(&FirewallDump) -> Ruleset) -> Option<Self> {
        let of = |name: &str, addresses: &[IpAddr], network: &NetworkState| {
            let mut ruleset = network.firewall.as_ref().map(&read).unwrap_or_default();
            if network.firewall.is_none() {
                ruleset.unread.push(Unread::new(Lack::NotRead, "the rules, which the report lacks"));
            }
            Named::new(name, addresses, network, ruleset)
        };
        let mut namespaces: Vec<Named> = Vec::new();
        for namespace in &report.namespaces {
            let Some(network) = &namespace.network else { continue };
            let named = of(&namespace.name, &namespace.addresses, network);
            if namespace.name == HOST_NAMESPACE { namespaces.insert(0, named) } else { namespaces.push(named) }
        }
        namespaces.first().is_some_and(|first| first.name == HOST_NAMESPACE).then_some(Self { namespaces })
    }

    /// A host of one namespace.
    pub fn of_namespace(network: &NetworkState, ruleset: Ruleset) -> Self {
        Self { namespaces: vec![Named::new(HOST_NAMESPACE, &[], network, ruleset)] }
    }

    /// What becomes of the packet.
    pub fn ask(&self, question: &Question) -> PathAnswer {
        let own = &self.namespaces[0];
        let input = question.input.clone().or_else(|| own.walk.router.way_back(question.source, question.destination));
        let device = input.as_deref().map_or(Device::Unknown, |name| Device::Name(name.into()));
        let ends: Vec<Told> = own
            .walk
            .walk(question, device.clone())
            .into_iter()
            .flat_map(|walked| self.follow(own, walked, 0))
            .collect();
        let (intent, intent_trace) = intent(own, question, device);
        let gaps = gaps(own.unread.iter().chain(ends.iter().flat_map(|end| &end.unread)));
        let mut answer = summary(ends);
        answer.gaps = gaps;
        let to_transport = if question.protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        answer.to =
            crate::model::Endpoint::new(question.destination, to_transport, question.destination_port).to_string();
        answer.from = question.source;
        answer.iif = input;
        answer.intent = intent;
        answer.intent_trace = intent_trace;
        if !own.unread.is_empty() {
            answer.path = PathOutcome::Unknown;
            answer.intent = PathOutcome::Unknown;
            answer.delivered = None;
            answer.either.clear();
            answer.unknown.extend(own.unread.iter().map(Unread::to_string));
        }
        if answer.is_bypass() {
            answer.fix = fix::lines(&own.walk.rules.ruleset, question, &answer);
        }
        answer
    }

    /// A way through one namespace, and on into the next.
    fn follow(&self, through: &Named, walked: Walked, depth: usize) -> Vec<Told> {
        let trace = trace(through, &walked);
        let assumed = walked.assumed.clone();
        let packet = &walked.packet;
        let told = |outcome, refusal, namespace: Option<&str>| Told {
            outcome,
            refusal,
            delivered: (outcome == PathOutcome::Accept).then(|| delivered(packet, namespace)),
            trace: trace.clone(),
            assumed: assumed.clone(),
            unknown: None,
            unread: Vec::new(),
        };
        match &walked.finish {
            Finish::Local => vec![told(PathOutcome::Accept, None, Some(&through.name))],
            Finish::Dropped => vec![told(PathOutcome::Drop, None, None)],
            Finish::Rejected(kind) => vec![told(PathOutcome::Reject, Some(refusal(*kind, packet.is_ipv6())), None)],
            Finish::Unknown(what) => {
                vec![Told { unknown: Some(what.clone()), ..told(PathOutcome::Unknown, None, None) }]
            }
            Finish::Forwarded { .. } => {
                let next = self
                    .namespaces
                    .iter()
                    .find(|next| next.name != through.name && next.addresses.contains(&packet.destination));
                let Some(next) = next else { return vec![told(PathOutcome::Accept, None, None)] };
                if depth >= MOST_NAMESPACES || packet.destination_port == Port::Unknown {
                    return vec![told(PathOutcome::Accept, None, Some(&next.name))];
                }
                if !next.unread.is_empty() {
                    let what: Vec<String> = next.unread.iter().map(Unread::to_string).collect();
                    let (unknown, unread) = (Some(what.join("; ")), next.unread.clone());
                    return vec![Told { unknown, unread, ..told(PathOutcome::Unknown, None, None) }];
                }
                let input = next.walk.router.interface_of(packet.destination).map(|own| own.name.clone());
                let device = input.as_deref().map_or(Device::Unknown, |name| Device::Name(name.into()));
                let walks = next.walk.walk(&onward(packet), device);
                let inner = walks.into_iter().flat_map(|walked| self.follow(next, walked, depth + 1));
                inner
                    .map(|inner| Told {
                        trace: trace.iter().cloned().chain(inner.trace).collect(),
                        assumed: assumed.iter().cloned().chain(inner.assumed).collect(),
                        ..inner
                    })
                    .collect()
            }
        }
    }
}

impl PathModel for HostPath {
    fn answer(&self, question: &PathQuestion) -> PathAnswer {
        let asked = Question { input: question.iif.clone(), ..Question::new(question.to, question.from) };
        self.ask(&asked)
    }

    fn translated(&self) -> Vec<Translated> {
        translated::destinations(&self.namespaces[0].walk.rules)
    }

    fn unread(&self) -> Vec<Unread> {
        self.namespaces.iter().flat_map(|namespace| namespace.unread.iter().cloned()).collect()
    }
}

/// One end, told.
#[derive(Clone, Debug)]
struct Told {
    outcome: PathOutcome,
    refusal: Option<String>,
    delivered: Option<Delivered>,
    trace: Vec<TraceStep>,
    assumed: Vec<Assumption>,
    unknown: Option<String>,
    /// Rules that it meets and that nobody knows.
    unread: Vec<Unread>,
}

/// What was asked for is what the rules do: without them the answer is incomplete, whyever they are not known.
fn gaps<'a>(unread: impl Iterator<Item = &'a Unread>) -> Vec<Gap> {
    // Several ways may lead to the same rules.
    let mut once: Vec<&Unread> = Vec::new();
    unread.for_each(|one| {
        if !once.contains(&one) {
            once.push(one)
        }
    });
    unread::gaps(once, "the host").into_iter().map(|gap| Gap { incomplete: true, ..gap }).collect()
}

/// One answer from all the ends that the packet may come to.
fn summary(mut ends: Vec<Told>) -> PathAnswer {
    let mut answer = PathAnswer {
        to: String::new(),
        from: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        iif: None,
        intent: PathOutcome::Unknown,
        path: PathOutcome::Unknown,
        refusal: None,
        delivered: None,
        either: Vec::new(),
        trace: Vec::new(),
        intent_trace: Vec::new(),
        unknown: Vec::new(),
        gaps: Vec::new(),
        fix: Vec::new(),
    };
    // What the packet may come to with the most to tell comes first.
    ends.sort_by_key(|end| end.outcome == PathOutcome::Unknown);
    let Some(first) = ends.first().cloned() else { return answer };
    let same = ends.iter().all(|end| end.outcome == first.outcome);
    answer.trace = first.trace;
    if same && first.outcome != PathOutcome::Unknown {
        answer.path = first.outcome;
        answer.refusal = first.refusal.filter(|kind| ends.iter().all(|end| end.refusal.as_ref() == Some(kind)));
        let one_place = ends.iter().all(|end| end.delivered == first.delivered);
        if one_place {
            answer.delivered = first.delivered;
            return answer;
        }
        for place in ends.iter().filter_map(|end| end.delivered.as_ref()) {
            if !answer.either.contains(place) {
                answer.either.push(place.clone());
            }
        }
    }
    for end in ends {
        let found = end.unknown.into_iter().chain(end.assumed.into_iter().map(|(what, _)| what));
        for what in found {
            if !answer.unknown.contains(&what) {
                answer.unknown.push(what);
            }
        }
    }
    answer
}

fn intent(own: &Named, question: &Question, input: Device) -> (PathOutcome, Vec<TraceStep>) {
    let ends = own.walk.intent(question, input);
    let outcome = |end: &End| match end {
        End::Accept => PathOutcome::Accept,
        End::Drop => PathOutcome::Drop,
        End::Reject(_) => PathOutcome::Reject,
        End::Unknown(_) => PathOutcome::Unknown,
    };
    let Some((first, way)) = ends.first() else { return (PathOutcome::Unknown, Vec::new()) };
    let steps = way.steps.iter().map(|step| told_step(own, *step, &way.packet)).collect();
    let same = ends.iter().all(|(end, _)| outcome(end) == outcome(first));
    (if same { outcome(first) } else { PathOutcome::Unknown }, decide_last(steps))
}

/// The packet as the next namespace sees it.
fn onward(packet: &Packet) -> Question {
    let known = |port| match port {
        Port::Known(port) => Some(port),
        Port::Unknown | Port::Missing => None,
    };
    Question {
        input: None,
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol,
        source_port: known(packet.source_port),
        destination_port: known(packet.destination_port).unwrap_or(0),
    }
}

fn delivered(packet: &Packet, namespace: Option<&str>) -> Delivered {
    let (address, port) = packet.proxied.unwrap_or((packet.destination, packet.destination_port));
    let port = match port {
        Port::Known(port) => Some(port),
        Port::Unknown | Port::Missing => None,
    };
    Delivered { namespace: namespace.map(str::to_owned), address, port }
}

/// Namespaces that a packet passes one after the other.
const MOST_NAMESPACES: usize = 4;
