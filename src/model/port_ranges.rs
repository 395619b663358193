//! A set of ports as sorted, disjoint, inclusive ranges; prints as `1-21,23-79`.

use std::fmt;
use std::str::FromStr;

/// Sorted, disjoint and non-adjacent inclusive ranges of port numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortRanges {
    ranges: Vec<(u16, u16)>,
}

impl PortRanges {
    /// Builds the set from ports in any order, with repetitions.
    pub fn from_ports(ports: impl IntoIterator<Item = u16>) -> Self {
        Self::from_ranges(ports.into_iter().map(|port| (port, port)))
    }

    /// Builds the set from inclusive ranges in any order; a range whose end is below its start is empty.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut sorted: Vec<(u16, u16)> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(previous) if u32::from(first) <= u32::from(previous.1) + 1 => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    /// Number of ports, 0 to 65,536.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|&(first, last)| usize::from(last - first) + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn contains(&self, port: u16) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= port);
        after > 0 && self.ranges[after - 1].1 >= port
    }

    /// The port at position `index` in ascending order.
    pub fn nth(&self, index: usize) -> Option<u16> {
        let mut left = index;
        for &(first, last) in &self.ranges {
            let size = usize::from(last - first) + 1;
            if left < size {
                // `left` is below the size of a range of u16, so it fits.
                return Some(first + left as u16);
            }
            left -= size;
        }
        None
    }

    /// The ports that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.difference(&self.difference(other))
    }

    /// The ports that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let mut cuts = other.ranges.iter().copied().peekable();
        for &(first, last) in &self.ranges {
            // As u32, since one behind the last port there may be is none.
            let mut start = u32::from(first);
            while cuts.next_if(|cut| u32::from(cut.1) < start).is_some() {}
            while let Some(&(from, to)) = cuts.peek().filter(|cut| cut.0 <= last) {
                if u32::from(from) > start {
                    // Below `from`, and so a port.
                    ranges.push((start as u16, from - 1));
                }
                start = u32::from(to) + 1;
                if to >= last {
                    // It may reach into the next range, too.
                    break;
                }
                cuts.next();
            }
            if start <= u32::from(last) {
                // At most `last`.
                ranges.push((start as u16, last));
            }
        }
        Self { ranges }
    }

    /// Both sets together.
    pub fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges.iter().chain(&other.ranges).copied())
    }
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for PortRanges {
    type Err = ParsePortRangesError;

    /// Parses `1-21,23`; spaces around items are allowed, empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ranges = Vec::new();
        for item in text.split(',').map(str::trim) {
            if item.is_empty() && text.trim().is_empty() {
                continue;
            }
            let error = || ParsePortRangesError { item: item.to_owned() };
            let number = |digits: &str| {
                // `+80` would pass u16's parser.
                if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse::<u16>().ok() } else { None }
            };
            let (first, last) = match item.split_once('-') {
                Some((first, last)) => (number(first.trim()), number(last.trim())),
                None => (number(item), number(item)),
            };
            match (first, last) {
                (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
                _ => return Err(error()),
            }
        }
        Ok(Self::from_ranges(ranges))
    }
}

/// An item that is neither a port nor a range of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{item}` is no port or port range; hint: write 22,80,8000-8100 (1 to 65535, the smaller first)")]
pub struct ParsePortRangesError {
    item: String,
}

impl ParsePortRangesError {
    /// As it was written.
    pub fn item(&self) -> &str {
        &self.item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_overlapping_and_adjacent() {
        let set = PortRanges::from_ranges([(10, 20), (21, 30), (5, 12), (65535, 65535), (65534, 65535)]);
        assert_eq!(set.to_string(), "5-30,65534-65535");
        assert_eq!(set.len(), 28);
    }

    #[test]
    fn intersection_is_what_both_have() {
        let set: PortRanges = "1-100,200-300".parse().unwrap();
        assert_eq!(set.intersection(&"22,100-200,443".parse().unwrap()).to_string(), "22,100,200");
    }

    proptest::proptest! {
        #[test]
        fn difference_is_what_only_the_first_has_and_intersection_the_rest_of_it(
            one in proptest::collection::vec((0_u16..40, 0_u16..40), 0..6),
            other in proptest::collection::vec((0_u16..40, 0_u16..40), 0..6),
            high in proptest::bool::ANY,
        ) {
            let shift = if high { u16::MAX - 39 } else { 0 };
            let set = |ranges: &[(u16, u16)]| {
                PortRanges::from_ranges(ranges.iter().map(|&(first, last)| (first + shift, last + shift)))
            };
            let (one, other) = (set(&one), set(&other));
            let expected = PortRanges::from_ports(one.iter().filter(|port| !other.contains(*port)));
            proptest::prop_assert_eq!(one.difference(&other), expected);
            let expected = PortRanges::from_ports(one.iter().filter(|port| other.contains(*port)));
            proptest::prop_assert_eq!(one.intersection(&other), expected);
        }
    }

    /// Both have 32,768 ranges: pair by pair that would be a thousand million steps.
    #[test]
    fn intersection_goes_by_ranges_not_by_pairs() {
        let odd = PortRanges::from_ports((1..=u16::MAX).step_by(2));
        let some = PortRanges::from_ports((0..u16::MAX).step_by(2).chain([101]));
        assert_eq!(odd.intersection(&some), PortRanges::from_ports([101]));
    }

    #[test]
    fn nth_follows_iter() {
        let set = PortRanges::from_ports([1, 2, 3, 80, 443, 444]);
        let all: Vec<u16> = set.iter().collect();
        assert_eq!((0..all.len()).filter_map(|index| set.nth(index)).collect::<Vec<_>>(), all);
        assert_eq!(set.nth(all.len()), None);
        assert!(set.contains(80) && !set.contains(81) && !set.contains(0));
    }

    #[test]
    fn parses_what_it_prints_and_names_the_bad_item() {
        let set: PortRanges = "22, 80,8000-8100".parse().unwrap();
        assert_eq!(set.to_string(), "22,80,8000-8100");
        for bad in ["80,", "x", "9-8", "65536", "-1", "+80", "1--2"] {
            assert!(bad.parse::<PortRanges>().is_err(), "{bad}");
        }
    }
}
