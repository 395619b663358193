//! What the routing tables say of a destination: policy rules by priority, the longest prefix of the table they name
//! (fib_lookup, fib6_rule_lookup).

use std::net::IpAddr;

use super::router::Router;
use crate::firewall::packet::number;
use crate::model::network::{PolicyRule, Route, RouteKind};

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

/// Result of a lookup.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lookup<'a> {
    /// One route, or all next hops of one.
    Found(Vec<&'a Route>),
    NotFound,
    /// A rule says so: unreachable, prohibit, blackhole.
    Refused(RouteKind),
    Unknown(String),
}

impl Router {
    /// The rules by priority, the longest prefix of each table they name.
    pub(super) fn lookup(&self, flow: Flow<'_>) -> Lookup<'_> {
        self.lookup_from(flow, 0)
    }

    fn lookup_from(&self, flow: Flow<'_>, first: usize) -> Lookup<'_> {
        let family = usize::from(flow.destination.is_ipv6());
        for (at, rule) in self.rules[family].iter().enumerate().skip(first) {
            let applies = applies(rule, flow);
            if applies == Some(false) {
                continue;
            }
            let taken = self.action(rule, flow);
            if applies == Some(true) {
                match taken {
                    Some(found) => return found,
                    None => continue,
                }
            }
            let without = self.lookup_from(flow, at + 1);
            return match taken {
                None => without,
                Some(found) if found == without => without,
                Some(_) => Lookup::Unknown(format!("whether the routing rule {} applies", rule.priority)),
            };
        }
        Lookup::NotFound
    }

    /// `None`: the next rule is asked.
    fn action(&self, rule: &PolicyRule, flow: Flow<'_>) -> Option<Lookup<'_>> {
        let Some(table) = rule.table else {
            for (name, kind) in [
                ("unreachable", RouteKind::Unreachable),
                ("prohibit", RouteKind::Prohibit),
                ("blackhole", RouteKind::Blackhole),
            ] {
                if rule.other.iter().any(|other| other == name) {
                    return Some(Lookup::Refused(kind));
                }
            }
            if rule.other.iter().any(|other| other == "nop") {
                return None;
            }
            return Some(Lookup::Unknown(format!("the action of the routing rule {}", rule.priority)));
        };
        self.table_lookup(table, flow)
    }

    pub(super) fn table_lookup(&self, table: u32, flow: Flow<'_>) -> Option<Lookup<'_>> {
        let ipv6 = flow.destination.is_ipv6();
        let table = self.tables[usize::from(ipv6)].get(&table)?;
        for length in &table.lengths {
            let Some(routes) = table.routes.get(&(*length, mask(flow.destination, *length))) else { continue };
            let usable = |route: &&Route| flow.output.is_none() || route.interface.as_deref() == flow.output;
            let Some(best) = routes.iter().find(usable) else { continue };
            match best.kind {
                RouteKind::Throw => return None,
                RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Blackhole => {
                    return Some(Lookup::Refused(best.kind));
                }
                _ => {}
            }
            let same = |route: &&Route| {
                usable(route) && route.metric == best.metric && (route.multipath || std::ptr::eq(*route, best))
            };
            let found = if best.multipath { routes.iter().filter(same).collect() } else { vec![best] };
            return Some(Lookup::Found(found));
        }
        None
    }
}

/// Whether a policy rule is about the flow; `None`: not known.
fn applies(rule: &PolicyRule, flow: Flow<'_>) -> Option<bool> {
    let mut unknown = false;
    let mut all = true;
    let mut condition = |holds: Option<bool>| match holds {
        Some(holds) => all &= holds,
        None => unknown = true,
    };
    for (selector, asked) in [(&rule.from, flow.source), (&rule.to, flow.destination)] {
        if let Some(selector) = selector {
            condition(within(selector, asked));
        }
    }
    if let Some(input) = &rule.iif {
        condition(Some(flow.input == Some(input)));
    }
    if let Some(output) = &rule.oif {
        condition(Some(flow.output == Some(output)));
    }
    if let Some((mark, mask)) = rule.mark {
        condition(flow.mark.map(|value| value & mask == mark & mask));
    }
    for other in &rule.other {
        if !["unreachable", "prohibit", "blackhole", "nop"].contains(&other.as_str()) {
            condition(None);
        }
    }
    let holds = match (all, unknown) {
        (false, _) => Some(false),
        (true, true) => None,
        (true, false) => Some(true),
    };
    holds.map(|holds| holds != rule.invert)
}

/// `10.0.0.0/8` or an address contains `asked`; `None`: no such text.
fn within(selector: &str, asked: IpAddr) -> Option<bool> {
    if selector == "all" {
        return Some(true);
    }
    let (base, length) = match selector.split_once('/') {
        Some((base, length)) => (base, length.parse().ok()?),
        None => (selector, 128),
    };
    let base: IpAddr = base.parse().ok()?;
    let length = if base.is_ipv4() { u8::min(length, 32) } else { length };
    Some(base.is_ipv4() == asked.is_ipv4() && mask(base, length) == mask(asked, length))
}

/// The upper `length` bits of an address.
pub(super) fn mask(address: IpAddr, length: u8) -> u128 {
    let width = if address.is_ipv4() { 32 } else { 128 };
    let drop = u32::from(width - length.min(width));
    number(address).checked_shr(drop).and_then(|bits| bits.checked_shl(drop)).unwrap_or(0)
}
