//! One thread of the connect sweep: an epoll set, a pool of sockets, and the hosts that fall to it.
#![expect(clippy::disallowed_methods, reason = "the connect sweep is a driver: it asks the clock")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use tokio::sync::mpsc;

use super::socket::{Attempt, ProbeSocket};
use crate::model::report::Gap;
use crate::model::{Endpoint, Evidence, Observation, PortState, ProbeSpace, Reason};
use crate::net::OwnAddress;
use crate::net::addresses::neighbours;
use crate::sweep::answer::{LocalRefusal, Outcome, judge};
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
    fn is_scouted(&self, port: u16) -> bool {
        self.scouted.contains(&port)
    }
}

/// A worker between and during rounds.
#[derive(Debug)]
pub struct Worker {
    settings: WorkerSettings,
    pub tally: Tally,
    pub sent: u64,
    pub replies: u64,
    pub refused: Refused,
    /// Answering endpoints (SYN-ACK or reset) by how often they had been asked: once, twice...
    found_by_ask: Vec<u64>,
    round: Round,
    feed: Feed,
    link: Link,
    epoll: Option<OwnedFd>,
    slots: Vec<Slot>,
    /// Idle slots by family: IPv4, IPv6.
    idle: [Vec<u32>; 2],
    deadlines: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    in_flight: usize,
    /// How many may be in flight: shrinks when this machine runs out of something.
    allowed: usize,
}

/// Endpoints that this machine itself did not send to, by cause, with an example.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    no_route: u64,
    forbidden: u64,
    exhausted: u64,
    example: Option<Endpoint>,
}

#[derive(Debug)]
struct Slot {
    socket: ProbeSocket,
    /// Counts uses: a deadline of an earlier use is stale.
    generation: u32,
    state: SlotState,
}

#[derive(Clone, Debug)]
enum SlotState {
    Idle,
    Connecting {
        endpoint: Endpoint,
        sent: Instant,
    },
    /// Accepted; watched for a moment whether the peer closes at once.
    Watched {
        observation: Box<Observation>,
    },
}

/// Probes sent between two looks at the events.
const BATCH: usize = 128;
/// Positions examined between two looks at the events: most are skipped in later rounds.
const EXAMINE: usize = 8192;
/// A peer that resets what it accepted does so within a round trip; this is for slow ones.
const WATCH: Duration = Duration::from_millis(30);
const NEIGHBOUR_LOOK: Duration = Duration::from_millis(100);
const RECONSIDER: Duration = Duration::from_millis(40);
/// Without any progress for this long, an endpoint that this machine cannot ask is given up.
const STARVED: Duration = Duration::from_secs(10);

impl Worker {
    pub fn new(settings: WorkerSettings) -> Self {
        let allowed = settings.parallel;
        let link = Link::new(settings.unresolved);
        Self {
            settings,
            tally: Tally::default(),
            sent: 0,
            replies: 0,
            refused: Refused::default(),
            found_by_ask: Vec::new(),
            round: Round { number: 0, rate: 1.0, recheck_silent: false, scouted: &[] },
            feed: Feed::default(),
            link,
            epoll: None,
            slots: Vec::new(),
            idle: [Vec::new(), Vec::new()],
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
        self.feed = Feed { position: 0, len: space.len(), again: VecDeque::new() };
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
                // A progress report that finds no room is not worth waiting for.
                let _ = events.try_send(SweepEvent::Progress(Progress {
                    round: round.number,
                    done: self.feed.position,
                    total: self.feed.len,
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
        let Some(number) = self.idle_slot(endpoint.address.is_ipv4()) else { return Started::Later };
        let slot = &mut self.slots[number as usize];
        slot.generation = slot.generation.wrapping_add(1);
        match slot.socket.start(endpoint.socket_addr()) {
            Attempt::Exhausted(_) => {
                self.release(number);
                self.allowed = (self.in_flight * 3 / 4).max(1);
                return Started::Later;
            }
            Attempt::Pending => {
                slot.state = SlotState::Connecting { endpoint, sent: now };
                let timeout = self.tally.host(endpoint.address).map_or(UNKNOWN_TIMEOUT, |host| host.rtt.timeout());
                self.deadlines.push(Reverse((now + timeout, number, self.slots[number as usize].generation)));
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

    fn on_event(&mut self, number: u32, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        let Some(slot) = self.slots.get(number as usize) else { return };
        match &slot.state {
            SlotState::Idle => {}
            SlotState::Connecting { endpoint, .. } => match slot.socket.check(endpoint.socket_addr()) {
                Attempt::Pending | Attempt::Exhausted(_) => {}
                Attempt::Ended(outcome) => self.finish(number, outcome, now),
            },
            SlotState::Watched { .. } => {
                if slot.socket.closed_at_once() {
                    self.settle_watched(number, Reason::AcceptedThenReset, events);
                } else if slot.socket.has_data() {
                    self.settle_watched(number, Reason::Accepted, events);
                }
            }
        }
    }

    /// A connection attempt ended: keep what it says, and free or watch the slot.
    fn finish(&mut self, number: u32, outcome: Outcome, now: Instant) {
        let SlotState::Connecting { endpoint, sent } = self.slots[number as usize].state else { return };
        let own = &self.settings.own_set;
        let (state, reason) = judge(endpoint.address, outcome, |address| own.contains(&address));
        let rtt = now.saturating_duration_since(sent);
        let mut evidence = Evidence { asked: u8::try_from(self.round.number + 1).ok(), ..Evidence::default() };
        match outcome {
            Outcome::Accepted | Outcome::AcceptedThenReset | Outcome::Reset => {
                self.replies += 1;
                if self.tally.host(endpoint.address).is_none_or(|host| !host.answered.contains(endpoint.port)) {
                    let asked_before = self.round.number as usize + usize::from(self.round.is_scouted(endpoint.port));
                    if self.found_by_ask.len() <= asked_before {
                        self.found_by_ask.resize(asked_before + 1, 0);
                    }
                    self.found_by_ask[asked_before] += 1;
                }
                self.tally.living(endpoint.address).rtt.sample(rtt);
                evidence.rtt_us = u32::try_from(rtt.as_micros()).ok();
            }
            Outcome::Icmp { icmp, offender } => {
                self.replies += 1;
                evidence.offender = Some(offender);
                evidence.icmp = Some(icmp);
            }
            Outcome::Local(LocalRefusal::Forbidden) => {
                self.refused.note(endpoint, |refused| &mut refused.forbidden);
            }
            Outcome::Local(LocalRefusal::NoRoute) => self.refused.note(endpoint, |refused| &mut refused.no_route),
            Outcome::Local(LocalRefusal::NoNeighbour) | Outcome::Timeout => {}
        }
        if state == PortState::Unreachable {
            self.link.absent(endpoint.address);
        } else if !matches!(outcome, Outcome::Local(_) | Outcome::Timeout) && self.is_on_link(endpoint.address) {
            for port in self.link.present(endpoint.address) {
                self.feed.again.push_back(Endpoint::tcp(endpoint.address, port));
            }
        }
        let observation = Observation { endpoint, state, reason, evidence };
        match (state, outcome) {
            (PortState::Open, _) => {
                let slot = &mut self.slots[number as usize];
                slot.generation = slot.generation.wrapping_add(1);
                slot.state = SlotState::Watched { observation: Box::new(observation) };
                let watch = WATCH.max(rtt * 2).min(Duration::from_millis(500));
                self.deadlines.push(Reverse((now + watch, number, slot.generation)));
            }
            (PortState::Unreachable, _) | (_, Outcome::Timeout | Outcome::Local(_)) => self.free(number),
            _ => {
                self.tally.record(observation);
                self.free(number);
            }
        }
    }

    fn settle_watched(&mut self, number: u32, reason: Reason, events: &mpsc::Sender<SweepEvent>) {
        let state = std::mem::replace(&mut self.slots[number as usize].state, SlotState::Idle);
        if let SlotState::Watched { observation } = state {
            let observation = Observation { reason, ..*observation };
            if self.tally.record(observation.clone()) {
                // Waits when the probes cannot keep up; a receiver that is gone wants nothing more.
                let _ = events.blocking_send(SweepEvent::Found(observation));
            }
        }
        self.free(number);
    }

    /// Deals with slots whose time is up.
    fn expire(&mut self, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        while let Some(Reverse((deadline, number, generation))) = self.deadlines.peek().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            if self.slots[number as usize].generation == generation {
                self.time_out(number, now, events);
            }
        }
    }

    /// Gives up early on hosts whose round-trip time has become known since their probes were sent.
    fn reconsider(&mut self, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        for number in 0..self.slots.len() {
            if let SlotState::Connecting { endpoint, sent } = self.slots[number].state
                && let Some(host) = self.tally.host(endpoint.address)
                && now.saturating_duration_since(sent) >= host.rtt.timeout()
            {
                // Slot numbers are u32 by construction.
                self.time_out(number as u32, now, events);
            }
        }
    }

    fn time_out(&mut self, number: u32, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        match self.slots[number as usize].state {
            SlotState::Idle => {}
            SlotState::Connecting { .. } => {
                // Events are dealt with before deadlines: what answered in time is no longer connecting.
                self.finish(number, Outcome::Timeout, now);
            }
            SlotState::Watched { ref observation } => {
                let reason = observation.reason;
                self.settle_watched(number, reason, events);
            }
        }
    }

    /// A slot with a socket of the family, from the idle ones or new.
    fn idle_slot(&mut self, ipv4: bool) -> Option<u32> {
        let family = usize::from(!ipv4);
        if let Some(number) = self.idle[family].pop() {
            return Some(number);
        }
        if self.slots.len() >= self.settings.parallel {
            // All sockets may be idle ones of the other family.
            let number = self.idle[1 - family].pop()?;
            let socket = ProbeSocket::new(ipv4, self.settings.device.as_deref()).ok()?;
            self.slots[number as usize].socket = socket;
            self.register(number)?;
            return Some(number);
        }
        let number = u32::try_from(self.slots.len()).ok()?;
        match ProbeSocket::new(ipv4, self.settings.device.as_deref()) {
            Ok(socket) => {
                self.slots.push(Slot { socket, generation: 0, state: SlotState::Idle });
                self.register(number)?;
                Some(number)
            }
            Err(_) => {
                // Descriptors or buffers are used up: work with the sockets there are.
                self.allowed = self.slots.len().clamp(1, self.allowed.max(1));
                None
            }
        }
    }

    fn register(&mut self, number: u32) -> Option<()> {
        if self.epoll.is_none() {
            self.epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok();
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::from(number));
        epoll::add(self.epoll.as_ref()?, &self.slots[number as usize].socket, data, flags).ok()
    }

    /// Ends what the slot does and makes it idle.
    fn free(&mut self, number: u32) {
        self.in_flight -= 1;
        self.release(number);
    }

    fn release(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = SlotState::Idle;
        let ipv4 = slot.socket.is_ipv4();
        // A socket that will not be dissolved is replaced, which closes it.
        if slot.socket.dissolve().is_err() {
            if let Ok(socket) = ProbeSocket::new(ipv4, self.settings.device.as_deref()) {
                slot.socket = socket;
                if self.register(number).is_none() {
                    return;
                }
            } else {
                return;
            }
        }
        self.idle[usize::from(!ipv4)].push(number);
    }

    /// Ends all that is under way.
    fn abandon(&mut self) {
        for number in 0..self.slots.len() {
            let number = number as u32;
            let state = std::mem::replace(&mut self.slots[number as usize].state, SlotState::Idle);
            match state {
                SlotState::Idle => continue,
                SlotState::Connecting { .. } => {}
                SlotState::Watched { observation } => {
                    self.tally.record(*observation);
                }
            }
            self.free(number);
        }
    }

    fn wait(&self, ready: &mut Vec<epoll::Event>, idle: Duration) {
        let Some(epoll) = &self.epoll else { return };
        let can_send = self.in_flight < self.allowed && !self.link.is_full();
        let longest = if can_send { idle } else { Duration::from_millis(10) };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(longest.min(Duration::from_millis(50)).subsec_nanos()) };
        // Interrupted or failed waits bring no events; the loop goes on.
        let _ = epoll::wait(epoll, spare_capacity(ready), Some(&timeout));
    }

    fn owner(&self, address: IpAddr) -> usize {
        let bits = match address {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
        };
        // Fibonacci hashing spreads neighbouring addresses evenly.
        (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % self.settings.workers
    }

    fn is_on_link(&self, address: IpAddr) -> bool {
        !self.settings.own_set.contains(&address)
            && self.settings.own.iter().any(|own| own.interface != "lo" && own.is_on_link(address))
    }
}

enum Started {
    Yes,
    Later,
}

/// Where the endpoints of a round come from: the space, and what is to be asked again.
#[derive(Debug, Default)]
struct Feed {
    position: u64,
    len: u64,
    again: VecDeque<Endpoint>,
}

impl Feed {
    /// The next endpoint, and whether it comes from the space (and so was not examined yet).
    fn next(&mut self, space: &dyn ProbeSpace, round: u32) -> Option<(Endpoint, bool)> {
        if let Some(endpoint) = self.again.pop_front() {
            return Some((endpoint, false));
        }
        if self.position == self.len {
            return None;
        }
        self.position += 1;
        Some((space.endpoint(round, self.position - 1), true))
    }

    /// The last endpoint of the space was not dealt with.
    fn put_back(&mut self) {
        self.position -= 1;
    }

    fn is_spent(&self) -> bool {
        self.position == self.len && self.again.is_empty()
    }
}

impl Refused {
    fn note(&mut self, endpoint: Endpoint, count: impl Fn(&mut Self) -> &mut u64) {
        *count(self) += 1;
        self.example.get_or_insert(endpoint);
    }

    pub fn add(&mut self, other: &Self) {
        self.no_route += other.no_route;
        self.forbidden += other.forbidden;
        self.exhausted += other.exhausted;
        self.example = self.example.or(other.example);
    }

    /// What this machine did not ask, as gaps.
    pub fn gaps(&self) -> Vec<Gap> {
        let example = self.example.map(|endpoint| endpoint.to_string()).unwrap_or_default();
        [
            (self.no_route, "there is no route", "a route, or a vantage that has one"),
            (self.forbidden, "this machine's own output rules forbid it", "a rule that lets the scanner out"),
            (
                self.exhausted,
                "this machine ran out of descriptors, ports or buffers",
                "a higher ulimit -n, or --parallel",
            ),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, cause, settled_by)| Gap {
            what: format!("{count} attempts were not sent ({example} among them)"),
            cause: cause.to_owned(),
            settled_by: settled_by.to_owned(),
            incomplete: true,
        })
        .collect()
    }
}
