//! A set of addresses as ranges: what is asked for, less what is excluded. Never a list of addresses. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// Sorted, disjoint ranges of addresses, IPv4 before IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetSet {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
    /// For each range, IPv4 first, the number of addresses before it: a long list is searched once a probe.
    before: Vec<u128>,
}

impl TargetSet {
    /// The set of all addresses in the inclusive ranges. The two ends of a range are of one family.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (first, last) in ranges {
            let list = if first.is_ipv4() { &mut v4 } else { &mut v6 };
            list.push((number(first), number(last)));
        }
        Self::indexed(merged(v4), merged(v6))
    }

    fn indexed(v4: Vec<(u128, u128)>, v6: Vec<(u128, u128)>) -> Self {
        let mut sum = 0_u128;
        let before = v4.iter().chain(&v6).map(|range| {
            let before = sum;
            sum = sum.saturating_add(size(*range));
            before
        });
        let before = before.collect();
        Self { v4, v6, before }
    }

    /// This set without the addresses of `other`.
    pub fn without(&self, other: &Self) -> Self {
        Self::indexed(difference(&self.v4, &other.v4), difference(&self.v6, &other.v6))
    }

    /// Number of addresses. All of IPv6 at once is one more than fits and is given as the largest number.
    pub fn len(&self) -> u128 {
        let last = self.v6.last().or_else(|| self.v4.last());
        self.before.last().zip(last).map_or(0, |(before, range)| before.saturating_add(size(*range)))
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let ranges = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let number = number(address);
        let after = ranges.partition_point(|&(first, _)| first <= number);
        after > 0 && ranges[after - 1].1 >= number
    }

    /// The address at `index`, IPv4 ascending, then IPv6 ascending.
    pub fn nth(&self, index: u128) -> Option<IpAddr> {
        let at = self.before.partition_point(|&before| before <= index).checked_sub(1)?;
        let offset = index - self.before[at];
        let (&(first, last), is_v4) = match self.v4.get(at) {
            Some(range) => (range, true),
            None => (self.v6.get(at - self.v4.len())?, false),
        };
        (offset <= last - first).then(|| address(first + offset, is_v4))
    }

    /// The index at which [`nth`](Self::nth) finds `address`; `None` when it is not in the set.
    pub fn index_of(&self, address: IpAddr) -> Option<u128> {
        let (ranges, first_range) = if address.is_ipv4() { (&self.v4, 0) } else { (&self.v6, self.v4.len()) };
        let number = number(address);
        let at = ranges.partition_point(|&(first, _)| first <= number).checked_sub(1)?;
        let (first, last) = ranges[at];
        (number <= last).then(|| self.before[first_range + at] + (number - first))
    }

    /// The ranges, first and last address inclusive.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let v4 = self.v4.iter().map(|&(first, last)| (address(first, true), address(last, true)));
        let v6 = self.v6.iter().map(|&(first, last)| (address(first, false), address(last, false)));
        v4.chain(v6)
    }

    /// The ranges as people write them: a network where a range is one, a single address, else `FIRST-LAST`.
    pub fn describe(&self) -> Vec<String> {
        self.ranges().map(|(first, last)| describe_range(first, last)).collect()
    }

    /// The ranges without any of the `answered` addresses, described.
    pub fn silent(&self, answered: &BTreeSet<IpAddr>) -> Vec<String> {
        self.without(&Self::from_ranges(answered.iter().map(|&address| (address, address)))).describe()
    }
}

fn describe_range(first: IpAddr, last: IpAddr) -> String {
    if first == last {
        return first.to_string();
    }
    let bits: u32 = if first.is_ipv4() { 32 } else { 128 };
    let (low, high) = (number(first), number(last));
    // A range is a network when its size is a power of two and its start a multiple of it.
    if let Some(size) = (high - low).checked_add(1)
        && size.is_power_of_two()
        && low % size == 0
        && let Ok(prefix) = u8::try_from(bits - size.trailing_zeros())
        && let Ok(network) = IpNetwork::new(first, prefix)
    {
        return network.to_string();
    }
    format!("{first}-{last}")
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    if is_v4 {
        // Numbers of the IPv4 list come from IPv4 addresses and lie between two of them.
        IpAddr::V4(Ipv4Addr::from_bits(number as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(number))
    }
}

/// All of IPv6 is one more than fits.
const fn size((first, last): (u128, u128)) -> u128 {
    (last - first).saturating_add(1)
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn difference(from: &[(u128, u128)], remove: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut left = Vec::new();
    let mut removals = remove.iter().peekable();
    for &(first, last) in from {
        let mut start = Some(first);
        while let Some(&&(cut_first, cut_last)) = removals.peek() {
            let Some(from) = start else { break };
            if cut_last < from {
                removals.next();
                continue;
            }
            if cut_first > last {
                break;
            }
            if cut_first > from {
                left.push((from, cut_first - 1));
            }
            start = cut_last.checked_add(1).filter(|next| *next <= last);
            // A removal that reaches past this range may cut the next one too: keep it.
            if cut_last > last {
                break;
            }
            removals.next();
        }
        if let Some(from) = start {
            left.push((from, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn set(ranges: &[(&str, &str)]) -> TargetSet {
        TargetSet::from_ranges(ranges.iter().map(|(first, last)| (ip(first), ip(last))))
    }

    #[test]
    fn describes_networks_ranges_and_single_addresses() {
        let set = set(&[
            ("198.18.0.0", "198.18.0.127"),
            ("198.18.0.128", "198.18.0.255"),
            ("198.18.1.1", "198.18.1.6"),
            ("198.18.9.9", "198.18.9.9"),
            ("2001:db8::", "2001:db8::ff"),
        ]);
        assert_eq!(set.describe(), ["198.18.0.0/24", "198.18.1.1-198.18.1.6", "198.18.9.9", "2001:db8::/120"]);
        assert_eq!(set.len(), 256 + 6 + 1 + 256);
    }

    #[test]
    fn excludes_within_across_and_at_the_ends() {
        let all = set(&[("198.18.0.0", "198.18.0.9"), ("198.18.0.20", "198.18.0.29")]);
        let cut = set(&[("198.18.0.0", "198.18.0.1"), ("198.18.0.5", "198.18.0.22"), ("198.18.0.29", "198.18.0.40")]);
        assert_eq!(all.without(&cut).describe(), ["198.18.0.2-198.18.0.4", "198.18.0.23-198.18.0.28"]);
        assert!(all.without(&all).is_empty());
        assert_eq!(set(&[("0.0.0.0", "255.255.255.255")]).len(), 1 << 32);
        assert_eq!(set(&[("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]).len(), u128::MAX);
    }

    #[test]
    fn indices_go_through_both_families_and_end() {
        let set = set(&[("2001:db8::1", "2001:db8::2"), ("198.18.0.9", "198.18.0.9"), ("198.18.0.1", "198.18.0.2")]);
        let all: Vec<String> = (0..6).filter_map(|index| set.nth(index)).map(|address| address.to_string()).collect();
        assert_eq!(all, ["198.18.0.1", "198.18.0.2", "198.18.0.9", "2001:db8::1", "2001:db8::2"]);
        assert_eq!(set.nth(u128::MAX), None);
        assert_eq!(TargetSet::default().nth(0), None);
    }

    #[test]
    fn families_do_not_mix() {
        let v4 = set(&[("0.0.0.1", "0.0.0.1")]);
        assert!(!v4.contains(ip("::1")));
        assert_eq!(v4.without(&set(&[("::1", "::1")])), v4);
    }

    #[test]
    fn silent_is_what_did_not_answer() {
        let all = set(&[("198.18.0.0", "198.18.0.255")]);
        let answered = BTreeSet::from([ip("198.18.0.1"), ip("198.18.0.2")]);
        assert_eq!(all.silent(&answered), ["198.18.0.0", "198.18.0.3-198.18.0.255"]);
    }

    proptest! {
        #[test]
        fn set_algebra_agrees_with_lists(
            wanted in prop::collection::vec((0_u8..=255, 0_u8..=255), 0..8),
            excluded in prop::collection::vec((0_u8..=255, 0_u8..=255), 0..8),
        ) {
            let range = |&(a, b): &(u8, u8)| {
                let at = |last: u8| IpAddr::from([198, 18, 0, last]);
                (at(a.min(b)), at(a.max(b)))
            };
            let within = |ranges: &[(u8, u8)], n: u8| ranges.iter().any(|&(a, b)| (a.min(b)..=a.max(b)).contains(&n));
            let set = TargetSet::from_ranges(wanted.iter().map(range))
                .without(&TargetSet::from_ranges(excluded.iter().map(range)));
            let expected: Vec<IpAddr> = (0..=255_u8)
                .filter(|&n| within(&wanted, n) && !within(&excluded, n))
                .map(|n| IpAddr::from([198, 18, 0, n]))
                .collect();
            prop_assert_eq!(set.len(), expected.len() as u128);
            for (index, address) in expected.iter().enumerate() {
                prop_assert_eq!(set.nth(index as u128), Some(*address));
                prop_assert_eq!(set.index_of(*address), Some(index as u128));
                prop_assert!(set.contains(*address));
            }
            prop_assert_eq!(set.nth(expected.len() as u128), None);
        }
    }
}
