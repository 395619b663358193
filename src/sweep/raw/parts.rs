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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::report::Sweep;
    use crate::model::{Evidence, PortRanges, PortState, Reason, Transport};
    use crate::targets::{Space, TargetSet};

    /// 198.18.0.0/20 with all ports.
    pub fn space() -> Space {
        let range = (address(0), address(4095));
        Space::new(TargetSet::from_ranges([range]), &"1-65535".parse().unwrap(), Transport::Tcp, 3)
    }

    /// Below 4096 in the space, above outside of it.
    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0xc612_0000 + number).into()
    }

    fn observation(number: u32, port: u16) -> Observation {
        Observation {
            endpoint: Endpoint::tcp(address(number), port),
            state: PortState::Open,
            reason: Reason::Accepted,
            evidence: Evidence { ttl: Some(64), options: Some("mss 1460,sack".to_owned()), ..Evidence::default() },
        }
    }

    fn group(number: u32) -> PortGroup {
        PortGroup {
            address: address(number),
            transport: Transport::Tcp,
            state: PortState::Closed,
            reason: Reason::Refused,
            offender: None,
            ports: PortRanges::from_ports((1..60_000).step_by(2)).to_string(),
            seen_from: Vec::new(),
        }
    }

    /// Every list longer than a part, and more than 16 MiB of ports.
    pub fn large() -> SweepResult {
        let hosts = 0..4096;
        SweepResult {
            observations: hosts.clone().flat_map(|host| [observation(host, 22), observation(host, 80)]).collect(),
            groups: (0..120).map(group).collect(),
            living: hosts.clone().map(address).collect(),
            macs: hosts
                .clone()
                .map(|host| (address(host), format!("02:00:00:00:{:02x}:{:02x}", host >> 8, host & 255)))
                .collect(),
            improbable: hosts
                .map(|host| (address(host), Improbable { ports: vec![7, 9], open: 1, ..Improbable::default() }))
                .collect(),
            stats: stats(),
            gaps: Vec::new(),
            interrupted: true,
        }
    }

    pub fn stats() -> Sweep {
        Sweep {
            engine: "syn".to_owned(),
            transmit: "AF_XDP".to_owned(),
            probes_sent: 7,
            replies: 5,
            rounds: 2,
            packets_per_second: 1.5,
            dropped_replies: 1,
            recall: None,
        }
    }

    pub fn assert_same(came: &SweepResult, went: &SweepResult) {
        // Debug shows every field; assert_eq! would print megabytes.
        assert!(format!("{came:?}") == format!("{went:?}"), "{} observations", came.observations.len());
    }

    #[test]
    fn a_large_result_goes_in_small_lines_and_is_the_same_again() {
        let (space, large) = (space(), large());
        let lines: Vec<_> = events_of(large.clone()).map(|event| serde_json::to_string(&event).unwrap()).collect();
        assert!(lines.iter().map(String::len).sum::<usize>() > 16 << 20);
        let longest = lines.iter().map(String::len).max().unwrap();
        assert!(longest < 2 << 20, "{longest}");
        let (mut parts, mut ends) = (Parts::default(), Vec::new());
        for line in lines {
            match serde_json::from_str(&line).unwrap() {
                Event::Part(part) => parts.take(part, &space),
                Event::Done(done) => ends.push(*done),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ends.len(), 1);
        assert_same(&parts.with(ends.remove(0)), &large);
    }

    #[test]
    fn what_is_said_of_others_is_not_taken() {
        let mut parts = Parts::default();
        for part in [
            Part::Observations(vec![Seen::from(&observation(4096, 22)), Seen::from(&observation(1, 22))]),
            Part::Groups(vec![group(4096), group(1)]),
            Part::Living(vec![address(4096), address(1)]),
            Part::Macs(vec![(address(4096), String::new()), (address(1), String::new())]),
            Part::Improbable(vec![(address(4096), Improbable::default()), (address(1), Improbable::default())]),
        ] {
            parts.take(part, &space());
        }
        let result = parts.with(Done { stats: stats(), gaps: Vec::new(), interrupted: false });
        let one = address(1);
        assert_eq!(result.observations, [observation(1, 22)]);
        assert_eq!(result.groups, [group(1)]);
        assert_eq!(result.living, BTreeSet::from([one]));
        assert_eq!(result.macs.into_keys().collect::<Vec<_>>(), [one]);
        assert_eq!(result.improbable.into_keys().collect::<Vec<_>>(), [one]);
    }
}
