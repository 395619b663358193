//! The SYN sweep's machine: which probe leaves when, and what an answer means. Pure.
//!
//! A driver polls the [`Machine`] for what is to be sent ([`Batch`], [`Next`]), and tells it of answers, of neighbours and
//! of what the own machine lost. No probe is remembered: a reply proves itself by its [cookie], and its place in the
//! round's order tells when it was [asked](sent). What is kept is one bit an [endpoint](answered) that answered, and a
//! record for each [host](hosts) that was heard of.
//!
//! A round ([`rounds`]) asks from a port of its own: a second SYN from the same port would meet the half-open state that
//! the first one left. Its order is walked by [`transmit`], in passes that ask each host once, which is what the rate to
//! one host is kept by. [`speed`] sets the rate by what [`canaries`] tell of the loss ([`sample`]), and
//! [`suspects`] are the hosts that lose more than others, [`silent`] those that were not heard of, and
//! [`fallen`] those that are not any more; [`receive`] says what an answer
//! means; [`outcome`] sums up, and [`gaps`] says what is left open, [`unsent`] what was not asked.

mod answered;
mod canaries;
mod cookie;
mod fallen;
mod gaps;
mod hosts;
mod machine;
mod neighbours;
mod number;
mod outcome;
mod receive;
mod rounds;
mod sample;
mod sent;
mod silent;
mod speed;
mod suspects;
mod timing;
mod transmit;
mod unheard;
mod unsent;
pub mod ways;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::wire::{Mac, Syn};
pub use answered::Answered;
pub use machine::Machine;
pub use ways::{Hop, Way, Ways};

/// How to sweep.
#[derive(Clone, Debug)]
pub struct SynSettings {
    /// Own addresses that probes leave from; [`Way::source`] counts in this list.
    pub sources: Vec<IpAddr>,
    /// By which source, and by whom, a destination is reached.
    pub ways: Ways,
    /// Reserved ports of ours, outside the ephemeral range: one for each round and one more, for
    /// probes of what is known already. At least three.
    pub source_ports: Vec<u16>,
    /// Probes per second in all; `None`: as fast as they are taken while nothing is lost.
    pub rate: Option<u64>,
    /// Probes per second to one host; `None` is no limit.
    pub host_rate: Option<u32>,
    /// Rounds end as soon as so much of what would answer is found, with the lower bound; `None`: when fewer than a
    /// tenth of a port is expected to be missing.
    pub recall: Option<f64>,
    /// Questions for neighbours per second.
    pub resolve_rate: u32,
    /// Hosts that are remembered while nothing on them is open: a box that refuses in the name of a whole network is no
    /// reason to run out of memory. What is open is told of any number.
    pub most_hosts: usize,
    /// All own addresses: an ICMP error from one of them is our own.
    pub own: Vec<IpAddr>,
    /// Key of the cookies and seed of what is drawn: random, and secret while the sweep lasts.
    pub key: [u8; 16],
}

/// Questions for neighbours per second unless told otherwise.
pub const DEFAULT_RESOLVE_RATE: u32 = 2000;

/// A probe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub syn: Syn,
    /// Position in [`SynSettings::sources`].
    pub source: u16,
    pub to: NextHop,
}

/// Whom a frame goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// As the driver knows for this source and destination: a gateway, or a device without link-layer addresses.
    Routed,
    /// A neighbour that was resolved.
    Neighbour(Mac),
}

/// A neighbour to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub address: IpAddr,
    /// Position in [`SynSettings::sources`].
    pub source: u16,
}

/// What is to be sent now. The driver sends all of it, in order, before it polls again.
#[derive(Clone, Debug)]
pub struct Batch {
    pub probes: Vec<Probe>,
    pub questions: Vec<Question>,
    capacity: usize,
}

impl Batch {
    /// Of at most `capacity` probes (and as many questions); nothing is allocated afterwards.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { probes: Vec::with_capacity(capacity), questions: Vec::with_capacity(capacity), capacity }
    }

    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn is_empty(&self) -> bool {
        self.probes.is_empty() && self.questions.is_empty()
    }

    pub fn clear(&mut self) {
        self.probes.clear();
        self.questions.clear();
    }
}

/// What to do after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the batch and poll again at once.
    Send,
    /// Send the batch, if it holds anything; poll again at this instant, or earlier when something arrived.
    Wait(Instant),
    /// All is done: call `finish`.
    Done,
}

/// Why a probe was not sent, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// The kernel has no way there, or a route that forbids it.
    NoRoute,
    /// Its router does not say where it is.
    NoRouter,
    /// A rule of this machine's own firewall (EPERM).
    Forbidden,
    /// The device is gone or down, or takes nothing.
    Device,
}

/// How long a driver that has nothing to wait for may sleep at most.
pub const LONGEST_WAIT: Duration = Duration::from_millis(500);
