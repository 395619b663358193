//! Which endpoints have answered: one bit each, in pages that exist only where something answered. Pure.

use std::collections::HashMap;

use super::number::NumberHash;

/// A set of endpoint numbers that costs nothing where it is empty.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    pages: HashMap<u64, Box<[u64; WORDS]>, NumberHash>,
}

/// Words a page: 64 bytes hold 512 endpoints. Where many hosts answer on one port each, every one of them has a page.
const WORDS: usize = 8;
const PAGE_BITS: u32 = 9;

impl Answered {
    /// Adds an endpoint; whether it is new.
    pub fn insert(&mut self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        let word = &mut self.pages.entry(page).or_insert_with(|| Box::new([0; WORDS]))[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub fn contains(&self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        self.pages.get(&page).is_some_and(|words| words[word] & bit != 0)
    }
}

const fn place(number: u64) -> (u64, usize, u64) {
    (number >> PAGE_BITS, (number >> 6) as usize % WORDS, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    proptest::proptest! {
        #[test]
        fn is_a_set(numbers in proptest::collection::vec(proptest::prop_oneof![0_u64..9000, 0_u64..], 0..400)) {
            let mut set = Answered::default();
            let mut model = BTreeSet::new();
            for number in &numbers {
                proptest::prop_assert_eq!(set.insert(*number), model.insert(*number));
            }
            for number in numbers.iter().flat_map(|number| [*number, number.wrapping_add(1), number ^ 1 << 40]) {
                proptest::prop_assert_eq!(set.contains(number), model.contains(&number));
            }
        }
    }

    #[test]
    fn a_million_answers_of_dense_hosts_are_a_few_thousand_pages() {
        let mut set = Answered::default();
        (0..1_000_000).for_each(|number| assert!(set.insert(number)));
        assert_eq!(set.pages.len(), 1954);
    }
}
