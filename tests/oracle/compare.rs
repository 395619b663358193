//! The model's answer beside what was seen.

use std::net::IpAddr;

use postern::firewall::packet::Device;
use postern::firewall::routing::Router;
use postern::firewall::rules::Rules as Indexed;
use postern::firewall::ruleset::Ruleset;
use postern::firewall::walk::{Finish, NamespaceWalk, Walked};
use postern::firewall::{HostPath, Question};
use postern::model::{Endpoint, NetworkState, PathAnswer, PathOutcome};

use crate::lab::{Seen, Shot};
use crate::wiring::Link;

/// The model of what is loaded.
#[derive(Debug)]
pub struct Model {
    path: HostPath,
    /// The same, for what an answer does not tell: the source in the end.
    walk: NamespaceWalk,
}

/// How an answer fits what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    Agrees,
    /// The model says that it does not know.
    Open,
    /// The model says something else, and what.
    Wrong(String),
}

/// What the model says of a packet.
#[derive(Clone, Debug)]
pub struct Told {
    pub answer: PathAnswer,
    walked: Vec<Walked>,
}

impl Model {
    pub fn new(network: &NetworkState, ruleset: Ruleset) -> Self {
        Self {
            path: HostPath::of_namespace(network, ruleset.clone()),
            walk: NamespaceWalk { rules: Indexed::new(ruleset), router: Router::new(network) },
        }
    }

    pub fn ask(&self, shot: &Shot) -> Told {
        let to = Endpoint::new(shot.destination, shot.transport, shot.destination_port);
        let interface = shot.from.interface();
        let question = Question::new(to, shot.source).by(interface).from_port(shot.source_port);
        let walked = self.walk.walk(&question, Device::Name(interface.into()));
        Told { answer: self.path.ask(&question), walked }
    }
}

impl Told {
    /// The model says, wherever the packet ends, that it is translated on its way.
    pub fn rewritten(&self, shot: &Shot) -> bool {
        let changed = |walked: &Walked| walked.packet.is_translated() || walked.packet.source != shot.source;
        !self.walked.is_empty() && self.walked.iter().all(changed)
    }

    /// Compares with what was seen.
    pub fn fit(&self, seen: &Seen) -> Fit {
        let answer = &self.answer;
        let agrees = match answer.path {
            PathOutcome::Unknown => return Fit::Open,
            PathOutcome::Drop => matches!(seen, Seen::Nothing),
            PathOutcome::Reject => match seen {
                Seen::Reset => answer.refusal.as_deref().is_none_or(|kind| kind == "tcp-reset"),
                Seen::Icmp { kind, code, .. } => {
                    answer.refusal.as_deref().is_none_or(|refusal| refusal == name_of(*kind, *code))
                }
                _ => false,
            },
            PathOutcome::Accept => self.arrives(seen),
        };
        if agrees { Fit::Agrees } else { Fit::Wrong(self.summary()) }
    }

    fn arrives(&self, seen: &Seen) -> bool {
        let (segment, link) = match seen {
            Seen::Host(segment) => (segment, None),
            Seen::Link(link, segment) => (segment, Some(*link)),
            _ => return false,
        };
        if let Some(delivered) = &self.answer.delivered {
            let right = delivered.namespace.is_some() == link.is_none()
                && delivered.address == segment.destination
                && delivered.port.is_none_or(|port| port == segment.destination_port);
            if !right {
                return false;
            }
        }
        // One of the ways that the model sees is the one that the packet took.
        self.walked.iter().any(|walked| {
            let place = match (&walked.finish, link) {
                (Finish::Local, None) => true,
                (Finish::Forwarded { interface }, Some(link)) => link.interface() == interface,
                _ => false,
            };
            place && (walked.packet.source_unknown || walked.packet.source == segment.source)
        })
    }

    pub fn summary(&self) -> String {
        let answer = &self.answer;
        let refusal = answer.refusal.as_deref().map(|kind| format!(" with {kind}")).unwrap_or_default();
        let delivered = answer.delivered.as_ref().map(|end| {
            let place = end.namespace.as_deref().unwrap_or("beyond");
            format!(" at {place} {} port {:?}", end.address, end.port)
        });
        let sources: Vec<String> = self.walked.iter().map(|walked| walked.packet.source.to_string()).collect();
        let mut text =
            format!("{}{refusal}{} from {}", answer.path, delivered.unwrap_or_default(), sources.join(" or "));
        for step in &answer.trace {
            text += &format!("\n      {} {} {} `{}`: {}", step.hook, step.table, step.chain, step.rule, step.action);
        }
        text
    }
}

/// What is seen, in a word or two that do not depend on the number of the packet.
pub fn words(seen: &Seen) -> String {
    let end = |address: IpAddr, port: u16, source: IpAddr| format!("{address} port {port} from {source}");
    match seen {
        Seen::Host(s) => format!("host {}", end(s.destination, s.destination_port, s.source)),
        Seen::Link(link, s) => {
            let link = match link {
                Link::Eth0 => "eth0",
                Link::Eth1 => "eth1",
                Link::C2 => "c2",
                Link::C3 => "c3",
            };
            format!("{link} {}", end(s.destination, s.destination_port, s.source))
        }
        Seen::Reset => "tcp-reset".to_owned(),
        Seen::Icmp { kind, code, .. } => name_of(*kind, *code).to_owned(),
        Seen::Nothing => "nothing".to_owned(),
    }
}

/// ICMP and ICMPv6 do not share a type number among the errors of unreachability.
const fn name_of(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (3, 0) => "icmp-net-unreachable",
        (3, 1) => "icmp-host-unreachable",
        (3, 2) => "icmp-proto-unreachable",
        (3, 3) => "icmp-port-unreachable",
        (3, 9) => "icmp-net-prohibited",
        (3, 10) => "icmp-host-prohibited",
        (3, 13) => "icmp-admin-prohibited",
        (1, 0) => "icmp6-no-route",
        (1, 1) => "icmp6-adm-prohibited",
        (1, 3) => "icmp6-addr-unreachable",
        (1, 4) => "icmp6-port-unreachable",
        _ => "another icmp error",
    }
}
