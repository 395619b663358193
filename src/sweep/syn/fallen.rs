//! Hosts that answered and then fell silent. Pure.
//!
//! What has answered is asked again in every later round. Where none of it answers any more, in some rounds together, that
//! is no loss that could be measured: a firewall bans scanners or does not let a port be asked twice, or the host is gone.
//! More rounds would tell nothing, and its silence says nothing of what others lose: it is left out, and that is said.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hosts::HostRecord;
use super::machine::Machine;
use crate::model::report::Gap;
use crate::sweep::fallen;
use crate::sweep::recall::Canaries;

/// Rounds of silence, at least.
const ROUNDS: u32 = 3;
/// The chance that all canaries of any host are lost as others' are, at most.
const CHANCE: f64 = 0.001;
/// So much more likely it is still strange enough for another round.
const STRANGE: f64 = 500.0;
/// Canaries of suspects that measure what these lose.
const ENOUGH: u32 = 10;
/// A round of fewer canaries may be all silent by chance.
const FEW: u32 = 5;
/// After a round that nothing answered in the next one waits: an outage may be over by then.
const PAUSE: Duration = Duration::from_secs(2);

/// The latest rounds in which nothing of a host answered.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    rounds: u32,
    canaries: u32,
}

impl Machine<'_> {
    /// A round is over: hosts that have fallen silent are left out from now on. While a rate is tried the silence may be the
    /// rate's doing.
    pub(super) fn note_fallen(&mut self) {
        if !self.speed.is_trying() {
            self.judge_fallen();
        }
    }

    /// Which hosts have fallen silent, as the rounds until now tell it.
    pub(super) fn judge_fallen(&mut self) {
        let mut rounds: BTreeMap<(u64, usize), Canaries> = BTreeMap::new();
        for note in self.canaries.asked() {
            let count = rounds.entry((note.host, note.round)).or_default();
            count.asked += 1;
            count.answered += u32::from(note.is_answered());
        }
        let mut silences: BTreeMap<u64, Silence> = BTreeMap::new();
        for (&(host, round), canaries) in &rounds {
            let Some(record) = self.hosts.get(&host) else { continue };
            let silence = silences.entry(host).or_default();
            let is_heard = canaries.answered > 0 || record.later.iter().any(|later| later.round == round);
            *silence = if is_heard {
                Silence::default()
            } else {
                Silence { rounds: silence.rounds + 1, canaries: silence.canaries + canaries.asked }
            };
        }
        // What those lose that are not silent all the time, and those of them that are known to lose.
        let (mut others, mut suspects) = (Canaries::default(), Canaries::default());
        for ((host, _), canaries) in &rounds {
            if silences.get(host).is_some_and(|silence| silence.rounds < ROUNDS) {
                others.add(*canaries);
                if self.hosts.get(host).is_some_and(HostRecord::is_suspect) {
                    suspects.add(*canaries);
                }
            }
        }
        // Where nobody answers, nothing is known of the loss, and all canaries together tell whether that is chance.
        let all: u32 = silences.values().map(|silence| silence.canaries).sum();
        let is_nobody = others.asked == 0;
        let of_suspects = if suspects.asked >= ENOUGH { suspects.most() } else { 0.0 };
        let loss = if is_nobody { others.loss() } else { others.most().max(of_suspects) };
        let each = CHANCE / silences.len().max(1) as f64;
        self.undecided = false;
        for (number, silence) in silences {
            let (canaries, least) = if is_nobody { (all, CHANCE) } else { (silence.canaries, each) };
            let chance = loss.powi(i32::try_from(canaries).unwrap_or(i32::MAX));
            let is_strange = silence.rounds >= 2 && chance < least * STRANGE;
            let asked = self.own_ports(number).len();
            // Of one that has answered on all its ports nothing is unknown.
            let record = self.hosts.get_mut(&number).filter(|record| (record.answered as usize) < asked);
            let Some(record) = record.filter(|_| is_strange) else { continue };
            // It stays so, as it is not asked any more.
            record.fallen |= silence.rounds >= ROUNDS && chance < least;
            self.undecided |= !record.fallen;
        }
    }

    /// How long the next round is to wait: nothing answered in the one that is over, and in so many before it.
    pub(super) fn pause(&self) -> Option<Duration> {
        if self.speed.is_trying() {
            return None;
        }
        let counts = self.canaries.counts().iter().skip(1).rev();
        let dead = counts.take_while(|count| count.asked >= FEW && count.answered == 0).count();
        u32::try_from(dead).ok().filter(|dead| *dead > 0).map(|dead| PAUSE * dead.min(ROUNDS))
    }

    /// Canaries by round, the first round's first, but for those of hosts that fell silent.
    pub(super) fn canaries_of_rounds(&self) -> Vec<Canaries> {
        let mut counts = vec![Canaries::default(); self.canaries.counts().len()];
        counts[0] = self.canaries.counts()[0];
        for note in self.canaries.asked() {
            if self.hosts.get(&note.host).is_some_and(|host| !host.fallen) {
                counts[note.round].asked += 1;
                counts[note.round].answered += u32::from(note.is_answered());
            }
        }
        counts
    }

    pub(super) fn gap_of_fallen(&self) -> Option<Gap> {
        fallen::gap(self.hosts.values().filter(|host| host.fallen).map(|host| host.address).collect())
    }
}
