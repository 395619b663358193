//! Numbers of our own making as keys and dice: a hasher for them and a seeded source of them. Pure.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes numbers that no peer chooses.
pub type NumberHash = BuildHasherDefault<NumberHasher>;

/// One multiplication and a shift.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Multiplying mixes upwards only; the table takes its slots from the low bits.
        let product = (self.0 ^ number).wrapping_mul(GOLDEN);
        self.0 = product ^ (product >> 32);
    }
}

/// A sequence of numbers that look random and are the same for the same seed (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From a key.
    pub fn from_key(key: &[u8; 16]) -> Self {
        Self(key.chunks_exact(8).fold(0, |seed, half| {
            let mut word = [0; 8];
            word.copy_from_slice(half);
            (seed ^ u64::from_le_bytes(word)).wrapping_mul(GOLDEN)
        }))
    }

    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        // The bias of a remainder is far below what anything here could show.
        self.roll() % limit
    }
}

/// 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
