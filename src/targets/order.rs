//! A seeded permutation of `0..len` that is computed, not stored. Pure.
//!
//! A Feistel network permutes the numbers of just enough bits, whatever its round function is. Results outside
//! `0..len` are fed in again ("cycle walking"), which ends, because a permutation's cycle that starts inside comes back
//! inside; it takes less than two turns on average, because less than half of the numbers lie outside.

/// A permutation of `0..len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    len: u64,
    /// Width of the left half in bits; the right half has as many or one more.
    left_bits: u32,
    right_bits: u32,
    keys: [u64; ROUNDS],
}

impl Order {
    pub fn new(len: u64, seed: u64) -> Self {
        // The smallest width whose numbers include len - 1, at least one bit for each half.
        let bits = (u64::BITS - len.saturating_sub(1).leading_zeros()).max(2);
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(GOLDEN);
            mix(state)
        });
        Self { len, left_bits: bits / 2, right_bits: bits - bits / 2, keys }
    }

    pub const fn len(&self) -> u64 {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number at `position`: each number below `len` comes at exactly one position below `len`.
    ///
    /// # Panics
    /// When `position` is not below `len`: its cycle may lie wholly outside and walking it would never end.
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} is outside an order of {}", self.len);
        let mut value = position;
        loop {
            value = self.permute(value);
            if value < self.len {
                return value;
            }
        }
    }

    /// The position at which `value` comes: the inverse of [`at`](Self::at).
    ///
    /// # Panics
    /// When `value` is not below `len`.
    pub fn position(&self, value: u64) -> u64 {
        assert!(value < self.len, "{value} is outside an order of {}", self.len);
        let mut position = value;
        loop {
            position = self.undo(position);
            if position < self.len {
                return position;
            }
        }
    }

    /// Permutes the numbers of `left_bits + right_bits` bits: each round replaces one half by itself XOR a function of
    /// the other, which can be undone.
    fn permute(&self, value: u64) -> u64 {
        let (left_mask, right_mask) = (mask(self.left_bits), mask(self.right_bits));
        let mut left = value >> self.right_bits;
        let mut right = value & right_mask;
        for pair in self.keys.chunks_exact(2) {
            left ^= scramble(right, pair[0]) & left_mask;
            right ^= scramble(left, pair[1]) & right_mask;
        }
        (left << self.right_bits) | right
    }

    /// Undoes [`permute`](Self::permute), round by round.
    fn undo(&self, value: u64) -> u64 {
        let (left_mask, right_mask) = (mask(self.left_bits), mask(self.right_bits));
        let mut left = value >> self.right_bits;
        let mut right = value & right_mask;
        for pair in self.keys.chunks_exact(2).rev() {
            right ^= scramble(left, pair[1]) & right_mask;
            left ^= scramble(right, pair[0]) & left_mask;
        }
        (left << self.right_bits) | right
    }
}

const fn mask(bits: u32) -> u64 {
    // At most 32 bits a half.
    (1 << bits) - 1
}

/// The round function: a multiply-xorshift hash of half and key. The best mixed bits are the high ones.
const fn scramble(half: u64, key: u64) -> u64 {
    let product = (half ^ key).wrapping_mul(GOLDEN);
    (product ^ (product >> 29)).wrapping_mul(FINISH) >> 32
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): turns counters into keys.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(FINISH);
    value ^ (value >> 31)
}

/// Even, so that both halves are replaced equally often. Four are the least that hide both halves from each other
/// (Luby and Rackoff 1988); six cost little and spread tiny spaces better.
const ROUNDS: usize = 6;
/// 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const FINISH: u64 = 0x94d0_49bb_1331_11eb;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn assert_permutation(len: u64, seed: u64) {
        let order = Order::new(len, seed);
        let mut seen = vec![false; usize::try_from(len).unwrap()];
        for index in 0..len {
            let value = usize::try_from(order.at(index)).unwrap();
            assert!(!std::mem::replace(&mut seen[value], true), "{value} comes twice in an order of {len}");
            assert_eq!(order.position(value as u64), index, "of {value} in an order of {len}");
        }
        // len distinct values below len: every one was met.
    }

    #[test]
    fn every_number_comes_once_for_every_small_length() {
        for len in 1..=2000 {
            assert_permutation(len, len ^ 0x5eed);
        }
    }

    #[test]
    fn every_number_comes_once_around_powers_of_two_and_ports() {
        for len in [4095, 4096, 4097, 10_007, 16_384, 32_769, 65_535, 65_536, 65_537, 70_000] {
            for seed in 0..3 {
                assert_permutation(len, seed);
            }
        }
    }

    #[test]
    fn huge_orders_stay_inside_and_do_not_repeat() {
        for len in [1 << 33, (1 << 33) + 1, 131_072 * 65_535, 1 << 40, (1 << 52) - 3, u64::MAX] {
            let order = Order::new(len, 7);
            let mut seen = HashSet::new();
            // Windows at the start, the middle and the end.
            for start in [0, len / 2, len - 20_000] {
                for index in start..start + 20_000 {
                    let value = order.at(index);
                    assert!(value < len);
                    assert_eq!(order.position(value), index);
                    assert!(seen.insert(value), "{value} comes twice in an order of {len}");
                }
            }
        }
    }

    #[test]
    fn seeds_give_different_orders() {
        let first: Vec<u64> = (0..1000).map(|index| Order::new(1000, 1).at(index)).collect();
        let second: Vec<u64> = (0..1000).map(|index| Order::new(1000, 2).at(index)).collect();
        let same = first.iter().zip(&second).filter(|(a, b)| a == b).count();
        // One in expectation; twenty would be a chance of about 1e-19.
        assert!(same < 20, "{same} of 1000 positions are equal");
    }

    #[test]
    fn windows_spread_over_the_whole_range() {
        // 100 consecutive positions in 16 equal parts: 6.25 each are expected, none should be crowded.
        let len = 1_000_003;
        let order = Order::new(len, 99);
        for start in (0..len - 100).step_by(9973) {
            let mut parts = [0_u32; 16];
            for index in start..start + 100 {
                parts[usize::try_from(order.at(index) * 16 / len).unwrap()] += 1;
            }
            assert!(parts.iter().all(|&count| count <= 24), "{parts:?} at {start}");
        }
    }

    #[test]
    fn hosts_are_interleaved() {
        // 256 hosts x 1000 ports, addresses varying fastest or slowest alike: no burst to one host.
        let order = Order::new(256_000, 42);
        let hosts: Vec<u64> = (0..256_000).map(|position| order.at(position) / 1000).collect();
        let worst = hosts
            .chunks(256)
            .map(|window| {
                let mut counts = [0_u32; 256];
                window.iter().for_each(|host| counts[*host as usize] += 1);
                counts.into_iter().max().unwrap_or(0)
            })
            .max();
        assert!(worst <= Some(12), "{worst:?} of 256 probes in a row go to one host");
    }

    #[test]
    #[should_panic(expected = "outside an order of 5")]
    fn a_position_outside_is_our_own_error() {
        Order::new(5, 0).at(5);
    }
}
