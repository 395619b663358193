//! Asks every endpoint: pure pacing, rounds and accounting; drivers for TCP connect and UDP.
//!
//! Pure: [`answer`] (what an errno or an ICMP error means), [`rtt`] (how long to wait), [`link`] (who is there), [`pace`]
//! (how fast), [`tally`] (what answered, folded), [`texts`] (each once), [`recall`] (what may have been missed, and whether
//! to go on; [`proportion`]), [`fallen`] (hosts that fell silent), [`syn`] (the
//! machine of the raw sweep). Drivers: [`raw`] for TCP by packets, in a process of its own, [`connect`] for TCP without
//! privileges, [`datagram`] for UDP.
//!
//! All work in rounds. Round one asks everything. Each later round asks, in a new order, what did not answer on hosts that
//! live, until fewer than a tenth of a port is expected to be missing.

pub mod answer;
pub mod connect;
pub mod datagram;
mod fallen;
pub mod link;
pub mod pace;
mod proportion;
pub mod queued_error;
pub mod raw;
pub mod recall;
pub mod rtt;
pub mod syn;
pub mod tally;
pub mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::report::{Gap, PortGroup, Sweep};
use crate::model::{Improbable, Observation, PortRanges, PortState, Reason, Transport};
use tally::Tally;

/// What a driver tells while it runs.
#[derive(Clone, Debug)]
pub enum SweepEvent {
    /// An open endpoint, as soon as it is known.
    Found(Observation),
    Progress(Progress),
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub round: u32,
    /// Positions of this round's order that were dealt with, and how many there are.
    pub done: u64,
    pub total: u64,
    pub sent: u64,
    pub open: u64,
}

/// What a sweep came to.
#[derive(Clone, Debug)]
pub struct SweepResult {
    /// Open endpoints, sorted.
    pub observations: Vec<Observation>,
    /// Everything else on hosts that answered.
    pub groups: Vec<PortGroup>,
    /// Hosts that answered anything.
    pub living: BTreeSet<IpAddr>,
    /// Link-layer addresses that the sweep itself has asked for; the kernel's table has the others.
    pub macs: BTreeMap<IpAddr, String>,
    /// Addresses that accept on ports that nobody uses, too: what is open there says little.
    pub improbable: BTreeMap<IpAddr, Improbable>,
    pub stats: Sweep,
    pub gaps: Vec<Gap>,
    pub interrupted: bool,
}

impl SweepResult {
    /// What a tally holds, with `silence` for the ports of answering hosts that gave none. Whole, and without gaps.
    pub fn of(
        tally: Tally,
        transport: Transport,
        silence: (PortState, Reason),
        ports: &PortRanges,
        stats: Sweep,
    ) -> Self {
        let groups = tally.groups(transport, silence, |_| ports.clone());
        let living = tally.hosts().map(|(address, _)| address).collect();
        let mut observations = tally.open;
        observations.sort_unstable_by_key(|observation| observation.endpoint);
        Self {
            observations,
            groups,
            living,
            macs: BTreeMap::new(),
            improbable: BTreeMap::new(),
            stats,
            gaps: Vec::new(),
            interrupted: false,
        }
    }

    pub fn open(&self) -> impl Iterator<Item = &Observation> {
        self.observations.iter().filter(|observation| observation.state == PortState::Open)
    }
}
