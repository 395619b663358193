//! Which containers there are, which namespaces and helpers are theirs, and what is published for them. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::collected::{Collected, Process, Visited};
use super::engine::{by_address, label};
use super::publisher::Behind;
use super::{caps, proc_text::Status};
use crate::model::host_report::{Container, HOST_NAMESPACE, Listener, Namespace, PublishedPort};

/// What the engines name, what their files name, and what only cgroups show. Files and cgroups count while something of
/// the container is there.
pub fn all(collected: &Collected) -> Vec<Container> {
    let mut found: BTreeMap<String, Container> = BTreeMap::new();
    for engine in &collected.engines {
        for one in &engine.containers {
            let host_network = one.container.host_network && engine.here;
            found
                .entry(one.container.id.clone())
                .or_insert_with(|| Container { host_network, ..one.container.clone() });
        }
    }
    let living = living(collected);
    for stated in &collected.stated {
        let joined =
            stated.network.as_deref().is_some_and(|path| collected.visited.iter().any(|one| is_mounted(one, path)));
        let inside = stated.pid.and_then(|pid| collected.namespaces.get(&pid).copied());
        if joined || inside.is_some() || living.contains(stated.container.id.as_str()) {
            // What a file says of the host's network is true in the engine's own namespace only; the process tells.
            let host_network = inside.is_some() && inside == collected.own;
            found
                .entry(stated.container.id.clone())
                .or_insert_with(|| Container { host_network, ..stated.container.clone() });
        }
    }
    for (pid, process) in &collected.processes {
        let Some(reference) = &process.membership.container else { continue };
        let known = found.entry(reference.id.clone()).or_insert_with(|| Container {
            id: reference.id.clone(),
            name: (reference.engine == "lxc").then(|| reference.id.clone()),
            engine: reference.engine.to_owned(),
            ..Container::default()
        });
        if collected.own.is_some() && collected.namespaces.get(pid).copied() == collected.own {
            known.host_network = true;
        }
        add_status(known, process.status, collected.whole_capabilities);
    }
    found.into_values().collect()
}

/// Rights by the kernel's own word, where no engine told them.
fn add_status(container: &mut Container, status: Status, whole: u64) {
    if container.seccomp.is_some() || whole == 0 {
        return;
    }
    if let Some(bounding) = status.bounding {
        container.added_capabilities = caps::added(bounding, whole);
        let all = container.added_capabilities == ["all"];
        container.privileged.get_or_insert_with(|| all && status.seccomp == Some(0));
    }
    container.no_new_privileges = container.no_new_privileges.or(status.no_new_privileges);
    container.seccomp = status.seccomp_name().map(str::to_owned);
}

/// Ids of containers that a process is in, or that a monitor watches.
fn living(collected: &Collected) -> HashSet<&str> {
    let mut ids = HashSet::new();
    for process in collected.processes.values() {
        ids.extend(process.membership.container.iter().map(|reference| reference.id.as_str()));
        if let Some(Behind::Container(id)) = process.helper.as_ref().map(|helper| &helper.behind) {
            ids.insert(id);
        }
    }
    ids
}

/// The container that a process runs in.
pub fn of_process<'a>(process: &Process, containers: &'a [Container]) -> Option<&'a Container> {
    let reference = process.membership.container.as_ref()?;
    containers.iter().find(|container| container.id == reference.id)
}

/// The container that joined the network namespace by its file: one that has no process of its own there, or whose cgroup
/// does not tell.
pub fn of_mount<'a>(visited: &Visited, collected: &Collected, containers: &'a [Container]) -> Option<&'a Container> {
    let engines = collected.engines.iter().flat_map(|engine| &engine.containers);
    let by_engine = engines.filter_map(|one| Some((one.container.id.as_str(), one.network.as_deref()?)));
    let by_file = collected.stated.iter().filter_map(|one| Some((one.container.id.as_str(), one.network.as_deref()?)));
    let (id, _) = by_engine.chain(by_file).find(|(_, path)| is_mounted(visited, path))?;
    containers.iter().find(|container| container.id == id)
}

fn is_mounted(visited: &Visited, path: &str) -> bool {
    // /var/run is mostly a link to /run.
    let plain =
        |path: &Path| path.strip_prefix("/var").map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest));
    let path: PathBuf = plain(Path::new(path));
    visited.mounts.iter().any(|mount| plain(mount) == path)
}

/// The namespace that a helper's container is in.
fn helper_namespace(process: &Process, collected: &Collected) -> Option<u64> {
    process.helper_namespace.or_else(|| match &process.helper.as_ref()?.behind {
        // A path of another mount namespace.
        Behind::Namespace(path) => {
            let path = path.to_str()?;
            collected.visited.iter().find(|one| is_mounted(one, path)).map(|one| one.inode)
        }
        _ => None,
    })
}

/// The label of the container that a helper (conmon, rootlessport, pasta...) holds a port for.
pub fn behind_helper(
    process: &Process,
    collected: &Collected,
    containers: &[Container],
    names: &HashMap<u64, &Namespace>,
) -> Option<String> {
    if let Behind::Container(id) = &process.helper.as_ref()?.behind {
        return containers.iter().find(|container| container.id == *id).map(label);
    }
    let namespace = names.get(&helper_namespace(process, collected)?)?;
    // One that runs for the host's own network is behind nothing.
    namespace.container.clone().filter(|_| namespace.name != HOST_NAMESPACE)
}

/// What the engines of this host publish, what its docker-proxies forward, and what IPVS hands on; of several, the
/// engine's word.
pub fn published(
    collected: &Collected,
    containers: &[Container],
    names: &HashMap<u64, &Namespace>,
) -> Vec<PublishedPort> {
    let here = collected.engines.iter().filter(|engine| engine.here);
    let mut published: Vec<PublishedPort> =
        here.flat_map(|engine| &engine.containers).flat_map(|one| one.published.clone()).collect();
    for (pid, process) in &collected.processes {
        let Some(forward) = &process.forward else { continue };
        if collected.namespaces.get(pid).copied() != collected.own {
            continue;
        }
        let known = published.iter_mut().find(|known| {
            (known.transport, known.host_address, known.host_port, known.container_port)
                == (forward.transport, forward.host_address, forward.host_port, forward.container_port)
        });
        match known {
            Some(known) => known.container_address = Some(forward.container_address),
            None => published.push(PublishedPort {
                transport: forward.transport,
                host_address: forward.host_address,
                host_port: forward.host_port,
                container_address: Some(forward.container_address),
                container_port: forward.container_port,
                container: at(forward.container_address, containers, names),
                source: "docker-proxy".to_owned(),
            }),
        }
    }
    published.extend(virtual_services(collected, containers, names));
    published
}

/// Services of IPVS in the host's own namespace; those by firewall mark have no address to name.
fn virtual_services<'a>(
    collected: &'a Collected,
    containers: &'a [Container],
    names: &'a HashMap<u64, &Namespace>,
) -> impl Iterator<Item = PublishedPort> + 'a {
    let own = collected.visited.iter().filter(|visited| Some(visited.inode) == collected.own);
    let dumps = own.filter_map(|visited| visited.view.as_ref()?.filter.dump.as_ref());
    let services = dumps.flat_map(|dump| &dump.ipvs).filter_map(|service| Some((service, service.address?)));
    services.flat_map(move |(service, address)| {
        service.destinations.iter().map(move |destination| PublishedPort {
            transport: service.transport,
            host_address: address,
            host_port: service.port,
            container_address: Some(destination.address),
            container_port: destination.port,
            container: at(destination.address, containers, names),
            source: "ipvs".to_owned(),
        })
    })
}

/// What helpers that name their ports publish, by the listeners that they hold.
pub fn helper_port(listener: &Listener, process: &Process) -> Option<PublishedPort> {
    let helper = process.helper.as_ref()?;
    let (.., inner) = helper
        .ports
        .iter()
        .find(|(transport, outer, _)| (*transport, *outer) == (listener.transport, listener.port))?;
    Some(PublishedPort {
        transport: listener.transport,
        host_address: listener.address,
        host_port: listener.port,
        container_address: None,
        container_port: *inner,
        container: listener.container.clone(),
        source: process.name.clone(),
    })
}

/// In the order of ports, each once.
pub fn sort(published: &mut Vec<PublishedPort>) {
    published.sort_by(|a, b| {
        let key = |one: &PublishedPort| {
            (one.transport, one.host_port, one.host_address, one.container_port, one.container.clone())
        };
        key(a).cmp(&key(b))
    });
    published.dedup();
}

/// The container that has an address: by its engine, else by the namespace that has it.
pub fn at(address: IpAddr, containers: &[Container], names: &HashMap<u64, &Namespace>) -> Option<String> {
    if let Some(container) = by_address(containers).get(&address) {
        return Some(label(container));
    }
    let having = |one: &&&Namespace| one.name != HOST_NAMESPACE && one.addresses.contains(&address);
    let labels: BTreeSet<&String> = names.values().filter(having).filter_map(|one| one.container.as_ref()).collect();
    if labels.len() == 1 { labels.first().map(|label| (*label).clone()) } else { None }
}
