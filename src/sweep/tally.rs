//! What answered, folded: ports per host, state and reason; no list of endpoints. Pure.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::rtt::Rtt;
use crate::model::report::{Gap, PortGroup};
use crate::model::{Observation, PortRanges, PortState, Reason, Transport};

/// A set of ports that is small while few are in it: 2 bytes a port, then 8 KiB.
#[derive(Clone, Debug)]
pub enum PortSet {
    Sparse(Vec<u16>),
    Dense(Box<[u64; 1024]>),
}

impl Default for PortSet {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl PortSet {
    /// Adds `port`; whether it is new.
    pub fn insert(&mut self, port: u16) -> bool {
        match self {
            Self::Sparse(ports) => {
                let Err(place) = ports.binary_search(&port) else { return false };
                if ports.len() < SPARSE_MAX {
                    ports.insert(place, port);
                    return true;
                }
                let mut bits = Box::new([0_u64; 1024]);
                for &port in ports.iter().chain([&port]) {
                    bits[usize::from(port >> 6)] |= 1 << (port & 63);
                }
                *self = Self::Dense(bits);
                true
            }
            Self::Dense(bits) => {
                let word = &mut bits[usize::from(port >> 6)];
                let before = *word;
                *word |= 1 << (port & 63);
                *word != before
            }
        }
    }

    /// Takes `port` out; whether it was in.
    pub fn remove(&mut self, port: u16) -> bool {
        match self {
            Self::Sparse(ports) => ports.binary_search(&port).map(|place| ports.remove(place)).is_ok(),
            Self::Dense(bits) => {
                let word = &mut bits[usize::from(port >> 6)];
                let before = *word;
                *word &= !(1 << (port & 63));
                *word != before
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Sparse(ports) => ports.len(),
            Self::Dense(bits) => bits.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::Sparse(ports) => ports.binary_search(&port).is_ok(),
            Self::Dense(bits) => bits[usize::from(port >> 6)] & (1 << (port & 63)) != 0,
        }
    }

    pub fn iter(&self) -> Box<dyn Iterator<Item = u16> + '_> {
        match self {
            Self::Sparse(ports) => Box::new(ports.iter().copied()),
            Self::Dense(_) => Box::new((0..=u16::MAX).filter(|port| self.contains(*port))),
        }
    }
}

/// From this many ports on the bitmap is no larger than it is worth.
const SPARSE_MAX: usize = 512;

/// What is known of one host.
#[derive(Clone, Debug, Default)]
pub struct HostTally {
    pub rtt: Rtt,
    /// Ports that are settled: they answered, whatever they said.
    pub answered: PortSet,
    pub folded: Folded,
    /// It does not answer any more: its silence says nothing.
    pub fallen: bool,
    /// There was no room for what it may have answered before.
    pub late: bool,
}

/// What ports must share to be folded into one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    pub state: PortState,
    pub reason: Reason,
    pub offender: Option<IpAddr>,
}

/// Ports of one address by what they have in common.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    groups: Vec<(Fold, PortSet)>,
}

impl Folded {
    pub fn add(&mut self, fold: Fold, port: u16) {
        match self.groups.iter_mut().find(|(known, _)| *known == fold) {
            Some((_, ports)) => {
                ports.insert(port);
            }
            None => {
                let mut ports = PortSet::default();
                ports.insert(port);
                // Most hosts have one group only, and there may be very many hosts.
                self.groups.reserve_exact(1);
                self.groups.push((fold, ports));
            }
        }
    }

    /// Takes a port out of all groups: something better is known of it.
    pub fn remove(&mut self, port: u16) {
        for (_, ports) in &mut self.groups {
            ports.remove(port);
        }
        self.groups.retain(|(_, ports)| !ports.is_empty());
    }

    /// A port that refused.
    fn answering(&self) -> Option<u16> {
        let refused = self.groups.iter().find(|(fold, _)| fold.reason == Reason::Refused);
        refused.and_then(|(_, ports)| ports.iter().next())
    }

    /// All ports of all groups.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.groups.iter().flat_map(|(_, ports)| ports.iter())
    }

    pub fn groups(&self, address: IpAddr, transport: Transport) -> impl Iterator<Item = PortGroup> + '_ {
        self.groups.iter().map(move |(fold, ports)| PortGroup {
            address,
            transport,
            state: fold.state,
            reason: fold.reason,
            offender: fold.offender,
            ports: PortRanges::from_ports(ports.iter()).to_string(),
            seen_from: Vec::new(),
        })
    }
}

/// All hosts that answered, and the open endpoints among theirs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    hosts: HashMap<IpAddr, HostTally>,
    pub open: Vec<Observation>,
    /// Hosts that are remembered while nothing on them is open; `None`: any number.
    room: Option<usize>,
    /// Answers of hosts that there was no room for.
    unlisted: u64,
}

impl Tally {
    /// For so many hosts with nothing open. What is open is remembered of any number.
    pub fn with_room(hosts: usize) -> Self {
        Self { room: Some(hosts), ..Self::default() }
    }

    /// Whether a host is remembered, or may be one more.
    pub fn has_room(&self, address: IpAddr) -> bool {
        self.room.is_none_or(|room| self.hosts.len() < room) || self.hosts.contains_key(&address)
    }

    pub fn host(&self, address: IpAddr) -> Option<&HostTally> {
        self.hosts.get(&address)
    }

    pub fn hosts(&self) -> impl Iterator<Item = (IpAddr, &HostTally)> {
        self.hosts.iter().map(|(&address, host)| (address, host))
    }

    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The entry of a host that answered, where there is room for it.
    pub fn living(&mut self, address: IpAddr) -> Option<&mut HostTally> {
        self.has_room(address).then(|| self.hosts.entry(address).or_default())
    }

    /// Records an answer; whether it is the first of this endpoint.
    pub fn record(&mut self, observation: Observation) -> bool {
        let has_room = self.has_room(observation.endpoint.address);
        if !has_room && observation.state != PortState::Open {
            self.unlisted += 1;
            return false;
        }
        let host = self.hosts.entry(observation.endpoint.address).or_default();
        host.late |= !has_room;
        if !host.answered.insert(observation.endpoint.port) {
            return false;
        }
        if observation.state == PortState::Open {
            self.open.push(observation);
            return true;
        }
        let fold =
            Fold { state: observation.state, reason: observation.reason, offender: observation.evidence.offender };
        host.folded.add(fold, observation.endpoint.port);
        true
    }

    /// An endpoint of each host that has answered over TCP, an open one if there is one.
    pub fn answering(&self) -> Vec<SocketAddr> {
        let refused = |(&address, host): (&IpAddr, &HostTally)| {
            host.folded.answering().map(|port| (address, SocketAddr::new(address, port)))
        };
        let mut of_hosts: HashMap<IpAddr, SocketAddr> = self.hosts.iter().filter_map(refused).collect();
        of_hosts.extend(self.open.iter().map(|open| (open.endpoint.address, open.endpoint.socket_addr())));
        of_hosts.into_values().collect()
    }

    /// These do not answer any more.
    pub fn note_fallen(&mut self, fallen: &HashSet<IpAddr>) {
        self.hosts.iter_mut().filter(|(address, _)| fallen.contains(address)).for_each(|(_, host)| host.fallen = true);
    }

    /// Takes in what another worker found of other hosts.
    pub fn merge(&mut self, other: Self) {
        self.hosts.extend(other.hosts);
        self.open.extend(other.open);
        self.unlisted += other.unlisted;
    }

    /// Whether there was room for every host that answered.
    pub const fn is_whole(&self) -> bool {
        self.unlisted == 0
    }

    /// What was answered and is not told, with room for `most` hosts.
    pub fn gap(&self, most: usize) -> Option<Gap> {
        gap_of_unlisted(self.unlisted, most)
    }

    /// The folded groups of all hosts: what answered, and `unanswered(address)`'s ports (those that were asked) with the
    /// state and reason that silence has.
    pub fn groups(
        &self,
        transport: Transport,
        silence: (PortState, Reason),
        asked: impl Fn(IpAddr) -> PortRanges,
    ) -> Vec<PortGroup> {
        let mut groups = Vec::new();
        for (&address, host) in &self.hosts {
            groups.extend(host.folded.groups(address, transport));
            let silent = asked(address).difference(&PortRanges::from_ports(host.answered.iter()));
            if !silent.is_empty() {
                let (state, reason) = match host {
                    HostTally { fallen: true, .. } => (PortState::Unknown, Reason::FellSilent),
                    HostTally { late: true, .. } => (PortState::Unknown, Reason::LocalLimit),
                    _ => silence,
                };
                groups.push(PortGroup {
                    address,
                    transport,
                    state,
                    reason,
                    offender: None,
                    ports: silent.to_string(),
                    seen_from: Vec::new(),
                });
            }
        }
        sort_groups(&mut groups);
        groups
    }
}

/// Hosts with nothing open that are remembered unless told otherwise: half a kilobyte each.
pub const DEFAULT_MOST_HOSTS: usize = 1 << 19;

/// Answers that were not listed since there is room for `most` hosts only.
pub fn gap_of_unlisted(unlisted: u64, most: usize) -> Option<Gap> {
    (unlisted > 0).then(|| Gap {
        what: format!(
            "{unlisted} answers, none of them open, are counted but not listed: of hosts that are told as silent, and that \
             were asked once"
        ),
        cause: format!("more than {most} hosts answered, and there is room for these"),
        settled_by: "fewer addresses at a time, or --shard".to_owned(),
        incomplete: true,
    })
}

/// In the order that results have.
pub fn sort_groups(groups: &mut [PortGroup]) {
    groups.sort_unstable_by_key(|group| (group.address, group.state, group.reason, group.offender));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Evidence};

    fn answer(port: u16, state: PortState, reason: Reason) -> Observation {
        let endpoint = Endpoint::tcp([198, 18, 0, 1].into(), port);
        Observation { endpoint, state, reason, evidence: Evidence::default() }
    }

    #[test]
    fn folds_and_keeps_the_open_ones() {
        let mut tally = Tally::default();
        assert!(tally.record(answer(22, PortState::Open, Reason::Accepted)));
        assert!(!tally.record(answer(22, PortState::Open, Reason::Accepted)), "twice is once");
        for port in [1, 2, 3, 5] {
            tally.record(answer(port, PortState::Closed, Reason::Refused));
        }
        let groups =
            tally.groups(Transport::Tcp, (PortState::Filtered, Reason::NoAnswer), |_| "1-6,22".parse().unwrap());
        let folded: Vec<_> = groups.iter().map(|group| (group.state, group.ports.as_str())).collect();
        assert_eq!(folded, [(PortState::Closed, "1-3,5"), (PortState::Filtered, "4,6")]);
        assert_eq!(tally.open.len(), 1);
    }

    #[test]
    fn hosts_without_open_ports_are_bounded_and_others_are_not() {
        let mut tally = Tally::with_room(4);
        for host in 0..100 {
            let of = |port, state, reason| {
                let endpoint = Endpoint::tcp([198, 18, 0, host].into(), port);
                Observation { endpoint, ..answer(port, state, reason) }
            };
            tally.record(of(80, PortState::Closed, Reason::Refused));
            assert_eq!(tally.living([198, 18, 0, host].into()).is_some(), host < 4);
            if host % 10 == 9 {
                assert!(tally.record(of(22, PortState::Open, Reason::Accepted)));
                assert!(tally.record(of(23, PortState::Closed, Reason::Refused)), "it is remembered now");
            }
        }
        assert_eq!((tally.len(), tally.open.len()), (4 + 10, 10));
        assert!(tally.gap(4).is_some_and(|gap| gap.what.starts_with("96 answers") && gap.incomplete));
        let silence = (PortState::Filtered, Reason::NoAnswer);
        let groups = tally.groups(Transport::Tcp, silence, |_| "22-23,80".parse().unwrap());
        let of = |host| {
            let groups = groups.iter().filter(move |group| group.address == IpAddr::from([198, 18, 0, host]));
            groups.map(|group| (group.reason, group.ports.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(of(3), [(Reason::Refused, "80"), (Reason::NoAnswer, "22-23")]);
        assert_eq!(
            of(99),
            [(Reason::Refused, "23"), (Reason::LocalLimit, "80")],
            "it has refused 80, which is not known"
        );
        assert_eq!(of(98), []);
    }

    proptest::proptest! {
        #[test]
        fn a_port_set_is_a_set(ports in proptest::collection::vec(0_u16.., 0..1500)) {
            let mut set = PortSet::default();
            let mut model = std::collections::BTreeSet::new();
            for port in ports {
                if port % 3 == 0 {
                    proptest::prop_assert_eq!(set.remove(port / 3), model.remove(&(port / 3)));
                }
                proptest::prop_assert_eq!(set.insert(port), model.insert(port));
            }
            proptest::prop_assert_eq!(set.len(), model.len());
            proptest::prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
        }
    }
}
