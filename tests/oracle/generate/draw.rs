//! Seeded choices, and the account of what was chosen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// A small generator of pseudo-random numbers (SplitMix64), with what has been made of them. Shared, so that one choice
/// can stand inside another.
#[derive(Debug)]
pub struct Draw {
    state: Cell<u64>,
    features: RefCell<BTreeSet<&'static str>>,
    names: Cell<u32>,
}

impl Draw {
    pub const fn new(seed: u64) -> Self {
        Self {
            state: Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635),
            features: RefCell::new(BTreeSet::new()),
            names: Cell::new(0),
        }
    }

    fn next(&self) -> u64 {
        self.state.set(self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.state.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// One of them by their weights.
    pub fn weighted<T: Copy>(&self, of: &[(usize, T)]) -> T {
        let total = of.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(total);
        for (weight, value) in of {
            if at < *weight {
                return *value;
            }
            at -= weight;
        }
        unreachable!("the weights add up")
    }

    /// Different ones, in the order of the list.
    pub fn some<T: Copy>(&self, of: &[T], count: usize) -> Vec<T> {
        let mut left = count.min(of.len());
        let mut taken = Vec::new();
        for (index, value) in of.iter().enumerate() {
            if self.below(of.len() - index) < left {
                taken.push(*value);
                left -= 1;
            }
        }
        taken
    }

    /// Notes a feature and gives the text back.
    pub fn with(&self, feature: &'static str, text: impl Into<String>) -> String {
        self.note(feature);
        text.into()
    }

    pub fn note(&self, feature: &'static str) {
        self.features.borrow_mut().insert(feature);
    }

    /// Features that the rules have.
    pub fn features(&self) -> BTreeSet<&'static str> {
        self.features.borrow().clone()
    }

    /// A name that was not used before.
    pub fn name(&self, prefix: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{prefix}{}", self.names.get())
    }
}

#[test]
fn the_same_seed_draws_the_same() {
    let draw = |seed| {
        let draw = Draw::new(seed);
        (0..50).map(|_| draw.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let draw = Draw::new(1);
    for _ in 0..100 {
        let some = draw.some(&[1, 2, 3, 4], 2);
        assert_eq!(some.len(), 2);
        assert!(some[0] < some[1]);
    }
}
