//! Rounds and their waves: who is asked next, and whether anybody is.

use std::collections::HashSet;
use std::time::Instant;

use super::hosts::{Control, HostRecord};
use super::machine::{Machine, Phase, Wave};
use super::speed::RoundSpeed;
use crate::model::report::Recall;
use crate::model::{Endpoint, Place, ProbeSpace};
use crate::sweep::recall;

/// Silent hosts are asked again while their endpoints are no more than these.
const RECHECK_SILENT: u64 = 1 << 20;
/// Fewer canaries tell nothing of a loss.
const LEAST_CANARIES: u32 = 20;
/// Canaries of a host whose way is known to lose.
const CANARIES_OF_SUSPECTS: usize = 16;
/// Without a second round there is no way to know what the first one lost.
const LEAST_ROUNDS: u32 = 2;

/// Whom another round is to ask.
enum Wanted {
    Nothing,
    /// Hosts that are known to have lost something: the others are done.
    Suspects,
    Everybody,
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
        if self.round > 0 && self.totals.round_sent == 0 {
            // Everything has answered: on all living hosts, or on those that were still asked.
            self.complete = self.full_rounds == self.found.len() - 1 && !self.narrow;
            self.found.pop();
            self.found_open.pop();
            self.phase = Phase::Done;
            return;
        }
        self.full_rounds += usize::from(!self.narrow);
        self.note_lost_canaries();
        self.recall = self.judged();
        let next = self.round + 1;
        let hosts = match self.wanted() {
            _ if next >= self.max_rounds() => Vec::new(),
            Wanted::Nothing => Vec::new(),
            Wanted::Suspects => self.suspects(),
            Wanted::Everybody => self.hosts_to_ask(),
        };
        if hosts.is_empty() {
            self.phase = Phase::Done;
            return;
        }
        self.begin_round(next, hosts, now);
    }

    fn wanted(&mut self) -> Wanted {
        let heard_late = || self.round > 0 && self.hosts.values().any(|host| host.heard_in == self.round && host.alive);
        let asked_for = self.settings.recall;
        let suffices = |recall: &Recall| match asked_for {
            Some(wanted) => recall.lower >= wanted,
            None => recall.expected_missing < recall::ENOUGH,
        };
        // Once the others were left out they stay so: their rounds would not be comparable.
        let everybody = !self.narrow
            && (self.round + 1 < LEAST_ROUNDS
                || self.totals.round_drops > 0
                || heard_late()
                || self.wants_silent()
                || self.judged_together().is_some_and(|recall| !suffices(&recall)));
        if everybody {
            return Wanted::Everybody;
        }
        if self.recall.as_ref().is_none_or(suffices) {
            return Wanted::Nothing;
        }
        self.narrow = true;
        Wanted::Suspects
    }

    /// Whether silent hosts are worth asking again: there are few enough, and some of them are expected to live.
    fn wants_silent(&mut self) -> bool {
        // A series of the rounds that asked silent hosts: what others lost says nothing about these.
        let mut heard = vec![0_u64; self.silent_asked.len()];
        for host in self.hosts.values().filter(|host| host.alive) {
            let at = self.silent_asked.partition_point(|round| *round <= host.heard_in);
            heard[at.saturating_sub(1)] += 1;
        }
        let silent = self.space.addresses().saturating_sub(heard.iter().sum::<u64>() + self.neighbours.absent());
        let is_too_much = self.space.addresses() > RECHECK_SILENT
            || self.share_of(silent.saturating_mul(self.ports)) > RECHECK_SILENT;
        if silent == 0 || is_too_much {
            if is_too_much && self.round == 0 {
                self.silent_missing = self.expected_silent();
            }
            return false;
        }
        let count = |round: &u32| self.canaries.counts().get(*round as usize).copied().unwrap_or_default();
        let canaries: Vec<recall::Canaries> = self.silent_asked.iter().map(count).collect();
        let evidence =
            recall::Evidence { found: &heard, found_open: &heard, canaries: &canaries, unanswered: Some(silent) };
        self.round == 0 || recall::judge(&evidence).is_some_and(|hosts| hosts.expected_missing >= recall::ENOUGH)
    }

    /// Living hosts that one round is expected to have missed: by the loss that the canaries had, and by how many answers
    /// each host gave that was heard (Horvitz and Thompson, Journal of the American Statistical Association 47, 1952).
    fn expected_silent(&self) -> f64 {
        let Some(count) = self.canaries.counts().last().filter(|count| count.asked >= LEAST_CANARIES) else {
            return 0.0;
        };
        let loss = f64::from(count.asked - count.answered.min(count.asked)) / f64::from(count.asked);
        let missed = |host: &HostRecord| {
            let all = loss.powi(i32::try_from(host.answered.max(1)).unwrap_or(i32::MAX));
            all / (1.0 - all).max(0.01)
        };
        self.hosts.values().filter(|host| host.alive).map(missed).sum()
    }

    /// Numbers of living hosts, and of silent ones where that is worth it.
    fn hosts_to_ask(&mut self) -> Vec<u64> {
        if self.wants_silent() {
            self.silent_asked.push(self.round + 1);
            return (0..self.space.addresses()).filter(|host| !self.neighbours.is_absent(*host)).collect();
        }
        let is_living = |host: &HostRecord| host.alive || host.hinted;
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
        self.canary_hosts = of_hosts.len();
        // The order of a hash table is no order to rely on.
        of_hosts.sort_unstable();
        of_suspects.sort_unstable();
        self.canaries.begin_round(of_hosts, of_suspects, probes);
        self.ask_controls_again();
        self.neighbours.begin_wave();
        let narrowed = self.space.among(hosts);
        self.begin_wave(Some(narrowed), now);
    }

    /// How many of so many endpoints of some hosts are this shard's.
    fn share_of(&self, endpoints: u64) -> u64 {
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
