//! Hosts that are known to have lost something, told from those that lose nothing: what is missing is judged of each.

use super::machine::Machine;
use crate::model::report::Recall;
use crate::sweep::recall::{self, Canaries, Evidence};

/// What is known of some hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    found: Vec<u64>,
    found_open: Vec<u64>,
    pub(super) canaries: Vec<Canaries>,
    unanswered: u64,
}

impl Machine<'_> {
    /// Recall as the rounds until now tell it, of the hosts that have not fallen silent.
    pub(super) fn judged(&self) -> Option<Recall> {
        let [clean, suspect] = self.parts();
        let parts = [clean.evidence(self.full_rounds), suspect.evidence(self.found.len())];
        let together = self.together(&clean, &suspect);
        recall::judge_parts(&together.evidence(self.full_rounds), &parts)
    }

    /// Recall as if all hosts lost alike.
    pub(super) fn judged_together(&self) -> Option<Recall> {
        let [clean, suspect] = self.parts();
        recall::judge(&self.together(&clean, &suspect).evidence(self.full_rounds))
    }

    fn together(&self, clean: &Part, suspect: &Part) -> Part {
        let sums = |one: &[u64], other: &[u64]| one.iter().zip(other).map(|(one, other)| one + other).collect();
        let mut canaries = self.canaries_of_rounds();
        canaries.resize(self.found.len(), Canaries::default());
        Part {
            found: sums(&clean.found, &suspect.found),
            found_open: sums(&clean.found_open, &suspect.found_open),
            canaries,
            unanswered: clean.unanswered + suspect.unanswered,
        }
    }

    /// Hosts without a sign of loss, and those with one.
    pub(super) fn parts(&self) -> [Part; 2] {
        let rounds = self.found.len();
        let empty = || Part {
            found: vec![0; rounds],
            found_open: vec![0; rounds],
            canaries: vec![Canaries::default(); rounds],
            unanswered: 0,
        };
        let mut parts = [empty(), empty()];
        for host in self.hosts.values().filter(|host| host.alive && !host.fallen) {
            let part = &mut parts[usize::from(host.is_suspect())];
            let (mut found, mut open) = (u64::from(host.found), host.open.len() as u64);
            for later in &host.later {
                let at = later.round.min(rounds - 1);
                part.found[at] += u64::from(later.found);
                part.found_open[at] += u64::from(later.open);
                found -= u64::from(later.found).min(found);
                open -= u64::from(later.open).min(open);
            }
            part.found[0] += found;
            part.found_open[0] += open;
            // A shard's share of a host is not known; all of it is no less.
            part.unanswered += self.ports.saturating_sub(host.answered.into());
        }
        for note in self.canaries.asked().filter(|note| note.round < rounds) {
            let Some(host) = self.hosts.get(&note.host).filter(|host| !host.fallen) else { continue };
            let count = &mut parts[usize::from(host.is_suspect())].canaries[note.round];
            count.asked += 1;
            count.answered += u32::from(note.is_answered());
        }
        parts
    }

    /// Hosts one of whose canaries of this round stayed silent are suspects from now on.
    pub(super) fn note_lost_canaries(&mut self) {
        let round = self.round as usize;
        for note in self.canaries.asked().rev().take_while(|note| note.round == round) {
            if !note.is_answered()
                && let Some(host) = self.hosts.get_mut(&note.host)
            {
                host.lost_canary = true;
            }
        }
    }

    /// Numbers of the living hosts that are known to have lost something.
    pub(super) fn suspects(&self) -> Vec<u64> {
        let suspects = self.hosts.iter().filter(|(_, host)| host.alive && !host.fallen && host.is_suspect());
        suspects.map(|(&number, _)| number).collect()
    }
}

impl Part {
    fn evidence(&self, rounds: usize) -> Evidence<'_> {
        // An interrupted round counts, too.
        let rounds = rounds.max(1).min(self.found.len());
        Evidence {
            found: &self.found[..rounds],
            found_open: &self.found_open[..rounds],
            canaries: &self.canaries[..rounds],
            unanswered: Some(self.unanswered),
        }
    }
}
