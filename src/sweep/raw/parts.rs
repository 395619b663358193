//! A result in pieces of bounded size, and whole again: a large sweep's does not go into one line. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::messages::{Done, Event, Seen};
use crate::model::report::{PortGroup, Sweep};
use crate::model::{Endpoint, Improbable, Observation, PortRanges, PortState, ProbeSpace, Reason, Transport};
use crate::sweep::SweepResult;
use crate::sweep::tally::sort_groups;

/// Some of a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Observations(Vec<Seen>),
    Groups(Vec<PortGroup>),
    Living(Vec<IpAddr>),
    Macs(Vec<(IpAddr, String)>),
    Improbable(Vec<(IpAddr, Improbable)>),
}

impl Part {
    /// Its place in the order in which parts are told.
    const fn kind(&self) -> usize {
        match self {
            Self::Observations(_) => 0,
            Self::Groups(_) => 1,
            Self::Living(_) => 2,
            Self::Macs(_) => 3,
            Self::Improbable(_) => 4,
        }
    }
}

/// What parts tell, in their order. Open endpoints themselves are told as they are found.
const KINDS: [&str; 5] = [
    "hop counts of open ports",
    "ports that are not open",
    "hosts without open ports",
    "link-layer addresses",
    "ports that nobody uses",
];

/// What a result is told by: its parts in their order, and then the end.
pub fn events_of(result: SweepResult) -> impl Iterator<Item = Event> {
    let SweepResult { observations, groups, living, macs, improbable, stats, gaps, interrupted } = result;
    let observations = observations.into_iter().map(|observation| Seen::from(&observation));
    pieces(observations, |_| 0, Part::Observations)
        .chain(pieces(groups, |group| group.ports.len(), Part::Groups))
        .chain(pieces(living, |_| 0, Part::Living))
        .chain(pieces(macs, |_| 0, Part::Macs))
        .chain(pieces(improbable, |_| 0, Part::Improbable))
        .map(Event::Part)
        .chain(std::iter::once(Event::Done(Box::new(Done { stats, gaps, interrupted }))))
}

/// Items together until they are many, or large: `size` is what an item has in text of no small bound.
fn pieces<T>(
    items: impl IntoIterator<Item = T>,
    size: impl Fn(&T) -> usize,
    part: impl Fn(Vec<T>) -> Part,
) -> impl Iterator<Item = Part> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while piece.len() < MOST_ITEMS && bytes < MOST_TEXT {
            let Some(item) = items.next() else { break };
            bytes += size(&item);
            piece.push(item);
        }
        (!piece.is_empty()).then(|| part(piece))
    })
}

/// The parts that came. It reads hostile packets who tells them: what it says of others than were asked is not taken.
#[derive(Debug, Default)]
pub struct Parts {
    observations: BTreeMap<Endpoint, Observation>,
    groups: Vec<PortGroup>,
    living: BTreeSet<IpAddr>,
    macs: BTreeMap<IpAddr, String>,
    improbable: BTreeMap<IpAddr, Improbable>,
    /// The kind of the last part that came.
    last: Option<usize>,
}

impl Parts {
    pub fn take(&mut self, part: Part, space: &dyn ProbeSpace) {
        self.last = self.last.max(Some(part.kind()));
        let asked = |address: &IpAddr| space.host_of(*address).is_some();
        match part {
            Part::Observations(seen) => {
                let observations = seen.into_iter().filter_map(Seen::observation);
                let observations = observations.filter(|observation| space.contains(&observation.endpoint));
                self.observations.extend(observations.map(|observation| (observation.endpoint, observation)));
            }
            Part::Groups(groups) => self.groups.extend(groups.into_iter().filter(|group| asked(&group.address))),
            Part::Living(living) => self.living.extend(living.into_iter().filter(asked)),
            Part::Macs(macs) => self.macs.extend(macs.into_iter().filter(|(address, _)| asked(address))),
            Part::Improbable(improbable) => {
                self.improbable.extend(improbable.into_iter().filter(|(address, _)| asked(address)));
            }
        }
    }

    /// The whole, with what is told at the end.
    pub fn with(self, end: Done) -> SweepResult {
        let Self { observations, groups, living, macs, improbable, .. } = self;
        let Done { stats, gaps, interrupted } = end;
        let observations = observations.into_values().collect();
        SweepResult { observations, groups, living, macs, improbable, stats, gaps, interrupted }
    }

    /// What is there of a result whose end never comes. `found` was told before the parts; ports that nothing is known of
    /// are told with `silence`.
    pub fn without_end(
        mut self,
        found: BTreeMap<Endpoint, Observation>,
        silence: (PortState, Reason),
        stats: Sweep,
        space: &dyn ProbeSpace,
    ) -> SweepResult {
        for (endpoint, observation) in found {
            self.observations.entry(endpoint).or_insert(observation);
        }
        let mut result = self.with(Done { stats, gaps: Vec::new(), interrupted: false });
        result.living.extend(result.observations.iter().map(|observation| observation.endpoint.address));
        // Resets and acknowledgements are a host's own; ICMP errors may be a router's.
        let own = result.groups.iter().filter(|group| matches!(group.state, PortState::Open | PortState::Closed));
        result.living.extend(own.map(|group| group.address));
        let unsettled = unsettled(&result, silence, space);
        result.groups.extend(unsettled);
        sort_groups(&mut result.groups);
        result
    }

    /// What is missing when the end does not come.
    pub fn missing(&self) -> String {
        match self.last {
            None => "the rest of the TCP sweep".to_owned(),
            Some(last) => format!("the end of the TCP sweep's result: {}", KINDS[last..].join(", ")),
        }
    }
}

/// The ports of living hosts that were asked, and of which a result says nothing.
fn unsettled(result: &SweepResult, silence: (PortState, Reason), space: &dyn ProbeSpace) -> Vec<PortGroup> {
    let ports = space.ports();
    let is_whole = u128::from(space.len()) == u128::from(space.addresses()) * ports.len() as u128;
    let mut told: BTreeMap<IpAddr, PortRanges> = BTreeMap::new();
    for group in &result.groups {
        // Groups print what PortRanges parses.
        let told = told.entry(group.address).or_default();
        *told = told.union(&group.ports.parse().unwrap_or_default());
    }
    let mut observations = result.observations.iter().peekable();
    let mut groups = Vec::new();
    // Both are in the order of addresses, and every observation's address is among the living.
    for &address in &result.living {
        let mut open = Vec::new();
        while let Some(observation) = observations.next_if(|next| next.endpoint.address <= address) {
            open.push(observation.endpoint.port);
        }
        let told = told.remove(&address).unwrap_or_default().union(&PortRanges::from_ports(open));
        let mut rest = ports.difference(&told);
        if !is_whole {
            rest = PortRanges::from_ports(rest.iter().filter(|port| space.contains(&Endpoint::tcp(address, *port))));
        }
        if !rest.is_empty() {
            groups.push(PortGroup {
                address,
                transport: Transport::Tcp,
                state: silence.0,
                reason: silence.1,
                offender: None,
                ports: rest.to_string(),
                seen_from: Vec::new(),
            });
        }
    }
    groups
}

/// Of a few hundred bytes each, where text of no small bound is not counted.
const MOST_ITEMS: usize = 2048;
/// Above it nothing is added to a piece. One group alone, every other port of an address, has less than 200 KiB.
const MOST_TEXT: usize = 1 << 18;
