//! A result in pieces of bounded size: a large sweep's does not go into one line. Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::messages::{Done, Event, Seen};
use crate::model::Improbable;
use crate::model::report::PortGroup;
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

impl Part {
    /// Its place in the order in which parts are told.
    pub(super) const fn kind(&self) -> usize {
        match self {
            Self::Observations(_) => 0,
            Self::Groups(_) => 1,
            Self::Living(_) => 2,
            Self::Macs(_) => 3,
            Self::Improbable(_) => 4,
        }
    }

    /// What parts tell, in their order. Open endpoints themselves are told as they are found.
    pub(super) const KINDS: [&str; 5] = [
        "hop counts of open ports",
        "ports that are not open",
        "hosts without open ports",
        "link-layer addresses",
        "ports that nobody uses",
    ];
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

/// Of a few hundred bytes each, where text of no small bound is not counted.
const MOST_ITEMS: usize = 2048;
/// Above it nothing is added to a piece. One group alone, every other port of an address, has less than 200 KiB.
const MOST_TEXT: usize = 1 << 18;
