//! What canaries at one rate say about the loss, and about another rate's. Pure.

use crate::sweep::proportion;

/// Canaries that were asked at one rate, and those of them that were lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub asked: u32,
    pub lost: u32,
    /// Answered in a row, the latest ones.
    pub streak: u32,
}

impl Sample {
    pub fn add(&mut self, is_lost: bool) {
        self.asked += 1;
        self.lost += u32::from(is_lost);
        self.streak = if is_lost { 0 } else { self.streak + 1 };
    }

    /// Whether what lost the others seems to be over: an outage ends from one canary to the next, and all that were answered
    /// come after it.
    pub const fn ends_well(self) -> bool {
        self.streak > 0 && self.streak == self.asked - self.lost
    }

    pub fn loss(self) -> f64 {
        f64::from(self.lost) / f64::from(self.asked.max(1))
    }

    /// The share that came through, as if half of one more had: none of ten is no proof of none.
    pub fn passed(self) -> f64 {
        proportion::smoothed(self.asked - self.lost, self.asked)
    }

    /// How far a sample of this size strays from a loss.
    pub fn spread(self, loss: f64) -> f64 {
        (loss * (1.0 - loss) / f64::from(self.asked.max(1))).sqrt()
    }

    /// Whether the lower bound of the loss is more than a half: then a few canaries say enough.
    pub fn is_mostly_lost(self) -> bool {
        proportion::bounds(self.lost, self.asked, CHANCE).0 > 0.5
    }

    /// Whether at a fraction of the rate so much less is lost that the rate must have been the cause: half the rate would
    /// double the share that comes through, or end the loss.
    pub fn relief_from(self, before: Self) -> Relief {
        if self.asked < FEW {
            return Relief::None;
        }
        let (loss, loss_before) = (self.loss(), before.loss());
        let is_less = loss <= loss_before * 0.6 || 1.0 - loss >= 1.4 * (1.0 - loss_before);
        let likely = 1.0 - before.passed();
        if is_less && loss_before - loss > CHANCE * self.spread(likely).hypot(before.spread(likely)) {
            Relief::Plain
        } else if before.asked < SOME && self.passed() >= 1.4 * before.passed() {
            Relief::Perhaps
        } else {
            Relief::None
        }
    }
}

/// What a lower rate did to the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    Plain,
    /// More comes through, but of too few before to be no chance.
    Perhaps,
    None,
}

/// Standard deviations that are no chance.
pub const CHANCE: f64 = 2.0;
/// Canaries that measure a loss.
pub const SOME: u32 = 20;
/// Less than this says nothing at all.
const FEW: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(asked: u32, lost: u32) -> Sample {
        Sample { asked, lost, streak: 0 }
    }

    #[test]
    fn a_few_that_are_all_lost_are_no_chance() {
        assert!(!sample(0, 0).is_mostly_lost() && !sample(4, 4).is_mostly_lost());
        assert!(sample(5, 5).is_mostly_lost() && sample(100, 65).is_mostly_lost());
        assert!(!sample(100, 55).is_mostly_lost() && !sample(20, 13).is_mostly_lost());
    }

    #[test]
    fn relief_is_told_from_chance() {
        assert_eq!(sample(40, 1).relief_from(sample(40, 12)), Relief::Plain);
        assert_eq!(sample(40, 8).relief_from(sample(40, 12)), Relief::None);
        assert_eq!(sample(40, 36).relief_from(sample(40, 40)), Relief::Plain);
        assert_eq!(sample(40, 39).relief_from(sample(40, 40)), Relief::None);
        assert_eq!(sample(23, 19).relief_from(sample(5, 5)), Relief::Perhaps, "five are too few to say");
        assert_eq!(sample(23, 23).relief_from(sample(5, 5)), Relief::None);
        assert_eq!(sample(0, 0).relief_from(sample(40, 40)), Relief::None, "nothing was asked");
    }
}
