//! A token bucket: how many probes may leave now. Pure.

use std::time::{Duration, Instant};

/// Lets `rate` probes a second pass, in bursts of at most a fiftieth of a second's worth.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl Pace {
    /// `rate` in probes per second; at least a thousandth.
    pub fn new(rate: f64, now: Instant) -> Self {
        let rate = rate.max(0.001);
        let burst = burst_of(rate);
        Self { rate, burst, tokens: burst, last: now }
    }

    /// Changes the rate from the last take on.
    pub fn set_rate(&mut self, rate: f64) {
        self.rate = rate.max(0.001);
        self.burst = burst_of(self.rate);
        self.tokens = self.tokens.min(self.burst);
    }

    /// How many probes may leave at `now`, at most `wanted`; they count as sent.
    pub fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
        // Tokens are between 0 and the burst, which fits.
        let granted = (self.tokens as usize).min(wanted);
        self.tokens -= granted as f64;
        granted
    }

    /// Gives back what was taken and not sent.
    pub fn give_back(&mut self, unused: usize) {
        self.tokens = (self.tokens + unused as f64).min(self.burst);
    }

    /// How long until the next probe may leave.
    pub fn wait(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.rate).clamp(0.0, 1.0))
    }
}

fn burst_of(rate: f64) -> f64 {
    (rate / 50.0).max(1.0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    #[test]
    fn keeps_to_the_rate_over_time() {
        let start = Instant::now();
        let mut pace = Pace::new(1000.0, start);
        let sent: usize = (0..2000).map(|ms| pace.take(100, start + Duration::from_millis(ms))).sum();
        assert!((1990..=2030).contains(&sent), "{sent} in two seconds at 1000/s");
    }

    #[test]
    fn a_pause_is_not_made_up_by_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(1000.0, start);
        assert!(pace.take(10_000, start + Duration::from_secs(60)) <= 20);
        assert!(pace.wait() <= Duration::from_millis(2));
    }

    #[test]
    fn slow_rates_send_at_least_one() {
        let start = Instant::now();
        let mut pace = Pace::new(0.5, start);
        assert_eq!(pace.take(5, start), 1);
        assert_eq!(pace.take(5, start + Duration::from_secs(1)), 0);
        assert_eq!(pace.take(5, start + Duration::from_secs(2)), 1);
    }
}
