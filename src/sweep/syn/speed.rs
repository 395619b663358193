//! How fast: the operator's limits, and what losses say about the network's. Pure.
//!
//! Starts as fast as it may. Probes of endpoints that are known to answer ("canaries") measure the loss while the sweep
//! runs. When it grows, a rate is tried that the share which came through would fill, half of the old one at most: if the
//! loss falls, the rate was its cause, and recovers slowly from there, or, while too much is still lost, is tried lower
//! yet; if not, the loss has another cause, which no slowness mends, and the old rate comes back. What the own kernel
//! drops needs no trial. Silence alone slows nothing down: where hardly anything answers, that is how it is.

use std::time::{Duration, Instant};

use super::sample::{CHANCE, Relief, SOME, Sample};
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
    /// The last rate that was too much; the limit, while none was.
    too_much: f64,
    changed: Instant,
    /// When the last canary left whose outcome is known.
    last_canary: Instant,
    window: Window,
    /// Probes per second of the last full window: an unlimited rate means no number.
    achieved: f64,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    rate_before: f64,
    /// What really left, where the rate before was no limit.
    achieved_before: f64,
    before: Sample,
    /// A second one, far lower, after one without effect.
    is_last: bool,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    started: Instant,
    sent: u64,
    canaries: Sample,
}

/// A round as the rate sees it.
#[derive(Clone, Copy, Debug)]
pub struct RoundSpeed {
    pub sent: u64,
    /// From the first probe to the last.
    pub elapsed: Duration,
}

/// A stand-in for no limit.
const UNLIMITED: f64 = 1e9;
/// Never slower than this: a sweep that stands still finds nothing at all.
const LEAST: f64 = 100.0;
const WINDOW: Duration = Duration::from_millis(100);
/// A trial without any outcome ends after this.
const WITHOUT_CANARIES: Duration = Duration::from_secs(2);
/// Outcomes that a judgement takes at least; at the end of a round half of them, and to recover a quarter.
const ENOUGH: u32 = 2 * SOME;
/// Loss above the known one that starts a trial.
const SUSPICIOUS: f64 = 0.08;
/// The smallest fraction of a rate that is tried.
const LEAST_FRACTION: f64 = 0.02;
/// No slower is tried where less slowness made no difference.
const FAR_TOO_MUCH: f64 = 1000.0;
/// Recovery: slow below a rate that was too much, fast far below it.
const SLOWLY: f64 = 1.1;
const FAST: f64 = 2.0;
const FAR_BELOW: f64 = 4.0;

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
            too_much: limit,
            changed: now,
            last_canary: now,
            window: Window { started: now, sent: 0, canaries: Sample::default() },
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
        self.last_canary = self.last_canary.max(sent);
        // What left before the rate changed tells about the rate before.
        if sent >= self.changed {
            self.window.canaries.add(lost);
        }
    }

    /// The own machine lost something: answers it did not fetch in time, frames it could not send.
    pub fn own_loss(&mut self, now: Instant) {
        if now.saturating_duration_since(self.changed) >= WINDOW / 2 {
            self.too_much = self.really();
            self.slow_down(0.7, now);
        }
    }

    /// Nothing leaves until then.
    pub fn paused(&mut self, until: Instant) {
        self.window.started = until;
        self.last_canary = until;
    }

    /// Whether a rate is being tried: what is lost meanwhile may be its doing.
    pub const fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether it is slower than the operator lets it be: canaries are to tell soon whether that is needed.
    pub fn is_slow(&self) -> bool {
        self.rate < self.limit
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
        let waited = now.saturating_duration_since(self.changed.max(self.last_canary));
        if let Some(trial) = self.trial.filter(|_| waited >= WITHOUT_CANARIES) {
            // Nothing answers any more, at whatever rate: nothing can be learned from it.
            self.trial = None;
            self.set(trial.rate_before, now);
            return;
        }
        if self.trial.is_none() && self.is_slow() && waited >= WITHOUT_CANARIES {
            // Nor does anything say that it need be so slow.
            self.set((self.rate * FAST).min(self.limit), now);
            return;
        }
        self.judge_if(ENOUGH, now);
    }

    /// A round is over, and all its canaries have been told of: rounds may be shorter than windows.
    pub fn round_over(&mut self, round: &RoundSpeed, now: Instant) {
        if round.sent > 0 && round.elapsed > Duration::ZERO && round.elapsed < WINDOW {
            self.achieved = round.sent as f64 / round.elapsed.as_secs_f64();
        }
        self.judge_if(SOME, now);
    }

    /// Judges what the window holds, if there is so much of it, or if less says enough.
    fn judge_if(&mut self, enough: u32, now: Instant) {
        let sample = self.window.canaries;
        let is_plain = match &self.trial {
            Some(trial) => sample.relief_from(trial.before) == Relief::Plain,
            None => sample.is_mostly_lost() || self.is_far_below() && sample.asked >= SOME / 2 && sample.lost == 0,
        };
        if sample.asked >= enough || is_plain {
            self.window.canaries = Sample::default();
            self.judge(sample, now);
        }
    }

    fn judge(&mut self, sample: Sample, now: Instant) {
        let (mut rate_before, mut achieved_before) = (self.rate, self.really());
        if let Some(trial) = self.trial.take() {
            match sample.relief_from(trial.before) {
                Relief::None if self.may_be_far_too_much(sample, &trial) => {
                    self.slow_down(LEAST_FRACTION.max(FAR_TOO_MUCH / self.really()), now);
                    self.trial = Some(Trial { before: sample, is_last: true, ..trial });
                    return;
                }
                Relief::None => {
                    // Both measured the same.
                    self.baseline = f64::midpoint(sample.loss(), trial.before.loss());
                    self.set(trial.rate_before, now);
                    return;
                }
                Relief::Perhaps => (rate_before, achieved_before) = (trial.rate_before, trial.achieved_before),
                Relief::Plain => {
                    self.too_much = trial.rate_before.min(trial.achieved_before);
                    if sample.ends_well() {
                        // Partly of an outage that is over, it may be: the next sample tells whether too much is lost yet.
                        return;
                    }
                }
            }
            if !self.is_suspicious(sample) {
                return;
            }
        } else if !self.is_suspicious(sample) {
            self.recover(sample, now);
            return;
        }
        if self.really() <= LEAST {
            return;
        }
        let trial = Trial { rate_before, achieved_before, before: sample, is_last: false };
        // What came through is what the way takes.
        self.slow_down(sample.passed().clamp(LEAST_FRACTION, 0.5), now);
        self.trial = Some(trial);
    }

    /// Whether little comes through a rate that a way may well be unable to take a tenth of.
    fn may_be_far_too_much(&self, sample: Sample, trial: &Trial) -> bool {
        !trial.is_last && sample.passed() < 0.25 && self.really() > 10.0 * FAR_TOO_MUCH
    }

    fn is_suspicious(&self, sample: Sample) -> bool {
        let is_more = sample.loss() > self.baseline + SUSPICIOUS.max(CHANCE * sample.spread(self.baseline));
        is_more && (sample.asked >= SOME || sample.is_mostly_lost())
    }

    /// No more was lost than usual.
    fn recover(&mut self, sample: Sample, now: Instant) {
        let loss = sample.loss();
        let is_over = loss < self.baseline - 2.0 * CHANCE * sample.spread(self.baseline);
        self.baseline = if is_over { loss } else { self.baseline * 0.9 + loss.min(self.baseline) * 0.1 };
        if self.rate >= self.limit {
            return;
        }
        if self.rate > self.too_much * SLOWLY {
            // It is not any more.
            self.too_much = self.limit;
        }
        let step = if self.is_far_below() { FAST } else { SLOWLY };
        self.set((self.rate * step).min(self.limit), now);
    }

    fn is_far_below(&self) -> bool {
        self.rate * FAR_BELOW < self.too_much
    }

    /// What leaves in a second.
    fn really(&self) -> f64 {
        if self.achieved > 0.0 { self.rate.min(self.achieved) } else { self.rate }
    }

    fn slow_down(&mut self, factor: f64, now: Instant) {
        self.set((self.really() * factor).max(LEAST.min(self.limit)), now);
    }

    fn set(&mut self, rate: f64, now: Instant) {
        self.rate = rate;
        self.pace.set_rate(rate);
        self.changed = now;
        self.window.canaries = Sample::default();
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
    fn a_network_that_takes_a_fiftieth_is_found_out_at_once() {
        let start = Instant::now();
        let mut speed = Speed::new(None, start);
        let chokes = |takes: f64| move |rate: f64| (1.0 - takes / rate.max(1.0)).max(0.0);
        let rate = run(&mut speed, start, 0..1_000, chokes(20_000.0));
        assert!((5_000.0..40_000.0).contains(&rate), "{rate}");
        // So is one that takes no more than a thousandth.
        let mut speed = Speed::new(None, start);
        let rate = run(&mut speed, start, 0..1_000, chokes(1_000.0));
        assert!((100.0..4_000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn loss_of_another_cause_does_not_slow_it_down() {
        for loss in [0.36, 0.6, 0.95] {
            let start = Instant::now();
            let mut speed = Speed::new(None, start);
            run(&mut speed, start, 0..5_000, |_| loss);
            let mut slow = 0;
            for step in 0..50 {
                let from = 5_000 + step * 100;
                slow += u32::from(run(&mut speed, start, from..from + 100, |_| loss) < 500_000.0);
            }
            assert!(slow < 20, "slow in {slow} of 50 windows at a loss of {loss}");
        }
    }

    #[test]
    fn after_an_outage_it_is_soon_as_fast_as_before() {
        let start = Instant::now();
        let mut speed = Speed::new(None, start);
        run(&mut speed, start, 0..1_000, |_| 0.0);
        run(&mut speed, start, 1_000..3_000, |_| 1.0);
        let rate = run(&mut speed, start, 3_000..6_000, |_| 0.0);
        assert!(rate > 800_000.0, "{rate}");
        // And what chokes it from then on is noticed.
        let rate = run(&mut speed, start, 6_000..9_000, |rate| (1.0 - 200_000.0 / rate.max(1.0)).max(0.0));
        assert!((50_000.0..350_000.0).contains(&rate), "{rate}");
    }

    /// A short round at the full rate of a million: returns the rate after it.
    fn short_round(speed: &mut Speed, at: Instant, asked: u32, lost: u32) -> f64 {
        for number in 0..asked {
            speed.outcome(at, number < lost);
        }
        let round = RoundSpeed { sent: 5_000, elapsed: Duration::from_millis(5) };
        speed.round_over(&round, at + Duration::from_millis(70));
        speed.rate
    }

    #[test]
    fn a_few_canaries_that_are_all_lost_say_enough() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut speed = Speed::new(None, start);
        assert_eq!(short_round(&mut speed, at(0), 4, 4), UNLIMITED, "four of four are chance");
        let mut speed = Speed::new(None, start);
        assert!(short_round(&mut speed, at(0), 5, 5) < 100_000.0);
        // More comes through, though not plainly so: lower yet, instead of back.
        let rate = short_round(&mut speed, at(100), 23, 19);
        assert!(rate < 50_000.0, "{speed:?}");
        // Nothing was lost: this is what the way takes.
        assert_eq!(short_round(&mut speed, at(200), 30, 0), rate);
    }

    #[test]
    fn silence_without_canaries_slows_nothing_down() {
        let start = Instant::now();
        let mut speed = Speed::new(None, start);
        assert_eq!(short_round(&mut speed, start, 0, 0), UNLIMITED);
        assert_eq!(speed.take(1000, start + Duration::from_secs(1)), 1000);
        assert_eq!(speed.rate, UNLIMITED);
    }

    #[test]
    fn a_trial_that_nothing_answers_ends() {
        let start = Instant::now();
        let mut speed = Speed::new(Some(500_000), start);
        run(&mut speed, start, 0..1_000, |_| 0.0);
        let dark = (1_000..2_000).find(|&step| {
            run(&mut speed, start, step..step + 1, |_| 1.0);
            speed.trial.is_some()
        });
        let dark = dark.expect("a trial begins");
        assert!(speed.rate < 300_000.0, "{}", speed.rate);
        for step in dark..dark + 5_000 {
            speed.take(1000, start + Duration::from_millis(step));
        }
        assert!(speed.rate >= 400_000.0, "{}", speed.rate);
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
