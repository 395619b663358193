//! Who of the hosts on the link is there: questions of our own, paced, so that the kernel's neighbour table stays out of
//! it. Pure.
//!
//! An absent host costs the kernel an entry for three seconds, and its table overflows at a thousand of them; ours costs
//! three packets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use super::number::NumberHash;
use super::ways::{Hop, Ways};
use super::{Batch, Question};
use crate::model::{Place, ProbeSpace};
use crate::sweep::pace::Pace;
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
    last_asked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asking { tries: u8 },
    Present { mac: Mac, found_in: u32 },
    Absent,
}

/// How long to wait for an answer to the first, second and third question.
const PATIENCE: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(600), Duration::from_millis(1200)];

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
            last_asked: None,
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

    /// Whether everybody has answered or was given up.
    pub const fn is_settled(&self) -> bool {
        self.all_asked() && self.asking == 0
    }

    pub const fn absent(&self) -> u64 {
        self.absent
    }

    pub fn is_absent(&self, host: u64) -> bool {
        matches!(self.states.get(&host), Some(State::Absent))
    }

    /// The link-layer address of a host that was found before the current wave.
    pub fn mac(&self, host: u64) -> Option<Mac> {
        match self.states.get(&host) {
            Some(State::Present { mac, found_in }) if *found_in < self.wave => Some(*mac),
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

    /// Somebody said who has the address of `host`, or that nobody has.
    pub fn resolved(&mut self, host: u64, mac: Option<Mac>) {
        let state = mac.map_or(State::Absent, |mac| State::Present { mac, found_in: self.wave });
        match self.states.get_mut(&host) {
            Some(State::Present { mac: known, .. }) => {
                // An address that moves (VRRP) is followed; one that answered once is not absent.
                if let Some(mac) = mac {
                    *known = mac;
                }
                return;
            }
            Some(was @ State::Asking { .. }) => {
                self.asking -= 1;
                *was = state;
            }
            Some(was @ State::Absent) => {
                if mac.is_none() {
                    return;
                }
                self.absent -= 1;
                *was = state;
            }
            None => {
                self.states.insert(host, state);
            }
        }
        match mac {
            Some(_) => self.late.push(host),
            None => self.absent += 1,
        }
    }

    /// Puts the questions that are due into `batch`.
    pub fn ask(&mut self, space: &dyn ProbeSpace, ways: &Ways, now: Instant, batch: &mut Batch) {
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
            if usize::from(tries) == PATIENCE.len() {
                self.due.pop();
                self.resolved(host, None);
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
        next.into_iter().chain(due).min()
    }
}
