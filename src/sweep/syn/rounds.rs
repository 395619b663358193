//! Rounds and their waves: who is asked next, and whether anybody is.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::hosts::{Control, HostRecord};
use super::machine::{Machine, Phase, Wave};
use super::silent::LISTED;
use super::speed::RoundSpeed;
use crate::model::report::Recall;
use crate::model::{Endpoint, Place, ProbeSpace};
use crate::sweep::recall;

/// Canaries of a host whose way is known to lose.
const CANARIES_OF_SUSPECTS: usize = 16;
/// Without a second round there is no way to know what the first one lost.
const LEAST_ROUNDS: u32 = 2;

/// Before what did not leave is tried again.
const UNSENT_PAUSE: Duration = Duration::from_secs(1);

/// Whom another round is to ask.
enum Wanted {
    Nothing,
    /// Hosts that are known to have lost something: the others are done.
    Suspects,
    /// All that were heard of, and the silent ones, too, or not.
    Everybody {
        silent: bool,
    },
}

impl Machine<'_> {
    /// Begins to ask: everybody, or, where all targets are on the link, those that were found.
    pub(super) fn first_wave(&mut self, now: Instant) {
        let found = self.neighbours.begin_wave();
        let narrowed = self.all_on_link.then(|| self.space.among(found));
        self.begin_wave(narrowed, now);
    }

    /// Asks the neighbours that were found since the last wave began.
    pub(super) fn late_wave(&mut self, now: Instant) {
        let found = self.neighbours.begin_wave();
        let narrowed = self.space.among(found);
        self.begin_wave(Some(narrowed), now);
    }

    fn begin_wave(&mut self, narrowed: Option<Box<dyn ProbeSpace>>, now: Instant) {
        let space = narrowed.as_deref().unwrap_or(self.space);
        self.wave = Wave { len: space.len(), pass: space.pass().max(1), began: Some(now), ..Wave::default() };
        self.wave.space = narrowed;
        self.canaries.begin_wave(self.wave.len);
        self.phase = Phase::Asking;
        self.totals.round_began.get_or_insert(now);
    }

    /// The round has settled: sums it up and begins another one, if that is worth it.
    pub(super) fn end_round(&mut self, now: Instant) {
        let speed = &mut self.speed;
        self.canaries.end_round(|sent, lost| speed.outcome(sent, lost));
        let elapsed = self
            .totals
            .last_sent
            .zip(self.totals.round_began)
            .map(|(last, began)| last.saturating_duration_since(began));
        let round = RoundSpeed { sent: self.totals.round_sent, elapsed: elapsed.unwrap_or_default() };
        self.speed.round_over(&round, now);
        self.totals.not_asked.end_round();
        let wants_again = self.totals.not_asked.wants_again() && self.space.addresses() <= LISTED;
        if self.round > 0 && self.totals.round_sent == 0 && !wants_again {
            // Everything has answered: on all living hosts, or on those that were still asked.
            let nobody_fell = self.hosts.values().all(|host| !host.fallen);
            let all_left = self.totals.not_asked.is_nothing();
            self.complete = self.full_rounds == self.found.len() - 1 && !self.narrow && nobody_fell && all_left;
            self.found.pop();
            self.found_open.pop();
            self.phase = Phase::Done;
            return;
        }
        self.full_rounds += usize::from(!self.narrow);
        self.note_lost_canaries();
        self.note_fallen();
        self.recall = self.judged();
        let next = self.round + 1;
        let hosts = match self.wanted() {
            _ if next >= self.max_rounds() => Vec::new(),
            _ if wants_again => self.hosts_to_ask(true),
            Wanted::Nothing => Vec::new(),
            Wanted::Suspects => self.suspects(),
            Wanted::Everybody { silent } => self.hosts_to_ask(silent),
        };
        if hosts.is_empty() {
            self.phase = Phase::Done;
            return;
        }
        let pause = if wants_again { Some(UNSENT_PAUSE) } else { self.pause() };
        self.begin_round(next, hosts, now);
        if let Some(pause) = pause {
            self.phase = Phase::Pausing { until: now + pause };
            self.speed.paused(now + pause);
        }
    }

    fn wanted(&mut self) -> Wanted {
        let heard_late = || self.round > 0 && self.hosts.values().any(|host| host.heard_in == self.round && host.alive);
        let asked_for = self.settings.recall;
        let suffices = |recall: &Recall| match asked_for {
            Some(wanted) => recall.lower >= wanted,
            None => recall.expected_missing < recall::ENOUGH,
        };
        let silent = self.wants_silent();
        // Once the others were left out they stay so: their rounds would not be comparable.
        let everybody = !self.narrow
            && (self.round + 1 < LEAST_ROUNDS
                || self.totals.round_drops > 0
                || heard_late()
                || silent
                || self.judged_together().is_some_and(|recall| !suffices(&recall)));
        if everybody {
            return Wanted::Everybody { silent };
        }
        if self.recall.as_ref().is_none_or(suffices) && !self.undecided {
            return Wanted::Nothing;
        }
        self.narrow = true;
        Wanted::Suspects
    }

    /// Numbers of living hosts, and of silent ones where they are to be asked, too.
    fn hosts_to_ask(&mut self, silent: bool) -> Vec<u64> {
        if silent {
            self.totals.not_asked.ask_again();
            self.silent_asked.push(self.round + 1);
            let is_left_out =
                |host: &u64| self.neighbours.is_absent(*host) || self.hosts.get(host).is_some_and(|host| host.fallen);
            return (0..self.space.addresses()).filter(|host| !is_left_out(host)).collect();
        }
        let is_living = |host: &HostRecord| (host.alive || host.hinted) && !host.fallen;
        self.hosts.iter().filter(|(_, host)| is_living(host)).map(|(&number, _)| number).collect()
    }

    fn begin_round(&mut self, round: u32, hosts: Vec<u64>, now: Instant) {
        let asked = hosts.iter().filter_map(|host| self.hosts.get(host)).map(|host| u64::from(host.answered)).sum();
        let probes = self.share_of(hosts.len() as u64 * self.ports).saturating_sub(asked);
        self.round = round;
        self.found.push(0);
        self.found_open.push(0);
        self.totals.round_sent = 0;
        self.totals.round_answered = 0;
        self.totals.round_drops = 0;
        self.totals.controls_open = 0;
        self.totals.round_began = None;
        self.timing.begin_round();
        let asked: HashSet<u64> = hosts.iter().copied().collect();
        let known = self.hosts.iter().filter(|(host, _)| asked.contains(host));
        let mut of_hosts: Vec<Place> =
            known.filter_map(|(&host, record)| record.canary.map(|port| Place { host, port })).collect();
        let mut of_suspects: Vec<Place> = asked
            .iter()
            .filter_map(|host| self.hosts.get(host))
            .filter(|record| record.is_suspect())
            .flat_map(|record| {
                record.open.iter().take(CANARIES_OF_SUSPECTS).map(|port| Endpoint::tcp(record.address, port))
            })
            .filter_map(|endpoint| self.space.place_of(&endpoint))
            .collect();
        // The order of a hash table is no order to rely on.
        of_hosts.sort_unstable();
        of_suspects.sort_unstable();
        self.canaries.begin_round(of_hosts, of_suspects, |host| asked.contains(&host), probes);
        self.canary_hosts = self.canaries.hosts();
        self.ask_controls_again();
        self.neighbours.begin_wave();
        let narrowed = self.space.among(hosts);
        self.begin_wave(Some(narrowed), now);
    }

    /// How many of so many endpoints of some hosts are this shard's.
    pub(super) fn share_of(&self, endpoints: u64) -> u64 {
        let all = u128::from(self.space.addresses()) * u128::from(self.ports);
        // No more than all of them.
        (u128::from(endpoints) * u128::from(self.space.len()) / all.max(1)) as u64
    }

    /// Control probes that stayed silent, of hosts where another one is open.
    fn ask_controls_again(&mut self) {
        let mut again = Vec::new();
        for (&number, host) in &self.hosts {
            if host.controls.state.contains(&Control::Open) {
                for (port, state) in host.controls.ports.iter().zip(&host.controls.state) {
                    if *state == Control::Asked {
                        again.push((number, Endpoint::tcp(host.address, *port)));
                    }
                }
            }
        }
        again.sort_unstable();
        self.controls.extend(again);
    }
}
