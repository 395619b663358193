//! One machine as its host reports show it: the views of one identity put together, with what they cannot show.

use std::collections::HashMap;
use std::net::IpAddr;

use super::InsideView;
use super::address::{can_identify, canonical, same_network};
use crate::model::host_report::{HOST_NAMESPACE, HostAddress, Listener, Namespace, PublishedPort, Source};
use crate::model::{HostReport, Transport};

/// All that is known from inside about one machine.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Id of the reports; `unknown` for listings that name nobody.
    pub id: &'a str,
    pub views: Vec<&'a InsideView>,
    pub sockets: Vec<Socket<'a>>,
    pub addresses: Vec<&'a HostAddress>,
    pub namespaces: Vec<&'a Namespace>,
    pub published: Vec<&'a PublishedPort>,
}

/// A listener, and which of the views show it.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    pub listener: &'a Listener,
    pub presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In every view, or there is only one.
    Steady,
    /// Not there before the sweep, there after it.
    Started,
    /// There before the sweep, not after it.
    Stopped,
    /// In a listing, and not in the machine's own word that was given beside it.
    Listed(Source),
}

impl<'a> Machine<'a> {
    /// Puts the views of one machine together; `views` is not empty.
    pub fn new(views: Vec<&'a InsideView>) -> Self {
        let mut machine = Self {
            id: views.iter().map(|view| view.before.id.as_str()).find(|id| *id != UNKNOWN).unwrap_or(UNKNOWN),
            views: Vec::new(),
            sockets: Vec::new(),
            addresses: Vec::new(),
            namespaces: Vec::new(),
            published: Vec::new(),
        };
        // What tells most of each socket first.
        let mut ranked = views.clone();
        ranked.sort_by_key(|view| rank(view.before.source));
        let mut places = HashMap::new();
        for view in &ranked {
            machine.add(view, OwnWord::of(&ranked), &mut places);
        }
        machine.views = views;
        machine.sockets.sort_by(|one, other| order(one.listener).cmp(&order(other.listener)));
        machine
    }

    pub fn reports(&self) -> impl Iterator<Item = &'a HostReport> + '_ {
        self.views.iter().flat_map(|view| std::iter::once(&view.before).chain(view.after.as_ref()))
    }

    /// Addresses of its own namespace by which a scanned address can be recognised as this machine. A bridge counts only
    /// where there is nothing else, and never under a name that engines give: some machines have their one address on
    /// a bridge for their guests.
    pub fn identity(&self) -> Vec<IpAddr> {
        if self.addresses.is_empty() {
            // A listing has no addresses; those that its sockets are bound to are the machine's.
            let bound = self.sockets.iter().filter(|socket| in_host(socket.listener));
            return identifying(bound.map(|socket| socket.listener.address));
        }
        let plain = self.addresses.iter().filter(|entry| !entry.bridge);
        let plain = identifying(plain.map(|entry| entry.address));
        if !plain.is_empty() {
            return plain;
        }
        let bridges = self.addresses.iter().filter(|entry| entry.bridge && !is_engine_bridge(&entry.interface));
        identifying(bridges.map(|entry| entry.address))
    }

    /// Addresses of its other namespaces that the network can see (macvlan and the like); an address behind a bridge
    /// of the machine is the same on many machines and identifies nobody.
    pub fn outer_namespace_addresses(&self) -> Vec<IpAddr> {
        let bridges: Vec<_> = self.addresses.iter().filter(|entry| entry.bridge).collect();
        let inner = |address| bridges.iter().any(|bridge| same_network(bridge.address, address, bridge.prefix));
        let others = self.namespaces.iter().filter(|namespace| namespace.name != HOST_NAMESPACE);
        let mut addresses: Vec<IpAddr> = others
            .flat_map(|namespace| namespace.addresses.iter().copied())
            .filter(|address| can_identify(*address) && !inner(*address))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Name of the namespace that `address` belongs to; the host's own when no report places it.
    pub fn namespace_of(&self, address: IpAddr) -> &'a str {
        let address = canonical(address);
        if address.is_loopback() || self.addresses.iter().any(|entry| canonical(entry.address) == address) {
            return HOST_NAMESPACE;
        }
        self.namespaces
            .iter()
            .find(|namespace| namespace.addresses.contains(&address))
            .map_or(HOST_NAMESPACE, |namespace| namespace.name.as_str())
    }

    /// Whether some report looked into the other network namespaces.
    pub fn can_enter_namespaces(&self) -> bool {
        self.reports().any(|report| report.source.sees_namespaces() && report.privileges.namespaces)
    }

    /// Whether an engine may publish ports here of which the reports do not tell: there is a bridge, or nothing is known
    /// of the interfaces.
    pub fn may_publish_unseen(&self) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|entry| entry.bridge)
    }

    /// The interface that carries `address` in the host's own namespace.
    pub fn interface_of(&self, address: IpAddr) -> Option<&'a str> {
        let address = canonical(address);
        self.addresses.iter().find(|entry| canonical(entry.address) == address).map(|entry| entry.interface.as_str())
    }

    fn add_published(&mut self, port: &'a PublishedPort) {
        match self.published.iter_mut().find(|known| same_publication(known, port)) {
            Some(known) if known.container.is_none() => *known = port,
            Some(_) => {}
            None => self.published.push(port),
        }
    }

    /// Takes a view in; `places` are the positions of the known sockets by transport and port.
    fn add(&mut self, view: &'a InsideView, own: OwnWord, places: &mut HashMap<(Transport, u16), Vec<usize>>) {
        for report in std::iter::once(&view.before).chain(view.after.as_ref()) {
            for listener in &report.listeners {
                let told = |known: &Socket<'_>| {
                    same_owner(known.listener, listener)
                        || (report.source.is_listing() && tells_more(known.listener, listener))
                };
                let near = places.entry((listener.transport, listener.port)).or_default();
                if near.iter().any(|position| told(&self.sockets[*position])) {
                    continue;
                }
                let presence = if report.source.is_listing() && own.covers(listener) {
                    Presence::Listed(report.source)
                } else {
                    presence(view, listener)
                };
                near.push(self.sockets.len());
                self.sockets.push(Socket { listener, presence });
            }
            for address in &report.addresses {
                if !self.addresses.iter().any(|known| known.address == address.address) {
                    self.addresses.push(address);
                }
            }
            for namespace in &report.namespaces {
                if !self.namespaces.iter().any(|known| known.name == namespace.name) {
                    self.namespaces.push(namespace);
                }
            }
            for port in &report.published {
                self.add_published(port);
            }
        }
    }
}

/// How far the machine's own word among the views goes: what it does not show there was not there when it was taken.
#[derive(Clone, Copy, Debug)]
struct OwnWord {
    host: bool,
    /// Every namespace.
    all: bool,
}

impl OwnWord {
    fn of(views: &[&InsideView]) -> Self {
        let words = || views.iter().map(|view| &view.before).filter(|report| !report.source.is_listing());
        Self {
            host: words().next().is_some(),
            all: words().any(|report| report.source.sees_namespaces() && report.privileges.namespaces),
        }
    }

    fn covers(self, listener: &Listener) -> bool {
        self.all || (self.host && in_host(listener))
    }
}

/// What is taken in first. ss tells v6-only and devices; osquery and lsof tell more of the owner than netstat.
const fn rank(source: Source) -> u8 {
    match source {
        Source::Native => 0,
        Source::Agentless => 1,
        Source::Ss => 2,
        Source::Osquery => 3,
        Source::Lsof => 4,
        Source::Netstat => 5,
    }
}

/// What two sources say of one published port becomes one; the one that names the container stays.
fn same_publication(one: &PublishedPort, other: &PublishedPort) -> bool {
    let key =
        |port: &PublishedPort| (port.transport, canonical(port.host_address), port.host_port, port.container_port);
    key(one) == key(other)
}

/// The id of a report that names nobody.
pub const UNKNOWN: &str = "unknown";

pub fn in_host(listener: &Listener) -> bool {
    listener.namespace == HOST_NAMESPACE
}

fn identifying(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.map(canonical).filter(|address| can_identify(*address)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Names that Docker, podman, CNI plugins, libvirt, LXC and Incus give to their bridges.
pub fn is_engine_bridge(interface: &str) -> bool {
    const STARTS: [&str; 10] = ["br-", "cali", "cilium", "cni", "docker", "flannel", "incusbr", "kube", "lxc", "lxdbr"];
    STARTS.iter().chain(&["podman", "virbr", "weave"]).any(|start| interface.starts_with(start))
}

fn presence(view: &InsideView, listener: &Listener) -> Presence {
    let Some(after) = &view.after else { return Presence::Steady };
    let within = |report: &HostReport| {
        let shown = report.listeners.iter().any(|known| same_socket(known, listener));
        // A view that could not enter the namespace says nothing about it.
        let looked = in_host(listener) || report.privileges.namespaces;
        shown || !looked
    };
    match (within(&view.before), within(after)) {
        (false, true) => Presence::Started,
        (true, false) => Presence::Stopped,
        (true, true) | (false, false) => Presence::Steady,
    }
}

fn same_socket(one: &Listener, other: &Listener) -> bool {
    let key = |listener: &Listener| (listener.transport, canonical(listener.address), listener.port, listener.v6only);
    key(one) == key(other) && one.device == other.device && one.namespace == other.namespace
}

/// Several owners may share a socket or a port (SO_REUSEPORT); they are kept apart by name.
fn same_owner(one: &Listener, other: &Listener) -> bool {
    same_socket(one, other) && one.process == other.process && one.container == other.container
}

/// Whether what is known already is what a listing shows of the same socket: nothing that the listing says differs, and
/// what it does not say (v6-only, device, owner) is no difference. Names may be cut to 15 bytes in it.
fn tells_more(known: &Listener, listed: &Listener) -> bool {
    let process = match (&known.process, &listed.process) {
        (Some(known), Some(listed)) => known.starts_with(listed.as_str()),
        (_, None) => true,
        (None, Some(_)) => false,
    };
    agree(known, listed) && process
}

/// Whether both may be one socket by all but the owner: what one of them does not say is no difference.
pub fn agree(known: &Listener, listed: &Listener) -> bool {
    place(known) == place(listed)
        && known.namespace == listed.namespace
        && (listed.v6only.is_none() || listed.v6only == known.v6only)
        && (listed.device.is_none() || listed.device == known.device)
        && (listed.container.is_none() || known.container.is_none() || listed.container == known.container)
}

/// Transport, address and port.
pub const fn place(listener: &Listener) -> (Transport, IpAddr, u16) {
    (listener.transport, canonical(listener.address), listener.port)
}

fn order(listener: &Listener) -> (Transport, u16, IpAddr, &str, Option<&str>, Option<u32>) {
    let Listener { transport, port, address, namespace, device, pid, .. } = listener;
    (*transport, *port, *address, namespace, device.as_deref(), *pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(v6only: Option<bool>, process: Option<&str>) -> Listener {
        Listener {
            v6only,
            process: process.map(str::to_owned),
            ..Listener::at(Transport::Tcp, "::".parse().unwrap(), 80)
        }
    }

    fn view(source: Source, listeners: Vec<Listener>) -> InsideView {
        let before = HostReport { listeners, ..HostReport::of("a", source) };
        InsideView { before, after: None, address: None }
    }

    #[test]
    fn a_listing_adds_nothing_to_sockets_that_the_machine_itself_told_of() {
        let native = view(Source::Native, vec![listener(Some(true), Some("systemd-resolved"))]);
        let listed = |v6only, process| view(Source::Netstat, vec![listener(v6only, process)]);
        // In whichever order they were given.
        for same in [listed(None, Some("systemd-resolve")), listed(None, None), listed(Some(true), None)] {
            for views in [vec![&native, &same], vec![&same, &native]] {
                let machine = Machine::new(views);
                assert_eq!(machine.sockets.len(), 1);
                assert_eq!(machine.sockets[0].listener.v6only, Some(true), "the fact stays, not its absence");
            }
        }
        for other in [listed(None, Some("nginx")), listed(Some(false), None)] {
            assert_eq!(Machine::new(vec![&native, &other]).sockets.len(), 2);
        }
    }

    #[test]
    fn engines_bridges_are_known_by_name() {
        for name in ["docker0", "br-0123456789ab", "cni0", "virbr0", "podman1", "lxcbr0"] {
            assert!(is_engine_bridge(name), "{name}");
        }
        for name in ["br0", "vmbr0", "bridge0", "eth0"] {
            assert!(!is_engine_bridge(name), "{name}");
        }
    }
}
