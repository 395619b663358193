//! The sending half of the machine: polls. No allocation per probe.

use std::time::{Duration, Instant};

use super::machine::{Machine, Phase};
use super::ways::Hop;
use super::{Batch, LONGEST_WAIT, Next, NextHop, Probe};
use crate::model::{Endpoint, Place, ProbeSpace};

/// Positions looked at in one poll: later rounds skip most of them.
const EXAMINE: u32 = 16_384;
/// A driver need not wake for less: the paces let bursts of twenty milliseconds pass.
const SHORTEST_WAIT: Duration = Duration::from_micros(200);
const RESOLVING_LOOK: Duration = Duration::from_millis(10);
/// Late neighbours are gathered for this long before they make a wave of their own.
const GATHER: Duration = Duration::from_millis(100);

/// How a batch came to its end.
enum Filled {
    /// It is full, or enough was looked at.
    Full,
    /// The pace lets nothing more pass for a while.
    Paced(Duration),
    /// The wave is over.
    End,
}

impl Machine<'_> {
    /// Fills `batch` with what is to be sent now, and says what comes after.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut Batch) -> Next {
        batch.clear();
        self.totals.began.get_or_insert(now);
        let speed = &mut self.speed;
        self.canaries.expire(now, self.timing.settle(), |sent, lost| speed.outcome(sent, lost));
        self.neighbours.ask(self.space, &self.settings.ways, now, batch);
        loop {
            match self.phase {
                Phase::Resolving { until } => {
                    if self.neighbours.is_settled() || self.neighbours.had_time(now) || now >= until {
                        self.first_wave(now);
                        continue;
                    }
                    return self.wait(now, until.min(now + RESOLVING_LOOK), batch);
                }
                Phase::Pausing { until } => {
                    if now < until {
                        return self.wait(now, until, batch);
                    }
                    self.totals.round_began = Some(now);
                    self.wave.began = Some(now);
                    self.phase = Phase::Asking;
                }
                Phase::Asking => match self.fill(now, batch) {
                    Filled::Full => return Next::Send,
                    Filled::Paced(wait) => return self.wait(now, now + wait.max(SHORTEST_WAIT), batch),
                    Filled::End => self.phase = Phase::Waiting,
                },
                Phase::Waiting => {
                    let settled = self.neighbours.is_settled();
                    let gathered = self.wave.began.map_or(now, |began| began + GATHER);
                    if self.neighbours.has_late() && (settled || now >= gathered) {
                        self.late_wave(now);
                    } else if settled {
                        self.phase = Phase::Settling;
                    } else {
                        // Who turns up meanwhile wakes the driver.
                        let until = if self.neighbours.has_late() { gathered } else { now + GATHER };
                        return self.wait(now, until.max(now + SHORTEST_WAIT), batch);
                    }
                }
                Phase::Settling => {
                    self.send_controls(now, batch);
                    let until = self.totals.last_sent.map_or(now, |sent| sent + self.timing.settle());
                    let all_answered = self.totals.round_answered >= self.totals.round_sent
                        && self.totals.controls_open == 0
                        && self.canaries.is_settled();
                    if batch.probes.is_empty() && (now >= until || all_answered) {
                        self.end_round(now);
                        continue;
                    }
                    return self.wait(now, until.max(now + SHORTEST_WAIT), batch);
                }
                Phase::Done => return if batch.is_empty() { Next::Done } else { Next::Send },
            }
        }
    }

    fn wait(&self, now: Instant, until: Instant, batch: &Batch) -> Next {
        // A full list of questions is no reason to wait.
        if batch.questions.len() == batch.capacity() {
            return Next::Send;
        }
        let latest = now + LONGEST_WAIT;
        let neighbours = self.neighbours.wake(now).unwrap_or(latest);
        Next::Wait(until.min(neighbours).min(latest).max(now + SHORTEST_WAIT))
    }

    /// Puts probes into the batch.
    fn fill(&mut self, now: Instant, batch: &mut Batch) -> Filled {
        self.send_controls(now, batch);
        let room = batch.capacity() - batch.probes.len();
        if room == 0 {
            return Filled::Full;
        }
        let granted = self.speed.take(room, now);
        if granted == 0 {
            return Filled::Paced(self.speed.wait());
        }
        let before = batch.probes.len();
        let end = self.walk(now, batch, before + granted);
        let sent = batch.probes.len() - before;
        self.speed.give_back(granted - sent);
        self.count_sent(now, sent);
        end
    }

    fn count_sent(&mut self, now: Instant, sent: usize) {
        if sent > 0 {
            self.totals.sent += sent as u64;
            self.totals.last_sent = Some(now);
        }
    }

    /// Walks on through the wave until the batch holds `limit` probes.
    fn walk(&mut self, now: Instant, batch: &mut Batch, limit: usize) -> Filled {
        let round = self.round;
        let ask = round as usize;
        if self.wave.position < self.wave.len {
            self.wave.sent.note(self.wave.position, now);
        }
        if self.speed.is_slow() {
            self.canaries.hasten(self.wave.position, now);
        }
        for _ in 0..EXAMINE {
            if batch.probes.len() >= limit {
                return Filled::Full;
            }
            let position = self.wave.position;
            // A round that has nothing to ask needs no canaries.
            let may_measure = round == 0 || self.totals.round_sent > 0;
            let is_end = position >= self.wave.len;
            // Behind the end: the canaries that are left.
            if may_measure && (self.canaries.is_due(position) || is_end && round > 0) {
                if let Some(wait) = self.canary_wait(now) {
                    return Filled::Paced(wait);
                }
                if self.send_canary(now, batch) {
                    continue;
                }
            }
            if is_end {
                return Filled::End;
            }
            if position >= self.wave.next_pass {
                self.wave.next_pass += self.wave.pass;
                self.wave.paid = false;
            }
            let space: &dyn ProbeSpace = self.wave.space.as_deref().unwrap_or(self.space);
            let place = space.place(round, position);
            // Nothing answers before it is asked: the first round need not look. Only narrowed spaces lead to others' places.
            let is_others = self.wave.space.is_some() && !space.owns(place);
            if is_others || (round > 0 && self.answered.contains(self.number(place))) {
                self.wave.position += 1;
                continue;
            }
            let endpoint = space.endpoint_at(place);
            let Some((source, to)) = self.way(place, endpoint) else {
                self.wave.position += 1;
                continue;
            };
            if !self.wave.paid {
                if let Some(passes) = &mut self.passes
                    && passes.take(1, now) == 0
                {
                    return Filled::Paced(passes.wait());
                }
                self.wave.paid = true;
            }
            self.wave.position += 1;
            if let Some(syn) = self.syn(endpoint, source, ask) {
                batch.probes.push(Probe { syn, source, to });
                self.totals.round_sent += 1;
            }
        }
        Filled::Full
    }

    /// Source and next hop for an endpoint; `None` when it is not to be asked now.
    fn way(&mut self, place: Place, endpoint: Endpoint) -> Option<(u16, NextHop)> {
        let Some(way) = self.settings.ways.to(endpoint.address) else {
            if self.round == 0 {
                self.totals.not_asked.no_way(endpoint);
            }
            return None;
        };
        match way.hop {
            Hop::Closed => {
                if self.round == 0 {
                    self.totals.not_asked.closed(endpoint);
                }
                None
            }
            Hop::Routed => Some((way.source, NextHop::Routed)),
            Hop::OnLink => self.neighbours.mac(place.host).map(|mac| (way.source, NextHop::Neighbour(mac))),
        }
    }

    /// How long a canary is to wait, by the rate to one host. It counts as a share of a pass, which asks each host once: as
    /// many canaries as there are hosts that they are of are a pass.
    fn canary_wait(&mut self, now: Instant) -> Option<Duration> {
        let passes = self.passes.as_mut()?;
        if self.canary_passes >= 1.0 {
            if passes.take(1, now) == 0 {
                return Some(passes.wait());
            }
            self.canary_passes -= 1.0;
        }
        None
    }

    /// Puts a canary into the batch, if there is one; whether there was.
    fn send_canary(&mut self, now: Instant, batch: &mut Batch) -> bool {
        let Some(place) = self.canaries.take(self.wave.position) else { return false };
        let ask = if self.round == 0 { self.canary_ask() } else { self.round as usize };
        let endpoint = self.space.endpoint_at(place);
        if let Some((source, to)) = self.way(place, endpoint)
            && let Some(syn) = self.syn(endpoint, source, ask)
        {
            batch.probes.push(Probe { syn, source, to });
            self.canaries.sent(place, ask as u8, now);
            let hosts = if self.round == 0 { self.hosts.len() } else { self.canary_hosts };
            self.canary_passes += 1.0 / hosts.max(1) as f64;
        }
        true
    }

    /// Puts the control probes that wait into the batch.
    fn send_controls(&mut self, now: Instant, batch: &mut Batch) {
        let before = batch.probes.len();
        while batch.probes.len() < batch.capacity() && !self.controls.is_empty() {
            if self.speed.take(1, now) == 0 {
                break;
            }
            let Some((host, endpoint)) = self.controls.pop_front() else { break };
            let place = Place { host, port: 0 };
            if let Some((source, to)) = self.way(place, endpoint)
                && let Some(syn) = self.syn(endpoint, source, self.round as usize)
            {
                batch.probes.push(Probe { syn, source, to });
                self.control_hosts.insert((endpoint.address, endpoint.port), host);
                self.totals.controls_open += 1;
            }
        }
        self.count_sent(now, batch.probes.len() - before);
    }
}
