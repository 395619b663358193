//! What the two processes of a raw sweep tell each other: a job one way, then a line for each event the other way. Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::closed::Closed;
use super::exits::Exits;
use super::parts::Part;
use crate::model::report::{Gap, Sweep};
use crate::model::{Endpoint, Evidence, Observation, PortState, Reason};
use crate::sweep::Progress;

/// What the sweeping process is to do. The descriptors of the receiver and of each outlet follow it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub space: SpaceJob,
    pub exits: Exits,
    /// For each outlet: how many descriptors of AF_XDP come, and for packets which families.
    pub descriptors: Vec<Descriptors>,
    /// For each outlet: how its interface is called.
    pub names: Vec<String>,
    pub closed: Vec<Closed>,
    /// Interfaces that are ports of others, which hear the same packets.
    pub lower: Vec<u32>,
    /// Threads that send.
    pub lanes: usize,
    pub source_ports: Vec<u16>,
    pub own: Vec<IpAddr>,
    pub key: [u8; 16],
    pub rate: Option<u64>,
    pub host_rate: Option<u32>,
    pub recall: Option<f64>,
    /// Rather nothing than another way out of Ethernet interfaces than AF_XDP.
    pub xdp_only: bool,
    /// Routers that the kernel knows already, by interface, with their link-layer addresses.
    pub known: Vec<(u32, IpAddr, [u8; 6])>,
}

/// The endpoints, as the process that knows how makes a space of them again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceJob {
    /// First and last address, inclusive.
    pub ranges: Vec<(IpAddr, IpAddr)>,
    pub ports: String,
    pub seed: u64,
    /// `1/4`; empty for all of it.
    pub shard: String,
}

/// Which descriptors an outlet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Descriptors {
    Frames {
        xdp: usize,
    },
    Packets {
        ipv4: bool,
        ipv6: bool,
    },
    /// The way out is not to be had.
    Closed,
}

impl Descriptors {
    pub fn count(self) -> usize {
        match self {
            Self::Frames { xdp } => 1 + xdp,
            Self::Packets { ipv4, ipv6 } => usize::from(ipv4) + usize::from(ipv6),
            Self::Closed => 0,
        }
    }
}

/// A line from the sweeping process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    Found(Box<Seen>),
    Progress {
        round: u32,
        done: u64,
        total: u64,
        sent: u64,
        open: u64,
    },
    /// All is asked, or it was asked to stop: the result is being put together, which takes a while when it is large.
    SummingUp,
    /// Some of the result: after all that was found, before the last one.
    Part(Part),
    /// The last one, in good order.
    Done(Box<Done>),
    /// The last one, when it could not even begin.
    Failed {
        why: String,
    },
}

/// An observation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    endpoint: String,
    state: PortState,
    reason: Reason,
    evidence: Evidence,
}

/// What remains of a result when all its parts are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub stats: Sweep,
    pub gaps: Vec<Gap>,
    pub interrupted: bool,
}

impl From<&Observation> for Seen {
    fn from(of: &Observation) -> Self {
        let Observation { endpoint, state, reason, evidence } = of;
        Self { endpoint: endpoint.to_string(), state: *state, reason: *reason, evidence: evidence.clone() }
    }
}

impl Seen {
    /// `None` when the endpoint is none.
    pub fn observation(self) -> Option<Observation> {
        let Self { endpoint, state, reason, evidence } = self;
        Some(Observation { endpoint: endpoint.parse::<Endpoint>().ok()?, state, reason, evidence })
    }
}

impl From<Progress> for Event {
    fn from(Progress { round, done, total, sent, open }: Progress) -> Self {
        Self::Progress { round, done, total, sent, open }
    }
}

/// A byte to the sweeping process: end now, and tell what was found.
pub const STOP: u8 = b's';
