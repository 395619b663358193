//! How long answers take, and so how long silence is waited for. Pure.

use std::time::Duration;

/// Round-trip times of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    largest: Duration,
    samples: u64,
    /// Samples by the power of two of their microseconds.
    buckets: [u64; BUCKETS],
}

const BUCKETS: usize = 32;

/// While nothing is known: as long as an answer over satellite takes.
const UNKNOWN: Duration = Duration::from_millis(1200);
/// Hosts under load answer late, and what we read waits in a ring.
const SLACK: Duration = Duration::from_millis(60);
/// Nobody is waited for longer; what comes later counts all the same while the sweep lasts.
const LONGEST: Duration = Duration::from_secs(6);
/// A SYN-ACK that was lost is sent again after a second (RFC 6298 section 2): nearly as late, and far later than the
/// others, is no round-trip time.
const SENT_AGAIN: Duration = Duration::from_millis(900);
const FAR_LATER: u32 = 8;

impl Default for Timing {
    fn default() -> Self {
        Self { largest: Duration::ZERO, samples: 0, buckets: [0; BUCKETS] }
    }
}

impl Timing {
    pub fn sample(&mut self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1);
        self.buckets[(micros.ilog2() as usize).min(BUCKETS - 1)] += 1;
        self.samples += 1;
        if rtt < SENT_AGAIN || rtt < self.median() * FAR_LATER {
            self.largest = self.largest.max(rtt);
        }
    }

    /// The upper end of the bucket that holds the middle sample.
    fn median(&self) -> Duration {
        let mut below = 0;
        for (power, count) in self.buckets.iter().enumerate() {
            below += count;
            if below * 2 >= self.samples {
                return Duration::from_micros(2 << power);
            }
        }
        Duration::MAX
    }

    /// A new round: what was slow long ago need not be any more.
    pub fn begin_round(&mut self) {
        self.largest = self.largest.mul_f64(0.7);
    }

    /// After the last probe, how long answers may still come.
    pub fn settle(&self) -> Duration {
        if self.samples == 0 { UNKNOWN } else { (self.largest.mul_f64(1.5) + SLACK).min(LONGEST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_by_the_slowest_answer() {
        let mut timing = Timing::default();
        assert_eq!(timing.settle(), UNKNOWN);
        timing.sample(Duration::from_micros(200));
        assert!(timing.settle() < Duration::from_millis(70));
        for seconds in [2, 2, 2, 10] {
            timing.sample(Duration::from_secs(seconds));
        }
        assert_eq!(timing.settle(), LONGEST);
        for _ in 0..40 {
            timing.begin_round();
        }
        assert!(timing.settle() < Duration::from_millis(70));
    }

    #[test]
    fn what_was_sent_again_is_no_round_trip() {
        let mut timing = Timing::default();
        for _ in 0..10 {
            timing.sample(Duration::from_millis(1));
            timing.sample(Duration::from_millis(3));
            timing.sample(Duration::from_millis(1003));
        }
        assert!(timing.settle() < Duration::from_millis(70));
    }
}
