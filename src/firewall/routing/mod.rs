//! The routing decision: for this host, to be forwarded, or neither (net/ipv4/route.c, net/ipv6/route.c).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

mod kinds;
mod lookup;

use lookup::{Lookup, mask};

use super::packet::{Packet, address, number};
use super::ruleset::Reject;
use crate::model::NetworkState;
use crate::model::network::{Interface, PolicyRule, Route, RouteKind};

/// Routes, addresses and settings of a namespace, made ready to be asked.
#[derive(Clone, Debug)]
pub struct Router {
    interfaces: HashMap<String, Interface>,
    tables: [HashMap<u32, Table>; 2],
    rules: [Vec<PolicyRule>; 2],
    sysctls: BTreeMap<String, String>,
    /// Whether the report has routes of the family.
    known: [bool; 2],
}

/// What is asked of the routes.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub input: Option<&'a str>,
    /// Only routes by this interface count.
    pub output: Option<&'a str>,
    /// `None`: not known.
    pub mark: Option<u32>,
}

/// What becomes of a packet after prerouting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Local,
    Forward {
        interface: String,
        /// Straight to the destination, without a gateway.
        on_link: bool,
    },
    /// Silence, with the reason.
    Drop(String),
    /// An ICMP error, with the reason.
    Reject(Reject, String),
    /// With what is missing.
    Unknown(String),
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Prefix lengths that occur, longest first.
    lengths: Vec<u8>,
    /// By length and masked destination; best metric first.
    routes: HashMap<(u8, u128), Vec<Route>>,
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
    fn setting(&self, family: &str, interface: &str, name: &str, join: fn(i64, i64) -> i64) -> Option<i64> {
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
    fn forwards(&self, ipv6: bool, interface: &str) -> Option<bool> {
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

    /// What becomes of a packet that came in by `flow.input`; several when it is not known which.
    pub fn decide(&self, flow: Flow<'_>) -> Vec<Decision> {
        let input = flow.input.unwrap_or("");
        // What comes over `lo` was routed on its way out.
        if input == LO {
            return vec![Decision::Local];
        }
        match (flow.source, flow.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.decide4(flow, input, source, destination),
            _ => self.decide6(flow, input),
        }
    }

    /// ip_route_input_slow.
    fn decide4(&self, flow: Flow<'_>, input: &str, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<Decision> {
        let drop = |reason: String| vec![Decision::Drop(reason)];
        if source.is_multicast() || source.is_broadcast() {
            return drop(format!("martian source {source}"));
        }
        if destination.is_broadcast() || (source.is_unspecified() && destination.is_unspecified()) {
            return vec![Decision::Local];
        }
        if source.octets()[0] == 0 || destination.octets()[0] == 0 {
            return drop(format!("martian: {source} to {destination}"));
        }
        if destination.is_loopback() || source.is_loopback() {
            let side = if destination.is_loopback() { "destination" } else { "source" };
            match self.setting("ipv4", input, "route_localnet", |a, b| a | b) {
                Some(0) => return drop(format!("martian {side}: 127.0.0.0/8 on {input}, and route_localnet is 0")),
                Some(_) => {}
                None => return vec![Decision::Unknown(format!("route_localnet of {input}"))],
            }
        }
        if destination.is_multicast() {
            let joined = destination == Ipv4Addr::new(224, 0, 0, 1);
            let other = (!joined).then(|| Decision::Drop(format!("the group {destination} is not joined")));
            return std::iter::once(Decision::Local).chain(other).collect();
        }
        let routes = match self.lookup(flow) {
            Lookup::Found(routes) => routes,
            Lookup::NotFound if !self.known[0] => return self.without_routes(flow, input),
            Lookup::NotFound => return self.unroutable(input, Reject::Icmp(0), format!("no route to {destination}")),
            Lookup::Refused(kind) => return self.refused4(input, kind, destination),
            Lookup::Unknown(what) => return vec![Decision::Unknown(what)],
        };
        let kind = routes.first().map_or(RouteKind::Other, |route| route.kind);
        match kind {
            RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast => {
                let mut decisions = self.checked(flow, input, None);
                if decisions.is_empty() {
                    decisions.push(Decision::Local);
                }
                decisions
            }
            RouteKind::Unicast => self.forwarded(flow, input, &routes),
            RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Blackhole => {
                self.refused4(input, kind, destination)
            }
            _ => vec![Decision::Unknown(format!("a route of an unknown kind to {destination}"))],
        }
    }

    fn refused4(&self, input: &str, kind: RouteKind, destination: Ipv4Addr) -> Vec<Decision> {
        match kind {
            RouteKind::Unreachable => {
                self.unroutable(input, Reject::Icmp(1), format!("unreachable route to {destination}"))
            }
            RouteKind::Prohibit => self.unroutable(input, Reject::Icmp(13), format!("prohibit route to {destination}")),
            _ => vec![Decision::Drop(format!("blackhole route to {destination}"))],
        }
    }

    /// ip_error: answers only where packets are forwarded.
    fn unroutable(&self, input: &str, reject: Reject, reason: String) -> Vec<Decision> {
        match self.forwards(false, input) {
            Some(true) => vec![Decision::Reject(reject, reason)],
            Some(false) => vec![Decision::Drop(format!("{reason}, and {input} does not forward"))],
            None => vec![
                Decision::Reject(reject, reason.clone()),
                Decision::Drop(reason),
                Decision::Unknown("the forwarding setting".to_owned()),
            ],
        }
    }

    /// ip6_route_input, ip6_forward.
    fn decide6(&self, flow: Flow<'_>, input: &str) -> Vec<Decision> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (flow.source, flow.destination) else {
            return vec![Decision::Unknown("an address of the other family".to_owned())];
        };
        let drop = |reason: String| vec![Decision::Drop(reason)];
        if source.is_multicast() {
            return drop(format!("multicast source {source}"));
        }
        // ip6_rcv_core; a translation to ::1 is dropped before input too.
        if source.is_loopback() || destination.is_loopback() {
            return drop(format!("martian: {source} to {destination} on {input}"));
        }
        if destination.is_multicast() {
            let joined = destination.segments() == [0xff02, 0, 0, 0, 0, 0, 0, 1];
            let other = (!joined).then(|| Decision::Drop(format!("the group {destination} is not joined")));
            return std::iter::once(Decision::Local).chain(other).collect();
        }
        // RT6_LOOKUP_F_IFACE: link-local addresses are those of the interface.
        let strict = destination.is_unicast_link_local();
        if strict {
            let Some(interface) = self.interfaces.get(input) else {
                return vec![Decision::Unknown(format!("the addresses of {input}"))];
            };
            if interface.addresses.iter().any(|own| own.address == flow.destination) {
                return vec![Decision::Local];
            }
        }
        let routes = match self.lookup(Flow { output: strict.then_some(input), ..flow }) {
            Lookup::Found(routes) => routes,
            Lookup::NotFound if !self.known[1] => return self.without_routes(flow, input),
            Lookup::NotFound | Lookup::Refused(RouteKind::Unreachable) => {
                return vec![Decision::Reject(Reject::Icmp6(0), format!("no route to {destination}"))];
            }
            Lookup::Refused(RouteKind::Prohibit) => {
                return vec![Decision::Reject(
                    Reject::Icmp6(1),
                    format!("prohibited by a routing rule: {destination}"),
                )];
            }
            Lookup::Refused(_) => return drop(format!("blackhole by a routing rule: {destination}")),
            Lookup::Unknown(what) => return vec![Decision::Unknown(what)],
        };
        match routes.first().map_or(RouteKind::Other, |route| route.kind) {
            RouteKind::Local | RouteKind::Anycast => vec![Decision::Local],
            RouteKind::Unicast => {
                if self.forwards(true, input) == Some(true) && source.is_unicast_link_local() {
                    return vec![Decision::Reject(Reject::Icmp6(2), format!("link-local source {source}"))];
                }
                if source.is_unspecified() {
                    return drop("unspecified source".to_owned());
                }
                self.forwarded(flow, input, &routes)
            }
            RouteKind::Prohibit => {
                vec![Decision::Reject(Reject::Icmp6(1), format!("prohibit route to {destination}"))]
            }
            RouteKind::Unreachable => {
                vec![Decision::Reject(Reject::Icmp6(0), format!("unreachable route to {destination}"))]
            }
            RouteKind::Blackhole => drop(format!("blackhole route to {destination}")),
            _ => vec![Decision::Unknown(format!("a route of an unknown kind to {destination}"))],
        }
    }

    fn forwarded(&self, flow: Flow<'_>, input: &str, routes: &[&Route]) -> Vec<Decision> {
        let mut decisions = Vec::new();
        match self.forwards(flow.destination.is_ipv6(), input) {
            Some(true) => {}
            Some(false) => return vec![Decision::Drop(format!("not for this host, and {input} does not forward"))],
            None => decisions.push(Decision::Unknown("the forwarding setting".to_owned())),
        }
        if routes.iter().any(|route| route.multipath) && routes.len() == 1 {
            decisions.push(Decision::Unknown(format!("which next hop of the route to {} is taken", flow.destination)));
        }
        for route in routes {
            let Some(interface) = route.interface.clone() else {
                decisions.push(Decision::Unknown(format!("the interface of the route to {}", flow.destination)));
                continue;
            };
            let refused = if flow.source.is_ipv4() { self.checked(flow, input, Some(&interface)) } else { Vec::new() };
            let decided = refused.iter().any(|decision| matches!(decision, Decision::Drop(_)));
            decisions.extend(refused);
            if !decided {
                decisions.push(Decision::Forward { interface, on_link: route.gateway.is_none() });
            }
        }
        decisions
    }

    /// Reports without routes still tell the addresses.
    fn without_routes(&self, flow: Flow<'_>, input: &str) -> Vec<Decision> {
        if self.is_own(flow.destination) {
            return vec![Decision::Local];
        }
        match (self.interfaces.is_empty(), self.forwards(flow.destination.is_ipv6(), input)) {
            (false, Some(false)) => vec![Decision::Drop(format!("not for this host, and {input} does not forward"))],
            _ => vec![Decision::Unknown("the routes, which the report lacks".to_owned())],
        }
    }

    /// fib_validate_source: nothing when the source may come in there.
    fn checked(&self, flow: Flow<'_>, input: &str, output: Option<&str>) -> Vec<Decision> {
        let source = flow.source;
        let Some(mode) = self.setting("ipv4", input, "rp_filter", i64::max) else {
            return vec![Decision::Unknown(format!("rp_filter of {input}"))];
        };
        let accepts_local = self.setting("ipv4", input, "accept_local", |a, b| a | b).unwrap_or(0) != 0;
        let martian = |what: &str| vec![Decision::Drop(format!("martian source {source} on {input}: {what}"))];
        let custom = self.rules[0].len() != 3 || self.rules[0].iter().any(|rule| !rule.other.is_empty());
        if mode == 0 && !custom && output != Some(input) {
            let own = self.is_own(source) && !accepts_local;
            return if own { martian("it is an address of this host") } else { Vec::new() };
        }
        let source_mark = self.setting("ipv4", input, "src_valid_mark", |a, b| a | b).unwrap_or(0) != 0;
        let mark = if source_mark { flow.mark } else { Some(0) };
        let back = Flow { source: flow.destination, destination: source, input: Some(LO), output: None, mark };
        match self.lookup(back) {
            Lookup::Found(routes) => {
                let first = routes[0];
                match first.kind {
                    RouteKind::Unicast => {}
                    RouteKind::Local if accepts_local => {}
                    RouteKind::Local => return martian("it is an address of this host"),
                    _ => return martian("no unicast address"),
                }
                let by_input = routes.iter().any(|route| route.interface.as_deref() == Some(input));
                if by_input || mode != 1 {
                    return Vec::new();
                }
                if first.multipath && routes.len() == 1 {
                    return vec![Decision::Unknown(format!("all next hops of the route to {source}"))];
                }
                let other = first.interface.as_deref().unwrap_or("none");
                martian(&format!("rp_filter is strict, and the way back is by {other}"))
            }
            Lookup::NotFound if !self.known[0] && mode != 0 => {
                vec![Decision::Unknown("the routes, which the report lacks".to_owned())]
            }
            Lookup::NotFound | Lookup::Refused(_) if mode == 0 => Vec::new(),
            Lookup::NotFound | Lookup::Refused(_) => martian("rp_filter finds no route back"),
            Lookup::Unknown(what) => vec![Decision::Unknown(what)],
        }
    }
}

/// All addresses of a range, when they are at most `limit`.
pub fn range(first: IpAddr, last: IpAddr, limit: usize) -> Option<Vec<IpAddr>> {
    let (low, high) = (number(first), number(last));
    if high < low || high - low >= limit as u128 {
        return None;
    }
    (low..=high).map(|bits| address(bits, first)).collect()
}

/// The loopback interface.
pub const LO: &str = "lo";
const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;
