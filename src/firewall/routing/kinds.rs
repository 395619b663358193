//! What kind of address one is to this host, and whether answers leave by the interface that asked (`fib`, `-m addrtype`,
//! `-m rpfilter`).

use std::net::IpAddr;

use super::lookup::{Flow, Lookup, mask};
use super::router::{LO, LOCAL, Router};
use crate::firewall::packet::number;
use crate::model::network::{Route, RouteKind};

impl Router {
    /// RTN_* type of an address, by the local table (`fib … type`, `-m addrtype`). `interface`: only its addresses are
    /// local. `Err`: not known.
    pub fn address_type(&self, asked: IpAddr, interface: Option<&str>) -> Result<u8, String> {
        let special = match asked {
            IpAddr::V4(asked) if asked.octets()[0] == 0 || asked.is_broadcast() => Some(RTN_BROADCAST),
            _ if asked.is_multicast() => Some(RTN_MULTICAST),
            _ => None,
        };
        if let Some(kind) = special {
            return Ok(kind);
        }
        let family = usize::from(asked.is_ipv6());
        if !self.known[family] && self.interfaces.is_empty() {
            return Err(format!("whether {asked} is an address of this host"));
        }
        let flow = Flow { source: asked, destination: asked, input: None, output: None, mark: Some(0) };
        // Local routes that lead by `lo` (IPv6) belong to the interface that has the address.
        let owner = |route: &Route| {
            interface.is_none_or(|name| {
                route.interface.as_deref() == Some(name) || self.interface_of(asked).is_some_and(|own| own.name == name)
            })
        };
        if let Some(Lookup::Found(routes)) = self.table_lookup(LOCAL, flow) {
            let kind = match routes[0].kind {
                RouteKind::Local => RTN_LOCAL,
                RouteKind::Broadcast => RTN_BROADCAST,
                RouteKind::Anycast => RTN_ANYCAST,
                RouteKind::Multicast => RTN_MULTICAST,
                _ => RTN_UNICAST,
            };
            return Ok(if owner(routes[0]) { kind } else { RTN_UNICAST });
        }
        let loopback = asked.is_loopback();
        if loopback || self.is_own(asked) {
            let own = if loopback { Some(LO) } else { self.interface_of(asked).map(|own| own.name.as_str()) };
            return Ok(if interface.is_none() || interface == own { RTN_LOCAL } else { RTN_UNICAST });
        }
        if !self.known[family] {
            return Ok(if self.is_broadcast(asked) { RTN_BROADCAST } else { RTN_UNICAST });
        }
        if asked.is_ipv6() {
            // nft_fib6: without a route it is `unreachable`.
            return match self.lookup(flow) {
                Lookup::Found(_) => Ok(RTN_UNICAST),
                Lookup::NotFound | Lookup::Refused(RouteKind::Unreachable) => Ok(RTN_UNREACHABLE),
                Lookup::Refused(RouteKind::Prohibit) => Ok(RTN_PROHIBIT),
                Lookup::Refused(_) => Ok(RTN_BLACKHOLE),
                Lookup::Unknown(what) => Err(what),
            };
        }
        Ok(RTN_UNICAST)
    }

    /// Why the host takes a packet to the address itself.
    pub fn why_local(&self, destination: IpAddr) -> String {
        let kind = match self.address_type(destination, None) {
            Ok(RTN_ANYCAST) => "an anycast address of this namespace",
            Ok(RTN_BROADCAST) => "a broadcast address, and every host of the link takes it",
            Ok(RTN_MULTICAST) => "a multicast group, and every host that joined it takes it",
            _ => "an address of this namespace",
        };
        format!("{destination} is {kind}")
    }

    /// Last address of a subnet of this host's, for reports without routes.
    fn is_broadcast(&self, asked: IpAddr) -> bool {
        asked.is_ipv4()
            && self.interfaces.values().flat_map(|interface| &interface.addresses).any(|own| {
                own.address.is_ipv4()
                    && own.prefix < 31
                    && mask(own.address, own.prefix) | (u128::from(u32::MAX) >> own.prefix) == number(asked)
            })
    }

    /// Whether an answer to `source` may leave by `input` (`fib saddr . iif oif`, `-m rpfilter`).
    /// `back` is the flow of the answer.
    pub fn returns_by(&self, back: Flow<'_>, input: &str) -> Result<bool, String> {
        if input == LO {
            return Ok(true);
        }
        if !self.known[usize::from(back.destination.is_ipv6())] {
            return Err("the routes, which the report lacks".to_owned());
        }
        match self.lookup(back) {
            Lookup::Found(routes) if routes[0].kind != RouteKind::Unicast => Ok(false),
            Lookup::Found(routes) => match routes.iter().any(|route| route.interface.as_deref() == Some(input)) {
                false if routes[0].multipath && routes.len() == 1 => {
                    Err(format!("all next hops of the route to {}", back.destination))
                }
                returns => Ok(returns),
            },
            Lookup::Unknown(what) => Err(what),
            _ => Ok(false),
        }
    }
}

const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
const RTN_ANYCAST: u8 = 4;
const RTN_MULTICAST: u8 = 5;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;
