//! The walk of one packet through one namespace: hook by hook, chain by chain, and the routing decision between.

use super::evaluate::{Assumption, End, Ended, Evaluation, Step, Way, join};
use super::packet::{Device, Packet, Question, STATUS_DESTINATION_NAT_DONE, STATUS_SOURCE_NAT_DONE, Tracking};
use super::routing::{Decision, Flow, LO, Router};
use super::rules::{ChainId, Rules, kind, priority};
use super::ruleset::{ChainKind, Hook, Reject};

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
                let what =
                    open.clone().unwrap_or_else(|| format!("which route to {} is taken", way.packet.destination));
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
                let reason = format!("{} is an address of this namespace", way.packet.destination);
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

    /// One hook over all ways: its base chains by priority, connection tracking and NAT at theirs.
    pub(super) fn hook(&self, hook: Hook, ways: Vec<Way>, nat: Nat) -> Passed {
        let Some(first) = ways.first() else { return (Vec::new(), Vec::new()) };
        let chains = self.rules.base_chains(hook, first.packet.is_ipv6());
        let mut stages: Vec<(i32, Stage)> = Vec::new();
        let mut nat_chains = Vec::new();
        for &id in chains {
            let chain = self.rules.chain(id);
            if kind(chain) == Some(ChainKind::Nat) {
                nat_chains.push(id);
            } else {
                stages.push((priority(chain), Stage::Chain(id)));
            }
        }
        if hook == Hook::Prerouting {
            stages.push((CONNTRACK, Stage::Track));
        }
        if !nat_chains.is_empty() && nat == Nat::Yes {
            // All nat chains of a hook run where the kernel's own NAT is hooked in, in the order of their priorities
            // (nf_nat_inet_fn).
            let place = if matches!(hook, Hook::Prerouting | Hook::Output) { DESTINATION_NAT } else { SOURCE_NAT };
            stages.push((place, Stage::Nat(nat_chains)));
        }
        stages.sort_by_key(|(priority, _)| *priority);
        let mut open = ways;
        let mut stopped = Vec::new();
        for equals in stages.chunk_by(|(one, _), (other, _)| one == other) {
            let mut passed: Vec<Ended> = Vec::new();
            for way in open {
                passed.extend(self.stages(hook, equals, way, nat));
            }
            let joined = join(passed);
            open = Vec::new();
            for (end, way) in joined {
                match end {
                    End::Accept => open.push(way),
                    End::Drop => stopped.push(ended(way, Finish::Dropped, None)),
                    End::Reject(kind) => stopped.push(ended(way, Finish::Rejected(kind), None)),
                    End::Unknown(what) => stopped.push(ended(way, Finish::Unknown(what), None)),
                }
            }
        }
        (open, stopped)
    }

    /// Stages of one priority: which table's chain was hooked in last, and so is asked first, a dump does not tell. It
    /// matters only where one of them refuses the packet or changes it.
    fn stages(&self, hook: Hook, equals: &[(i32, Stage)], way: Way, nat: Nat) -> Vec<Ended> {
        let in_order = |way: Way, first: usize| {
            let mut open = vec![way];
            let mut found = Vec::new();
            for (_, stage) in equals[first..].iter().chain(&equals[..first]) {
                let ends = open.into_iter().flat_map(|way| match stage {
                    Stage::Track => vec![(End::Accept, tracked(way))],
                    Stage::Chain(id) => self.chain(hook, *id, way, nat),
                    Stage::Nat(chains) => self.nat(hook, chains, way),
                });
                let (accepted, refused): (Vec<Ended>, Vec<Ended>) = ends.partition(|(end, _)| *end == End::Accept);
                found.extend(refused);
                open = accepted.into_iter().map(|(_, way)| way).collect();
            }
            found.extend(open.into_iter().map(|way| (End::Accept, way)));
            found
        };
        let found = in_order(way.clone(), 0);
        let table = |stage: &Stage| match stage {
            Stage::Chain(id) => Some(id.table),
            Stage::Track | Stage::Nat(_) => None,
        };
        let of_several = equals.windows(2).any(|pair| table(&pair[0].1) != table(&pair[1].1));
        if !of_several || found.iter().all(|(end, other)| *end == End::Accept && other.packet == way.packet) {
            return found;
        }
        (0..equals.len())
            .flat_map(|first| {
                let mut way = way.clone();
                way.assumed.push(("which of the chains of equal priority is asked first".to_owned(), first == 0));
                in_order(way, first)
            })
            .collect()
    }

    fn chain(&self, hook: Hook, id: ChainId, way: Way, nat: Nat) -> Vec<Ended> {
        let devices = self.rules.chain(id).base.as_ref().map_or(&[][..], |base| base.devices.as_slice());
        if hook == Hook::Ingress {
            match &way.packet.input {
                Device::Name(input) if devices.is_empty() => {
                    let what = format!("whether chain {} is hooked to {input}", self.rules.chain(id).name);
                    return self.perhaps(way, what, |way| self.asked(hook, id, way, nat));
                }
                Device::Name(input) if devices.iter().any(|device| **device == **input) => {}
                Device::Unknown => return vec![(End::Unknown("the input interface".to_owned()), way)],
                _ => return vec![(End::Accept, way)],
            }
        }
        self.asked(hook, id, way, nat)
    }

    fn asked(&self, hook: Hook, id: ChainId, way: Way, nat: Nat) -> Vec<Ended> {
        let without_nat = nat == Nat::No;
        let evaluation = Evaluation { rules: &self.rules, router: &self.router, hook, base: id, without_nat };
        self.awake(&evaluation, way)
    }

    /// The evaluation, if its table is not dormant.
    pub(super) fn awake(&self, evaluation: &Evaluation<'_>, way: Way) -> Vec<Ended> {
        let table = self.rules.table(evaluation.base);
        if table.dormant.is_some() {
            return evaluation.run(way);
        }
        let what = format!("whether table {} is not dormant", super::rules::table_name(table));
        self.perhaps(way, what, |way| evaluation.run(way))
    }

    /// What comes of `ask`, and of passing by without asking.
    fn perhaps(&self, mut way: Way, what: String, ask: impl FnOnce(Way) -> Vec<Ended>) -> Vec<Ended> {
        let mut past = way.clone();
        past.assumed.push((what.clone(), false));
        way.assumed.push((what, true));
        let mut found = ask(way);
        found.push((End::Accept, past));
        found
    }

    /// The first chain that translates ends it; only tracked packets are asked.
    fn nat(&self, hook: Hook, chains: &[ChainId], way: Way) -> Vec<Ended> {
        if !matches!(way.packet.tracking, Tracking::New { .. }) {
            return vec![(End::Accept, way)];
        }
        let bit = if matches!(hook, Hook::Prerouting | Hook::Output) {
            STATUS_DESTINATION_NAT_DONE
        } else {
            STATUS_SOURCE_NAT_DONE
        };
        let mut open = vec![way];
        let mut done = Vec::new();
        for equals in chains.chunk_by(|one, other| self.priority_of(*one) == self.priority_of(*other)) {
            let mut next = Vec::new();
            for way in open {
                for (end, way) in self.nat_of_one_priority(hook, equals, way, bit) {
                    if end == End::Accept && !is_translated(&way, bit) { next.push(way) } else { done.push((end, way)) }
                }
            }
            open = next;
        }
        done.extend(open.into_iter().map(|way| (End::Accept, way)));
        done
    }

    /// Which table was hooked in last, and so is asked first, a dump does not tell: each may be.
    fn nat_of_one_priority(&self, hook: Hook, chains: &[ChainId], way: Way, bit: u32) -> Vec<Ended> {
        let mut found = Vec::new();
        for first in 0..chains.len() {
            let mut way = way.clone();
            if chains.len() > 1 {
                let table = super::rules::table_name(self.rules.table(chains[first]));
                way.assumed.push((format!("whether {table} is asked before its equals in priority"), true));
            }
            let mut open = vec![way];
            for &id in chains[first..].iter().chain(&chains[..first]) {
                let mut next = Vec::new();
                for way in open {
                    for (end, way) in self.chain(hook, id, way, Nat::Yes) {
                        let goes_on = end == End::Accept && !is_translated(&way, bit);
                        if goes_on { next.push(way) } else { found.push((end, way)) }
                    }
                }
                open = next;
            }
            found.extend(open.into_iter().map(|way| (End::Accept, way)));
        }
        join(found)
    }

    fn priority_of(&self, id: ChainId) -> i32 {
        priority(self.rules.chain(id))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    Yes,
    No,
}

enum Stage {
    Chain(ChainId),
    Track,
    Nat(Vec<ChainId>),
}

/// ip6_rcv_core: no packet of a link has the loopback address, whatever prerouting would make of it.
fn is_loopback_of_ipv6(packet: &Packet) -> bool {
    let own = matches!(&packet.input, Device::Name(name) if **name == *LO);
    packet.is_ipv6() && !own && (packet.source.is_loopback() || packet.destination.is_loopback())
}

fn is_translated(way: &Way, bit: u32) -> bool {
    matches!(way.packet.tracking, Tracking::New { status, .. } if status & bit != 0)
}

fn tracked(mut way: Way) -> Way {
    if way.packet.tracking == Tracking::Before {
        way.packet.tracking = Tracking::New { status: 0, mark: Some(0) };
    }
    way
}

pub(super) fn ended(way: Way, finish: Finish, routing: Option<Routing>) -> Walked {
    Walked { finish, packet: way.packet, steps: way.steps, routing, assumed: way.assumed }
}

/// NF_IP_PRI_CONNTRACK, NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC (linux/netfilter_ipv4.h); the IPv6 ones are the same.
const CONNTRACK: i32 = -200;
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;
