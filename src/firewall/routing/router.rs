//! Routes, addresses and settings of one namespace, and what they tell by themselves.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::lookup::{Flow, Lookup, mask};
use crate::firewall::packet::Packet;
use crate::model::NetworkState;
use crate::model::network::{Interface, PolicyRule, Route, RouteKind};

/// Routes, addresses and settings of a namespace, made ready to be asked.
#[derive(Clone, Debug)]
pub struct Router {
    pub(super) interfaces: HashMap<String, Interface>,
    pub(super) tables: [HashMap<u32, Table>; 2],
    pub(super) rules: [Vec<PolicyRule>; 2],
    sysctls: BTreeMap<String, String>,
    /// Whether the report has routes of the family.
    pub(super) known: [bool; 2],
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Prefix lengths that occur, longest first.
    pub(super) lengths: Vec<u8>,
    /// By length and masked destination; best metric first.
    pub(super) routes: HashMap<(u8, u128), Vec<Route>>,
}

impl Router {
    pub fn new(network: &NetworkState) -> Self {
        let mut tables = [HashMap::<u32, Table>::new(), HashMap::new()];
        let mut known = [false; 2];
        for route in &network.routes {
            let family = usize::from(route.destination.is_ipv6());
            known[family] = true;
            let table = tables[family].entry(route.table).or_default();
            let masked = mask(route.destination, route.prefix);
            table.routes.entry((route.prefix, masked)).or_default().push(route.clone());
        }
        for table in tables.iter_mut().flat_map(HashMap::values_mut) {
            table.lengths = table.routes.keys().map(|(length, _)| *length).collect();
            table.lengths.sort_unstable_by(|a, b| b.cmp(a));
            table.lengths.dedup();
            for routes in table.routes.values_mut() {
                routes.sort_by_key(|route| route.metric);
            }
        }
        let rules = [false, true].map(|ipv6| {
            let mut rules: Vec<_> = network.policy_rules.iter().filter(|rule| rule.ipv6 == ipv6).cloned().collect();
            if rules.is_empty() {
                let default =
                    |(priority, table)| PolicyRule { priority, ipv6, table: Some(table), ..Default::default() };
                rules = [(0, LOCAL), (32_766, MAIN), (32_767, DEFAULT)].map(default).to_vec();
            }
            rules.sort_by_key(|rule| rule.priority);
            rules
        });
        let interfaces = network.interfaces.iter().map(|item| (item.name.clone(), item.clone())).collect();
        Self { interfaces, tables, rules, sysctls: network.sysctls.clone(), known }
    }

    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.get(name)
    }

    /// The interface by which an answer to `source` leaves.
    pub fn way_back(&self, source: IpAddr, from: IpAddr) -> Option<String> {
        match self.lookup(Flow { source: from, destination: source, input: Some(LO), output: None, mark: Some(0) }) {
            Lookup::Found(routes) => routes.first().and_then(|route| {
                if route.kind == RouteKind::Local { Some(LO.to_owned()) } else { route.interface.clone() }
            }),
            _ => None,
        }
    }

    /// Whether the address is one of this namespace's.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.interfaces.values().flat_map(|interface| &interface.addresses).any(|own| own.address == address)
    }

    /// Whether sender and destination of the packet are both on the link of this interface: the frame is addressed to the
    /// destination.
    pub fn is_neighbour_on(&self, interface: &str, packet: &Packet) -> bool {
        self.is_on_link_of(interface, packet.source) && self.is_on_link_of(interface, packet.destination)
    }

    /// Whether an address of another host is within one of the interface's prefixes.
    pub fn is_on_link_of(&self, interface: &str, address: IpAddr) -> bool {
        let addresses = self.interfaces.get(interface).map_or(&[][..], |interface| &interface.addresses);
        let within = addresses.iter().any(|own| {
            own.address.is_ipv6() == address.is_ipv6() && mask(own.address, own.prefix) == mask(address, own.prefix)
        });
        within && !self.is_own(address)
    }

    pub fn is_port_of(&self, interface: &str, bridge: &str) -> bool {
        self.interfaces.get(interface).is_some_and(|port| port.master.as_deref() == Some(bridge))
    }

    /// Whether br_netfilter hands what a bridge sees to the IP hooks; without the module there are no such settings.
    /// `None`: not known.
    pub fn bridge_calls_ip(&self, ipv6: bool) -> Option<bool> {
        if self.sysctls.is_empty() {
            return None;
        }
        let name = if ipv6 { "bridge.bridge-nf-call-ip6tables" } else { "bridge.bridge-nf-call-iptables" };
        Some(self.sysctl(name).unwrap_or(0) != 0)
    }

    /// The interface that has the address.
    pub fn interface_of(&self, address: IpAddr) -> Option<&Interface> {
        self.interfaces.values().find(|interface| interface.addresses.iter().any(|own| own.address == address))
    }

    /// First address of an interface in the family (and scope) of `like`: where `redirect` leads to, what `masquerade`
    /// takes (nf_nat_redirect.c, nf_nat_masquerade.c). `Err`: the interface is not known.
    pub fn first_address(&self, interface: &str, like: IpAddr) -> Result<Option<IpAddr>, String> {
        let Some(interface) = self.interfaces.get(interface) else {
            return Err(format!("the addresses of {interface}"));
        };
        let fits = |address: &IpAddr| match (address, like) {
            (IpAddr::V4(_), IpAddr::V4(_)) => true,
            (IpAddr::V6(own), IpAddr::V6(like)) => own.is_unicast_link_local() == like.is_unicast_link_local(),
            _ => false,
        };
        Ok(interface.addresses.iter().map(|own| own.address).find(fits))
    }

    /// `/proc/sys/net/` value as a number.
    pub fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.trim().parse().ok()
    }

    /// The setting of `all` and of the interface, joined as the kernel's IN_DEV_*CONF macros do (linux/inetdevice.h).
    pub(super) fn setting(&self, family: &str, interface: &str, name: &str, join: fn(i64, i64) -> i64) -> Option<i64> {
        let all = self.sysctl(&format!("{family}.conf.all.{name}"));
        let own = self
            .sysctl(&format!("{family}.conf.{interface}.{name}"))
            .or_else(|| self.sysctl(&format!("{family}.conf.default.{name}")));
        match (all, own) {
            (Some(all), Some(own)) => Some(join(all, own)),
            (one, other) => one.or(other),
        }
    }

    /// Whether packets that come in by the interface may be forwarded.
    pub(super) fn forwards(&self, ipv6: bool, interface: &str) -> Option<bool> {
        let value = if ipv6 {
            // ip6_forward: one switch for all; `force_forwarding` of an interface (Linux 6.17) overrides it.
            match self.sysctl("ipv6.conf.all.forwarding") {
                Some(0) => Some(self.sysctl(&format!("ipv6.conf.{interface}.force_forwarding")).unwrap_or(0)),
                other => other,
            }
        } else {
            self.sysctl(&format!("ipv4.conf.{interface}.forwarding"))
                .or_else(|| self.sysctl("ipv4.conf.all.forwarding"))
                .or_else(|| self.sysctl("ipv4.ip_forward"))
        };
        value.map(|value| value != 0)
    }
}

/// The loopback interface.
pub const LO: &str = "lo";
/// The routing table `local` (rtnetlink.h).
pub(super) const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;
