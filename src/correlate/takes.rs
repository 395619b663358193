//! What a socket takes: which of a machine's sockets and published ports would get a packet to an endpoint.

use std::net::IpAddr;

use super::address::{canonical, same_family};
use super::machine::{Machine, Socket, in_host};
use crate::model::Endpoint;
use crate::model::host_report::{HOST_NAMESPACE, Listener, PublishedPort};

/// Everything on a machine that has to do with one endpoint.
#[derive(Debug, Default)]
pub struct Takers<'a> {
    /// Sockets that take it, the sure and the most specific ones first.
    pub taking: Vec<Taking<'a>>,
    /// Published ports that lead from it into a container.
    pub published: Vec<Publication<'a>>,
    /// Sockets on its port that are bound to loopback of the same family.
    pub loopback: Vec<Socket<'a>>,
    /// Ports published to loopback of the same family.
    pub published_loopback: Vec<Publication<'a>>,
    /// Sockets on its port in other namespaces: they would get it only after a translation that no report shows.
    pub elsewhere: Vec<Socket<'a>>,
    /// Sockets that take it by address and look like a client's: they count only where an answer proves more.
    pub clients: Vec<Taking<'a>>,
}

impl Takers<'_> {
    /// A socket takes the endpoint, or a published port whose container may.
    pub fn any_takes(&self) -> bool {
        let ends = |publication: &Publication<'_>| !matches!(publication.end, ContainerEnd::Nobody);
        !self.taking.is_empty() || self.published.iter().any(ends)
    }

    /// What leads packets to `address` on to a container, by translation as a rule and not by a socket of the host;
    /// the middle of a sentence. `None` where a socket of the host takes them.
    pub fn led_on(&self, address: IpAddr) -> Option<String> {
        let holder = self.taking.first().map(|taking| taking.socket.listener);
        let process = holder.and_then(|listener| listener.process.as_deref());
        if let Some(publication) = self.published.first() {
            // docker-proxy itself carries IPv6 to a container that has IPv4 only; these programs carry everything.
            let carried = process == Some("docker-proxy")
                && publication.port.container_address.is_some_and(|inner| !same_family(inner, canonical(address)));
            let by_process = process.is_some_and(|process| CARRIERS.contains(&process));
            return (!carried && !by_process).then(|| super::words::publication(publication));
        }
        let node_port = process == Some("kube-proxy") && super::verdict::NODE_PORTS.contains(&holder?.port);
        let held = process.is_some_and(|process| HOLDERS.contains(&process));
        let holder = holder.filter(|_| held || node_port)?;
        Some(format!("{} holds it for a container", super::words::socket(holder)))
    }

    pub fn is_loopback_only(&self) -> bool {
        let local = !self.loopback.is_empty() || !self.published_loopback.is_empty();
        local && !self.any_takes()
    }
}

/// Whether the socket's owner is there for another process: what the port answers is not its own.
pub fn holds_for_others(listener: &Listener) -> bool {
    let process = listener.process.as_deref().unwrap_or_default();
    let of_systemd = listener.socket_activated || (process == "systemd" && listener.pid == Some(1));
    let of_engine = process == "dockerd" && listener.container.is_some();
    of_systemd || of_engine || process == "kube-proxy" || HOLDERS.contains(&process) || CARRIERS.contains(&process)
}

/// Programs that hold a published port while rules lead its packets to the container.
const HOLDERS: [&str; 2] = ["conmon", "docker-proxy"];
/// Programs of rootless containers and of LXD that carry the packets themselves.
const CARRIERS: [&str; 6] = ["forkproxy", "lxd", "pasta", "rootlesskit", "rootlessport", "slirp4netns"];

/// A socket that takes an endpoint.
#[derive(Clone, Debug)]
pub struct Taking<'a> {
    pub socket: Socket<'a>,
    /// Why it only may take it; `None` when it surely does.
    pub doubt: Option<String>,
}

/// A published port, and what is known of its container's end.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    pub port: &'a PublishedPort,
    pub end: ContainerEnd<'a>,
}

#[derive(Clone, Debug)]
pub enum ContainerEnd<'a> {
    /// A socket in the container's namespace takes it.
    Listens(Socket<'a>),
    /// The namespace was looked into and nobody listens on the port.
    Nobody,
    /// The namespace is in no report.
    Unseen,
}

/// Finds what takes `endpoint` on `machine`.
pub fn takers<'a>(machine: &Machine<'a>, endpoint: Endpoint) -> Takers<'a> {
    let Endpoint { address, transport, port } = endpoint;
    let namespace = machine.namespace_of(address);
    let on_port = machine.sockets.iter().filter(|socket| {
        let Listener { transport: its_transport, port: its_port, .. } = socket.listener;
        (*its_transport, *its_port) == (transport, port)
    });
    let mut takers = Takers::default();
    for socket in on_port {
        let listener = socket.listener;
        if listener.namespace != namespace {
            if !is_loopback_only(listener) {
                takers.elsewhere.push(*socket);
            }
        } else if let Some(fit) = fit(listener, address, machine.interface_of(address)) {
            let list = if listener.likely_client { &mut takers.clients } else { &mut takers.taking };
            list.push(Taking { socket: *socket, doubt: fit.doubt() });
        } else if is_loopback_only(listener) && same_family(canonical(listener.address), canonical(address)) {
            takers.loopback.push(*socket);
        }
    }
    takers.taking.sort_by_key(|taking| (taking.doubt.is_some(), taking.socket.listener.address.is_unspecified()));
    if namespace == HOST_NAMESPACE {
        add_published(machine, endpoint, &mut takers);
    }
    takers
}

/// How well a socket takes an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    Surely,
    /// The report does not tell; says what.
    Possibly(String),
}

impl Fit {
    fn doubt(self) -> Option<String> {
        match self {
            Self::Surely => None,
            Self::Possibly(why) => Some(why),
        }
    }
}

/// Whether `listener` takes packets to `address`, which sits on `interface` where that is known; `None` when it does
/// not.
pub fn fit(listener: &Listener, address: IpAddr, interface: Option<&str>) -> Option<Fit> {
    let address = canonical(address);
    let family = family_fit(listener, address)?;
    match listener.device.as_deref() {
        None => Some(family),
        // The scope of a specific (link-local) address is written like a device; the address itself decides.
        Some(_) if !listener.address.is_unspecified() => Some(family),
        Some("lo") => address.is_loopback().then_some(family),
        Some(device) if Some(device) == interface => Some(family),
        Some(device) => Some(Fit::Possibly(match interface {
            Some(interface) => format!(
                "the socket is bound to device {device} and {address} is on {interface}: only packets that come in \
                 through {device} reach it"
            ),
            None => format!("the socket is bound to device {device} and the report does not say where {address} is"),
        })),
    }
}

/// Bound to loopback, by address or by device.
pub fn is_loopback_only(listener: &Listener) -> bool {
    let address = canonical(listener.address);
    address.is_loopback() || (address.is_unspecified() && listener.device.as_deref() == Some("lo"))
}

fn family_fit(listener: &Listener, address: IpAddr) -> Option<Fit> {
    let bound = canonical(listener.address);
    if !bound.is_unspecified() {
        return (bound == address).then_some(Fit::Surely);
    }
    match (bound.is_ipv4(), address.is_ipv4()) {
        (true, true) | (false, false) => Some(Fit::Surely),
        (true, false) => None,
        // An IPv6 wildcard takes IPv4 too unless IPV6_V6ONLY is set (RFC 3493 section 5.3).
        (false, true) => match listener.v6only {
            Some(true) => None,
            Some(false) => Some(Fit::Surely),
            None => Some(Fit::Possibly(
                "the listing does not tell whether this [::] socket takes IPv4 too (ss and `postern host` do)"
                    .to_owned(),
            )),
        },
    }
}

fn add_published<'a>(machine: &Machine<'a>, endpoint: Endpoint, takers: &mut Takers<'a>) {
    let matching =
        machine.published.iter().filter(|port| port.transport == endpoint.transport && port.host_port == endpoint.port);
    for port in matching {
        let bound = canonical(port.host_address);
        let address = canonical(endpoint.address);
        let publication = || Publication { port, end: container_end(machine, port) };
        if bound == address || (bound.is_unspecified() && same_family(bound, address)) {
            takers.published.push(publication());
        } else if bound.is_loopback() && same_family(bound, address) {
            takers.published_loopback.push(publication());
        }
    }
    // What is published on more than loopback is not a leak of loopback.
    if !takers.published.is_empty() {
        takers.published_loopback.clear();
    }
}

fn container_end<'a>(machine: &Machine<'a>, port: &PublishedPort) -> ContainerEnd<'a> {
    let inside = machine.namespaces.iter().find(|namespace| {
        let named = port.container.is_some() && namespace.container == port.container;
        let addressed = port.container_address.is_some_and(|address| namespace.addresses.contains(&address));
        namespace.name != HOST_NAMESPACE && (named || addressed)
    });
    let Some(namespace) = inside else { return ContainerEnd::Unseen };
    let takes = |socket: &&Socket<'_>| {
        let Listener { namespace: its_namespace, transport, port: its_port, .. } = socket.listener;
        let here = *its_namespace == namespace.name && (*transport, *its_port) == (port.transport, port.container_port);
        here && match port.container_address {
            Some(address) => fit(socket.listener, address, None).is_some(),
            None => !is_loopback_only(socket.listener),
        }
    };
    match machine.sockets.iter().find(takes) {
        Some(socket) => ContainerEnd::Listens(*socket),
        // A namespace whose sockets could not be read is as unseen as one that was not found.
        None if machine.can_enter_namespaces() => ContainerEnd::Nobody,
        None => ContainerEnd::Unseen,
    }
}

/// The sockets of the host's namespace that a scan of the host should have asked for: no clients.
pub fn servers<'m, 'a>(machine: &'m Machine<'a>) -> impl Iterator<Item = &'a Listener> + 'm {
    machine.sockets.iter().map(|socket| socket.listener).filter(|listener| in_host(listener) && !listener.likely_client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Transport;

    fn listener(address: &str, v6only: Option<bool>, device: Option<&str>) -> Listener {
        Listener {
            v6only,
            device: device.map(str::to_owned),
            ..Listener::at(Transport::Tcp, address.parse().unwrap(), 80)
        }
    }

    #[test]
    fn what_a_socket_takes() {
        const SURE: char = 'y';
        const MAYBE: char = '?';
        const NO: char = 'n';
        let cases = [
            // bound, v6only, device, endpoint, its interface, takes
            ("0.0.0.0", None, None, "198.18.0.1", None, SURE),
            ("0.0.0.0", None, None, "2001:db8::1", None, NO),
            ("0.0.0.0", None, None, "127.0.0.1", None, SURE),
            ("198.18.0.1", None, None, "198.18.0.1", None, SURE),
            ("198.18.0.1", None, None, "198.18.0.2", None, NO),
            ("127.0.0.1", None, None, "198.18.0.1", None, NO),
            ("::", Some(true), None, "2001:db8::1", None, SURE),
            ("::", Some(true), None, "198.18.0.1", None, NO),
            ("::", Some(false), None, "198.18.0.1", None, SURE),
            ("::", None, None, "2001:db8::1", None, SURE),
            ("::", None, None, "198.18.0.1", None, MAYBE),
            ("::ffff:198.18.0.1", Some(false), None, "198.18.0.1", None, SURE),
            ("::ffff:0.0.0.0", Some(false), None, "198.18.0.1", None, SURE),
            ("::ffff:0.0.0.0", Some(false), None, "2001:db8::1", None, NO),
            ("0.0.0.0", None, Some("eth1"), "198.18.0.1", Some("eth1"), SURE),
            ("0.0.0.0", None, Some("eth1"), "198.18.0.1", Some("eth0"), MAYBE),
            ("0.0.0.0", None, Some("eth1"), "198.18.0.1", None, MAYBE),
            ("0.0.0.0", None, Some("lo"), "198.18.0.1", None, NO),
            ("0.0.0.0", None, Some("lo"), "127.0.0.1", None, SURE),
            ("fe80::1", Some(false), Some("eth1"), "fe80::1", Some("eth1"), SURE),
        ];
        for (bound, v6only, device, endpoint, interface, expected) in cases {
            let takes = match fit(&listener(bound, v6only, device), endpoint.parse().unwrap(), interface) {
                Some(Fit::Surely) => SURE,
                Some(Fit::Possibly(_)) => MAYBE,
                None => NO,
            };
            assert_eq!(takes, expected, "{bound} v6only={v6only:?} device={device:?} <- {endpoint} on {interface:?}");
        }
    }

    #[test]
    fn loopback_is_an_address_or_a_device() {
        for (bound, device, expected) in [
            ("127.0.0.53", None, true),
            ("::1", None, true),
            ("::ffff:127.0.0.1", None, true),
            ("0.0.0.0", Some("lo"), true),
            ("0.0.0.0", Some("eth0"), false),
            ("::", None, false),
        ] {
            assert_eq!(is_loopback_only(&listener(bound, None, device)), expected, "{bound}");
        }
    }
}
