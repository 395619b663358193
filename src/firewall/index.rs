//! Which rules of a long chain can match a packet at all: by the addresses, ports, interfaces and protocols that they
//! name. Order is kept.
//!
//! Rules that name the same things (a source of 24 bits and a port, say) are of one shape. Each shape has a table of what
//! its rules ask for, and a packet is looked up once in each: there are few shapes even in large rulesets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::lookup::prefix_bounds;
use super::packet::{Device, Packet, Port, number};
use super::ruleset::{Chain, Datum, Expression, Field, Match, Operator, Pattern, Rule, Set, SetReference, Statement};

/// Rules of a chain, sorted by what must hold before they can do anything.
#[derive(Clone, Debug, Default)]
pub struct ChainIndex {
    shapes: Vec<(Shape, HashMap<Key, Vec<u32>>)>,
    /// Numbers of the interfaces that rules name.
    names: HashMap<String, u32>,
    /// Rules that must be asked of every packet.
    rest: Vec<u32>,
}

/// Positions of the rules that can match one packet.
#[derive(Debug)]
pub enum Candidates<'a> {
    All(u32),
    Lists(Vec<&'a [u32]>),
}

/// What a rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    source: Option<Network>,
    destination: Option<Network>,
    port: bool,
    protocol: bool,
    input: bool,
    output: bool,
}

/// Family and length of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    ipv6: bool,
    length: u8,
}

/// The values of what a shape names; zero elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Key {
    source: u128,
    destination: u128,
    port: u16,
    protocol: u8,
    input: u32,
    output: u32,
}

/// One value that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Source(Network, u128),
    Destination(Network, u128),
    Port(u16),
    Protocol(u8),
    Input(u32),
    Output(u32),
}

impl ChainIndex {
    /// `None` for chains that are too short to gain from it. `named` finds the sets that rules name.
    pub fn new<'s>(chain: &'s Chain, named: impl Fn(&'s SetReference) -> Option<&'s Set>) -> Option<Self> {
        if chain.rules.len() < SHORT {
            return None;
        }
        let mut index = Self::default();
        // Large sets are spread out while there is room.
        let mut room = ROOM + MANY * chain.rules.len();
        for (at, rule) in chain.rules.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let most = if room > LARGE { LARGE } else { MANY };
            let groups = Gatherer { names: &mut index.names, named: &named, most }.groups(rule);
            let combined = combinations(groups, most);
            room = room.saturating_sub(combined.len());
            index.add(combined, at);
        }
        Some(index)
    }

    fn add(&mut self, combined: Vec<(Shape, Key)>, at: u32) {
        // A new shape beyond the limit: the rule is asked of every packet.
        let mut places = Vec::with_capacity(combined.len());
        for (shape, key) in combined {
            let known = self.shapes.iter().position(|(known, _)| *known == shape);
            let place = match known {
                _ if shape == Shape::default() => None,
                None if self.shapes.len() < MOST_SHAPES => {
                    self.shapes.push((shape, HashMap::new()));
                    Some(self.shapes.len() - 1)
                }
                known => known,
            };
            let Some(place) = place else { return self.rest.push(at) };
            places.push((place, key));
        }
        for (place, key) in places {
            match self.shapes[place].1.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(vec![at])),
                // The same key twice in one rule.
                Entry::Occupied(entry) if entry.get().last() == Some(&at) => {}
                Entry::Occupied(mut entry) => entry.get_mut().push(at),
            }
        }
    }

    /// The rules that can match.
    pub fn candidates(&self, packet: &Packet, rules: u32) -> Candidates<'_> {
        let unknown = packet.source_unknown
            || packet.destination_port == Port::Unknown
            || packet.input == Device::Unknown
            || packet.output == Device::Unknown
            || !packet.changed.is_empty();
        if unknown {
            return Candidates::All(rules);
        }
        let seen = Seen {
            source: (packet.source.is_ipv6(), number(packet.source)),
            destination: (packet.destination.is_ipv6(), number(packet.destination)),
            port: match packet.destination_port {
                Port::Known(port) => Some(port),
                Port::Missing | Port::Unknown => None,
            },
            protocol: packet.protocol.number(packet.is_ipv6()),
            input: self.name(&packet.input),
            output: self.name(&packet.output),
        };
        let mut lists: Vec<&[u32]> = Vec::with_capacity(4);
        if !self.rest.is_empty() {
            lists.push(&self.rest);
        }
        for (shape, rules) in &self.shapes {
            lists.extend(seen.key(*shape).and_then(|key| rules.get(&key)).map(Vec::as_slice));
        }
        Candidates::Lists(lists)
    }

    /// The number of a packet's interface, where a rule names it.
    fn name(&self, device: &Device) -> Option<u32> {
        let name = match device {
            Device::Name(name) => name,
            Device::None | Device::Unknown => "",
        };
        self.names.get(name).copied()
    }
}

impl Candidates<'_> {
    /// First candidate at or after a position.
    pub fn next(&self, from: u32) -> Option<u32> {
        match self {
            Self::All(rules) => (from < *rules).then_some(from),
            Self::Lists(lists) => {
                lists.iter().filter_map(|list| list.get(list.partition_point(|at| *at < from)).copied()).min()
            }
        }
    }
}

/// What is known of a packet, to be looked up in any shape.
struct Seen {
    source: (bool, u128),
    destination: (bool, u128),
    port: Option<u16>,
    protocol: u8,
    input: Option<u32>,
    output: Option<u32>,
}

impl Seen {
    /// `None`: the packet lacks something that rules of this shape ask for.
    fn key(&self, shape: Shape) -> Option<Key> {
        let upper = |(ipv6, address): (bool, u128), network: Option<Network>| match network {
            None => Some(0),
            Some(network) => (network.ipv6 == ipv6).then(|| prefix_bounds(address, network.length, width(ipv6)).0),
        };
        Some(Key {
            source: upper(self.source, shape.source)?,
            destination: upper(self.destination, shape.destination)?,
            port: if shape.port { self.port? } else { 0 },
            protocol: if shape.protocol { self.protocol } else { 0 },
            input: if shape.input { self.input? } else { 0 },
            output: if shape.output { self.output? } else { 0 },
        })
    }
}

/// All that a rule asks for, as shapes with keys; groups are alternatives of one field each.
fn combinations(mut groups: Vec<Vec<Asked>>, most: usize) -> Vec<(Shape, Key)> {
    // What would have to be written out too often is left to the rule itself.
    let size = |groups: &[Vec<Asked>]| groups.iter().fold(1_usize, |all, group| all.saturating_mul(group.len()));
    while size(&groups) > most {
        let longest = (0..groups.len()).max_by_key(|&at| groups[at].len()).unwrap_or_default();
        groups.swap_remove(longest);
    }
    let mut combined = vec![(Shape::default(), Key::default())];
    for group in groups {
        combined = combined
            .into_iter()
            .flat_map(|(shape, key)| group.iter().map(move |asked| asked.added(shape, key)))
            .collect();
    }
    combined
}

impl Asked {
    fn added(self, mut shape: Shape, mut key: Key) -> (Shape, Key) {
        match self {
            Self::Source(network, value) => (shape.source, key.source) = (Some(network), value),
            Self::Destination(network, value) => (shape.destination, key.destination) = (Some(network), value),
            Self::Port(port) => (shape.port, key.port) = (true, port),
            Self::Protocol(number) => (shape.protocol, key.protocol) = (true, number),
            Self::Input(name) => (shape.input, key.input) = (true, name),
            Self::Output(name) => (shape.output, key.output) = (true, name),
        }
        (shape, key)
    }
}

/// Reads what must hold of a packet before a rule does anything.
struct Gatherer<'a, F> {
    names: &'a mut HashMap<String, u32>,
    named: &'a F,
    /// Alternatives that are still worth it.
    most: usize,
}

impl<'s, F: Fn(&'s SetReference) -> Option<&'s Set>> Gatherer<'_, F> {
    /// One group a field that the rule asks about, with the values that it may have. A rule may ask one field twice:
    /// the first time counts.
    fn groups(mut self, rule: &'s Rule) -> Vec<Vec<Asked>> {
        let mut groups: Vec<Vec<Asked>> = Vec::new();
        for statement in &rule.statements {
            let matching = match statement {
                Statement::Match(matching) => matching,
                Statement::AnyOf(matches) if matches.len() == 1 => &matches[0],
                Statement::AnyOf(_) | Statement::NoneOf(_) | Statement::Passive(_) | Statement::Perhaps(_) => continue,
                // From here on it may have done something.
                _ => break,
            };
            if let Some(group) = self.group(matching)
                && let Some(first) = group.first()
            {
                let same = |known: &Vec<Asked>| known.iter().any(|known| known.kind() == first.kind());
                if !groups.iter().any(same) {
                    groups.push(group);
                }
            }
        }
        groups
    }

    /// `None`: anything might do.
    fn group(&mut self, matching: &'s Match) -> Option<Vec<Asked>> {
        let (Expression::Field(field), Operator::Equal) = (&matching.left, matching.operator) else { return None };
        let mut group = Vec::new();
        self.values(*field, &matching.right, &mut group)?;
        (group.len() <= self.most).then_some(group)
    }

    fn values(&mut self, field: Field, pattern: &'s Pattern, group: &mut Vec<Asked>) -> Option<()> {
        let source = matches!(field, Field::IpSource | Field::Ip6Source);
        let ipv6 = matches!(field, Field::Ip6Source | Field::Ip6Destination);
        let of_address = source || matches!(field, Field::IpDestination | Field::Ip6Destination);
        let address = |(length, value): (u8, u128)| {
            let network = Network { ipv6, length };
            if source { Asked::Source(network, value) } else { Asked::Destination(network, value) }
        };
        match (field, pattern) {
            (_, Pattern::Set(reference)) => {
                let set = match reference {
                    SetReference::Anonymous(set) => set.as_ref(),
                    SetReference::Named(_) | SetReference::Ipset(_) => (self.named)(reference)?,
                };
                if set.elements.len() > self.most || set.incomplete.is_some() || set.dynamic {
                    return None;
                }
                set.elements.iter().try_for_each(|element| self.values(field, &element.key, group))?;
            }
            (_, Pattern::Exactly(Datum::Number(value))) if of_address => group.push(address((width(ipv6), *value))),
            (_, Pattern::Prefix { value, length, width: bits }) if of_address && *bits == width(ipv6) => {
                group.push(address((*length, prefix_bounds(*value, *length, *bits).0)));
            }
            (_, Pattern::Range(first, last)) if of_address => {
                group.extend(prefixes(*first, *last, width(ipv6)).map(address));
            }
            (Field::DestinationPort(_), Pattern::Exactly(Datum::Number(port))) => {
                group.push(Asked::Port(u16::try_from(*port).ok()?));
            }
            (Field::DestinationPort(_), Pattern::Range(low, high)) => {
                let (low, high) = (u16::try_from(*low).ok()?, u16::try_from(*high).ok()?);
                if usize::from(high.checked_sub(low)?) >= MANY {
                    return None;
                }
                group.extend((low..=high).map(Asked::Port));
            }
            (Field::TransportProtocol | Field::IpProtocol, Pattern::Exactly(Datum::Number(number))) => {
                group.push(Asked::Protocol(u8::try_from(*number).ok()?));
            }
            (Field::InputInterface, Pattern::Exactly(Datum::Name(name))) => group.push(Asked::Input(self.name(name))),
            (Field::OutputInterface, Pattern::Exactly(Datum::Name(name))) => {
                group.push(Asked::Output(self.name(name)));
            }
            _ => return None,
        }
        (group.len() <= self.most).then_some(())
    }

    fn name(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        *self.names.entry(name.to_owned()).or_insert(next)
    }
}

impl Asked {
    const fn kind(self) -> u8 {
        match self {
            Self::Source(..) => 0,
            Self::Destination(..) => 1,
            Self::Port(_) => 2,
            Self::Protocol(_) => 3,
            Self::Input(_) => 4,
            Self::Output(_) => 5,
        }
    }
}

/// The prefixes that a range is made of, as length and value; at most two a bit.
fn prefixes(first: u128, last: u128, width: u8) -> impl Iterator<Item = (u8, u128)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let from = next.filter(|from| *from <= last)?;
        // The largest block that begins here and does not go beyond the end.
        let mut host = from.trailing_zeros().min(u32::from(width));
        let block_end = |host: u32| from | if host >= 128 { u128::MAX } else { (1 << host) - 1 };
        while block_end(host) > last {
            host -= 1;
        }
        next = block_end(host).checked_add(1);
        Some((width - u8::try_from(host).unwrap_or(width), from))
    })
}

const fn width(ipv6: bool) -> u8 {
    if ipv6 { 128 } else { 32 }
}

/// Chains shorter than this are run from front to back.
const SHORT: usize = 12;
/// A rule may always be written out for so many combinations of values,
const MANY: usize = 64;
/// and for so many while there is room for large sets.
const LARGE: usize = 16_384;
const ROOM: usize = 262_144;
/// Each costs every packet a look. More occur only in rulesets that are made for it.
const MOST_SHAPES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_into_prefixes() {
        let cut = |first, last, width| prefixes(first, last, width).collect::<Vec<_>>();
        assert_eq!(
            cut(0x0a00_0001, 0x0a00_0006, 32),
            [(32, 0x0a00_0001), (31, 0x0a00_0002), (31, 0x0a00_0004), (32, 0x0a00_0006)]
        );
        assert_eq!(cut(0, u128::from(u32::MAX), 32), [(0, 0)]);
        assert_eq!(cut(0, u128::MAX, 128), [(0, 0)]);
        assert_eq!(cut(7, 7, 32), [(32, 7)]);
        assert_eq!(cut(8, 7, 32), []);
    }

    #[test]
    fn alternatives_are_combined_while_they_are_few() {
        let ports = |count: u16| (0..count).map(Asked::Port).collect::<Vec<_>>();
        let names = |count: u32| (0..count).map(Asked::Input).collect::<Vec<_>>();
        assert_eq!(combinations(vec![ports(3), names(4)], 64).len(), 12);
        // The longer one is left out.
        let found = combinations(vec![ports(60), names(4)], 64);
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|(shape, _)| shape.input && !shape.port));
        assert_eq!(combinations(Vec::new(), 64), [(Shape::default(), Key::default())]);
    }
}
