//! The walk of one packet through one namespace: hook by hook, chain by chain, and the routing decision between.

use super::evaluate::{Assumption, End, Ended, Step, Way, join};
use super::packet::{Device, Packet, Question, Tracking};
use super::routing::{Decision, Flow, LO, Router};
use super::rules::Rules;
use super::ruleset::{Hook, Reject};

/// The rules and routes of one namespace.
#[derive(Debug)]
pub struct NamespaceWalk {
    pub rules: Rules,
    pub router: Router,
}

/// How the walk through the namespace ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// For this namespace, and accepted.
    Local,
    /// Sent on by this interface.
    Forwarded {
        interface: String,
    },
    Dropped,
    Rejected(Reject),
    Unknown(String),
}

/// One way through the namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Walked {
    pub finish: Finish,
    pub packet: Packet,
    pub steps: Vec<Step>,
    /// The routing decision: how many of the steps came before it, what was decided, and the action.
    pub routing: Option<Routing>,
    pub assumed: Vec<Assumption>,
}

/// A routing decision, for the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    pub after: usize,
    pub reason: String,
    pub action: String,
    /// It ended the walk.
    pub decides: bool,
}

/// Ways that go on, and those that ended.
pub(super) type Passed = (Vec<Way>, Vec<Walked>);

impl NamespaceWalk {
    /// All ways that the packet of `question` may take, coming in by `input`.
    pub fn walk(&self, question: &Question, input: Device) -> Vec<Walked> {
        let way = Way { packet: Packet::new(question, input), steps: Vec::new(), assumed: Vec::new() };
        let ways = match self.bridge_of(&way.packet.input) {
            Some(bridge) => self.over_bridge(way, &bridge),
            None => self.by_link(way),
        };
        ways.into_iter().flat_map(|walked| self.answered(walked)).collect()
    }

    fn by_link(&self, way: Way) -> Vec<Walked> {
        let (ways, mut found) = self.hook(Hook::Ingress, vec![way], Nat::Yes);
        let (arriving, refused): (Vec<Way>, Vec<Way>) =
            ways.into_iter().partition(|way| !is_loopback_of_ipv6(&way.packet));
        found.extend(refused.into_iter().map(|way| {
            let reason = format!("martian: {} to {} by a link", way.packet.source, way.packet.destination);
            let routing = Routing { after: way.steps.len(), reason, action: "drop".to_owned(), decides: true };
            ended(way, Finish::Dropped, Some(routing))
        }));
        let (ways, dropped) = self.hook(Hook::Prerouting, arriving, Nat::Yes);
        found.extend(dropped);
        for way in ways {
            found.extend(self.route(way));
        }
        found
    }

    /// INPUT's answer for the packet as if there were no NAT and every earlier hook let it pass.
    pub fn intent(&self, question: &Question, input: Device) -> Vec<Ended> {
        let untouched = Packet::new(question, input);
        let way = Way { packet: untouched, steps: Vec::new(), assumed: Vec::new() };
        // Marks that earlier rules set are seen by INPUT; what they drop is another layer.
        let (mut ways, dropped) = self.hook(Hook::Prerouting, vec![way.clone()], Nat::No);
        if ways.is_empty() || !dropped.is_empty() {
            let mut way = way;
            way.packet.tracking = Tracking::New { status: 0, mark: Some(0) };
            ways = vec![way];
        }
        for way in &mut ways {
            way.steps.clear();
        }
        let (passed, stopped) = self.hook(Hook::Input, ways, Nat::No);
        let accepted = passed.into_iter().map(|way| (End::Accept, way));
        let refused = stopped.into_iter().map(|walked| {
            let end = match walked.finish {
                Finish::Rejected(kind) => End::Reject(kind),
                Finish::Unknown(what) => End::Unknown(what),
                _ => End::Drop,
            };
            (end, Way { packet: walked.packet, steps: walked.steps, assumed: walked.assumed })
        });
        join(accepted.chain(refused).collect())
    }

    pub(super) fn route(&self, way: Way) -> Vec<Walked> {
        let packet = &way.packet;
        if packet.proxied.is_some() {
            return self.input(way, "a transparent proxy rule takes it".to_owned());
        }
        let input = match &packet.input {
            Device::Name(name) => Some(name.clone()),
            Device::None | Device::Unknown => None,
        };
        let Some(input) = input else {
            return vec![ended(way, Finish::Unknown("the input interface".to_owned()), None)];
        };
        let flow = Flow {
            source: packet.source,
            destination: packet.destination,
            input: Some(&input),
            output: None,
            mark: packet.mark,
        };
        let mut decisions = self.router.decide(flow);
        let open = decisions.iter().find_map(|decision| match decision {
            Decision::Unknown(what) => Some(what.clone()),
            _ => None,
        });
        if decisions.len() > 1 {
            decisions.retain(|decision| !matches!(decision, Decision::Unknown(_)));
        }
        let several =
            decisions.len() > 1 || (open.is_some() && !decisions.iter().all(|d| matches!(d, Decision::Unknown(_))));
        let mut found = Vec::new();
        for (at, decision) in decisions.into_iter().enumerate() {
            let mut way = way.clone();
            if several {
                let what = open.clone().unwrap_or_else(|| match way.packet.destination {
                    group if group.is_multicast() => format!("whether the group {group} is joined"),
                    destination => format!("which route to {destination} is taken"),
                });
                way.assumed.push((what, at == 0));
            }
            found.extend(self.decided(way, decision));
        }
        if let Some(what) = open
            && several
        {
            found.push(ended(way, Finish::Unknown(what), None));
        }
        found
    }

    fn decided(&self, mut way: Way, decision: Decision) -> Vec<Walked> {
        let after = way.steps.len();
        let stop = |reason: &str, action: &str| {
            Some(Routing { after, reason: reason.to_owned(), action: action.to_owned(), decides: true })
        };
        match decision {
            Decision::Local => {
                let reason = self.router.why_local(way.packet.destination);
                self.input(way, reason)
            }
            Decision::Forward { interface, .. } => {
                let routing = Some(Routing {
                    after,
                    reason: format!("the route to {} leads by {interface}", way.packet.destination),
                    action: format!("forward to {interface}"),
                    decides: false,
                });
                way.packet.output = Device::Name(interface.as_str().into());
                let (ways, stopped) = self.hook(Hook::Forward, vec![way], Nat::Yes);
                let (mut ways, mut dropped) = self.hook(Hook::Postrouting, ways, Nat::Yes);
                if self.bridge_of(&Device::Name(interface.as_str().into())).is_some() {
                    let (passed, more) = self.out_by_bridge(ways);
                    ways = passed;
                    dropped.extend(more);
                }
                let passed = ways
                    .into_iter()
                    .map(|way| ended(way, Finish::Forwarded { interface: interface.clone() }, routing.clone()));
                let stopped = stopped.into_iter().chain(dropped);
                passed.chain(stopped.map(|walked| Walked { routing: routing.clone(), ..walked })).collect()
            }
            Decision::Drop(reason) => vec![ended(way, Finish::Dropped, stop(&reason, "drop"))],
            Decision::Reject(kind, reason) => vec![ended(way, Finish::Rejected(kind), stop(&reason, "reject"))],
            Decision::Unknown(what) => {
                let routing = stop(&what, "unknown");
                vec![ended(way, Finish::Unknown(what), routing)]
            }
        }
    }

    fn input(&self, way: Way, reason: String) -> Vec<Walked> {
        let routing = Some(Routing { after: way.steps.len(), reason, action: "local".to_owned(), decides: false });
        let (ways, stopped) = self.hook(Hook::Input, vec![way], Nat::Yes);
        let passed = ways.into_iter().map(|way| ended(way, Finish::Local, routing.clone()));
        passed.chain(stopped.into_iter().map(|walked| Walked { routing: routing.clone(), ..walked })).collect()
    }
}

/// Whether rules that translate are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    Yes,
    No,
}

/// ip6_rcv_core: no packet of a link has the loopback address, whatever prerouting would make of it.
pub(super) fn is_loopback_of_ipv6(packet: &Packet) -> bool {
    let own = matches!(&packet.input, Device::Name(name) if **name == *LO);
    packet.is_ipv6() && !own && (packet.source.is_loopback() || packet.destination.is_loopback())
}

pub(super) fn ended(way: Way, finish: Finish, routing: Option<Routing>) -> Walked {
    Walked { finish, packet: way.packet, steps: way.steps, routing, assumed: way.assumed }
}
