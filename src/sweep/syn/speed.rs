//! How fast: the operator's limits, and what losses say about the network's. Pure.
//!
//! Starts as fast as it may. Probes of endpoints that are known to answer ("canaries") measure the loss while the sweep
//! runs. When it grows, the rate is halved on trial: if the loss falls, the rate was its cause, and recovers slowly from
//! there; if not, the loss has another cause, which no slowness mends, and the old rate comes back. What the own kernel
//! drops needs no trial.

use std::time::{Duration, Instant};

use crate::sweep::pace::Pace;

/// The rate of a sweep.
#[derive(Clone, Debug)]
pub struct Speed {
    limit: f64,
    rate: f64,
    pace: Pace,
    /// Loss that does not depend on the rate.
    baseline: f64,
    trial: Option<Trial>,
    changed: Instant,
    window: Window,
    /// Probes per second of the last full window: an unlimited rate means no number.
    achieved: f64,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    rate_before: f64,
    loss_before: f64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    started: Instant,
    sent: u64,
    asked: u32,
    lost: u32,
}

/// Canaries that were asked at one rate, and those of them that were lost.
#[derive(Clone, Copy, Debug)]
struct Sample {
    asked: u32,
    lost: u32,
}

impl Sample {
    fn loss(self) -> f64 {
        f64::from(self.lost) / f64::from(self.asked.max(1))
    }

    /// How far a sample of this size strays from a loss.
    fn spread(self, loss: f64) -> f64 {
        (loss * (1.0 - loss) / f64::from(self.asked.max(1))).sqrt()
    }

    /// Whether at a fraction of the rate so much less is lost that the rate must have been the cause: half the rate would
    /// double the share that comes through, or end the loss.
    fn is_relief_from(self, before: f64) -> bool {
        let loss = self.loss();
        let is_less = loss <= before * 0.6 || 1.0 - loss >= 1.4 * (1.0 - before);
        is_less && before - loss > CHANCE * self.spread(before)
    }
}

/// Standard deviations that are no chance.
const CHANCE: f64 = 2.0;

/// A round as the rate sees it.
#[derive(Clone, Copy, Debug)]
pub struct RoundSpeed {
    pub sent: u64,
    /// From the first probe to the last.
    pub elapsed: Duration,
    /// Canaries, and those of them that were lost.
    pub asked: u32,
    pub lost: u32,
}

/// A stand-in for no limit.
const UNLIMITED: f64 = 1e9;
/// Never slower than this: a sweep that stands still finds nothing at all.
const LEAST: f64 = 100.0;
const WINDOW: Duration = Duration::from_millis(100);
/// Outcomes that a judgement takes at least.
const ENOUGH: u32 = 40;
/// Loss above the known one that starts a trial.
const SUSPICIOUS: f64 = 0.08;

impl Speed {
    /// `limit` in probes per second.
    pub fn new(limit: Option<u64>, now: Instant) -> Self {
        let limit = limit.map_or(UNLIMITED, |limit| limit as f64);
        Self {
            limit,
            rate: limit,
            pace: Pace::new(limit, now),
            baseline: 0.0,
            trial: None,
            changed: now,
            window: Window { started: now, sent: 0, asked: 0, lost: 0 },
            achieved: 0.0,
        }
    }

    /// How many probes may leave now, at most `wanted`; they count as sent.
    pub fn take(&mut self, wanted: usize, now: Instant) -> usize {
        self.turn(now);
        let granted = self.pace.take(wanted, now);
        self.window.sent += granted as u64;
        granted
    }

    /// Gives back what was taken and not sent.
    pub fn give_back(&mut self, unused: usize) {
        self.pace.give_back(unused);
        self.window.sent = self.window.sent.saturating_sub(unused as u64);
    }

    /// How long until the next probe may leave.
    pub fn wait(&self) -> Duration {
        self.pace.wait()
    }

    /// A canary that was sent at `sent` was answered, or is lost.
    pub fn outcome(&mut self, sent: Instant, lost: bool) {
        // What left before the rate changed tells about the rate before.
        if sent >= self.changed {
            self.window.asked += 1;
            self.window.lost += u32::from(lost);
        }
    }

    /// The own machine lost something: answers it did not fetch in time, frames it could not send.
    pub fn own_loss(&mut self, now: Instant) {
        if now.saturating_duration_since(self.changed) >= WINDOW / 2 {
            self.slow_down(0.7, now);
        }
    }

    /// Judges a window that is over.
    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window.started);
        if elapsed < WINDOW {
            return;
        }
        if self.window.sent > 0 {
            self.achieved = self.window.sent as f64 / elapsed.as_secs_f64();
            self.window.sent = 0;
        }
        self.window.started = now;
        if self.window.asked < ENOUGH {
            return;
        }
        let sample = Sample { asked: self.window.asked, lost: self.window.lost };
        (self.window.asked, self.window.lost) = (0, 0);
        self.judge(sample, 0.5, now);
    }

    /// A round is over, in which so many of the canaries that were asked were lost: rounds may be shorter than windows.
    pub fn round_over(&mut self, round: &RoundSpeed, now: Instant) {
        if round.sent > 0 && round.elapsed > Duration::ZERO {
            self.achieved = round.sent as f64 / round.elapsed.as_secs_f64();
        }
        if round.elapsed < WINDOW && round.asked >= ENOUGH / 2 {
            let sample = Sample { asked: round.asked, lost: round.lost };
            // What came through is what the way takes.
            self.judge(sample, (1.0 - sample.loss()).clamp(0.02, 0.5), now);
        }
    }

    fn judge(&mut self, sample: Sample, factor: f64, now: Instant) {
        let loss = sample.loss();
        match self.trial.take() {
            Some(trial) if !sample.is_relief_from(trial.loss_before) => {
                // Both measured the same.
                self.baseline = f64::midpoint(loss, trial.loss_before);
                self.set(trial.rate_before, now);
            }
            Some(_) => {}
            None if loss > self.baseline + SUSPICIOUS.max(CHANCE * sample.spread(self.baseline)) => {
                let rate_before = self.rate;
                self.slow_down(factor, now);
                self.trial = Some(Trial { rate_before, loss_before: loss });
            }
            None => {
                self.baseline = self.baseline * 0.9 + loss.min(self.baseline) * 0.1;
                if self.rate < self.limit {
                    self.set((self.rate * 1.1).min(self.limit), now);
                }
            }
        }
    }

    fn slow_down(&mut self, factor: f64, now: Instant) {
        let from = if self.achieved > 0.0 { self.rate.min(self.achieved) } else { self.rate };
        self.set((from * factor).max(LEAST.min(self.limit)), now);
    }

    fn set(&mut self, rate: f64, now: Instant) {
        self.rate = rate;
        self.pace.set_rate(rate);
        self.changed = now;
        (self.window.asked, self.window.lost) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    /// Runs for `seconds` against a network that loses `loss(rate)`, with a canary for every hundred probes or
    /// milliseconds; returns the rate at the end.
    fn run(speed: &mut Speed, start: Instant, milliseconds: std::ops::Range<u64>, loss: impl Fn(f64) -> f64) -> f64 {
        let mut dice = super::super::number::Dice::new(7);
        for step in milliseconds {
            let now = start + Duration::from_millis(step);
            // The driver takes a thousand a millisecond at most.
            let granted = speed.take(1000, now);
            let lost = (dice.below(1000) as f64) < 1000.0 * loss(granted as f64 * 1000.0);
            speed.outcome(now, lost);
        }
        speed.rate
    }

    #[test]
    fn a_network_that_chokes_is_given_what_it_takes() {
        let start = Instant::now();
        let mut speed = Speed::new(None, start);
        let takes = 200_000.0;
        let rate = run(&mut speed, start, 0..10_000, |rate| (1.0 - takes / rate.max(1.0)).max(0.0));
        assert!((100_000.0..350_000.0).contains(&rate), "{rate}");
        // It recovers once the network takes more.
        let rate = run(&mut speed, start, 10_000..30_000, |_| 0.0);
        assert!(rate > 800_000.0, "{rate}");
    }

    #[test]
    fn loss_of_another_cause_does_not_slow_it_down() {
        let start = Instant::now();
        let mut speed = Speed::new(None, start);
        run(&mut speed, start, 0..5_000, |_| 0.36);
        let mut slow = 0;
        for step in 0..50 {
            let from = 5_000 + step * 100;
            slow += u32::from(run(&mut speed, start, from..from + 100, |_| 0.36) < 500_000.0);
        }
        assert!(slow < 20, "slow in {slow} of 50 windows");
    }

    #[test]
    fn the_limit_holds_and_own_losses_count_at_once() {
        let start = Instant::now();
        let mut speed = Speed::new(Some(10_000), start);
        assert!(run(&mut speed, start, 0..1_000, |_| 0.0) <= 10_000.0);
        let now = start + Duration::from_secs(2);
        speed.own_loss(now);
        assert!(speed.rate < 8_000.0, "{speed:?}");
        speed.own_loss(now + Duration::from_millis(1));
        assert!(speed.rate > 5_000.0, "once for one moment: {speed:?}");
    }
}
