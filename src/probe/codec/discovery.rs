//! What replies of DNS service discovery tell: services, instances, hosts (RFC 6763).

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record};

use super::Facts;
use super::exchange::{MAX_ITEMS, list, put, text};

/// Longest label of a name is 63 bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// What one or more replies tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// `_ipp._tcp`.
    pub services: BTreeSet<String>,
    /// Name, service type, port where it is known.
    pub instances: BTreeSet<(String, String, Option<u16>)>,
    pub hosts: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
    pub macs: BTreeSet<String>,
    pub hinfo: BTreeSet<String>,
    pub models: BTreeSet<String>,
    pub text_keys: BTreeSet<String>,
}

impl Discovery {
    /// Takes in the records of one reply; of each kind [`MAX_ITEMS`] at most.
    pub fn add(&mut self, message: &Message) {
        for record in message.all_sections() {
            match &record.data {
                RData::PTR(target) => self.add_pointer(&record.name, &target.0),
                RData::SRV(service) => {
                    if let Some((name, kind)) = instance(&record.name) {
                        self.instances.remove(&(name.clone(), kind.clone(), None));
                        keep(&mut self.instances, (name, kind, Some(service.port)));
                    }
                    self.add_host(&service.target);
                }
                RData::A(address) => self.add_address(record, IpAddr::V4(address.0)),
                RData::AAAA(address) => self.add_address(record, IpAddr::V6(address.0)),
                RData::HINFO(info) => {
                    keep(&mut self.hinfo, format!("{} {}", text(&info.cpu, 40), text(&info.os, 40)));
                    self.add_host(&record.name);
                }
                RData::TXT(entries) => entries.txt_data.iter().for_each(|entry| self.add_text(entry)),
                _ => {}
            }
        }
    }

    fn add_pointer(&mut self, owner: &Name, target: &Name) {
        let reverse = Name::from_labels([&b"arpa"[..]]).is_ok_and(|arpa| arpa.zone_of(owner));
        if reverse {
            self.add_host(target);
        } else if let Some(kind) = service_type(target) {
            keep(&mut self.services, kind);
        } else if let Some((name, kind)) = instance(target) {
            if let Some(mac) = workstation_mac(&name, &kind) {
                keep(&mut self.macs, mac);
            }
            keep(&mut self.services, kind.clone());
            let known = self.instances.iter().any(|(other, of, _)| (other, of) == (&name, &kind));
            if !known {
                keep(&mut self.instances, (name, kind, None));
            }
        }
    }

    fn add_address(&mut self, record: &Record, address: IpAddr) {
        keep(&mut self.addresses, address);
        self.add_host(&record.name);
    }

    fn add_host(&mut self, name: &Name) {
        let name: Vec<String> = name.iter().map(|label| text(label, MAX_LABEL)).collect();
        if !name.is_empty() {
            keep(&mut self.hosts, name.join("."));
        }
    }

    /// `key=value` or `key` (RFC 6763, section 6.4). Values may be secrets: only the device's model is kept.
    fn add_text(&mut self, entry: &[u8]) {
        let mut parts = entry.splitn(2, |byte| *byte == b'=');
        let key = parts.next().unwrap_or_default();
        if key.is_empty() {
            return;
        }
        if let (true, Some(model)) = (key.eq_ignore_ascii_case(b"model"), parts.next()) {
            keep(&mut self.models, text(model, 64));
        }
        // Without `=` the whole entry is the key by the RFC; an overlong one is free text and may be anything.
        if key.len() <= 20 {
            keep(&mut self.text_keys, text(key, 20));
        }
    }

    /// What there was, in words.
    pub fn facts(self) -> Facts {
        let leaks: Vec<&str> = [
            ("services", self.services.is_empty()),
            ("hosts", self.hosts.is_empty()),
            ("addresses", self.addresses.is_empty()),
            ("mac", self.macs.is_empty()),
            ("hinfo", self.hinfo.is_empty()),
            ("model", self.models.is_empty()),
            ("texts", self.text_keys.is_empty()),
        ]
        .into_iter()
        .filter_map(|(word, is_empty)| (!is_empty).then_some(word))
        .collect();
        let instances = self.instances.into_iter().map(|(name, kind, port)| match port {
            // Port 0 stands for a service that is only announced (RFC 6763, section 7.1).
            Some(port) if port != 0 => format!("{name} {kind} port {port}"),
            _ => format!("{name} {kind}"),
        });
        let mut facts = Facts::from([("reply".to_owned(), "answer".to_owned())]);
        put(&mut facts, "leaks", leaks.join(" "));
        put(&mut facts, "services", list(self.services));
        put(&mut facts, "instances", list(instances));
        put(&mut facts, "hosts", list(self.hosts));
        put(&mut facts, "addresses", list(self.addresses.iter().map(IpAddr::to_string)));
        put(&mut facts, "mac", list(self.macs));
        put(&mut facts, "hinfo", list(self.hinfo));
        put(&mut facts, "model", list(self.models));
        put(&mut facts, "text_keys", list(self.text_keys));
        facts
    }
}

/// `_ipp._tcp.local` is `_ipp._tcp`.
pub fn service_type(name: &Name) -> Option<String> {
    let labels: Vec<&[u8]> = name.iter().collect();
    match labels.as_slice() {
        [kind, protocol, _domain] => kind_and_protocol(kind, protocol),
        _ => None,
    }
}

/// `Printer._ipp._tcp.local` is `Printer`, `_ipp._tcp`.
fn instance(name: &Name) -> Option<(String, String)> {
    let labels: Vec<&[u8]> = name.iter().collect();
    match labels.as_slice() {
        [instance, kind, protocol, _domain] => {
            let kind = kind_and_protocol(kind, protocol).filter(|kind| kind != "_dns-sd._udp")?;
            Some((text(instance, MAX_LABEL), kind))
        }
        _ => None,
    }
}

fn kind_and_protocol(kind: &[u8], protocol: &[u8]) -> Option<String> {
    let protocol = ["_tcp", "_udp"].into_iter().find(|known| protocol.eq_ignore_ascii_case(known.as_bytes()))?;
    kind.starts_with(b"_").then(|| format!("{}.{protocol}", text(kind, MAX_LABEL)))
}

/// Workstation instances are called `HOST [MAC]`.
fn workstation_mac(name: &str, kind: &str) -> Option<String> {
    let (_, mac) = name.strip_suffix(']').filter(|_| kind == "_workstation._tcp")?.rsplit_once('[')?;
    let octets =
        mac.split(':').filter(|octet| octet.len() == 2 && octet.bytes().all(|digit| digit.is_ascii_hexdigit()));
    (octets.count() == 6 && mac.len() == 17).then(|| mac.to_owned())
}

fn keep<T: Ord>(set: &mut BTreeSet<T>, item: T) {
    if set.len() < MAX_ITEMS {
        set.insert(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_only_from_workstations() {
        let mac = |name: &str| workstation_mac(name, "_workstation._tcp");
        assert_eq!(mac("host [02:00:00:00:00:01]").as_deref(), Some("02:00:00:00:00:01"));
        for odd in ["host", "host []", "host [02:00:00:00:00]", "host [02:00:00:00:00:0g]", "[", "]"] {
            assert_eq!(mac(odd), None, "{odd}");
        }
        assert_eq!(workstation_mac("host [02:00:00:00:00:01]", "_ssh._tcp"), None);
    }
}
