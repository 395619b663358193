//! When which position of an order was sent: the send time of any recent probe without a note for each. Pure.

use std::collections::VecDeque;
use std::time::Instant;

/// Send times of the recent positions of one order, a note for each batch.
#[derive(Clone, Debug, Default)]
pub struct SentLog {
    notes: VecDeque<(u64, Instant)>,
}

/// Batches that are remembered: at least a second of the fastest sending.
const KEPT: usize = 8192;

impl SentLog {
    /// Positions from `first` on are sent at `now`. Positions only grow.
    pub fn note(&mut self, first: u64, now: Instant) {
        if self.notes.len() == KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back((first, now));
    }

    /// When `position` was sent; `None` when that is too long ago.
    pub fn time_of(&self, position: u64) -> Option<Instant> {
        let after = self.notes.partition_point(|(first, _)| *first <= position);
        after.checked_sub(1).map(|at| self.notes[at].1)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_position_has_the_time_of_its_batch() {
        let start = Instant::now();
        let at = |number: u64| start + Duration::from_millis(number);
        let mut log = SentLog::default();
        for batch in 0..10_000 {
            log.note(batch * 100, at(batch));
        }
        assert_eq!(log.time_of(999_950), Some(at(9_999)));
        assert_eq!(log.time_of(500_099), Some(at(5_000)));
        assert_eq!(log.time_of(500_100), Some(at(5_001)));
        assert_eq!(log.time_of(100), None, "forgotten");
    }
}
