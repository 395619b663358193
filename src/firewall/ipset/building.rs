//! One set while its lines are read.

use std::net::IpAddr;
use std::sync::Arc;

use super::catalogue::{Ipset, KeyPart};
use super::exceptions::without_exceptions;
use super::values::{exactly, mac, mask, number, port, protocol_port};
use crate::firewall::ruleset::{Datum, Element, Pattern, Set};

/// A set whose lines are being read.
pub(super) struct Building {
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
    pub(super) fn new(kind: &str, options: &[&str]) -> Result<Self, String> {
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

    pub(super) fn add(&mut self, element: &str, options: &[&str]) -> Result<(), String> {
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
    pub(super) fn finish(mut self, name: String) -> Vec<(String, Ipset)> {
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

/// Marks names of bridge ports while a set is read; no interface's name can begin so.
const PHYSICAL: &str = "/";
