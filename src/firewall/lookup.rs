//! Is a value in a set, and which element is it? Hashes for what is exact, sorted intervals for ranges.

use std::collections::HashMap;

use super::ruleset::{Datum, Element, Pattern, Set};
use super::value::{Truth, Value};

/// Result of asking a set.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'a> {
    Element(&'a Element),
    No,
    Unknown(String),
}

/// A set made ready to be asked often.
#[derive(Clone, Debug, Default)]
pub struct SetIndex {
    exact: HashMap<u128, u32>,
    names: HashMap<String, u32>,
    tuples: HashMap<Vec<Datum>, u32>,
    /// Disjoint, sorted.
    intervals: Vec<(u128, u128, u32)>,
    /// Concatenations that are exact in this part.
    part: usize,
    by_part: HashMap<Datum, Vec<u32>>,
    /// Whatever the above cannot hold.
    rest: Vec<u32>,
    catch_all: Option<u32>,
}

impl SetIndex {
    pub fn new(set: &Set) -> Self {
        let mut index = Self { part: best_part(set), ..Self::default() };
        for (at, element) in set.elements.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            match &element.key {
                Pattern::Exactly(Datum::Number(number)) => {
                    index.exact.entry(*number).or_insert(at);
                }
                Pattern::Exactly(Datum::Name(name)) => {
                    index.names.entry(name.clone()).or_insert(at);
                }
                Pattern::Range(low, high) => index.intervals.push((*low, *high, at)),
                Pattern::Prefix { value, length, width } => {
                    let (low, high) = prefix_bounds(*value, *length, *width);
                    index.intervals.push((low, high, at));
                }
                Pattern::Any => index.catch_all = index.catch_all.or(Some(at)),
                Pattern::Concatenation(parts) => index.add_tuple(parts, at),
                Pattern::NameStart(_) | Pattern::Set(_) | Pattern::Unknown(_) => index.rest.push(at),
            }
        }
        index.intervals.sort_unstable();
        if index.intervals.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            index.rest.extend(index.intervals.drain(..).map(|(.., at)| at));
            index.rest.sort_unstable();
        }
        index
    }

    fn add_tuple(&mut self, parts: &[Pattern], at: u32) {
        let exact: Option<Vec<Datum>> = parts
            .iter()
            .map(|part| match part {
                Pattern::Exactly(datum) => Some(datum.clone()),
                _ => None,
            })
            .collect();
        if let Some(exact) = exact {
            self.tuples.entry(exact).or_insert(at);
        } else if let Some(Pattern::Exactly(datum)) = parts.get(self.part) {
            self.by_part.entry(datum.clone()).or_default().push(at);
        } else {
            self.rest.push(at);
        }
    }

    /// The element that holds a value. `compare` tells whether a value matches a pattern.
    pub fn find<'s>(
        &self,
        set: &'s Set,
        value: &Value<'_>,
        compare: impl Fn(&Value<'_>, &Pattern) -> Truth,
    ) -> Found<'s> {
        let found = self.find_listed(set, value, compare);
        match found {
            Found::No => {
                let all = self.catch_all.and_then(|at| set.elements.get(at as usize));
                match (all, &set.incomplete) {
                    (_, Some(why)) => Found::Unknown(format!("set {}: {why}", set.name)),
                    (Some(element), None) => Found::Element(element),
                    (None, None) => Found::No,
                }
            }
            found => found,
        }
    }

    fn find_listed<'s>(
        &self,
        set: &'s Set,
        value: &Value<'_>,
        compare: impl Fn(&Value<'_>, &Pattern) -> Truth,
    ) -> Found<'s> {
        let element = |at: u32| set.elements.get(at as usize).map_or(Found::No, Found::Element);
        let mut unknown = None;
        let mut scan = |list: &[u32]| {
            for at in list {
                let Some(element) = set.elements.get(*at as usize) else { continue };
                match compare(value, &element.key) {
                    Truth::Yes => return Some(Found::Element(element)),
                    Truth::No => {}
                    Truth::Unknown(what) => unknown = unknown.take().or(Some(what)),
                }
            }
            None
        };
        match value {
            Value::Missing => return Found::No,
            Value::Unknown(what) => {
                if set.elements.is_empty() {
                    return Found::No;
                }
                return Found::Unknown(what.clone());
            }
            Value::Number(number) => {
                if !self.exact.is_empty()
                    && let Some(at) = self.exact.get(number)
                {
                    return element(*at);
                }
                let after = self.intervals.partition_point(|(low, ..)| low <= number);
                if let Some((_, high, at)) = after.checked_sub(1).and_then(|at| self.intervals.get(at))
                    && high >= number
                {
                    return element(*at);
                }
            }
            Value::Name(name) => {
                if let Some(at) = self.names.get(*name) {
                    return element(*at);
                }
            }
            Value::Many(parts) => {
                let data: Option<Vec<Datum>> = parts.iter().map(Value::datum).collect();
                match data {
                    Some(data) => {
                        if let Some(at) = self.tuples.get(&data) {
                            return element(*at);
                        }
                        if let Some(list) = data.get(self.part).and_then(|part| self.by_part.get(part))
                            && let Some(found) = scan(list)
                        {
                            return found;
                        }
                    }
                    // Something is not known: whether it matters is told by comparing all of them.
                    None if parts.contains(&Value::Missing) => return Found::No,
                    None => {
                        let all: Vec<u32> = (0..u32::try_from(set.elements.len()).unwrap_or(u32::MAX)).collect();
                        if let Some(found) = scan(&all) {
                            return found;
                        }
                        return unknown.map_or(Found::No, Found::Unknown);
                    }
                }
            }
        }
        if let Some(found) = scan(&self.rest) {
            return found;
        }
        unknown.map_or(Found::No, Found::Unknown)
    }
}

/// First and last number of a prefix.
pub fn prefix_bounds(value: u128, length: u8, width: u8) -> (u128, u128) {
    let host = u32::from(width.saturating_sub(length));
    let ones = if host >= 128 { u128::MAX } else { (1_u128 << host) - 1 };
    let low = value & !ones;
    (low, low | ones)
}

/// The part that is exact in most concatenations that are not exact in all.
fn best_part(set: &Set) -> usize {
    let mut counts: Vec<usize> = Vec::new();
    for element in &set.elements {
        let Pattern::Concatenation(parts) = &element.key else { continue };
        for (at, part) in parts.iter().enumerate() {
            if counts.len() <= at {
                counts.resize(at + 1, 0);
            }
            counts[at] += usize::from(matches!(part, Pattern::Exactly(_)));
        }
    }
    counts.iter().enumerate().max_by_key(|(at, count)| (**count, std::cmp::Reverse(*at))).map_or(0, |(at, _)| at)
}
