//! The address ranges that a report prints (`scope.targets`, `scope.excluded`, `silent`), read back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use super::address::canonical;
use crate::model::Report;

/// Which addresses a run asked, and which of them gave no answer at all.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    targets: AddressRanges,
    excluded: AddressRanges,
    silent: AddressRanges,
}

impl Asked {
    pub fn of(report: &Report) -> Self {
        Self {
            targets: AddressRanges::read(&report.run.scope.targets),
            excluded: AddressRanges::read(&report.run.scope.excluded),
            silent: AddressRanges::read(&report.silent),
        }
    }

    /// The sweep asked this address and nothing at all came back.
    pub fn is_silent(&self, address: IpAddr) -> bool {
        self.silent.contains(address)
    }

    /// The address was part of the sweep, whether or not it answered.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.is_silent(address) || (self.targets.contains(address) && !self.excluded.contains(address))
    }

    /// The only address that was asked, when it was one.
    pub fn single(&self) -> Option<IpAddr> {
        match self.targets.ranges[..] {
            [(first, last)] if first == last => Some(first),
            _ => None,
        }
    }
}

/// The addresses of the described ranges without `answered`, described.
pub fn without<'a>(items: impl Iterator<Item = &'a String>, answered: &BTreeSet<IpAddr>) -> Vec<String> {
    let items: Vec<String> = items.cloned().collect();
    let mut rest = Vec::new();
    for (first, last) in AddressRanges::read(&items).ranges {
        let mut from = Some(first);
        for &address in answered.range(first..=last) {
            let Some(start) = from else { break };
            if start < address {
                rest.extend(before(address).map(|end| (start, end)));
            }
            from = after(address).filter(|next| *next <= last);
        }
        rest.extend(from.map(|start| (start, last)));
    }
    let range = |(first, last): (IpAddr, IpAddr)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    rest.into_iter().map(range).collect()
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_sub(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_sub(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// Sorted, disjoint, inclusive ranges of addresses; an item that cannot be read is left out, so that nothing is claimed for it.
#[derive(Clone, Debug, Default)]
struct AddressRanges {
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl AddressRanges {
    fn read(items: &[String]) -> Self {
        let mut sorted: Vec<_> = items.iter().flat_map(|item| item_ranges(item)).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                // IpAddr orders every IPv4 address before every IPv6 one, so that no range reaches over the families.
                Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        let after = self.ranges.partition_point(|&(first, _)| first <= address);
        after > 0 && self.ranges[after - 1].1 >= address
    }
}

/// `198.18.0.7`, `198.18.0.0/24`, `198.18.0.1-198.18.0.9`, `198.18.0.1-9`, `db.lan (198.18.0.7, 2001:db8::7)`.
fn item_ranges(item: &str) -> Vec<(IpAddr, IpAddr)> {
    let item = item.trim();
    if let Some((_, rest)) = item.split_once('(') {
        let inner = rest.trim_end().trim_end_matches(')');
        return inner.split([',', ' ']).filter(|part| !part.is_empty()).filter_map(range).collect();
    }
    range(item).into_iter().collect()
}

fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((base, prefix)) = text.split_once('/') {
        return network(base.parse().ok()?, prefix.parse().ok()?);
    }
    if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.trim().parse().ok()?;
        let last = last.trim();
        let last = match (last.parse::<IpAddr>(), first) {
            (Ok(last), _) => last,
            (Err(_), IpAddr::V4(first)) => {
                let [a, b, c, _] = first.octets();
                IpAddr::from([a, b, c, last.parse::<u8>().ok()?])
            }
            (Err(_), IpAddr::V6(_)) => return None,
        };
        return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last));
    }
    let address: IpAddr = text.parse().ok()?;
    Some((address, address))
}

fn network(base: IpAddr, prefix: u32) -> Option<(IpAddr, IpAddr)> {
    match base {
        IpAddr::V4(base) => {
            let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
            let first = base.to_bits() & !host;
            (prefix <= 32).then(|| (IpAddr::V4(first.into()), IpAddr::V4((first | host).into())))
        }
        IpAddr::V6(base) => {
            let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
            let first = base.to_bits() & !host;
            let ends = (Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(first | host));
            (prefix <= 128).then_some((IpAddr::V6(ends.0), IpAddr::V6(ends.1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(item: &str, address: &str) -> bool {
        AddressRanges::read(&[item.to_owned()]).contains(address.parse().unwrap())
    }

    #[test]
    fn reads_every_form_that_reports_print() {
        assert!(holds("198.18.0.7", "198.18.0.7"));
        assert!(holds("198.18.0.0/24", "198.18.0.255") && !holds("198.18.0.0/24", "198.18.1.0"));
        assert!(holds("198.18.0.7-198.18.1.2", "198.18.1.0") && !holds("198.18.0.7-198.18.1.2", "198.18.0.6"));
        assert!(holds("198.18.0.1-9", "198.18.0.9") && !holds("198.18.0.1-9", "198.18.0.10"));
        assert!(holds("db.lan (198.18.0.7, 2001:db8::7)", "2001:db8::7"));
        assert!(holds("2001:db8::/120", "2001:db8::ff") && !holds("2001:db8::/120", "2001:db8::100"));
        assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn overlapping_items_hold_what_either_holds() {
        let items = ["198.18.0.0/16", "198.18.0.5", "198.18.255.0-198.19.0.3", "2001:db8::/64"].map(str::to_owned);
        let ranges = AddressRanges::read(&items);
        for (address, expected) in [
            ("198.18.0.5", true),
            ("198.18.200.1", true),
            ("198.19.0.3", true),
            ("198.19.0.4", false),
            ("198.17.255.255", false),
            ("2001:db8::9", true),
            ("2001:db8:0:1::", false),
        ] {
            assert_eq!(ranges.contains(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_answered_is_taken_out_of_ranges() {
        let answered: BTreeSet<IpAddr> = ["198.18.0.0", "198.18.0.7", "198.18.0.255", "2001:db8::1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let items = ["198.18.0.0/24".to_owned(), "2001:db8::1".to_owned(), "198.19.0.1".to_owned()];
        let rest = without(items.iter(), &answered);
        assert_eq!(rest, ["198.18.0.1-198.18.0.6", "198.18.0.8-198.18.0.254", "198.19.0.1"]);
    }

    #[test]
    fn what_cannot_be_read_holds_nothing() {
        for item in ["", "db.lan", "198.18.0.0/33", "198.18.0.9-1", "2001:db8::1-9", "x-y", "a/b", "198.18.0.0-::1"] {
            assert!(AddressRanges::read(&[item.to_owned()]).ranges.is_empty(), "{item}");
        }
    }
}
