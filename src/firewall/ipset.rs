//! What `ipset save` prints, read into sets that `-m set` is asked of.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::ruleset::{Datum, Element, Pattern, Set};

/// All ipsets of a namespace by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    sets: HashMap<String, Ipset>,
}

/// An ipset: its elements, and what a packet is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Ipset {
    /// `hash:ip,port`.
    pub kind: String,
    /// The family of its addresses; `None` for sets that hold none.
    pub ipv6: Option<bool>,
    /// One a dimension; empty for a type that is not known.
    pub parts: Vec<KeyPart>,
    /// Of `list:set`: names of the sets in it, in the order they are asked.
    pub members: Option<Vec<String>>,
    pub set: Arc<Set>,
}

/// A dimension of an ipset's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    Address,
    /// A port of any transport (`bitmap:port`).
    Port,
    /// Two parts of the key: protocol and port.
    ProtocolPort,
    Mac,
    Interface,
    /// `physdev:NAME` elements: the bridge port.
    PhysicalInterface,
    Mark {
        mask: u32,
    },
}

/// A listing that `ipset restore` would not take either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ipset save line {line}: {cause}: {text:?}")]
pub struct IpsetError {
    /// From 1.
    pub line: usize,
    pub cause: String,
    pub text: String,
}

impl Catalogue {
    pub fn get(&self, name: &str) -> Option<&Ipset> {
        self.sets.get(name)
    }

    /// The sets as the evaluator looks them up; lists are not among them, the readers ask their members.
    pub fn into_sets(self) -> HashMap<String, Arc<Set>> {
        self.sets.into_iter().filter(|(_, set)| set.members.is_none()).map(|(name, set)| (name, set.set)).collect()
    }

    /// Marks a set that rules fill or empty at run time.
    pub fn mark_dynamic(&mut self, name: &str) {
        if let Some(set) = self.sets.get_mut(name) {
            Arc::make_mut(&mut set.set).dynamic = true;
        }
    }
}

/// Reads the listing. A type of set that is not known leaves that set unanswerable, a broken line fails the whole.
pub fn read(text: &str) -> Result<Catalogue, IpsetError> {
    let mut building: HashMap<String, Building> = HashMap::new();
    let mut text_lines = 0;
    for (index, line) in text.lines().enumerate() {
        text_lines = index + 1;
        let error =
            |cause: String| IpsetError { line: index + 1, cause, text: line.chars().take(LONGEST_EXCERPT).collect() };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["create", name, kind, options @ ..] => {
                let set = Building::new(kind, options).map_err(error)?;
                if building.insert((*name).to_owned(), set).is_some() {
                    return Err(error(format!("set {name} came before")));
                }
            }
            ["add", name, element, options @ ..] => {
                let Some(set) = building.get_mut(*name) else {
                    return Err(error(format!("set {name} was not created")));
                };
                set.add(element, options).map_err(error)?;
            }
            _ => return Err(error("neither create nor add".to_owned())),
        }
    }
    if let Some(last) = text.lines().last().filter(|_| !text.ends_with('\n')) {
        // An address that was cut may still look like one.
        let text = last.chars().take(LONGEST_EXCERPT).collect();
        return Err(IpsetError { line: text_lines, cause: "the listing ends inside a line".to_owned(), text });
    }
    let mut catalogue = Catalogue::default();
    for (name, set) in building {
        for (name, set) in set.finish(name) {
            catalogue.sets.insert(name, set);
        }
    }
    Ok(catalogue)
}

/// A set whose lines are being read.
struct Building {
    kind: String,
    ipv6: bool,
    parts: Vec<KeyPart>,
    /// Prefix length that all addresses are cut to (`netmask`).
    netmask: Option<u8>,
    dynamic: bool,
    incomplete: Option<String>,
    elements: Vec<(Vec<Pattern>, bool)>,
    members: Option<Vec<String>>,
}

impl Building {
    fn new(kind: &str, options: &[&str]) -> Result<Self, String> {
        let value =
            |name: &str| options.iter().position(|option| *option == name).and_then(|at| options.get(at + 1)).copied();
        let ipv6 = match value("family") {
            None | Some("inet") => false,
            Some("inet6") => true,
            Some(other) => return Err(format!("family {other} is not known")),
        };
        let mut set = Self {
            kind: kind.to_owned(),
            ipv6,
            parts: Vec::new(),
            netmask: None,
            dynamic: value("timeout").is_some(),
            incomplete: None,
            elements: Vec::new(),
            members: None,
        };
        let Some((_, types)) = kind.split_once(':') else { return Err(format!("{kind} is no type of a set")) };
        if kind == "list:set" {
            set.members = Some(Vec::new());
            return Ok(set);
        }
        for part in types.split(',') {
            set.parts.push(match part {
                "ip" | "net" => KeyPart::Address,
                "port" if kind == "bitmap:port" => KeyPart::Port,
                "port" => KeyPart::ProtocolPort,
                "mac" => KeyPart::Mac,
                "iface" => KeyPart::Interface,
                "mark" => KeyPart::Mark { mask: value("markmask").map_or(Ok(u32::MAX), number)? },
                _ => {
                    set.incomplete = Some(format!("type {kind} is not known"));
                    set.parts.clear();
                    break;
                }
            });
        }
        if let Some(netmask) = value("netmask") {
            set.netmask = Some(netmask.parse().map_err(|_| format!("{netmask:?} is no netmask"))?);
        }
        if value("bitmask").is_some() {
            set.incomplete = Some("bitmask is not known".to_owned());
            set.parts.clear();
        }
        Ok(set)
    }

    fn add(&mut self, element: &str, options: &[&str]) -> Result<(), String> {
        if let Some(members) = &mut self.members {
            members.push(element.to_owned());
            return Ok(());
        }
        if self.parts.is_empty() {
            return Ok(());
        }
        // A comment is quoted and comes with its blanks; nothing after it is looked at.
        let options = options.split(|option| *option == "comment").next().unwrap_or_default();
        if options.contains(&"timeout") {
            self.dynamic = true;
        }
        let mut texts = element.split(',');
        let mut key = Vec::new();
        for part in self.parts.clone() {
            let Some(text) = texts.next() else {
                if self.kind == "bitmap:ip,mac" {
                    // The kernel fills in the address that it sees first.
                    self.incomplete = Some(format!("element {element} has no MAC address yet"));
                    return Ok(());
                }
                return Err(format!("element {element:?} lacks a part"));
            };
            match part {
                KeyPart::Address => key.push(self.address(text)?),
                KeyPart::Port => key.push(exactly(port(text)?)),
                KeyPart::ProtocolPort => match protocol_port(text)? {
                    Some((protocol, port)) => key.extend([exactly(protocol), exactly(port)]),
                    None => {
                        self.incomplete = Some(format!("element {element} is not understood"));
                        return Ok(());
                    }
                },
                KeyPart::Mac => key.push(exactly(mac(text)?)),
                KeyPart::Interface | KeyPart::PhysicalInterface => key.push(self.interface(text, options)),
                KeyPart::Mark { .. } => key.push(exactly(number(text)?.into())),
            }
        }
        if texts.next().is_some() {
            return Err(format!("element {element:?} has a part too many"));
        }
        self.elements.push((key, options.contains(&"nomatch")));
        Ok(())
    }

    /// An address, a prefix, or FIRST-LAST.
    fn address(&self, text: &str) -> Result<Pattern, String> {
        let width: u8 = if self.ipv6 { 128 } else { 32 };
        let parse = |text: &str| match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if !self.ipv6 => Ok(u128::from(address.to_bits())),
            Ok(IpAddr::V6(address)) if self.ipv6 => Ok(address.to_bits()),
            _ => Err(format!("{text:?} is no address of the set's family")),
        };
        if let Some((first, last)) = text.split_once('-') {
            return Ok(Pattern::Range(parse(first)?, parse(last)?));
        }
        let (base, length) = match text.split_once('/') {
            None => (text, self.netmask.unwrap_or(width)),
            Some((base, length)) => match length.parse::<u8>() {
                Ok(length) if length <= width => (base, length),
                _ => return Err(format!("{text:?} is no prefix")),
            },
        };
        let value = parse(base)?;
        if length > width {
            return Err(format!("netmask {length} is too long"));
        }
        Ok(if length == width {
            exactly(value)
        } else {
            Pattern::Prefix { value: value & mask(length, width), length, width }
        })
    }

    fn interface(&mut self, text: &str, options: &[&str]) -> Pattern {
        let name = match text.strip_prefix("physdev:") {
            Some(name) => {
                // Asked of the bridge port, while the others are asked of the interface: told apart by a mark in the name
                // until the set is finished.
                format!("{PHYSICAL}{name}")
            }
            None => text.to_owned(),
        };
        if options.contains(&"wildcard") { Pattern::NameStart(name) } else { Pattern::Exactly(Datum::Name(name)) }
    }

    /// The set; one with elements for bridge ports becomes a list of two.
    fn finish(mut self, name: String) -> Vec<(String, Ipset)> {
        if self.elements.iter().any(|(_, nomatch)| *nomatch) {
            match without_exceptions(&self.elements) {
                Some(elements) => self.elements = elements,
                None => {
                    self.incomplete = Some("nomatch elements of this type are not understood".to_owned());
                    self.parts.clear();
                    self.elements.clear();
                }
            }
        }
        let family = self.parts.contains(&KeyPart::Address).then_some(self.ipv6);
        let physical = |key: &[Pattern]| {
            key.iter().any(|part| match part {
                Pattern::Exactly(Datum::Name(name)) | Pattern::NameStart(name) => name.starts_with(PHYSICAL),
                _ => false,
            })
        };
        let (bridged, plain): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.elements).into_iter().partition(|(key, _)| physical(key));
        let ipset = |name: &str, parts: Vec<KeyPart>, elements: Vec<(Vec<Pattern>, bool)>| Ipset {
            kind: self.kind.clone(),
            ipv6: family,
            members: None,
            set: Arc::new(Set {
                name: name.to_owned(),
                key_types: key_types(&parts, self.ipv6),
                elements: elements.into_iter().map(|(key, _)| Element { key: joined(key), data: None }).collect(),
                dynamic: self.dynamic,
                incomplete: self.incomplete.clone(),
            }),
            parts,
        };
        if bridged.is_empty() {
            let mut found = ipset(&name, self.parts.clone(), plain);
            found.members = self.members.clone();
            return vec![(name, found)];
        }
        let ports = self
            .parts
            .iter()
            .map(|part| if *part == KeyPart::Interface { KeyPart::PhysicalInterface } else { *part })
            .collect();
        let bridged =
            bridged.into_iter().map(|(key, nomatch)| (key.into_iter().map(unmarked).collect(), nomatch)).collect();
        // No set can have a name with a blank: these two clash with none.
        let (plain_name, bridged_name) = (format!("{name} (interfaces)"), format!("{name} (bridge ports)"));
        let plain = ipset(&plain_name, self.parts.clone(), plain);
        let bridged = ipset(&bridged_name, ports, bridged);
        let mut list = ipset(&name, Vec::new(), Vec::new());
        list.members = Some(vec![plain_name.clone(), bridged_name.clone()]);
        vec![(name, list), (plain_name, plain), (bridged_name, bridged)]
    }
}

/// The elements without those marked `nomatch`: the longest prefix decides, so these cut holes into shorter ones.
/// `None` where more than one part is a prefix.
fn without_exceptions(elements: &[(Vec<Pattern>, bool)]) -> Option<Vec<(Vec<Pattern>, bool)>> {
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

/// The upper `length` of `width` bits.
fn mask(length: u8, width: u8) -> u128 {
    let ones = |bits: u8| if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
    ones(width) & !ones(width - length)
}

fn joined(mut key: Vec<Pattern>) -> Pattern {
    if key.len() == 1 { key.remove(0) } else { Pattern::Concatenation(key) }
}

fn unmarked(part: Pattern) -> Pattern {
    let strip = |name: String| name.strip_prefix(PHYSICAL).map(str::to_owned).unwrap_or(name);
    match part {
        Pattern::Exactly(Datum::Name(name)) => Pattern::Exactly(Datum::Name(strip(name))),
        Pattern::NameStart(name) => Pattern::NameStart(strip(name)),
        other => other,
    }
}

fn key_types(parts: &[KeyPart], ipv6: bool) -> Vec<String> {
    parts
        .iter()
        .flat_map(|part| match part {
            KeyPart::Address if ipv6 => ["ipv6_addr"].as_slice(),
            KeyPart::Address => &["ipv4_addr"],
            KeyPart::Port => &["inet_service"],
            KeyPart::ProtocolPort => &["inet_proto", "inet_service"],
            KeyPart::Mac => &["ether_addr"],
            KeyPart::Interface | KeyPart::PhysicalInterface => &["ifname"],
            KeyPart::Mark { .. } => &["mark"],
        })
        .map(|name| (*name).to_owned())
        .collect()
}

const fn exactly(number: u128) -> Pattern {
    Pattern::Exactly(Datum::Number(number))
}

fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number"))
}

fn port(text: &str) -> Result<u128, String> {
    text.parse::<u16>().map(u128::from).map_err(|_| format!("{text:?} is no port"))
}

fn mac(text: &str) -> Result<u128, String> {
    let octets: Option<Vec<u8>> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    match octets {
        Some(octets) if octets.len() == 6 => {
            Ok(octets.into_iter().fold(0, |value, octet| value << 8 | u128::from(octet)))
        }
        _ => Err(format!("{text:?} is no MAC address")),
    }
}

/// `tcp:80`, `icmp:8/0`, `icmp:echo-request`; `None` for names that are not known.
fn protocol_port(text: &str) -> Result<Option<(u128, u128)>, String> {
    let Some((protocol, port_text)) = text.split_once(':') else { return Ok(Some((6, port(text)?))) };
    let number = match protocol {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        "udplite" => 136,
        "icmp" => 1,
        "icmpv6" | "ipv6-icmp" => 58,
        other => match other.parse::<u8>() {
            Ok(number) => number.into(),
            Err(_) => return Ok(None),
        },
    };
    if !matches!(number, 1 | 58) {
        return Ok(Some((number, port(port_text)?)));
    }
    let value = match port_text.split_once('/') {
        Some((kind, code)) => match (kind.parse::<u8>(), code.parse::<u8>()) {
            (Ok(kind), Ok(code)) => u128::from(kind) << 8 | u128::from(code),
            _ => return Err(format!("{port_text:?} is no ICMP type")),
        },
        None => match (number, port_text) {
            (1, "echo-reply" | "pong") => 0,
            (1, "echo-request" | "ping") => 8 << 8,
            (58, "echo-request" | "ping") => 128 << 8,
            (58, "echo-reply" | "pong") => 129 << 8,
            _ => return Ok(None),
        },
    };
    Ok(Some((number, value)))
}

/// Marks names of bridge ports while a set is read; no interface's name can begin so.
const PHYSICAL: &str = "/";

/// Characters of a broken line that an error shows.
const LONGEST_EXCERPT: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    /// As `ipset save` 7.17 printed it.
    const SAVED: &str = "\
create addresses hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1
add addresses 198.18.0.7
create nets hash:net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2
add nets 10.0.0.0/8
add nets 10.1.0.0/16 nomatch
add nets 10.1.2.0/24
create services hash:ip,port family inet6 hashsize 1024 maxelem 65536 bucketsize 12 initval 0x3
add services 2001:db8::1,tcp:80
add services 2001:db8::1,icmpv6:128/0
create ports bitmap:port range 1-1024
add ports 22
create slash bitmap:ip range 198.18.0.0/16 netmask 24
add slash 198.18.3.0
create ifaces hash:net,iface family inet hashsize 64 maxelem 65536 bucketsize 12 initval 0x4
add ifaces 10.0.0.0/8,eth0
add ifaces 10.0.0.0/8,physdev:tap wildcard
create short hash:ip family inet hashsize 1024 maxelem 65536 timeout 600 bucketsize 12 initval 0x5
add short 198.18.0.9 timeout 599
create all list:set size 8
add all addresses
add all nets
";

    #[test]
    fn sets_of_each_kind() {
        let sets = read(SAVED).unwrap();
        let keys = |name: &str| -> Vec<Pattern> {
            sets.get(name).unwrap().set.elements.iter().map(|element| element.key.clone()).collect()
        };
        assert_eq!(keys("addresses"), [exactly(0xc612_0007)]);
        assert_eq!(sets.get("services").unwrap().set.key_types, ["ipv6_addr", "inet_proto", "inet_service"]);
        let address = 0x2001_0db8 << 96 | 1;
        assert_eq!(
            keys("services"),
            [
                Pattern::Concatenation(vec![exactly(address), exactly(6), exactly(80)]),
                Pattern::Concatenation(vec![exactly(address), exactly(58), exactly(128 << 8)]),
            ]
        );
        assert_eq!(keys("ports"), [exactly(22)]);
        assert_eq!(keys("slash"), [Pattern::Prefix { value: 0xc612_0300, length: 24, width: 32 }]);
        assert!(sets.get("short").unwrap().set.dynamic);
        assert_eq!(sets.get("all").unwrap().members, Some(vec!["addresses".to_owned(), "nets".to_owned()]));
        assert!(!sets.clone().into_sets().contains_key("all"));
        assert_eq!(sets.get("nothing"), None);
    }

    #[test]
    fn a_nomatch_element_cuts_a_hole() {
        let sets = read(SAVED).unwrap();
        let keys: Vec<_> = sets.get("nets").unwrap().set.elements.iter().map(|element| element.key.clone()).collect();
        assert_eq!(
            keys,
            [
                Pattern::Range(0x0a00_0000, 0x0a00_ffff),
                Pattern::Range(0x0a01_0200, 0x0a01_02ff),
                Pattern::Range(0x0a02_0000, 0x0aff_ffff),
            ]
        );
    }

    #[test]
    fn bridge_ports_are_asked_apart() {
        let sets = read(SAVED).unwrap();
        let members = sets.get("ifaces").unwrap().members.clone().unwrap();
        assert_eq!(members.len(), 2);
        let bridged = sets.get(&members[1]).unwrap();
        assert_eq!(bridged.parts, [KeyPart::Address, KeyPart::PhysicalInterface]);
        let Pattern::Concatenation(key) = &bridged.set.elements[0].key else { panic!("{bridged:?}") };
        assert_eq!(key[1], Pattern::NameStart("tap".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(read("create odd hash:colour\nadd odd red\n").unwrap().get("odd").unwrap().set.incomplete.is_some());
        for (text, line, cause) in [
            ("add nets 10.0.0.0/8", 1, "set nets was not created"),
            ("create a hash:ip family inet\nadd a fe80::1", 2, "\"fe80::1\" is no address of the set's family"),
            ("create a hash:ip\ncreate a hash:ip", 2, "set a came before"),
            ("create a hash:ip,port\nadd a 10.0.0.1", 2, "element \"10.0.0.1\" lacks a part"),
            ("flush a", 1, "neither create nor add"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.line, error.cause.as_str()), (line, cause), "{text}");
        }
    }

    #[test]
    fn truncated_listings_never_panic() {
        for end in 0..SAVED.len() {
            let _ = read(&SAVED[..end]);
        }
    }
}
