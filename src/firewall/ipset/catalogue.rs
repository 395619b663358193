//! The listing line by line, and the sets that are in it.

use std::collections::HashMap;
use std::sync::Arc;

use super::building::Building;
use crate::firewall::ruleset::Set;

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

/// Characters of a broken line that an error shows.
const LONGEST_EXCERPT: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::ipset::values::exactly;
    use crate::firewall::ruleset::Pattern;

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
