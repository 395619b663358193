//! A seeded permutation of 0..n that needs no memory. Pure.
//!
//! A four-round Feistel network over the next even number of bits (Luby and Rackoff, 1988) permutes a power of four of at
//! least n; positions that fall outside 0..n are walked on until they fall inside (cycle walking, Black and Rogaway,
//! 2002), which keeps it a permutation of 0..n. The domain is less than 4n, so fewer than four steps are expected.

/// A permutation of `0..len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

const ROUNDS: usize = 4;

impl Order {
    /// The permutation of `0..len` that `seed` picks. `len` is at most 2^62.
    pub fn new(len: u64, seed: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        Self { len, half_bits, keys }
    }

    pub const fn len(&self) -> u64 {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where `position` goes; `position` is below [`len`](Self::len), and so is the result.
    pub fn at(&self, position: u64) -> u64 {
        debug_assert!(position < self.len);
        let mut value = self.feistel(position);
        while value >= self.len {
            value = self.feistel(value);
        }
        value
    }

    fn feistel(&self, value: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every input bit changes every output bit.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers_exactly(len: u64, seed: u64) {
        let order = Order::new(len, seed);
        let mut seen = vec![false; len as usize];
        for position in 0..len {
            let value = order.at(position);
            assert!(value < len, "{len}/{seed}: {position} went to {value}");
            assert!(!std::mem::replace(&mut seen[value as usize], true), "{len}/{seed}: {value} twice");
        }
    }

    #[test]
    fn every_position_exactly_once_for_every_small_size() {
        for len in 0..=1500 {
            covers_exactly(len, len ^ 0x5eed);
        }
    }

    #[test]
    fn every_position_exactly_once_for_sizes_around_powers_and_large_ones() {
        for len in [4095, 4096, 4097, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 70_000, 256_000] {
            covers_exactly(len, 7);
        }
    }

    #[test]
    fn seeds_give_different_orders() {
        let positions = |seed| (0..1000).map(|position| Order::new(1000, seed).at(position)).collect::<Vec<_>>();
        assert_ne!(positions(1), positions(2));
        assert_ne!(positions(1), (0..1000).collect::<Vec<_>>());
        assert_eq!(positions(3), positions(3));
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

    proptest::proptest! {
        #[test]
        fn huge_orders_stay_inside_and_do_not_collide(len in 1_u64 << 32..1_u64 << 40, seed: u64) {
            let order = Order::new(len, seed);
            let mut values: Vec<u64> = (0..500).map(|step| order.at(step * (len / 500))).collect();
            proptest::prop_assert!(values.iter().all(|value| *value < len));
            values.sort_unstable();
            values.dedup();
            proptest::prop_assert_eq!(values.len(), 500);
        }
    }
}
