//! How the attempts of a worker end: what each end says, and when there is no more waiting for it.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::slots::SlotState;
use super::socket::Attempt;
use super::worker::Worker;
use crate::model::{Endpoint, Evidence, Observation, PortState, Reason};
use crate::sweep::SweepEvent;
use crate::sweep::answer::{LocalRefusal, Outcome, judge};
use crate::sweep::tally::HostTally;

/// A peer that resets what it accepted does so within a round trip; this is for slow ones.
const WATCH: Duration = Duration::from_millis(30);

impl Worker {
    /// A socket has something to say.
    pub(super) fn on_event(&mut self, number: u32, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        let Some(slot) = self.slots.get(number) else { return };
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
    pub(super) fn finish(&mut self, number: u32, outcome: Outcome, now: Instant) {
        let SlotState::Connecting { endpoint, sent } = self.slots[number].state else { return };
        let own = &self.settings.own_set;
        let (state, reason) = judge(endpoint.address, outcome, |address| own.contains(&address));
        let rtt = now.saturating_duration_since(sent);
        let mut evidence = Evidence { asked: u8::try_from(self.round.number + 1).ok(), ..Evidence::default() };
        match outcome {
            Outcome::Accepted | Outcome::AcceptedThenReset | Outcome::Reset => {
                self.replies += 1;
                // What there was no room for has answered before: that it does so again tells nothing of losses.
                let is_listed = outcome != Outcome::Reset || self.tally.has_room(endpoint.address);
                let is_again =
                    |host: &HostTally| host.answered.contains(endpoint.port) || host.late && self.round.number > 0;
                if is_listed && !self.tally.host(endpoint.address).is_some_and(is_again) {
                    let asked_before = self.round.number as usize + usize::from(self.round.is_scouted(endpoint.port));
                    if self.found_by_ask.len() <= asked_before {
                        self.found_by_ask.resize(asked_before + 1, 0);
                    }
                    self.found_by_ask[asked_before] += 1;
                }
                if let Some(host) = self.tally.living(endpoint.address) {
                    host.rtt.sample(rtt);
                }
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
                let slot = &mut self.slots[number];
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
        let state = std::mem::replace(&mut self.slots[number].state, SlotState::Idle);
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
    pub(super) fn expire(&mut self, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        while let Some(Reverse((deadline, number, generation))) = self.deadlines.peek().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            if self.slots[number].generation == generation {
                self.time_out(number, now, events);
            }
        }
    }

    /// Gives up early on hosts whose round-trip time has become known since their probes were sent.
    pub(super) fn reconsider(&mut self, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        // Slot numbers are u32 by construction.
        for number in 0..self.slots.len() as u32 {
            if let SlotState::Connecting { endpoint, sent } = self.slots[number].state
                && let Some(host) = self.tally.host(endpoint.address)
                && now.saturating_duration_since(sent) >= host.rtt.timeout()
            {
                self.time_out(number, now, events);
            }
        }
    }

    fn time_out(&mut self, number: u32, now: Instant, events: &mpsc::Sender<SweepEvent>) {
        match self.slots[number].state {
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

    /// Ends what the slot does and makes it idle.
    fn free(&mut self, number: u32) {
        self.in_flight -= 1;
        self.slots.release(number);
    }

    /// Ends all that is under way.
    pub(super) fn abandon(&mut self) {
        for number in 0..self.slots.len() as u32 {
            let state = std::mem::replace(&mut self.slots[number].state, SlotState::Idle);
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
}
