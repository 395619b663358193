//! How long an answer may take: RFC 6298 smoothing per host, with a floor. Pure.

use std::time::Duration;

/// Smoothed round-trip time of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rtt {
    /// Microseconds; 0 before the first sample.
    smoothed: u32,
    variation: u32,
}

/// While nothing is known of a host: the kernel repeats a SYN after one second, so that this waits for the answer to the
/// second one, too.
pub const UNKNOWN_TIMEOUT: Duration = Duration::from_millis(1200);

/// Below this no timeout goes: hosts under load answer late. Whatever stays silent is asked again anyway.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);

impl Rtt {
    /// RFC 6298 section 2: the first sample sets the variation to half of itself, later ones weigh 1/8 and 1/4.
    pub fn sample(&mut self, rtt: Duration) {
        let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).max(1);
        if self.smoothed == 0 {
            self.smoothed = rtt;
            self.variation = rtt / 2;
        } else {
            let difference = self.smoothed.abs_diff(rtt);
            self.variation = self.variation - self.variation / 4 + difference / 4;
            self.smoothed = self.smoothed - self.smoothed / 8 + rtt / 8;
        }
    }

    pub const fn is_known(&self) -> bool {
        self.smoothed > 0
    }

    /// How long to wait for an answer from this host.
    pub fn timeout(&self) -> Duration {
        if !self.is_known() {
            return UNKNOWN_TIMEOUT;
        }
        let micros = u64::from(self.smoothed) + 4 * u64::from(self.variation);
        Duration::from_micros(micros).clamp(MIN_TIMEOUT, UNKNOWN_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_a_second_only_when_known() {
        let mut rtt = Rtt::default();
        assert!(rtt.timeout() > Duration::from_secs(1));
        rtt.sample(Duration::from_micros(300));
        assert_eq!(rtt.timeout(), MIN_TIMEOUT);
    }

    #[test]
    fn a_slow_host_gets_time() {
        let mut rtt = Rtt::default();
        for _ in 0..20 {
            rtt.sample(Duration::from_millis(400));
        }
        assert!(rtt.timeout() >= Duration::from_millis(400), "{:?}", rtt.timeout());
        assert!(rtt.timeout() < Duration::from_millis(600), "{:?}", rtt.timeout());
    }

    proptest::proptest! {
        #[test]
        fn stays_between_the_bounds(samples in proptest::collection::vec(0_u64..10_000_000, 1..50)) {
            let mut rtt = Rtt::default();
            for micros in samples {
                rtt.sample(Duration::from_micros(micros));
                proptest::prop_assert!((MIN_TIMEOUT..=UNKNOWN_TIMEOUT).contains(&rtt.timeout()));
            }
        }
    }
}
