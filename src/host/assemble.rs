//! Joins what was collected into a host report: sockets with their owners (`attribution`), namespaces with their names
//! (`namespaces`), and what could not be known. Pure.

use std::collections::{BTreeSet, HashMap};

use super::attribution::Join;
use super::collected::{Collected, View, Visited};
use super::namespaces::{by_inode, namespaces};
use super::{caps, client, containers, proc_text, system};
use crate::model::host_report::{
    HOST_NAMESPACE, HostAddress, HostReport, Listener, Namespace, Owner, RawSocket, SCHEMA, Source,
};
use crate::model::report::{Gap, Tool};

/// Makes the report; `collected_at` is RFC 3339, UTC.
pub fn assemble(collected: Collected, collected_at: String) -> HostReport {
    let containers = containers::all(&collected);
    let namespaces = namespaces(&collected, &containers);
    let names: HashMap<u64, &Namespace> = namespaces.iter().map(|one| (one.inode, one)).collect();
    let mut published = containers::published(&collected, &containers, &names);
    let mut listeners = Vec::new();
    let mut raw_sockets = Vec::new();
    let mut by_helpers = Vec::new();
    let mut ephemeral = HashMap::new();
    for (visited, view) in views(&collected) {
        let Some(namespace) = names.get(&visited.inode) else { continue };
        let range = view.state.network.sysctls.get(EPHEMERAL).and_then(|text| proc_text::port_range(text));
        ephemeral.insert(namespace.name.clone(), range.unwrap_or(client::DEFAULT_EPHEMERAL));
        let join = Join { collected: &collected, containers: &containers, names: &names, published: &published };
        for socket in &view.sockets {
            let listener = join.listener(socket, view, namespace);
            if namespace.name == HOST_NAMESPACE
                && let Some(process) = listener.pid.and_then(|pid| collected.processes.get(&pid))
            {
                by_helpers.extend(containers::helper_port(&listener, process));
            }
            listeners.push(listener);
        }
        raw_sockets.extend(view.raw.iter().map(|socket| join.raw(socket, view, namespace)));
    }
    published.append(&mut by_helpers);
    containers::sort(&mut published);
    client::mark(&mut listeners, |name| ephemeral.get(name).cloned().unwrap_or(client::DEFAULT_EPHEMERAL));
    listeners.sort_by_cached_key(key);
    listeners.dedup();
    let own = views(&collected).find(|(visited, _)| Some(visited.inode) == collected.own);
    let addresses = own.map(|(_, view)| host_addresses(view)).unwrap_or_default();
    raw_sockets.sort_by_cached_key(|one| {
        let elsewhere = one.namespace != HOST_NAMESPACE;
        (elsewhere, one.namespace.clone(), one.kind, one.ipv6, one.protocol, one.device.clone(), one.pid)
    });
    raw_sockets.dedup();
    let owners = owners(&collected, &listeners, &raw_sockets);
    let gaps = gaps(&collected, &listeners);
    let machine = collected.machine;
    HostReport {
        schema: SCHEMA.to_owned(),
        tool: Tool::this(),
        id: system::host_id(machine.machine_id.as_deref(), machine.hostname.as_deref()),
        hostname: machine.hostname,
        collected_at: Some(collected_at),
        source: Source::Native,
        privileges: collected.privileges,
        addresses,
        namespaces,
        listeners,
        owners,
        raw_sockets,
        containers,
        published,
        os: machine.os,
        gaps,
    }
}

/// Addresses of the host's own namespace, without loopback.
fn host_addresses(view: &View) -> Vec<HostAddress> {
    let found =
        view.state.addresses().filter(|(_, own)| !own.address.is_loopback()).map(|(interface, own)| HostAddress {
            address: own.address,
            prefix: own.prefix,
            interface: interface.name.clone(),
            mac: interface.mac.clone(),
            bridge: interface.kind.as_deref() == Some("bridge"),
        });
    let mut addresses: Vec<HostAddress> = found.collect();
    addresses.sort_by_key(|own| own.address);
    addresses
}

/// The host's own first; then by name, and by what an operator sorts by.
fn key(listener: &Listener) -> impl Ord + use<> {
    let elsewhere = listener.namespace != HOST_NAMESPACE;
    (elsewhere, listener.namespace.clone(), listener.transport, listener.port, listener.address, listener.pid)
}

fn views(collected: &Collected) -> impl Iterator<Item = (&Visited, &View)> {
    collected.visited.iter().filter_map(|visited| Some((visited, visited.view.as_ref()?)))
}

/// The processes that the sockets name.
fn owners(collected: &Collected, listeners: &[Listener], raw: &[RawSocket]) -> Vec<Owner> {
    let pids: BTreeSet<u32> =
        listeners.iter().filter_map(|one| one.pid).chain(raw.iter().filter_map(|one| one.pid)).collect();
    let owner = |pid: u32| {
        let process = collected.processes.get(&pid)?;
        Some(Owner {
            pid,
            name: process.name.clone(),
            arguments: process.arguments.clone(),
            capabilities: process.status.effective.map(|mask| caps::names(mask, collected.whole_capabilities)),
            no_new_privileges: process.status.no_new_privileges,
            seccomp: process.status.seccomp_name().map(str::to_owned),
        })
    };
    pids.into_iter().filter_map(owner).collect()
}

fn gaps(collected: &Collected, listeners: &[Listener]) -> Vec<Gap> {
    let mut gaps = collected.gaps.clone();
    let unowned = listeners.iter().filter(|listener| listener.pid.is_none()).count();
    if unowned > 0 {
        let (cause, settled_by) = if collected.hidden_descriptors > 0 {
            (
                format!("the descriptors of {} processes may not be read", collected.hidden_descriptors),
                "root, or CAP_SYS_PTRACE",
            )
        } else {
            (
                "no process that can be seen holds them: kernel services (WireGuard, NFS), or another pid namespace"
                    .to_owned(),
                "`postern host` outside of any container; `lsmod` and `wg show` for the kernel's",
            )
        };
        gaps.push(Gap {
            what: format!("the owners of {unowned} of {} sockets", listeners.len()),
            cause,
            settled_by: settled_by.to_owned(),
            incomplete: false,
        });
    }
    let nsenter = "`postern host` as root in the machine's first namespace: `nsenter --net=/proc/1/ns/net`";
    let doubt = match (collected.own, collected.first) {
        (Some(own), Some(first)) if own == first => None,
        (Some(own), Some(first)) => Some((
            format!("`{HOST_NAMESPACE}` is {}, in which postern was started", by_inode(own)),
            format!("the machine's first namespace, that of pid 1, is {}", by_inode(first)),
        )),
        (Some(own), None) => Some((
            format!("whether `{HOST_NAMESPACE}`, {}, is the machine's first namespace", by_inode(own)),
            "pid 1 may not be looked into".to_owned(),
        )),
        (None, _) => Some((
            "which namespace postern was started in".to_owned(),
            "/proc/thread-self/ns/net cannot be read".to_owned(),
        )),
    };
    gaps.extend(doubt.map(|(what, cause)| Gap {
        what,
        cause,
        settled_by: nsenter.to_owned(),
        incomplete: collected.own.is_none(),
    }));
    gaps
}

const EPHEMERAL: &str = "ipv4.ip_local_port_range";
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use std::path::PathBuf;

    use super::*;
    use crate::host::cgroup::{ContainerRef, Membership};
    use crate::host::collected::{Engine, Machine, Process};
    use crate::host::docker_proxy::Forward;
    use crate::host::engine::EngineContainer;
    use crate::host::network::State;
    use crate::host::sockets::KernelSocket;
    use crate::model::host_report::{Container, PublishedPort};
    use crate::model::network::{Interface, InterfaceAddress};
    use crate::model::{NetworkState, Transport};

    const OWN: u64 = 4_026_531_833;
    const INNER: u64 = 4_026_532_500;
    const ID: &str = "3f4e1c2d5b6a79880011223344556677889900aabbccddeeff00112233445566";

    fn socket(address: &str, port: u16, inode: u64) -> KernelSocket {
        let address: IpAddr = address.parse().unwrap();
        KernelSocket {
            transport: Transport::Tcp,
            address,
            port,
            v6only: address.is_ipv6().then_some(false),
            interface: None,
            accept_queue: None,
            uid: 0,
            inode,
        }
    }

    fn visited(inode: u64, addresses: &[&str], sockets: Vec<KernelSocket>) -> Visited {
        let addresses =
            addresses.iter().map(|address| InterfaceAddress { address: address.parse().unwrap(), prefix: 24 });
        let eth0 =
            Interface { index: 2, name: "eth0".to_owned(), addresses: addresses.collect(), ..Interface::default() };
        let eth7 = Interface { index: 7, name: "eth7".to_owned(), ..Interface::default() };
        let network = NetworkState { interfaces: vec![eth0, eth7], ..NetworkState::default() };
        let view = View { sockets, state: State { network, ..State::default() }, ..View::default() };
        Visited { inode, mounts: Vec::new(), held_by: Vec::new(), view: Some(view) }
    }

    fn proxy() -> Process {
        let forward = Forward {
            transport: Transport::Tcp,
            host_address: "0.0.0.0".parse().unwrap(),
            host_port: 8080,
            container_address: "172.17.0.2".parse().unwrap(),
            container_port: 80,
        };
        Process { name: "docker-proxy".to_owned(), uid: Some(0), forward: Some(forward), ..Process::default() }
    }

    fn contained() -> Process {
        let container = Some(ContainerRef { id: ID.to_owned(), engine: "docker" });
        Process {
            name: "httpd".to_owned(),
            uid: Some(33),
            membership: Membership { unit: None, container },
            ..Process::default()
        }
    }

    /// A host with a docker-proxy on 8080 and a container behind it; no engine was asked.
    fn docker_host() -> Collected {
        Collected {
            own: Some(OWN),
            first: Some(OWN),
            visited: vec![
                visited(OWN, &["127.0.0.1", "198.18.0.2"], vec![socket("0.0.0.0", 8080, 1)]),
                visited(INNER, &["127.0.0.1", "172.17.0.2"], vec![socket("::", 80, 2)]),
            ],
            namespaces: BTreeMap::from([(500, OWN), (600, INNER)]),
            holders: HashMap::from([(1, vec![500]), (2, vec![600])]),
            processes: HashMap::from([(500, proxy()), (600, contained())]),
            machine: Machine {
                users: HashMap::from([(0, "root".to_owned()), (33, "www-data".to_owned())]),
                ..Machine::default()
            },
            ..Collected::default()
        }
    }

    fn engine(here: bool) -> Engine {
        let container = Container {
            id: ID.to_owned(),
            name: Some("web".to_owned()),
            engine: "docker".to_owned(),
            addresses: vec!["172.17.0.2".parse().unwrap()],
            host_network: true,
            ..Container::default()
        };
        let published = PublishedPort {
            transport: Transport::Tcp,
            host_address: "0.0.0.0".parse().unwrap(),
            host_port: 8080,
            container_address: None,
            container_port: 80,
            container: Some("web".to_owned()),
            source: "engine".to_owned(),
        };
        let one = EngineContainer { container, published: vec![published], pid: Some(600), network: None };
        Engine { containers: vec![one], here }
    }

    fn report(collected: Collected) -> HostReport {
        assemble(collected, "2026-11-24T12:00:00Z".to_owned())
    }

    #[test]
    fn without_an_engine_the_container_is_known_by_cgroup_and_address() {
        let report = report(docker_host());
        let label = Some("3f4e1c2d5b6a".to_owned());
        let names: Vec<_> = report.namespaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["host", "container:3f4e1c2d5b6a"]);
        let [outer, inner] = &report.listeners[..] else { panic!("{:?}", report.listeners) };
        assert_eq!((outer.process.as_deref(), &outer.container), (Some("docker-proxy"), &label));
        assert_eq!((inner.process.as_deref(), &inner.container), (Some("httpd"), &label));
        assert_eq!(inner.namespace, "container:3f4e1c2d5b6a");
        // The host's www-data is not the container's user 33.
        assert_eq!((outer.user.as_deref(), inner.user.as_deref()), (Some("root"), Some("33")));
        assert_eq!((report.published[0].source.as_str(), &report.published[0].container), ("docker-proxy", &label));
        assert_eq!(report.addresses.len(), 1, "loopback identifies nobody");
        assert_eq!(report.gaps, []);
    }

    #[test]
    fn an_engine_names_its_containers_once() {
        let report = report(Collected { engines: vec![engine(true)], ..docker_host() });
        assert_eq!(report.namespaces[1].name, "container:web");
        assert!(report.listeners.iter().all(|one| one.container.as_deref() == Some("web")));
        assert_eq!(report.containers.len(), 1);
        let [published] = &report.published[..] else { panic!("{:?}", report.published) };
        assert_eq!(
            (published.source.as_str(), published.container_address),
            ("engine", Some("172.17.0.2".parse().unwrap()))
        );
    }

    #[test]
    fn an_engine_of_another_namespace_publishes_nothing_here() {
        let mut collected = docker_host();
        collected.processes.remove(&500);
        let report = report(Collected { engines: vec![engine(false)], ..collected });
        assert_eq!((report.published.len(), report.containers[0].host_network), (0, false));
        assert_eq!(report.namespaces[1].name, "container:web");
    }

    #[test]
    fn dockerd_without_proxy_holds_the_port_for_the_container() {
        let mut collected = docker_host();
        collected.processes.insert(500, Process { name: "dockerd".to_owned(), ..Process::default() });
        let report = report(Collected { engines: vec![engine(true)], ..collected });
        assert_eq!(report.listeners[0].container.as_deref(), Some("web"));
    }

    #[test]
    fn namespaces_are_named_by_their_mount_and_never_twice() {
        let mut collected = docker_host();
        collected.visited[1].mounts = vec![PathBuf::from("/run/docker/netns/8f2c"), PathBuf::from("/run/netns/blue")];
        assert_eq!(report(collected).namespaces[1].name, "blue");
        let mut collected = docker_host();
        collected.visited[1].mounts = vec![PathBuf::from("/run/netns/host")];
        assert_eq!(report(collected).namespaces[1].name, format!("net:[{INNER}]"));
    }

    #[test]
    fn unknown_owners_stay_unknown_and_say_what_settles_it() {
        let mut collected = docker_host();
        collected.holders.clear();
        collected.hidden_descriptors = 3;
        let report = report(collected);
        assert!(report.listeners.iter().all(|one| one.pid.is_none() && one.process.is_none()));
        assert_eq!(report.listeners[0].user.as_deref(), Some("root"), "the socket itself tells its user");
        let gap = &report.gaps[0];
        assert_eq!(
            (gap.what.as_str(), gap.settled_by.as_str()),
            ("the owners of 2 of 2 sockets", "root, or CAP_SYS_PTRACE")
        );
    }

    #[test]
    fn a_caller_in_another_namespace_is_told() {
        let gaps = report(Collected { first: Some(1), ..docker_host() }).gaps;
        assert!(gaps[0].cause.contains("net:[1]"), "{gaps:?}");
        let gaps = report(Collected { first: None, ..docker_host() }).gaps;
        assert!(gaps[0].what.starts_with("whether `host`"), "{gaps:?}");
    }

    #[test]
    fn devices_units_and_activation() {
        let mut collected = docker_host();
        let view = collected.visited[0].view.as_mut().unwrap();
        view.sockets[0].interface = Some(7);
        view.sockets.push(KernelSocket { interface: Some(9), ..socket("::", 22, 3) });
        let unit = |unit: &str| Membership { unit: Some(unit.to_owned()), container: None };
        let systemd = Process { name: "systemd".to_owned(), membership: unit("init.scope"), ..Process::default() };
        collected.processes.insert(1, systemd);
        collected
            .processes
            .insert(500, Process { name: "sshd".to_owned(), membership: unit("ssh.service"), ..Process::default() });
        collected.holders = HashMap::from([(1, vec![500]), (3, vec![1])]);
        let listeners = report(collected).listeners;
        let found: Vec<_> = listeners
            .iter()
            .filter(|one| one.namespace == "host")
            .map(|one| (one.port, one.device.as_deref(), one.unit.as_deref(), one.socket_activated))
            .collect();
        assert_eq!(found, [(22, Some("#9"), None, true), (8080, Some("eth7"), Some("ssh.service"), false)]);
    }
}
