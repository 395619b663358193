//! Which rules of a long chain can match a packet at all: by the addresses, ports, interfaces and protocols that they
//! name. Order is kept.

use std::collections::HashMap;

use super::packet::{Device, Packet, Port, number};
use super::ruleset::{Chain, Datum, Expression, Field, Operator, Pattern, Rule, SetReference, Statement};

/// Rules of a chain, sorted by what must hold before they can do anything.
#[derive(Clone, Debug, Default)]
pub struct ChainIndex {
    rules: HashMap<Key, Vec<u32>>,
    /// Prefix lengths that occur, by side and family.
    lengths: HashMap<(Side, bool), Vec<u8>>,
    inputs: HashMap<String, Vec<u32>>,
    outputs: HashMap<String, Vec<u32>>,
    /// Rules that must be asked of every packet.
    rest: Vec<u32>,
}

/// Positions of the rules that can match one packet.
#[derive(Debug)]
pub enum Candidates<'a> {
    All(u32),
    Lists(Vec<&'a [u32]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Source,
    Destination,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(Side, bool, u8, u128),
    DestinationPort(u16),
    Input(String),
    Output(String),
    Protocol(u8),
}

impl ChainIndex {
    /// `None` for chains that are too short to gain from it.
    pub fn new(chain: &Chain) -> Option<Self> {
        if chain.rules.len() < SHORT {
            return None;
        }
        // The rarest of the keys that a rule may be found by.
        let choices: Vec<Vec<Vec<Key>>> = chain.rules.iter().map(keys).collect();
        let mut counts: HashMap<&Key, u32> = HashMap::new();
        for key in choices.iter().flatten().flatten() {
            *counts.entry(key).or_default() += 1;
        }
        let mut index = Self::default();
        for (at, choices) in choices.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let cost = |keys: &&Vec<Key>| keys.iter().map(|key| counts[key]).max().unwrap_or(0);
            match choices.iter().min_by_key(cost) {
                Some(keys) => keys.iter().for_each(|key| index.add(key.clone(), at)),
                None => index.rest.push(at),
            }
        }
        for lengths in index.lengths.values_mut() {
            lengths.sort_unstable();
            lengths.dedup();
        }
        Some(index)
    }

    fn add(&mut self, key: Key, at: u32) {
        let list = match key {
            Key::Input(name) => self.inputs.entry(name).or_default(),
            Key::Output(name) => self.outputs.entry(name).or_default(),
            key => {
                if let Key::Address(side, ipv6, length, _) = key {
                    self.lengths.entry((side, ipv6)).or_default().push(length);
                }
                self.rules.entry(key).or_default()
            }
        };
        // The same key twice in one rule.
        if list.last() != Some(&at) {
            list.push(at);
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
        let mut lists: Vec<&[u32]> = vec![&self.rest];
        for (side, address) in [(Side::Source, packet.source), (Side::Destination, packet.destination)] {
            let (ipv6, bits) = (address.is_ipv6(), number(address));
            for length in self.lengths.get(&(side, ipv6)).into_iter().flatten() {
                lists.extend(
                    self.rules
                        .get(&Key::Address(side, ipv6, *length, upper(bits, *length, width(ipv6))))
                        .map(Vec::as_slice),
                );
            }
        }
        if let Port::Known(port) = packet.destination_port {
            lists.extend(self.rules.get(&Key::DestinationPort(port)).map(Vec::as_slice));
        }
        let protocol = packet.protocol.number(packet.is_ipv6());
        lists.extend(self.rules.get(&Key::Protocol(protocol)).map(Vec::as_slice));
        for (device, named) in [(&packet.input, &self.inputs), (&packet.output, &self.outputs)] {
            let name = match device {
                Device::Name(name) => name,
                Device::None | Device::Unknown => "",
            };
            lists.extend(named.get(name).map(Vec::as_slice));
        }
        lists.retain(|list| !list.is_empty());
        Candidates::Lists(lists)
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

/// Groups of keys, each of which holds all keys that the rule may be found by.
fn keys(rule: &Rule) -> Vec<Vec<Key>> {
    let mut groups = Vec::new();
    for statement in &rule.statements {
        let matching = match statement {
            Statement::Match(matching) => matching,
            Statement::Passive(_) | Statement::Perhaps(_) => continue,
            // From here on it may have done something.
            _ => break,
        };
        let (Expression::Field(field), Operator::Equal) = (&matching.left, matching.operator) else { continue };
        if let Some(keys) = pattern_keys(*field, &matching.right) {
            groups.push(keys);
        }
    }
    groups
}

fn pattern_keys(field: Field, pattern: &Pattern) -> Option<Vec<Key>> {
    match pattern {
        Pattern::Set(SetReference::Anonymous(set))
            if set.elements.len() <= MANY && set.incomplete.is_none() && !set.dynamic =>
        {
            let mut keys = Vec::new();
            for element in &set.elements {
                keys.extend(pattern_keys(field, &element.key)?);
            }
            Some(keys)
        }
        Pattern::Range(low, high) if matches!(field, Field::DestinationPort(_)) => {
            let (low, high) = (u16::try_from(*low).ok()?, u16::try_from(*high).ok()?);
            (usize::from(high.checked_sub(low)?) < MANY).then(|| (low..=high).map(Key::DestinationPort).collect())
        }
        pattern => Some(vec![key(field, pattern)?]),
    }
}

fn key(field: Field, pattern: &Pattern) -> Option<Key> {
    let side = match field {
        Field::IpSource => Some((Side::Source, false)),
        Field::Ip6Source => Some((Side::Source, true)),
        Field::IpDestination => Some((Side::Destination, false)),
        Field::Ip6Destination => Some((Side::Destination, true)),
        _ => None,
    };
    match (field, pattern, side) {
        (_, Pattern::Exactly(Datum::Number(value)), Some((side, ipv6))) => {
            Some(Key::Address(side, ipv6, width(ipv6), *value))
        }
        (_, Pattern::Prefix { value, length, width: bits }, Some((side, ipv6))) if *bits == width(ipv6) => {
            Some(Key::Address(side, ipv6, *length, upper(*value, *length, *bits)))
        }
        (Field::DestinationPort(_), Pattern::Exactly(Datum::Number(port)), _) => {
            u16::try_from(*port).ok().map(Key::DestinationPort)
        }
        (Field::InputInterface, Pattern::Exactly(Datum::Name(name)), _) => Some(Key::Input(name.clone())),
        (Field::OutputInterface, Pattern::Exactly(Datum::Name(name)), _) => Some(Key::Output(name.clone())),
        (Field::TransportProtocol | Field::IpProtocol, Pattern::Exactly(Datum::Number(number)), _) => {
            u8::try_from(*number).ok().map(Key::Protocol)
        }
        _ => None,
    }
}

const fn width(ipv6: bool) -> u8 {
    if ipv6 { 128 } else { 32 }
}

/// `value` with only its upper `length` of `width` bits.
fn upper(value: u128, length: u8, width: u8) -> u128 {
    super::lookup::prefix_bounds(value, length, width).0
}

/// Chains shorter than this are run from front to back.
const SHORT: usize = 12;
/// Sets and ranges larger than this are not spread over the index.
const MANY: usize = 64;
