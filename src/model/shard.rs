//! One part of several that a sweep is divided into: `--shard I/N`.

use std::fmt;
use std::str::FromStr;

/// Every n-th endpoint of an order. Machines with the same targets, ports and seed that take one shard each cover
/// the whole together, and nothing twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Default for Shard {
    /// The only shard: everything.
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Shard {
    /// The shard `number` (from 1) of `of`; `None` unless 1 ≤ `number` ≤ `of`.
    pub const fn new(number: u32, of: u32) -> Option<Self> {
        if number == 0 || number > of { None } else { Some(Self { index: number - 1, of }) }
    }

    /// From 0.
    pub const fn index(self) -> u32 {
        self.index
    }

    pub const fn of(self) -> u32 {
        self.of
    }

    pub const fn is_whole(self) -> bool {
        self.of == 1
    }

    /// How many of `all` positions are this shard's.
    pub const fn share_of(self, all: u64) -> u64 {
        let (index, of) = (self.index as u64, self.of as u64);
        all / of + if all % of > index { 1 } else { 0 }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

impl FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseShardError { text: text.to_owned() };
        let (number, of) = text.split_once('/').ok_or_else(error)?;
        match (number.parse(), of.parse()) {
            (Ok(number), Ok(of)) => Self::new(number, of).ok_or_else(error),
            _ => Err(error()),
        }
    }
}

/// Text that is no `I/N`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no shard; hint: I/N with I from 1 to N: 1/3, 2/3 and 3/3 together are everything")]
pub struct ParseShardError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for text in ["1/1", "2/3", "3/3"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_add_up() {
        for all in [0, 1, 5, 6, 7, 1_000_003] {
            for of in 1..10 {
                let shares: Vec<u64> = (1..=of).map(|number| Shard::new(number, of).unwrap().share_of(all)).collect();
                assert_eq!(shares.iter().sum::<u64>(), all);
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
            }
        }
    }
}
