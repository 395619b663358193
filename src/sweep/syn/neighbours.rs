//! Who of the hosts on the link is there: questions of our own, paced, so that the kernel's neighbour table stays out of
//! it. Pure.
//!
//! An absent host costs the kernel an entry for three seconds, and its table overflows at a thousand of them; ours costs
//! three packets. Where questions are lost, the silent ones are asked again in another pass, until hardly a living host
//! is expected among them (see [`unheard`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::number::NumberHash;
use super::unheard::{self, Checks, PATIENCE, TRIES};
use super::ways::{Hop, Ways};
use super::{Batch, Question};
use crate::model::{Place, ProbeSpace};
use crate::sweep::pace::Pace;
use crate::sweep::recall::ENOUGH;
use crate::wire::Mac;

/// The hosts on the link, by number.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Hosts from here on have not been looked at.
    next: u64,
    hosts: u64,
    pace: Pace,
    states: HashMap<u64, State, NumberHash>,
    /// When to ask again or to give up.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    asking: usize,
    /// Grows with each wave: who is found during one waits for the next.
    wave: u32,
    /// Found since the last wave began.
    late: Vec<u64>,
    absent: u64,
    present: u64,
    last_asked: Option<Instant>,
    checks: Checks,
    /// Whether a pass is under way, and how many have begun.
    in_pass: bool,
    passes: u32,
    /// The share of living hosts that all passes so far have missed, and how many that are.
    missed: f64,
    missing: f64,
    /// A question for them did not leave in this pass.
    unasked: HashSet<u64, NumberHash>,
    began: Instant,
}

/// Milliseconds since a sweep began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(u32);

impl Moment {
    fn at(now: Instant, began: Instant) -> Self {
        Self(u32::try_from(now.saturating_duration_since(began).as_millis()).unwrap_or(u32::MAX))
    }

    fn is_after(self, other: Self, by: Duration) -> bool {
        Duration::from_millis(self.0.saturating_sub(other.0).into()) >= by
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asking { tries: u8 },
    Present { mac: Mac, found_in: u32, since: Moment },
    Absent,
}

/// Passes at most, and how long after one the next begins: an outage should be over by then.
const MOST_PASSES: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);
/// Who has said that an address is his is not gainsaid for so long.
const LOCKED: Duration = Duration::from_secs(1);
/// Passes at most for those whom questions could not be sent to.
const MOST_UNSENT: u32 = 3;

/// So many addresses that nobody answers for may be a link that does not carry (a cable, a VLAN, spanning tree's delay).
const MANY: u64 = 8;

/// A neighbour that is there and awake answers within this.
const QUICK: Duration = Duration::from_millis(30);

/// Hosts that are looked at in one go: most may be behind a gateway.
const EXAMINE: u64 = 4096;

impl Neighbours {
    /// For `hosts` hosts (0: none is on the link), with so many questions a second.
    pub fn new(hosts: u64, rate: u32, now: Instant) -> Self {
        Self {
            next: 0,
            hosts,
            pace: Pace::new(rate.into(), now),
            states: HashMap::default(),
            due: BinaryHeap::new(),
            asking: 0,
            wave: 0,
            late: Vec::new(),
            absent: 0,
            present: 0,
            last_asked: None,
            checks: Checks::new(now),
            in_pass: true,
            passes: 1,
            missed: 1.0,
            missing: 0.0,
            unasked: HashSet::default(),
            began: now,
        }
    }

    /// Whether everybody was asked once.
    pub const fn all_asked(&self) -> bool {
        self.next >= self.hosts
    }

    /// Whether everybody was asked, and had time to answer if nothing was lost.
    pub fn had_time(&self, now: Instant) -> bool {
        self.all_asked() && self.last_asked.is_none_or(|asked| now.saturating_duration_since(asked) >= QUICK)
    }

    /// Whether everybody has answered or was given up for good.
    pub const fn is_settled(&self) -> bool {
        self.all_asked() && self.asking == 0
    }

    pub const fn absent(&self) -> u64 {
        self.absent
    }

    /// How many of the absent hosts are expected to live.
    pub const fn missing(&self) -> f64 {
        self.missing
    }

    /// Hosts that did not answer, and that not all questions were sent for.
    pub fn unasked(&self) -> usize {
        self.unasked.len()
    }

    /// How many hosts were asked for, where none of many answered.
    pub fn nobody(&self) -> Option<u64> {
        (self.present == 0 && self.absent >= MANY).then_some(self.absent)
    }

    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// A question for this host did not leave.
    pub fn unsent(&mut self, host: u64) {
        if matches!(self.states.get(&host), Some(State::Asking { .. } | State::Absent)) {
            self.unasked.insert(host);
        }
    }

    pub fn is_absent(&self, host: u64) -> bool {
        matches!(self.states.get(&host), Some(State::Absent))
    }

    /// The link-layer address of a host that was found before the current wave.
    pub fn mac(&self, host: u64) -> Option<Mac> {
        match self.states.get(&host) {
            Some(State::Present { mac, found_in, .. }) if *found_in < self.wave => Some(*mac),
            _ => None,
        }
    }

    /// The link-layer address of a host, whenever it was found.
    pub fn mac_of(&self, host: u64) -> Option<Mac> {
        match self.states.get(&host) {
            Some(State::Present { mac, .. }) => Some(*mac),
            _ => None,
        }
    }

    /// Begins a wave: everybody found until now takes part. Returns those who were not yet part of one.
    pub fn begin_wave(&mut self) -> Vec<u64> {
        self.wave += 1;
        std::mem::take(&mut self.late)
    }

    pub const fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Somebody said at `now` who has the address of `host`, or that nobody has.
    pub fn resolved(&mut self, host: u64, mac: Option<Mac>, now: Instant) {
        let since = Moment::at(now, self.began);
        let state = mac.map_or(State::Absent, |mac| State::Present { mac, found_in: self.wave, since });
        let tries = match self.states.get_mut(&host) {
            Some(State::Present { mac: known, since: last, .. }) => {
                // An address that moves (VRRP) is followed, though of two who say that they have it the first one has: as
                // the kernel does, which heeds no other for a second (arp_process of net/ipv4/arp.c). One that answered
                // once is not absent.
                if let Some(mac) = mac {
                    if *known != mac && since.is_after(*last, LOCKED) {
                        (*known, *last) = (mac, since);
                    }
                    self.checks.answered(host);
                }
                return;
            }
            Some(was @ State::Asking { .. }) => {
                let asked = if let State::Asking { tries: asked @ 1.. } = *was { usize::from(asked) } else { TRIES };
                self.asking -= 1;
                *was = state;
                asked
            }
            Some(was @ State::Absent) => {
                if mac.is_none() {
                    return;
                }
                self.absent -= 1;
                *was = state;
                TRIES
            }
            // Nobody has asked: the kernel takes no notice of that either (arp_accept, ndisc_recv_na).
            None => return,
        };
        match mac {
            Some(_) => {
                self.late.push(host);
                self.present += 1;
                self.unasked.remove(&host);
                self.checks.found(host, tries);
            }
            None => self.absent += 1,
        }
    }

    /// Puts the questions that are due into `batch`.
    pub fn ask(&mut self, space: &dyn ProbeSpace, ways: &Ways, now: Instant, batch: &mut Batch) {
        if self.in_pass {
            self.check(space, ways, now, batch);
        }
        while let Some(&Reverse((due, host))) = self.due.peek() {
            if due > now || batch.questions.len() >= batch.capacity() {
                break;
            }
            let address = space.endpoint_at(Place { host, port: 0 }).address;
            let tries = match (self.states.get(&host), ways.to(address)) {
                (Some(State::Asking { tries }), Some(way)) => Some((*tries, way)),
                _ => None,
            };
            let Some((tries, way)) = tries else {
                self.due.pop();
                continue;
            };
            if usize::from(tries) == TRIES {
                self.due.pop();
                self.resolved(host, None, now);
                continue;
            }
            if self.pace.take(1, now) == 0 {
                break;
            }
            self.due.pop();
            batch.questions.push(Question { address, source: way.source });
            self.asked(host, tries, now);
        }
        for _ in 0..EXAMINE {
            if self.all_asked() || batch.questions.len() >= batch.capacity() {
                break;
            }
            let host = self.next;
            let address = space.endpoint_at(Place { host, port: 0 }).address;
            let on_link = ways.to(address).filter(|way| way.hop == Hop::OnLink);
            if let Some(way) = on_link.filter(|_| !self.states.contains_key(&host)) {
                if self.pace.take(1, now) == 0 {
                    break;
                }
                batch.questions.push(Question { address, source: way.source });
                self.asking += 1;
                self.asked(host, 0, now);
            }
            self.next += 1;
        }
        if self.in_pass && self.is_settled() {
            self.end_pass(now);
        }
    }

    /// Asks neighbours that are known, to measure the loss.
    fn check(&mut self, space: &dyn ProbeSpace, ways: &Ways, now: Instant, batch: &mut Batch) {
        while batch.questions.len() < batch.capacity() {
            let Some(host) = self.checks.due(now) else { break };
            if self.pace.take(1, now) == 0 {
                break;
            }
            let address = space.endpoint_at(Place { host, port: 0 }).address;
            self.checks.asked(host, now);
            batch.questions.extend(ways.to(address).map(|way| Question { address, source: way.source }));
        }
    }

    /// Everybody has answered or was given up: asks the silent ones again, if that is worth it.
    fn end_pass(&mut self, now: Instant) {
        let next = now + PAUSE;
        self.missed *= self.checks.end_pass(next).missed();
        self.missing = unheard::expected(self.present, self.absent, self.missed);
        let most = match (self.missing > ENOUGH, self.unasked.is_empty()) {
            (true, _) => MOST_PASSES,
            (false, false) => MOST_UNSENT,
            (false, true) if self.nobody().is_some() => 2,
            (false, true) => 1,
        };
        if self.passes >= most {
            self.in_pass = false;
            return;
        }
        self.passes += 1;
        self.unasked.clear();
        for (&host, state) in self.states.iter_mut().filter(|(_, state)| **state == State::Absent) {
            *state = State::Asking { tries: 0 };
            self.due.push(Reverse((next, host)));
            self.asking += 1;
        }
        self.absent = 0;
    }

    fn asked(&mut self, host: u64, tries_before: u8, now: Instant) {
        self.last_asked = Some(now);
        self.states.insert(host, State::Asking { tries: tries_before + 1 });
        self.due.push(Reverse((now + PATIENCE[usize::from(tries_before)], host)));
    }

    /// When to ask again; `None` when nothing is left to ask.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        let pace = now + self.pace.wait();
        let next = (!self.all_asked()).then_some(pace);
        // A question that is due waits for the pace; stale entries do no harm.
        let due = self.due.peek().map(|Reverse((due, _))| (*due).max(pace.min(now + Duration::from_millis(1))));
        let check = self.checks.wake().filter(|_| self.in_pass).map(|check| check.max(pace));
        next.into_iter().chain(due).chain(check).min()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn claims_turn_a_sweep_aside_no_sooner_than_the_kernel() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut neighbours = Neighbours::new(2, 2000, start);
        neighbours.resolved(0, Some(OTHER), start);
        neighbours.begin_wave();
        assert_eq!(neighbours.mac(0), None, "nobody asked");
        neighbours.asking += 1;
        neighbours.asked(0, 0, at(1));
        neighbours.resolved(0, Some(ONE), at(2));
        neighbours.begin_wave();
        neighbours.resolved(0, Some(OTHER), at(1000));
        assert_eq!(neighbours.mac(0), Some(ONE), "the first answer counts");
        neighbours.resolved(0, Some(OTHER), at(1002));
        assert_eq!(neighbours.mac(0), Some(OTHER), "an address may move");
    }
}
