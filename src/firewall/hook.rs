//! One hook: its base chains by priority, with connection tracking and NAT at theirs (nf_hook_slow, nf_nat_inet_fn).

use super::evaluate::{End, Ended, Evaluation, Way, join};
use super::packet::{Device, STATUS_DESTINATION_NAT_DONE, STATUS_SOURCE_NAT_DONE, Tracking};
use super::rules::{ChainId, kind, priority, table_name};
use super::ruleset::{ChainKind, Hook};
use super::walk::{Finish, NamespaceWalk, Nat, Passed, ended};

enum Stage {
    Chain(ChainId),
    Track,
    Nat(Vec<ChainId>),
}

impl NamespaceWalk {
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
            let mut touched = false;
            for (_, stage) in equals[first..].iter().chain(&equals[..first]) {
                let mut next = Vec::new();
                for way in open {
                    let before = way.packet.clone();
                    let ends = match stage {
                        Stage::Track => vec![(End::Accept, tracked(way))],
                        Stage::Chain(id) => self.chain(hook, *id, way, nat),
                        Stage::Nat(chains) => self.nat(hook, chains, way),
                    };
                    for (end, way) in ends {
                        touched |= end != End::Accept || way.packet != before;
                        if end == End::Accept { next.push(way) } else { found.push((end, way)) }
                    }
                }
                open = next;
            }
            found.extend(open.into_iter().map(|way| (End::Accept, way)));
            (found, touched)
        };
        let table = |stage: &Stage| match stage {
            Stage::Chain(id) => Some(id.table),
            Stage::Track | Stage::Nat(_) => None,
        };
        if !equals.windows(2).any(|pair| table(&pair[0].1) != table(&pair[1].1)) {
            return in_order(way, 0).0;
        }
        let (found, touched) = in_order(way.clone(), 0);
        if !touched {
            return found;
        }
        (0..equals.len())
            .flat_map(|first| {
                let mut way = way.clone();
                way.assumed.push(("which of the chains of equal priority is asked first".to_owned(), first == 0));
                in_order(way, first).0
            })
            .collect()
    }

    /// One base chain, where it is hooked to the interface that the packet came in by.
    pub(super) fn chain(&self, hook: Hook, id: ChainId, way: Way, nat: Nat) -> Vec<Ended> {
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
        let what = format!("whether table {} is not dormant", table_name(table));
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
        if !self.rules.tracks(way.packet.is_ipv6()) {
            let what = "whether connection tracking is on, without which no NAT chain is asked".to_owned();
            return self.perhaps(way, what, |way| self.translating(hook, chains, way));
        }
        self.translating(hook, chains, way)
    }

    fn translating(&self, hook: Hook, chains: &[ChainId], way: Way) -> Vec<Ended> {
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
                let table = table_name(self.rules.table(chains[first]));
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

fn is_translated(way: &Way, bit: u32) -> bool {
    matches!(way.packet.tracking, Tracking::New { status, .. } if status & bit != 0)
}

fn tracked(mut way: Way) -> Way {
    if way.packet.tracking == Tracking::Before {
        way.packet.tracking = Tracking::New { status: 0, mark: Some(0) };
    }
    way
}

/// NF_IP_PRI_CONNTRACK, NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC (linux/netfilter_ipv4.h); the IPv6 ones are the same.
const CONNTRACK: i32 = -200;
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;
