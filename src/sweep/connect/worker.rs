//! One thread of the connect sweep: a pool of sockets, and the hosts that fall to it.
#![expect(clippy::disallowed_methods, reason = "the connect sweep is a driver: it asks the clock")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use tokio::sync::mpsc;

use super::feed::Feed;
use super::refused::Refused;
use super::slots::{NoSlot, SlotState, Slots};
use super::socket::Attempt;
use crate::model::{Endpoint, ProbeSpace};
use crate::net::OwnAddress;
use crate::net::addresses::neighbours;
use crate::sweep::link::{Gate, Link};
use crate::sweep::pace::Pace;
use crate::sweep::rtt::UNKNOWN_TIMEOUT;
use crate::sweep::tally::Tally;
use crate::sweep::{Progress, SweepEvent};

/// What one worker is and may use.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// This worker's number, below `workers`: hosts are shared out by it.
    pub number: usize,
    pub workers: usize,
    pub parallel: usize,
    /// Unresolved neighbours at once.
    pub unresolved: usize,
    pub own: Vec<OwnAddress>,
    pub own_set: HashSet<IpAddr>,
    /// Everything leaves by this interface.
    pub device: Option<String>,
    /// Hosts with nothing open that are remembered.
    pub most_hosts: usize,
}

/// One pass over the space.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// 0 asks everything; later ones only what is unanswered on hosts that live.
    pub number: u32,
    /// Attempts per second of this worker.
    pub rate: f64,
    /// Ask the hosts again that never answered.
    pub recheck_silent: bool,
    /// Ports that every host was asked once before round 0.
    pub scouted: &'static [u16],
}

impl Round {
    pub(super) fn is_scouted(&self, port: u16) -> bool {
        self.scouted.contains(&port)
    }
}

/// A worker between and during rounds.
#[derive(Debug)]
pub struct Worker {
    pub(super) settings: WorkerSettings,
    pub tally: Tally,
    pub sent: u64,
    pub replies: u64,
    pub refused: Refused,
    /// Answering endpoints (SYN-ACK or reset) by how often they had been asked: once, twice...
    pub(super) found_by_ask: Vec<u64>,
    pub(super) round: Round,
    pub(super) feed: Feed,
    pub(super) link: Link,
    pub(super) slots: Slots,
    pub(super) deadlines: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    pub(super) in_flight: usize,
    /// How many may be in flight: shrinks when this machine runs out of something.
    allowed: usize,
}

/// Probes sent between two looks at the events.
const BATCH: usize = 128;
/// Positions examined between two looks at the events: most are skipped in later rounds.
const EXAMINE: usize = 8192;
const NEIGHBOUR_LOOK: Duration = Duration::from_millis(100);
const RECONSIDER: Duration = Duration::from_millis(40);
/// Without any progress for this long, an endpoint that this machine cannot ask is given up.
const STARVED: Duration = Duration::from_secs(10);

impl Worker {
    pub fn new(settings: WorkerSettings) -> Self {
        let allowed = settings.parallel;
        let link = Link::new(settings.unresolved);
        let slots = Slots::new(settings.parallel, settings.device.clone());
        Self {
            tally: Tally::with_room(settings.most_hosts),
            settings,
            sent: 0,
            replies: 0,
            refused: Refused::default(),
            found_by_ask: Vec::new(),
            round: Round { number: 0, rate: 1.0, recheck_silent: false, scouted: &[] },
            feed: Feed::default(),
            link,
            slots,
            deadlines: BinaryHeap::new(),
            in_flight: 0,
            allowed,
        }
    }

    /// Endpoints that answered by SYN-ACK or reset, by how often they had been asked.
    pub fn found_by_ask(&self) -> &[u64] {
        &self.found_by_ask
    }

    /// Hosts that were found absent are asked anew in the next round.
    pub fn forget_absent(&mut self) {
        self.link.forget_absent();
    }

    /// Runs one round to its end, or until `cancel`.
    pub fn run(
        &mut self,
        space: &dyn ProbeSpace,
        round: Round,
        events: &mpsc::Sender<SweepEvent>,
        cancel: &Arc<AtomicBool>,
    ) {
        self.round = round;
        self.feed = Feed::new(space.len());
        let start = Instant::now();
        let mut pace = Pace::new(round.rate, start);
        let mut looked = start;
        let mut reconsidered = start;
        let mut told = start;
        let mut last_sent = start;
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(1024);
        while !(self.feed.is_spent() && self.in_flight == 0 && !self.link.is_waiting()) {
            if cancel.load(Ordering::Relaxed) {
                self.abandon();
                break;
            }
            self.wait(&mut ready, if self.feed.is_spent() { Duration::from_millis(5) } else { pace.wait() });
            let now = Instant::now();
            for event in ready.drain(..) {
                // Slot numbers are what was registered.
                self.on_event(event.data.u64() as u32, now, events);
            }
            self.expire(now, events);
            if self.link.is_waiting() && now.duration_since(looked) >= NEIGHBOUR_LOOK {
                looked = now;
                if let Ok(table) = neighbours() {
                    for (address, port) in self.link.update(&table, now) {
                        self.feed.again.push_back(Endpoint::tcp(address, port));
                    }
                }
            }
            let waiting = self.in_flight >= self.allowed || self.feed.is_spent();
            if waiting && now.duration_since(reconsidered) >= RECONSIDER {
                reconsidered = now;
                self.reconsider(now, events);
            }
            let sent = self.send(space, &mut pace, now);
            if sent > 0 {
                last_sent = now;
            } else if self.in_flight == 0 && now.duration_since(last_sent) >= STARVED {
                // Nothing is under way and nothing can be sent: this machine has nothing left to ask with.
                if let Some(endpoint) = self.feed.again.pop_front() {
                    self.refused.note(endpoint, |refused| &mut refused.exhausted);
                }
            }
            if self.settings.number == 0 && now.duration_since(told) >= Duration::from_millis(100) {
                told = now;
                let (done, total) = self.feed.progress();
                // A progress report that finds no room is not worth waiting for.
                let _ = events.try_send(SweepEvent::Progress(Progress {
                    round: round.number,
                    done,
                    total,
                    sent: self.sent * self.settings.workers as u64,
                    open: self.tally.open.len() as u64 * self.settings.workers as u64,
                }));
            }
        }
    }

    fn send(&mut self, space: &dyn ProbeSpace, pace: &mut Pace, now: Instant) -> usize {
        let room = self.allowed.saturating_sub(self.in_flight).min(BATCH);
        let granted = pace.take(room, now);
        let mut sent = 0;
        let mut examined = 0;
        while sent < granted && examined < EXAMINE {
            examined += 1;
            let Some((endpoint, fresh)) = self.feed.next(space, self.round.number) else { break };
            if fresh && (self.owner(endpoint.address) != self.settings.number || !self.wants(endpoint)) {
                continue;
            }
            if fresh && self.is_on_link(endpoint.address) {
                match self.link.gate(endpoint.address, endpoint.port, now) {
                    Gate::Send => {}
                    Gate::Held | Gate::Skip => continue,
                    Gate::Stall => {
                        self.feed.put_back();
                        break;
                    }
                }
            }
            match self.start(endpoint, now) {
                Started::Yes => sent += 1,
                Started::Later => {
                    self.feed.again.push_back(endpoint);
                    break;
                }
            }
        }
        pace.give_back(granted - sent);
        sent
    }

    /// Whether an endpoint of this worker is to be asked in this round.
    fn wants(&self, endpoint: Endpoint) -> bool {
        if self.settings.own.iter().any(|own| own.is_broadcast(endpoint.address)) {
            return false;
        }
        if self.round.number == 0 {
            return true;
        }
        match self.tally.host(endpoint.address) {
            Some(host) => !host.answered.contains(endpoint.port),
            None => self.round.recheck_silent && !self.link.is_absent(endpoint.address),
        }
    }

    fn start(&mut self, endpoint: Endpoint, now: Instant) -> Started {
        let number = match self.slots.take(endpoint.address.is_ipv4()) {
            Ok(number) => number,
            Err(NoSlot::InUse) => return Started::Later,
            Err(NoSlot::Exhausted) => {
                // Work with the sockets there are.
                self.allowed = self.slots.len().clamp(1, self.allowed.max(1));
                return Started::Later;
            }
        };
        let slot = &mut self.slots[number];
        slot.generation = slot.generation.wrapping_add(1);
        match slot.socket.start(endpoint.socket_addr()) {
            Attempt::Exhausted(_) => {
                self.slots.release(number);
                self.allowed = (self.in_flight * 3 / 4).max(1);
                return Started::Later;
            }
            Attempt::Pending => {
                slot.state = SlotState::Connecting { endpoint, sent: now };
                let timeout = self.tally.host(endpoint.address).map_or(UNKNOWN_TIMEOUT, |host| host.rtt.timeout());
                self.deadlines.push(Reverse((now + timeout, number, self.slots[number].generation)));
                self.in_flight += 1;
            }
            Attempt::Ended(outcome) => {
                slot.state = SlotState::Connecting { endpoint, sent: now };
                self.in_flight += 1;
                self.finish(number, outcome, now);
            }
        }
        self.sent += 1;
        // What was cut for lack of something comes back slowly.
        if self.sent.is_multiple_of(64) && self.allowed < self.settings.parallel {
            self.allowed += 1;
        }
        Started::Yes
    }

    fn wait(&self, ready: &mut Vec<epoll::Event>, idle: Duration) {
        let can_send = self.in_flight < self.allowed && !self.link.is_full();
        let longest = if can_send { idle } else { Duration::from_millis(10) };
        self.slots.wait(ready, longest.min(Duration::from_millis(50)));
    }

    fn owner(&self, address: IpAddr) -> usize {
        let bits = match address {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
        };
        // Fibonacci hashing spreads neighbouring addresses evenly.
        (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % self.settings.workers
    }

    pub(super) fn is_on_link(&self, address: IpAddr) -> bool {
        !self.settings.own_set.contains(&address)
            && self.settings.own.iter().any(|own| own.interface != "lo" && own.is_on_link(address))
    }
}

enum Started {
    Yes,
    Later,
}
