//! The machine itself: what it holds, and how a driver makes and asks it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::answered::Answered;
use super::canaries::Canaries;
use super::cookie::{Cookies, Tuple};
use super::hosts::Hosts;
use super::neighbours::Neighbours;
use super::number::Dice;
use super::sent::SentLog;
use super::speed::Speed;
use super::timing::Timing;
use super::unsent::NotAsked;
use super::ways::Hop;
use super::{Probe, Question, SynSettings, Unsent};
use crate::model::report::Recall;
use crate::model::{Endpoint, Observation, Place, PortRanges, ProbeSpace};
use crate::sweep::Progress;
use crate::sweep::pace::Pace;
use crate::sweep::texts::Texts;
use crate::wire::{Mac, Syn};

/// A SYN sweep of a space. See the [module](super) for how it is driven.
pub struct Machine<'s> {
    pub(super) space: &'s dyn ProbeSpace,
    pub(super) settings: SynSettings,
    pub(super) cookies: Cookies,
    pub(super) dice: Dice,
    /// Ports that a host is asked, and how many they are.
    pub(super) asked_ports: PortRanges,
    pub(super) ports: u64,
    pub(super) answered: Answered,
    pub(super) hosts: Hosts,
    pub(super) neighbours: Neighbours,
    /// Every target is on the link: no wave need go by the others.
    pub(super) all_on_link: bool,
    pub(super) speed: Speed,
    /// Passes per second: each pass asks a host once at most.
    pub(super) passes: Option<Pace>,
    /// Passes that canaries were worth and that are not paid yet, and of how many hosts they are in this round.
    pub(super) canary_passes: f64,
    pub(super) canary_hosts: usize,
    pub(super) timing: Timing,
    pub(super) canaries: Canaries,
    /// Control probes to be sent, and whom those sent belong to.
    pub(super) controls: VecDeque<(u64, Endpoint)>,
    pub(super) control_hosts: HashMap<(IpAddr, u16), u64>,
    /// Endpoints that answered with somebody else's acknowledgement, and in which rounds (a bit each).
    pub(super) unproven: HashMap<Place, u16>,
    pub(super) phase: Phase,
    pub(super) round: u32,
    pub(super) wave: Wave,
    pub(super) open: Vec<Observation>,
    /// TCP options of open endpoints.
    pub(super) texts: Texts,
    /// Answering endpoints, and open ones, by how often they had been asked.
    pub(super) found: Vec<u64>,
    pub(super) found_open: Vec<u64>,
    pub(super) recall: Option<Recall>,
    /// Rounds that asked silent hosts, too.
    pub(super) silent_asked: Vec<u32>,
    /// Rounds that asked all living hosts; later ones, once `narrow`, ask those that are known to lose.
    pub(super) full_rounds: usize,
    pub(super) narrow: bool,
    /// Hosts seem to have fallen silent, and another round would tell.
    pub(super) undecided: bool,
    /// Nothing on a living host is left to ask.
    pub(super) complete: bool,
    pub(super) totals: Totals,
}

/// Where the machine is in its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first neighbours are being asked for; begin at this time at the latest.
    Resolving {
        until: Instant,
    },
    /// Nothing answered in the round before: the wave that is prepared begins at this time.
    Pausing {
        until: Instant,
    },
    /// A wave is under way.
    Asking,
    /// The wave is over; hosts that are still being resolved may make another one.
    Waiting,
    /// Everything was asked; answers may still come.
    Settling,
    Done,
}

/// A walk through a space, or through some of its hosts: a round has one, and one more whenever neighbours turn up late.
#[derive(Default)]
pub(super) struct Wave {
    /// The space narrowed to the hosts of this wave; `None`: all of it.
    pub(super) space: Option<Box<dyn ProbeSpace>>,
    pub(super) position: u64,
    pub(super) len: u64,
    pub(super) pass: u64,
    /// Where the next pass begins, and whether this one was paid for.
    pub(super) next_pass: u64,
    pub(super) paid: bool,
    pub(super) began: Option<Instant>,
    pub(super) sent: SentLog,
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) began: Option<Instant>,
    pub(super) last_sent: Option<Instant>,
    pub(super) sent: u64,
    /// Proven answers, repeated ones included.
    pub(super) replies: u64,
    /// In this round: probes, those of them that have been answered, answers lost by the own kernel.
    pub(super) round_sent: u64,
    pub(super) round_answered: u64,
    pub(super) round_drops: u64,
    /// Control probes of this round that have not been answered.
    pub(super) controls_open: u64,
    pub(super) round_began: Option<Instant>,
    pub(super) drops: u64,
    /// Answers of hosts that there was no room for.
    pub(super) unlisted: u64,
    pub(super) not_asked: NotAsked,
}

/// How long the first wave waits for neighbours at most.
const FIRST_NEIGHBOURS: Duration = Duration::from_millis(300);
/// Targets up to this many are looked at one by one before the start.
const COUNTED: u64 = 1 << 20;

impl<'s> Machine<'s> {
    /// A sweep of `space` that begins at the first poll.
    pub fn new(space: &'s dyn ProbeSpace, settings: SynSettings, now: Instant) -> Self {
        let hosts = space.addresses();
        let on_link = if settings.ways.any_on_link() && !space.is_empty() { hosts } else { 0 };
        let is_on_link = |host| {
            let address = space.endpoint_at(Place { host, port: 0 }).address;
            settings.ways.to(address).is_some_and(|way| way.hop == Hop::OnLink)
        };
        let all_on_link = on_link > 0 && on_link <= COUNTED && (0..on_link).all(is_on_link);
        let mut dice = Dice::from_key(&settings.key);
        Self {
            space,
            cookies: Cookies::new(&settings.key),
            ports: space.ports().len() as u64,
            asked_ports: space.ports(),
            answered: Answered::default(),
            hosts: Hosts::default(),
            neighbours: Neighbours::new(on_link, settings.resolve_rate, now),
            all_on_link,
            speed: Speed::new(settings.rate, now),
            passes: settings.host_rate.map(|rate| Pace::new(rate.into(), now)),
            canary_passes: 0.0,
            canary_hosts: 0,
            timing: Timing::default(),
            canaries: Canaries::new(Dice::new(dice.roll())),
            controls: VecDeque::new(),
            control_hosts: HashMap::new(),
            unproven: HashMap::new(),
            phase: if space.is_empty() { Phase::Done } else { Phase::Resolving { until: now + FIRST_NEIGHBOURS } },
            round: 0,
            wave: Wave::default(),
            open: Vec::new(),
            texts: Texts::default(),
            found: vec![0],
            found_open: vec![0],
            recall: None,
            silent_asked: vec![0],
            full_rounds: 0,
            narrow: false,
            undecided: false,
            complete: false,
            totals: Totals::default(),
            dice,
            settings,
        }
    }

    /// Position among the sources of the one that a target is asked from.
    pub fn source_to(&self, address: IpAddr) -> Option<u16> {
        self.settings.ways.to(address).map(|way| way.source)
    }

    /// Somebody on the link that `address` is on has said at `now` that it is his; `None`: nobody has it.
    pub fn on_resolved(&mut self, now: Instant, address: IpAddr, mac: Option<Mac>) {
        // Anybody may claim any address: what is behind a router is not asked for, and no answer about it counts.
        if self.settings.ways.to(address).is_none_or(|way| way.hop != Hop::OnLink) {
            return;
        }
        if let Some(host) = self.space.host_of(address) {
            self.neighbours.resolved(host, mac, now);
        }
    }

    /// The own kernel captured and dropped so many packets since the last call, as nobody fetched them in time
    /// (`tp_drops`).
    pub fn on_drops(&mut self, now: Instant, dropped: u64) {
        self.totals.drops += dropped;
        self.totals.round_drops += dropped;
        if dropped > 0 {
            self.speed.own_loss(now);
        }
    }

    /// A probe that was not sent, and never will be.
    pub fn on_unsent(&mut self, probe: &Probe, why: Unsent) {
        let endpoint = Endpoint::tcp(probe.syn.destination, probe.syn.port);
        self.totals.sent = self.totals.sent.saturating_sub(1);
        let place = self.space.place_of(&endpoint);
        let ask = self.settings.source_ports.iter().position(|port| *port == probe.syn.source_port);
        let is_canary = place
            .zip(ask)
            .is_some_and(|(place, ask)| self.canaries.unsent(place, u8::try_from(ask).unwrap_or(u8::MAX)));
        if place.is_some() && !is_canary && ask == Some(self.round as usize) {
            self.totals.round_sent = self.totals.round_sent.saturating_sub(1);
        }
        if let Some(place) = place.filter(|_| !is_canary) {
            self.totals.not_asked.unsent(endpoint, place.host, why);
        }
    }

    /// A router was found that was missing: what did not leave for it ([`Unsent::NoRouter`]) can be asked in another round.
    pub const fn on_router_found(&mut self) {
        self.totals.not_asked.router_found();
    }

    /// A question that was not sent: its host has not been asked.
    pub fn on_question_unsent(&mut self, question: &Question) {
        if let Some(host) = self.space.host_of(question.address) {
            self.neighbours.unsent(host);
        }
    }

    /// How far the sweep is.
    pub fn progress(&self) -> Progress {
        Progress {
            round: self.round,
            done: self.wave.position,
            total: self.wave.len,
            sent: self.totals.sent,
            open: self.open.len() as u64,
        }
    }

    /// Rounds that the reserved ports allow: one of them is for the first round's canaries.
    pub(super) fn max_rounds(&self) -> u32 {
        u32::try_from(self.settings.source_ports.len()).unwrap_or(u32::MAX).saturating_sub(1).max(1)
    }

    /// The port of ours that is nobody's round.
    pub(super) fn canary_ask(&self) -> usize {
        self.settings.source_ports.len().saturating_sub(1)
    }

    /// The number of an endpoint in the bitmap.
    pub(super) const fn number(&self, place: Place) -> u64 {
        place.host * self.ports + place.port as u64
    }

    /// The SYN to an endpoint from one of our ports.
    pub(super) fn syn(&self, endpoint: Endpoint, source: u16, ask: usize) -> Option<Syn> {
        let source = *self.settings.sources.get(usize::from(source))?;
        let source_port = *self.settings.source_ports.get(ask)?;
        let tuple = Tuple { destination: endpoint.address, port: endpoint.port, source, source_port };
        let sequence = self.cookies.sequence(&tuple);
        Some(Syn { destination: endpoint.address, port: endpoint.port, source_port, sequence })
    }
}

impl std::fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("phase", &self.phase)
            .field("round", &self.round)
            .field("position", &self.wave.position)
            .field("len", &self.wave.len)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}
