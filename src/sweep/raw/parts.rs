//! A result in pieces of bounded size, and whole again: a large sweep's does not go into one line. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::messages::{Done, Event, Seen};
use crate::model::report::PortGroup;
use crate::model::{Endpoint, Improbable, Observation, ProbeSpace};
use crate::sweep::SweepResult;

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
}

impl Parts {
    pub fn take(&mut self, part: Part, space: &dyn ProbeSpace) {
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
        let Self { observations, groups, living, macs, improbable } = self;
        let Done { stats, gaps, interrupted } = end;
        let observations = observations.into_values().collect();
        SweepResult { observations, groups, living, macs, improbable, stats, gaps, interrupted }
    }
}

/// Of a few hundred bytes each, where text of no small bound is not counted.
const MOST_ITEMS: usize = 2048;
/// Above it nothing is added to a piece. One group alone, every other port of an address, has less than 200 KiB.
const MOST_TEXT: usize = 1 << 18;
