//! What the process that was called keeps of a result while it comes: everything once, and nothing that was not asked. It
//! reads hostile packets who tells it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::messages::{Done, Seen};
use super::parts::Part;
use crate::model::report::{PortGroup, Sweep};
use crate::model::{Endpoint, Improbable, Observation, PortRanges, PortState, ProbeSpace, Reason, Transport};
use crate::sweep::SweepResult;
use crate::sweep::syn::Answered;
use crate::sweep::tally::sort_groups;
use crate::sweep::texts::Texts;

/// The open endpoints that were found, and the parts that came.
pub struct Kept<'s> {
    space: &'s dyn ProbeSpace,
    ports: PortRanges,
    /// Each open endpoint once: as it was found, then as a part told it. Once parts come, so many of the first are in
    /// order.
    observations: Vec<Observation>,
    sorted: Option<usize>,
    found: Answered,
    told: Answered,
    groups: Vec<PortGroup>,
    /// The address of the last group, and its ports that no group has named.
    left: Option<(IpAddr, PortRanges)>,
    living: BTreeSet<IpAddr>,
    macs: BTreeMap<IpAddr, String>,
    improbable: BTreeMap<IpAddr, Improbable>,
    texts: Texts,
    /// The kind of the last part that came.
    last: Option<usize>,
}

impl<'s> Kept<'s> {
    /// Nothing, of what is asked in `space`.
    pub fn new(space: &'s dyn ProbeSpace) -> Self {
        Self {
            space,
            ports: space.ports(),
            observations: Vec::new(),
            sorted: None,
            found: Answered::default(),
            told: Answered::default(),
            groups: Vec::new(),
            left: None,
            living: BTreeSet::new(),
            macs: BTreeMap::new(),
            improbable: BTreeMap::new(),
            texts: Texts::default(),
            last: None,
        }
    }

    /// Takes in what was found open; returned when it is new.
    pub fn take_found(&mut self, seen: Seen) -> Option<&Observation> {
        let (number, observation) = self.asked(seen)?;
        if !self.found.insert(number) {
            return None;
        }
        self.observations.push(observation);
        self.observations.last()
    }

    /// Takes a part in. Groups come in the order of their addresses.
    pub fn take(&mut self, part: Part) {
        let space = self.space;
        let asked = |address: &IpAddr| space.host_of(*address).is_some();
        self.last = self.last.max(Some(part.kind()));
        match part {
            Part::Observations(seen) => seen.into_iter().for_each(|seen| self.take_observation(seen)),
            Part::Groups(groups) => groups.into_iter().for_each(|group| self.take_group(group)),
            Part::Living(living) => self.living.extend(living.into_iter().filter(asked)),
            Part::Macs(macs) => self.macs.extend(macs.into_iter().filter(|(address, _)| asked(address))),
            Part::Improbable(improbable) => {
                for (address, mut is) in improbable.into_iter().filter(|(address, _)| asked(address)) {
                    is.options = is.options.map(|text| self.texts.share(&text));
                    self.improbable.insert(address, is);
                }
            }
        }
    }

    /// The whole, with what is told at the end: of open endpoints those that parts told, as others were folded.
    pub fn with(mut self, end: Done) -> SweepResult {
        let mut observations = std::mem::take(&mut self.observations);
        observations
            .retain(|observation| self.number(&observation.endpoint).is_some_and(|number| self.told.contains(number)));
        SweepResult { interrupted: end.interrupted, gaps: end.gaps, ..self.into_result(observations, end.stats) }
    }

    /// What is there of a result whose end never comes. Ports that nothing is known of are told with `silence`.
    pub fn without_end(mut self, silence: (PortState, Reason), stats: Sweep) -> SweepResult {
        let (space, ports) = (self.space, std::mem::take(&mut self.ports));
        let observations = std::mem::take(&mut self.observations);
        let mut result = self.into_result(observations, stats);
        result.living.extend(result.observations.iter().map(|observation| observation.endpoint.address));
        // Resets and acknowledgements are a host's own; ICMP errors may be a router's.
        let own = result.groups.iter().filter(|group| matches!(group.state, PortState::Open | PortState::Closed));
        result.living.extend(own.map(|group| group.address));
        let unsettled = unsettled(&result, silence, space, &ports);
        result.groups.extend(unsettled);
        sort_groups(&mut result.groups);
        result
    }

    /// What is missing when the end does not come.
    pub fn missing(&self) -> String {
        match self.last {
            None => "the rest of the TCP sweep".to_owned(),
            Some(last) => format!("the end of the TCP sweep's result: {}", Part::KINDS[last..].join(", ")),
        }
    }

    /// Open endpoints that are known.
    pub fn open(&self) -> usize {
        self.observations.len()
    }

    fn into_result(self, mut observations: Vec<Observation>, stats: Sweep) -> SweepResult {
        let Self { groups, living, macs, improbable, .. } = self;
        observations.sort_unstable_by_key(|observation| observation.endpoint);
        SweepResult { observations, groups, living, macs, improbable, stats, gaps: Vec::new(), interrupted: false }
    }

    /// The number of an endpoint; `None` when it was not asked.
    fn number(&self, endpoint: &Endpoint) -> Option<u64> {
        let place = self.space.place_of(endpoint)?;
        Some(place.host * self.ports.len() as u64 + u64::from(place.port))
    }

    /// An observation and its number; `None` when it was not asked.
    fn asked(&mut self, seen: Seen) -> Option<(u64, Observation)> {
        let mut observation = seen.observation()?;
        let number = self.number(&observation.endpoint)?;
        let options = observation.evidence.options.take();
        observation.evidence.options = options.map(|text| self.texts.share(&text));
        Some((number, observation))
    }

    fn take_observation(&mut self, seen: Seen) {
        let sorted = *self.sorted.get_or_insert_with(|| {
            self.observations.sort_unstable_by_key(|observation| observation.endpoint);
            self.observations.len()
        });
        let Some((number, observation)) = self.asked(seen) else { return };
        if !self.told.insert(number) {
            return;
        }
        if self.found.insert(number) {
            self.observations.push(observation);
            return;
        }
        let known = &mut self.observations[..sorted];
        if let Ok(place) = known.binary_search_by_key(&observation.endpoint, |known| known.endpoint) {
            known[place] = observation;
        }
    }

    fn take_group(&mut self, mut group: PortGroup) {
        let Ok(named) = group.ports.parse::<PortRanges>() else { return };
        if self.space.host_of(group.address).is_none() {
            return;
        }
        let left = match self.left.take() {
            Some((address, left)) if address == group.address => left,
            Some((address, left)) if address > group.address => {
                self.left = Some((address, left));
                return;
            }
            _ => self.ports.clone(),
        };
        // No port is in two groups, so that groups cannot be told for ever.
        let taken = named.intersection(&left);
        self.left = Some((group.address, left.difference(&taken)));
        if !taken.is_empty() {
            group.ports = taken.to_string();
            group.seen_from = Vec::new();
            self.groups.push(group);
        }
    }
}

impl std::fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("observations", &self.observations.len())
            .field("groups", &self.groups.len())
            .field("living", &self.living.len())
            .finish_non_exhaustive()
    }
}

/// The ports of living hosts that were asked, and of which a result says nothing.
fn unsettled(
    result: &SweepResult,
    silence: (PortState, Reason),
    space: &dyn ProbeSpace,
    ports: &PortRanges,
) -> Vec<PortGroup> {
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
