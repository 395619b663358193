//! Silent hosts: how many of them are expected to live all the same, and whether they are worth asking again.

use super::hosts::HostRecord;
use super::machine::Machine;
use crate::model::report::Recall;
use crate::sweep::recall::{self, Canaries, Evidence};

/// Silent hosts are asked a second time, whatever is known of the loss, while their endpoints are no more than these.
const RECHECK: u64 = 1 << 20;
/// And while there is a loss, while they are no more than these: some ten seconds' worth.
const RECHECK_LOST: u64 = 1 << 24;
/// Numbers of hosts that are kept in a list.
pub(super) const LISTED: u64 = 1 << 20;
/// Canaries that measure a round.
const ENOUGH: u32 = 20;
/// A host is never taken for more than so many missed ones: where nothing is answered twice, that is no loss.
const MOST_EACH: f64 = 9.0;

/// Living hosts among the silent ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unheard {
    pub expected: f64,
    most: f64,
}

/// The chance that an endpoint which answers was lost in all rounds that asked silent hosts: expected, and at most.
#[derive(Clone, Copy, Debug)]
struct Passed {
    expected: f64,
    most: f64,
}

impl Passed {
    /// From the canaries of all rounds, of which `asked` are those. A round of few has the loss of all rounds, or `least`.
    fn new(rounds: &[Canaries], asked: &[u32], least: f64) -> Self {
        let mut all = Canaries::default();
        rounds.iter().for_each(|round| all.add(*round));
        let usual = Self { expected: all.share_lost().max(least), most: all.most().max(least) };
        let of_round = |round: &u32| {
            let canaries = rounds.get(*round as usize).filter(|canaries| canaries.asked >= ENOUGH);
            canaries.map_or(usual, |canaries| Self { expected: canaries.share_lost(), most: canaries.most() })
        };
        let losses = asked.iter().map(of_round);
        losses.fold(Self { expected: 1.0, most: 1.0 }, |passed, loss| Self {
            expected: passed.expected * loss.expected,
            most: passed.most * loss.most,
        })
    }
}

impl Machine<'_> {
    /// Whether silent hosts are worth asking again: some of them are expected to live, and there are few enough.
    pub(super) fn wants_silent(&self) -> bool {
        let silent = self.silent();
        let endpoints = self.share_of(silent.saturating_mul(self.ports));
        if silent == 0 || self.space.addresses() > LISTED || endpoints > RECHECK_LOST {
            return false;
        }
        if endpoints > RECHECK {
            return self.lacks_hosts();
        }
        // A series of the rounds that asked silent hosts: what others lost says nothing about these.
        let heard = self.heard();
        let counts = self.canaries_of_rounds();
        let count = |round: &u32| counts.get(*round as usize).copied().unwrap_or_default();
        let canaries: Vec<Canaries> = self.silent_asked.iter().map(count).collect();
        let evidence = Evidence { found: &heard, found_open: &heard, canaries: &canaries, unanswered: Some(silent) };
        self.round == 0
            || self.lacks_hosts()
            || recall::judge(&evidence).is_some_and(|hosts| hosts.expected_missing >= recall::ENOUGH)
    }

    /// Living hosts, by which of the rounds that asked everybody heard them first.
    fn heard(&self) -> Vec<u64> {
        let mut heard = vec![0_u64; self.silent_asked.len()];
        for host in self.hosts.values().filter(|host| host.alive) {
            let at = self.silent_asked.partition_point(|round| *round <= host.heard_in);
            heard[at.saturating_sub(1)] += 1;
        }
        heard
    }

    /// Hosts that were not heard of, but for those that are known not to be there.
    fn silent(&self) -> u64 {
        let living = self.hosts.values().filter(|host| host.alive).count() as u64;
        self.space.addresses().saturating_sub(living + self.neighbours.absent())
    }

    /// Whether more hosts are expected to be missing than may be.
    fn lacks_hosts(&self) -> bool {
        let unheard = self.unheard();
        match self.settings.recall {
            Some(wanted) => self.share_heard(unheard.most) < wanted,
            None => unheard.expected >= recall::ENOUGH,
        }
    }

    /// Living hosts that the rounds which asked them are expected to have missed: by the loss, and by how many endpoints
    /// answered of each host that was heard (Horvitz and Thompson, Journal of the American Statistical Association 47,
    /// 1952). Hosts that are known to lose stand for others of their kind.
    pub(super) fn unheard(&self) -> Unheard {
        let [_, suspects] = self.parts();
        let (all, suspects) = (self.canaries_of_rounds(), suspects.canaries);
        let fitted = recall::fitted_loss(&self.found[..self.full_rounds.max(1).min(self.found.len())]);
        let of_all = Passed::new(&all, &self.silent_asked, fitted);
        let of_suspects = Passed::new(&suspects, &self.silent_asked, fitted);
        let missed = |of: fn(&Passed) -> f64| {
            let of_host = |host: &HostRecord| {
                let loss = if host.is_suspect() { of(&of_all).max(of(&of_suspects)) } else { of(&of_all) };
                let all = loss.powi(i32::try_from(host.answered.max(1)).unwrap_or(i32::MAX));
                (all / (1.0 - all)).min(MOST_EACH)
            };
            let living = self.hosts.values().filter(|host| host.alive && !host.fallen);
            living.map(of_host).sum::<f64>().min(self.silent() as f64)
        };
        Unheard { expected: missed(|passed| passed.expected), most: missed(|passed| passed.most) }
    }

    /// The share of the living hosts that was heard when so many were not.
    fn share_heard(&self, unheard: f64) -> f64 {
        let living = self.hosts.values().filter(|host| host.alive).count() as f64;
        if living == 0.0 { 1.0 } else { living / (living + unheard) }
    }

    /// Recall of the ports of all hosts, from that of the ports of those that were heard.
    pub(super) fn of_all_hosts(&self, recall: Recall) -> Recall {
        let unheard = self.unheard();
        let estimate = recall.estimate * self.share_heard(unheard.expected);
        let lower = recall.lower * self.share_heard(unheard.most);
        Recall { estimate, lower: lower.min(estimate), ..recall }
    }
}
