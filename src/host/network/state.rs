//! Driver: asks rtnetlink for interfaces, addresses, routes, policy rules and neighbours.

use std::collections::HashMap;
use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::kernel::Kernel;
use super::link::{self, Link};
use super::{bpf, route, settings};
use crate::model::NetworkState;
use crate::model::network::{Interface, InterfaceAddress};

/// What one namespace looks like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub network: NetworkState,
    /// With the numbers that tie the ends of veth pairs together.
    pub links: Vec<Link>,
    /// What was refused or cut short: object and cause.
    pub refused: Vec<(String, String)>,
}

impl State {
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.network.interfaces.iter().find(|one| one.index == index)
    }

    /// Addresses of all interfaces, with the interface.
    pub fn addresses(&self) -> impl Iterator<Item = (&Interface, &InterfaceAddress)> {
        self.network.interfaces.iter().flat_map(|one| one.addresses.iter().map(move |address| (one, address)))
    }
}

/// Reads the namespace of the calling thread, all but its packet filter.
///
/// # Errors
/// The kernel does not even list interfaces. Whatever else it refuses is in [`State::refused`].
pub fn read() -> io::Result<State> {
    let mut kernel = Kernel::open(NETLINK_ROUTE)?;
    let links: Vec<Link> = list(&mut kernel, RTM_GETLINK, RTM_NEWLINK, &link::links_request(), link::link)?;
    let mut addresses: HashMap<u32, Vec<InterfaceAddress>> = HashMap::new();
    let found = list(&mut kernel, RTM_GETADDR, RTM_NEWADDR, &link::addresses_request(), link::interface_address)?;
    for (index, address, prefix) in found {
        addresses.entry(index).or_default().push(InterfaceAddress { address, prefix });
    }
    let mut state = State::default();
    let names: HashMap<u32, &str> = links.iter().map(|link| (link.index, link.name.as_str())).collect();
    let name = |index: u32| names.get(&index).map_or_else(|| format!("#{index}"), |name| (*name).to_owned());
    let mut refused = |what: &str, error: io::Error| state.refused.push((what.to_owned(), error.to_string()));

    let routes =
        list(&mut kernel, RTM_GETROUTE, RTM_NEWROUTE, &[0; route::ROUTE_HEADER], |body| route::route(body, &name));
    state.network.routes = routes.unwrap_or_else(|error| {
        refused("routes", error);
        Vec::new()
    });
    let rules = list(&mut kernel, RTM_GETRULE, RTM_NEWRULE, &[0; route::RULE_HEADER], route::rule);
    state.network.policy_rules = rules.unwrap_or_else(|error| {
        refused("policy rules", error);
        Vec::new()
    });
    let neighbours = list(&mut kernel, RTM_GETNEIGH, RTM_NEWNEIGH, &[0; route::NEIGHBOUR_HEADER], |body| {
        route::neighbour(body, &name)
    });
    state.network.neighbours = neighbours.unwrap_or_else(|error| {
        refused("neighbours", error);
        Vec::new()
    });
    for (what, count, most) in [
        ("routes", state.network.routes.len(), MOST_ROUTES),
        ("neighbours", state.network.neighbours.len(), MOST_NEIGHBOURS),
    ] {
        if count > most {
            state.refused.push((what.to_owned(), format!("of {count} only {most} are kept")));
        }
    }
    state.network.routes.truncate(MOST_ROUTES);
    state.network.neighbours.truncate(MOST_NEIGHBOURS);
    // The kernel lists the rules of one family after those of the other.
    state.network.policy_rules.sort_by_key(|rule| (rule.ipv6, rule.priority));

    let mut programs = bpf::attached(&mut kernel, &links);
    state.refused.append(&mut programs.refused);
    state.network.bpf = programs.namespace;
    state.network.interfaces = links
        .iter()
        .map(|link| Interface {
            index: link.index,
            name: link.name.clone(),
            kind: link.kind.clone(),
            mac: link.mac.clone(),
            up: link.up,
            master: link.master.map(name),
            peer_namespace: None,
            addresses: addresses.remove(&link.index).unwrap_or_default(),
            bpf: programs.interfaces.remove(&link.index).unwrap_or_default(),
        })
        .collect();
    state.network.sysctls = settings::read(&links);
    state.links = links;
    Ok(state)
}

/// Asks for all objects of a kind; those that `read` does not want are left out.
fn list<T>(
    kernel: &mut Kernel,
    question: u16,
    answer: u16,
    body: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    kernel.dump(question, body, |message| match message {
        Some((kind, body)) if kind == answer => found.extend(read(body)),
        Some(_) => {}
        None => found.clear(),
    })?;
    Ok(found)
}

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
/// A router with the table of the whole internet has a million; a report is no place for them.
const MOST_ROUTES: usize = 20_000;
const MOST_NEIGHBOURS: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::network::RouteKind;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test compares with the kernel's files")]
    fn reads_its_own_namespace() {
        let state = read().unwrap();
        let lo = state.network.interfaces.iter().find(|one| one.name == "lo").unwrap();
        assert!(lo.up && lo.mac.is_none() && lo.kind.is_none());
        assert!(lo.addresses.iter().any(|own| own.address.is_loopback() && own.prefix == 8), "{lo:?}");
        let loopback = |route: &&crate::model::network::Route| {
            route.table == 255 && route.kind == RouteKind::Local && route.destination.is_loopback()
        };
        let local = state.network.routes.iter().find(loopback).unwrap();
        assert_eq!(local.interface.as_deref(), Some("lo"));
        let rules: Vec<_> = state.network.policy_rules.iter().filter(|rule| !rule.ipv6).collect();
        assert_eq!((rules[0].priority, rules[0].table), (0, Some(255)));
        // What the kernel tells with the interface is what its file says.
        assert!(
            !state.links.is_empty() && state.links.iter().all(|link| link.settings.len() >= 6),
            "{:?}",
            state.links
        );
        let of_lo: Vec<_> = state.network.sysctls.iter().filter(|(name, _)| name.contains(".conf.lo.")).collect();
        assert!(of_lo.len() >= 6, "{of_lo:?}");
        for (name, value) in of_lo {
            let file = format!("/proc/sys/net/{}", name.replace('.', "/"));
            assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), value, "{file}");
        }
    }
}
