//! Elements that are marked `nomatch`.

use std::collections::BTreeMap;

use super::values::{exactly, mask};
use crate::firewall::ruleset::{Datum, Pattern};

/// The elements without those marked `nomatch`: the longest prefix decides, so these cut holes into shorter ones.
/// `None` where more than one part is a prefix.
pub(super) fn without_exceptions(elements: &[(Vec<Pattern>, bool)]) -> Option<Vec<(Vec<Pattern>, bool)>> {
    // Elements that differ in other parts do not touch each other.
    let mut groups: BTreeMap<String, Vec<(&Vec<Pattern>, bool)>> = BTreeMap::new();
    for (key, nomatch) in elements {
        if key[1..].iter().any(|part| matches!(part, Pattern::Prefix { .. } | Pattern::NameStart(_))) {
            return None;
        }
        groups.entry(format!("{:?}", &key[1..])).or_default().push((key, *nomatch));
    }
    let mut found = Vec::new();
    for mut group in groups.into_values() {
        // Wider ones first; narrower ones overwrite them.
        group.sort_by_key(|(key, _)| extent(&key[0]).map(|(first, last)| std::cmp::Reverse(last - first)));
        let mut ranges: BTreeMap<u128, (u128, bool)> = BTreeMap::new();
        for (key, nomatch) in &group {
            let (first, last) = extent(&key[0])?;
            let covering = ranges.range(..=first).next_back().map(|(&start, &(end, admits))| (start, end, admits));
            if let Some((start, end, admits)) = covering.filter(|(_, end, _)| *end >= last) {
                ranges.remove(&start);
                if start < first {
                    ranges.insert(start, (first - 1, admits));
                }
                if last < end {
                    ranges.insert(last + 1, (end, admits));
                }
            }
            ranges.insert(first, (last, !nomatch));
        }
        let rest = &group[0].0[1..];
        for (first, (last, admits)) in ranges {
            if admits {
                let mut key = vec![if first == last { exactly(first) } else { Pattern::Range(first, last) }];
                key.extend_from_slice(rest);
                found.push((key, false));
            }
        }
    }
    Some(found)
}

fn extent(pattern: &Pattern) -> Option<(u128, u128)> {
    match pattern {
        Pattern::Exactly(Datum::Number(number)) => Some((*number, *number)),
        Pattern::Prefix { value, length, width } => {
            Some((*value, value | !mask(*length, *width) & mask(*width, *width)))
        }
        Pattern::Range(first, last) => Some((*first, *last)),
        _ => None,
    }
}
