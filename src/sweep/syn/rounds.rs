//! Rounds and their waves: who is asked next, and whether anybody is.

use std::time::Instant;

use super::hosts::Control;
use super::machine::{Machine, Phase, Wave};
use crate::model::{Endpoint, Place, ProbeSpace};
use crate::sweep::recall;

/// Silent hosts are asked again while their endpoints are no more than these.
const RECHECK_SILENT: u64 = 1 << 20;
/// Hosts are given up after this many rounds that found no new ones, and answers after those that had nothing to find.
const LEAST_ROUNDS: u32 = 2;

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
        if self.round > 0 {
            // They count from their own first round on.
            for host in &found {
                if let Some(record) = self.hosts.get_mut(host) {
                    record.asked_since = self.round;
                }
            }
        }
        let narrowed = self.space.among(found);
        self.begin_wave(Some(narrowed), now);
    }

    fn begin_wave(&mut self, narrowed: Option<Box<dyn ProbeSpace>>, now: Instant) {
        let space = narrowed.as_deref().unwrap_or(self.space);
        self.wave = Wave { len: space.len(), pass: space.pass().max(1), began: Some(now), ..Wave::default() };
        self.wave.space = narrowed;
        self.phase = Phase::Asking;
    }

    /// The round has settled: sums it up and begins another one, if that is worth it.
    pub(super) fn end_round(&mut self, now: Instant) {
        self.canaries.end_round();
        if self.round > 0 && self.totals.round_sent == 0 {
            // Everything on living hosts has answered.
            self.complete = true;
            self.found.pop();
            self.found_open.pop();
            self.phase = Phase::Done;
            return;
        }
        self.recall = self.judged();
        let next = self.round + 1;
        if next >= self.max_rounds() || !self.wants_another() {
            self.phase = Phase::Done;
            return;
        }
        let hosts = self.hosts_to_ask();
        if hosts.is_empty() {
            self.phase = Phase::Done;
            return;
        }
        self.begin_round(next, hosts, now);
    }

    /// Recall as the rounds until now tell it.
    pub(super) fn judged(&self) -> Option<crate::model::report::Recall> {
        recall::judge(&recall::Evidence {
            found: &self.found,
            found_open: &self.found_open,
            canaries: self.canaries.counts(),
        })
    }

    fn wants_another(&self) -> bool {
        let heard_late = || self.round > 0 && self.hosts.values().any(|host| host.heard_in == self.round && host.alive);
        if self.round + 1 < LEAST_ROUNDS || self.totals.round_drops > 0 || heard_late() {
            return true;
        }
        match (&self.recall, self.settings.recall) {
            (None, _) => false,
            (Some(recall), Some(wanted)) => recall.lower < wanted,
            (Some(recall), None) => recall.expected_missing >= recall::ENOUGH,
        }
    }

    /// Numbers of living hosts, and of silent ones while new hosts turn up and they are few enough.
    fn hosts_to_ask(&self) -> Vec<u64> {
        let living: Vec<u64> = self.hosts.iter().filter(|(_, host)| host.alive).map(|(&number, _)| number).collect();
        let found_hosts = self.round == 0 || self.hosts.values().any(|host| host.heard_in == self.round && host.alive);
        let silent = self.space.addresses() - (living.len() as u64).min(self.space.addresses());
        let silent = silent.saturating_sub(self.neighbours.absent());
        if found_hosts && silent.saturating_mul(self.ports) <= RECHECK_SILENT {
            (0..self.space.addresses()).filter(|host| !self.neighbours.is_absent(*host)).collect()
        } else {
            living
        }
    }

    fn begin_round(&mut self, round: u32, hosts: Vec<u64>, now: Instant) {
        let asked = hosts.iter().filter_map(|host| self.hosts.get(host)).map(|host| u64::from(host.answered)).sum();
        let probes = (hosts.len() as u64 * self.ports).saturating_sub(asked);
        self.round = round;
        self.found.push(0);
        self.found_open.push(0);
        self.totals.round_sent = 0;
        self.totals.round_answered = 0;
        self.totals.round_drops = 0;
        self.timing.begin_round();
        let mut known: Vec<Place> =
            self.hosts.iter().filter_map(|(&host, record)| record.canary.map(|port| Place { host, port })).collect();
        // The order of a hash table is no order to rely on.
        known.sort_unstable();
        self.canaries.begin_round(known.into_iter(), probes);
        self.ask_controls_again();
        self.neighbours.begin_wave();
        let narrowed = self.space.among(hosts);
        self.begin_wave(Some(narrowed), now);
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
