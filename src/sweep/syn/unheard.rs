//! How many living neighbours a pass of questions may have missed. Pure.
//!
//! With q the chance that a question stays without an answer, a host that lives stays silent to all tries of a pass with
//! q^tries. Those who answered tell q by the try they answered at, but not what an outage hid: so while a pass lasts,
//! neighbours that are known to be there are asked again in the same manner. Their silence is the pass's own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long to wait for an answer to the first, second and third question.
pub const PATIENCE: [Duration; TRIES] =
    [Duration::from_millis(300), Duration::from_millis(600), Duration::from_millis(1200)];
pub const TRIES: usize = 3;
/// Between two questions to neighbours that are known: at 2,000 questions a second, one of a hundred.
const EVERY: Duration = Duration::from_millis(50);

/// What a pass tells of its losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Hosts that were found, by the try that they answered.
    pub found_at: [u64; TRIES],
    /// Questions to known neighbours, and those that stayed without an answer.
    pub questions: u64,
    pub unanswered: u64,
    /// Known neighbours that were asked until they answered or all tries were over, and the latter.
    pub checked: u64,
    pub silent: u64,
}

impl Evidence {
    /// The share of living hosts that the pass is expected to have missed.
    pub fn missed(&self) -> f64 {
        let all_tries = self.loss().powi(TRIES as i32);
        // Losses that come together take more than chance would.
        let together = if self.checked == 0 { 0.0 } else { self.silent as f64 / self.checked as f64 };
        all_tries.max(together)
    }

    /// The chance that a question stays without an answer. Whoever was found did answer a try, which makes the losses
    /// seen too few: those of the hosts that were missed are added as expected, until nothing changes
    /// (Dempster, Laird, Rubin 1977).
    fn loss(&self) -> f64 {
        let found = self.found_at.iter().sum::<u64>() as f64;
        let answers = found + self.questions.saturating_sub(self.unanswered) as f64;
        let before: u64 = self.found_at.iter().zip(0..).map(|(hosts, lost)| hosts * lost).sum();
        let seen = (before + self.unanswered) as f64;
        if seen == 0.0 {
            return 0.0;
        }
        let mut loss = seen / (seen + answers);
        for _ in 0..STEPS {
            let all_tries = loss.min(MOST_LOSS).powi(TRIES as i32);
            let lost = seen + TRIES as f64 * found * all_tries / (1.0 - all_tries);
            loss = lost / (lost + answers);
        }
        loss
    }
}

/// How many of `absent` hosts are expected to live, when `present` were found and such a share missed.
pub fn expected(present: u64, absent: u64, missed: f64) -> f64 {
    let absent = absent as f64;
    if missed >= 1.0 {
        return if present == 0 { 0.0 } else { absent };
    }
    (present as f64 * missed / (1.0 - missed)).min(absent)
}

const STEPS: u32 = 100;
const MOST_LOSS: f64 = 0.99;

/// Asks known neighbours again while a pass lasts. Each of them is in one of the three lists.
#[derive(Clone, Debug)]
pub struct Checks {
    ready: VecDeque<u64>,
    pending: Vec<Check>,
    /// Those that did not answer: they may be gone, so the others come first.
    silent: VecDeque<u64>,
    next: Instant,
    pub evidence: Evidence,
}

#[derive(Clone, Copy, Debug)]
struct Check {
    host: u64,
    tries: usize,
    until: Instant,
    is_over: bool,
}

impl Checks {
    pub fn new(now: Instant) -> Self {
        let (ready, silent) = (VecDeque::new(), VecDeque::new());
        Self { ready, pending: Vec::new(), silent, next: now, evidence: Evidence::default() }
    }

    /// A neighbour was found; `tries` questions had been sent to it.
    pub fn found(&mut self, host: u64, tries: usize) {
        self.ready.push_back(host);
        self.evidence.found_at[tries.clamp(1, TRIES) - 1] += 1;
    }

    /// A neighbour that is known has answered.
    pub fn answered(&mut self, host: u64) {
        if let Some(at) = self.pending.iter().position(|check| check.host == host) {
            self.pending.swap_remove(at);
            self.ready.push_back(host);
            self.evidence.questions += 1;
            self.evidence.checked += 1;
        }
    }

    /// Who is to be asked now, if anybody.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        let Self { pending, evidence, silent, .. } = self;
        pending.retain_mut(|check| {
            if check.until <= now && !check.is_over {
                check.is_over = true;
                evidence.questions += 1;
                evidence.unanswered += 1;
            }
            let is_silent = check.is_over && check.tries == TRIES;
            if is_silent {
                evidence.checked += 1;
                evidence.silent += 1;
                silent.push_back(check.host);
            }
            !is_silent
        });
        if let Some(check) = self.pending.iter().find(|check| check.is_over) {
            return Some(check.host);
        }
        if now < self.next {
            return None;
        }
        if self.ready.is_empty() && self.pending.is_empty() {
            std::mem::swap(&mut self.ready, &mut self.silent);
        }
        self.ready.front().copied()
    }

    /// The one that is due has been asked.
    pub fn asked(&mut self, host: u64, now: Instant) {
        if let Some(check) = self.pending.iter_mut().find(|check| check.host == host) {
            let until = now + PATIENCE[check.tries.min(TRIES - 1)];
            *check = Check { host, tries: check.tries + 1, until, is_over: false };
            return;
        }
        if self.ready.front() == Some(&host) {
            self.ready.pop_front();
        }
        self.pending.push(Check { host, tries: 1, until: now + PATIENCE[0], is_over: false });
        self.next = now + EVERY;
    }

    /// The pass is over; another one would begin at `next`.
    pub fn end_pass(&mut self, next: Instant) -> Evidence {
        self.ready.extend(self.pending.drain(..).map(|check| check.host));
        self.next = next;
        std::mem::take(&mut self.evidence)
    }

    /// When somebody is due.
    pub fn wake(&self) -> Option<Instant> {
        let anew = !(self.ready.is_empty() && (self.silent.is_empty() || !self.pending.is_empty()));
        self.pending.iter().map(|check| check.until).chain(anew.then_some(self.next)).min()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    #[test]
    fn who_answered_late_tells_who_is_missing() {
        // 4,096 hosts, 36 % of the questions lost: 2621, 944, 340 answer at a try, 191 never.
        let evidence = Evidence { found_at: [2621, 944, 340], ..Evidence::default() };
        let missing = expected(3905, 191, evidence.missed());
        assert!((150.0..=191.0).contains(&missing), "{missing}");
        let unbounded = expected(3905, 100_000, evidence.missed());
        assert!((185.0..=197.0).contains(&unbounded), "{unbounded}");
        // A second pass of the same loss leaves a twentieth of them.
        let twice = expected(4087, 9, evidence.missed().powi(2));
        assert!((7.0..=9.0).contains(&twice), "{twice}");
        // Two of a hundred: three tries are enough.
        let little = Evidence { found_at: [980, 20, 0], ..Evidence::default() };
        assert!(expected(1000, 3000, little.missed()) < 0.1);
        assert_eq!(Evidence { found_at: [40, 0, 0], ..Evidence::default() }.missed(), 0.0);
    }

    #[test]
    fn an_outage_shows_in_those_who_are_known() {
        // Whoever answered did so at once; then nobody does, the known ones neither.
        let evidence = Evidence { found_at: [1827, 0, 0], questions: 150, unanswered: 120, checked: 70, silent: 40 };
        let missing = expected(1827, 2269, evidence.missed());
        assert!(missing > 1000.0, "{missing}");
        assert_eq!(expected(5, 7, 1.0), 7.0);
        assert_eq!(expected(0, 7, 1.0), 0.0);
    }

    #[test]
    fn known_neighbours_are_asked_three_times_and_then_others_first() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut checks = Checks::new(start);
        assert_eq!((checks.due(start), checks.wake()), (None, None));
        checks.found(1, 1);
        checks.found(2, 2);
        assert_eq!(checks.due(start), Some(1));
        checks.asked(1, start);
        assert_eq!(checks.due(at(49)), None);
        assert_eq!(checks.due(at(50)), Some(2));
        checks.asked(2, at(50));
        checks.answered(2);
        for ms in [300, 900] {
            assert_eq!(checks.due(at(ms)), Some(1));
            checks.asked(1, at(ms));
        }
        assert_eq!(checks.wake(), Some(at(100)), "the other one");
        assert_eq!(checks.due(at(2100)), Some(2), "the silent one waits");
        let evidence = checks.end_pass(at(3000));
        let told = Evidence { found_at: [1, 1, 0], questions: 4, unanswered: 3, checked: 2, silent: 1 };
        assert_eq!((evidence, checks.due(at(2999))), (told, None));
        assert_eq!(checks.due(at(3000)), Some(2));
    }
}
