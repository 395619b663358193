//! What becomes of a packet that came in: for this host, to be forwarded, or neither.

use std::net::{IpAddr, Ipv4Addr};

use super::lookup::{Flow, Lookup};
use super::router::{LO, Router};
use crate::firewall::ruleset::Reject;
use crate::model::network::{Route, RouteKind};

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

impl Router {
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
}
